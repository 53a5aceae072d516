//! The hub's part in moderation: loading a room's state, and asking it.

use std::collections::HashMap;

use lemonair_consumers::watermarks;
use lemonair_projections::{messages, moderation as rows};
use lemonair_schemas::{Event, EventId, Position, RoomId, Timestamp, Topic};

use super::{Entry, Error, Hub, READ_MODEL, lock};
use crate::audience::Member;
use crate::cursor::{Cursor, LANES};
use crate::moderation::{Moderation, Rank, Refusal, Speaker, Verdict};
use crate::room::{Earlier, Sent, nonce};

/// Messages that slow mode, the check for repeats and that for resends look back on when a room
/// opens.
const LOOK_BACK: usize = 200;
/// Offsets that are looked through for resends where the read model is behind.
const RESENDS: i64 = 1000;

/// A room's moderation as the read model knows it, and the newest messages, newest first.
pub(super) type Stored = (rows::Snapshot, Vec<messages::Message>);

/// A room's moderation as the topic has it.
struct Loaded {
    /// The first offset that is not in it.
    next: i64,
    moderation: Moderation,
    sent: Vec<Sent>,
    /// What was read on the way, from where on.
    gap: Option<([i64; LANES], Vec<Earlier>)>,
}

/// A message that was let pass.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    pub verdict: Verdict,
    /// What its author may do in the room.
    pub rank: Rank,
}

impl Hub {
    /// Makes sure that the room knows what to enforce. If the topic must be read for that, the gap behind
    /// `since` is read with it: a crowd that comes back to a fresh gateway costs one read.
    pub(super) async fn moderate(
        &self,
        id: &RoomId,
        entry: &Entry,
        since: Option<&Cursor>,
    ) -> Result<(), Error> {
        if lock(&entry.room).moderated.known().is_some() {
            return Ok(());
        }
        let _reading = entry.reading.lock().await;
        loop {
            let (begun, tail) = {
                let mut room = lock(&entry.room);
                let next = room.cursor().0[0].next;
                (room.moderated.begin(next), room.from())
            };
            let Some(to) = begun else { return Ok(()) };
            let loaded = self.load(id, to, since, tail).await?;
            let mut room = lock(&entry.room);
            room.recall(loaded.sent);
            if let Some((start, earlier)) = loaded.gap {
                room.prepend_if(tail, start, earlier);
            }
            if room.moderated.finish(to, loaded.next, loaded.moderation) {
                return Ok(());
            }
        }
    }

    /// The room's moderation up to `to` at least, and what was sent lately: from the read models, and
    /// from the topic what those do not have yet.
    async fn load(
        &self,
        id: &RoomId,
        to: i64,
        since: Option<&Cursor>,
        tail: [i64; LANES],
    ) -> Result<Loaded, Error> {
        let partition = self.partition(id);
        let at = |offset| Position {
            topic: Topic::Chat,
            partition,
            offset,
        };
        let reach = |projection| self.checkpoints.wait(projection, at(to - 1), READ_MODEL);
        let (_, all_said) = match to > 0 {
            true => tokio::join!(reach("moderation"), reach("messages")),
            false => (true, true),
        };
        let read = |rooms| self.read_moderation(rooms);
        let (snapshot, recent) = self.moderations.ask(id, read).await?;
        let next = snapshot.next;
        let mut loaded = Loaded {
            next: next.max(to),
            moderation: Moderation::restore(snapshot),
            sent: Vec::new(),
            gap: None,
        };
        for message in recent.into_iter().rev() {
            if let Some(author) = message.author {
                let moderation = &mut loaded.moderation;
                moderation.note(message.id, author.id, &message.text, message.sent_at);
                loaded.sent.extend(message.nonce.map(|nonce| Sent {
                    nonce: (author.id, nonce),
                    message: message.id,
                    at: message.position.offset,
                }));
            }
        }
        let from = match all_said {
            true => next,
            false => next.min(to - RESENDS),
        };
        if from >= to {
            return Ok(loaded);
        }
        let mut see = |offset: i64, event: &Event| {
            loaded.sent.extend(nonce(event).map(|nonce| Sent {
                nonce,
                message: event.id(),
                at: offset,
            }));
            if offset >= next {
                loaded.moderation.apply(event);
            }
        };
        // What is behind the tail's beginning would not be in the gap.
        if let Some(since) = since
            && tail[0] == to
            && let Some((start, earlier)) = self.read_gap(id, since, Some(from), &tail).await?
        {
            for Earlier {
                position, event, ..
            } in &earlier
            {
                if position.topic == Topic::Chat && position.offset >= from {
                    see(position.offset, event);
                }
            }
            loaded.gap = Some((start, earlier));
            return Ok(loaded);
        }
        // Never fails: the semaphore is never closed.
        let _permit = self.catch_ups.acquire().await;
        let marks = watermarks(&self.kafka, &[Topic::Chat]).await?;
        let low = marks
            .iter()
            .find(|mark| mark.partition == partition)
            .map_or(0, |mark| mark.low);
        let start = [at(from.max(low))];
        self.read(id, &start, &[to, 0, 0], |_, position, event| {
            see(position.offset, &event);
            true
        })
        .await?;
        Ok(loaded)
    }

    async fn read_moderation(
        &self,
        rooms: Vec<RoomId>,
    ) -> lemonair_projections::Result<HashMap<RoomId, Stored>> {
        let mut connection = self.pool.acquire().await?;
        let partition = |room: &RoomId| self.partition(room);
        let snapshots = rows::snapshots(&mut connection, &rooms, partition).await?;
        let mut recent = messages::newest(&mut connection, &rooms, LOOK_BACK).await?;
        let loaded = snapshots.into_iter().map(|(room, snapshot)| {
            let recent = recent.remove(&room).unwrap_or_default();
            (room, (snapshot, recent))
        });
        Ok(loaded.collect())
    }

    /// Whether the room wants to know since when somebody follows.
    pub fn asks_to_follow(&self, id: &RoomId, member: &Member) -> bool {
        self.entry(id).is_some_and(|entry| {
            let room = lock(&entry.room);
            let asks = |moderation: &Moderation| {
                moderation.asks_to_follow()
                    && moderation.rank(member.account, member.rank) == Rank::Viewer
            };
            room.moderated.known().is_some_and(asks)
        })
    }

    /// Lets a message pass or refuses it. What passes counts from now on, before it is on the topic:
    /// two at once through this gateway do not both slip through. `None` if the room is not open.
    pub fn admit(
        &self,
        id: &RoomId,
        speaker: &Speaker,
        message: EventId,
        text: &str,
        now: Timestamp,
    ) -> Option<Result<Admitted, Refusal>> {
        let entry = self.entry(id)?;
        let mut room = lock(&entry.room);
        let moderation = room.moderated.known_mut()?;
        let verdict = match moderation.check(speaker, text, now) {
            Ok(verdict) => verdict,
            Err(refusal) => return Some(Err(refusal)),
        };
        moderation.note(message, speaker.account, text, now);
        let rank = moderation.rank(speaker.account, speaker.rank);
        Some(Ok(Admitted { verdict, rank }))
    }

    /// A message that was let pass did not get to the topic, as far as anybody knows.
    pub fn take_back(&self, id: &RoomId, message: EventId) {
        if let Some(entry) = self.entry(id)
            && let Some(moderation) = lock(&entry.room).moderated.known_mut()
        {
            moderation.take_back(message);
        }
    }
}
