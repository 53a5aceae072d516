//! Broadcasts: on air, interrupted, over; and what is kept of them.

use std::collections::HashSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::stream::{
    RecordingBegun, RecordingDeleted, RecordingKept, StreamEnded, StreamStarted,
};
use lemonair_schemas::{Event, EventId, Position, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, MySqlPool, Row};

use crate::erasure::{Personal, Whose};
use crate::page::{self, Page, Slice};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, many, row};

#[derive(Debug)]
pub struct Broadcasts;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broadcast {
    /// The event that began it.
    pub id: EventId,
    pub room: RoomId,
    pub title: String,
    /// Which ingest carries it.
    pub ingest: String,
    /// Where gateways get the picture.
    #[serde(skip)]
    pub origin: String,
    pub started_at: Timestamp,
    /// Since when the publisher's line has been down.
    pub interrupted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub reason: Option<String>,
    /// What is kept of it.
    #[serde(skip)]
    pub recording: Option<Recording>,
    /// Where its start stands.
    #[serde(skip)]
    pub position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    /// Once the broadcast is over and all of it is kept.
    pub whole: Option<Whole>,
    pub deleted_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    pub begins: Timestamp,
    pub duration_ms: i64,
    pub bytes: i64,
}

// === Writes ===

impl Projection for Broadcasts {
    fn name(&self) -> &'static str {
        "broadcasts"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Streams]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[Table {
            name: "broadcasts",
            by: "room",
        }];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[Personal {
            table: "broadcasts",
            whose: Whose::Room("room"),
            names: &[],
            texts: &["title"],
            secrets: &[],
        }];
        PERSONAL
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            for fact in facts {
                match fact.event {
                    Event::StreamStarted(event) => start(tx, event, fact.position).await?,
                    Event::StreamInterrupted(event) => {
                        let at = Some(event.at);
                        interrupt(tx, &event.room, event.stream, at).await?;
                    }
                    Event::StreamResumed(event) => {
                        interrupt(tx, &event.room, event.stream, None).await?;
                    }
                    Event::StreamEnded(event) => end(tx, event).await?,
                    Event::RecordingBegun(event) => record(tx, event).await?,
                    Event::RecordingKept(event) => keep(tx, event).await?,
                    Event::RecordingDeleted(event) => delete(tx, event).await?,
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }
}

async fn start(
    tx: &mut MySqlConnection,
    event: &StreamStarted,
    position: Position,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO broadcasts (id, room, title, ingest, origin, started_at, part, record_offset) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.id.0)
    .bind(event.room.as_str())
    .bind(&event.title)
    .bind(&event.ingest)
    .bind(&event.origin)
    .bind(event.at.millis())
    .bind(position.partition)
    .bind(position.offset)
    .execute(tx)
    .await?;
    Ok(())
}

async fn interrupt(
    tx: &mut MySqlConnection,
    room: &RoomId,
    stream: EventId,
    at: Option<Timestamp>,
) -> Result<(), Fault> {
    let changed = sqlx::query(
        "UPDATE broadcasts SET interrupted_at = ? WHERE id = ? AND room = ? AND ended_at IS NULL",
    )
    .bind(at.map(Timestamp::millis))
    .bind(stream.0)
    .bind(room.as_str())
    .execute(&mut *tx)
    .await?;
    if changed.rows_affected() == 0 {
        return known(tx, room, stream).await;
    }
    Ok(())
}

/// Ending twice is ending once; the first time counts.
async fn end(tx: &mut MySqlConnection, event: &StreamEnded) -> Result<(), Fault> {
    let changed = sqlx::query(
        "UPDATE broadcasts SET ended_at = ?, reason = ? WHERE id = ? AND room = ? AND ended_at IS NULL",
    )
    .bind(event.at.millis())
    .bind(&event.reason)
    .bind(event.stream.0)
    .bind(event.room.as_str())
    .execute(&mut *tx)
    .await?;
    if changed.rows_affected() == 0 {
        return known(tx, &event.room, event.stream).await;
    }
    Ok(())
}

async fn record(tx: &mut MySqlConnection, event: &RecordingBegun) -> Result<(), Fault> {
    sqlx::query("UPDATE broadcasts SET recorded = TRUE WHERE id = ? AND room = ?")
        .bind(event.stream.0)
        .bind(event.room.as_str())
        .execute(&mut *tx)
        .await?;
    known(tx, &event.room, event.stream).await
}

async fn keep(tx: &mut MySqlConnection, event: &RecordingKept) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE broadcasts SET recorded = TRUE, recorded_from = ?, recorded_ms = ?, \
         recorded_bytes = ? WHERE id = ? AND room = ?",
    )
    .bind(event.begins.millis())
    .bind(event.duration_ms)
    .bind(event.bytes)
    .bind(event.stream.0)
    .bind(event.room.as_str())
    .execute(&mut *tx)
    .await?;
    known(tx, &event.room, event.stream).await
}

/// The first time counts.
async fn delete(tx: &mut MySqlConnection, event: &RecordingDeleted) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE broadcasts SET deleted_at = ?, deleted_for = ? \
         WHERE id = ? AND room = ? AND deleted_at IS NULL",
    )
    .bind(event.at.millis())
    .bind(&event.reason)
    .bind(event.stream.0)
    .bind(event.room.as_str())
    .execute(&mut *tx)
    .await?;
    known(tx, &event.room, event.stream).await
}

