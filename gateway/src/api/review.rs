//! Donations' messages that wait for a moderator. The points have moved; only the words wait.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lemonair_projections::donations::{self, Donation};
use lemonair_schemas::donation::{DonationMessageApproved, DonationMessageDenied};
use lemonair_schemas::{EventId, RoomId};
use serde_json::{Value, json};

use super::donation::shown;
use super::moderation::{fact, record};
use super::{InRoom, User};
use crate::App;
use crate::error::Problem;

pub(crate) async fn held(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_moderate(&app, &room).await?;
    let held = donations::held(&app.pool, &room).await?;
    let held: Vec<Value> = held.iter().map(|donation| shown(donation, true)).collect();
    Ok(Json(json!({ "held": held })))
}

pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, donation)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(&app, &room).await?;
    let Some(held) = undecided(&app, &room, &donation, false).await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let approved = fact!(DonationMessageApproved in room by moderator.actor;
        donation: held.id, donor: held.donor, message: held.message);
    record(&app, approved).await
}

pub(crate) async fn deny(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, donation)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(&app, &room).await?;
    let Some(held) = undecided(&app, &room, &donation, true).await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let denied = fact!(DonationMessageDenied in room by moderator.actor; donation: held.id);
    record(&app, denied).await
}

/// The donation, if its message still waits; `None` if what is wanted was decided already.
async fn undecided(
    app: &App,
    room: &RoomId,
    donation: &str,
    denied: bool,
) -> Result<Option<Donation>, Problem> {
    let gone = || Problem::not_found("no message of such a donation is held");
    let id: EventId = donation.parse().map_err(|_| gone())?;
    let found = donations::by_id(&app.pool, id).await?;
    let found = found.filter(|found| found.room == *room).ok_or_else(gone)?;
    match (found.held, found.denied) {
        (true, _) => Ok(Some(found)),
        (false, decided) if decided == denied => Ok(None),
        (false, _) => Err(Problem::new(
            StatusCode::CONFLICT,
            "decided",
            "another moderator has decided otherwise",
        )),
    }
}
