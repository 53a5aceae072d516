//! Moderation: a room's settings, who is banned, timed out or a moderator, held messages, the pin.

mod log;
mod message;
mod settings;
mod standing;

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::chat::ChatSettings;
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{AccountId, Actor, Event, EventId, RoomId, Timestamp, Topic};
use sqlx::mysql::MySqlRow;
use sqlx::{Connection, MySqlConnection, Row};
use uuid::Uuid;

use crate::erasure::{Personal, Whose};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, many, row};

pub use log::{Entry, decision, page as log};
pub use message::{Held, Pin, held, held_message, pinned};
pub use settings::settings;
pub use standing::{Kind, Standing, count, standing, standings};

use message::{clear, hold, pin, release, unpin};
use settings::{set, settings_of};
use standing::{forget_ended, put, remove};

#[derive(Debug)]
pub struct Moderation;

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
                texts: &["blocked_words"],
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
        database: &'a str,
        event: &'a AccountErased,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        log::erase(tx, database, event).boxed()
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
    let mut snapshots: HashMap<RoomId, Snapshot> = rooms
        .iter()
        .map(|room| (room.clone(), Snapshot::default()))
        .collect();
    // Tables in the order of their names, which is that in which a swap locks them: who holds one that
    // a swap wants, and wants one that it holds, would be turned away.
    for row in many::rows(&mut tx, "SELECT * FROM chat_settings WHERE room IN", rooms).await? {
        if let Some(snapshot) = snapshots.get_mut(&row::room(&row, "room")?) {
            snapshot.settings = settings_of(&row)?;
        }
    }
    let held = "SELECT room, id, author FROM held_messages WHERE room IN";
    for row in many::rows(&mut tx, held, rooms).await? {
        if let Some(snapshot) = snapshots.get_mut(&row::room(&row, "room")?) {
            let message = (row::event(&row, "id")?, row::account(&row, "author")?);
            snapshot.held.push(message);
        }
    }
    let reached: HashMap<i32, i64> =
        sqlx::query_as("SELECT part, next_offset FROM moderation_checkpoint WHERE topic = ?")
            .bind(Topic::Chat.name())
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .collect();
    for (room, snapshot) in &mut snapshots {
        snapshot.next = reached.get(&partition(room)).copied().unwrap_or(0);
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
    tx.rollback().await?;
    Ok(snapshots)
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

#[cfg(test)]
mod tests;