/// What comes after the end changes nothing; but the broadcast must have begun.
async fn known(tx: &mut MySqlConnection, room: &RoomId, stream: EventId) -> Result<(), Fault> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM broadcasts WHERE id = ? AND room = ?")
            .bind(stream.0)
            .bind(room.as_str())
            .fetch_optional(tx)
            .await?;
    if found.is_none() {
        return Fault::unfit(format!("no broadcast {stream} in {room}"));
    }
    Ok(())
}

// === Reads ===

pub async fn by_id(pool: &MySqlPool, stream: EventId) -> Result<Option<Broadcast>> {
    let found = sqlx::query_as("SELECT * FROM broadcasts WHERE id = ?")
        .bind(stream.0)
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

/// What is on air in the room.
pub async fn live(pool: &MySqlPool, room: &RoomId) -> Result<Option<Broadcast>> {
    let found = sqlx::query_as(
        "SELECT * FROM broadcasts WHERE room = ? AND ended_at IS NULL \
         ORDER BY part DESC, record_offset DESC LIMIT 1",
    )
    .bind(room.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(found)
}

/// What is on air in the room, or was last.
pub async fn newest(pool: &MySqlPool, room: &RoomId) -> Result<Option<Broadcast>> {
    let found = sqlx::query_as(
        "SELECT * FROM broadcasts WHERE room = ? ORDER BY part DESC, record_offset DESC LIMIT 1",
    )
    .bind(room.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(found)
}

/// Which of the rooms are on air; at most [`many::MOST`] are asked about.
pub async fn live_among(
    connection: &mut MySqlConnection,
    rooms: &[RoomId],
) -> Result<HashSet<RoomId>> {
    let select = "SELECT DISTINCT room FROM broadcasts WHERE ended_at IS NULL AND room IN";
    let found = many::rows(connection, select, rooms).await?;
    let rooms = found.iter().map(|found| row::room(found, "room"));
    Ok(rooms.collect::<sqlx::Result<_>>()?)
}

/// Everything that is on air, by room.
pub async fn all_live(pool: &MySqlPool) -> Result<Vec<Broadcast>> {
    let found = sqlx::query_as(
        "SELECT * FROM broadcasts WHERE ended_at IS NULL ORDER BY room, part, record_offset",
    )
    .fetch_all(pool)
    .await?;
    Ok(found)
}

/// Broadcasts that this ingest began and never ended, as it finds them after a crash.
pub async fn left_open(pool: &MySqlPool, ingest: &str) -> Result<Vec<Broadcast>> {
    let found = sqlx::query_as(
        "SELECT * FROM broadcasts WHERE ended_at IS NULL AND ingest = ? ORDER BY started_at, id",
    )
    .bind(ingest)
    .fetch_all(pool)
    .await?;
    Ok(found)
}

pub async fn page(pool: &MySqlPool, room: &RoomId, slice: &Slice) -> Result<Page<Broadcast>> {
    let select = "SELECT * FROM broadcasts WHERE room = ?";
    page::of_room(pool, select, room, slice, |row: &Broadcast| row.position).await
}

/// What is kept of the room's broadcasts.
pub async fn recordings(pool: &MySqlPool, room: &RoomId, slice: &Slice) -> Result<Page<Broadcast>> {
    let select = "SELECT * FROM broadcasts WHERE recorded AND deleted_at IS NULL AND room = ?";
    page::of_room(pool, select, room, slice, |row: &Broadcast| row.position).await
}

/// Those of these broadcasts that are known; a few hundred are asked about at most.
pub async fn among(pool: &MySqlPool, streams: &[EventId]) -> Result<Vec<Broadcast>> {
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let places = vec!["?"; streams.len()].join(", ");
    let sql = format!("SELECT * FROM broadcasts WHERE id IN ({places})");
    // As many as there are, so it is of no use to remember each number of them.
    let query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
    let query = streams.iter().fold(query, |query, id| query.bind(id.0));
    Ok(query.fetch_all(pool).await?)
}

impl Broadcast {
    pub(crate) fn read(row: &MySqlRow, title: &str) -> sqlx::Result<Broadcast> {
        Ok(Broadcast {
            id: row::event(row, "id")?,
            room: row::room(row, "room")?,
            title: row.try_get(title)?,
            ingest: row.try_get("ingest")?,
            origin: row.try_get("origin")?,
            started_at: row::time(row, "started_at")?,
            interrupted_at: row::time_if_any(row, "interrupted_at")?,
            ended_at: row::time_if_any(row, "ended_at")?,
            reason: row.try_get("reason")?,
            recording: Recording::read(row)?,
            position: row::position(row, Topic::Streams)?,
        })
    }
}

impl Recording {
    fn read(row: &MySqlRow) -> sqlx::Result<Option<Recording>> {
        if !row.try_get::<bool, _>("recorded")? {
            return Ok(None);
        }
        let whole = match row::time_if_any(row, "recorded_from")? {
            Some(begins) => Some(Whole {
                begins,
                duration_ms: row.try_get("recorded_ms")?,
                bytes: row.try_get("recorded_bytes")?,
            }),
            None => None,
        };
        let deleted_at = row::time_if_any(row, "deleted_at")?;
        Ok(Some(Recording { whole, deleted_at }))
    }
}

impl FromRow<'_, MySqlRow> for Broadcast {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Broadcast> {
        Broadcast::read(row, "title")
    }
}

#[cfg(test)]
mod tests;
