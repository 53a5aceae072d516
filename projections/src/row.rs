//! Columns as our own types.

use lemonair_schemas::{AccountId, EventId, Position, RoomId, Timestamp, Topic};
use sqlx::mysql::MySqlRow;
use sqlx::{Result, Row};
use uuid::Uuid;

pub(crate) fn account(row: &MySqlRow, column: &str) -> Result<AccountId> {
    row.try_get::<Uuid, _>(column).map(AccountId)
}

pub(crate) fn event(row: &MySqlRow, column: &str) -> Result<EventId> {
    row.try_get::<Uuid, _>(column).map(EventId)
}

pub(crate) fn event_if_any(row: &MySqlRow, column: &str) -> Result<Option<EventId>> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(EventId))
}

pub(crate) fn time(row: &MySqlRow, column: &str) -> Result<Timestamp> {
    row.try_get::<i64, _>(column).map(Timestamp)
}

pub(crate) fn time_if_any(row: &MySqlRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

pub(crate) fn room(row: &MySqlRow, column: &str) -> Result<RoomId> {
    parse(row, column)
}

/// A text column that was written from a type of ours.
pub(crate) fn parse<T: std::str::FromStr>(row: &MySqlRow, column: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|source| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    })
}

/// Where the row's record stands.
pub(crate) fn position(row: &MySqlRow, topic: Topic) -> Result<Position> {
    Ok(Position {
        topic,
        partition: row.try_get("part")?,
        offset: row.try_get("record_offset")?,
    })
}
