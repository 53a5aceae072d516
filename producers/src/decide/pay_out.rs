//! Paying out: a streamer's earnings, by way of the payment provider.
//!
//! Donors' partitions add to the earnings, so what they are is told with the command. What was paid
//! out is known here alone: two payouts at once cannot pay the same points. A refund that comes
//! later takes the earnings below zero, and what is earned next fills that up first.

use lemonair_schemas::command::PayOut;
use lemonair_schemas::decider::{Memory, PaidOut};
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::{EventId, Timestamp};

use super::state::paid_out_key;
use super::{Acceptance, Refusal, State};

pub(super) fn decide(
    state: &State,
    ask: &PayOut,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Result<Acceptance, Refusal> {
    if ask.amount < 1 {
        return Err(Refusal::BadAmount);
    }
    let before = state.paid_out(ask.account);
    if ask.amount > ask.earned.saturating_sub(before) {
        return Err(Refusal::InsufficientEarnings);
    }
    let entry = EntryPosted {
        id: ids(),
        at: now,
        account: ask.account,
        actor: Some(ask.by.clone()),
        kind: Kind::Payout,
        postings: vec![
            Posting::of(ask.account, Book::Earnings, -ask.amount),
            Posting::provider(ask.amount),
        ],
        room: Some(ask.room.clone()),
        donation: None,
        payment: None,
    };
    let paid = PaidOut {
        amount: before + ask.amount,
    };
    Ok(Acceptance {
        event: entry.id,
        amount: Some(ask.amount),
        balance: None,
        events: vec![entry.into()],
        memories: vec![(paid_out_key(ask.account), Some(Memory::PaidOut(paid)))],
    })
}
