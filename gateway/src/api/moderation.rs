//! What moderators do to people: bans, time-outs, moderators. Doing it twice is doing it once.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lemonair_projections::accounts::{self, Account};
use lemonair_projections::moderation::{self, Kind};
use lemonair_schemas::chat::{
    MemberBanned, MemberTimedOut, MemberUnbanned, ModeratorAdded, ModeratorRemoved, TimeoutLifted,
};
use lemonair_schemas::{AccountId, Actor, Event, RoomId, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::channel::find;
use super::{Body, InRoom, User};
use crate::App;
use crate::error::Problem;
use crate::moderation::Rank;

/// Who is banned, timed out or a moderator in one room, at most, each.
const MOST: i64 = 20_000;
const LONGEST_REASON: usize = 200;
const LONGEST_TIMEOUT: u64 = 14 * 24 * 3600;
/// The same time-out asked for again so soon is the same one.
const SAME: Duration = Duration::from_secs(10);

/// A fact about a room, of now.
macro_rules! fact {
    ($name:ident in $room:ident by $actor:expr; $($field:ident: $value:expr),* $(,)?) => {
        lemonair_schemas::Event::from($name {
            id: lemonair_schemas::EventId::new(),
            at: lemonair_schemas::Timestamp::now(),
            room: $room.clone(),
            actor: Some($actor),
            $($field: $value),*
        })
    };
}
pub(super) use fact;

/// Somebody who may moderate the room.
pub(super) struct Moderator {
    pub(super) actor: Actor,
    pub(super) rank: Rank,
}

#[derive(Deserialize, Default)]
pub(crate) struct Why {
    reason: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct TimeoutFor {
    seconds: u64,
    reason: Option<String>,
}

// === impl User ===

impl User {
    /// What they may do in the room.
    pub(super) async fn rank(&self, app: &App, room: &RoomId) -> Result<Rank, Problem> {
        rank(app, room, self.0.sub, &self.0.name, &self.0.role).await
    }

    /// Refuses whoever is no moderator of the room.
    pub(super) async fn must_moderate(
        &self,
        app: &App,
        room: &RoomId,
    ) -> Result<Moderator, Problem> {
        find(app, room).await?;
        let rank = self.rank(app, room).await?;
        if rank < Rank::Moderator {
            return Err(Problem::forbidden(
                "not_a_moderator",
                "only the channel's moderators can do this",
            ));
        }
        let mut actor = self.actor(Some(room));
        if rank == Rank::Moderator && !actor.roles.iter().any(|role| role == "moderator") {
            actor.roles.push("moderator".to_owned());
        }
        Ok(Moderator { actor, rank })
    }
}

/// Who is banned may not do what a moderator may.
pub(super) async fn rank(
    app: &App,
    room: &RoomId,
    account: AccountId,
    name: &str,
    role: &str,
) -> Result<Rank, Problem> {
    let rank = Rank::of(name, role, room);
    if rank >= Rank::Streamer {
        return Ok(rank);
    }
    let is = |kind| moderation::standing(&app.pool, room, kind, account);
    if is(Kind::Banned).await?.is_some() {
        return Ok(Rank::Viewer);
    }
    if is(Kind::Moderator).await?.is_some() {
        return Ok(rank.max(Rank::Moderator));
    }
    Ok(rank)
}

// === Bans ===

pub(crate) async fn ban(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, account)): Path<(String, String)>,
    user: User,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let (moderator, target) = restrain(&app, &room, &user, &account).await?;
    let Why { reason } = optional(&body)?;
    let reason = checked(reason)?;
    let banned = fact!(MemberBanned in room by moderator.actor;
        account: target.id, name: target.name, reason: reason);
    change(&app, &room, Kind::Banned, target.id, true, banned).await
}

pub(crate) async fn unban(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, account)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(&app, &room).await?;
    let target = target(&app, &account).await?;
    let unbanned = fact!(MemberUnbanned in room by moderator.actor;
        account: target.id, name: target.name);
    change(&app, &room, Kind::Banned, target.id, false, unbanned).await
}

pub(crate) async fn bans(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_moderate(&app, &room).await?;
    let bans = moderation::standings(&app.pool, &room, Kind::Banned).await?;
    Ok(Json(json!({ "bans": bans })))
}

// === Time-outs ===

pub(crate) async fn time_out(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, account)): Path<(String, String)>,
    user: User,
    Body(TimeoutFor { seconds, reason }): Body<TimeoutFor>,
) -> Result<StatusCode, Problem> {
    let (moderator, target) = restrain(&app, &room, &user, &account).await?;
    if !(1..=LONGEST_TIMEOUT).contains(&seconds) {
        return Err(Problem::unprocessable(
            "bad_timeout",
            format!("a time-out has 1 to {LONGEST_TIMEOUT} seconds"),
        ));
    }
    let reason = checked(reason)?;
    let (now, length) = (Timestamp::now(), Duration::from_secs(seconds));
    let standing = moderation::standing(&app.pool, &room, Kind::TimedOut, target.id).await?;
    if let Some(standing) = standing
        && let Some(until) = standing.until
        && until > now
        && now.since(standing.since) < SAME
        && until.since(standing.since) == length
    {
        return Ok(StatusCode::NO_CONTENT);
    }
    room_for_more(&app, &room, Kind::TimedOut).await?;
    let timed_out = MemberTimedOut {
        id: lemonair_schemas::EventId::new(),
        at: now,
        room,
        actor: Some(moderator.actor),
        account: target.id,
        name: target.name,
        until: now.plus(length),
        reason,
    };
    record(&app, timed_out.into()).await
}

