//! One room on this gateway: its recent events, its viewers, and who has seen what. No I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lemonair_schemas::{AccountId, Event, EventId, Position, RoomId, Timestamp};

use crate::audience::{Audience, Member};
use crate::cursor::{Cursor, LANES, Place, lane, mark};
use crate::frame::{Events, List};
use crate::moderated::Moderated;
use crate::outbox::{Close, Outbox};
use crate::view::View;

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
    /// Events that the tail keeps, at most.
    kept: usize,
    bytes: usize,
    /// From these offsets on, the tail has every event of the room.
    from: [i64; LANES],
    /// Behind the newest event.
    cursor: Cursor,
    viewers: HashMap<u64, Arc<Outbox>>,
    /// Those of them who stand for somebody.
    audience: Audience,
    pub moderated: Moderated,
    /// Messages of the tail, and some from before it, that carry a nonce.
    nonces: HashMap<(AccountId, String), EventId>,
    pub live: bool,
    /// Viewers at all gateways, as this one's were told.
    told: usize,
    /// Viewers here, as other gateways were told.
    shared: usize,
    /// Events older than the tail, for viewers who come without a cursor; read once.
    history: Option<Vec<View>>,
    /// What newcomers are shown, encoded; made anew when something has happened since.
    shown: Option<List>,
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
    /// Where a moderator took the text away, its place stays.
    view: View,
    nonce: Option<(AccountId, String)>,
}

/// An event read from a topic for viewers whose cursor is older than the tail.
#[derive(Debug)]
pub struct Earlier {
    pub at: Timestamp,
    pub position: Position,
    pub event: Event,
}

/// A message that its author may send again, not knowing that it stands.
#[derive(Debug)]
pub struct Sent {
    pub nonce: (AccountId, String),
    pub message: EventId,
    /// Its offset.
    pub at: i64,
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
    /// They are banned.
    Barred,
}

impl Room {
    /// A room whose next events will be those at `from`.
    pub fn open(id: RoomId, from: [i64; LANES], live: bool, now: Timestamp) -> Room {
        Room {
            id,
            tail: VecDeque::new(),
            kept: KEPT_EVENTS,
            bytes: 0,
            from,
            cursor: Cursor(from.map(|next| Place { next, mark: 0 })),
            viewers: HashMap::new(),
            audience: Audience::default(),
            moderated: Moderated::default(),
            nonces: HashMap::new(),
            live,
            told: 0,
            shared: 0,
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
        let mut fresh: Vec<View> = Vec::new();
        let mut banned = false;
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
            // Sent twice because an ack was lost, or through two gateways at once: viewers have it
            // already.
            if nonce
                .as_ref()
                .is_some_and(|nonce| self.nonces.contains_key(nonce))
            {
                continue;
            }
            self.moderated.take(position, event);
            match event {
                Event::StreamStarted(_) | Event::StreamResumed(_) => self.live = true,
                Event::StreamEnded(_) => self.live = false,
                Event::MemberBanned(_) => banned = true,
                _ => {}
            }
            let mut view = View::of(event);
            self.erase(&view, &mut fresh);
            if matches!(event, Event::HeldMessageApproved(_)) && self.shows_already(&view) {
                // Let through twice at the same time: it is one message.
                view.open = Arc::default();
            }
            self.keep(lane, position.offset, event.id(), view.clone(), nonce);
            fresh.push(view);
        }
        let mut told = 0;
        if !fresh.is_empty() && !self.viewers.is_empty() {
            self.show(&fresh);
            told = self.viewers.len();
        }
        if banned && let Some(moderation) = self.moderated.known() {
            for connection in self.audience.barred(moderation) {
                if let Some(outbox) = self.viewers.get(&connection) {
                    outbox.close(Close::Banned);
                }
            }
        }
        told
    }

    /// One frame for all viewers, and for the few who see more their own in its place.
    fn show(&self, fresh: &[View]) {
        let (room, cursor) = (self.id.as_str(), self.cursor.to_string());
        let few = match self.moderated.known() {
            Some(moderation) => self.audience.frames(room, &cursor, fresh, moderation),
            None => HashMap::new(),
        };
        let open: Vec<&Arc<str>> = fresh.iter().flat_map(|view| view.parts(false)).collect();
        let frame = (!open.is_empty()).then(|| Events::of(room, &cursor, &open));
        match (frame, few.is_empty()) {
            (Some(frame), true) => self.send(&frame),
            (frame, _) => {
                for (connection, outbox) in &self.viewers {
                    let own = few.get(connection).map(AsRef::as_ref);
                    if let Some(frame) = own.or(frame.as_ref()) {
                        outbox.push(frame.frame(outbox.form));
                    }
                }
            }
        }
    }

