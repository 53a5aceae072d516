//! What a channel asks of donations, and the overlay that announces them. Everybody may read what is
//! to be announced; what is done needs the overlay's key, or somebody who may moderate.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use lemonair_producers::decide::MOST_POINTS;
use lemonair_projections::{channels, donations};
use lemonair_schemas::channel::OverlayKeyRotated;
use lemonair_schemas::donation::{
    AlertShown, Cue, DonationSettings, DonationSettingsChanged, OverlayCued, Review,
};
use lemonair_schemas::{Actor, EventId, RoomId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::find;
use super::donation::shown;
use super::moderation::{fact, record};
use super::{Body, InRoom, Params, User, bearer};
use crate::App;
use crate::error::Problem;

/// An overlay that comes back announces what it missed: so many at most, the newest, and no older.
const MISSED: u32 = 50;
const STALE: Duration = Duration::from_secs(3600);
const ALERT_MS: std::ops::RangeInclusive<i64> = 2_000..=60_000;

// === Settings ===

/// What is to be another way; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    minimum: Option<i64>,
    accepts_offline: Option<bool>,
    review: Option<Review>,
    alert_minimum: Option<i64>,
    alert_ms: Option<i64>,
    alert_volume: Option<i32>,
}

pub(crate) async fn settings(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
) -> Result<Json<Value>, Problem> {
    find(&app, &room).await?;
    let mut settings = donations::settings(&app.pool, &room).await?;
    settings.minimum = settings.minimum.max(app.config.donation_minimum);
    Ok(Json(json!(settings)))
}

pub(crate) async fn change_settings(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Body(change): Body<Change>,
) -> Result<Json<Value>, Problem> {
    user.must_run(&room)?;
    find(&app, &room).await?;
    let before = donations::settings(&app.pool, &room).await?;
    let after = DonationSettings {
        minimum: change.minimum.unwrap_or(before.minimum),
        accepts_offline: change.accepts_offline.unwrap_or(before.accepts_offline),
        review: change.review.unwrap_or(before.review),
        alert_minimum: change.alert_minimum.unwrap_or(before.alert_minimum),
        alert_ms: change.alert_ms.unwrap_or(before.alert_ms),
        alert_volume: change.alert_volume.unwrap_or(before.alert_volume),
    };
    let maximum = app.config.donation_maximum;
    for (field, value, most) in [
        ("minimum", after.minimum, maximum),
        ("alert_minimum", after.alert_minimum, MOST_POINTS),
    ] {
        if !(1..=most).contains(&value) {
            return Err(bad(format!(
                "{field} is a number of points from 1 to {most}"
            )));
        }
    }
    if !ALERT_MS.contains(&after.alert_ms) {
        let (least, most) = (ALERT_MS.start(), ALERT_MS.end());
        return Err(bad(format!("alert_ms is a number from {least} to {most}")));
    }
    if !(0..=100).contains(&after.alert_volume) {
        return Err(bad("alert_volume is a number from 0 to 100".to_owned()));
    }
    if after != before {
        let event = fact!(DonationSettingsChanged in room by user.actor(Some(&room));
            minimum: after.minimum,
            accepts_offline: after.accepts_offline,
            review: after.review,
            alert_minimum: after.alert_minimum,
            alert_ms: after.alert_ms,
            alert_volume: after.alert_volume,
        );
        record(&app, event).await?;
    }
    Ok(Json(json!(after)))
}

fn bad(detail: String) -> Problem {
    Problem::unprocessable("bad_setting", detail)
}

// === Alerts ===

#[derive(Deserialize)]
pub(crate) struct Wanted {
    /// This one alone, shown or not.
    donation: Option<EventId>,
}

