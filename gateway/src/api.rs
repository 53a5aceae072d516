//! The HTTP API.

mod account;
mod admin;
mod channel;
mod chat;
mod donation;
mod follow;
mod goal;
mod history;
mod me;
mod moderation;
mod overlay;
mod payment;
pub(crate) mod recording;
mod review;
mod statement;
mod stream_key;
mod wallet;

pub use stream_key::{find_stream_key, new_stream_key};

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use lemonair_schemas::{Actor, RoomId, frame};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::App;
use crate::error::Problem;
use crate::token::Claims;

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/accounts", post(account::sign_up))
        .route("/api/accounts/me", delete(me::erase))
        .route("/api/accounts/me/display-name", put(me::choose_name))
        .route("/api/accounts/names", get(me::names))
        .route("/api/accounts/me/password", put(me::change_password))
        .route(
            "/api/sessions",
            get(me::sessions)
                .post(account::log_in)
                .delete(account::log_out),
        )
        .route("/api/sessions/{session}", delete(me::end_session))
        .route("/api/sessions/refresh", post(account::refresh))
        .route("/api/channels", get(channel::list))
        .route(
            "/api/channels/{room}",
            get(channel::show).patch(channel::update),
        )
        .route(
            "/api/channels/{room}/stream-key",
            get(stream_key::newest).post(stream_key::rotate),
        )
        .route(
            "/api/channels/{room}/stream-keys",
            get(stream_key::list).post(stream_key::add),
        )
        .route(
            "/api/channels/{room}/stream-keys/{key}",
            delete(stream_key::revoke),
        )
        .route(
            "/api/channels/{room}/follow",
            put(follow::follow).delete(follow::unfollow),
        )
        .route(
            "/api/channels/{room}/messages",
            get(history::messages).delete(chat::delete_messages),
        )
        .route(
            "/api/channels/{room}/messages/{message}",
            get(history::message).delete(chat::delete_message),
        )
        .route("/api/channels/{room}/clear", post(chat::clear))
        .route(
            "/api/channels/{room}/chat-settings",
            get(chat::settings).patch(chat::change_settings),
        )
        .route("/api/channels/{room}/held", get(chat::held))
        .route(
            "/api/channels/{room}/held/{message}",
            put(chat::approve).delete(chat::deny),
        )
        .route(
            "/api/channels/{room}/pin",
            get(chat::pinned).put(chat::pin).delete(chat::unpin),
        )
        .route("/api/channels/{room}/audit", get(chat::audit))
        .route("/api/channels/{room}/bans", get(moderation::bans))
        .route(
            "/api/channels/{room}/bans/{account}",
            put(moderation::ban).delete(moderation::unban),
        )
        .route("/api/channels/{room}/timeouts", get(moderation::timeouts))
        .route(
            "/api/channels/{room}/timeouts/{account}",
            put(moderation::time_out).delete(moderation::lift_timeout),
        )
        .route(
            "/api/channels/{room}/moderators",
            get(moderation::moderators),
        )
        .route(
            "/api/channels/{room}/moderators/{account}",
            put(moderation::add_moderator).delete(moderation::remove_moderator),
        )
        .route("/api/channels/{room}/streams", get(history::streams))
        .route(
            "/api/channels/{room}/streams/{stream}/course",
            get(history::course),
        )
        .route("/api/channels/{room}/recordings", get(recording::list))
        .route(
            "/api/recordings/{stream}",
            get(recording::show).delete(recording::delete),
        )
        .route("/api/recordings/{stream}/events", get(recording::events))
        .route("/api/channels/{room}/stats", get(history::stats))
        .route(
            "/api/channels/{room}/donations",
            get(donation::list).post(donation::donate),
        )
        .route("/api/channels/{room}/donations/rank", get(donation::rank))
        .route("/api/channels/{room}/donations/held", get(review::held))
        .route(
            "/api/channels/{room}/donations/held/{donation}",
            put(review::approve).delete(review::deny),
        )
        .route(
            "/api/channels/{room}/donation-settings",
            get(overlay::settings).patch(overlay::change_settings),
        )
        .route(
            "/api/channels/{room}/goal",
            get(goal::show).post(goal::start).delete(goal::close),
        )
        .route("/api/channels/{room}/overlay", get(overlay::show))
        .route(
            "/api/channels/{room}/overlay/key",
            get(overlay::key).post(overlay::rotate_key),
        )
        .route("/api/channels/{room}/overlay/cues", post(overlay::cue))
        .route(
            "/api/channels/{room}/overlay/shown/{donation}",
            put(overlay::mark_shown),
        )
        .route("/api/donations/{donation}/refund", post(donation::refund))
        .route("/api/wallet", get(wallet::show))
        .route("/api/wallet/entries", get(wallet::entries))
        .route("/api/wallet/statement.csv", get(statement::download))
        .route("/api/wallet/top-ups", post(wallet::top_up))
        .route("/api/channels/{room}/payouts", post(wallet::pay_out))
        .route("/api/webhooks/{provider}", post(payment::webhook))
        .route("/api/sandbox/checkout", post(payment::choose))
        .route("/api/sandbox/checkout/{payment}", get(payment::show))
        .route(
            "/api/sandbox/top-ups/{entry}/refund",
            post(payment::take_back),
        )
        .route("/api/admin/status", get(admin::status))
        .route("/api/admin/cluster", get(admin::cluster))
        .route("/api/admin/schemas", get(admin::schemas))
        .route("/api/admin/audit", get(admin::audit))
        .route("/api/admin/rebuilds/{name}", post(admin::rebuilds::begin))
        .route(
            "/api/admin/rebuilds/{name}/{what}",
            post(admin::rebuilds::hold),
        )
        .route("/api/admin/dead-letters", get(admin::letters::list))
        .route(
            "/api/admin/dead-letters/{id}",
            get(admin::letters::show).delete(admin::letters::drop),
        )
        .route(
            "/api/admin/dead-letters/{id}/retry",
            post(admin::letters::retry),
        )
        .route("/api/admin/accounts", get(admin::accounts::search))
        .route(
            "/api/admin/accounts/{account}",
            delete(admin::accounts::erase),
        )
        .route(
            "/api/admin/accounts/{account}/role",
            put(admin::accounts::grant),
        )
        .route(
            "/api/admin/accounts/{account}/sessions",
            get(admin::accounts::sessions).delete(admin::accounts::end_sessions),
        )
        .route(
            "/api/admin/accounts/{account}/sessions/{session}",
            delete(admin::accounts::end_session),
        )
        .route("/api/openapi.json", get(describe))
        .route("/api/frames.avsc", get(|| schema(frame::FRAMES)))
        .route("/api/requests.avsc", get(|| schema(frame::REQUESTS)))
        .route("/api/{*path}", axum::routing::any(nowhere))
}

