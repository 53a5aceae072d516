//! One room on this gateway: its recent events, its viewers, and who has seen what. No I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::{AccountId, Event, EventId, Position, RoomId, Timestamp};

use crate::cursor::{Cursor, LANES, Place, lane, mark};
use crate::frame;
use crate::outbox::Outbox;

/// Events that a room keeps for viewers who come back, at most.
const KEPT_EVENTS: usize = 500;
/// Bytes of them, at most.
const KEPT_BYTES: usize = 512 * 1024;
/// Events that a new viewer is shown.
pub const SHOWN: usize = 50;

#[derive(Debug)]
pub struct Room {
    pub id: RoomId,
    tail: VecDeque<Kept>,
    bytes: usize,
    /// From these offsets on, the tail has every event of the room.
    from: [i64; LANES],
    /// Behind the newest event.
    cursor: Cursor,
    viewers: HashMap<u64, Arc<Outbox>>,
    /// Messages of the tail that carry a nonce.
    nonces: HashMap<(AccountId, String), EventId>,
    pub live: bool,
    told: usize,
    /// Events older than the tail, for viewers who come without a cursor; read once.
    pub history: Option<Vec<Arc<str>>>,
    /// What newcomers are shown, encoded; made anew when something has happened since.
    shown: Option<Bytes>,
    /// When the last viewer left.
    empty_since: Option<Timestamp>,
    /// Dropped by the hub: whoever still holds it must look the room up again.
    closed: bool,
}

/// An event of the tail.
#[derive(Debug)]
struct Kept {
    lane: usize,
    offset: i64,
    id: EventId,
    /// Empty where a moderator took the text away; its place stays.
    json: Arc<str>,
    nonce: Option<(AccountId, String)>,
}

/// An event read from a topic for viewers whose cursor is older than the tail.
#[derive(Debug)]
pub struct Earlier {
    pub at: Timestamp,
    pub position: Position,
    pub event: Event,
}

/// Whether a cursor can be resumed from the tail.
#[derive(Debug, PartialEq, Eq)]
pub enum Resume {
    /// The tail has all that is missing.
    Tail,
    /// The topics must be read first, from the cursor up to these offsets.
    Older([i64; LANES]),
    /// Another gateway was quicker: the feed has not reached the cursor yet.
    Ahead,
    /// The cursor is not of this history.
    Changed,
}

impl Room {
    /// A room whose next events will be those at `from`.
    pub fn open(id: RoomId, from: [i64; LANES], live: bool, now: Timestamp) -> Room {
        Room {
            id,
            tail: VecDeque::new(),
            bytes: 0,
            from,
            cursor: Cursor(from.map(|next| Place { next, mark: 0 })),
            viewers: HashMap::new(),
            nonces: HashMap::new(),
            live,
            told: 0,
            history: None,
            shown: None,
            empty_since: Some(now),
            closed: false,
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// Takes in events in the order of the topics, and sends them to every viewer in one frame. Returns
    /// how many were sent a frame.
    pub fn take<'e>(&mut self, events: impl Iterator<Item = (Position, &'e Event)>) -> usize {
        let mut fresh: Vec<Arc<str>> = Vec::new();
        for (position, event) in events {
            let Some(lane) = lane(position.topic) else {
                continue;
            };
            if position.offset < self.cursor.0[lane].next {
                continue;
            }
            self.cursor.0[lane] = Place::behind(position.offset, event.id());
            self.shown = None;
            let nonce = nonce(event);
            // Sent twice because an ack was lost: viewers have it already.
            if nonce
                .as_ref()
                .is_some_and(|nonce| self.nonces.contains_key(nonce))
            {
                continue;
            }
            match event {
                Event::StreamStarted(_) | Event::StreamResumed(_) => self.live = true,
                Event::StreamEnded(_) => self.live = false,
                Event::MessageDeleted(deleted) => self.blank(deleted.message),
                _ => {}
            }
            let json: Arc<str> = json(event).into();
            self.keep(lane, position.offset, event.id(), Arc::clone(&json), nonce);
            fresh.push(json);
        }
        if fresh.is_empty() || self.viewers.is_empty() {
            return 0;
        }
        let cursor = self.cursor.to_string();
        self.send(&frame::events(self.id.as_str(), &cursor, &fresh));
        self.viewers.len()
    }

    fn keep(
        &mut self,
        lane: usize,
        offset: i64,
        id: EventId,
        json: Arc<str>,
        nonce: Option<(AccountId, String)>,
    ) {
        if let Some(nonce) = &nonce {
            self.nonces.insert(nonce.clone(), id);
        }
        self.bytes += json.len();
        self.tail.push_back(Kept {
            lane,
            offset,
            id,
            json,
            nonce,
        });
        while self.tail.len() > KEPT_EVENTS || self.bytes > KEPT_BYTES {
            let Some(old) = self.tail.pop_front() else {
                break;
            };
            self.bytes -= old.json.len();
            self.from[old.lane] = old.offset + 1;
            if let Some(nonce) = old.nonce {
                self.nonces.remove(&nonce);
            }
        }
    }