/// How to announce, and what waits to be announced.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Params(Wanted { donation }): Params<Wanted>,
) -> Result<Json<Value>, Problem> {
    find(&app, &room).await?;
    let settings = donations::settings(&app.pool, &room).await?;
    let alerts = match donation {
        Some(donation) => {
            let found = donations::by_id(&app.pool, donation).await?;
            found
                .into_iter()
                .filter(|found| found.room == room)
                .collect()
        }
        None => {
            let since = Timestamp(Timestamp::now().millis() - STALE.as_millis() as i64);
            let minimum = settings.alert_minimum;
            donations::unshown(&app.pool, &room, minimum, since, MISSED).await?
        }
    };
    let alerts: Vec<Value> = alerts.iter().map(|alert| shown(alert, false)).collect();
    Ok(Json(json!({
        "settings": settings,
        "paused": donations::paused(&app.pool, &room).await?,
        "alerts": alerts,
    })))
}

/// From now on no overlay of the room announces the donation by itself.
pub(crate) async fn mark_shown(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, donation)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let actor = must_control(&app, &room, &headers).await?;
    let gone = || Problem::not_found("there is no such donation");
    let id: EventId = donation.parse().map_err(|_| gone())?;
    let found = donations::by_id(&app.pool, id).await?;
    let found = found.filter(|found| found.room == room).ok_or_else(gone)?;
    if found.shown {
        return Ok(StatusCode::NO_CONTENT);
    }
    let shown = AlertShown {
        id: EventId::new(),
        at: Timestamp::now(),
        room,
        actor,
        donation: id,
    };
    record(&app, shown.into()).await
}

#[derive(Deserialize)]
pub(crate) struct Wish {
    action: Cue,
    donation: Option<EventId>,
}

/// Tells the overlays what to do.
pub(crate) async fn cue(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    headers: HeaderMap,
    Body(Wish { action, donation }): Body<Wish>,
) -> Result<StatusCode, Problem> {
    let actor = must_control(&app, &room, &headers).await?;
    let donation = match (action, donation) {
        (Cue::Replay, None) => {
            let last = donations::last_shown(&app.pool, &room).await?;
            let none = || Problem::not_found("nothing was announced yet");
            Some(last.ok_or_else(none)?)
        }
        (Cue::Replay, donation) => donation,
        _ => None,
    };
    let cued = OverlayCued {
        id: EventId::new(),
        at: Timestamp::now(),
        room,
        actor,
        action,
        donation,
    };
    record(&app, cued.into()).await
}

/// Refuses whoever has not the overlay's key and may not moderate either.
async fn must_control(
    app: &App,
    room: &RoomId,
    headers: &HeaderMap,
) -> Result<Option<Actor>, Problem> {
    if let Some(token) = bearer(headers)?
        && app.is_overlay_key(room, token).await?
    {
        return Ok(None);
    }
    match User::of(headers, app).await? {
        Some(user) => Ok(Some(user.must_moderate(app, room).await?.actor)),
        None => Err(Problem::unauthorized(
            "send Authorization: Bearer <the overlay's key, or an access token>",
        )),
    }
}

// === The key ===

pub(crate) async fn key(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_run(&room)?;
    let gone = || Problem::not_found(format!("there is no channel {room}"));
    let made_by = channels::overlay_key(&app.pool, &room).await?;
    Ok(Json(addresses(&app, &room, made_by.ok_or_else(gone)?)))
}

/// A new key; the one before is void.
pub(crate) async fn rotate_key(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<(StatusCode, Json<Value>), Problem> {
    user.must_run(&room)?;
    find(&app, &room).await?;
    let rotated = fact!(OverlayKeyRotated in room by user.actor(Some(&room)););
    let id = rotated.id();
    record(&app, rotated).await?;
    Ok((StatusCode::CREATED, Json(addresses(&app, &room, Some(id)))))
}

/// The key is behind the `#`, which browsers send to nobody.
fn addresses(app: &App, room: &RoomId, made_by: Option<EventId>) -> Value {
    let key = app.tokens.overlay_key(room, made_by);
    let place = format!("{}/overlay/{room}", app.config.public_url);
    json!({ "key": key, "url": format!("{place}#key={key}"), "goal_url": format!("{place}/goal") })
}
