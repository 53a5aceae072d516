//! An evening that is small enough to know by heart: two rooms, three viewers, a moderator.

use lemonair_schemas::chat::{MemberBanned, MemberTimedOut, MessageDeleted, MessagePosted};
use lemonair_schemas::donation::{DonationAccepted, DonationRefunded};
use lemonair_schemas::presence::{RoomViewers, ViewersCounted};
use lemonair_schemas::stream::{StreamEnded, StreamStarted};
use lemonair_schemas::{AccountId, Actor, Event, EventId, GatewayId, RoomId, Timestamp};
use uuid::Uuid;

use super::Deployment;
use super::history::History;

pub(crate) const PEOPLE: [&str; 5] = ["ann", "ben", "cho", "mint", "sage"];

/// A time of that evening, such as `20:05:10`.
pub(crate) fn time(text: &str) -> Timestamp {
    format!("2026-01-02T{text}Z").parse().expect("a time")
}

pub(crate) fn account(name: &str) -> AccountId {
    let number = PEOPLE.iter().position(|person| *person == name);
    AccountId(Uuid::from_u128(
        0x018b_cfe5_6800_7000_9000_0000_0000_0000 | number.expect("a person") as u128,
    ))
}

fn actor(name: &str) -> Option<Actor> {
    Some(Actor {
        id: account(name),
        name: name.to_owned(),
        roles: Vec::new(),
    })
}

fn room(name: &str) -> RoomId {
    name.parse().expect("a room")
}

fn said(at: &str, place: &str, who: &str, text: &str) -> MessagePosted {
    MessagePosted {
        id: EventId::new(),
        at: time(at),
        room: room(place),
        actor: actor(who),
        text: text.to_owned(),
        nonce: None,
        reply_to: None,
    }
}

fn gave(at: &str, who: &str, amount: i64) -> DonationAccepted {
    DonationAccepted {
        id: EventId::new(),
        at: time(at),
        room: room("mint"),
        actor: actor(who),
        streamer: account("mint"),
        amount,
        message: "for tea".to_owned(),
        key: "SECRET".to_owned(),
        anonymous: false,
        held: false,
    }
}

fn counted(at: &str, gateway: u128, anew: bool, counts: &[(&str, i64)]) -> ViewersCounted {
    let rooms = counts.iter().map(|(name, viewers)| RoomViewers {
        room: room(name),
        viewers: *viewers,
    });
    ViewersCounted {
        id: EventId::new(),
        at: time(at),
        gateway: GatewayId(Uuid::from_u128(gateway)),
        actor: None,
        anew,
        rooms: rooms.collect(),
    }
}

pub(crate) async fn evening(deployment: &Deployment) -> History {
    let history = History::of(deployment, 0).await;
    let began = StreamStarted {
        id: EventId::new(),
        at: time("20:00:00"),
        room: room("mint"),
        actor: actor("mint"),
        title: "Tea, live".to_owned(),
        ingest: "a".to_owned(),
        origin: "SECRET".to_owned(),
    };
    let ended = StreamEnded {
        id: EventId::new(),
        at: time("21:30:00"),
        room: room("mint"),
        actor: None,
        stream: began.id,
        reason: "unpublished".to_owned(),
        figures: None,
    };
    let rude = said("20:06:50", "mint", "cho", "something rude");
    let deleted = MessageDeleted {
        id: EventId::new(),
        at: time("20:07:00"),
        room: room("mint"),
        actor: actor("sage"),
        message: rude.id,
    };
    let timed_out = |at: &str, by: &str| MemberTimedOut {
        id: EventId::new(),
        at: time(at),
        room: room("mint"),
        actor: actor(by),
        account: account("cho"),
        name: "cho".to_owned(),
        until: time("20:30:00"),
        reason: None,
    };
    let banned = MemberBanned {
        id: EventId::new(),
        at: time("20:40:00"),
        room: room("mint"),
        actor: actor("mint"),
        account: account("cho"),
        name: "cho".to_owned(),
        reason: Some("again".to_owned()),
    };
    let from_cho = gave("20:06:30", "cho", 300);
    let back = DonationRefunded {
        id: EventId::new(),
        at: time("21:20:00"),
        room: room("mint"),
        actor: actor("mint"),
        donation: from_cho.id,
        donor: account("cho"),
        streamer: account("mint"),
        amount: 100,
        left: 200,
        anonymous: false,
    };
    let events: Vec<Event> = vec![
        began.into(),
        counted("20:00:00.500", 1, true, &[("mint", 2), ("basil", 1)]).into(),
        said("20:00:10", "mint", "ann", "hello").into(),
        counted("20:00:12", 1, false, &[("mint", 9)]).into(),
        said("20:00:20", "mint", "ben", "hi, \"ann\"\nand all").into(),
        counted("20:01:00.500", 1, true, &[("mint", 5)]).into(),
        counted("20:01:00.700", 2, true, &[("mint", 3), ("basil", 1)]).into(),
        said("20:05:00", "mint", "ann", "안녕하세요 🍋").into(),
        said("20:05:05", "mint", "ben", "that is nice").into(),
        gave("20:05:10", "ben", 500).into(),
        said("20:05:30", "mint", "cho", "wow").into(),
        said("20:05:40", "basil", "ben", "anybody?").into(),
        from_cho.into(),
        rude.into(),
        deleted.into(),
        timed_out("20:08:00", "sage").into(),
        timed_out("20:09:00", "sage").into(),
        banned.into(),
        gave("21:09:30", "ben", 200).into(),
        said("21:10:00", "mint", "ann", "back again").into(),
        back.into(),
        ended.into(),
    ];
    for event in events {
        history.log().append(event).await.expect("append");
    }
    history
}
