//! Who gave a room most: ever, in a month, during a broadcast. Refunds count where their donation did.

use lemonair_schemas::{AccountId, RoomId, Timestamp};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use crate::broadcasts::{self, Broadcast};
use crate::page::Slice;
use crate::projection::Fault;
use crate::{Result, row};

/// What a donor gave to a room, refunds taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ranked {
    /// From 1; equal amounts share a place.
    pub place: i64,
    pub donor: AccountId,
    pub name: String,
    pub amount: i64,
    pub donations: i64,
}

/// A rank, and what came without a name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Rank {
    pub named: Vec<Ranked>,
    pub anonymous: Sum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sum {
    pub amount: i64,
    pub donations: i64,
}

/// Which donations count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    All,
    /// The month (UTC) of this moment.
    Month(Timestamp),
    /// The broadcast on air, or else the last one.
    Broadcast,
}

/// Something that was given, or taken back.
pub(super) struct Share<'a> {
    pub(super) room: &'a RoomId,
    /// When it was given.
    pub(super) at: Timestamp,
    pub(super) donor: Uuid,
    pub(super) name: &'a str,
    pub(super) amount: i64,
    pub(super) donations: i64,
}

/// Where those stand who want no name: their sum would not be anybody's rank.
pub(super) const NOBODY: Uuid = AccountId::NOBODY.0;

// === Writes ===

pub(super) async fn add(tx: &mut MySqlConnection, share: Share<'_>) -> Result<(), Fault> {
    for month in ["", &month(share.at)] {
        sqlx::query(
            "INSERT INTO donors (room, month, donor, name, amount, donations) \
             VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE name = VALUES(name), \
             amount = amount + VALUES(amount), donations = donations + VALUES(donations)",
        )
        .bind(share.room.as_str())
        .bind(month)
        .bind(share.donor)
        .bind(share.name)
        .bind(share.amount)
        .bind(share.donations)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// As in `2026-01`.
fn month(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

// === Reads ===

/// At most `limit` donors, who gave most first. Whoever got everything back is not among them.
pub async fn rank(pool: &MySqlPool, room: &RoomId, period: Period, limit: u32) -> Result<Rank> {
    let limit = limit.min(Slice::MOST);
    let mut rank = match period {
        Period::All => of_month(pool, room, "", limit).await?,
        Period::Month(at) => of_month(pool, room, &month(at), limit).await?,
        Period::Broadcast => {
            let page = broadcasts::page(pool, room, &Slice::start(1)).await?;
            match page.items.first() {
                Some(broadcast) => during(pool, room, broadcast, limit).await?,
                None => Rank::default(),
            }
        }
    };
    let (mut place, mut amount) = (0, 0);
    for (before, ranked) in (0..).zip(&mut rank.named) {
        if ranked.amount != amount {
            (place, amount) = (before + 1, ranked.amount);
        }
        ranked.place = place;
    }
    Ok(rank)
}

async fn of_month(pool: &MySqlPool, room: &RoomId, month: &str, limit: u32) -> Result<Rank> {
    let named = sqlx::query_as(
        "SELECT * FROM donors WHERE room = ? AND month = ? AND amount > 0 AND donor <> ? \
         ORDER BY amount DESC, donor DESC LIMIT ?",
    )
    .bind(room.as_str())
    .bind(month)
    .bind(NOBODY)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let anonymous: Option<(i64, i64)> = sqlx::query_as(
        "SELECT amount, donations FROM donors WHERE room = ? AND month = ? AND donor = ?",
    )
    .bind(room.as_str())
    .bind(month)
    .bind(NOBODY)
    .fetch_optional(pool)
    .await?;
    let (amount, donations) = anonymous.unwrap_or_default();
    let anonymous = Sum { amount, donations };
    Ok(Rank { named, anonymous })
}

/// Counted when asked: a broadcast is on another topic, so where it begins among the donations is a
/// matter of clocks, and of no order that a fold could keep.
async fn during(
    pool: &MySqlPool,
    room: &RoomId,
    broadcast: &Broadcast,
    limit: u32,
) -> Result<Rank> {
    let until = broadcast.ended_at.map_or(i64::MAX, Timestamp::millis);
    let named = sqlx::query_as(
        "SELECT donor, MAX(donor_name) AS name, \
         CAST(SUM(amount - refunded) AS SIGNED) AS amount, \
         CAST(SUM(refunded < amount) AS SIGNED) AS donations FROM donations \
         WHERE room = ? AND donated_at >= ? AND donated_at < ? AND refunded < amount \
         AND NOT anonymous GROUP BY donor ORDER BY 3 DESC, donor DESC LIMIT ?",
    )
    .bind(room.as_str())
    .bind(broadcast.started_at.millis())
    .bind(until)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let (amount, donations) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(amount - refunded), 0) AS SIGNED), COUNT(*) FROM donations \
         WHERE room = ? AND donated_at >= ? AND donated_at < ? AND refunded < amount AND anonymous",
    )
    .bind(room.as_str())
    .bind(broadcast.started_at.millis())
    .bind(until)
    .fetch_one(pool)
    .await?;
    let anonymous = Sum { amount, donations };
    Ok(Rank { named, anonymous })
}

impl FromRow<'_, MySqlRow> for Ranked {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Ranked> {
        Ok(Ranked {
            place: 0,
            donor: row::account(row, "donor")?,
            name: row.try_get("name")?,
            amount: row.try_get("amount")?,
            donations: row.try_get("donations")?,
        })
    }
}
