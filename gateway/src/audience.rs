//! Who of a room's viewers sees more than the rest. Everybody shares one frame; only while there is
//! something that not everybody sees, those few who do get a frame of their own in its place, shared
//! among the moderators, so that each has the room's order without a gap and without a repeat.

use std::collections::HashMap;
use std::sync::Arc;

use lemonair_schemas::AccountId;

use crate::frame::Events;
use crate::moderation::{Moderation, Rank};
use crate::view::{Few, View};

/// Who a connection stands for in a room, as their token says.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    pub account: AccountId,
    pub rank: Rank,
}

/// Connections that stand for somebody.
#[derive(Debug, Default)]
pub(crate) struct Audience(HashMap<u64, Member>);

// === impl Member ===

impl Member {
    /// Whether they see what is not for everybody.
    pub(crate) fn sees_aside(&self, view: &View, moderation: &Moderation) -> bool {
        match view.few {
            Few::Overlays => self.rank == Rank::Overlay,
            _ => view.confidant() == Some(self.account) || self.moderates(moderation),
        }
    }

    fn moderates(&self, moderation: &Moderation) -> bool {
        moderation.rank(self.account, self.rank) > Rank::Viewer
    }
}

// === impl Audience ===

impl Audience {
    pub(crate) fn enter(&mut self, connection: u64, member: Option<Member>) {
        match member {
            Some(member) => self.0.insert(connection, member),
            None => self.0.remove(&connection),
        };
    }

    pub(crate) fn leave(&mut self, connection: u64) {
        self.0.remove(&connection);
    }

    pub(crate) fn of(&self, account: AccountId) -> impl Iterator<Item = u64> {
        let theirs = move |(_, member): &(&u64, &Member)| member.account == account;
        self.0
            .iter()
            .filter(theirs)
            .map(|(connection, _)| *connection)
    }

    /// Connections of an account that may not be in the room.
    pub(crate) fn barred<'a>(
        &'a self,
        moderation: &'a Moderation,
    ) -> impl Iterator<Item = u64> + 'a {
        let barred = |member: &Member| moderation.bars(member.account, member.rank);
        self.0
            .iter()
            .filter(move |(_, member)| barred(member))
            .map(|(connection, _)| *connection)
    }

    /// Frames for those who see more of these events than everybody.
    pub(crate) fn frames(
        &self,
        room: &str,
        cursor: &str,
        fresh: &[View],
        moderation: &Moderation,
    ) -> HashMap<u64, Arc<Events>> {
        let mut frames = HashMap::new();
        if fresh.iter().all(|view| view.aside.is_empty()) {
            return frames;
        }
        let (mut of_moderators, mut of_overlays) = (None, None);
        for (connection, member) in &self.0 {
            let sees = |view: &View| member.sees_aside(view, moderation);
            if !fresh
                .iter()
                .any(|view| !view.aside.is_empty() && sees(view))
            {
                continue;
            }
            let encode = || encode(room, cursor, fresh, sees);
            let frame = if member.moderates(moderation) {
                of_moderators.get_or_insert_with(encode).clone()
            } else if member.rank == Rank::Overlay {
                of_overlays.get_or_insert_with(encode).clone()
            } else {
                encode()
            };
            frames.insert(*connection, frame);
        }
        frames
    }
}

fn encode(room: &str, cursor: &str, fresh: &[View], close: impl Fn(&View) -> bool) -> Arc<Events> {
    let parts: Vec<&Arc<str>> = fresh
        .iter()
        .flat_map(|view| view.parts(close(view)))
        .collect();
    Arc::new(Events::of(room, cursor, &parts))
}

#[cfg(test)]
pub(crate) mod tests;
