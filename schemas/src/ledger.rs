//! Every movement of points, as double entry: topic `lemonair.ledger`.

use serde::{Deserialize, Serialize};

use crate::event::event;
use crate::record::record;
use crate::{AccountId, EventId, RoomId};

event! {
    /// Points moved. `account` is the one whose wallet moved.
    EntryPosted of account {
        kind: Kind,
        /// Two or more; their amounts sum to zero.
        postings: Vec<Posting>,
        room: Option<RoomId>,
        /// The `DonationAccepted` that moved them, or that is refunded.
        donation: Option<EventId>,
        /// The provider's payment, for a top-up and its correction.
        payment: Option<String>,
    }
}

/// Why points moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    TopUp,
    Donation,
    Refund,
    /// A payment was taken back by the provider.
    Correction,
    Payout,
}

/// One side of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// An account's id, `provider` or `platform`.
    pub account: String,
    pub book: Book,
    /// Points added to the book; negative takes away.
    pub amount: i64,
}

/// An account's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Book {
    /// What the account can spend; never below zero.
    Wallet,
    /// What the account received as a streamer; below zero it is a debt.
    Earnings,
    /// The payment provider's side of a top-up or a payout.
    Provider,
    /// What the platform keeps of donations.
    Platform,
    /// What the account owes, since a payment was taken back whose points were spent; never above
    /// zero.
    Debt,
}

// === impl Posting ===

impl Posting {
    pub fn of(account: AccountId, book: Book, amount: i64) -> Posting {
        Posting {
            account: account.to_string(),
            book,
            amount,
        }
    }

    pub fn provider(amount: i64) -> Posting {
        Posting {
            account: "provider".to_owned(),
            book: Book::Provider,
            amount,
        }
    }

    pub fn platform(amount: i64) -> Posting {
        Posting {
            account: "platform".to_owned(),
            book: Book::Platform,
            amount,
        }
    }
}

impl Kind {
    /// As on the topic.
    pub fn name(self) -> &'static str {
        match self {
            Kind::TopUp => "TOP_UP",
            Kind::Donation => "DONATION",
            Kind::Refund => "REFUND",
            Kind::Correction => "CORRECTION",
            Kind::Payout => "PAYOUT",
        }
    }
}

impl Book {
    /// As on the topic.
    pub fn name(self) -> &'static str {
        match self {
            Book::Wallet => "WALLET",
            Book::Earnings => "EARNINGS",
            Book::Provider => "PROVIDER",
            Book::Platform => "PLATFORM",
            Book::Debt => "DEBT",
        }
    }
}

record!(Ledger, "ledger": EntryPosted);