    fn keep(
        &mut self,
        lane: usize,
        offset: i64,
        id: EventId,
        view: View,
        nonce: Option<(AccountId, String)>,
    ) {
        if let Some(nonce) = &nonce {
            self.nonces.insert(nonce.clone(), id);
        }
        self.bytes += view.len();
        self.tail.push_back(Kept {
            lane,
            offset,
            id,
            view,
            nonce,
        });
        while self.tail.len() > self.kept || self.bytes > KEPT_BYTES {
            let Some(old) = self.tail.pop_front() else {
                break;
            };
            self.bytes -= old.view.len();
            self.from[old.lane] = old.offset + 1;
            if let Some(nonce) = old.nonce {
                self.nonces.remove(&nonce);
            }
        }
    }

    /// Takes away what an event took away, wherever it is remembered.
    fn erase(&mut self, by: &View, fresh: &mut [View]) {
        let Some(erased) = by.erases else { return };
        let history = self.history.iter_mut().flatten();
        for view in history.chain(fresh) {
            view.erase(erased);
        }
        for kept in &mut self.tail {
            self.bytes -= kept.view.len();
            kept.view.erase(erased);
            self.bytes += kept.view.len();
        }
    }

    /// Takes away every event that names somebody who was erased.
    pub fn forget(&mut self, account: AccountId) {
        let id = account.to_string();
        self.shown = None;
        for view in self.history.iter_mut().flatten() {
            view.forget(account, &id);
        }
        for kept in &mut self.tail {
            self.bytes -= kept.view.len();
            kept.view.forget(account, &id);
            self.bytes += kept.view.len();
        }
        for connection in self.audience.of(account) {
            if let Some(outbox) = self.viewers.get(&connection) {
                outbox.close(Close::Token);
            }
        }
    }

    fn shows_already(&self, view: &View) -> bool {
        let mut tail = self.tail.iter().map(|kept| &kept.view);
        tail.any(|kept| kept.says && kept.shows == view.shows)
    }

    /// Remembers what came before the tail, when that began at `from`. What was taken away since is
    /// not in it any more.
    pub fn remember(&mut self, from: [i64; LANES], mut history: Vec<View>) {
        if self.history.is_some() {
            return;
        }
        // The tail has grown to its limits meanwhile: nobody needs what came before it.
        if self.from != from {
            history.clear();
        }
        for erased in self.tail.iter().filter_map(|kept| kept.view.erases) {
            for view in &mut history {
                view.erase(erased);
            }
        }
        self.history = Some(history);
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
        // It ends where the tail began until now, and would be shown a second time.
        self.history = None;
        for Earlier {
            position, event, ..
        } in earlier.into_iter().rev()
        {
            let Some(lane) = lane(position.topic) else {
                continue;
            };
            let mut view = View::of(&event);
            for erased in self.tail.iter().filter_map(|later| later.view.erases) {
                view.erase(erased);
            }
            self.bytes += view.len();
            let kept = Kept {
                lane,
                offset: position.offset,
                id: event.id(),
                view,
                nonce: nonce(&event),
            };
            self.tail.push_front(kept);
        }
        self.from = start;
    }

    /// Remembers messages of before the tail, should they be sent again.
    pub fn recall(&mut self, sent: Vec<Sent>) {
        for Sent { nonce, message, at } in sent {
            // What the tail has or will have is remembered with it.
            if at < self.from[0] {
                self.nonces.entry(nonce).or_insert(message);
            }
        }
    }

    /// The message that already carries this nonce, if it is recent.
    pub fn sent(&self, account: AccountId, nonce: &str) -> Option<EventId> {
        self.nonces.get(&(account, nonce.to_owned())).copied()
    }

