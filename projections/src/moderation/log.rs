//! Who did what to whom in a room: the audit trail of its moderation.

use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{AccountId, Actor, Event, EventId, Position, RoomId, Timestamp, Topic};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use super::somebody;
use crate::page::{self, Page, Slice};
use crate::projection::Fault;
use crate::{Fact, Result, erasure, row};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The event's id.
    pub id: EventId,
    pub at: Timestamp,
    /// The event's outside type, such as `member.banned`.
    pub action: String,
    pub actor: Option<Actor>,
    pub target: Option<Target>,
    /// The message that it was done to.
    pub message: Option<EventId>,
    /// What else the event says: reason, until when, settings.
    pub detail: Map<String, Value>,
    #[serde(skip)]
    pub position: Position,
}

/// To whom it was done, or whose message it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    pub id: AccountId,
    pub name: String,
}

/// What an event was done to.
struct Aim<'a> {
    target: Option<(AccountId, &'a str)>,
    message: Option<EventId>,
}

/// `None` if the event is nothing that a moderator did.
fn aim(event: &Event) -> Option<Aim<'_>> {
    let at_account = |account, name| Aim {
        target: Some((account, name)),
        message: None,
    };
    let at_message = |message, target| Aim {
        target,
        message: Some(message),
    };
    let aim = match event {
        Event::MessageDeleted(e) => at_message(e.message, None),
        Event::HeldMessageApproved(e) => at_message(e.message, Some((e.author.id, &e.author.name))),
        Event::HeldMessageDenied(e) => at_message(e.message, Some((e.account, &e.name))),
        Event::MessagePinned(e) => {
            let author = e.author.as_ref();
            at_message(
                e.message,
                author.map(|author| (author.id, author.name.as_str())),
            )
        }
        Event::MessageUnpinned(e) => at_message(e.message, None),
        Event::ChatCleared(e) => Aim {
            target: e.account.zip(e.name.as_deref()),
            message: None,
        },
        Event::ChatSettingsChanged(_) => Aim {
            target: None,
            message: None,
        },
        Event::MemberBanned(e) => at_account(e.account, &e.name),
        Event::MemberUnbanned(e) => at_account(e.account, &e.name),
        Event::MemberTimedOut(e) => at_account(e.account, &e.name),
        Event::TimeoutLifted(e) => at_account(e.account, &e.name),
        Event::ModeratorAdded(e) => at_account(e.account, &e.name),
        Event::ModeratorRemoved(e) => at_account(e.account, &e.name),
        _ => return None,
    };
    Some(aim)
}

