//! What a room asks of messages.

use lemonair_schemas::RoomId;
use lemonair_schemas::chat::{ChatSettings, ChatSettingsChanged};
use sqlx::mysql::MySqlRow;
use sqlx::{Executor, MySql, MySqlConnection, Row};

use crate::Result;
use crate::projection::Fault;

pub(super) async fn set(
    tx: &mut MySqlConnection,
    event: &ChatSettingsChanged,
) -> Result<(), Fault> {
    sqlx::query(
        "REPLACE INTO chat_settings (room, slow_mode_ms, followers_only_ms, unique_messages, \
         emote_only, blocked_words, links_allowed, hold_for_review) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.room.as_str())
    .bind(event.slow_mode_ms)
    .bind(event.followers_only_ms)
    .bind(event.unique_messages)
    .bind(event.emote_only)
    .bind(event.blocked_words.join("\n"))
    .bind(event.links_allowed)
    .bind(event.hold_for_review)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn settings<'e>(
    executor: impl Executor<'e, Database = MySql>,
    room: &RoomId,
) -> Result<ChatSettings> {
    let row = sqlx::query("SELECT * FROM chat_settings WHERE room = ?")
        .bind(room.as_str())
        .fetch_optional(executor)
        .await?;
    let settings = row.as_ref().map(settings_of).transpose()?;
    Ok(settings.unwrap_or_default())
}

pub(super) fn settings_of(row: &MySqlRow) -> sqlx::Result<ChatSettings> {
    let words: &str = row.try_get("blocked_words")?;
    Ok(ChatSettings {
        slow_mode_ms: row.try_get("slow_mode_ms")?,
        followers_only_ms: row.try_get("followers_only_ms")?,
        unique_messages: row.try_get("unique_messages")?,
        emote_only: row.try_get("emote_only")?,
        blocked_words: words.lines().map(str::to_owned).collect(),
        links_allowed: row.try_get("links_allowed")?,
        hold_for_review: row.try_get("hold_for_review")?,
    })
}
