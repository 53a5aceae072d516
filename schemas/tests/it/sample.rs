//! One of every record.

use std::collections::BTreeMap;

use lemonair_schemas::account::{
    AccountRegistered, DisplayNameChosen, OperatorActed, PasswordChanged, RoleGranted,
    SessionClosed, SessionOpened,
};
use lemonair_schemas::channel::{
    ChannelFollowed, ChannelOpened, ChannelUnfollowed, ChannelUpdated, OverlayKeyRotated,
    StreamKeyIssued, StreamKeyRevoked,
};
use lemonair_schemas::chat::{
    ChatCleared, ChatSettingsChanged, HeldMessageApproved, HeldMessageDenied, MemberBanned,
    MemberTimedOut, MemberUnbanned, MessageDeleted, MessageHeld, MessagePinned, MessagePosted,
    MessageUnpinned, ModeratorAdded, ModeratorRemoved, TimeoutLifted,
};
use lemonair_schemas::command::{
    Answered, Broadcast, Donate, Order, PayOut, Refund, Register, TopUp, Turn,
};
use lemonair_schemas::decider::{
    Debt, Decision, Donation, NameTaken, OnAir, PaidOut, Payment, Progress, Wallet,
};
use lemonair_schemas::donation::{
    AlertShown, Cue, DonationAccepted, DonationMessageApproved, DonationMessageDenied,
    DonationRefunded, DonationSettingsChanged, GoalClosed, GoalStarted, OverlayCued, Review,
};
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::presence::{RoomViewers, ViewersCounted};
use lemonair_schemas::record::{Read, Schema};
use lemonair_schemas::stream::{
    Figures, RecordingBegun, RecordingDeleted, RecordingKept, StreamEnded, StreamInterrupted,
    StreamResumed, StreamStarted,
};
use lemonair_schemas::{
    AccountId, Actor, Codec, EncodeError, Event, EventId, GatewayId, Position, Record, Records,
    RoomId, SessionId, Timestamp, Topic,
};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

/// What samples are made of.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    pub(crate) ids: [u128; 3],
    pub(crate) at: i64,
    pub(crate) room: String,
    pub(crate) texts: [String; 3],
    /// Where a field holds what nobody outside may see.
    pub(crate) secret: String,
    pub(crate) number: i64,
    /// Whether optional fields are there, and lists hold something.
    pub(crate) full: bool,
}

/// A record, whichever it is.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) json: Value,
    /// Confluent's header, then the datum.
    pub(crate) bytes: Result<Vec<u8>, EncodeError>,
    pub(crate) event: Option<Event>,
}

/// Any record, read as its JSON.
#[derive(Debug)]
pub(crate) struct Any(pub(crate) Value);

impl Seed {
    pub(crate) fn fixed(full: bool) -> Seed {
        Seed {
            ids: [1, 2, 3].map(|n| 0x018b_cfe5_6800_7000_8000_0000_0000_0000 | n),
            at: 1_700_000_000_123,
            room: "mint".to_owned(),
            texts: ["Größe", "🍋 lemonade", "tea"].map(str::to_owned),
            secret: "SECRET".to_owned(),
            number: 250,
            full,
        }
    }

    pub(crate) fn any() -> impl Strategy<Value = Seed> {
        let text = || prop::collection::vec(any::<char>(), 0..30).prop_map(String::from_iter);
        (
            any::<[u128; 3]>(),
            any::<i64>(),
            "[a-z0-9][a-z0-9_-]{1,23}",
            [text(), text(), text()],
            text(),
            any::<i64>(),
            any::<bool>(),
        )
            .prop_map(|(ids, at, room, texts, secret, number, full)| Seed {
                ids,
                at,
                room,
                texts,
                secret,
                number,
                full,
            })
    }

    fn event(&self) -> EventId {
        EventId(Uuid::from_u128(self.ids[0]))
    }

    fn other_event(&self) -> EventId {
        EventId(Uuid::from_u128(self.ids[2]))
    }

    fn account(&self) -> AccountId {
        AccountId(Uuid::from_u128(self.ids[1]))
    }

    fn streamer(&self) -> AccountId {
        AccountId(Uuid::from_u128(self.ids[2]))
    }

    fn session(&self) -> SessionId {
        SessionId(Uuid::from_u128(self.ids[0]))
    }

    fn gateway(&self) -> GatewayId {
        GatewayId(Uuid::from_u128(self.ids[1]))
    }

