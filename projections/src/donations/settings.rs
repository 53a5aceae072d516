//! What a room asks of donations, and how it announces them.

use lemonair_schemas::donation::{
    Cue, DonationSettings, DonationSettingsChanged, OverlayCued, Review,
};
use lemonair_schemas::{AccountId, RoomId};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, MySqlPool, Row};

use crate::moderation::Kind;
use crate::projection::Fault;
use crate::{Result, row};

/// What a donation of one donor to one room must meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub streamer: AccountId,
    pub settings: DonationSettings,
    /// The donor is banned from the room.
    pub banned: bool,
    /// There is a broadcast.
    pub live: bool,
}

// === Writes ===

pub(super) async fn set(
    tx: &mut MySqlConnection,
    event: &DonationSettingsChanged,
) -> Result<(), Fault> {
    let review: &str = event.review.into();
    sqlx::query(
        "REPLACE INTO donation_settings (room, minimum, accepts_offline, review, alert_minimum, \
         alert_ms, alert_volume) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.room.as_str())
    .bind(event.minimum)
    .bind(event.accepts_offline)
    .bind(review)
    .bind(event.alert_minimum)
    .bind(event.alert_ms)
    .bind(event.alert_volume)
    .execute(tx)
    .await?;
    Ok(())
}

/// Of all cues, only a pause lasts.
pub(super) async fn cue(tx: &mut MySqlConnection, event: &OverlayCued) -> Result<(), Fault> {
    let paused = match event.action {
        Cue::Pause => true,
        Cue::Resume => false,
        Cue::Skip | Cue::Replay | Cue::Test => return Ok(()),
    };
    sqlx::query("REPLACE INTO overlays (room, paused) VALUES (?, ?)")
        .bind(event.room.as_str())
        .bind(paused)
        .execute(tx)
        .await?;
    Ok(())
}

// === Reads ===

pub async fn settings(pool: &MySqlPool, room: &RoomId) -> Result<DonationSettings> {
    let row = sqlx::query("SELECT * FROM donation_settings WHERE room = ?")
        .bind(room.as_str())
        .fetch_optional(pool)
        .await?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => Ok(DonationSettings::default()),
    }
}

/// Whether the room's overlays wait.
pub async fn paused(pool: &MySqlPool, room: &RoomId) -> Result<bool> {
    let paused = sqlx::query_scalar("SELECT paused FROM overlays WHERE room = ?")
        .bind(room.as_str())
        .fetch_optional(pool)
        .await?;
    Ok(paused.unwrap_or(false))
}

/// All in one read; `None` where there is no such channel.
pub async fn terms(pool: &MySqlPool, room: &RoomId, donor: AccountId) -> Result<Option<Terms>> {
    let row = sqlx::query(
        "SELECT c.owner, s.*, EXISTS (SELECT 1 FROM standings WHERE room = c.room \
         AND kind = ? AND account = ?) AS banned, EXISTS (SELECT 1 FROM broadcasts \
         WHERE room = c.room AND ended_at IS NULL) AS live \
         FROM channels c LEFT JOIN donation_settings s ON s.room = c.room WHERE c.room = ?",
    )
    .bind(Kind::Banned.name())
    .bind(donor.0)
    .bind(room.as_str())
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let set: Option<i64> = row.try_get("minimum")?;
    Ok(Some(Terms {
        streamer: row::account(&row, "owner")?,
        settings: match set {
            Some(_) => read(&row)?,
            None => DonationSettings::default(),
        },
        banned: row.try_get("banned")?,
        live: row.try_get("live")?,
    }))
}

fn read(row: &MySqlRow) -> sqlx::Result<DonationSettings> {
    let review: String = row.try_get("review")?;
    let review = Review::try_from(review).map_err(|source| sqlx::Error::ColumnDecode {
        index: "review".to_owned(),
        source: Box::new(source),
    })?;
    Ok(DonationSettings {
        minimum: row.try_get("minimum")?,
        accepts_offline: row.try_get("accepts_offline")?,
        review,
        alert_minimum: row.try_get("alert_minimum")?,
        alert_ms: row.try_get("alert_ms")?,
        alert_volume: row.try_get("alert_volume")?,
    })
}
