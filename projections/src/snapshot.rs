//! Snapshots: a read model's rows and its checkpoint as of one position, in a file.
//!
//! Where a topic is trimmed it cannot tell any more what was before, so a rebuild begins with a snapshot
//! of its time. Rows of people who were erased since are in the file; the erasures behind its position
//! are applied before anything else is, so no read model gets them back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lemonair_consumers::kafka::cluster_id;
use lemonair_consumers::{Kafka, Watermark};
use lemonair_schemas::{Position, Timestamp, Topic};
use serde::{Deserialize, Serialize};
use sqlx::MySqlConnection;

use crate::{Error, Projection, Result, dead_letters, projection};

mod file;
mod restore;
mod take;

pub(crate) use restore::restore;
pub use take::take;

/// What this version writes, and what it can read.
const FORMAT: u32 = 1;

const ENDING: &str = "snapshot.gz";

/// A snapshot that is whole, as far as its head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub path: PathBuf,
    pub bytes: u64,
    pub head: Head,
}

/// The first line of a snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub format: u32,
    pub projection: String,
    pub taken_at: Timestamp,
    /// Kafka's own name for the cluster, and the deployment on it: offsets mean nothing elsewhere.
    pub cluster: String,
    pub prefix: String,
    /// The checkpoint: what is behind these positions is in the rows, and nothing else is.
    pub positions: Vec<Position>,
    /// Of all tables together.
    pub rows: u64,
    pub tables: Vec<Content>,
}

/// A table in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub name: String,
    pub columns: Vec<String>,
}

/// All snapshots in the folder, the newest first. What is not whole has another ending; what cannot be
/// read is told in the log and left out.
pub fn list(folder: &Path) -> Result<Vec<Snapshot>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unusable(folder, source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| unusable(folder, source))?.path();
        if !path.to_string_lossy().ends_with(ENDING) {
            continue;
        }
        match Snapshot::open(&path) {
            Ok(snapshot) => found.push(snapshot),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no snapshot can be read here")
            }
        }
    }
    found.sort_by_key(|snapshot| {
        (
            std::cmp::Reverse(snapshot.head.taken_at),
            snapshot.path.clone(),
        )
    });
    Ok(found)
}

/// Removes all but the newest `keep` snapshots of each read model; says which.
pub fn prune(folder: &Path, keep: usize) -> Result<Vec<Snapshot>> {
    let snapshots = list(folder)?;
    let mut removed = Vec::new();
    for projection in projection::ALL {
        let of_it = snapshots
            .iter()
            .filter(|snapshot| snapshot.head.projection == projection.name());
        for snapshot in of_it.skip(keep) {
            fs::remove_file(&snapshot.path).map_err(|source| unusable(&snapshot.path, source))?;
            removed.push(snapshot.clone());
        }
    }
    Ok(removed)
}

/// The newest snapshot that a rebuild can begin with: taken not after `until`, of the tables as they are
/// today, and from where on the topics still hold everything.
pub(crate) async fn newest(
    kafka: &Kafka,
    live: &mut MySqlConnection,
    projection: &dyn Projection,
    folder: &Path,
    marks: &[Watermark],
    until: Option<Timestamp>,
) -> Result<Option<Snapshot>> {
    let cluster = cluster_id(kafka).await?;
    let tables = contents(live, projection).await?;
    let fits = |snapshot: &Snapshot| {
        let head = &snapshot.head;
        let goes_on = |mark: &Watermark| {
            let reached = head.reached(mark.topic, mark.partition);
            (mark.low..=mark.high).contains(&reached)
        };
        head.projection == projection.name()
            && (&head.cluster, &head.prefix) == (&cluster, &kafka.prefix)
            && head.tables == tables
            && until.is_none_or(|until| head.taken_at <= until)
            && marks.iter().all(goes_on)
    };
    Ok(list(folder)?.into_iter().find(fits))
}

/// The tables of a read model as they are today, its dead letters' first.
async fn contents(
    connection: &mut MySqlConnection,
    projection: &dyn Projection,
) -> sqlx::Result<Vec<Content>> {
    let own = projection
        .tables()
        .iter()
        .map(|table| table.name.to_owned());
    let names = std::iter::once(dead_letters::table(projection)).chain(own);
    let mut contents = Vec::new();
    for name in names {
        let columns = sqlx::query_scalar(
            "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position",
        );
        let columns = columns.bind(&name).fetch_all(&mut *connection).await?;
        contents.push(Content { name, columns });
    }
    Ok(contents)
}

fn unusable(path: &Path, source: io::Error) -> Error {
    Error::Snapshots {
        path: path.to_owned(),
        source,
    }
}

// === impl Snapshot ===

impl Snapshot {
    fn open(path: &Path) -> io::Result<Snapshot> {
        let (_, head) = file::Reader::open(path)?;
        if head.format != FORMAT {
            let why = format!(
                "it is of format {}, this version knows {FORMAT}",
                head.format
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Snapshot {
            path: path.to_owned(),
            bytes: fs::metadata(path)?.len(),
            head,
        })
    }
}

// === impl Head ===

impl Head {
    /// Where the read model was in a partition; at its beginning, if it had read nothing of it.
    fn reached(&self, topic: Topic, partition: i32) -> i64 {
        let here =
            |position: &&Position| (position.topic, position.partition) == (topic, partition);
        self.positions
            .iter()
            .find(here)
            .map_or(0, |position| position.offset)
    }
}

#[cfg(test)]
mod tests;
