//! Accounts as operators see them: found, given roles, logged out, erased.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lemonair_projections::accounts::{self, Account};
use lemonair_schemas::account::RoleGranted;
use lemonair_schemas::{AccountId, Event, EventId, RoomId, SessionId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::note;
use crate::App;
use crate::api::me::{closed, end, forget, write};
use crate::api::moderation::target;
use crate::api::{Body, Params, User};
use crate::error::Problem;

/// Accounts of one answer; who looks for somebody says more of the name.
const SHOWN: usize = 50;
const ROLES: [&str; 3] = ["viewer", "moderator", "operator"];

#[derive(Deserialize)]
pub(in crate::api) struct Search {
    #[serde(default)]
    name: String,
    role: Option<String>,
}

#[derive(Deserialize)]
pub(in crate::api) struct Grant {
    role: String,
}

pub(in crate::api) async fn search(
    State(app): State<Arc<App>>,
    user: User,
    Params(Search { name, role }): Params<Search>,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let limit = u32::try_from(SHOWN + 1).unwrap_or(u32::MAX);
    let mut found = accounts::search(&app.pool, &name, role.as_deref(), limit).await?;
    let more = found.len() > SHOWN;
    found.truncate(SHOWN);
    let shown = found.into_iter().map(|account| {
        json!({
            "id": account.id,
            "name": account.name,
            "role": account.role,
            "registered_at": account.registered_at,
            "erased": app.codec.erased().contains(account.id),
        })
    });
    Ok(Json(
        json!({ "accounts": shown.collect::<Vec<_>>(), "more": more }),
    ))
}

/// It takes effect at the next log-in, so the open ones end.
pub(in crate::api) async fn grant(
    State(app): State<Arc<App>>,
    user: User,
    Path(account): Path<AccountId>,
    Body(Grant { role }): Body<Grant>,
) -> Result<StatusCode, Problem> {
    let account = another(&app, &user, account).await?;
    if !ROLES.contains(&role.as_str()) {
        let detail = format!("a role is one of {}", ROLES.join(", "));
        return Err(Problem::unprocessable("bad_role", detail));
    }
    let granted = RoleGranted {
        id: EventId::new(),
        at: Timestamp::now(),
        account: account.id,
        actor: Some(user.actor(None)),
        role,
    };
    write(&app, [granted.into()]).await?;
    end_all(&app, &user, account.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::api) async fn sessions(
    State(app): State<Arc<App>>,
    user: User,
    Path(account): Path<AccountId>,
) -> Result<Json<Value>, Problem> {
    user.must_operate()?;
    let open = accounts::open_sessions(&app.pool, account, Timestamp::now()).await?;
    Ok(Json(json!({ "sessions": open })))
}

/// Logs the account out everywhere.
pub(in crate::api) async fn end_sessions(
    State(app): State<Arc<App>>,
    user: User,
    Path(account): Path<AccountId>,
) -> Result<StatusCode, Problem> {
    let account = another(&app, &user, account).await?;
    end_all(&app, &user, account.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::api) async fn end_session(
    State(app): State<Arc<App>>,
    user: User,
    Path((account, session)): Path<(AccountId, SessionId)>,
) -> Result<StatusCode, Problem> {
    user.must_operate()?;
    end(&app, &user, account, session, "nobody is logged in there").await
}

pub(in crate::api) async fn erase(
    State(app): State<Arc<App>>,
    user: User,
    Path(account): Path<AccountId>,
) -> Result<StatusCode, Problem> {
    let account = another(&app, &user, account).await?;
    if app.codec.erased().contains(account.id) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let name: Result<RoomId, _> = account.name.parse();
    let room = name.map_err(|error| Problem::unavailable(&error))?;
    note(&app, &user, "account.erased", account.id.to_string()).await?;
    forget(&app, account.id, &room).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who does it to themselves by mistake may be the last operator there is.
async fn another(app: &App, user: &User, account: AccountId) -> Result<Account, Problem> {
    user.must_operate()?;
    let account = target(app, &account.to_string()).await?;
    if account.id == user.0.sub {
        let detail = "this is your own account; another operator must do this";
        return Err(Problem::unprocessable("own_account", detail));
    }
    Ok(account)
}

async fn end_all(app: &App, user: &User, account: AccountId) -> Result<(), Problem> {
    let open = accounts::open_sessions(&app.pool, account, Timestamp::now()).await?;
    let closed: Vec<Event> = open
        .iter()
        .map(|session| closed(user, account, session.id).into())
        .collect();
    write(app, closed).await
}
