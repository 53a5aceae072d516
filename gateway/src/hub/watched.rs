//! How many watch: the hub tells its viewers, and other gateways through the topic. Nothing is told
//! for a join or a leave; each second, once, what has changed since.

use std::time::Duration;

use lemonair_schemas::presence::{RoomViewers, ViewersCounted};
use lemonair_schemas::{EventId, RoomId, Timestamp};
use tokio::time::MissedTickBehavior;

use super::{Hub, lock};
use crate::presence::{HEARTBEAT, MINUTE, SILENCE};

/// How often viewers and other gateways are told, at most.
const OFTEN: Duration = Duration::from_secs(1);
/// How long a room without viewers keeps its tail for those who refresh.
const LINGER: Duration = Duration::from_secs(120);
/// Rooms of one record, so that it stays far below the largest that Kafka takes.
const MOST_ROOMS: usize = 10_000;

/// From here on every gateway has told all that it has.
pub(super) fn lately() -> Timestamp {
    let back = MINUTE + SILENCE;
    Timestamp(Timestamp::now().millis() - i64::try_from(back.as_millis()).unwrap_or(0))
}

impl Hub {
    /// Viewers of a room, at all gateways.
    pub fn viewers(&self, id: &RoomId) -> usize {
        let here = self
            .entry(id)
            .map_or(0, |entry| lock(&entry.room).viewers());
        here + lock(&self.presence).elsewhere(id)
    }

    /// Tells viewers how many they are, for ever.
    pub(super) async fn tell_presence(&self) {
        let mut tick = tokio::time::interval(OFTEN);
        loop {
            tick.tick().await;
            self.tell_viewers(Timestamp::now());
        }
    }

    fn tell_viewers(&self, now: Timestamp) {
        lock(&self.presence).expire(now);
        self.rooms.retain(|id, entry| {
            let mut room = lock(&entry.room);
            let elsewhere = lock(&self.presence).elsewhere(id);
            room.tell_viewers(elsewhere, now);
            !room.close_if_empty(LINGER, now)
        });
        metrics::gauge!("lemonair_rooms").set(self.rooms.len() as f64);
    }

    /// Tells other gateways how many watch here, for ever.
    pub(super) async fn share_presence(&self) {
        let mut tick = tokio::time::interval(OFTEN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Timestamp> = None;
        loop {
            tick.tick().await;
            let now = Timestamp::now();
            let minute = |at: Timestamp| at.millis().div_euclid(MINUTE.as_millis() as i64);
            let anew = last.is_none_or(|last| minute(last) != minute(now));
            let rooms = self.count_viewers(anew);
            let quiet = last.is_some_and(|last| now.since(last) < HEARTBEAT);
            if rooms.is_empty() && !anew && quiet {
                continue;
            }
            last = match self.share(anew, rooms, now).await {
                Ok(()) => Some(now),
                Err(error) => {
                    // What was lost is told by the next one, which tells all.
                    tracing::warn!(%error, "tell how many watch");
                    None
                }
            };
        }
    }

    fn count_viewers(&self, anew: bool) -> Vec<RoomViewers> {
        let mut rooms = Vec::new();
        for entry in &self.rooms {
            if let Some(viewers) = lock(&entry.room).share_viewers(anew) {
                rooms.push(RoomViewers {
                    room: entry.key().clone(),
                    viewers: i64::try_from(viewers).unwrap_or(i64::MAX),
                });
            }
        }
        rooms
    }

    async fn share(
        &self,
        mut anew: bool,
        mut rooms: Vec<RoomViewers>,
        now: Timestamp,
    ) -> Result<(), lemonair_producers::Error> {
        loop {
            let rest = rooms.split_off(rooms.len().min(MOST_ROOMS));
            self.log.append(self.counted(anew, rooms, now)).await?;
            if rest.is_empty() {
                return Ok(());
            }
            (anew, rooms) = (false, rest);
        }
    }

    /// Tells that nobody watches here any more. Not waited for: whoever ends flushes the log.
    pub(super) fn sign_off(&self) {
        let none = self.counted(true, Vec::new(), Timestamp::now());
        if let Err(error) = self.log.enqueue(&none.into()).map(drop) {
            tracing::warn!(%error, "tell that nobody watches any more");
        }
    }

    fn counted(&self, anew: bool, rooms: Vec<RoomViewers>, at: Timestamp) -> ViewersCounted {
        ViewersCounted {
            id: EventId::new(),
            at,
            gateway: lock(&self.presence).own(),
            actor: None,
            anew,
            rooms,
        }
    }
}
