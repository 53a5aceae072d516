//! Resends of a message whose ack was lost: same account, room and nonce means the same message.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use lemonair_schemas::{AccountId, EventId, RoomId};

use crate::hub::Hub;

/// Nonces that are remembered here; what is on the topic is remembered by the room itself.
const MOST: usize = 20_000;

/// What became of a message; `None` if nobody knows.
type Outcome = Shared<BoxFuture<'static, Option<EventId>>>;
type Key = (RoomId, AccountId, String);

/// Messages with a nonce that were sent through this gateway and may not be back from Kafka yet.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    outcomes: HashMap<Key, Outcome>,
    order: VecDeque<Key>,
}

impl Nonces {
    /// What becomes of the message that already carries this nonce.
    pub(crate) fn seen(
        &self,
        room: &RoomId,
        account: AccountId,
        nonce: &str,
        hub: &Hub,
    ) -> Option<BoxFuture<'static, Option<EventId>>> {
        if let Some(event) = hub.sent(room, account, nonce) {
            return Some(futures::future::ready(Some(event)).boxed());
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = recent
            .outcomes
            .get(&(room.clone(), account, nonce.to_owned()))?;
        // Not confirmed: then the resend is a new try.
        if outcome.peek() == Some(&None) {
            return None;
        }
        Some(outcome.clone().boxed())
    }

    pub(crate) fn remember(
        &self,
        room: RoomId,
        account: AccountId,
        nonce: String,
        outcome: impl Future<Output = Option<EventId>> + Send + 'static,
    ) -> BoxFuture<'static, Option<EventId>> {
        let outcome = outcome.boxed().shared();
        let key = (room, account, nonce);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent
            .outcomes
            .insert(key.clone(), outcome.clone())
            .is_none()
        {
            recent.order.push_back(key);
        }
        if recent.order.len() > MOST
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.outcomes.remove(&oldest);
        }
        outcome.boxed()
    }
}
