//! Signing up, logging in and out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use lemonair_projections::accounts::{self, Account};
use lemonair_schemas::account::{SessionClosed, SessionOpened};
use lemonair_schemas::command::Register;
use lemonair_schemas::{AccountId, Actor, EventId, RoomId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Body;
use crate::error::Problem;
use crate::password::Passwords;
use crate::places::Peer;
use crate::token::{ACCESS, Audience, Claims, REFRESH};
use crate::{App, Denied};

/// The refresh token, where scripts of a page cannot read it.
const COOKIE: &str = "lemonair_refresh";

/// Names that are pages or folders of ours.
const RESERVED: [&str; 19] = [
    "account",
    "studio",
    "wallet",
    "checkout",
    "admin",
    "api",
    "assets",
    "hls",
    "thumbnails",
    "recordings",
    "overlay",
    "ws",
    "events",
    "healthz",
    "readyz",
    "metrics",
    "provider",
    "platform",
    "lemonair",
];

#[derive(Deserialize)]
pub(crate) struct SignUp {
    name: String,
    password: String,
    email: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct LogIn {
    name: String,
    password: String,
}

#[derive(Deserialize, Default)]
pub(crate) struct Refresh {
    refresh_token: Option<String>,
}

/// Somebody who is logged in.
#[derive(Serialize)]
pub(crate) struct Session {
    account: Profile,
    tokens: TokenPair,
}

#[derive(Serialize)]
struct Profile {
    id: AccountId,
    name: String,
    roles: Vec<String>,
}

#[derive(Serialize)]
struct TokenPair {
    access_token: String,
    refresh_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
}

type Answer = Result<(StatusCode, CookieJar, Json<Session>), Problem>;

pub(crate) async fn sign_up(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    jar: CookieJar,
    headers: HeaderMap,
    Body(SignUp {
        name,
        password,
        email,
    }): Body<SignUp>,
) -> Answer {
    let room: RoomId = name
        .parse()
        .map_err(|error| Problem::unprocessable("bad_name", format!("{error}")))?;
    if RESERVED.contains(&room.as_str()) || room.is_pseudonym() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "name_taken",
            "this name is taken; choose another",
        ));
    }
    Passwords::check_strength(&password)
        .map_err(|error| Problem::unprocessable("weak_password", error.to_string()))?;
    if email
        .as_ref()
        .is_some_and(|email| !(3..=254).contains(&email.len()) || !email.contains('@'))
    {
        return Err(Problem::unprocessable(
            "bad_email",
            "this is not an e-mail address",
        ));
    }
    app.limits.login(peer.address)?;
    let account = AccountId::new();
    let register = Register {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        name: name.clone(),
        password_hash: Some(app.passwords.hash(password).await),
        email,
    };
    let answered = app.desk.ask(register).await?;
    if answered.event.is_none() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "name_taken",
            "this name is taken; choose another",
        ));
    }
    app.settle(&answered.positions).await;
    open_session(&app, jar, &headers, account, &name, "viewer").await
}

pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    jar: CookieJar,
    headers: HeaderMap,
    Body(LogIn { name, password }): Body<LogIn>,
) -> Answer {
    app.limits.login(peer.address)?;
    let account = accounts::by_name(&app.pool, &name).await?;
    let stored = account
        .as_ref()
        .and_then(|account| account.password_hash.clone());
    let right = app.passwords.verify(password, stored).await;
    match account {
        Some(Account { id, name, role, .. }) if right && !app.codec.erased().contains(id) => {
            open_session(&app, jar, &headers, id, &name, &role).await
        }
        _ => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "bad_credentials",
            "name or password is wrong",
        )),
    }
}

/// The session stays the same, so that several tabs can renew at once.
pub(crate) async fn refresh(
    State(app): State<Arc<App>>,
    jar: CookieJar,
    body: axum::body::Bytes,
) -> Answer {
    let claims = refresh_claims(&app, &jar, &body).await?;
    let account = accounts::by_id(&app.pool, claims.sub).await?;
    let account = account.ok_or_else(|| Problem::unauthorized("the account is gone"))?;
    let session = claims.sid.unwrap_or_default();
    let session = tokens(&app, account.id, &account.name, &account.role, session)?;
    Ok((
        StatusCode::OK,
        jar.add(cookie(&app, session.tokens.refresh_token.clone())),
        Json(session),
    ))
}

