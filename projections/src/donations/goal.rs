//! A room's goal: what was given since it was set, refunds taken off. One at a time.

use lemonair_schemas::donation::{GoalClosed, GoalStarted};
use lemonair_schemas::{EventId, RoomId, Timestamp};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};

use crate::projection::Fault;
use crate::{Result, row};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Goal {
    /// The event that set it.
    pub id: EventId,
    pub title: String,
    pub target: i64,
    pub amount: i64,
    pub started_at: Timestamp,
}

// === Writes ===

/// The goal before is over: two gateways may set one each, and the topic has an order.
pub(super) async fn start(tx: &mut MySqlConnection, event: &GoalStarted) -> Result<(), Fault> {
    sqlx::query("UPDATE goals SET closed_at = ? WHERE room = ? AND closed_at IS NULL")
        .bind(event.at.millis())
        .bind(event.room.as_str())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO goals (id, room, title, target, amount, started_at) VALUES (?, ?, ?, ?, 0, ?)",
    )
    .bind(event.id.0)
    .bind(event.room.as_str())
    .bind(&event.title)
    .bind(event.target)
    .bind(event.at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// One that is over already stays as it is.
pub(super) async fn close(tx: &mut MySqlConnection, event: &GoalClosed) -> Result<(), Fault> {
    sqlx::query("UPDATE goals SET closed_at = ? WHERE id = ? AND room = ? AND closed_at IS NULL")
        .bind(event.at.millis())
        .bind(event.goal.0)
        .bind(event.room.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

// === Reads ===

pub async fn goal(pool: &MySqlPool, room: &RoomId) -> Result<Option<Goal>> {
    let found = sqlx::query_as("SELECT * FROM goals WHERE room = ? AND closed_at IS NULL")
        .bind(room.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

impl FromRow<'_, MySqlRow> for Goal {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Goal> {
        Ok(Goal {
            id: row::event(row, "id")?,
            title: row.try_get("title")?,
            target: row.try_get("target")?,
            amount: row.try_get("amount")?,
            started_at: row::time(row, "started_at")?,
        })
    }
}
