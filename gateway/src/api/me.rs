//! What people do to their own account: where they are logged in, another password, the end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum_extra::extract::CookieJar;
use lemonair_projections::accounts;
use lemonair_schemas::account::{DisplayNameChosen, PasswordChanged, SessionClosed};
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{AccountId, Event, EventId, RoomId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::account::cookie;
use super::{Body, Params, User};
use crate::App;
use crate::display_name;
use crate::error::Problem;
use crate::password::Passwords;
use crate::places::Peer;

/// Accounts of one question after their display names.
const MOST_NAMES: usize = 100;

#[derive(Serialize)]
pub(crate) struct Sessions {
    sessions: Vec<Open>,
}

#[derive(Serialize)]
struct Open {
    #[serde(flatten)]
    session: accounts::Session,
    /// The one that asks.
    current: bool,
}

#[derive(Deserialize)]
pub(crate) struct Change {
    old: String,
    new: String,
}

#[derive(Deserialize)]
pub(crate) struct Choice {
    display_name: String,
}

#[derive(Deserialize)]
pub(crate) struct Whose {
    /// Comma-separated.
    ids: String,
}

#[derive(Deserialize)]
pub(crate) struct Farewell {
    password: String,
}

pub(crate) async fn sessions(
    State(app): State<Arc<App>>,
    User(claims): User,
) -> Result<Json<Sessions>, Problem> {
    let open = accounts::open_sessions(&app.pool, claims.sub, Timestamp::now()).await?;
    let sessions = open.into_iter().map(|session| Open {
        current: claims.sid == Some(session.id),
        session,
    });
    Ok(Json(Sessions {
        sessions: sessions.collect(),
    }))
}

pub(crate) async fn end_session(
    State(app): State<Arc<App>>,
    user: User,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    end(
        &app,
        &user,
        user.0.sub,
        session,
        "you are not logged in there",
    )
    .await
}

/// Another display name, or none. Names stay as they are, and are shown with it.
pub(crate) async fn choose_name(
    State(app): State<Arc<App>>,
    user: User,
    Body(Choice { display_name }): Body<Choice>,
) -> Result<Json<Value>, Problem> {
    let display_name = display_name::fit(&display_name)
        .map_err(|unfit| Problem::unprocessable("bad_display_name", unfit.to_string()))?;
    let as_name: String = display_name.split_whitespace().collect();
    let other = accounts::by_name(&app.pool, &as_name).await?;
    if other.is_some_and(|other| other.id != user.0.sub) {
        let detail = "this is another account's name; choose another";
        return Err(Problem::new(StatusCode::CONFLICT, "name_taken", detail));
    }
    let chosen = DisplayNameChosen {
        id: EventId::new(),
        at: Timestamp::now(),
        account: user.0.sub,
        actor: Some(user.actor(None)),
        display_name: display_name.clone(),
    };
    write(&app, [chosen.into()]).await?;
    Ok(Json(json!({ "display_name": display_name })))
}

/// What accounts are called beside their names, for whoever shows those.
pub(crate) async fn names(
    State(app): State<Arc<App>>,
    Params(Whose { ids }): Params<Whose>,
) -> Result<Json<Value>, Problem> {
    let ids: Result<Vec<AccountId>, _> = ids.split(',').map(str::parse).collect();
    let ids = ids.map_err(|_| Problem::bad_request("bad_query", "ids are accounts' ids"))?;
    if ids.len() > MOST_NAMES {
        let detail = format!("at most {MOST_NAMES} ids");
        return Err(Problem::bad_request("bad_query", detail));
    }
    let names = accounts::display_names(&app.pool, &ids).await?;
    let names: Map<String, Value> = names
        .into_iter()
        .map(|(account, name)| (account.to_string(), name.into()))
        .collect();
    Ok(Json(json!({ "names": names })))
}

/// Whoever knew the old password is logged out, everywhere but here.
pub(crate) async fn change_password(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    user: User,
    Body(Change { old, new }): Body<Change>,
) -> Result<StatusCode, Problem> {
    app.limits.login(peer.address)?;
    prove(&app, &user, old).await?;
    Passwords::check_strength(&new)
        .map_err(|error| Problem::unprocessable("weak_password", error.to_string()))?;
    let changed = PasswordChanged {
        id: EventId::new(),
        at: Timestamp::now(),
        account: user.0.sub,
        actor: Some(user.actor(None)),
        password_hash: app.passwords.hash(new).await,
    };
    let open = accounts::open_sessions(&app.pool, user.0.sub, Timestamp::now()).await?;
    let others = open.iter().filter(|session| user.0.sid != Some(session.id));
    let mut events: Vec<Event> = vec![changed.into()];
    events.extend(others.map(|session| closed(&user, user.0.sub, session.id).into()));
    write(&app, events).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Erases the account: the name and every word of it, everywhere, for ever.
pub(crate) async fn erase(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    jar: CookieJar,
    user: User,
    Body(Farewell { password }): Body<Farewell>,
) -> Result<(StatusCode, CookieJar), Problem> {
    app.limits.login(peer.address)?;
    prove(&app, &user, password).await?;
    let room: RoomId = user
        .0
        .name
        .parse()
        .map_err(|error| Problem::unavailable(&error))?;
    forget(&app, user.0.sub, &room).await?;
    Ok((StatusCode::NO_CONTENT, jar.add(cookie(&app, String::new()))))
}

/// A token may have been left lying about; the password was not.
async fn prove(app: &App, user: &User, password: String) -> Result<(), Problem> {
    let account = accounts::by_id(&app.pool, user.0.sub).await?;
    let stored = account.and_then(|account| account.password_hash);
    if app.passwords.verify(password, stored).await {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "bad_credentials",
        "this is not your password",
    ))
}

/// Erases an account, and waits until that can be read.
pub(super) async fn forget(app: &App, account: AccountId, room: &RoomId) -> Result<(), Problem> {
    let erased = AccountErased::new(account, room, Timestamp::now());
    let position = app.log.append(erased.clone()).await?;
    app.codec.erased().learn(&erased);
    app.settle(&[position]).await;
    Ok(())
}

/// Ends a log-in of the account, by `user`; a problem that says `missing` where there is none.
pub(super) async fn end(
    app: &App,
    user: &User,
    account: AccountId,
    session: SessionId,
    missing: &str,
) -> Result<StatusCode, Problem> {
    let open = accounts::open_sessions(&app.pool, account, Timestamp::now()).await?;
    if !open.iter().any(|found| found.id == session) {
        return Err(Problem::not_found(missing));
    }
    write(app, [closed(user, account, session).into()]).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn closed(user: &User, account: AccountId, session: SessionId) -> SessionClosed {
    SessionClosed {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        actor: Some(user.actor(None)),
        session,
    }
}

/// Appends in order, and waits until it can be read.
pub(super) async fn write(
    app: &App,
    events: impl IntoIterator<Item = Event>,
) -> Result<(), Problem> {
    let mut positions = Vec::new();
    for event in events {
        positions.push(app.log.append(event).await?);
    }
    app.settle(&positions).await;
    Ok(())
}