pub(crate) async fn log_out(
    State(app): State<Arc<App>>,
    jar: CookieJar,
    super::Visitor(user): super::Visitor,
    body: axum::body::Bytes,
) -> Result<(StatusCode, CookieJar), Problem> {
    let claims = match user {
        Some(user) => user.0,
        None => refresh_claims(&app, &jar, &body).await?,
    };
    if let Some(session) = claims.sid {
        let closed = SessionClosed {
            id: EventId::new(),
            at: Timestamp::now(),
            account: claims.sub,
            actor: Some(Actor {
                id: claims.sub,
                name: claims.name,
                roles: Vec::new(),
            }),
            session,
        };
        let position = app.log.append(closed).await?;
        app.settle(&[position]).await;
    }
    Ok((StatusCode::NO_CONTENT, jar.add(cookie(&app, String::new()))))
}

async fn refresh_claims(app: &App, jar: &CookieJar, body: &[u8]) -> Result<Claims, Problem> {
    let asked: Refresh = match body {
        [] => Refresh::default(),
        body => serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request("bad_body", error.to_string()))?,
    };
    let token = asked
        .refresh_token
        .or_else(|| jar.get(COOKIE).map(|cookie| cookie.value().to_owned()));
    let token =
        token.ok_or_else(|| Problem::unauthorized("log in first: there is no refresh token"))?;
    let check = async {
        let claims = app.tokens.check(&token, Audience::Refresh)?;
        app.check_session(&claims).await?;
        Ok::<_, Denied>(claims)
    };
    check.await.map_err(|denied| match denied {
        Denied::Fault(fault) => fault.into(),
        denied => Problem::unauthorized(denied.to_string()),
    })
}

async fn open_session(
    app: &App,
    jar: CookieJar,
    headers: &HeaderMap,
    account: AccountId,
    name: &str,
    role: &str,
) -> Answer {
    let now = Timestamp::now();
    let session = SessionId::new();
    let opened = SessionOpened {
        id: EventId::new(),
        at: now,
        account,
        actor: Some(Actor {
            id: account,
            name: name.to_owned(),
            roles: Vec::new(),
        }),
        session,
        expires: now.plus(REFRESH),
        agent: agent(headers),
    };
    let position = app.log.append(opened).await?;
    app.settle(&[position]).await;
    let session = tokens(app, account, name, role, session)?;
    Ok((
        StatusCode::CREATED,
        jar.add(cookie(app, session.tokens.refresh_token.clone())),
        Json(session),
    ))
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(agent.chars().take(200).collect())
}

fn tokens(
    app: &App,
    account: AccountId,
    name: &str,
    role: &str,
    session: SessionId,
) -> Result<Session, Problem> {
    let now = Timestamp::now();
    let sign = |audience, ttl| {
        let claims = Claims {
            sid: Some(session),
            ..Claims::new(audience, account, name, role, now, ttl)
        };
        app.tokens
            .sign(&claims)
            .map_err(|error| Problem::unavailable(&error))
    };
    let roles = if role == "viewer" {
        Vec::new()
    } else {
        vec![role.to_owned()]
    };
    Ok(Session {
        account: Profile {
            id: account,
            name: name.to_owned(),
            roles,
        },
        tokens: TokenPair {
            access_token: sign(Audience::Access, ACCESS)?,
            refresh_token: sign(Audience::Refresh, REFRESH)?,
            token_type: "Bearer",
            expires_in: ACCESS.as_secs(),
        },
    })
}

/// An empty value takes the cookie away.
pub(super) fn cookie(app: &App, value: String) -> Cookie<'static> {
    let age = if value.is_empty() {
        0
    } else {
        i64::try_from(REFRESH.as_secs()).unwrap_or(i64::MAX)
    };
    Cookie::build((COOKIE, value))
        .path("/api/sessions")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(app.config.public_url.starts_with("https://"))
        .max_age(time::Duration::seconds(age))
        .build()
}