    /// Whether everybody may still read a message; `None` if the room remembers none that was said to
    /// everybody with this id.
    pub fn says(&self, message: EventId) -> Option<bool> {
        let tail = self.tail.iter().map(|kept| &kept.view);
        let views = self.history.iter().flatten().chain(tail);
        let mut said = views
            .filter(|view| view.says && view.shows.is_some_and(|(shown, _)| shown == message))
            .peekable();
        said.peek()?;
        // Let through twice, it is shown once.
        Some(said.any(|view| !view.open.is_empty()))
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

    /// Events of the tail behind a cursor, in the room's order, as far as this viewer may see them.
    pub fn behind(&self, since: &Cursor, member: Option<&Member>) -> List {
        let missing = self
            .tail
            .iter()
            .filter(|kept| kept.offset >= since.0[kept.lane].next);
        let events = missing.flat_map(|kept| kept.view.parts(self.is_close(member, &kept.view)));
        List::of(events.map(AsRef::as_ref))
    }

    /// What a viewer without a cursor is shown; `None` until the history is read.
    pub fn newest(&mut self, member: Option<&Member>) -> Option<List> {
        let tail = self.tail.iter().map(|kept| &kept.view);
        let views: Vec<&View> = self.history.as_ref()?.iter().chain(tail).collect();
        // A crowd comes in at once and is shown the same, but for those few who may see more.
        let more = views
            .iter()
            .any(|view| !view.aside.is_empty() && self.is_close(member, view));
        let encode = || {
            let all = views
                .iter()
                .flat_map(|view| view.parts(more && self.is_close(member, view)));
            let all: Vec<&Arc<str>> = all.collect();
            let newest = &all[all.len().saturating_sub(SHOWN)..];
            List::of(newest.iter().map(|json| json.as_ref()))
        };
        if more {
            return Some(encode());
        }
        if self.shown.is_none() {
            self.shown = Some(encode());
        }
        self.shown.clone()
    }

    fn is_close(&self, member: Option<&Member>, view: &View) -> bool {
        let known = member.zip(self.moderated.known());
        known.is_some_and(|(member, moderation)| member.sees_aside(view, moderation))
    }

    /// Whether they are banned.
    pub fn bars(&self, member: Option<&Member>) -> bool {
        let known = member.zip(self.moderated.known());
        known.is_some_and(|(member, moderation)| moderation.bars(member.account, member.rank))
    }

    /// From now on this connection gets every event behind [`Room::cursor`].
    pub fn enter(&mut self, connection: u64, outbox: Arc<Outbox>, member: Option<Member>) {
        self.audience.enter(connection, member);
        self.viewers.insert(connection, outbox);
        self.empty_since = None;
    }

    /// Whoever entered was told how many watch, here and elsewhere. Where nobody else is, that is all.
    pub fn told(&mut self, count: usize) {
        if self.viewers.len() == 1 {
            self.told = count;
        }
    }

    pub fn leave(&mut self, connection: u64, now: Timestamp) {
        self.viewers.remove(&connection);
        self.audience.leave(connection);
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

    /// What other gateways are to be told: how many are here, if that has changed since they were
    /// told; told `anew`, in any case.
    pub fn share_viewers(&mut self, anew: bool) -> Option<usize> {
        let count = self.viewers.len();
        let news = self.shared != count || (anew && count > 0);
        self.shared = count;
        news.then_some(count)
    }

    /// Tells all viewers how many they are, here and `elsewhere`, if that has changed since they were
    /// told.
    pub fn tell_viewers(&mut self, elsewhere: usize, now: Timestamp) {
        let count = self.viewers.len() + elsewhere;
        if self.told == count {
            return;
        }
        self.told = count;
        self.tell(&format!(
            r#"{{"type":"viewers","at":"{now}","count":{count}}}"#
        ));
    }

    /// Tells all viewers something that is no fact, as JSON.
    pub fn tell(&self, event: &str) {
        let cursor = self.cursor.to_string();
        self.send(&Events::of(self.id.as_str(), &cursor, &[event]));
    }

    fn send(&self, frame: &Events) {
        for outbox in self.viewers.values() {
            outbox.push(frame.frame(outbox.form));
        }
    }
}

/// Of what its author sent: an approval is somebody else's, and no resend.
pub fn nonce(event: &Event) -> Option<(AccountId, String)> {
    let nonce = match event {
        Event::MessagePosted(message) => &message.nonce,
        Event::MessageHeld(message) => &message.nonce,
        _ => return None,
    };
    Some((event.actor()?.id, nonce.clone()?))
}

#[cfg(test)]
mod tests;
