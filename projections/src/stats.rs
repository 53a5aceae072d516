//! What a room or a broadcast amounts to, over several read models. Counted when asked.

use lemonair_schemas::{RoomId, Timestamp};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlPool, Row};

use crate::Result;
use crate::chatters::minute;

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

/// A part of a room's time. What is kept by the minute counts from the minute in which it begins to the
/// one in which it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Watching at the same time, at most.
    pub peak_viewers: i64,
    /// Messages said, also those that were deleted later.
    pub messages: i64,
    /// Accounts that said them.
    pub chatters: i64,
    /// Donations, without those refunded.
    pub donations: i64,
    /// Points given, without those refunded.
    pub donated: i64,
    /// Who began to follow and does so still.
    pub new_followers: i64,
}

/// How it went, in steps of equal length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Course {
    pub step_seconds: i64,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Point {
    pub at: Timestamp,
    /// At most, during the step.
    pub viewers: i64,
    pub messages: i64,
    pub chatters: i64,
    pub donations: i64,
    pub donated: i64,
}

/// Points of a course, at most.
const POINTS: i64 = 240;

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

pub async fn totals(pool: &MySqlPool, room: &RoomId, span: Span) -> Result<Totals> {
    let (first, last) = (minute(span.from), minute(span.to));
    let totals = sqlx::query_as(
        "SELECT said.messages, said.chatters, given.donations, given.donated, \
         (SELECT CAST(COALESCE(MAX(together), 0) AS SIGNED) FROM (SELECT SUM(viewers) AS together \
         FROM viewers WHERE room = ? AND minute BETWEEN ? AND ? GROUP BY minute) AS watched) \
         AS peak_viewers, \
         (SELECT COUNT(*) FROM followers WHERE room = ? AND since BETWEEN ? AND ?) AS new_followers \
         FROM (SELECT CAST(COALESCE(SUM(messages), 0) AS SIGNED) AS messages, \
         COUNT(DISTINCT account) AS chatters FROM chatters \
         WHERE room = ? AND minute BETWEEN ? AND ?) AS said, \
         (SELECT COUNT(*) AS donations, CAST(COALESCE(SUM(amount - refunded), 0) AS SIGNED) AS donated \
         FROM donations WHERE room = ? AND donated_at BETWEEN ? AND ? AND refunded < amount) AS given",
    )
    .bind(room.as_str())
    .bind(first)
    .bind(last)
    .bind(room.as_str())
    .bind(span.from.millis())
    .bind(span.to.millis())
    .bind(room.as_str())
    .bind(first)
    .bind(last)
    .bind(room.as_str())
    .bind(span.from.millis())
    .bind(span.to.millis())
    .fetch_one(pool)
    .await?;
    Ok(totals)
}

pub async fn course(pool: &MySqlPool, room: &RoomId, span: Span) -> Result<Course> {
    let (first, last) = (minute(span.from), minute(span.to).max(minute(span.from)));
    let step = (last - first) / POINTS + 1;
    let point = |place| Point {
        at: Timestamp((first + place * step) * 60_000),
        ..Point::default()
    };
    let mut points: Vec<Point> = (0..=(last - first) / step).map(point).collect();
    const WATCHED: &str = "SELECT (minute - ?) DIV ? AS place, CAST(MAX(together) AS SIGNED) AS viewers \
         FROM (SELECT minute, SUM(viewers) AS together FROM viewers \
         WHERE room = ? AND minute BETWEEN ? AND ? GROUP BY minute) AS watched GROUP BY place";
    const SAID: &str = "SELECT (minute - ?) DIV ? AS place, CAST(SUM(messages) AS SIGNED) AS messages, \
         COUNT(DISTINCT account) AS chatters FROM chatters \
         WHERE room = ? AND minute BETWEEN ? AND ? GROUP BY place";
    const GIVEN: &str = "SELECT (donated_at DIV 60000 - ?) DIV ? AS place, COUNT(*) AS donations, \
         CAST(SUM(amount - refunded) AS SIGNED) AS donated FROM donations \
         WHERE room = ? AND donated_at BETWEEN ? AND ? AND refunded < amount GROUP BY place";
    let (from, to) = (span.from.millis(), span.to.millis());
    for (sql, begin, end) in [
        (WATCHED, first, last),
        (SAID, first, last),
        (GIVEN, from, to),
    ] {
        let rows = sqlx::query(sql)
            .bind(first)
            .bind(step)
            .bind(room.as_str())
            .bind(begin)
            .bind(end)
            .fetch_all(pool)
            .await?;
        for row in rows {
            let place = usize::try_from(row.try_get::<i64, _>("place")?).unwrap_or(usize::MAX);
            let Some(point) = points.get_mut(place) else {
                continue;
            };
            match sql {
                WATCHED => point.viewers = row.try_get("viewers")?,
                SAID => {
                    point.messages = row.try_get("messages")?;
                    point.chatters = row.try_get("chatters")?;
                }
                _ => {
                    point.donations = row.try_get("donations")?;
                    point.donated = row.try_get("donated")?;
                }
            }
        }
    }
    Ok(Course {
        step_seconds: step * 60,
        points,
    })
}

impl FromRow<'_, MySqlRow> for Totals {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Totals> {
        Ok(Totals {
            peak_viewers: row.try_get("peak_viewers")?,
            messages: row.try_get("messages")?,
            chatters: row.try_get("chatters")?,
            donations: row.try_get("donations")?,
            donated: row.try_get("donated")?,
            new_followers: row.try_get("new_followers")?,
        })
    }
}

#[cfg(test)]
mod tests;
