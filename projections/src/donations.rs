//! Donations: what was given, said with it and given back; ranks, goals and settings.

mod goal;
mod rank;
mod settings;

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::donation::{AlertShown, DonationAccepted, DonationRefunded};
use lemonair_schemas::{AccountId, Event, EventId, Position, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use crate::erasure::{Personal, Whose};
use crate::page::{self, Page, Slice};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, many, row};

pub use goal::{Goal, goal};
pub use rank::{Period, Rank, Ranked, Sum, rank};
pub use settings::{Terms, paused, settings, terms};

use rank::Share;

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
    /// Points given back.
    pub refunded: i64,
    /// When all of it was given back.
    pub refunded_at: Option<Timestamp>,
    /// The donor is not to be told to anybody.
    pub anonymous: bool,
    /// The message waits for a moderator.
    pub held: bool,
    /// A moderator kept the message back.
    pub denied: bool,
    /// An overlay has shown it.
    pub shown: bool,
    /// The room's order.
    #[serde(skip)]
    pub position: Position,
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
        const fn by_room(name: &'static str) -> Table {
            Table { name, by: "room" }
        }
        const TABLES: &[Table] = &[
            by_room("donations"),
            by_room("donors"),
            by_room("donation_settings"),
            by_room("overlays"),
            by_room("goals"),
        ];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const fn of_room(table: &'static str, texts: &'static [&'static str]) -> Personal {
            Personal {
                table,
                whose: Whose::Room("room"),
                names: &[],
                texts,
                secrets: &[],
            }
        }
        const PERSONAL: &[Personal] = &[
            Personal {
                table: "donations",
                whose: Whose::Account("donor"),
                names: &["donor_name"],
                texts: &["message"],
                secrets: &[],
            },
            of_room("donations", &[]),
            Personal {
                table: "donors",
                whose: Whose::Account("donor"),
                names: &["name"],
                texts: &[],
                secrets: &[],
            },
            Personal {
                table: "donors",
                whose: Whose::Counts {
                    keys: ["month", "donor"],
                    sums: "kept.amount = kept.amount + named.amount, \
                           kept.donations = kept.donations + named.donations",
                },
                names: &[],
                texts: &[],
                secrets: &[],
            },
            of_room("donation_settings", &[]),
            of_room("overlays", &[]),
            of_room("goals", &["title"]),
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
                    Event::DonationMessageApproved(e) => {
                        decide(tx, &e.room, e.donation, false).await?;
                    }
                    Event::DonationMessageDenied(e) => {
                        decide(tx, &e.room, e.donation, true).await?;
                    }
                    Event::DonationSettingsChanged(event) => settings::set(tx, event).await?,
                    Event::GoalStarted(event) => goal::start(tx, event).await?,
                    Event::GoalClosed(event) => goal::close(tx, event).await?,
                    Event::AlertShown(event) => show(tx, event).await?,
                    Event::OverlayCued(event) => settings::cue(tx, event).await?,
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
         donated_at, anonymous, held, goal, part, record_offset) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, \
         ?, (SELECT id FROM goals WHERE room = ? AND closed_at IS NULL), ?, ? FROM DUAL",
    )
    .bind(event.id.0)
    .bind(event.room.as_str())
    .bind(donor.id.0)
    .bind(&donor.name)
    .bind(event.streamer.0)
    .bind(event.amount)
    .bind(&event.message)
    .bind(event.at.millis())
    .bind(event.anonymous)
    .bind(event.held)
    .bind(event.room.as_str())
    .bind(position.partition)
    .bind(position.offset)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE goals SET amount = amount + ? WHERE room = ? AND closed_at IS NULL")
        .bind(event.amount)
        .bind(event.room.as_str())
        .execute(&mut *tx)
        .await?;
    let (donor, name) = match event.anonymous {
        true => (rank::NOBODY, ""),
        false => (donor.id.0, donor.name.as_str()),
    };
    let share = Share {
        room: &event.room,
        at: event.at,
        donor,
        name,
        amount: event.amount,
        donations: 1,
    };
    rank::add(tx, share).await
}

