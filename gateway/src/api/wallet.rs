//! The wallet: points bought from a payment provider, and where they went.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use lemonair_projections::wallets;
use lemonair_schemas::command::TopUp;
use lemonair_schemas::{EventId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::donation::{points, refusal};
use super::history::{Paging, page};
use super::{Body, Params, User, idempotency_key};
use crate::App;
use crate::error::Problem;

#[derive(Deserialize)]
pub(crate) struct Wish {
    amount: Value,
}

pub(crate) async fn show(State(app): State<Arc<App>>, user: User) -> Result<Json<Value>, Problem> {
    let wallet = wallets::wallet(&app.pool, user.0.sub).await?;
    Ok(Json(
        json!({ "balance": wallet.balance, "earnings": wallet.earnings, "debt": wallet.debt }),
    ))
}

/// Buys points. The sandbox provider takes every payment at once; the points credited are what it
/// says was paid.
pub(crate) async fn top_up(
    State(app): State<Arc<App>>,
    user: User,
    headers: HeaderMap,
    Body(wish): Body<Wish>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let paid = points(&wish.amount)?;
    let id = EventId::new();
    let key = idempotency_key(&headers)?.unwrap_or_else(|| id.to_string());
    let ask = TopUp {
        id,
        at: Timestamp::now(),
        account: user.0.sub,
        key,
        amount: paid,
        refunded: 0,
        paid: None,
    };
    let answered = app.desk.ask(ask).await?;
    let Some(event) = answered.event else {
        return Err(refusal(answered.refusal.as_deref()));
    };
    app.settle(&answered.positions).await;
    Ok((
        StatusCode::CREATED,
        Json(json!({ "id": event, "amount": paid, "balance": answered.balance })),
    ))
}

pub(crate) async fn entries(
    State(app): State<Arc<App>>,
    user: User,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    let found = wallets::entries(&app.pool, user.0.sub, &paging.slice()?).await?;
    let shown: Vec<Value> = found
        .items
        .into_iter()
        .map(|entry| {
            // Whoever gave it sees a donation in the wallet, whoever got it in the earnings.
            let kind = match entry.kind.as_str() {
                "donation" if entry.earnings > 0 => "received",
                kind => kind,
            };
            json!({
                "id": entry.id,
                "at": entry.posted_at,
                "kind": kind,
                "amount": entry.wallet + entry.earnings + entry.debt,
                "room": entry.room,
                "donation": entry.donation,
                "payment": entry.payment,
            })
        })
        .collect();
    Ok(page("entries", &shown, found.older, found.newer))
}