    fn at(&self) -> Timestamp {
        Timestamp(self.at)
    }

    fn room(&self) -> RoomId {
        self.room.parse().expect("a room")
    }

    fn text(&self, n: usize) -> String {
        self.texts[n].clone()
    }

    fn option<T>(&self, value: T) -> Option<T> {
        self.full.then_some(value)
    }

    fn list<T>(&self, values: Vec<T>) -> Vec<T> {
        if self.full { values } else { Vec::new() }
    }

    fn actor(&self) -> Actor {
        Actor {
            id: self.account(),
            name: self.text(0),
            roles: self.list(vec!["streamer".to_owned(), "operator".to_owned()]),
        }
    }

    fn figures(&self) -> Option<Figures> {
        self.option(Figures {
            codec: Some(self.text(2)),
            width: Some(1280),
            height: Some(720),
            fps: Some(30),
            key_frame_ms: Some(self.number),
            kbps: self.number,
            dropped: 3,
        })
    }

    fn position(&self) -> Position {
        Position {
            topic: Topic::Ledger,
            partition: 2,
            offset: self.number,
        }
    }
}

fn record<R: Record>(codec: &Codec, record: &R) -> Sample {
    Sample {
        name: R::NAME,
        json: serde_json::to_value(record).expect("serialize"),
        bytes: codec.encode(record),
        event: None,
    }
}

fn event<R: Record + Into<Event>>(codec: &Codec, event: R) -> Sample {
    Sample {
        event: None,
        ..record(codec, &event)
    }
    .with(event.into())
}

impl Sample {
    fn with(mut self, event: Event) -> Sample {
        self.event = Some(event);
        self
    }
}

/// Declares [`samples`], and reads what it makes.
macro_rules! samples {
    ($seed:ident: $($make:ident $name:ident { $($field:ident: $value:expr),* $(,)? })+) => {
        pub(crate) fn samples(codec: &Codec, $seed: &Seed) -> Vec<Sample> {
            vec![$(samples!(@$make codec, $name { $($field: $value),* }, $seed)),+]
        }

        impl Records for Any {
            const SCHEMAS: &'static [Schema] = &[];

            fn reader(name: &str) -> Option<Read<Any>> {
                $(if name == $name::NAME {
                    return Some(|datum| {
                        let json = |record: $name| Any(serde_json::to_value(record).expect("serialize"));
                        datum.read::<$name>().map(json)
                    });
                })+
                None
            }

            fn topic(&self) -> Topic {
                unreachable!("only read")
            }

            fn encode(&self, _: &Codec) -> Result<Vec<u8>, EncodeError> {
                unreachable!("only read")
            }

            fn datum(&self, _: &Codec) -> Result<Vec<u8>, EncodeError> {
                unreachable!("only read")
            }
        }
    };
    (@room $codec:ident, $name:ident { $($field:ident: $value:expr),* }, $seed:ident) => {
        event($codec, $name {
            id: $seed.event(),
            at: $seed.at(),
            room: $seed.room(),
            actor: $seed.option($seed.actor()),
            $($field: $value),*
        })
    };
    (@account $codec:ident, $name:ident { $($field:ident: $value:expr),* }, $seed:ident) => {
        event($codec, $name {
            id: $seed.event(),
            at: $seed.at(),
            account: $seed.account(),
            actor: $seed.option($seed.actor()),
            $($field: $value),*
        })
    };
    (@gateway $codec:ident, $name:ident { $($field:ident: $value:expr),* }, $seed:ident) => {
        event($codec, $name {
            id: $seed.event(),
            at: $seed.at(),
            gateway: $seed.gateway(),
            actor: $seed.option($seed.actor()),
            $($field: $value),*
        })
    };
    (@record $codec:ident, $name:ident { $($field:ident: $value:expr),* }, $seed:ident) => {
        record($codec, &$name { $($field: $value),* })
    };
}

