//! Refunding: a donation, or a part of it, given back; never more than was given. The streamer's
//! earnings may fall below zero: a debt.

use lemonair_schemas::command::Refund;
use lemonair_schemas::decider::{Donation, Memory};
use lemonair_schemas::donation::DonationRefunded;
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::{EventId, Timestamp};

use super::state::donation_key;
use super::{Acceptance, Refusal, State};

pub(super) fn decide(
    state: &State,
    ask: &Refund,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Result<Acceptance, Refusal> {
    let given = state
        .donation(ask.donation)
        .ok_or(Refusal::NoSuchDonation)?;
    if given.amount == 0 {
        return Err(Refusal::AlreadyRefunded);
    }
    let amount = ask.amount.unwrap_or(given.amount);
    if amount < 1 {
        return Err(Refusal::BadAmount);
    }
    if amount > given.amount {
        return Err(Refusal::RefundTooLarge);
    }
    let left = given.amount - amount;
    // In proportion, and with the last part whatever is left of it: no point is lost to rounding.
    let fee = given.fee * amount / given.amount;
    let mut purse = state.purse(given.account);
    let credited = purse.credit(amount).ok_or(Refusal::BadAmount)?;
    let refunded = DonationRefunded {
        id: ids(),
        at: now,
        room: given.room.clone(),
        actor: Some(ask.by.clone()),
        donation: ask.donation,
        donor: given.account,
        streamer: given.streamer,
        amount,
        left,
        anonymous: given.anonymous,
    };
    let mut postings = vec![Posting::of(given.streamer, Book::Earnings, fee - amount)];
    if fee > 0 {
        postings.push(Posting::platform(-fee));
    }
    postings.extend(credited);
    let entry = EntryPosted {
        id: ids(),
        at: now,
        account: given.account,
        actor: Some(ask.by.clone()),
        kind: Kind::Refund,
        postings,
        room: Some(given.room.clone()),
        donation: Some(ask.donation),
        payment: None,
    };
    let rest = Donation {
        amount: left,
        fee: given.fee - fee,
        ..given.clone()
    };
    let mut memories = purse.memories();
    memories.push((donation_key(ask.donation), Some(Memory::Donation(rest))));
    Ok(Acceptance {
        event: refunded.id,
        amount: Some(amount),
        balance: Some(purse.balance),
        memories,
        events: vec![refunded.into(), entry.into()],
    })
}
