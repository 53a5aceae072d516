//! A provider for trying out: no money, but the same way as with a real one, from the intent over
//! the checkout to signed webhooks.
//!
//! It keeps no books. A payment's terms are in the address of its checkout, signed, so every gateway
//! and every start of it knows every payment.

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::FutureExt;
use futures::future::BoxFuture;
use hmac::Mac;
use lemonair_schemas::{EventId, Timestamp};
use serde::{Deserialize, Serialize};

use super::signature::{Forged, check, mac, sign};
use super::{Intent, Order, Payment, Provider, Unreachable, Webhook};

const HEADER: &str = "sandbox-signature";

#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) secret: Secret,
    pub(crate) at_once: bool,
}

pub(crate) struct Secret(pub(crate) Vec<u8>);

/// What becomes of a payment at the checkout, or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    #[serde(rename = "payment.succeeded", alias = "paid")]
    Succeeded,
    #[serde(rename = "payment.failed", alias = "failed")]
    Failed,
    #[serde(rename = "payment.cancelled", alias = "cancelled")]
    Cancelled,
    #[serde(rename = "payment.refunded")]
    Refunded,
    /// As real providers tell of much that nobody asked for.
    #[serde(other)]
    Other,
}

#[derive(Serialize, Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    outcome: Outcome,
    payment: Payment,
}

impl Sandbox {
    /// The payment that a checkout's address stands for.
    pub(crate) fn payment(&self, ticket: &str) -> Result<Payment, Forged> {
        let (terms, seal) = ticket.split_once('.').ok_or(Forged::Missing)?;
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let (terms, seal) = decode(terms).zip(decode(seal)).ok_or(Forged::Missing)?;
        let sealed = mac(&self.secret.0, &[b"checkout:", &terms]);
        sealed.verify_slice(&seal).map_err(|_| Forged::Wrong)?;
        serde_json::from_slice(&terms).map_err(|_| Forged::Unreadable)
    }

    /// The webhook that tells what became of a payment.
    pub(crate) fn webhook(&self, payment: Payment, outcome: Outcome, now: Timestamp) -> Webhook {
        let event = Event {
            id: format!("evt_{}", EventId::new()),
            outcome,
            payment,
        };
        let body = serde_json::to_vec(&event).unwrap_or_default();
        let signature = sign(&self.secret.0, &body, now);
        let mut headers = HeaderMap::new();
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            headers.insert(HEADER, signature);
        }
        Webhook { headers, body }
    }

    fn ticket(&self, payment: &Payment) -> String {
        let terms = serde_json::to_vec(payment).unwrap_or_default();
        let seal = mac(&self.secret.0, &[b"checkout:", &terms]).finalize();
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}", encode(&terms), encode(&seal.into_bytes()))
    }
}

impl Provider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn begin(&self, order: Order, now: Timestamp) -> BoxFuture<'_, Result<Intent, Unreachable>> {
        let Order {
            id,
            account,
            amount,
            at,
        } = order;
        let payment = Payment {
            id: format!("pay_{id}"),
            account,
            amount,
            refunded: 0,
            created: at.millis(),
        };
        let intent = Intent {
            payment: payment.id.clone(),
            checkout: format!("/checkout?payment={}", self.ticket(&payment)),
            webhook: self
                .at_once
                .then(|| self.webhook(payment, Outcome::Succeeded, now)),
        };
        async move { Ok(intent) }.boxed()
    }

    fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<Payment>, Forged> {
        let signature = headers.get(HEADER).and_then(|value| value.to_str().ok());
        check(&self.secret.0, signature.ok_or(Forged::Missing)?, body, now)?;
        let event: Event = serde_json::from_slice(body).map_err(|_| Forged::Unreadable)?;
        Ok(match event.outcome {
            Outcome::Succeeded | Outcome::Refunded => Some(event.payment),
            Outcome::Failed | Outcome::Cancelled | Outcome::Other => None,
        })
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use lemonair_schemas::AccountId;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn sandbox(secret: &str) -> Sandbox {
        Sandbox {
            secret: Secret(secret.as_bytes().to_vec()),
            at_once: false,
        }
    }

    fn order() -> Order {
        Order {
            id: EventId::new(),
            account: AccountId::new(),
            amount: 500,
            at: NOW,
        }
    }

    async fn ticket(sandbox: &Sandbox) -> String {
        let intent = sandbox.begin(order(), NOW).await.unwrap();
        let (_, ticket) = intent.checkout.split_once('=').unwrap();
        ticket.to_owned()
    }

    #[tokio::test]
    async fn only_a_payment_that_was_made_moves_points() {
        let sandbox = sandbox("one");
        let payment = sandbox.payment(&ticket(&sandbox).await).unwrap();
        for (outcome, moves) in [
            (Outcome::Succeeded, true),
            (Outcome::Refunded, true),
            (Outcome::Failed, false),
            (Outcome::Cancelled, false),
        ] {
            let Webhook { headers, body } = sandbox.webhook(payment.clone(), outcome, NOW);
            let read = sandbox.read(&headers, &body, NOW).unwrap();
            assert_eq!(read, moves.then(|| payment.clone()), "{outcome:?}");
        }
    }

    /// A retry is told its first answer for two days, a webhook is good for five minutes.
    #[tokio::test]
    async fn an_order_that_comes_again_is_the_same_payment_told_anew() {
        let sandbox = Sandbox {
            at_once: true,
            ..sandbox("one")
        };
        let (order, later) = (order(), Timestamp(NOW.millis() + 301_000));
        let mut told = Vec::new();
        for now in [NOW, later] {
            let intent = sandbox.begin(order.clone(), now).await.unwrap();
            let Webhook { headers, body } = intent.webhook.unwrap();
            told.push(sandbox.read(&headers, &body, now).unwrap());
        }
        assert!(told[0].is_some());
        assert_eq!(told[0], told[1]);
    }

    #[tokio::test]
    async fn nobody_else_names_an_amount() {
        let (ours, theirs) = (sandbox("one"), sandbox("two"));
        let ticket = ticket(&theirs).await;
        assert_eq!(ours.payment(&ticket), Err(Forged::Wrong));
        let payment = theirs.payment(&ticket).unwrap();
        let Webhook { headers, body } = theirs.webhook(payment, Outcome::Succeeded, NOW);
        assert_eq!(ours.read(&headers, &body, NOW), Err(Forged::Wrong));
        let (_, seal) = ticket.split_once('.').unwrap();
        let richer = br#"{"id":"pay_1","account":"018bcfe5-6800-7000-8000-000000000001","amount":9,"created":0}"#;
        let forged = format!("{}.{seal}", BASE64_URL_SAFE_NO_PAD.encode(richer));
        assert_eq!(theirs.payment(&forged), Err(Forged::Wrong));
    }
}
