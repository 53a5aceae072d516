//! Every movement of points, as double entry: topic `lemonair.ledger`.

use serde::{Deserialize, Serialize};

use crate::event::event;
use crate::record::record;
use crate::{EventId, RoomId};

event! {
    /// Points moved. `account` is the one whose wallet moved.
    EntryPosted of account {
        kind: Kind,
        /// Two or more; their amounts sum to zero.
        postings: Vec<Posting>,
        room: Option<RoomId>,
        /// The `DonationAccepted` that moved them, or that is refunded.
        donation: Option<EventId>,
    }
}

/// Why points moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    TopUp,
    Donation,
    Refund,
    Correction,
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
    /// What the account received as a streamer.
    Earnings,
    /// The payment provider's side of a top-up.
    Provider,
    Platform,
}

record!(Ledger, "ledger": EntryPosted);
