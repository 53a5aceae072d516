//! Read models made anew: begun, held, let go on, taken back.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use lemonair_projections::rebuild::{self, Wish};
use lemonair_projections::{Error, Projection, projection};
use serde::Deserialize;

use super::note;
use crate::App;
use crate::api::{Body, User};
use crate::error::Problem;

#[derive(Deserialize)]
pub(in crate::api) struct Wanted {
    wish: Wish,
}

/// Whoever keeps the read models up does it, and goes on where another who died over it has stopped.
pub(in crate::api) async fn begin(
    State(app): State<Arc<App>>,
    user: User,
    Path(name): Path<String>,
    Body(Wanted { wish }): Body<Wanted>,
) -> Result<StatusCode, Problem> {
    user.must_operate()?;
    let projection = named(&name)?;
    match rebuild::wish(&app.pool, projection, wish).await {
        Err(error @ Error::Busy(_)) => return Err(conflict("rebuilding", &error)),
        result => result?,
    }
    let action = format!("{}.wished", wish.name());
    note(&app, &user, &action, projection.name()).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Holds a rebuild that runs anywhere, or lets it go on.
pub(in crate::api) async fn hold(
    State(app): State<Arc<App>>,
    user: User,
    Path((name, what)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    user.must_operate()?;
    let paused = match what.as_str() {
        "pause" => true,
        "continue" => false,
        _ => return Err(Problem::not_found("a rebuild is held by pause or continue")),
    };
    let projection = named(&name)?;
    match rebuild::pause(&app.pool, projection, paused).await {
        Err(error @ Error::NotRebuilding(_)) => return Err(conflict("not_rebuilding", &error)),
        result => result?,
    }
    let action = if paused {
        "rebuild.paused"
    } else {
        "rebuild.continued"
    };
    note(&app, &user, action, projection.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn named(name: &str) -> Result<&'static dyn Projection, Problem> {
    projection::named(name).map_err(|error| Problem::not_found(error.to_string()))
}

fn conflict(code: &str, error: &Error) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, error.to_string())
}
