//! Chat history.

use std::collections::{HashMap, HashSet};

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::chat::{ChatCleared, MessageDeleted, MessagePosted};
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{AccountId, Actor, Event, EventId, Position, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use crate::erasure::{Personal, Whose};
use crate::page::{self, Page, Slice};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, insert, many, row};

#[derive(Debug)]
pub struct Messages;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// The event's id.
    pub id: EventId,
    pub room: RoomId,
    /// As known when it was said; `None` when the system said it.
    pub author: Option<Actor>,
    /// Empty once it was deleted.
    pub text: String,
    pub nonce: Option<String>,
    /// The message that it answers.
    pub reply_to: Option<EventId>,
    pub sent_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    /// The room's order.
    #[serde(skip)]
    pub position: Position,
}

// === Writes ===

impl Projection for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Chat]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[Table {
            name: "messages",
            by: "room",
        }];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[
            Personal {
                table: "messages",
                whose: Whose::Account("author"),
                names: &["author_name"],
                texts: &["text"],
                secrets: &[],
            },
            Personal {
                table: "messages",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
        ];
        PERSONAL
    }

    /// What has no text any more counts as deleted, as what is read anew without one does.
    fn erase<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        database: &'a str,
        event: &'a AccountErased,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let sql =
                format!("UPDATE {database}.messages SET deleted_at = sent_at WHERE author = ?");
            sqlx::query(AssertSqlSafe(sql))
                .bind(event.account.0)
                .execute(tx)
                .await?;
            Ok(())
        }
        .boxed()
    }

    fn rows_are_records(&self) -> bool {
        true
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let mut posted = Vec::with_capacity(facts.len());
            for fact in facts {
                match fact.event {
                    Event::MessagePosted(event) => posted.push((fact.position, event)),
                    Event::HeldMessageApproved(event) => {
                        post_all(tx, &mut posted).await?;
                        post(tx, &[(fact.position, &MessagePosted::from(event))]).await?;
                    }
                    Event::MessageDeleted(event) => {
                        post_all(tx, &mut posted).await?;
                        delete(tx, event).await?;
                    }
                    Event::ChatCleared(event) => {
                        post_all(tx, &mut posted).await?;
                        clear(tx, event).await?;
                    }
                    _ => {}
                }
            }
            post_all(tx, &mut posted).await
        }
        .boxed()
    }
}

/// Before what comes behind them.
async fn post_all(
    tx: &mut MySqlConnection,
    posted: &mut Vec<(Position, &MessagePosted)>,
) -> Result<(), Fault> {
    post(tx, posted).await?;
    posted.clear();
    Ok(())
}

