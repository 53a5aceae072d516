//! Messages that moderators have to do with: those that wait for them, and the one that they pinned.

use lemonair_schemas::chat::{ChatCleared, MessageHeld, MessagePinned};
use lemonair_schemas::{Actor, EventId, RoomId, Timestamp};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};

use super::somebody;
use crate::projection::Fault;
use crate::{Result, row};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Held {
    pub id: EventId,
    #[serde(rename = "from")]
    pub author: Actor,
    pub text: String,
    pub nonce: Option<String>,
    pub reply_to: Option<EventId>,
    #[serde(rename = "at")]
    pub held_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pin {
    pub message: EventId,
    pub author: Option<Actor>,
    pub text: String,
    /// Name of who pinned it.
    pub pinned_by: Option<String>,
    pub pinned_at: Timestamp,
}

// === Writes ===

pub(super) async fn hold(tx: &mut MySqlConnection, event: &MessageHeld) -> Result<(), Fault> {
    let Some(author) = &event.actor else {
        return Fault::unfit("nobody is named as the author");
    };
    sqlx::query(
        // Sent twice, it is one message, where it first stood.
        "INSERT INTO held_messages (room, id, author, author_name, author_roles, text, nonce, \
         reply_to, held_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE room = room",
    )
    .bind(event.room.as_str())
    .bind(event.id.0)
    .bind(author.id.0)
    .bind(&author.name)
    .bind(author.roles.join(","))
    .bind(&event.text)
    .bind(&event.nonce)
    .bind(event.reply_to.map(|message| message.0))
    .bind(event.at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn release(
    tx: &mut MySqlConnection,
    room: &RoomId,
    message: EventId,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM held_messages WHERE room = ? AND id = ?")
        .bind(room.as_str())
        .bind(message.0)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn pin(tx: &mut MySqlConnection, event: &MessagePinned) -> Result<(), Fault> {
    let author = event.author.as_ref();
    sqlx::query(
        "REPLACE INTO pins (room, message, author, author_name, author_roles, text, pinned_by, \
         pinned_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.room.as_str())
    .bind(event.message.0)
    .bind(author.map(|author| author.id.0))
    .bind(author.map(|author| author.name.as_str()))
    .bind(author.map_or_else(String::new, |author| author.roles.join(",")))
    .bind(&event.text)
    .bind(event.actor.as_ref().map(|actor| actor.name.as_str()))
    .bind(event.at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn unpin(
    tx: &mut MySqlConnection,
    room: &RoomId,
    message: EventId,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM pins WHERE room = ? AND message = ?")
        .bind(room.as_str())
        .bind(message.0)
        .execute(tx)
        .await?;
    Ok(())
}

/// Takes away what was said: what is held and what is pinned too.
pub(super) async fn clear(tx: &mut MySqlConnection, event: &ChatCleared) -> Result<(), Fault> {
    for (all, of_one) in [
        (
            "DELETE FROM held_messages WHERE room = ?",
            "DELETE FROM held_messages WHERE room = ? AND author = ?",
        ),
        (
            "DELETE FROM pins WHERE room = ?",
            "DELETE FROM pins WHERE room = ? AND author = ?",
        ),
    ] {
        let query = match event.account {
            None => sqlx::query(all).bind(event.room.as_str()),
            Some(account) => sqlx::query(of_one)
                .bind(event.room.as_str())
                .bind(account.0),
        };
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

// === Reads ===

/// Messages that wait for a moderator, the oldest first.
pub async fn held(pool: &MySqlPool, room: &RoomId) -> Result<Vec<Held>> {
    let found = sqlx::query_as("SELECT * FROM held_messages WHERE room = ? ORDER BY id")
        .bind(room.as_str())
        .fetch_all(pool)
        .await?;
    Ok(found)
}

pub async fn held_message(
    pool: &MySqlPool,
    room: &RoomId,
    message: EventId,
) -> Result<Option<Held>> {
    let found = sqlx::query_as("SELECT * FROM held_messages WHERE room = ? AND id = ?")
        .bind(room.as_str())
        .bind(message.0)
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

pub async fn pinned(pool: &MySqlPool, room: &RoomId) -> Result<Option<Pin>> {
    let found = sqlx::query_as("SELECT * FROM pins WHERE room = ?")
        .bind(room.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

impl FromRow<'_, MySqlRow> for Held {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Held> {
        Ok(Held {
            id: row::event(row, "id")?,
            author: somebody(row, "author")?.ok_or(sqlx::Error::RowNotFound)?,
            text: row.try_get("text")?,
            nonce: row.try_get("nonce")?,
            reply_to: row::event_if_any(row, "reply_to")?,
            held_at: row::time(row, "held_at")?,
        })
    }
}

impl FromRow<'_, MySqlRow> for Pin {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Pin> {
        Ok(Pin {
            message: row::event(row, "message")?,
            author: somebody(row, "author")?,
            text: row.try_get("text")?,
            pinned_by: row.try_get("pinned_by")?,
            pinned_at: row::time(row, "pinned_at")?,
        })
    }
}
