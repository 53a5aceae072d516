//! Who is banned, timed out or a moderator in a room.

use lemonair_schemas::{AccountId, RoomId, Timestamp};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};

use crate::projection::Fault;
use crate::{Result, row};

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

// === Writes ===

/// Account, name, since, until, reason.
pub(super) type Given<'a> = (
    AccountId,
    &'a str,
    Timestamp,
    Option<Timestamp>,
    Option<&'a str>,
);

pub(super) async fn put(
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
pub(super) async fn forget_ended(
    tx: &mut MySqlConnection,
    room: &RoomId,
    at: Timestamp,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM standings WHERE room = ? AND kind = ? AND ends <= ?")
        .bind(room.as_str())
        .bind(Kind::TimedOut.name())
        .bind(at.millis())
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn remove(
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

// === Reads ===

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

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Banned => "banned",
            Kind::TimedOut => "timed_out",
            Kind::Moderator => "moderator",
        }
    }
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
