//! The hub's reading of the past: the gap behind a cursor from the topics, and what newcomers are
//! shown from the read models.

use std::collections::HashMap;
use std::sync::Arc;

use lemonair_consumers::{Feed, watermarks};
use lemonair_projections::{donations, messages};
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::{Actor, Event, Position, RoomId, Timestamp, Topic};

use super::{Error, Hub, READ_MODEL};
use crate::cursor::{Cursor, LANES, Place, lane};
use crate::room::{Earlier, SHOWN};
use crate::view::View;

/// Events that a cursor may be behind; further back, the client reloads.
const LONGEST_GAP: usize = 10_000;
/// Offsets that are read for a history which the read models do not have.
const FURTHEST_BACK: i64 = 5_000;

/// The newest of a room's messages and donations, as the read models know them, newest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    messages: Vec<messages::Message>,
    donations: Vec<donations::Donation>,
}

impl Hub {
    /// Reads the topics from a cursor up to `to`, and of the chat what is left from `chat` on, should that
    /// be earlier: where that begins, and the room's events in it. `None` if that history is gone, or is
    /// too long to send.
    pub(super) async fn read_gap(
        &self,
        id: &RoomId,
        since: &Cursor,
        chat: Option<i64>,
        to: &[i64; LANES],
    ) -> Result<Option<([i64; LANES], Vec<Earlier>)>, Error> {
        // Never fails: the semaphore is never closed.
        let _permit = self.catch_ups.acquire().await;
        let partition = self.partition(id);
        let marks = watermarks(&self.kafka, &Topic::ROOM).await?;
        let mut from = *to;
        let mut starts = Vec::new();
        for (lane, topic) in Topic::ROOM.into_iter().enumerate() {
            let mark = marks
                .iter()
                .find(|mark| (mark.topic, mark.partition) == (topic, partition));
            let Some(mark) = mark else { return Ok(None) };
            let Place { next, mark: seen } = since.0[lane];
            // One earlier than needed: the room looks whether the event before is the one that was seen.
            let mut start = if seen == 0 { next } else { next - 1 };
            if let (Topic::Chat, Some(chat)) = (topic, chat) {
                start = start.min(chat.max(mark.low));
            }
            if start >= to[lane] {
                continue;
            }
            if start < mark.low {
                return Ok(None);
            }
            from[lane] = start;
            starts.push(Position {
                topic,
                partition,
                offset: start,
            });
        }
        let mut found: Vec<Earlier> = Vec::new();
        let mut latest = [Timestamp::default(); LANES];
        let whole = self
            .read(id, &starts, to, |at, position, event| {
                let Some(lane) = lane(position.topic) else {
                    return true;
                };
                // Clocks of gateways differ a little; a topic's own order stands all the same.
                latest[lane] = latest[lane].max(at);
                found.push(Earlier {
                    at: latest[lane],
                    position,
                    event,
                });
                found.len() <= LONGEST_GAP
            })
            .await?;
        found.sort_by_key(|earlier| (earlier.at, earlier.position));
        Ok(whole.then_some((from, found)))
    }

    /// Gives every event of the room from `starts` up to `to` to `take`, until that has had enough: then
    /// it is `false`.
    pub(super) async fn read(
        &self,
        id: &RoomId,
        starts: &[Position],
        to: &[i64; LANES],
        mut take: impl FnMut(Timestamp, Position, Event) -> bool,
    ) -> Result<bool, Error> {
        if starts.is_empty() {
            return Ok(true);
        }
        metrics::counter!("lemonair_topic_reads_total").increment(1);
        let mut feed = Feed::<Event>::open(&self.kafka, Arc::clone(&self.codec), starts)?;
        let beyond = |at: &Position| lane(at.topic).is_none_or(|lane| at.offset >= to[lane]);
        loop {
            let batch = feed.next(5000).await?;
            for record in batch.records {
                let Ok(event) = record.content else { continue };
                let of_room = event.room().as_ref() == Some(id);
                if of_room && !beyond(&record.position) && !take(record.at, record.position, event)
                {
                    return Ok(false);
                }
            }
            if batch.next.iter().all(beyond) {
                return Ok(true);
            }
        }
    }

