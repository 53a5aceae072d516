//! The wallet: points bought from a payment provider, where they went, and what is paid out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lemonair_projections::wallets::{self, Entry};
use lemonair_schemas::command::{self, PayOut};
use lemonair_schemas::{EventId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::find;
use super::donation::{points, refusal};
use super::history::{Paging, page};
use super::payment::receive;
use super::statement::{Span, statement};
use super::{Body, InRoom, Params, User, idempotency_key};
use crate::App;
use crate::error::Problem;
use crate::payment::{Order, Unreachable};

#[derive(Deserialize)]
pub(crate) struct Wish {
    amount: Value,
}

pub(crate) async fn show(State(app): State<Arc<App>>, user: User) -> Result<Json<Value>, Problem> {
    let wallet = wallets::wallet(&app.pool, user.0.sub).await?;
    Ok(Json(json!({
        "balance": wallet.balance,
        "earnings": wallet.earnings,
        "debt": wallet.debt,
    })))
}

/// Begins a payment: 202 with the checkout where the buyer pays. It is decided first which payment the
/// key stands for, as providers themselves do: two checkouts for two amounts under one key could both
/// be paid, and only one of them be what was asked. Where the sandbox takes payments at
/// once, its webhook is received here and now, and the answer is 201 with the balance.
pub(crate) async fn top_up(
    State(app): State<Arc<App>>,
    user: User,
    headers: HeaderMap,
    Body(wish): Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let amount = points(&wish.amount)?;
    let key = idempotency_key(&headers)?.unwrap_or_else(|| EventId::new().to_string());
    let provider = app.provider()?;
    app.limits.money(&user.0)?;
    let ask = command::Order {
        id: EventId::new(),
        at: Timestamp::now(),
        account: user.0.sub,
        key,
        amount,
    };
    let ordered = app.desk.ask(ask).await?;
    let Some(id) = ordered.event else {
        return Err(refusal(ordered.refusal.as_deref()));
    };
    let order = Order {
        id,
        account: user.0.sub,
        amount,
        at: ordered.decided.unwrap_or(ordered.at),
    };
    let intent = provider.begin(order, Timestamp::now()).await?;
    let mut body = json!({
        "payment": format!("{}:{}", provider.name(), intent.payment),
        "amount": amount,
        "checkout": intent.checkout,
    });
    let answered = match &intent.webhook {
        Some(webhook) => receive(&app, provider, &webhook.headers, &webhook.body).await?,
        None => None,
    };
    let Some(answered) = answered else {
        body["status"] = json!("pending");
        return Ok((StatusCode::ACCEPTED, Json(body)));
    };
    body["status"] = json!("succeeded");
    body["id"] = json!(answered.event);
    body["balance"] = json!(answered.balance);
    Ok((StatusCode::CREATED, Json(body)))
}

/// A page of JSON, or with `Accept: text/csv` all of it as a statement.
pub(crate) async fn entries(
    State(app): State<Arc<App>>,
    user: User,
    headers: HeaderMap,
    Params(paging): Params<Paging>,
) -> Result<Response, Problem> {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.starts_with("text/csv")) {
        return Ok(statement(app, user.0.sub, Span::default()));
    }
    let found = wallets::entries(&app.pool, user.0.sub, &paging.slice()?).await?;
    let shown: Vec<Value> = found.items.iter().map(shown).collect();
    Ok(page("entries", &shown, found.older, found.newer).into_response())
}

fn shown(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "at": entry.posted_at,
        "kind": kind(entry),
        "amount": entry.wallet + entry.earnings + entry.debt,
        "room": entry.room,
        "donor": entry.donor,
        "donation": entry.donation,
        "payment": entry.payment,
    })
}

/// Whoever gave it sees a donation in the wallet, whoever got it in the earnings.
pub(super) fn kind(entry: &Entry) -> &str {
    match entry.kind.as_str() {
        "donation" if entry.earnings > 0 => "received",
        kind => kind,
    }
}

#[derive(Deserialize)]
pub(crate) struct Payout {
    amount: i64,
}

/// Pays a streamer's earnings out, by way of the provider. By an operator.
pub(crate) async fn pay_out(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    headers: HeaderMap,
    Body(payout): Body<Payout>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    if !user.is_operator() {
        let detail = "only an operator can pay earnings out";
        return Err(Problem::forbidden("not_yours", detail));
    }
    let key = idempotency_key(&headers)?.ok_or_else(|| {
        let detail = "send an Idempotency-Key header, so that a retry is not a second payout";
        Problem::bad_request("idempotency_key_missing", detail)
    })?;
    let owner = find(&app, &room).await?.owner;
    let ask = PayOut {
        id: EventId::new(),
        at: Timestamp::now(),
        account: owner,
        key,
        room: room.clone(),
        amount: payout.amount,
        earned: wallets::earned(&app.pool, owner).await?,
        by: user.actor(Some(&room)),
    };
    let answered = app.desk.ask(ask).await?;
    let Some(event) = answered.event else {
        return Err(refusal(answered.refusal.as_deref()));
    };
    app.settle(&answered.positions).await;
    let wallet = wallets::wallet(&app.pool, owner).await?;
    let body = json!({ "id": event, "amount": payout.amount, "earnings": wallet.earnings });
    Ok((StatusCode::CREATED, Json(body)))
}

impl From<Unreachable> for Problem {
    fn from(error: Unreachable) -> Problem {
        Problem::unavailable(&error)
    }
}