samples! { seed:
    room MessagePosted {
        text: seed.text(1),
        nonce: seed.option(seed.text(2)),
        reply_to: seed.option(seed.other_event()),
    }
    room MessageDeleted { message: seed.other_event() }
    room MessageHeld {
        text: seed.text(1),
        nonce: seed.option(seed.text(2)),
        reply_to: seed.option(seed.other_event()),
    }
    room HeldMessageApproved {
        message: seed.other_event(),
        author: seed.actor(),
        text: seed.text(1),
        nonce: seed.option(seed.text(2)),
        reply_to: seed.option(seed.other_event()),
    }
    room HeldMessageDenied {
        message: seed.other_event(),
        account: seed.account(),
        name: seed.text(0),
    }
    room MessagePinned {
        message: seed.other_event(),
        author: seed.option(seed.actor()),
        text: seed.text(1),
    }
    room MessageUnpinned { message: seed.other_event() }
    room ChatCleared {
        account: seed.option(seed.account()),
        name: seed.option(seed.text(0)),
    }
    room ChatSettingsChanged {
        slow_mode_ms: seed.number,
        followers_only_ms: seed.option(seed.number),
        unique_messages: seed.full,
        emote_only: !seed.full,
        blocked_words: seed.list(vec![seed.text(1), seed.text(2)]),
        links_allowed: seed.full,
        hold_for_review: seed.full,
    }
    room MemberBanned {
        account: seed.account(),
        name: seed.text(0),
        reason: seed.option(seed.text(2)),
    }
    room MemberUnbanned { account: seed.account(), name: seed.text(0) }
    room MemberTimedOut {
        account: seed.account(),
        name: seed.text(0),
        until: seed.at(),
        reason: seed.option(seed.text(2)),
    }
    room TimeoutLifted { account: seed.account(), name: seed.text(0) }
    room ModeratorAdded { account: seed.account(), name: seed.text(0) }
    room ModeratorRemoved { account: seed.account(), name: seed.text(0) }
    room DonationAccepted {
        streamer: seed.streamer(),
        amount: seed.number,
        message: seed.text(1),
        key: seed.secret.clone(),
        anonymous: !seed.full,
        held: seed.full,
    }
    room DonationRefunded {
        donation: seed.other_event(),
        donor: seed.account(),
        streamer: seed.streamer(),
        amount: seed.number,
        left: seed.number,
        anonymous: !seed.full,
    }
    room DonationMessageApproved {
        donation: seed.other_event(),
        donor: seed.account(),
        message: seed.text(1),
    }
    room DonationMessageDenied { donation: seed.other_event() }
    room DonationSettingsChanged {
        minimum: seed.number,
        accepts_offline: seed.full,
        review: if seed.full { Review::Blocked } else { Review::None },
        alert_minimum: seed.number,
        alert_ms: seed.number,
        alert_volume: 50,
    }
    room GoalStarted { title: seed.text(1), target: seed.number }
    room GoalClosed { goal: seed.other_event() }
    room AlertShown { donation: seed.other_event() }
    room OverlayCued {
        action: if seed.full { Cue::Replay } else { Cue::Test },
        donation: seed.option(seed.other_event()),
    }
    room StreamStarted {
        title: seed.text(1),
        ingest: seed.text(2),
        origin: seed.secret.clone(),
    }
    room StreamInterrupted { stream: seed.other_event(), figures: seed.figures() }
    room StreamResumed { stream: seed.other_event() }
    room StreamEnded {
        stream: seed.other_event(),
        reason: seed.text(2),
        figures: seed.figures(),
    }
    room RecordingBegun { stream: seed.other_event() }
    room RecordingKept {
        stream: seed.other_event(),
        begins: seed.at(),
        duration_ms: seed.number,
        bytes: seed.number,
    }
    room RecordingDeleted { stream: seed.other_event(), reason: seed.text(2) }
    room ChannelOpened { owner: seed.account(), name: seed.text(0) }
    room ChannelUpdated {
        title: seed.text(0),
        category: seed.text(1),
        description: seed.text(2),
    }
    room StreamKeyIssued {
        hash: seed.secret.clone(),
        prefix: seed.text(2),
        label: seed.text(1),
        beside: seed.full,
    }
    room StreamKeyRevoked { issued: seed.event() }
    room OverlayKeyRotated {}
    room ChannelFollowed {}
    room ChannelUnfollowed {}
    account AccountRegistered {
        name: seed.text(0),
        password_hash: seed.option(seed.secret.clone()),
        email: seed.option(seed.secret.clone()),
    }
    account DisplayNameChosen { display_name: seed.text(0) }
    account PasswordChanged { password_hash: seed.secret.clone() }
    account RoleGranted { role: seed.text(2) }
    account OperatorActed { action: seed.text(2), target: seed.account().to_string() }
    account SessionOpened {
        session: seed.session(),
        expires: seed.at(),
        agent: seed.option(seed.text(0)),
    }
    account SessionClosed { session: seed.session() }
    account EntryPosted {
        kind: if seed.full { Kind::Correction } else { Kind::TopUp },
        postings: seed.list(vec![
            Posting {
                account: seed.account().to_string(),
                book: Book::Wallet,
                amount: seed.number,
            },
            Posting {
                account: seed.text(2),
                book: Book::Platform,
                amount: seed.number.wrapping_neg(),
            },
        ]),
        room: seed.option(seed.room()),
        donation: seed.option(seed.other_event()),
        payment: seed.option(seed.text(2)),
    }
    gateway ViewersCounted {
        anew: seed.full,
        rooms: seed.list(vec![RoomViewers {
            room: seed.room(),
            viewers: seed.number,
        }]),
    }
    // The last event: whoever decodes it names the account no more.
    account AccountErased { room_hash: seed.text(2) }
    record Register {
        id: seed.event(),
        at: seed.at(),
        account: seed.account(),
        name: seed.text(0),
        password_hash: seed.option(seed.secret.clone()),
        email: seed.option(seed.secret.clone()),
    }
    record Order {
        id: seed.event(),
        at: seed.at(),
        account: seed.account(),
        key: seed.text(2),
        amount: seed.number,
    }
    record TopUp {
        id: seed.event(),
        at: seed.at(),
        account: seed.account(),
        key: seed.text(2),
        amount: seed.number,
        refunded: seed.number,
        paid: seed.option(seed.at()),
    }
    record PayOut {
        id: seed.event(),
        at: seed.at(),
        account: seed.account(),
        key: seed.text(2),
        room: seed.room(),
        amount: seed.number,
        earned: seed.number,
        by: seed.actor(),
    }
    record Donate {
        id: seed.event(),
        at: seed.at(),
        account: seed.account(),
        name: seed.text(0),
        key: seed.text(2),
        room: seed.room(),
        streamer: seed.streamer(),
        amount: seed.number,
        message: seed.text(1),
        anonymous: seed.full,
        held: !seed.full,
        minimum: seed.number,
        maximum: seed.number,
        obstacle: seed.option(seed.text(2)),
    }
    record Refund {
        id: seed.event(),
        at: seed.at(),
        account: seed.account(),
        donation: seed.other_event(),
        by: seed.actor(),
        amount: seed.option(seed.number),
        key: seed.option(seed.text(2)),
    }
    record Broadcast {
        id: seed.event(),
        at: seed.at(),
        room: seed.room(),
        stream: seed.other_event(),
        turn: if seed.full { Turn::Interrupt } else { Turn::Start },
        lease_ms: seed.number,
        title: seed.text(0),
        ingest: seed.text(1),
        origin: seed.text(2),
        reason: seed.text(1),
        figures: seed.figures(),
    }
    record Answered {
        id: seed.event(),
        at: seed.at(),
        event: seed.option(seed.other_event()),
        decided: seed.option(seed.at()),
        amount: seed.option(seed.number),
        balance: seed.option(seed.number),
        refusal: seed.option(seed.text(2)),
        positions: seed.list(vec![seed.position(), seed.position()]),
    }
    record Progress { next: seed.number }
    record NameTaken { account: seed.account() }
    record Wallet { balance: seed.number }
    record Debt { amount: seed.number }
    record PaidOut { amount: seed.number }
    record Payment {
        at: seed.at(),
        event: seed.other_event(),
        amount: seed.number,
        balance: seed.number,
        refunded: seed.number,
    }
    record Decision {
        at: seed.at(),
        fingerprint: seed.text(2),
        event: seed.option(seed.other_event()),
        amount: seed.option(seed.number),
        balance: seed.option(seed.number),
        refusal: seed.option(seed.text(2)),
    }
    record OnAir {
        room: seed.room(),
        stream: seed.other_event(),
        interrupted: seed.full,
        until: seed.at(),
        lease_ms: seed.number,
    }
    record Donation {
        account: seed.account(),
        streamer: seed.streamer(),
        room: seed.room(),
        amount: seed.number,
        fee: seed.number,
        anonymous: seed.full,
    }
}

/// The same JSON with keys in order, however this build keeps them.
pub(crate) fn sorted(json: Value) -> Value {
    match json {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, sorted(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
