//! How many watch at other gateways, as those tell. A fold without I/O and without a clock.

use std::collections::HashMap;
use std::time::Duration;

use lemonair_schemas::presence::ViewersCounted;
use lemonair_schemas::{GatewayId, Position, RoomId, Timestamp};

/// A gateway that has nothing to tell tells that, so that it goes on being counted.
pub const HEARTBEAT: Duration = Duration::from_secs(3);
/// Who was not heard for so long is not counted: its machine is gone, or cut off.
pub const SILENCE: Duration = Duration::from_secs(10);
/// Each gateway tells all it has in its first record of a minute. So far back, and a little, reads
/// who has just started.
pub const MINUTE: Duration = Duration::from_secs(60);
/// What a gateway told is remembered for so long, should it be heard again.
const MEMORY: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub struct Presence {
    own: GatewayId,
    /// Where the topic ended when this gateway started: what stands before was told in the past.
    ends: HashMap<i32, i64>,
    others: HashMap<GatewayId, Other>,
    /// The sum over all who are counted.
    elsewhere: HashMap<RoomId, i64>,
}

#[derive(Debug, Default)]
struct Other {
    heard: Timestamp,
    counted: bool,
    rooms: HashMap<RoomId, i64>,
}

impl Presence {
    pub fn new(own: GatewayId, ends: impl IntoIterator<Item = Position>) -> Presence {
        Presence {
            own,
            ends: ends
                .into_iter()
                .map(|end| (end.partition, end.offset))
                .collect(),
            others: HashMap::new(),
            elsewhere: HashMap::new(),
        }
    }

    pub fn own(&self) -> GatewayId {
        self.own
    }

    /// Viewers of a room at other gateways.
    pub fn elsewhere(&self, room: &RoomId) -> usize {
        let viewers = self.elsewhere.get(room).copied().unwrap_or(0);
        usize::try_from(viewers).unwrap_or(0)
    }

    /// Takes in what a gateway tells, in the order of the topic.
    pub fn take(&mut self, position: Position, told: &ViewersCounted, now: Timestamp) {
        if told.gateway == self.own {
            return;
        }
        let end = self.ends.get(&position.partition).copied().unwrap_or(0);
        let heard = match position.offset < end {
            true => told.at.min(now),
            // Not by its own clock, which may be wrong.
            false => now,
        };
        let other = self.others.entry(told.gateway).or_default();
        other.heard = heard;
        if told.anew {
            other.count(false, &mut self.elsewhere);
            other.rooms.clear();
        }
        other.count(now.since(heard) < SILENCE, &mut self.elsewhere);
        for one in &told.rooms {
            let before = match one.viewers {
                ..=0 => other.rooms.remove(&one.room),
                viewers => other.rooms.insert(one.room.clone(), viewers),
            };
            if other.counted {
                let more = one.viewers.max(0) - before.unwrap_or(0);
                add(&mut self.elsewhere, &one.room, more);
            }
        }
    }

    /// No longer counts those who have fallen silent.
    pub fn expire(&mut self, now: Timestamp) {
        for other in self.others.values_mut() {
            if other.counted && now.since(other.heard) >= SILENCE {
                other.count(false, &mut self.elsewhere);
            }
        }
        self.others
            .retain(|_, other| now.since(other.heard) < MEMORY);
    }
}

impl Other {
    /// Puts what it told into the sums, or takes it out again.
    fn count(&mut self, counted: bool, sums: &mut HashMap<RoomId, i64>) {
        if self.counted == counted {
            return;
        }
        self.counted = counted;
        for (room, viewers) in &self.rooms {
            add(sums, room, if counted { *viewers } else { -viewers });
        }
    }
}

fn add(sums: &mut HashMap<RoomId, i64>, room: &RoomId, viewers: i64) {
    let sum = sums.entry(room.clone()).or_default();
    *sum += viewers;
    if *sum == 0 {
        sums.remove(room);
    }
}

#[cfg(test)]
mod tests;
