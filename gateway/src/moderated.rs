//! A room's own moderation: loaded when the first member comes, followed from then on. Rooms where
//! nobody is logged in cost nothing.

use lemonair_schemas::{Event, Position, Topic};

use crate::moderation::Moderation;

/// Events that wait while the state before them is loaded; beyond, loading begins again from there.
const MOST_WAITING: usize = 5000;

#[derive(Debug, Default)]
pub enum Moderated {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// All before `from` is being loaded; what comes since waits.
    Loading { from: i64, since: Vec<(i64, Event)> },
    Known {
        moderation: Box<Moderation>,
        /// The first offset that is not in it.
        next: i64,
    },
}

// === impl Moderated ===

impl Moderated {
    pub fn known(&self) -> Option<&Moderation> {
        match self {
            Moderated::Known { moderation, .. } => Some(moderation),
            _ => None,
        }
    }

    pub fn known_mut(&mut self) -> Option<&mut Moderation> {
        match self {
            Moderated::Known { moderation, .. } => Some(moderation),
            _ => None,
        }
    }

    /// Takes in an event, in the order of the topic.
    pub fn take(&mut self, position: Position, event: &Event) {
        if position.topic != Topic::Chat {
            return;
        }
        match self {
            Moderated::Unknown => {}
            Moderated::Loading { from, since } => {
                if since.len() >= MOST_WAITING {
                    since.clear();
                    *from = position.offset;
                }
                since.push((position.offset, event.clone()));
            }
            Moderated::Known { moderation, next } => {
                if position.offset >= *next {
                    moderation.apply(event);
                    *next = position.offset + 1;
                }
            }
        }
    }

    /// Begins to load, given the next offset that the room will take: up to which offset the state is
    /// needed. `None` if it is there.
    pub fn begin(&mut self, next: i64) -> Option<i64> {
        if matches!(self, Moderated::Known { .. }) {
            return None;
        }
        let since = Vec::new();
        *self = Moderated::Loading { from: next, since };
        Some(next)
    }

    /// Hands in the state that was asked for: all before `next`, which is not before `from`. `false`
    /// if more has come meanwhile than could wait.
    pub fn finish(&mut self, from: i64, next: i64, mut moderation: Moderation) -> bool {
        let Moderated::Loading {
            from: needed,
            since,
        } = self
        else {
            return true;
        };
        if *needed != from {
            return false;
        }
        let mut reached = next.max(from);
        for (offset, event) in since.drain(..) {
            if offset >= reached {
                moderation.apply(&event);
                reached = offset + 1;
            }
        }
        *self = Moderated::Known {
            moderation: Box::new(moderation),
            next: reached,
        };
        true
    }
}
