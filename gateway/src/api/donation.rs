//! Donations, their refunds, and who gave most.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use lemonair_producers::decide::{LONGEST_MESSAGE, MOST_POINTS};
use lemonair_projections::donations;
use lemonair_schemas::command::{Donate, Refund};
use lemonair_schemas::{EventId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::find;
use super::history::{Paging, page};
use super::{Body, InRoom, Params, User, idempotency_key};
use crate::App;
use crate::error::Problem;

#[derive(Deserialize)]
pub(crate) struct Gift {
    amount: Value,
    #[serde(default)]
    message: String,
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
    let channel = find(&app, &room).await?;
    let ask = Donate {
        id: EventId::new(),
        at: Timestamp::now(),
        account: user.0.sub,
        name: user.0.name.clone(),
        key,
        room: room.clone(),
        streamer: channel.owner,
        amount,
        message: message.clone(),
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
        "from": { "id": user.0.sub, "name": user.0.name },
        "balance": answered.balance,
    });
    Ok((StatusCode::CREATED, Json(body)))
}

/// By the streamer or an operator.
pub(crate) async fn refund(
    State(app): State<Arc<App>>,
    Path(donation): Path<String>,
    user: User,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let gone = || Problem::not_found("there is no such donation");
    let id: EventId = donation.parse().map_err(|_| gone())?;
    let given = donations::by_id(&app.pool, id).await?.ok_or_else(gone)?;
    user.must_run(&given.room)?;
    let ask = Refund {
        id: EventId::new(),
        at: Timestamp::now(),
        account: given.donor,
        donation: id,
        by: user.actor(Some(&given.room)),
    };
    let answered = app.desk.ask(ask).await?;
    let Some(event) = answered.event else {
        return Err(refusal(answered.refusal.as_deref()));
    };
    app.settle(&answered.positions).await;
    let body =
        json!({ "id": event, "at": answered.decided, "donation": id, "amount": given.amount });
    Ok((StatusCode::CREATED, Json(body)))
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    let found = donations::page(&app.pool, &room, &paging.slice()?).await?;
    let shown: Vec<Value> = found
        .items
        .into_iter()
        .map(|donation| {
            json!({
                "id": donation.id,
                "at": donation.donated_at,
                "from": { "id": donation.donor, "name": donation.donor_name },
                "amount": donation.amount,
                "message": donation.message,
                "refunded": donation.refunded_at.is_some(),
            })
        })
        .collect();
    Ok(page("donations", &shown, found.older, found.newer))
}

pub(crate) async fn rank(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
) -> Result<Json<Value>, Problem> {
    const SHOWN: u32 = 100;
    let rank: Vec<Value> = donations::rank(&app.pool, &room, SHOWN)
        .await?
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
    Ok(Json(json!({ "rank": rank })))
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
        "own_channel" => Problem::unprocessable(code, "you cannot donate to yourself"),
        _ => Problem::unprocessable(code, "this cannot be done"),
    }
}
