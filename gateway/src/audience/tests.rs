use lemonair_schemas::chat::{
    ChatCleared, HeldMessageApproved, HeldMessageDenied, MessageDeleted, MessageHeld, MessagePosted,
};
use lemonair_schemas::{Actor, Event, EventId, Position, RoomId, Timestamp, Topic};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::cursor::Cursor;
use crate::outbox::Outbox;
use crate::room::Room;

/// What happens: 0 says, 1 is held, 2 approves, 3 denies, 4 deletes, 5 clears one's, 6 clears all; by
/// or about an account; about a message.
type Step = (u8, usize, usize);

/// What somebody sees: an event's type and its message.
type Line = (String, EventId);

const AUTHORS: usize = 3;

fn actor(n: usize) -> Actor {
    Actor {
        id: AccountId(format!("018bcfe5-6800-7000-8000-{n:012x}").parse().unwrap()),
        name: format!("n{n}"),
        roles: Vec::new(),
    }
}

fn message(n: usize) -> EventId {
    EventId(format!("018bcfe5-6800-7000-9000-{n:012x}").parse().unwrap())
}

fn room_id() -> RoomId {
    "mint".parse().unwrap()
}

/// The steps as events, those that make sense.
fn events(steps: &[Step]) -> Vec<Event> {
    let mut authors: Vec<(EventId, usize)> = Vec::new();
    let mut events = Vec::new();
    for (index, (kind, who, about)) in steps.iter().enumerate() {
        let (id, at, room) = (message(index), Timestamp(index as i64), room_id());
        let author = authors.get(*about).copied();
        let text = "secret".to_owned();
        let event: Event = match (kind, author) {
            (0, _) => {
                authors.push((id, *who));
                let actor = Some(actor(*who));
                MessagePosted {
                    id,
                    at,
                    room,
                    actor,
                    text,
                    nonce: None,
                    reply_to: None,
                }
                .into()
            }
            (1, _) => {
                authors.push((id, *who));
                let actor = Some(actor(*who));
                MessageHeld {
                    id,
                    at,
                    room,
                    actor,
                    text,
                    nonce: None,
                    reply_to: None,
                }
                .into()
            }
            (2, Some((message, by))) => {
                // Only what was held is approved.
                let held =
                    |event: &Event| matches!(event, Event::MessageHeld(e) if e.id == message);
                if !events.iter().any(held) {
                    continue;
                }
                let author = actor(by);
                HeldMessageApproved {
                    id,
                    at,
                    room,
                    actor: None,
                    message,
                    author,
                    text,
                    nonce: None,
                    reply_to: None,
                }
                .into()
            }
            (3, Some((message, by))) => {
                let Actor {
                    id: account, name, ..
                } = actor(by);
                HeldMessageDenied {
                    id,
                    at,
                    room,
                    actor: None,
                    message,
                    account,
                    name,
                }
                .into()
            }
            (4, Some((message, _))) => MessageDeleted {
                id,
                at,
                room,
                actor: None,
                message,
            }
            .into(),
            (5, _) => {
                let Actor {
                    id: account, name, ..
                } = actor(*who);
                let (account, name) = (Some(account), Some(name));
                ChatCleared {
                    id,
                    at,
                    room,
                    actor: None,
                    account,
                    name,
                }
                .into()
            }
            (6, _) => ChatCleared {
                id,
                at,
                room,
                actor: None,
                account: None,
                name: None,
            }
            .into(),
            _ => continue,
        };
        events.push(event);
    }
    events
}

