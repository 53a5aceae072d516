//! The same question about many rooms at once: it costs hardly more than about one.

use std::cmp::Reverse;
use std::collections::HashMap;

use lemonair_schemas::{Position, RoomId};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection};

use crate::Result;

/// Rooms that are asked about at once, at most.
pub const MOST: usize = 64;
/// In few sizes, as each is a prepared statement.
const SIZES: [usize; 3] = [1, 8, MOST];

/// Rows of these rooms. `select` ends in `room IN`.
pub(crate) async fn rows(
    connection: &mut MySqlConnection,
    select: &str,
    rooms: &[RoomId],
) -> sqlx::Result<Vec<MySqlRow>> {
    let rooms = padded(rooms);
    let sql = format!("{select} ({})", vec!["?"; rooms.len()].join(", "));
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = rooms.fold(query, |query, room| query.bind(room));
    query.fetch_all(connection).await
}

/// The newest rows of each room, at most `limit`, newest first. `select` ends in `WHERE room = ?`.
pub(crate) async fn newest<T>(
    connection: &mut MySqlConnection,
    select: &str,
    rooms: &[RoomId],
    limit: usize,
    place: fn(&T) -> (&RoomId, Position),
) -> Result<HashMap<RoomId, Vec<T>>>
where
    T: for<'r> FromRow<'r, MySqlRow> + Send + Unpin,
{
    let rooms = padded(rooms);
    let one = format!("({select} ORDER BY part DESC, record_offset DESC LIMIT {limit})");
    let sql = vec![one; rooms.len()].join(" UNION ALL ");
    let query = sqlx::query_as(AssertSqlSafe(sql));
    let query = rooms.fold(query, |query, room| query.bind(room));
    let mut found: HashMap<RoomId, Vec<T>> = HashMap::new();
    for row in query.fetch_all(connection).await? {
        found.entry(place(&row).0.clone()).or_default().push(row);
    }
    // A union need not keep the order of its parts.
    for rows in found.values_mut() {
        rows.sort_by_key(|row| Reverse(place(row).1));
    }
    Ok(found)
}

/// The rooms, and as many empty names, which no room has, as fill up one of the [`SIZES`].
fn padded(rooms: &[RoomId]) -> impl ExactSizeIterator<Item = &str> {
    let size = SIZES.into_iter().find(|size| *size >= rooms.len());
    let size = size.unwrap_or(rooms.len());
    (0..size).map(|index| rooms.get(index).map_or("", RoomId::as_str))
}
