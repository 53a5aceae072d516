//! A read model made anew beside the live one, compared with it, and swapped in.
//!
//! The new tables stand in another database of the same server, under the same names, so that the very
//! same statements fill them: `lemonair_shadow` beside `lemonair`. They have a checkpoint of their own,
//! so a rebuild that was cut off goes on from there. The swap is one `RENAME TABLE` over all tables and
//! the checkpoint; what was live before is kept in `lemonair_old`. Readers and the live loop go on
//! throughout; only while the last few records are added and the tables swapped does the loop wait.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lemonair_consumers::kafka::offsets_at;
use lemonair_consumers::{Watermark, watermarks};
use lemonair_schemas::{Position, Timestamp, Topic};
use serde::Serialize;
use sqlx::MySqlConnection;

use crate::database::{connect_to, lock, unlock};
use crate::place::Place;
use crate::snapshot::{self, Snapshot};
use crate::{Error, Projection, Projector, Result, checkpoint, fault};

mod board;
mod compare;
mod filling;
mod lane;
mod room;
mod shadow;
mod wish;

pub(crate) use board::rate;
pub use board::{Rebuild, State, pause, rebuilds};
pub use compare::{Comparison, Difference, Sum};
pub use room::rebuild_room;
pub use wish::{Wish, fulfil, note, wish, wishes};

use filling::Filling;
use shadow::{Shadow, Start};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'a> {
    /// Compares, and changes nothing.
    pub verify_only: bool,
    /// Begins anew instead of going on where a rebuild was cut off.
    pub fresh: bool,
    /// Begins anew, with the rows from before this time: live ones, or a snapshot's.
    pub from: Option<Timestamp>,
    /// Where snapshots are, for topics that do not hold everything any more.
    pub snapshots: Option<&'a Path>,
}

/// How a rebuild is getting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub projection: &'static str,
    pub phase: Phase,
    /// Offsets behind it, of `total`, at this phase's target.
    pub done: u64,
    pub total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reads a snapshot.
    Restoring,
    /// Reads the topics from the beginning, or from where it was cut off.
    Filling,
    /// Held by somebody, until somebody lets it go on.
    Paused,
    Comparing,
    Swapping,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub projection: &'static str,
    /// When the snapshot was taken that it began with.
    pub snapshot: Option<Timestamp>,
    /// Records applied in this run.
    pub records: u64,
    pub dead_letters: u64,
    /// `None` where there was no live model at a position that could be compared.
    pub comparison: Option<Comparison>,
    pub swapped: bool,
}

/// Offsets up to which to read, by topic and partition.
type Ends = BTreeMap<(Topic, i32), i64>;

/// Rebuilds a read model. Run again, it goes on where it was cut off. A second one of the same model is
/// refused. Differences do not keep it from being swapped in: to mend them is what it is for.
pub async fn rebuild(
    projector: &Projector,
    projection: &'static dyn Projection,
    options: Options<'_>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let (mut live, marks) = begin(projector, projection).await?;
    let report = anew(projector, projection, &mut live, &marks, options, tell).await;
    end(&mut live, projection).await;
    report
}

async fn anew(
    projector: &Projector,
    projection: &'static dyn Projection,
    live: &mut MySqlConnection,
    marks: &[Watermark],
    options: Options<'_>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let ends = ends(marks);
    let place = if options.verify_only {
        Place::Verify
    } else {
        Place::Shadow
    };
    let mut shadow = Shadow::open(&projector.pool, projection, place).await?;
    let anew = options.fresh || options.verify_only || options.from.is_some();
    let how = begun(options);
    let mut snapshot = None;
    if anew || !shadow.began(&how).await? || !shadow.goes_on(projection, marks).await? {
        let start = start(projector, projection, live, marks, options).await?;
        shadow.make_anew(projection, &start, &how, tell).await?;
        snapshot = start.snapshot().map(|snapshot| snapshot.head.taken_at);
    }
    let mut filling = Filling::begin(projector, projection, shadow, &ends, tell).await?;
    filling.snapshot = snapshot;
    filling.erase(&ends).await?;
    let comparison = filling.compare(live).await?;
    fault::point("compared");
    if options.verify_only {
        filling.shadow.remove().await?;
        filling.end().await?;
        return Ok(filling.report(comparison, false));
    }
    filling.fill(&ends).await?;
    filling.swap(live, &ends).await?;
    filling.end().await?;
    Ok(filling.report(comparison, true))
}

/// Goes back to what was live before the last rebuild, after bringing it up to date. Done twice, it goes
/// forth again.
pub async fn rollback(
    projector: &Projector,
    projection: &'static dyn Projection,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let (mut live, marks) = begin(projector, projection).await?;
    let report = back(projector, projection, &mut live, &marks, tell).await;
    end(&mut live, projection).await;
    report
}

