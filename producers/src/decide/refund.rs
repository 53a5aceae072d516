//! Refunding: a donation given back, once. The streamer's earnings may fall below zero: a debt.

use lemonair_schemas::command::Refund;
use lemonair_schemas::decider::{Donation, Memory, Wallet};
use lemonair_schemas::donation::DonationRefunded;
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::{EventId, Timestamp};

use super::state::{donation_key, wallet_key};
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
    let balance = state.balance(given.account) + given.amount;
    let refunded = DonationRefunded {
        id: ids(),
        at: now,
        room: given.room.clone(),
        actor: Some(ask.by.clone()),
        donation: ask.donation,
        donor: given.account,
        streamer: given.streamer,
        amount: given.amount,
    };
    let entry = EntryPosted {
        id: ids(),
        at: now,
        account: given.account,
        actor: Some(ask.by.clone()),
        kind: Kind::Refund,
        postings: vec![
            Posting {
                account: given.streamer.to_string(),
                book: Book::Earnings,
                amount: -given.amount,
            },
            Posting {
                account: given.account.to_string(),
                book: Book::Wallet,
                amount: given.amount,
            },
        ],
        room: Some(given.room.clone()),
        donation: Some(ask.donation),
    };
    let rest = Donation {
        amount: 0,
        ..given.clone()
    };
    Ok(Acceptance {
        event: refunded.id,
        balance: Some(balance),
        memories: vec![
            (
                wallet_key(given.account),
                Some(Memory::Wallet(Wallet { balance })),
            ),
            (donation_key(ask.donation), Some(Memory::Donation(rest))),
        ],
        events: vec![refunded.into(), entry.into()],
    })
}
