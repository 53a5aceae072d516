//! Moderation: a room's settings, who is banned, timed out or a moderator, held messages, the pin.

mod log;

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::chat::{
    ChatCleared, ChatSettings, ChatSettingsChanged, MessageHeld, MessagePinned,
};
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{AccountId, Actor, Event, EventId, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{Connection, Executor, FromRow, MySql, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use crate::erasure::{Personal, Whose};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, many, row};

pub use log::{Entry, decision, page as log};

#[derive(Debug)]
pub struct Moderation;

/// What an account is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Banned,
    TimedOut,
    Moderator,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub account: AccountId,
    /// As spelled then.
    pub name: String,
    pub since: Timestamp,
    /// When a time-out runs out.
    pub until: Option<Timestamp>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Held {
    pub id: EventId,
    #[serde(rename = "from")]
    pub author: Actor,
    pub text: String,
    pub nonce: Option<String>,
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

/// All that a gateway enforces in a room, as of one position.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The first offset of the room's partition that is not in it.
    pub next: i64,
    pub settings: ChatSettings,
    pub banned: Vec<AccountId>,
    pub timed_out: Vec<(AccountId, Timestamp)>,
    pub moderators: Vec<AccountId>,
    /// Held messages and their authors.
    pub held: Vec<(EventId, AccountId)>,
}

// === Writes ===

impl Projection for Moderation {
    fn name(&self) -> &'static str {
        "moderation"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Chat]
    }

    fn tables(&self) -> &'static [Table] {
        const fn by_room(name: &'static str) -> Table {
            Table { name, by: "room" }
        }
        const TABLES: &[Table] = &[
            by_room("chat_settings"),
            by_room("standings"),
            by_room("held_messages"),
            by_room("pins"),
            by_room("moderation_log"),
        ];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[
            Personal {
                table: "chat_settings",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "standings",
                whose: Whose::Account("account"),
                names: &["name"],
                texts: &[],
                secrets: &["reason"],
            },
            Personal {
                table: "standings",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "held_messages",
                whose: Whose::Account("author"),
                names: &["author_name"],
                texts: &["text"],
                secrets: &[],
            },
            Personal {
                table: "held_messages",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "pins",
                whose: Whose::Account("author"),
                names: &["author_name"],
                texts: &["text"],
                secrets: &[],
            },
            Personal {
                table: "pins",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "moderation_log",
                whose: Whose::Account("actor"),
                names: &["actor_name"],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "moderation_log",
                whose: Whose::Account("target"),
                names: &["target_name"],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "moderation_log",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
        ];
        PERSONAL
    }

    fn erase<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        event: &'a AccountErased,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        log::erase(tx, event).boxed()
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            for fact in facts {
                log::write(tx, fact).await?;
                change(tx, fact.event).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn change(tx: &mut MySqlConnection, event: &Event) -> Result<(), Fault> {
    match event {
        Event::ChatSettingsChanged(event) => set(tx, event).await,
        Event::MemberBanned(e) => {
            // Who is banned does not keep the keys.
            remove(tx, &e.room, Kind::Moderator, e.account).await?;
            let standing = (e.account, e.name.as_str(), e.at, None, e.reason.as_deref());
            put(tx, &e.room, Kind::Banned, standing).await
        }
        Event::MemberUnbanned(e) => remove(tx, &e.room, Kind::Banned, e.account).await,
        Event::MemberTimedOut(e) => {
            forget_ended(tx, &e.room, e.at).await?;
            let (until, reason) = (Some(e.until), e.reason.as_deref());
            let standing = (e.account, e.name.as_str(), e.at, until, reason);
            put(tx, &e.room, Kind::TimedOut, standing).await
        }
        Event::TimeoutLifted(e) => remove(tx, &e.room, Kind::TimedOut, e.account).await,
        Event::ModeratorAdded(e) => {
            let standing = (e.account, e.name.as_str(), e.at, None, None);
            put(tx, &e.room, Kind::Moderator, standing).await
        }
        Event::ModeratorRemoved(e) => remove(tx, &e.room, Kind::Moderator, e.account).await,
        Event::MessageHeld(event) => hold(tx, event).await,
        Event::HeldMessageApproved(e) => release(tx, &e.room, e.message).await,
        Event::HeldMessageDenied(e) => release(tx, &e.room, e.message).await,
        Event::MessagePinned(event) => pin(tx, event).await,
        Event::MessageUnpinned(e) => unpin(tx, &e.room, e.message).await,
        Event::MessageDeleted(e) => unpin(tx, &e.room, e.message).await,
        Event::ChatCleared(event) => clear(tx, event).await,
        _ => Ok(()),
    }
}

async fn set(tx: &mut MySqlConnection, event: &ChatSettingsChanged) -> Result<(), Fault> {
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

/// Account, name, since, until, reason.
type Given<'a> = (
    AccountId,
    &'a str,
    Timestamp,
    Option<Timestamp>,
    Option<&'a str>,
);

async fn put(
    tx: &mut MySqlConnection,
    room: &RoomId,
    kind: Kind,
    (account, name, since, until, reason): Given<'_>,
) -> Result<(), Fault> {
    sqlx::query(
        "REPLACE INTO standings (room, kind, account, name, since, ends, reason) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(room.as_str())
    .bind(kind.name())
    .bind(account.0)
    .bind(name)
    .bind(since.millis())
    .bind(until.map(Timestamp::millis))
    .bind(reason)
    .execute(tx)
    .await?;
    Ok(())
}

/// Time-outs that have run out, so that they do not pile up.
async fn forget_ended(tx: &mut MySqlConnection, room: &RoomId, at: Timestamp) -> Result<(), Fault> {
    sqlx::query("DELETE FROM standings WHERE room = ? AND kind = ? AND ends <= ?")
        .bind(room.as_str())
        .bind(Kind::TimedOut.name())
        .bind(at.millis())
        .execute(tx)
        .await?;
    Ok(())
}

async fn remove(
    tx: &mut MySqlConnection,
    room: &RoomId,
    kind: Kind,
    account: AccountId,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM standings WHERE room = ? AND kind = ? AND account = ?")
        .bind(room.as_str())
        .bind(kind.name())
        .bind(account.0)
        .execute(tx)
        .await?;
    Ok(())
}

async fn hold(tx: &mut MySqlConnection, event: &MessageHeld) -> Result<(), Fault> {
    let Some(author) = &event.actor else {
        return Fault::unfit("nobody is named as the author");
    };
    sqlx::query(
        // Sent twice, it is one message, where it first stood.
        "INSERT INTO held_messages (room, id, author, author_name, author_roles, text, nonce, \
         held_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE room = room",
    )
    .bind(event.room.as_str())
    .bind(event.id.0)
    .bind(author.id.0)
    .bind(&author.name)
    .bind(author.roles.join(","))
    .bind(&event.text)
    .bind(&event.nonce)
    .bind(event.at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

async fn release(tx: &mut MySqlConnection, room: &RoomId, message: EventId) -> Result<(), Fault> {
    sqlx::query("DELETE FROM held_messages WHERE room = ? AND id = ?")
        .bind(room.as_str())
        .bind(message.0)
        .execute(tx)
        .await?;
    Ok(())
}

async fn pin(tx: &mut MySqlConnection, event: &MessagePinned) -> Result<(), Fault> {
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

async fn unpin(tx: &mut MySqlConnection, room: &RoomId, message: EventId) -> Result<(), Fault> {
    sqlx::query("DELETE FROM pins WHERE room = ? AND message = ?")
        .bind(room.as_str())
        .bind(message.0)
        .execute(tx)
        .await?;
    Ok(())
}

/// Takes away what was said: what is held and what is pinned too.
async fn clear(tx: &mut MySqlConnection, event: &ChatCleared) -> Result<(), Fault> {
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

/// What is enforced in each of the rooms, and up to where on its partition that is known: one
/// consistent view. At most [`many::MOST`] are asked about.
pub async fn snapshots(
    connection: &mut MySqlConnection,
    rooms: &[RoomId],
    partition: impl Fn(&RoomId) -> i32,
) -> Result<HashMap<RoomId, Snapshot>> {
    // For the next transaction only; others of this connection read as always.
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .execute(&mut *connection)
        .await?;
    let mut tx = connection.begin().await?;
    let reached: HashMap<i32, i64> =
        sqlx::query_as("SELECT part, next_offset FROM moderation_checkpoint WHERE topic = ?")
            .bind(Topic::Chat.name())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .collect();
    let snapshot = |room: &RoomId| Snapshot {
        next: reached.get(&partition(room)).copied().unwrap_or(0),
        ..Snapshot::default()
    };
    let mut snapshots: HashMap<RoomId, Snapshot> = rooms
        .iter()
        .map(|room| (room.clone(), snapshot(room)))
        .collect();
    for row in many::rows(&mut tx, "SELECT * FROM chat_settings WHERE room IN", rooms).await? {
        if let Some(snapshot) = snapshots.get_mut(&row::room(&row, "room")?) {
            snapshot.settings = settings_of(&row)?;
        }
    }
    let standings = "SELECT room, kind, account, ends FROM standings WHERE room IN";
    for row in many::rows(&mut tx, standings, rooms).await? {
        let Some(snapshot) = snapshots.get_mut(&row::room(&row, "room")?) else {
            continue;
        };
        let account = row::account(&row, "account")?;
        match row.try_get("kind")? {
            "banned" => snapshot.banned.push(account),
            "moderator" => snapshot.moderators.push(account),
            _ => {
                if let Some(until) = row::time_if_any(&row, "ends")? {
                    snapshot.timed_out.push((account, until));
                }
            }
        }
    }
    let held = "SELECT room, id, author FROM held_messages WHERE room IN";
    for row in many::rows(&mut tx, held, rooms).await? {
        if let Some(snapshot) = snapshots.get_mut(&row::room(&row, "room")?) {
            let message = (row::event(&row, "id")?, row::account(&row, "author")?);
            snapshot.held.push(message);
        }
    }
    tx.rollback().await?;
    Ok(snapshots)
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

fn settings_of(row: &MySqlRow) -> sqlx::Result<ChatSettings> {
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

pub async fn standing(
    pool: &MySqlPool,
    room: &RoomId,
    kind: Kind,
    account: AccountId,
) -> Result<Option<Standing>> {
    let found =
        sqlx::query_as("SELECT * FROM standings WHERE room = ? AND kind = ? AND account = ?")
            .bind(room.as_str())
            .bind(kind.name())
            .bind(account.0)
            .fetch_optional(pool)
            .await?;
    Ok(found)
}

/// All who stand so in the room, by name. Their number is bounded where they are made.
pub async fn standings(pool: &MySqlPool, room: &RoomId, kind: Kind) -> Result<Vec<Standing>> {
    let found = sqlx::query_as("SELECT * FROM standings WHERE room = ? AND kind = ? ORDER BY name")
        .bind(room.as_str())
        .bind(kind.name())
        .fetch_all(pool)
        .await?;
    Ok(found)
}

pub async fn count(pool: &MySqlPool, room: &RoomId, kind: Kind) -> Result<i64> {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM standings WHERE room = ? AND kind = ?")
        .bind(room.as_str())
        .bind(kind.name())
        .fetch_one(pool)
        .await?;
    Ok(count)
}

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

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Banned => "banned",
            Kind::TimedOut => "timed_out",
            Kind::Moderator => "moderator",
        }
    }
}

/// An account as it was then, of columns `{prefix}`, `{prefix}_name` and `{prefix}_roles`.
fn somebody(row: &MySqlRow, prefix: &str) -> sqlx::Result<Option<Actor>> {
    let id: Option<Uuid> = row.try_get(prefix)?;
    let name: Option<String> = row.try_get(format!("{prefix}_name").as_str())?;
    let roles: &str = row.try_get(format!("{prefix}_roles").as_str())?;
    let roles = roles.split(',').filter(|role| !role.is_empty());
    Ok(id.zip(name).map(|(id, name)| Actor {
        id: AccountId(id),
        name,
        roles: roles.map(str::to_owned).collect(),
    }))
}

impl FromRow<'_, MySqlRow> for Standing {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Standing> {
        Ok(Standing {
            account: row::account(row, "account")?,
            name: row.try_get("name")?,
            since: row::time(row, "since")?,
            until: row::time_if_any(row, "ends")?,
            reason: row.try_get("reason")?,
        })
    }
}

impl FromRow<'_, MySqlRow> for Held {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Held> {
        Ok(Held {
            id: row::event(row, "id")?,
            author: somebody(row, "author")?.ok_or(sqlx::Error::RowNotFound)?,
            text: row.try_get("text")?,
            nonce: row.try_get("nonce")?,
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

#[cfg(test)]
mod tests;