pub(crate) async fn lift_timeout(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, account)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    let (moderator, target) = restrain(&app, &room, &user, &account).await?;
    let standing = moderation::standing(&app.pool, &room, Kind::TimedOut, target.id).await?;
    let runs = standing.and_then(|standing| standing.until) > Some(Timestamp::now());
    if !runs {
        return Ok(StatusCode::NO_CONTENT);
    }
    let lifted = fact!(TimeoutLifted in room by moderator.actor;
        account: target.id, name: target.name);
    record(&app, lifted).await
}

pub(crate) async fn timeouts(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_moderate(&app, &room).await?;
    let mut timeouts = moderation::standings(&app.pool, &room, Kind::TimedOut).await?;
    let now = Timestamp::now();
    timeouts.retain(|standing| standing.until > Some(now));
    Ok(Json(json!({ "timeouts": timeouts })))
}

// === Moderators ===

pub(crate) async fn add_moderator(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, account)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    user.must_run(&room)?;
    let moderator = user.must_moderate(&app, &room).await?;
    let target = target(&app, &account).await?;
    if Rank::of(&target.name, &target.role, &room) >= Rank::Streamer {
        return Err(Problem::unprocessable(
            "stands_higher",
            "the streamer and operators moderate anyway",
        ));
    }
    if stands(&app, &room, Kind::Banned, target.id).await? {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "banned",
            "the account is banned from this room; take that back first",
        ));
    }
    let added = fact!(ModeratorAdded in room by moderator.actor;
        account: target.id, name: target.name);
    change(&app, &room, Kind::Moderator, target.id, true, added).await
}

pub(crate) async fn remove_moderator(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, account)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    user.must_run(&room)?;
    let moderator = user.must_moderate(&app, &room).await?;
    let target = target(&app, &account).await?;
    let removed = fact!(ModeratorRemoved in room by moderator.actor;
        account: target.id, name: target.name);
    change(&app, &room, Kind::Moderator, target.id, false, removed).await
}

pub(crate) async fn moderators(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_moderate(&app, &room).await?;
    let moderators = moderation::standings(&app.pool, &room, Kind::Moderator).await?;
    Ok(Json(json!({ "moderators": moderators })))
}

// === What all of them need ===

/// Makes somebody banned or a moderator, or no longer so, by an event; where it is so already, by none.
async fn change(
    app: &App,
    room: &RoomId,
    kind: Kind,
    account: AccountId,
    wanted: bool,
    event: Event,
) -> Result<StatusCode, Problem> {
    if stands(app, room, kind, account).await? == wanted {
        return Ok(StatusCode::NO_CONTENT);
    }
    if wanted {
        room_for_more(app, room, kind).await?;
    }
    record(app, event).await
}

/// Appends what was done, and waits until it can be read.
pub(super) async fn record(app: &App, event: Event) -> Result<StatusCode, Problem> {
    let position = app.log.append(event).await?;
    app.settle(&[position]).await;
    Ok(StatusCode::NO_CONTENT)
}

/// An account by its id or its name.
pub(super) async fn target(app: &App, account: &str) -> Result<Account, Problem> {
    let found = match account.parse::<AccountId>() {
        Ok(id) => accounts::by_id(&app.pool, id).await?,
        Err(_) => accounts::by_name(&app.pool, account).await?,
    };
    found.ok_or_else(|| Problem::not_found(format!("there is no account {account:?}")))
}

/// Who asks and whom they mean, if the one may restrain the other.
async fn restrain(
    app: &App,
    room: &RoomId,
    user: &User,
    account: &str,
) -> Result<(Moderator, Account), Problem> {
    let moderator = user.must_moderate(app, room).await?;
    let target = target(app, account).await?;
    let rank = rank(app, room, target.id, &target.name, &target.role).await?;
    if !moderator.rank.may_restrain(rank) {
        return Err(Problem::forbidden(
            "stands_too_high",
            format!("{} cannot be restrained by you", target.name),
        ));
    }
    Ok((moderator, target))
}

async fn stands(app: &App, room: &RoomId, kind: Kind, account: AccountId) -> Result<bool, Problem> {
    let standing = moderation::standing(&app.pool, room, kind, account).await?;
    Ok(standing.is_some())
}

/// Every gateway holds them all in memory.
async fn room_for_more(app: &App, room: &RoomId, kind: Kind) -> Result<(), Problem> {
    if moderation::count(&app.pool, room, kind).await? < MOST {
        return Ok(());
    }
    Err(Problem::unprocessable(
        "too_many",
        format!("a room has at most {MOST} of these"),
    ))
}

fn checked(reason: Option<String>) -> Result<Option<String>, Problem> {
    let reason = reason.map(|reason| reason.trim().to_owned());
    let reason = reason.filter(|reason| !reason.is_empty());
    match reason {
        Some(reason) if reason.chars().count() > LONGEST_REASON => Err(Problem::unprocessable(
            "too_long",
            format!("a reason has at most {LONGEST_REASON} characters"),
        )),
        reason => Ok(reason),
    }
}

/// A JSON body that may be left out.
pub(super) fn optional<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request("bad_body", error.to_string()))
}