/// What does not leave exactly what the event says is unfit: the decider never writes it.
async fn refund(tx: &mut MySqlConnection, event: &DonationRefunded) -> Result<(), Fault> {
    let refunded = sqlx::query(
        "UPDATE donations SET refunded = refunded + ?, refunded_at = IF(? = 0, ?, NULL) \
         WHERE id = ? AND room = ? AND donor = ? AND ? > 0 AND amount - refunded = ?",
    )
    .bind(event.amount)
    .bind(event.left)
    .bind(event.at.millis())
    .bind(event.donation.0)
    .bind(event.room.as_str())
    .bind(event.donor.0)
    .bind(event.amount)
    .bind(event.amount.saturating_add(event.left))
    .execute(&mut *tx)
    .await?;
    if refunded.rows_affected() == 0 {
        return Fault::unfit(format!(
            "no donation {} by {} to {} of which {} points could be refunded and {} be left",
            event.donation, event.donor, event.room, event.amount, event.left
        ));
    }
    let row =
        sqlx::query("SELECT donated_at, donor_name, anonymous, goal FROM donations WHERE id = ?")
            .bind(event.donation.0)
            .fetch_one(&mut *tx)
            .await?;
    let goal: Option<Uuid> = row.try_get("goal")?;
    if let Some(goal) = goal {
        sqlx::query("UPDATE goals SET amount = amount - ? WHERE id = ?")
            .bind(event.amount)
            .bind(goal)
            .execute(&mut *tx)
            .await?;
    }
    let (donor, name) = match row.try_get("anonymous")? {
        true => (rank::NOBODY, ""),
        false => (event.donor.0, row.try_get("donor_name")?),
    };
    let share = Share {
        room: &event.room,
        at: row::time(&row, "donated_at")?,
        donor,
        name,
        amount: -event.amount,
        donations: if event.left == 0 { -1 } else { 0 },
    };
    rank::add(tx, share).await
}

/// The first decision counts: two moderators may decide at the same time.
async fn decide(
    tx: &mut MySqlConnection,
    room: &RoomId,
    donation: EventId,
    denied: bool,
) -> Result<(), Fault> {
    sqlx::query("UPDATE donations SET held = FALSE, denied = ? WHERE id = ? AND room = ? AND held")
        .bind(denied)
        .bind(donation.0)
        .bind(room.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

async fn show(tx: &mut MySqlConnection, event: &AlertShown) -> Result<(), Fault> {
    sqlx::query("UPDATE donations SET shown_at = ? WHERE id = ? AND room = ? AND shown_at IS NULL")
        .bind(event.at.millis())
        .bind(event.donation.0)
        .bind(event.room.as_str())
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

/// Donations whose messages wait for a moderator, the oldest first.
pub async fn held(pool: &MySqlPool, room: &RoomId) -> Result<Vec<Donation>> {
    let found =
        sqlx::query_as("SELECT * FROM donations WHERE room = ? AND held ORDER BY id LIMIT ?")
            .bind(room.as_str())
            .bind(Slice::MOST)
            .fetch_all(pool)
            .await?;
    Ok(found)
}

/// The donation that an overlay has announced last.
pub async fn last_shown(pool: &MySqlPool, room: &RoomId) -> Result<Option<EventId>> {
    let found: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM donations WHERE room = ? AND shown_at IS NOT NULL \
         ORDER BY shown_at DESC, id DESC LIMIT 1",
    )
    .bind(room.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(found.map(EventId))
}

/// Donations of at least so many points that no overlay has shown yet, the oldest first; of many, the
/// newest `limit`. Those whose messages wait are not among them.
pub async fn unshown(
    pool: &MySqlPool,
    room: &RoomId,
    minimum: i64,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<Donation>> {
    let mut found: Vec<Donation> = sqlx::query_as(
        "SELECT * FROM donations WHERE room = ? AND donated_at >= ? AND shown_at IS NULL \
         AND NOT held AND refunded < amount AND amount >= ? \
         ORDER BY part DESC, record_offset DESC LIMIT ?",
    )
    .bind(room.as_str())
    .bind(since.millis())
    .bind(minimum)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    found.reverse();
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
            refunded: row.try_get("refunded")?,
            anonymous: row.try_get("anonymous")?,
            held: row.try_get("held")?,
            denied: row.try_get("denied")?,
            shown: row::time_if_any(row, "shown_at")?.is_some(),
            donated_at: row::time(row, "donated_at")?,
            refunded_at: row::time_if_any(row, "refunded_at")?,
            position: row::position(row, Topic::Donations)?,
        })
    }
}

#[cfg(test)]
mod tests;