async fn post(
    tx: &mut MySqlConnection,
    posted: &[(Position, &MessagePosted)],
) -> Result<(), Fault> {
    const INSERT: &str = "INSERT INTO messages (room, part, record_offset, id, author, author_name, \
         author_roles, text, nonce, reply_to, sent_at, deleted_at)";
    // A message that was sent twice (by an unsure producer, or with the same nonce through two
    // gateways at once) is one message, where it first stood.
    const TAIL: &str = "ON DUPLICATE KEY UPDATE room = room";
    for chunk in insert::chunks(posted) {
        let sql = insert::statement(
            INSERT,
            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            chunk.len(),
            TAIL,
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (position, event) in chunk {
            let author = event.actor.as_ref();
            query = query
                .bind(event.room.as_str())
                .bind(position.partition)
                .bind(position.offset)
                .bind(event.id.0)
                .bind(author.map(|author| author.id.0))
                .bind(author.map(|author| author.name.as_str()))
                .bind(author.map_or_else(String::new, |author| author.roles.join(",")))
                .bind(&event.text)
                .bind(&event.nonce)
                .bind(event.reply_to.map(|message| message.0))
                .bind(event.at.millis())
                .bind(event.text.is_empty().then_some(event.at.millis()));
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// A message that is not there was refused before it could be seen: nothing is left to delete.
async fn delete(tx: &mut MySqlConnection, event: &MessageDeleted) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE messages SET text = '', deleted_at = COALESCE(deleted_at, ?) \
         WHERE id = ? AND room = ?",
    )
    .bind(event.at.millis())
    .bind(event.message.0)
    .bind(event.room.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes away all that was said so far, by one account or by everybody.
async fn clear(tx: &mut MySqlConnection, event: &ChatCleared) -> Result<(), Fault> {
    const ALL: &str = "UPDATE messages SET text = '', deleted_at = ? \
         WHERE room = ? AND deleted_at IS NULL";
    const OF_ONE: &str = "UPDATE messages SET text = '', deleted_at = ? \
         WHERE room = ? AND deleted_at IS NULL AND author = ?";
    let query = sqlx::query(if event.account.is_none() { ALL } else { OF_ONE })
        .bind(event.at.millis())
        .bind(event.room.as_str());
    let query = match event.account {
        None => query,
        Some(account) => query.bind(account.0),
    };
    query.execute(tx).await?;
    Ok(())
}

// === Reads ===

/// Which of these messages were deleted; a few hundred are asked about at most.
pub async fn deleted_among(pool: &MySqlPool, messages: &[EventId]) -> Result<HashSet<EventId>> {
    if messages.is_empty() {
        return Ok(HashSet::new());
    }
    let places = vec!["?"; messages.len()].join(", ");
    let sql = format!("SELECT id FROM messages WHERE id IN ({places}) AND deleted_at IS NOT NULL");
    // As many as there are, so it is of no use to remember each number of them.
    let query = sqlx::query_scalar::<_, Uuid>(AssertSqlSafe(sql)).persistent(false);
    let query = messages.iter().fold(query, |query, id| query.bind(id.0));
    let found = query.fetch_all(pool).await?;
    Ok(found.into_iter().map(EventId).collect())
}

/// Whether anything is left of what was said in the room, by this account or by anybody.
pub async fn any(pool: &MySqlPool, room: &RoomId, author: Option<AccountId>) -> Result<bool> {
    const ALL: &str = "SELECT 1 FROM messages WHERE room = ? AND deleted_at IS NULL LIMIT 1";
    const OF_ONE: &str =
        "SELECT 1 FROM messages WHERE room = ? AND deleted_at IS NULL AND author = ? LIMIT 1";
    let query = sqlx::query_scalar(if author.is_none() { ALL } else { OF_ONE }).bind(room.as_str());
    let query = match author {
        None => query,
        Some(author) => query.bind(author.0),
    };
    let found: Option<i64> = query.fetch_optional(pool).await?;
    Ok(found.is_some())
}

pub async fn by_id(pool: &MySqlPool, message: EventId) -> Result<Option<Message>> {
    let found = sqlx::query_as("SELECT * FROM messages WHERE id = ?")
        .bind(message.0)
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

/// A page of what was said in the room, in the room's order backwards.
pub async fn page(pool: &MySqlPool, room: &RoomId, slice: &Slice) -> Result<Page<Message>> {
    let select = "SELECT * FROM messages WHERE room = ?";
    page::of_room(pool, select, room, slice, |row: &Message| row.position).await
}

/// The newest of what was said in each of the rooms, newest first. At most
/// [`many::MOST`] rooms are asked about.
pub async fn newest(
    connection: &mut MySqlConnection,
    rooms: &[RoomId],
    limit: usize,
) -> Result<HashMap<RoomId, Vec<Message>>> {
    let select = "SELECT * FROM messages WHERE room = ?";
    many::newest(connection, select, rooms, limit, |row: &Message| {
        (&row.room, row.position)
    })
    .await
}

impl FromRow<'_, MySqlRow> for Message {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Message> {
        let author: Option<Uuid> = row.try_get("author")?;
        let name: Option<String> = row.try_get("author_name")?;
        let roles: &str = row.try_get("author_roles")?;
        let roles = roles.split(',').filter(|role| !role.is_empty());
        let deleted_at = row::time_if_any(row, "deleted_at")?;
        Ok(Message {
            id: row::event(row, "id")?,
            room: row::room(row, "room")?,
            author: author.zip(name).map(|(id, name)| Actor {
                id: AccountId(id),
                name,
                roles: roles.map(str::to_owned).collect(),
            }),
            text: match deleted_at {
                Some(_) => String::new(),
                None => row.try_get("text")?,
            },
            nonce: row.try_get("nonce")?,
            reply_to: row::event_if_any(row, "reply_to")?,
            sent_at: row::time(row, "sent_at")?,
            deleted_at,
            position: row::position(row, Topic::Chat)?,
        })
    }
}

#[cfg(test)]
mod tests;
