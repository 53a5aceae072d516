//! Donations, their refunds, and who gave most.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use lemonair_producers::decide::{LONGEST_MESSAGE, MOST_POINTS};
use lemonair_projections::donations::{self, Donation, Period, Terms};
use lemonair_projections::moderation;
use lemonair_schemas::command::{Donate, Refund};
use lemonair_schemas::donation::Review;
use lemonair_schemas::{EventId, RoomId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::history::{Paging, page};
use super::moderation::optional;
use super::{Body, InRoom, Params, User, Visitor, idempotency_key};
use crate::App;
use crate::error::Problem;
use crate::moderation::{Rank, blocks};

#[derive(Deserialize)]
pub(crate) struct Gift {
    amount: Value,
    #[serde(default)]
    message: String,
    #[serde(default)]
    anonymous: bool,
}

/// Answers once the decision is on Kafka for good. A retry with the same key gets the first answer.
pub(crate) async fn donate(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    headers: HeaderMap,
    Body(gift): Body<Gift>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let key = idempotency_key(&headers)?.ok_or_else(|| {
        let detail = "send an Idempotency-Key header, so that a retry is not a second donation";
        Problem::bad_request("idempotency_key_missing", detail)
    })?;
    let amount = points(&gift.amount)?;
    let message = gift.message.trim().to_owned();
    if message.chars().count() > LONGEST_MESSAGE {
        return Err(refusal(Some("message_too_long")));
    }
    app.limits.money(&user.0)?;
    let gone = || Problem::not_found(format!("there is no channel {room}"));
    let terms = donations::terms(&app.pool, &room, user.0.sub).await?;
    // Nobody is behind what is left of it.
    let terms = terms.filter(|terms| !app.codec.erased().contains(terms.streamer));
    let terms = terms.ok_or_else(gone)?;
    let ask = Donate {
        id: EventId::new(),
        at: Timestamp::now(),
        account: user.0.sub,
        name: user.0.name.clone(),
        key,
        room: room.clone(),
        streamer: terms.streamer,
        amount,
        message: message.clone(),
        anonymous: gift.anonymous,
        held: waits(&app, &room, &terms, &message).await?,
        minimum: terms.settings.minimum.max(app.config.donation_minimum),
        maximum: app.config.donation_maximum,
        obstacle: obstacle(&user, &room, &terms).map(str::to_owned),
    };
    let answered = app.desk.ask(ask).await?;
    let Some(event) = answered.event else {
        return Err(refusal(answered.refusal.as_deref()));
    };
    app.settle(&answered.positions).await;
    let body = json!({
        "id": event,
        "at": answered.decided,
        "room": room,
        "amount": amount,
        "message": message,
        "anonymous": gift.anonymous,
        "from": { "id": user.0.sub, "name": user.0.name },
        "balance": answered.balance,
    });
    Ok((StatusCode::CREATED, Json(body)))
}

/// What is in the way, other than points. Here and not in the decider, which has no room's state; but
/// it is the decider that refuses, once it knows that this is no retry of what was accepted before. A
/// ban that was answered is seen, as whoever bans waits for this read model, unless it lags by more
/// than an answer waits.
fn obstacle(user: &User, room: &RoomId, terms: &Terms) -> Option<&'static str> {
    let rank = Rank::of(&user.0.name, &user.0.role, room);
    if terms.banned && rank < Rank::Streamer {
        return Some("banned");
    }
    (!terms.live && !terms.settings.accepts_offline).then_some("offline")
}

/// Whether the message waits for a moderator.
async fn waits(app: &App, room: &RoomId, terms: &Terms, message: &str) -> Result<bool, Problem> {
    if message.is_empty() {
        return Ok(false);
    }
    match terms.settings.review {
        Review::None => Ok(false),
        Review::All => Ok(true),
        Review::Blocked => {
            let settings = moderation::settings(&app.pool, room).await?;
            Ok(blocks(&settings, message))
        }
    }
}

#[derive(Deserialize, Default)]
pub(crate) struct Back {
    /// Points; all that is left if there is none.
    amount: Option<Value>,
}

/// By the streamer or an operator: the whole donation, or a part of it. A part needs a key, as two
/// refunds of the same amount may both be meant.
pub(crate) async fn refund(
    State(app): State<Arc<App>>,
    Path(donation): Path<String>,
    user: User,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let gone = || Problem::not_found("there is no such donation");
    let id: EventId = donation.parse().map_err(|_| gone())?;
    app.limits.money(&user.0)?;
    let given = donations::by_id(&app.pool, id).await?.ok_or_else(gone)?;
    user.must_run(&given.room)?;
    let Back { amount } = optional(&body)?;
    let key = idempotency_key(&headers)?;
    let amount = match amount.filter(|amount| !amount.is_null()) {
        Some(_) if key.is_none() => {
            let detail = "a part is given back with an Idempotency-Key header, so that a retry does not give more";
            return Err(Problem::bad_request("idempotency_key_missing", detail));
        }
        Some(amount) => Some(points(&amount)?),
        // What is left, the decider knows: what is read here may be a moment old.
        None => None,
    };
    let ask = Refund {
        id: EventId::new(),
        at: Timestamp::now(),
        account: given.donor,
        donation: id,
        by: user.actor(Some(&given.room)),
        amount,
        key,
    };
    let answered = app.desk.ask(ask).await?;
    let Some(event) = answered.event else {
        return Err(refusal(answered.refusal.as_deref()));
    };
    app.settle(&answered.positions).await;
    let body = json!({
        "id": event,
        "at": answered.decided,
        "donation": id,
        "amount": answered.amount.or(amount),
    });
    Ok((StatusCode::CREATED, Json(body)))
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Visitor(user): Visitor,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    let found = donations::page(&app.pool, &room, &paging.slice()?).await?;
    let reader = user.as_ref().map(|user| user.0.sub);
    let moderates = match &user {
        Some(user) => user.rank(&app, &room).await? > Rank::Viewer,
        None => false,
    };
    let items = found.items.iter();
    let list: Vec<Value> = items
        .map(|donation| shown(donation, moderates || reader == Some(donation.donor)))
        .collect();
    Ok(page("donations", &list, found.older, found.newer))
}

