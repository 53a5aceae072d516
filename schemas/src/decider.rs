//! What deciders remember: the compacted topic `lemonair.decider`.

use serde::{Deserialize, Serialize};

use crate::record::{record, records};
use crate::{AccountId, EventId, RoomId, Timestamp};

/// How far the commands of this partition are decided. Key: `p`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Offset of the next command.
    pub next: i64,
}

/// A name that is in use. Key: `n:` and the lower-case name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NameTaken {
    pub account: AccountId,
}

/// What an account can spend. Key: `w:` and the account id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wallet {
    pub balance: i64,
}

/// What an account owes since a payment was taken back. Key: `b:` and the account id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Debt {
    pub amount: i64,
}

/// What an account was ever paid out. Key: `o:` and the account id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaidOut {
    pub amount: i64,
}

/// A payment that was credited. Key: `t:`, the account id, `:` and the provider's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    pub at: Timestamp,
    pub event: EventId,
    pub amount: i64,
    /// The wallet's, afterwards.
    pub balance: i64,
    /// Points of it that were taken back.
    pub refunded: i64,
}

/// An idempotency key and the first answer to it. Key: `k:`, whose key it is, `:` and the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub at: Timestamp,
    /// SHA-256 of what was asked, hexadecimal.
    pub fingerprint: String,
    pub event: Option<EventId>,
    /// Points that it was about.
    pub amount: Option<i64>,
    pub balance: Option<i64>,
    pub refusal: Option<String>,
}

/// A donation that may still be refunded. Key: `d:` and the donation's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Donation {
    pub account: AccountId,
    pub streamer: AccountId,
    pub room: RoomId,
    /// Points not yet given back.
    pub amount: i64,
    /// Points of these that the platform keeps.
    pub fee: i64,
    /// Viewers are shown neither name nor id of the donor.
    pub anonymous: bool,
}

/// A room's broadcast that has not ended. Key: `b:` and the room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnAir {
    pub room: RoomId,
    pub stream: EventId,
    pub interrupted: bool,
    /// When its lease ends, unless more is heard of it.
    pub until: Timestamp,
    pub lease_ms: i64,
}

record!(Decider, "decider": Progress, NameTaken, Wallet, Debt, PaidOut, Payment, Decision, Donation, OnAir);

records! {
    /// One remembered thing.
    pub enum Memory {
        Progress(Progress),
        NameTaken(NameTaken),
        Wallet(Wallet),
        Debt(Debt),
        PaidOut(PaidOut),
        Payment(Payment),
        Decision(Decision),
        Donation(Donation),
        OnAir(OnAir),
    }
}
