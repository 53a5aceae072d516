//! Ordering points: which payment a buyer's key stands for. No point moves before the provider tells
//! that it was made.

use lemonair_schemas::EventId;
use lemonair_schemas::command::Order;

use super::{Acceptance, MOST_POINTS, Refusal};

pub(super) fn decide(ask: &Order, ids: &mut dyn FnMut() -> EventId) -> Result<Acceptance, Refusal> {
    if !(1..=MOST_POINTS).contains(&ask.amount) {
        return Err(Refusal::BadAmount);
    }
    Ok(Acceptance {
        event: ids(),
        amount: Some(ask.amount),
        balance: None,
        events: Vec::new(),
        memories: Vec::new(),
    })
}
