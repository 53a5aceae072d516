//! For operators: how everything is, and what was done to it by whom.

pub(super) mod accounts;
pub(super) mod letters;
pub(super) mod rebuilds;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lemonair_consumers::cluster::{self, Cluster};
use lemonair_projections::{accounts as log, processes};
use lemonair_schemas::account::OperatorActed;
use lemonair_schemas::{EventId, Timestamp};
use serde_json::{Value, json};

use super::history::{Paging, page};
use super::me::write;
use super::{Params, User};
use crate::App;
use crate::error::Problem;

pub(super) async fn status(
    State(app): State<Arc<App>>,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let now = Timestamp::now();
    let models = lemonair_projections::status(&app.pool, &app.kafka, now).await?;
    let processes = processes::processes(&app.pool, now).await?;
    Ok(Json(
        json!({ "at": now, "read_models": models, "processes": processes }),
    ))
}

pub(super) async fn cluster(
    State(app): State<Arc<App>>,
    user: User,
) -> Result<Json<Cluster>, Problem> {
    user.must_operate()?;
    let described = cluster::describe(&app.kafka).await;
    Ok(Json(
        described.map_err(|error| Problem::unavailable(&error))?,
    ))
}

pub(super) async fn schemas(
    State(app): State<Arc<App>>,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let subjects = app.codec.subjects().await;
    let subjects = subjects.map_err(|error| Problem::unavailable(&error))?;
    Ok(Json(json!({ "subjects": subjects })))
}

pub(super) async fn audit(
    State(app): State<Arc<App>>,
    user: User,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let found = log::log(&app.pool, &paging.slice()?).await?;
    Ok(page("audit", &found.items, found.older, found.newer))
}

/// Puts down who did what to which.
async fn note(
    app: &App,
    user: &User,
    action: &str,
    target: impl Into<String>,
) -> Result<(), Problem> {
    let acted = OperatorActed {
        id: EventId::new(),
        at: Timestamp::now(),
        account: user.0.sub,
        actor: Some(user.actor(None)),
        action: action.to_owned(),
        target: target.into(),
    };
    write(app, [acted.into()]).await
}