    fn blank(&mut self, message: EventId) {
        for kept in self.tail.iter_mut().filter(|kept| kept.id == message) {
            self.bytes -= kept.json.len();
            kept.json = "".into();
        }
    }

    /// The offsets from which on the tail is complete.
    pub fn from(&self) -> [i64; LANES] {
        self.from
    }

    /// Puts the events from `start` up to `from` in front of the tail. They were read for one viewer
    /// and serve all who come back from the same time. Nothing happens if the tail no longer begins
    /// at `from`.
    pub fn prepend_if(&mut self, from: [i64; LANES], start: [i64; LANES], earlier: Vec<Earlier>) {
        if self.from != from {
            return;
        }
        self.shown = None;
        for Earlier {
            position, event, ..
        } in earlier.into_iter().rev()
        {
            let Some(lane) = lane(position.topic) else {
                continue;
            };
            let json: Arc<str> = json(&event).into();
            self.bytes += json.len();
            let kept = Kept {
                lane,
                offset: position.offset,
                id: event.id(),
                json,
                nonce: nonce(&event),
            };
            self.tail.push_front(kept);
        }
        self.from = start;
    }

    /// The message that already carries this nonce, if it is recent.
    pub fn sent(&self, account: AccountId, nonce: &str) -> Option<EventId> {
        self.nonces.get(&(account, nonce.to_owned())).copied()
    }

    /// What stands between a cursor and the tail. `reached` is how far the feed has come.
    pub fn resume(&self, since: &Cursor, reached: &[i64; LANES]) -> Resume {
        let mut older = false;
        for (lane, place) in since.0.iter().enumerate() {
            let seen = place.next - 1;
            if place.next > reached[lane] {
                return Resume::Ahead;
            }
            // The event that was seen must be known too, to tell whether this is the same history.
            if place.next < self.from[lane] || (place.mark != 0 && seen < self.from[lane]) {
                older = true;
                continue;
            }
            let mut tail = self.tail.iter();
            let same = |kept: &Kept| {
                kept.lane == lane && kept.offset == seen && mark(kept.id) == place.mark
            };
            if place.mark != 0 && !tail.any(same) {
                return Resume::Changed;
            }
        }
        if older {
            Resume::Older(self.from)
        } else {
            Resume::Tail
        }
    }

    /// Events of the tail behind a cursor, in the room's order.
    pub fn behind(&self, since: &Cursor) -> Bytes {
        let missing = self
            .tail
            .iter()
            .filter(|kept| kept.offset >= since.0[kept.lane].next);
        let events = missing.map(|kept| kept.json.as_ref());
        frame::list(events.filter(|json| !json.is_empty()))
    }

    /// What a viewer without a cursor is shown; `None` until the history is read.
    pub fn newest(&mut self) -> Option<Bytes> {
        let history = self.history.as_ref()?;
        let encode = || {
            let tail = self.tail.iter().map(|kept| &kept.json);
            let all = history.iter().chain(tail).filter(|json| !json.is_empty());
            let all: Vec<&Arc<str>> = all.collect();
            let newest = &all[all.len().saturating_sub(SHOWN)..];
            frame::list(newest.iter().map(|json| json.as_ref()))
        };
        // A crowd comes in at once and is shown the same.
        Some(self.shown.get_or_insert_with(encode).clone())
    }

    /// From now on this connection gets every event behind [`Room::cursor`].
    pub fn enter(&mut self, connection: u64, outbox: Arc<Outbox>) {
        self.viewers.insert(connection, outbox);
        self.empty_since = None;
    }

    pub fn leave(&mut self, connection: u64, now: Timestamp) {
        self.viewers.remove(&connection);
        if self.viewers.is_empty() {
            self.empty_since.get_or_insert(now);
        }
    }

    /// Closes the room if nobody has been in it for so long.
    pub fn close_if_empty(&mut self, linger: Duration, now: Timestamp) -> bool {
        self.closed = self
            .empty_since
            .is_some_and(|since| now.since(since) >= linger);
        self.closed
    }

    /// Tells all viewers how many they are, if that has changed since they were told.
    pub fn tell_viewers(&mut self, now: Timestamp) {
        let count = self.viewers.len();
        if self.told == count {
            return;
        }
        self.told = count;
        let event = format!(r#"{{"type":"viewers","at":"{now}","count":{count}}}"#);
        let cursor = self.cursor.to_string();
        self.send(&frame::events(self.id.as_str(), &cursor, &[event]));
    }

    fn send(&self, frame: &Bytes) {
        for outbox in self.viewers.values() {
            outbox.push(frame.clone());
        }
    }
}

fn nonce(event: &Event) -> Option<(AccountId, String)> {
    let Event::MessagePosted(message) = event else {
        return None;
    };
    Some((message.actor.as_ref()?.id, message.nonce.clone()?))
}

/// An event as viewers see it. The room is named by the frame around it.
pub fn json(event: &Event) -> String {
    let mut json = event.json();
    json.remove("room");
    serde_json::Value::Object(json).to_string()
}
