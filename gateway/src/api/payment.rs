//! Payments: what providers tell by webhook, and the sandbox provider's checkout.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use lemonair_projections::wallets;
use lemonair_schemas::command::{Answered, TopUp};
use lemonair_schemas::{EventId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::donation::refusal;
use super::{Body, User};
use crate::App;
use crate::error::Problem;
use crate::payment::sandbox::{Outcome, Sandbox};
use crate::payment::signature::Forged;
use crate::payment::{Payment, Provider, Webhook};

#[derive(Deserialize)]
pub(crate) struct Choice {
    /// From the checkout's address.
    payment: String,
    outcome: Outcome,
}

#[derive(Deserialize)]
pub(crate) struct Refund {
    /// Points taken back, in all.
    refunded: i64,
}

/// Answers 200 once what it says is decided; anything else makes the provider send it again.
pub(crate) async fn webhook(
    State(app): State<Arc<App>>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let ours = app.provider()?;
    if ours.name() != provider {
        return Err(Problem::not_found(format!(
            "there is no payment provider {provider:?}"
        )));
    }
    receive(&app, ours, &headers, &body).await?;
    Ok(Json(json!({ "received": true })))
}

/// What a webhook came to; `None` if it moves no points.
pub(super) async fn receive(
    app: &App,
    provider: &dyn Provider,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Answered>, Problem> {
    let now = Timestamp::now();
    let Some(payment) = provider.read(headers, body, now)? else {
        return Ok(None);
    };
    let Payment {
        id,
        account,
        amount,
        refunded,
        created,
    } = payment;
    if !(1..=128).contains(&id.len()) {
        return Err(Forged::Unreadable.into());
    }
    let ask = TopUp {
        id: EventId::new(),
        at: now,
        account,
        key: format!("{}:{id}", provider.name()),
        amount,
        refunded,
        paid: Some(Timestamp(created)),
    };
    let answered = app.desk.ask(ask).await?;
    if let Some(refusal) = &answered.refusal {
        // Money was taken and no points came, or points stay whose money went: for an operator to see.
        tracing::error!(
            payment = id,
            refusal,
            "what the payment provider tells was refused"
        );
        metrics::counter!("lemonair_payments_refused").increment(1);
        return Err(super::donation::refusal(Some(refusal)));
    }
    app.settle(&answered.positions).await;
    Ok(Some(answered))
}

/// What the checkout shows.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Path(ticket): Path<String>,
) -> Result<Json<Value>, Problem> {
    let payment = app.sandbox()?.payment(&ticket)?;
    Ok(Json(
        json!({ "payment": payment.id, "amount": payment.amount }),
    ))
}

/// The buyer's choice at the checkout.
pub(crate) async fn choose(
    State(app): State<Arc<App>>,
    Body(Choice { payment, outcome }): Body<Choice>,
) -> Result<Json<Value>, Problem> {
    let sandbox = app.sandbox()?;
    let payment = sandbox.payment(&payment)?;
    if matches!(outcome, Outcome::Refunded | Outcome::Other) {
        return Err(Problem::unprocessable(
            "bad_outcome",
            "the outcome is paid, failed or cancelled",
        ));
    }
    let Webhook { headers, body } = sandbox.webhook(payment, outcome, Timestamp::now());
    receive(&app, sandbox, &headers, &body).await?;
    Ok(Json(json!({ "outcome": outcome })))
}

/// The provider takes a payment back, as for a disputed card. By an operator, as there is no bank.
pub(crate) async fn take_back(
    State(app): State<Arc<App>>,
    Path(entry): Path<String>,
    user: User,
    Body(Refund { refunded }): Body<Refund>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let sandbox = app.sandbox()?;
    if !user.is_operator() {
        return Err(Problem::forbidden(
            "not_yours",
            "only an operator can do this",
        ));
    }
    let gone = || Problem::not_found("there is no such top-up from the sandbox");
    let id: EventId = entry.parse().map_err(|_| gone())?;
    let bought = wallets::top_up(&app.pool, id).await?.ok_or_else(gone)?;
    let payment = bought.payment.strip_prefix("sandbox:").ok_or_else(gone)?;
    if !(1..=bought.amount).contains(&refunded) {
        return Err(refusal(Some("bad_amount")));
    }
    let payment = Payment {
        id: payment.to_owned(),
        account: bought.account,
        amount: bought.amount,
        refunded,
        created: bought.posted_at.millis(),
    };
    let Webhook { headers, body } = sandbox.webhook(payment, Outcome::Refunded, Timestamp::now());
    receive(&app, sandbox, &headers, &body).await?;
    Ok((StatusCode::CREATED, Json(json!({ "refunded": refunded }))))
}

impl App {
    pub(super) fn provider(&self) -> Result<&dyn Provider, Problem> {
        // The one provider that there is.
        let sandbox: &dyn Provider = self.sandbox()?;
        Ok(sandbox)
    }

    fn sandbox(&self) -> Result<&Sandbox, Problem> {
        self.sandbox.as_ref().ok_or_else(|| {
            let detail = "no payment provider is set up here; an operator sets payment_provider";
            Problem::new(StatusCode::NOT_IMPLEMENTED, "payments_off", detail)
        })
    }
}

impl From<Forged> for Problem {
    fn from(forged: Forged) -> Problem {
        metrics::counter!("lemonair_webhooks_refused").increment(1);
        Problem::bad_request("bad_signature", forged.to_string())
    }
}