/// The API in OpenAPI's words; a test holds it against the real thing.
async fn describe() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        include_str!("api/openapi.json"),
    )
}

/// What goes over the WebSocket in Avro.
async fn schema(avsc: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], avsc)
}

async fn nowhere() -> Problem {
    Problem::not_found("there is no such call; see /api/openapi.json for all of them")
}

/// Who asks, by their access token.
pub(crate) struct User(pub(crate) Claims);

impl User {
    /// Whoever a request's token stands for.
    async fn of(headers: &HeaderMap, app: &App) -> Result<Option<User>, Problem> {
        let Some(token) = bearer(headers)? else {
            return Ok(None);
        };
        match app.claims(token).await {
            Ok(claims) => Ok(Some(User(claims))),
            Err(error) if error.is_fault() => Err(Problem::unavailable(&error)),
            Err(error) => Err(Problem::unauthorized(error.to_string())),
        }
    }

    /// As the actor of an event in `room`.
    fn actor(&self, room: Option<&RoomId>) -> Actor {
        let mut roles = Vec::new();
        if room.is_some_and(|room| self.owns(room)) {
            roles.push("streamer".to_owned());
        }
        if self.0.role != "viewer" {
            roles.push(self.0.role.clone());
        }
        Actor {
            id: self.0.sub,
            name: self.0.name.clone(),
            roles,
        }
    }

    /// A channel has the name of its owner.
    fn owns(&self, room: &RoomId) -> bool {
        self.0.name.eq_ignore_ascii_case(room.as_str())
    }

    fn is_operator(&self) -> bool {
        self.0.role == "operator"
    }

    /// Refuses whoever is no operator.
    fn must_operate(&self) -> Result<(), Problem> {
        if self.is_operator() {
            return Ok(());
        }
        Err(Problem::forbidden(
            "not_an_operator",
            "only an operator can do this",
        ))
    }

    /// Refuses whoever is neither the streamer of the room nor an operator.
    pub(crate) fn must_run(&self, room: &RoomId) -> Result<(), Problem> {
        if self.owns(room) || self.is_operator() {
            return Ok(());
        }
        Err(Problem::forbidden(
            "not_yours",
            "only the channel's streamer or an operator can do this",
        ))
    }
}

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<User, Problem> {
        match User::of(&parts.headers, app).await? {
            Some(user) => Ok(user),
            None => Err(Problem::unauthorized(
                "log in first: send Authorization: Bearer <access token>",
            )),
        }
    }
}

/// Who asks, if they say so.
pub(crate) struct Visitor(pub(crate) Option<User>);

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Visitor, Problem> {
        User::of(&parts.headers, app).await.map(Visitor)
    }
}

/// The token that a request carries.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some(("Bearer" | "bearer", token)) => Ok(Some(token.trim())),
        _ => Err(Problem::unauthorized(
            "the Authorization header must be: Bearer <access token>",
        )),
    }
}

/// A JSON body; what is wrong with it is told.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Body<T>, Problem> {
        match Json::<T>::from_request(request, app).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection) => Err(Problem::new(
                rejection.status(),
                "bad_body",
                rejection.body_text(),
            )),
        }
    }
}

/// The room named in the path.
pub(crate) struct InRoom(pub(crate) RoomId);

#[derive(Deserialize)]
struct RoomPath {
    room: String,
}

impl FromRequestParts<Arc<App>> for InRoom {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<InRoom, Problem> {
        let path = Path::<RoomPath>::from_request_parts(parts, app).await;
        let Ok(Path(RoomPath { room })) = path else {
            return Err(Problem::not_found("no room is named"));
        };
        room.parse()
            .map(InRoom)
            .map_err(|_| Problem::not_found(format!("there is no channel {room:?}")))
    }
}

/// Query parameters; what is wrong with them is told.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Params<T>, Problem> {
        match Query::<T>::from_request_parts(parts, app).await {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => Err(Problem::bad_request("bad_query", rejection.body_text())),
        }
    }
}

/// Asks for the `Idempotency-Key` header.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match key.to_str().map(str::trim) {
        Ok(key) if (1..=128).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_request(
            "bad_idempotency_key",
            "an Idempotency-Key has 1 to 128 ASCII characters",
        )),
    }
}