/// What a viewer is to see of each event; `later` are those whose erasures are known already.
fn expected(events: &[Event], from: usize, member: Option<&Member>, known: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, event) in events.iter().enumerate().skip(from) {
        let author = match event {
            Event::MessagePosted(e) => Some((e.id, e.actor.as_ref().unwrap().id)),
            Event::MessageHeld(e) => Some((e.id, e.actor.as_ref().unwrap().id)),
            Event::HeldMessageApproved(e) => Some((e.message, e.author.id)),
            Event::HeldMessageDenied(e) => Some((e.message, e.account)),
            _ => None,
        };
        let Some((said, author)) = author else {
            lines.push((event.kind().to_owned(), event.id()));
            continue;
        };
        let erases = |later: &Event| match later {
            Event::MessageDeleted(e) => e.message == said,
            Event::ChatCleared(e) => e.account.is_none_or(|account| account == author),
            _ => false,
        };
        if known && events[index..].iter().any(erases) {
            continue;
        }
        let close = member.is_some_and(|m| m.account == author || m.rank > Rank::Viewer);
        let approves =
            |event: &Event| matches!(event, Event::HeldMessageApproved(e) if e.message == said);
        let first = !events[..index].iter().any(approves);
        match event {
            Event::MessagePosted(_) => lines.push(("chat.message".to_owned(), said)),
            Event::HeldMessageApproved(_) => {
                if close {
                    lines.push(("chat.approved".to_owned(), event.id()));
                }
                if first {
                    lines.push(("chat.message".to_owned(), said));
                }
            }
            _ if close => lines.push((event.kind().to_owned(), event.id())),
            _ => {}
        }
    }
    lines
}

fn line(event: &Value) -> Line {
    let text = |name: &str| event[name].as_str().unwrap();
    (text("type").to_owned(), text("id").parse().unwrap())
}

fn sent(outbox: &Outbox) -> Vec<Line> {
    let frames = outbox.rest();
    let frames = frames
        .iter()
        .map(|frame| serde_json::from_slice::<Value>(payload(frame)).unwrap());
    frames
        .flat_map(|frame| frame["events"].as_array().unwrap().clone())
        .map(|event| line(&event))
        .collect()
}

/// A server's frame without its head (RFC 6455, section 5.2).
pub(crate) fn payload(frame: &[u8]) -> &[u8] {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[head..]
}

proptest! {
    /// Live in batches, and back by any cursor: each sees what is theirs, in the room's order, none
    /// twice; and nobody who comes back sees what was taken away.
    #[test]
    fn each_sees_what_is_theirs_and_nothing_else(
        steps in prop::collection::vec((0u8..7, 0usize..AUTHORS, 0usize..6), 0..40),
        sizes in prop::collection::vec(1usize..6, 40),
    ) {
        let events = events(&steps);
        let moderator = Member { account: actor(9).id, rank: Rank::Moderator };
        let author = |n| Member { account: actor(n).id, rank: Rank::Viewer };
        let people: Vec<Option<Member>> =
            vec![None, Some(author(0)), Some(author(1)), Some(moderator), Some(author(8))];
        let mut room = Room::open(room_id(), [0; 3], false, Timestamp(0));
        room.moderated.begin(0);
        prop_assert!(room.moderated.finish(0, 0, Moderation::default()));
        let outboxes: Vec<Arc<Outbox>> = people.iter().map(|_| Arc::default()).collect();
        for (number, (member, outbox)) in people.iter().zip(&outboxes).enumerate() {
            room.enter(number as u64, Arc::clone(outbox), *member);
        }
        let mut cursors: Vec<Cursor> = vec![room.cursor()];
        let mut taken = 0;
        for size in sizes {
            let batch = &events[taken..(taken + size).min(events.len())];
            let at = |offset| Position { topic: Topic::Chat, partition: 0, offset };
            let placed = batch.iter().enumerate();
            room.take(placed.map(|(n, event)| (at((taken + n) as i64), event)));
            taken += batch.len();
            cursors.push(room.cursor());
        }
        for (member, outbox) in people.iter().zip(&outboxes) {
            // In one batch with what takes it away, it may be gone before it was sent.
            let seen = sent(outbox);
            let all = expected(&events, 0, member.as_ref(), false);
            let mut rest = all.iter();
            prop_assert!(seen.iter().all(|line| rest.any(|other| other == line)), "{seen:?} of {all:?}");
            let left = expected(&events, 0, member.as_ref(), true);
            let mut rest = seen.iter();
            prop_assert!(left.iter().all(|line| rest.any(|other| other == line)), "{left:?} of {seen:?}");
            for cursor in &cursors {
                let behind = room.behind(cursor, member.as_ref());
                // The list is the end of a frame, and so is the brace behind it.
                let list: Vec<Value> = serde_json::from_slice(behind.json().strip_suffix(b"}").unwrap()).unwrap();
                let found: Vec<Line> = list.iter().map(line).collect();
                let from = usize::try_from(cursor.0[0].next).unwrap();
                prop_assert_eq!(found, expected(&events, from, member.as_ref(), true));
            }
        }
    }
}
