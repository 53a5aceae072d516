//! What a room amounts to, over several read models. Counted when asked.

use lemonair_schemas::RoomId;
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlPool, Row};

use crate::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RoomStats {
    /// Messages said and not deleted.
    pub messages: i64,
    /// Accounts that said them.
    pub chatters: i64,
    /// Donations, without those refunded.
    pub donations: i64,
    /// Points given, without those refunded.
    pub donated: i64,
    pub followers: i64,
    /// Broadcasts, the one on air included.
    pub streams: i64,
}

pub async fn of_room(pool: &MySqlPool, room: &RoomId) -> Result<RoomStats> {
    let stats = sqlx::query_as(
        "SELECT m.messages, m.chatters, d.donations, d.donated, \
         (SELECT COUNT(*) FROM followers WHERE room = ?) AS followers, \
         (SELECT COUNT(*) FROM broadcasts WHERE room = ?) AS streams \
         FROM (SELECT COUNT(*) AS messages, COUNT(DISTINCT author) AS chatters \
         FROM messages WHERE room = ? AND deleted_at IS NULL) m, \
         (SELECT CAST(COALESCE(SUM(donations), 0) AS SIGNED) AS donations, \
         CAST(COALESCE(SUM(amount), 0) AS SIGNED) AS donated FROM donors WHERE room = ? AND month = '') d",
    )
    .bind(room.as_str())
    .bind(room.as_str())
    .bind(room.as_str())
    .bind(room.as_str())
    .fetch_one(pool)
    .await?;
    Ok(stats)
}

impl FromRow<'_, MySqlRow> for RoomStats {
    fn from_row(row: &MySqlRow) -> sqlx::Result<RoomStats> {
        Ok(RoomStats {
            messages: row.try_get("messages")?,
            chatters: row.try_get("chatters")?,
            donations: row.try_get("donations")?,
            donated: row.try_get("donated")?,
            followers: row.try_get("followers")?,
            streams: row.try_get("streams")?,
        })
    }
}
