//! One room's rows made anew: its records are filtered out of its partitions, and its rows replaced in
//! one transaction, so that readers see either the former or the new ones.

use lemonair_consumers::Watermark;
use lemonair_consumers::kafka::partition_of;
use lemonair_schemas::{RoomId, Topic};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use super::filling::Filling;
use super::shadow::Shadow;
use super::{Ends, Options, Progress, Report, begin, begun, compare, end, ends, start};
use crate::database::quote;
use crate::place::Place;
use crate::{Error, Projection, Projector, Result, checkpoint, dead_letters};

/// Compares a room's rows with its records, and unless it shall only verify, replaces them. Where a topic
/// was trimmed, all rows of a snapshot are read before the room's records are.
pub async fn rebuild_room(
    projector: &Projector,
    projection: &'static dyn Projection,
    room: &RoomId,
    options: Options<'_>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let mut tables = projection.tables().iter().map(|table| table.by);
    // What a gateway tells is of many rooms at once.
    let told = projection.topics().contains(&Topic::Presence);
    let other = tables
        .find(|by| *by != "room")
        .or_else(|| told.then_some("gateway"));
    if let Some(by) = other {
        return Err(Error::NotByRoom {
            projection: projection.name(),
            by,
        });
    }
    let (mut live, marks) = begin(projector, projection).await?;
    let report = replaced(
        projector, projection, room, &mut live, &marks, options, tell,
    )
    .await;
    end(&mut live, projection).await;
    report
}

async fn replaced(
    projector: &Projector,
    projection: &'static dyn Projection,
    room: &RoomId,
    live: &mut MySqlConnection,
    marks: &[Watermark],
    options: Options<'_>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let mut ends = ends(marks);
    let partitions = i32::try_from(ends.len() / projection.reads().len()).unwrap_or(i32::MAX);
    let partition = partition_of(room.as_str(), partitions);
    let mut shadow = Shadow::open(&projector.pool, projection, Place::Room).await?;
    let start = start(projector, projection, live, marks, options).await?;
    let how = begun(options);
    shadow.make_anew(projection, &start, &how, tell).await?;
    let mut filling = Filling::begin(projector, projection, shadow, &ends, tell).await?;
    filling.snapshot = start.snapshot().map(|snapshot| snapshot.head.taken_at);
    filling.erase(&ends).await?;
    // From here on, the room's own.
    filling.records = 0;
    let is_own = |key: &(Topic, i32)| key.0 != Topic::Erasures && key.1 == partition;
    ends.retain(|key, _| is_own(key));
    filling.target.clone_from(&ends);
    filling.room = Some(room.clone());
    filling.fill(&ends).await?;

    // The live loop waits meanwhile, as if it were another process's turn: it has come a little
    // further since.
    filling.pausable = false;
    let mut tx = live.begin().await?;
    let hold = format!("SELECT 1 FROM {} FOR UPDATE", checkpoint::table(projection));
    sqlx::query(AssertSqlSafe(hold)).fetch_all(&mut *tx).await?;
    let positions: Ends = filling.live_positions(&mut tx).await?;
    let mut own = positions.clone();
    own.retain(|key, _| is_own(key));
    filling.fill(&own).await?;
    // Who was erased meanwhile is so in these rows too. Erasures go by account, and not by room: they are
    // in any partition, and none of the room's records.
    let records = filling.records;
    filling.room = None;
    filling.erase(&positions).await?;
    filling.records = records;
    filling.retry().await?;
    let mut comparison = compare::Comparison::default();
    for table in projection.tables() {
        let rebuilt = &mut filling.shadow.connection;
        compare::table(&mut tx, rebuilt, table, Some(room), &mut comparison).await?;
    }
    // A room that nobody ever wrote to, or that goes by another name since its owner was erased.
    if filling.records == 0 && comparison.rows > 0 {
        return Err(Error::NoRecords(room.clone()));
    }
    if !options.verify_only {
        replace(&mut tx, projection, &filling.shadow.name, room).await?;
    }
    tx.commit().await?;
    filling.shadow.remove().await?;
    filling.end().await?;
    Ok(filling.report(Some(comparison), !options.verify_only))
}

async fn replace(
    live: &mut MySqlConnection,
    projection: &dyn Projection,
    rebuilt: &str,
    room: &RoomId,
) -> Result<()> {
    let mut tables: Vec<(String, &str)> = projection
        .tables()
        .iter()
        .map(|table| (quote(table.name), table.by))
        .collect();
    tables.push((quote(&dead_letters::table(projection)), "record_key"));
    for (table, by) in tables {
        let (by, rebuilt) = (quote(by), quote(rebuilt));
        for sql in [
            format!("DELETE FROM {table} WHERE {by} = ?"),
            format!("INSERT INTO {table} SELECT * FROM {rebuilt}.{table} WHERE {by} = ?"),
        ] {
            sqlx::query(AssertSqlSafe(sql))
                .bind(room.as_str())
                .execute(&mut *live)
                .await?;
        }
    }
    Ok(())
}