/// A donation as it is told. Who wants no name has none here, whoever looks; `close` sees a message
/// that waits.
pub(super) fn shown(donation: &Donation, close: bool) -> Value {
    let from = json!({ "id": donation.donor, "name": donation.donor_name });
    let hidden = donation.denied || (donation.held && !close);
    json!({
        "id": donation.id,
        "at": donation.donated_at,
        "from": if donation.anonymous { Value::Null } else { from },
        "anonymous": donation.anonymous,
        "amount": donation.amount,
        "message": if hidden { "" } else { &donation.message },
        "held": donation.held,
        "refunded": donation.refunded_at.is_some(),
        "returned": donation.refunded,
    })
}

#[derive(Deserialize)]
pub(crate) struct Over {
    #[serde(default)]
    period: Term,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Term {
    #[default]
    All,
    Month,
    Broadcast,
}

/// Who wants no name has no place either: a place of many is nobody's. Their sum stands beside.
pub(crate) async fn rank(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Params(Over { period }): Params<Over>,
) -> Result<Json<Value>, Problem> {
    const SHOWN: u32 = 100;
    let period = match period {
        Term::All => Period::All,
        Term::Month => Period::Month(Timestamp::now()),
        Term::Broadcast => Period::Broadcast,
    };
    let donations::Rank { named, anonymous } =
        donations::rank(&app.pool, &room, period, SHOWN).await?;
    let rank: Vec<Value> = named
        .into_iter()
        .map(|ranked| {
            json!({
                "rank": ranked.place,
                "account": ranked.donor,
                "name": ranked.name,
                "total": ranked.amount,
                "count": ranked.donations,
            })
        })
        .collect();
    let anonymous = json!({ "total": anonymous.amount, "count": anonymous.donations });
    Ok(Json(json!({ "rank": rank, "anonymous": anonymous })))
}

/// An amount of points: a whole JSON number.
pub(super) fn points(amount: &Value) -> Result<i64, Problem> {
    match amount.as_i64() {
        Some(points) if (1..=MOST_POINTS).contains(&points) => Ok(points),
        _ => Err(refusal(Some("bad_amount"))),
    }
}

/// A decider's refusal, in words.
pub(super) fn refusal(code: Option<&str>) -> Problem {
    let code = code.unwrap_or("refused");
    match code {
        "insufficient_balance" => Problem::new(
            StatusCode::PAYMENT_REQUIRED,
            code,
            "there are not enough points in your wallet; top up first",
        ),
        "key_reused" => Problem::new(
            StatusCode::CONFLICT,
            code,
            "this Idempotency-Key was used for something else; choose a new one for a new request",
        ),
        "expired" => Problem::new(
            StatusCode::CONFLICT,
            code,
            "this was asked so long before it could be decided that nothing was moved; ask again with a new Idempotency-Key",
        ),
        "already_refunded" => Problem::new(
            StatusCode::CONFLICT,
            code,
            "this donation was given back already",
        ),
        "no_such_donation" => Problem::not_found("there is no such donation"),
        "insufficient_earnings" => Problem::new(
            StatusCode::CONFLICT,
            code,
            "the earnings are less than what should be paid out",
        ),
        "too_old" => Problem::unprocessable(
            code,
            "this payment is so old that nobody knows any more whether it was credited",
        ),
        "bad_amount" => Problem::unprocessable(
            code,
            format!("the amount is a whole number of points, from 1 to {MOST_POINTS}"),
        ),
        "message_too_long" => Problem::unprocessable(
            code,
            format!("the message has at most {LONGEST_MESSAGE} characters"),
        ),
        "refund_too_large" => {
            Problem::unprocessable(code, "that is more than is left of this donation")
        }
        "below_minimum" => Problem::unprocessable(
            code,
            "that is less than this channel takes; see its donation-settings",
        ),
        "above_maximum" => Problem::unprocessable(code, "that is more than may be given at once"),
        "banned" => Problem::forbidden(code, "you are banned from this room"),
        "offline" => Problem::new(
            StatusCode::CONFLICT,
            code,
            "this channel takes donations only while it is live",
        ),
        "own_channel" => Problem::unprocessable(code, "you cannot donate to yourself"),
        _ => Problem::unprocessable(code, "this cannot be done"),
    }
}
