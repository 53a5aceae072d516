//! Topping up: points for money that the provider took, and back again if the provider takes it back.
//!
//! The provider tells what a payment is by now, twice, late or out of order; what is remembered of
//! the payment says which of it is new.

use lemonair_schemas::command::TopUp;
use lemonair_schemas::decider::{Memory, Payment};
use lemonair_schemas::ledger::{EntryPosted, Kind, Posting};
use lemonair_schemas::{Event, EventId, Timestamp};

use super::state::payment_key;
use super::{Accepted, Decided, MOST_POINTS, Refusal, State};

pub(super) fn decide(
    state: &State,
    ask: &TopUp,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Result<Decided, Refusal> {
    if !(1..=MOST_POINTS).contains(&ask.amount) || !(0..=ask.amount).contains(&ask.refunded) {
        return Err(Refusal::BadAmount);
    }
    let entry = |id, kind, provider, purse| -> Event {
        EntryPosted {
            id,
            at: now,
            account: ask.account,
            actor: None,
            kind,
            postings: [vec![Posting::provider(provider)], purse].concat(),
            room: None,
            donation: None,
            payment: Some(ask.key.clone()),
        }
        .into()
    };
    let key = payment_key(ask.account, &ask.key);
    let mut purse = state.purse(ask.account);
    let mut events = Vec::new();
    let mut payment = match state.payment(&key) {
        Some(known) if known.amount != ask.amount => return Err(Refusal::KeyReused),
        Some(known) => known.clone(),
        None => {
            // Whether it was credited is not known any more.
            if ask
                .paid
                .is_some_and(|paid| now.since(paid) > state.terms.kept)
            {
                return Err(Refusal::TooOld);
            }
            let postings = purse.credit(ask.amount).ok_or(Refusal::BadAmount)?;
            let event = ids();
            events.push(entry(event, Kind::TopUp, -ask.amount, postings));
            Payment {
                at: now,
                event,
                amount: ask.amount,
                balance: purse.balance,
                refunded: 0,
            }
        }
    };
    let back = ask.refunded - payment.refunded;
    if back > 0 {
        let postings = purse.charge(back).ok_or(Refusal::BadAmount)?;
        events.push(entry(ids(), Kind::Correction, back, postings));
        payment.refunded = ask.refunded;
    }
    let accepted = Accepted {
        event: payment.event,
        at: payment.at,
        amount: Some(payment.amount),
        balance: Some(payment.balance),
    };
    let mut memories = Vec::new();
    if !events.is_empty() {
        memories = purse.memories();
        memories.push((key, Some(Memory::Payment(payment))));
    }
    Ok(Decided {
        events,
        memories,
        outcome: Ok(accepted),
    })
}
