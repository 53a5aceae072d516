//! Records that could not be decoded or applied: shown, tried again, dropped.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lemonair_projections::dead_letters::{self, DeadLetter, Filter, LetterId, State as Standing};
use lemonair_projections::projection;
use lemonair_schemas::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::note;
use crate::App;
use crate::api::{Params, User};
use crate::error::Problem;

#[derive(Deserialize)]
pub(in crate::api) struct Which {
    projection: Option<String>,
    topic: Option<String>,
    room: Option<String>,
    cause: Option<String>,
    since: Option<String>,
    until: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
pub(in crate::api) struct Retry {
    #[serde(default)]
    dry_run: bool,
}

pub(in crate::api) async fn list(
    State(app): State<Arc<App>>,
    user: User,
    Params(which): Params<Which>,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let letters = dead_letters::list(&app.pool, &which.filter()?).await?;
    Ok(Json(json!({ "dead_letters": letters })))
}

/// With what the record says, where that can be read.
pub(in crate::api) async fn show(
    State(app): State<Arc<App>>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let letter = find(&app, &id).await?;
    let event = letter.decode(&app.codec).await.ok();
    let mut shown = json!(letter);
    shown["event"] = json!(event.map(|event| event.json()));
    shown["actions"] = json!(dead_letters::actions(&app.pool, letter.id).await?);
    Ok(Json(shown))
}

pub(in crate::api) async fn retry(
    State(app): State<Arc<App>>,
    user: User,
    Path(id): Path<String>,
    Params(how): Params<Retry>,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let letter = find(&app, &id).await?;
    if !how.dry_run {
        note_open(&app, &user, "letter.retried", &letter).await?;
    }
    let only = Filter::only(letter.id);
    let (codec, who) = (&app.codec, &user.0.name);
    let tried = dead_letters::retry(&app.pool, codec, &only, who, how.dry_run).await?;
    let tried = tried.first().ok_or_else(not_open)?;
    Ok(Json(json!(tried)))
}

pub(in crate::api) async fn drop(
    State(app): State<Arc<App>>,
    user: User,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    user.must_operate()?;
    let letter = find(&app, &id).await?;
    note_open(&app, &user, "letter.dropped", &letter).await?;
    let only = Filter::only(letter.id);
    let dropped = dead_letters::drop(&app.pool, &only, &user.0.name).await?;
    if dropped.is_empty() {
        return Err(not_open());
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, id: &str) -> Result<DeadLetter, Problem> {
    let missing = || Problem::not_found(format!("there is no dead letter {id:?}"));
    let id: LetterId = id.parse().map_err(|_| missing())?;
    let found = dead_letters::find(&app.pool, id).await?;
    found.ok_or_else(missing)
}

/// What was applied or dropped before is not done to again, and nobody is noted for it.
async fn note_open(
    app: &App,
    user: &User,
    action: &str,
    letter: &DeadLetter,
) -> Result<(), Problem> {
    if letter.state != Standing::Open {
        return Err(not_open());
    }
    note(app, user, action, letter.id.to_string()).await
}

fn not_open() -> Problem {
    let detail = "it was applied or dropped before";
    Problem::new(StatusCode::CONFLICT, "not_open", detail)
}

impl Which {
    fn filter(self) -> Result<Filter, Problem> {
        fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
            text: Option<String>,
        ) -> Result<Option<T>, Problem> {
            let parsed = text.map(|text| text.parse()).transpose();
            parsed.map_err(|error: T::Err| Problem::bad_request("bad_query", error.to_string()))
        }
        let projection = self.projection.as_deref().map(projection::named);
        let projection = projection
            .transpose()
            .map_err(|error| Problem::bad_request("bad_query", error.to_string()))?;
        let limit = self.limit.unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            let detail = "limit is a number from 1 to 1000";
            return Err(Problem::bad_request("bad_limit", detail));
        }
        Ok(Filter {
            ids: Vec::new(),
            projection: projection.map(lemonair_projections::Projection::name),
            topic: parse(self.topic)?,
            key: self.room,
            cause: self.cause,
            since: parse::<Timestamp>(self.since)?,
            until: parse::<Timestamp>(self.until)?,
            state: parse(self.state)?.unwrap_or_default(),
            limit,
        })
    }
}
