//! Topping up: points for money that the provider took.

use lemonair_schemas::command::TopUp;
use lemonair_schemas::decider::{Memory, Wallet};
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::{EventId, Timestamp};

use super::state::wallet_key;
use super::{Acceptance, MOST_POINTS, Refusal, State};

pub(super) fn decide(
    state: &State,
    ask: &TopUp,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Result<Acceptance, Refusal> {
    if !(1..=MOST_POINTS).contains(&ask.amount) {
        return Err(Refusal::BadAmount);
    }
    let balance = state
        .balance(ask.account)
        .checked_add(ask.amount)
        .ok_or(Refusal::BadAmount)?;
    let entry = EntryPosted {
        id: ids(),
        at: now,
        account: ask.account,
        actor: None,
        kind: Kind::TopUp,
        postings: vec![
            Posting {
                account: "provider".to_owned(),
                book: Book::Provider,
                amount: -ask.amount,
            },
            Posting {
                account: ask.account.to_string(),
                book: Book::Wallet,
                amount: ask.amount,
            },
        ],
        room: None,
        donation: None,
    };
    Ok(Acceptance {
        event: entry.id,
        balance: Some(balance),
        events: vec![entry.into()],
        memories: vec![(
            wallet_key(ask.account),
            Some(Memory::Wallet(Wallet { balance })),
        )],
    })
}