pub(super) async fn write(tx: &mut MySqlConnection, fact: &Fact<'_>) -> Result<(), Fault> {
    let Some(Aim { target, message }) = aim(fact.event) else {
        return Ok(());
    };
    let Some(room) = fact.event.room() else {
        return Ok(());
    };
    let mut detail = fact.event.json();
    // What has a column of its own, and what was said: that is kept where it can be taken away.
    for name in [
        "type", "id", "at", "room", "from", "account", "name", "message", "author", "text",
        "nonce", "reply_to",
    ] {
        detail.remove(name);
    }
    let actor = fact.event.actor();
    sqlx::query(
        // An event that an unsure producer wrote twice was done once.
        "INSERT INTO moderation_log (room, part, record_offset, id, kind, actor, actor_name, \
         actor_roles, target, target_name, message, detail, done_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE room = room",
    )
    .bind(room.as_str())
    .bind(fact.position.partition)
    .bind(fact.position.offset)
    .bind(fact.event.id().0)
    .bind(fact.event.kind())
    .bind(actor.map(|actor| actor.id.0))
    .bind(actor.map(|actor| actor.name.as_str()))
    .bind(actor.map_or_else(String::new, |actor| actor.roles.join(",")))
    .bind(target.map(|(account, _)| account.0))
    .bind(target.map(|(_, name)| name))
    .bind(message.map(|message| message.0))
    .bind(Value::Object(detail).to_string())
    .bind(fact.event.at().millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// The reasons that somebody gave, or that were given for them, the words that their own room blocked, and
/// their name where only the log knows that it is theirs.
pub(super) async fn erase(
    tx: &mut MySqlConnection,
    database: &str,
    event: &AccountErased,
) -> Result<(), Fault> {
    let account = event.account.0;
    let log = format!("{database}.moderation_log");
    let sql = format!(
        "UPDATE {database}.pins p JOIN {log} l ON l.room = p.room AND l.message = p.message \
         AND l.done_at = p.pinned_at SET p.pinned_by = ? WHERE l.kind = 'chat.pinned' AND l.actor = ?"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(RoomId::of_erased(event.account).as_str())
        .bind(account)
        .execute(&mut *tx)
        .await?;
    let sql = format!(
        "UPDATE {database}.standings s JOIN {log} l ON l.room = s.room AND l.target = s.account \
         AND l.done_at = s.since SET s.reason = NULL WHERE l.actor = ?"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(account)
        .execute(&mut *tx)
        .await?;
    // No room goes by an empty name.
    let theirs = erasure::room_of(tx, &log, "room", event).await?;
    let theirs = theirs.unwrap_or_default();
    let sql = format!(
        "SELECT room, part, record_offset, detail FROM {log} \
         WHERE (actor = ? OR target = ?) AND detail LIKE '%\"reason\"%' \
         OR room = ? AND kind = 'chat.settings'"
    );
    let rows: Vec<(String, i32, i64, String)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(account)
        .bind(account)
        .bind(&theirs)
        .fetch_all(&mut *tx)
        .await?;
    for (room, part, offset, detail) in rows {
        // Written by us as an object.
        let mut detail: Map<String, Value> = serde_json::from_str(&detail).unwrap_or_default();
        detail.remove("reason");
        if room == theirs
            && let Some(words) = detail.get_mut("blocked_words")
        {
            *words = Value::Array(Vec::new());
        }
        let sql = format!(
            "UPDATE {log} SET detail = ? WHERE room = ? AND part = ? AND record_offset = ?"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(Value::Object(detail).to_string())
            .bind(room)
            .bind(part)
            .bind(offset)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// A page of what was done in the room, the last first.
pub async fn page(pool: &MySqlPool, room: &RoomId, slice: &Slice) -> Result<Page<Entry>> {
    // Whose a deleted message was, its own row knows.
    let select = "SELECT l.*, \
         (SELECT author FROM messages m WHERE m.id = l.message) AS message_author, \
         (SELECT author_name FROM messages m WHERE m.id = l.message) AS message_author_name \
         FROM moderation_log l WHERE room = ?";
    page::of_room(pool, select, room, slice, |row: &Entry| row.position).await
}

/// What became of a held message, if that is decided: `chat.approved` or `chat.denied`.
pub async fn decision(pool: &MySqlPool, room: &RoomId, message: EventId) -> Result<Option<String>> {
    let kind = sqlx::query_scalar(
        "SELECT kind FROM moderation_log WHERE room = ? AND message = ? \
         AND kind IN ('chat.approved', 'chat.denied') ORDER BY part, record_offset LIMIT 1",
    )
    .bind(room.as_str())
    .bind(message.0)
    .fetch_optional(pool)
    .await?;
    Ok(kind)
}

impl FromRow<'_, MySqlRow> for Entry {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Entry> {
        let account = |column| row.try_get::<Option<Uuid>, _>(column);
        let name = |column| row.try_get::<Option<String>, _>(column);
        let target = account("target")?.zip(name("target_name")?);
        let author = account("message_author")?.zip(name("message_author_name")?);
        let detail: &str = row.try_get("detail")?;
        Ok(Entry {
            id: row::event(row, "id")?,
            at: row::time(row, "done_at")?,
            action: row.try_get("kind")?,
            actor: somebody(row, "actor")?,
            target: target.or(author).map(|(id, name)| Target {
                id: AccountId(id),
                name,
            }),
            message: account("message")?.map(EventId),
            // Written by us as an object.
            detail: serde_json::from_str(detail).unwrap_or_default(),
            position: row::position(row, Topic::Chat)?,
        })
    }
}