    /// Recent events older than the tail: from the read models, and from the topics what those do
    /// not have yet.
    pub(super) async fn history(
        &self,
        id: &RoomId,
        from: &[i64; LANES],
    ) -> Result<Vec<View>, Error> {
        let partition = self.partition(id);
        // Streams are left out: who was live when is not what a viewer comes for.
        let lanes = [
            ("messages", Topic::Chat, 0),
            ("donations", Topic::Donations, 1),
        ];
        let mut reach = Cursor(from.map(|next| Place { next, mark: 0 }));
        for (projection, topic, lane) in lanes {
            let last = Position {
                topic,
                partition,
                offset: from[lane] - 1,
            };
            if from[lane] > 0 && !self.checkpoints.wait(projection, last, READ_MODEL).await {
                reach.0[lane].next = 0;
            }
        }
        let recent = self
            .recents
            .ask(id, |rooms| self.read_recent(rooms))
            .await?;
        let mut found: Vec<(Timestamp, View)> = Vec::new();
        for message in recent.messages {
            reach.0[0].next = reach.0[0]
                .next
                .max(message.position.offset + 1)
                .min(from[0]);
            if message.position.offset < from[0] && message.deleted_at.is_none() {
                found.push((message.sent_at, View::of(&posted(message))));
            }
        }
        for donation in recent.donations {
            reach.0[1].next = reach.0[1]
                .next
                .max(donation.position.offset + 1)
                .min(from[1]);
            if donation.position.offset < from[1] && donation.refunded_at.is_none() {
                found.push((donation.donated_at, View::of(&accepted(donation))));
            }
        }
        // A read model that is down must not make us read a topic from its beginning.
        for (place, from) in reach.0.iter_mut().zip(from) {
            place.next = place.next.max(from - FURTHEST_BACK);
        }
        found.sort_by_key(|(at, _)| *at);
        let mut events: Vec<View> = found.into_iter().map(|(_, view)| view).collect();
        if reach
            .0
            .iter()
            .zip(from)
            .any(|(place, from)| place.next < *from)
            && let Some((_, missing)) = self.read_gap(id, &reach, None, from).await?
        {
            for earlier in missing {
                let view = View::of(&earlier.event);
                if let Some(erased) = view.erases {
                    events.iter_mut().for_each(|event| event.erase(erased));
                }
                events.push(view);
            }
        }
        let skip = events.len().saturating_sub(SHOWN);
        Ok(events.split_off(skip))
    }

    async fn read_recent(
        &self,
        rooms: Vec<RoomId>,
    ) -> lemonair_projections::Result<HashMap<RoomId, Recent>> {
        let mut connection = self.pool.acquire().await?;
        let messages = messages::newest(&mut connection, &rooms, SHOWN).await?;
        let donations = donations::newest(&mut connection, &rooms, SHOWN).await?;
        let mut recent: HashMap<RoomId, Recent> = HashMap::new();
        for (room, messages) in messages {
            recent.entry(room).or_default().messages = messages;
        }
        for (room, donations) in donations {
            recent.entry(room).or_default().donations = donations;
        }
        Ok(recent)
    }
}

/// A row as the event that it was made of.
fn posted(message: messages::Message) -> Event {
    let messages::Message {
        id,
        room,
        author,
        text,
        nonce,
        reply_to,
        sent_at,
        ..
    } = message;
    MessagePosted {
        id,
        at: sent_at,
        room,
        actor: author,
        text,
        nonce,
        reply_to,
    }
    .into()
}

fn accepted(donation: donations::Donation) -> Event {
    let donations::Donation {
        id,
        room,
        donor,
        donor_name,
        streamer,
        amount,
        message,
        donated_at,
        anonymous,
        held,
        denied,
        ..
    } = donation;
    let actor = Some(Actor {
        id: donor,
        name: donor_name,
        roles: Vec::new(),
    });
    DonationAccepted {
        id,
        at: donated_at,
        room,
        actor,
        streamer,
        amount,
        message: if denied { String::new() } else { message },
        key: String::new(),
        anonymous,
        held,
    }
    .into()
}