async fn back(
    projector: &Projector,
    projection: &'static dyn Projection,
    live: &mut MySqlConnection,
    marks: &[Watermark],
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let ends = ends(marks);
    let mut shadow = Shadow::open(&projector.pool, projection, Place::Old).await?;
    if !shadow.goes_on(projection, marks).await? {
        return Err(Error::NothingKept(projection.name()));
    }
    let mut filling = Filling::begin(projector, projection, shadow, &ends, tell).await?;
    let comparison = filling.compare(live).await?;
    filling.fill(&ends).await?;
    filling.swap(live, &ends).await?;
    filling.end().await?;
    Ok(filling.report(comparison, true))
}

/// Keeps others from rebuilding the same model for as long as the connection lives, and says what the
/// topics hold.
async fn begin(
    projector: &Projector,
    projection: &'static dyn Projection,
) -> Result<(MySqlConnection, Vec<Watermark>)> {
    // Its locks are freed whenever the rebuild ends, or its process does.
    let mut live = connect_to(&projector.pool, None).await?;
    let name = projection.name();
    if !lock(&mut live, &lock_name(projection), Duration::ZERO).await? {
        return Err(Error::Busy(
            "this read model is being rebuilt, or a snapshot of it taken",
        ));
    }
    // In this order: what the live model has, the topics had before.
    let reached = checkpoint::read(&mut live, projection).await?;
    let marks = watermarks(&projector.kafka, &projection.reads()).await?;
    let ends = ends(&marks);
    for position in reached.iter().map(|found| found.position) {
        let end = ends.get(&(position.topic, position.partition));
        if position.offset > end.copied().unwrap_or(0) {
            return Err(Error::Foreign {
                projection: name,
                position,
            });
        }
    }
    Ok((live, marks))
}

/// Whoever comes next need not wait until the server finds the connection gone.
async fn end(live: &mut MySqlConnection, projection: &dyn Projection) {
    unlock(live, &lock_name(projection)).await.ok();
}

/// The lock under which a read model is rebuilt, or a snapshot of it taken.
pub(crate) fn lock_name(projection: &dyn Projection) -> String {
    format!("rebuild.{}", projection.name())
}

fn ends(marks: &[Watermark]) -> Ends {
    let end = |mark: &Watermark| ((mark.topic, mark.partition), mark.high);
    marks.iter().map(end).collect()
}

/// What tables must have in common that a rebuild goes on with: who makes them, and from when on.
fn begun(options: Options<'_>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match options.from {
        Some(from) => format!("{version} from {from}"),
        None => version.to_owned(),
    }
}

/// What new tables begin with: nothing, where the topics hold all there ever was.
async fn start(
    projector: &Projector,
    projection: &'static dyn Projection,
    live: &mut MySqlConnection,
    marks: &[Watermark],
    options: Options<'_>,
) -> Result<Start> {
    if let Some(from) = options.from
        && projection.rows_are_records()
    {
        let kept = kept(projector, projection, live, marks, from).await?;
        return Ok(Start::Live(kept));
    }
    let trimmed = marks.iter().find(|mark| mark.low > 0);
    // What goes by design is no loss: what is left is all that there is without a snapshot.
    let designed = marks
        .iter()
        .all(|mark| mark.low == 0 || mark.topic.is_kept_for_a_while());
    if trimmed.is_none() && options.from.is_none() {
        return Ok(Start::Nothing);
    }
    let kafka = &projector.kafka;
    let found: Option<Snapshot> = match options.snapshots {
        Some(folder) => {
            snapshot::newest(kafka, live, projection, folder, marks, options.from).await?
        }
        None => None,
    };
    match (found, trimmed) {
        (Some(snapshot), _) => Ok(Start::Snapshot(snapshot)),
        (None, Some(_)) if designed && options.from.is_none() => Ok(Start::Nothing),
        (None, Some(mark)) => Err(Error::Trimmed {
            projection: projection.name(),
            topic: mark.topic.in_kafka(&kafka.prefix),
        }),
        (None, None) => Err(Error::NoSnapshot(projection.name())),
    }
}

/// Up to where the live rows stay as they are: to the first record of the time, if the live model is
/// that far.
async fn kept(
    projector: &Projector,
    projection: &'static dyn Projection,
    live: &mut MySqlConnection,
    marks: &[Watermark],
    from: Timestamp,
) -> Result<Vec<Position>> {
    let reached = checkpoint::read(live, projection).await?;
    let offsets = offsets_at(&projector.kafka, marks, from).await?;
    let position = |(mark, offset): (&Watermark, i64)| {
        let live = reached
            .iter()
            .map(|found| found.position)
            .find(|found| (found.topic, found.partition) == (mark.topic, mark.partition));
        let live = live.map_or(0, |live| live.offset);
        // Who was erased is erased in the rows that are kept.
        let offset = match mark.topic {
            Topic::Erasures => live,
            _ => offset.min(live),
        };
        Position {
            offset,
            ..mark.start()
        }
    };
    Ok(marks.iter().zip(offsets).map(position).collect())
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Restoring => "restoring",
            Phase::Filling => "filling",
            Phase::Paused => "paused",
            Phase::Comparing => "comparing",
            Phase::Swapping => "swapping",
            Phase::Done => "done",
        }
    }
}

#[cfg(test)]
mod controls;
#[cfg(test)]
pub(crate) mod tests;
