//! Donations, and what each donor gave to each room.

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::donation::{DonationAccepted, DonationRefunded};
use lemonair_schemas::{AccountId, Event, EventId, Position, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};

use crate::erasure::{Personal, Whose};
use crate::page::{self, Page, Slice};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, many, row};

#[derive(Debug)]
pub struct Donations;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Donation {
    /// The event's id.
    pub id: EventId,
    pub room: RoomId,
    pub donor: AccountId,
    /// As spelled then.
    pub donor_name: String,
    pub streamer: AccountId,
    pub amount: i64,
    pub message: String,
    pub donated_at: Timestamp,
    pub refunded_at: Option<Timestamp>,
    /// The room's order.
    #[serde(skip)]
    pub position: Position,
}

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

// === Writes ===

impl Projection for Donations {
    fn name(&self) -> &'static str {
        "donations"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Donations]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[
            Table {
                name: "donations",
                by: "room",
            },
            Table {
                name: "donors",
                by: "room",
            },
        ];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[
            Personal {
                table: "donations",
                whose: Whose::Account("donor"),
                names: &["donor_name"],
                texts: &["message"],
                secrets: &[],
            },
            Personal {
                table: "donations",
                whose: Whose::Room("room"),
                names: &[],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "donors",
                whose: Whose::Account("donor"),
                names: &["name"],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "donors",
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
                    Event::DonationAccepted(event) => accept(tx, event, fact.position).await?,
                    Event::DonationRefunded(event) => refund(tx, event).await?,
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }
}

async fn accept(
    tx: &mut MySqlConnection,
    event: &DonationAccepted,
    position: Position,
) -> Result<(), Fault> {
    let Some(donor) = &event.actor else {
        return Fault::unfit("nobody is named as the donor");
    };
    if event.amount < 1 {
        return Fault::unfit(format!("a donation of {} points", event.amount));
    }
    sqlx::query(
        "INSERT INTO donations (id, room, donor, donor_name, streamer, amount, message, \
         donated_at, part, record_offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.id.0)
    .bind(event.room.as_str())
    .bind(donor.id.0)
    .bind(&donor.name)
    .bind(event.streamer.0)
    .bind(event.amount)
    .bind(&event.message)
    .bind(event.at.millis())
    .bind(position.partition)
    .bind(position.offset)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO donors (room, donor, name, amount, donations) VALUES (?, ?, ?, ?, 1) \
         ON DUPLICATE KEY UPDATE name = VALUES(name), amount = amount + VALUES(amount), \
         donations = donations + 1",
    )
    .bind(event.room.as_str())
    .bind(donor.id.0)
    .bind(&donor.name)
    .bind(event.amount)
    .execute(tx)
    .await?;
    Ok(())
}

/// A second refund of the same donation is unfit: the decider never writes one.
async fn refund(tx: &mut MySqlConnection, event: &DonationRefunded) -> Result<(), Fault> {
    let refunded = sqlx::query(
        "UPDATE donations SET refunded_at = ? \
         WHERE id = ? AND room = ? AND donor = ? AND amount = ? AND refunded_at IS NULL",
    )
    .bind(event.at.millis())
    .bind(event.donation.0)
    .bind(event.room.as_str())
    .bind(event.donor.0)
    .bind(event.amount)
    .execute(&mut *tx)
    .await?;
    if refunded.rows_affected() == 0 {
        return Fault::unfit(format!(
            "no donation {} of {} points by {} to {} that could be refunded",
            event.donation, event.amount, event.donor, event.room
        ));
    }
    sqlx::query(
        "UPDATE donors SET amount = amount - ?, donations = donations - 1 \
         WHERE room = ? AND donor = ?",
    )
    .bind(event.amount)
    .bind(event.room.as_str())
    .bind(event.donor.0)
    .execute(tx)
    .await?;
    Ok(())
}

// === Reads ===

pub async fn by_id(pool: &MySqlPool, donation: EventId) -> Result<Option<Donation>> {
    let found = sqlx::query_as("SELECT * FROM donations WHERE id = ?")
        .bind(donation.0)
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

pub async fn page(pool: &MySqlPool, room: &RoomId, slice: &Slice) -> Result<Page<Donation>> {
    let select = "SELECT * FROM donations WHERE room = ?";
    page::of_room(pool, select, room, slice, |row: &Donation| row.position).await
}

/// The newest donations to each of the rooms, newest first. At most
/// [`many::MOST`] rooms are asked about.
pub async fn newest(
    connection: &mut MySqlConnection,
    rooms: &[RoomId],
    limit: usize,
) -> Result<HashMap<RoomId, Vec<Donation>>> {
    let select = "SELECT * FROM donations WHERE room = ?";
    many::newest(connection, select, rooms, limit, |row: &Donation| {
        (&row.room, row.position)
    })
    .await
}

/// Who gave the room most, at most `limit`. Whoever got everything back is not in it.
pub async fn rank(pool: &MySqlPool, room: &RoomId, limit: u32) -> Result<Vec<Ranked>> {
    let mut found: Vec<Ranked> = sqlx::query_as(
        "SELECT * FROM donors WHERE room = ? AND amount > 0 \
         ORDER BY amount DESC, donor DESC LIMIT ?",
    )
    .bind(room.as_str())
    .bind(limit.min(Slice::MOST))
    .fetch_all(pool)
    .await?;
    let (mut place, mut amount) = (0, 0);
    for (before, ranked) in (0..).zip(&mut found) {
        if ranked.amount != amount {
            (place, amount) = (before + 1, ranked.amount);
        }
        ranked.place = place;
    }
    Ok(found)
}

impl FromRow<'_, MySqlRow> for Donation {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Donation> {
        Ok(Donation {
            id: row::event(row, "id")?,
            room: row::room(row, "room")?,
            donor: row::account(row, "donor")?,
            donor_name: row.try_get("donor_name")?,
            streamer: row::account(row, "streamer")?,
            amount: row.try_get("amount")?,
            message: row.try_get("message")?,
            donated_at: row::time(row, "donated_at")?,
            refunded_at: row::time_if_any(row, "refunded_at")?,
            position: row::position(row, Topic::Donations)?,
        })
    }
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

#[cfg(test)]
mod tests;
