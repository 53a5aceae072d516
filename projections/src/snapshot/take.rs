//! A snapshot taken: what the database shows at one moment, streamed into a file that gets its name when
//! it is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt;
use lemonair_consumers::Kafka;
use lemonair_consumers::kafka::cluster_id;
use lemonair_schemas::Timestamp;
use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool, Row as _};
use tokio::sync::mpsc;

use super::file::{self, Writer};
use super::{Content, ENDING, FORMAT, Head, Snapshot, contents, unusable};
use crate::database::{connect_to, lock, quote, unlock};
use crate::{Error, Projection, Result, checkpoint, fault, rebuild};

/// Bytes that go to the file together.
const BLOCK: usize = 256 << 10;

/// Blocks that wait to be written; the database waits while there are so many.
const WAITING: usize = 4;

/// Takes a snapshot of a read model into the folder; the live loop goes on meanwhile. While the model is
/// being rebuilt, or another snapshot of it taken, it is refused.
pub async fn take(
    pool: &MySqlPool,
    kafka: &Kafka,
    projection: &'static dyn Projection,
    folder: &Path,
    now: Timestamp,
) -> Result<Snapshot> {
    let mut live = connect_to(pool, None).await?;
    let lock_name = rebuild::lock_name(projection);
    // No tables are swapped in while their rows are read.
    if !lock(&mut live, &lock_name, Duration::ZERO).await? {
        return Err(Error::Busy(
            "this read model is being rebuilt, or a snapshot of it taken",
        ));
    }
    let taken = take_from(&mut live, kafka, projection, folder, now).await;
    unlock(&mut live, &lock_name).await.ok();
    taken
}

async fn take_from(
    live: &mut MySqlConnection,
    kafka: &Kafka,
    projection: &'static dyn Projection,
    folder: &Path,
    now: Timestamp,
) -> Result<Snapshot> {
    let cluster = cluster_id(kafka).await?;
    let tables = contents(live, projection).await?;
    for sql in [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    ] {
        sqlx::raw_sql(sql).execute(&mut *live).await?;
    }
    let reached = checkpoint::read(live, projection).await?;
    if reached.iter().all(|found| found.position.offset == 0) {
        return Err(Error::NothingToTake(projection.name()));
    }
    let head = Head {
        format: FORMAT,
        projection: projection.name().to_owned(),
        taken_at: now,
        cluster,
        prefix: kafka.prefix.clone(),
        positions: reached.iter().map(|found| found.position).collect(),
        rows: count(live, &tables).await?,
        tables,
    };
    let path = folder.join(format!(
        "{}-{}.{ENDING}",
        projection.name(),
        now.to_string().replace(':', "-")
    ));
    let part = path.with_extension("part");
    prepare(folder, projection).map_err(|source| unusable(folder, source))?;
    let written = write(live, &head, &part).await;
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written?;
    fault::point("written");
    let whole = || {
        fs::rename(&part, &path)?;
        fs::File::open(folder)?.sync_all()?;
        Snapshot::open(&path)
    };
    whole().map_err(|source| unusable(&path, source))
}

/// Makes the folder, and removes what a process that was killed has left of a snapshot: there is no other
/// at work on this read model.
fn prepare(folder: &Path, projection: &dyn Projection) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&format!("{}-", projection.name())) && name.ends_with(".part") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Streams all rows: neither they nor what is to be written are ever in memory together.
async fn write(live: &mut MySqlConnection, head: &Head, part: &Path) -> Result<()> {
    let (blocks, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let (path, first): (PathBuf, Head) = (part.to_owned(), head.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = Writer::create(&path, &first)?;
        while let Some(block) = waiting.blocking_recv() {
            writer.write(&block)?;
        }
        io::Result::Ok(writer)
    });
    let read = read(live, &head.tables, blocks).await;
    let writer = match writing.await {
        Ok(writer) => writer.map_err(|source| unusable(part, source))?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    read?;
    let ended = tokio::task::spawn_blocking(move || writer.end()).await;
    match ended {
        Ok(ended) => ended.map_err(|source| unusable(part, source)),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

async fn count(live: &mut MySqlConnection, tables: &[Content]) -> Result<u64> {
    let mut rows = 0;
    for table in tables {
        let sql = format!(
            "SELECT CAST(COUNT(*) AS UNSIGNED) FROM {}",
            quote(&table.name)
        );
        let found: u64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut *live)
            .await?;
        rows += found;
    }
    Ok(rows)
}

/// Reads all rows of all tables. Ends early where nobody writes any more.
async fn read(
    live: &mut MySqlConnection,
    tables: &[Content],
    blocks: mpsc::Sender<Vec<u8>>,
) -> Result<()> {
    let mut block = Vec::with_capacity(BLOCK);
    for (table, which) in tables.iter().zip(1u8..) {
        // As bytes, whatever their type: numbers as people write them.
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| format!("CAST({} AS BINARY)", quote(column)))
            .collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), quote(&table.name));
        let mut found = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *live);
        while let Some(row) = found.try_next().await? {
            block.push(which);
            for column in 0..table.columns.len() {
                file::push(&mut block, row.try_get(column)?);
            }
            if block.len() >= BLOCK {
                let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK));
                if blocks.send(full).await.is_err() {
                    return Ok(());
                }
            }
        }
        fault::point("dumped");
    }
    blocks.send(block).await.ok();
    Ok(())
}
