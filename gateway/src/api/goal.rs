//! A channel's goal for donations.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lemonair_projections::donations;
use lemonair_schemas::donation::{GoalClosed, GoalStarted};
use lemonair_schemas::{EventId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::find;
use super::moderation::{fact, record};
use super::{Body, InRoom, User};
use crate::App;
use crate::error::Problem;

/// Characters of a title.
const TITLE: usize = 80;
const HIGHEST: i64 = 1_000_000_000;

#[derive(Deserialize)]
pub(crate) struct Wish {
    title: String,
    target: i64,
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
) -> Result<Json<Value>, Problem> {
    find(&app, &room).await?;
    let goal = donations::goal(&app.pool, &room).await?;
    Ok(Json(json!({ "goal": goal })))
}

/// The goal before is over.
pub(crate) async fn start(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Body(Wish { title, target }): Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    user.must_run(&room)?;
    find(&app, &room).await?;
    let title = title.trim().to_owned();
    if title.is_empty() || title.chars().count() > TITLE {
        let detail = format!("a goal's title has 1 to {TITLE} characters");
        return Err(Problem::unprocessable("bad_title", detail));
    }
    if !(1..=HIGHEST).contains(&target) {
        let detail = format!("a goal's target is a number of points from 1 to {HIGHEST}");
        return Err(Problem::unprocessable("bad_amount", detail));
    }
    let (id, at) = (EventId::new(), Timestamp::now());
    let started = GoalStarted {
        id,
        at,
        actor: Some(user.actor(Some(&room))),
        room,
        title: title.clone(),
        target,
    };
    record(&app, started.into()).await?;
    let goal = json!({ "id": id, "title": title, "target": target, "amount": 0, "started_at": at });
    Ok((StatusCode::CREATED, Json(json!({ "goal": goal }))))
}

pub(crate) async fn close(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<StatusCode, Problem> {
    user.must_run(&room)?;
    let Some(goal) = donations::goal(&app.pool, &room).await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let closed = fact!(GoalClosed in room by user.actor(Some(&room)); goal: goal.id);
    record(&app, closed).await
}
