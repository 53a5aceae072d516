//! Records that could not be decoded or applied: rows beside the checkpoint that passes them.

use lemonair_consumers::Poison;
use lemonair_schemas::{Position, Timestamp};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};

use crate::{Projection, Result, row};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The read model that lacks it.
    pub projection: String,
    pub position: Position,
    pub key: Vec<u8>,
    /// The record's own time.
    pub record_at: Timestamp,
    pub schema_id: Option<u32>,
    pub cause: String,
    /// The record as it stands on the topic; if it could be decoded, encoded again.
    pub bytes: Vec<u8>,
    pub tries: i32,
    /// `open`, `applied` or `dropped`.
    pub state: String,
}

/// Keeps a record, in the transaction that moves the checkpoint past it.
pub(crate) async fn keep(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    position: Position,
    key: &[u8],
    at: Timestamp,
    poison: &Poison,
) -> sqlx::Result<()> {
    tracing::warn!(
        projection = projection.name(),
        topic = %position.topic,
        partition = position.partition,
        offset = position.offset,
        cause = poison.cause,
        "record put with the dead letters"
    );
    sqlx::query(
        "INSERT INTO dead_letters (projection, topic, part, record_offset, record_key, record_at, \
         schema_id, cause, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE cause = VALUES(cause), state = 'open', tries = tries + 1",
    )
    .bind(projection.name())
    .bind(position.topic.name())
    .bind(position.partition)
    .bind(position.offset)
    .bind(&key[..key.len().min(512)])
    .bind(at.millis())
    .bind(poison.schema_id)
    .bind(poison.cause.chars().take(4000).collect::<String>())
    .bind(&poison.bytes)
    .execute(tx)
    .await?;
    Ok(())
}

/// Letters still open, oldest record first: of one read model or of all.
pub async fn open(
    pool: &MySqlPool,
    projection: Option<&str>,
    limit: u32,
) -> Result<Vec<DeadLetter>> {
    let found = sqlx::query_as(
        "SELECT * FROM dead_letters WHERE state = 'open' AND (? IS NULL OR projection = ?) \
         ORDER BY record_at, projection, topic, part, record_offset LIMIT ?",
    )
    .bind(projection)
    .bind(projection)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(found)
}

impl FromRow<'_, MySqlRow> for DeadLetter {
    fn from_row(row: &MySqlRow) -> sqlx::Result<DeadLetter> {
        let schema_id: Option<i64> = row.try_get("schema_id")?;
        Ok(DeadLetter {
            projection: row.try_get("projection")?,
            position: row::position(row, row::parse(row, "topic")?)?,
            key: row.try_get("record_key")?,
            record_at: row::time(row, "record_at")?,
            schema_id: schema_id.and_then(|id| u32::try_from(id).ok()),
            cause: row.try_get("cause")?,
            bytes: row.try_get("bytes")?,
            tries: row.try_get("tries")?,
            state: row.try_get("state")?,
        })
    }
}
