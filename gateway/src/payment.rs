//! Who takes money for points. A provider begins a payment, leads the buyer to its checkout, and
//! tells by signed webhooks what became of it: points come from what it tells alone.

pub(crate) mod sandbox;
pub(crate) mod signature;

use axum::http::HeaderMap;
use futures::future::BoxFuture;
use lemonair_schemas::{AccountId, EventId, Timestamp};
use serde::{Deserialize, Serialize};

use self::signature::Forged;

pub(crate) trait Provider: std::fmt::Debug + Send + Sync {
    /// As in `/api/webhooks/{provider}`.
    fn name(&self) -> &'static str;

    /// Begins a payment. The same order gives the same payment, however long after.
    fn begin(&self, order: Order, now: Timestamp) -> BoxFuture<'_, Result<Intent, Unreachable>>;

    /// What a webhook says of a payment that was made; `None` if it says nothing that moves points.
    fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<Payment>, Forged>;
}

/// What somebody wants to buy, as it was decided: a key that comes again is the same order, and an
/// order never has another amount.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: EventId,
    pub(crate) account: AccountId,
    pub(crate) amount: i64,
    pub(crate) at: Timestamp,
}

/// A payment that was begun.
#[derive(Debug)]
pub(crate) struct Intent {
    pub(crate) payment: String,
    /// Where the buyer pays.
    pub(crate) checkout: String,
    /// A provider for trying out may take the payment at once: this is what it then sends.
    pub(crate) webhook: Option<Webhook>,
}

/// A payment as the provider knows it by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    /// Points.
    pub(crate) amount: i64,
    /// Points of it that were taken back, in all.
    #[serde(default)]
    pub(crate) refunded: i64,
    /// When it was begun, in milliseconds.
    pub(crate) created: i64,
}

/// A webhook on its way.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
#[error("the payment provider does not answer: {0}")]
pub(crate) struct Unreachable(pub(crate) String);
