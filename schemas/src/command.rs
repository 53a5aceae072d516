//! What deciders are asked (topic `lemonair.commands`) and what they answer (`lemonair.answers`).

use serde::{Deserialize, Serialize};

use crate::record::{record, records};
use crate::stream::Figures;
use crate::{AccountId, Actor, EventId, Position, RoomId, Timestamp};

/// Wants to sign up. Keyed by the lower-case name, so that one partition decides who has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    pub id: EventId,
    pub at: Timestamp,
    /// The id that the new account shall have.
    pub account: AccountId,
    pub name: String,
    pub password_hash: Option<String>,
    pub email: Option<String>,
}

/// Wants to buy points. What it makes is a payment's id and no event: points come from what the provider
/// tells of that payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: EventId,
    pub at: Timestamp,
    pub account: AccountId,
    /// Idempotency key, unique to the account's orders.
    pub key: String,
    pub amount: i64,
}

/// What a payment provider says of a payment. Told again, only what is new moves points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopUp {
    pub id: EventId,
    pub at: Timestamp,
    pub account: AccountId,
    /// The provider's id of the payment.
    pub key: String,
    /// As the provider says, never the client.
    pub amount: i64,
    /// Points of it that the provider has taken back, in all.
    pub refunded: i64,
    /// When the provider began it.
    pub paid: Option<Timestamp>,
}

/// Wants to give points to a room's streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Donate {
    pub id: EventId,
    pub at: Timestamp,
    pub account: AccountId,
    pub name: String,
    /// Idempotency key, unique to the account.
    pub key: String,
    pub room: RoomId,
    pub streamer: AccountId,
    pub amount: i64,
    pub message: String,
    /// Viewers shall see neither name nor id of the donor.
    pub anonymous: bool,
    /// The message waits for a moderator.
    pub held: bool,
    /// What the room takes at least. This and what follows is as the gateway knows it: it stands here
    /// so that a retry is answered by its first answer, whatever has changed since.
    pub minimum: i64,
    /// What the site takes at most.
    pub maximum: i64,
    /// What else is in the way: `banned` or `offline`.
    pub obstacle: Option<String>,
}

/// Wants a donation given back. Keyed by the donor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub id: EventId,
    pub at: Timestamp,
    /// The donor.
    pub account: AccountId,
    pub donation: EventId,
    /// The streamer or operator who asks.
    pub by: Actor,
    /// Points to give back; `None` for all that is left.
    pub amount: Option<i64>,
    /// Idempotency key, unique to the donation.
    pub key: Option<String>,
}

/// Wants points of a streamer's earnings paid out. Keyed by the streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PayOut {
    pub id: EventId,
    pub at: Timestamp,
    /// The streamer.
    pub account: AccountId,
    /// Idempotency key, unique to the account's payouts.
    pub key: String,
    pub room: RoomId,
    pub amount: i64,
    /// What the earnings were when it was asked, with all former payouts added again: only the
    /// streamer's own partition knows those that were decided since.
    pub earned: i64,
    /// The operator who asks.
    pub by: Actor,
}

/// What an ingest makes of the broadcast that it carries. Keyed by room, so that one partition decides
/// what is on air there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Broadcast {
    pub id: EventId,
    pub at: Timestamp,
    pub room: RoomId,
    pub stream: EventId,
    pub turn: Turn,
    /// It ends by itself when nothing more is heard of it for so long.
    pub lease_ms: i64,
    /// For a start, like `ingest` and `origin`.
    pub title: String,
    pub ingest: String,
    pub origin: String,
    /// For an end.
    pub reason: String,
    /// For an interruption and an end: how the publisher did.
    pub figures: Option<Figures>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Turn {
    Start,
    /// It goes on.
    Hold,
    Interrupt,
    Resume,
    End,
}

record!(Commands, "commands": Register, Order, TopUp, Donate, Refund, PayOut, Broadcast);

records! {
    /// Any command.
    pub enum Command {
        Register(Register),
        Order(Order),
        TopUp(TopUp),
        Donate(Donate),
        Refund(Refund),
        PayOut(PayOut),
        Broadcast(Broadcast),
    }
}

impl Command {
    pub fn id(&self) -> EventId {
        match self {
            Command::Register(command) => command.id,
            Command::Order(command) => command.id,
            Command::TopUp(command) => command.id,
            Command::Donate(command) => command.id,
            Command::Refund(command) => command.id,
            Command::PayOut(command) => command.id,
            Command::Broadcast(command) => command.id,
        }
    }

    pub fn at(&self) -> Timestamp {
        match self {
            Command::Register(command) => command.at,
            Command::Order(command) => command.at,
            Command::TopUp(command) => command.at,
            Command::Donate(command) => command.at,
            Command::Refund(command) => command.at,
            Command::PayOut(command) => command.at,
            Command::Broadcast(command) => command.at,
        }
    }

    /// The record's key: whose state decides.
    pub fn key(&self) -> String {
        match self {
            Command::Register(command) => command.name.to_ascii_lowercase(),
            Command::Order(command) => command.account.to_string(),
            Command::TopUp(command) => command.account.to_string(),
            Command::Donate(command) => command.account.to_string(),
            Command::Refund(command) => command.account.to_string(),
            Command::PayOut(command) => command.account.to_string(),
            Command::Broadcast(command) => command.room.to_string(),
        }
    }
}

/// What became of a command; in the same transaction as the events that it made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The command's id.
    pub id: EventId,
    pub at: Timestamp,
    /// The event that it made, or the payment, now or the first time; `None` when refused.
    pub event: Option<EventId>,
    /// When that was.
    pub decided: Option<Timestamp>,
    /// Points that it was about, as decided.
    pub amount: Option<i64>,
    /// The wallet's balance afterwards, where there is one.
    pub balance: Option<i64>,
    /// Why it was refused, as a code.
    pub refusal: Option<String>,
    /// Where the events stand, so that a reader can wait for its own write.
    pub positions: Vec<Position>,
}

record!(Answers, "answers": Answered);

records! {
    /// The answers topic.
    pub enum Answer { Answered(Answered) }
}
