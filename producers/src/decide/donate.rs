//! Donating: points from the donor's wallet to the streamer's earnings.

use std::time::Duration;

use lemonair_schemas::command::Donate;
use lemonair_schemas::decider::{Donation, Memory, Wallet};
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::{Actor, EventId, Timestamp};

use super::state::{donation_key, wallet_key};
use super::{Acceptance, LONGEST_MESSAGE, MOST_POINTS, Refusal, State};

/// Whoever asked was told long before that nobody answers, and has left: a donation that is made so late
/// is one that nobody expects any more.
const GOOD_FOR: Duration = Duration::from_secs(10 * 60);

pub(super) fn decide(
    state: &State,
    ask: &Donate,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Result<Acceptance, Refusal> {
    if now.since(ask.at) > GOOD_FOR {
        return Err(Refusal::Expired);
    }
    if !(1..=MOST_POINTS).contains(&ask.amount) {
        return Err(Refusal::BadAmount);
    }
    if ask.message.chars().count() > LONGEST_MESSAGE {
        return Err(Refusal::MessageTooLong);
    }
    if ask.streamer == ask.account {
        return Err(Refusal::OwnChannel);
    }
    match ask.obstacle.as_deref() {
        Some("banned") => return Err(Refusal::Banned),
        Some(_) => return Err(Refusal::Offline),
        None => {}
    }
    if ask.amount < ask.minimum {
        return Err(Refusal::BelowMinimum);
    }
    if ask.amount > ask.maximum {
        return Err(Refusal::AboveMaximum);
    }
    let balance = state.balance(ask.account) - ask.amount;
    if balance < 0 {
        return Err(Refusal::InsufficientBalance);
    }
    let donor = Some(Actor {
        id: ask.account,
        name: ask.name.clone(),
        roles: Vec::new(),
    });
    let accepted = DonationAccepted {
        id: ids(),
        at: now,
        room: ask.room.clone(),
        actor: donor.clone(),
        streamer: ask.streamer,
        amount: ask.amount,
        message: ask.message.clone(),
        key: ask.key.clone(),
        anonymous: ask.anonymous,
        held: ask.held,
    };
    let fee = state.terms.fee_of(ask.amount);
    let mut postings = vec![
        Posting::of(ask.account, Book::Wallet, -ask.amount),
        Posting::of(ask.streamer, Book::Earnings, ask.amount - fee),
    ];
    if fee > 0 {
        postings.push(Posting::platform(fee));
    }
    let entry = EntryPosted {
        id: ids(),
        at: now,
        account: ask.account,
        actor: donor,
        kind: Kind::Donation,
        postings,
        room: Some(ask.room.clone()),
        donation: Some(accepted.id),
        payment: None,
    };
    let donation = Donation {
        account: ask.account,
        streamer: ask.streamer,
        room: ask.room.clone(),
        amount: ask.amount,
        fee,
        anonymous: ask.anonymous,
    };
    Ok(Acceptance {
        event: accepted.id,
        amount: Some(ask.amount),
        balance: Some(balance),
        memories: vec![
            (
                wallet_key(ask.account),
                Some(Memory::Wallet(Wallet { balance })),
            ),
            (donation_key(accepted.id), Some(Memory::Donation(donation))),
        ],
        events: vec![accepted.into(), entry.into()],
    })
}
