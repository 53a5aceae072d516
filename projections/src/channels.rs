//! Channels and their followers.

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::channel::{
    ChannelFollowed, ChannelOpened, ChannelUnfollowed, ChannelUpdated, OverlayKeyRotated,
};
use lemonair_schemas::{AccountId, Actor, Event, EventId, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use crate::broadcasts::Broadcast;
use crate::erasure::{Personal, Whose};
use crate::page::{Cursor, Edge, Page, Slice};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, row};

#[derive(Debug)]
pub struct Channels;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Channel {
    pub room: RoomId,
    pub owner: AccountId,
    /// As its owner spells it.
    pub name: String,
    pub title: String,
    pub category: String,
    pub description: String,
    pub followers: i64,
    pub opened_at: Timestamp,
}

/// A channel as the directory lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub channel: Channel,
    /// The broadcast that is on air.
    pub live: Option<Broadcast>,
}

// === Writes ===

impl Projection for Channels {
    fn name(&self) -> &'static str {
        "channels"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Channels]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[
            Table {
                name: "channels",
                by: "room",
            },
            Table {
                name: "followers",
                by: "room",
            },
        ];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[
            Personal {
                table: "channels",
                whose: Whose::Room("room"),
                names: &["name"],
                texts: &["title", "category", "description"],
                secrets: &[],
            },
            Personal {
                table: "followers",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
        ];
        PERSONAL
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            for fact in facts {
                match fact.event {
                    Event::ChannelOpened(event) => open(tx, event).await?,
                    Event::ChannelUpdated(event) => update(tx, event).await?,
                    Event::OverlayKeyRotated(event) => rotate_overlay_key(tx, event).await?,
                    Event::ChannelFollowed(event) => follow(tx, event).await?,
                    Event::ChannelUnfollowed(event) => unfollow(tx, event).await?,
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }
}

async fn open(tx: &mut MySqlConnection, event: &ChannelOpened) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO channels (room, owner, name, description, opened_at) VALUES (?, ?, ?, '', ?)",
    )
    .bind(event.room.as_str())
    .bind(event.owner.0)
    .bind(&event.name)
    .bind(event.at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

async fn update(tx: &mut MySqlConnection, event: &ChannelUpdated) -> Result<(), Fault> {
    let changed =
        sqlx::query("UPDATE channels SET title = ?, category = ?, description = ? WHERE room = ?")
            .bind(&event.title)
            .bind(&event.category)
            .bind(&event.description)
            .bind(event.room.as_str())
            .execute(tx)
            .await?;
    found(changed.rows_affected(), &event.room)
}

async fn rotate_overlay_key(
    tx: &mut MySqlConnection,
    event: &OverlayKeyRotated,
) -> Result<(), Fault> {
    let changed = sqlx::query("UPDATE channels SET overlay_key = ? WHERE room = ?")
        .bind(event.id.0)
        .bind(event.room.as_str())
        .execute(tx)
        .await?;
    found(changed.rows_affected(), &event.room)
}

/// Following twice is following once, since the first time.
async fn follow(tx: &mut MySqlConnection, event: &ChannelFollowed) -> Result<(), Fault> {
    let follower = follower(event.actor.as_ref())?;
    let added = sqlx::query(
        "INSERT INTO followers (room, account, since) SELECT ?, ?, ? FROM DUAL \
         WHERE NOT EXISTS (SELECT 1 FROM followers WHERE room = ? AND account = ?)",
    )
    .bind(event.room.as_str())
    .bind(follower.id.0)
    .bind(event.at.millis())
    .bind(event.room.as_str())
    .bind(follower.id.0)
    .execute(&mut *tx)
    .await?;
    count_followers(tx, &event.room, added.rows_affected().cast_signed()).await
}

async fn unfollow(tx: &mut MySqlConnection, event: &ChannelUnfollowed) -> Result<(), Fault> {
    let follower = follower(event.actor.as_ref())?;
    let removed = sqlx::query("DELETE FROM followers WHERE room = ? AND account = ?")
        .bind(event.room.as_str())
        .bind(follower.id.0)
        .execute(&mut *tx)
        .await?;
    count_followers(tx, &event.room, -removed.rows_affected().cast_signed()).await
}

async fn count_followers(tx: &mut MySqlConnection, room: &RoomId, by: i64) -> Result<(), Fault> {
    let changed = sqlx::query("UPDATE channels SET followers = followers + ? WHERE room = ?")
        .bind(by)
        .bind(room.as_str())
        .execute(tx)
        .await?;
    found(changed.rows_affected(), room)
}

fn follower(actor: Option<&Actor>) -> Result<&Actor, Fault> {
    actor.ok_or_else(|| Fault::Unfit("nobody is named as the follower".to_owned()))
}

/// sqlx counts the rows that a statement found, also those that were so already.
fn found(rows: u64, room: &RoomId) -> Result<(), Fault> {
    if rows == 0 {
        return Fault::unfit(format!("no channel {room}"));
    }
    Ok(())
}

// === Reads ===

pub async fn by_room(pool: &MySqlPool, room: &RoomId) -> Result<Option<Channel>> {
    let found = sqlx::query_as("SELECT * FROM channels WHERE room = ?")
        .bind(room.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

/// The event that made the room's overlay key; nothing inside for the first key. `None` where there is
/// no such channel.
pub async fn overlay_key(pool: &MySqlPool, room: &RoomId) -> Result<Option<Option<EventId>>> {
    let found: Option<Option<Uuid>> =
        sqlx::query_scalar("SELECT overlay_key FROM channels WHERE room = ?")
            .bind(room.as_str())
            .fetch_optional(pool)
            .await?;
    Ok(found.map(|key| key.map(EventId)))
}

pub async fn is_following(pool: &MySqlPool, room: &RoomId, account: AccountId) -> Result<bool> {
    Ok(following_since(pool, room, account).await?.is_some())
}

pub async fn following_since(
    pool: &MySqlPool,
    room: &RoomId,
    account: AccountId,
) -> Result<Option<Timestamp>> {
    let since: Option<i64> =
        sqlx::query_scalar("SELECT since FROM followers WHERE room = ? AND account = ?")
            .bind(room.as_str())
            .bind(account.0)
            .fetch_optional(pool)
            .await?;
    Ok(since.map(Timestamp))
}

/// The rooms that an account follows, by name.
pub async fn followed_by(pool: &MySqlPool, account: AccountId) -> Result<Vec<RoomId>> {
    let rows = sqlx::query("SELECT room FROM followers WHERE account = ? ORDER BY room")
        .bind(account.0)
        .fetch_all(pool)
        .await?;
    let rooms: sqlx::Result<Vec<RoomId>> = rows.iter().map(|row| row::room(row, "room")).collect();
    Ok(rooms?)
}

/// The directory, by name: all channels, or those on air, each with its broadcast if it has one.
/// What is left of the erased's is nobody's, and is not in it.
pub async fn list(pool: &MySqlPool, live_only: bool, slice: &Slice) -> Result<Page<Listed>> {
    // Of two broadcasts that a takeover left open side by side, the later one counts.
    const SELECT: &str = "SELECT c.*, b.id, b.title AS live_title, b.ingest, b.origin, \
         b.started_at, b.interrupted_at, b.ended_at, b.reason, b.recorded, b.recorded_from, \
         b.recorded_ms, b.recorded_bytes, b.deleted_at, b.part, b.record_offset \
         FROM channels c LEFT JOIN broadcasts b ON b.room = c.room AND b.ended_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM broadcasts l WHERE l.room = b.room \
         AND l.ended_at IS NULL AND l.record_offset > b.record_offset)";
    let live = if live_only {
        "b.id IS NOT NULL"
    } else {
        "TRUE"
    };
    let (place, order, edge) = match &slice.edge {
        Edge::Start => ("", "c.room", None),
        Edge::Before(edge) => ("AND c.room > ?", "c.room", Some(edge)),
        Edge::After(edge) => ("AND c.room < ?", "c.room DESC", Some(edge)),
    };
    let sql = format!(
        "{SELECT} WHERE {live} AND c.room NOT LIKE '{}%' {place} ORDER BY {order} LIMIT ?",
        RoomId::ERASED
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql));
    if let Some(edge) = edge {
        query = query.bind(edge.place::<RoomId>()?.to_string());
    }
    let rows: Vec<Listed> = query.bind(slice.fetch()).fetch_all(pool).await?;
    Ok(slice.page(rows, |listed| Cursor::of(&listed.channel.room)))
}

impl FromRow<'_, MySqlRow> for Channel {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Channel> {
        Ok(Channel {
            room: row::room(row, "room")?,
            owner: row::account(row, "owner")?,
            name: row.try_get("name")?,
            title: row.try_get("title")?,
            category: row.try_get("category")?,
            description: row.try_get("description")?,
            followers: row.try_get("followers")?,
            opened_at: row::time(row, "opened_at")?,
        })
    }
}

impl FromRow<'_, MySqlRow> for Listed {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Listed> {
        let live: Option<i64> = row.try_get("started_at")?;
        Ok(Listed {
            channel: Channel::from_row(row)?,
            live: match live {
                Some(_) => Some(Broadcast::read(row, "live_title")?),
                None => None,
            },
        })
    }
}

#[cfg(test)]
mod tests;
