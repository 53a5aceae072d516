//! What a room lets pass: a fold over its events, without I/O and without a clock.
//!
//! Every gateway folds the same events, so every gateway decides alike. Two messages sent through two
//! gateways in the same instant may both pass slow mode or the check for repeats, as neither gateway
//! has seen the other one's yet; through one gateway they do not.

mod refusal;
mod standing;
mod text;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use lemonair_projections::moderation::Snapshot;
use lemonair_schemas::chat::ChatSettings;
use lemonair_schemas::{AccountId, Event, EventId, Timestamp};

pub use refusal::Refusal;
pub use standing::Rank;
pub(crate) use text::folds_to_nothing;

use text::Words;

/// The longest time between two messages that slow mode may ask for.
pub const LONGEST_SLOW: Duration = Duration::from_secs(3600);
/// A message may be said again after so long.
const REPEAT: Duration = Duration::from_secs(600);
/// Messages that a repeat is looked for among.
const MOST_RECENT: usize = 1000;
/// Accounts whose last message is remembered; beyond, those who spoke longest ago are forgotten.
const MOST_SPEAKERS: usize = 10_000;
/// Messages of a room that may wait for a moderator; then nobody's are taken until some are decided.
pub const MOST_HELD: usize = 500;
/// Messages of one account that may wait.
pub const MOST_HELD_OF_ONE: usize = 20;

/// Bans, time-outs and moderators are bounded where they are made; the rest is bounded here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Moderation {
    settings: ChatSettings,
    words: Words,
    banned: HashSet<AccountId>,
    timed_out: HashMap<AccountId, Timestamp>,
    moderators: HashSet<AccountId>,
    held: HashMap<EventId, AccountId>,
    /// When each account last spoke.
    spoke: HashMap<AccountId, (Timestamp, EventId)>,
    /// What was said, folded and hashed, the oldest first.
    recent: VecDeque<Recent>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Recent {
    message: EventId,
    at: Timestamp,
    hash: u64,
}

/// Who wants to say something.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    pub account: AccountId,
    /// In this room, as far as their token tells; [`Moderation::rank`] knows the rest.
    pub rank: Rank,
    pub following_since: Option<Timestamp>,
}

/// What becomes of a message that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Post,
    /// It waits for a moderator.
    Hold,
}

// === impl Moderation ===

impl Moderation {
    /// As the read model knows it.
    pub fn restore(snapshot: Snapshot) -> Moderation {
        let Snapshot {
            next: _,
            settings,
            banned,
            timed_out,
            moderators,
            held,
        } = snapshot;
        Moderation {
            words: Words::new(&settings.blocked_words),
            settings,
            banned: banned.into_iter().collect(),
            timed_out: timed_out.into_iter().collect(),
            moderators: moderators.into_iter().collect(),
            held: held.into_iter().collect(),
            ..Moderation::default()
        }
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::MessagePosted(e) => {
                if let Some(author) = &e.actor {
                    self.note(e.id, author.id, &e.text, e.at);
                }
            }
            Event::MessageHeld(e) => {
                if let Some(author) = &e.actor {
                    self.note(e.id, author.id, &e.text, e.at);
                    // Gateways refuse more; two of them at once may be a few above.
                    if self.held.len() < 2 * MOST_HELD {
                        self.held.insert(e.id, author.id);
                    }
                }
            }
            Event::HeldMessageApproved(e) => {
                self.held.remove(&e.message);
            }
            Event::HeldMessageDenied(e) => {
                self.held.remove(&e.message);
            }
            Event::ChatCleared(e) => match e.account {
                Some(account) => self.held.retain(|_, author| *author != account),
                None => self.held.clear(),
            },
            Event::ChatSettingsChanged(e) => {
                self.settings = e.into();
                self.words = Words::new(&self.settings.blocked_words);
            }
            Event::MemberBanned(e) => {
                self.banned.insert(e.account);
                // Who is banned does not keep the keys.
                self.moderators.remove(&e.account);
            }
            Event::MemberUnbanned(e) => {
                self.banned.remove(&e.account);
            }
            Event::MemberTimedOut(e) => {
                self.timed_out.retain(|_, until| *until > e.at);
                self.timed_out.insert(e.account, e.until);
            }
            Event::TimeoutLifted(e) => {
                self.timed_out.remove(&e.account);
            }
            Event::ModeratorAdded(e) => {
                self.moderators.insert(e.account);
            }
            Event::ModeratorRemoved(e) => {
                self.moderators.remove(&e.account);
            }
            _ => {}
        }
    }

    /// Whether somebody may say this now.
    pub fn check(&self, actor: &Speaker, text: &str, now: Timestamp) -> Result<Verdict, Refusal> {
        if self.bars(actor.account, actor.rank) {
            return Err(Refusal::Banned);
        }
        // The streamer and operators are above a moderator's word.
        if actor.rank < Rank::Streamer
            && let Some(until) = self.timed_out.get(&actor.account)
            && *until > now
        {
            return Err(Refusal::TimedOut(until.since(now)));
        }
        if self.rank(actor.account, actor.rank) > Rank::Viewer {
            return Ok(Verdict::Post);
        }
        self.check_follow(actor, now)?;
        self.check_text(text)?;
        self.check_repeat(text, now)?;
        self.check_pace(actor.account, now)?;
        if !self.settings.hold_for_review {
            return Ok(Verdict::Post);
        }
        let own = self
            .held
            .values()
            .filter(|author| **author == actor.account);
        if self.held.len() >= MOST_HELD || own.count() >= MOST_HELD_OF_ONE {
            return Err(Refusal::ReviewFull);
        }
        Ok(Verdict::Hold)
    }

    fn check_follow(&self, actor: &Speaker, now: Timestamp) -> Result<(), Refusal> {
        let Some(age) = self.settings.followers_only_ms else {
            return Ok(());
        };
        let age = millis(age);
        let Some(since) = actor.following_since else {
            return Err(Refusal::NotFollowing(age));
        };
        let followed = now.since(since);
        if followed < age {
            return Err(Refusal::FollowsTooShort {
                needed: age,
                missing: age.saturating_sub(followed),
            });
        }
        Ok(())
    }

    fn check_text(&self, text: &str) -> Result<(), Refusal> {
        if self.settings.emote_only && !text::is_emotes(text) {
            return Err(Refusal::EmoteOnly);
        }
        if self.words.are_in(text) {
            return Err(Refusal::BlockedWord);
        }
        if !self.settings.links_allowed && text::has_link(text) {
            return Err(Refusal::Links);
        }
        Ok(())
    }

    fn check_repeat(&self, text: &str, now: Timestamp) -> Result<(), Refusal> {
        if !self.settings.unique_messages {
            return Ok(());
        }
        let hash = text::hash(text);
        let fresh = |recent: &&Recent| now.since(recent.at) < REPEAT;
        let repeats = |recent: &Recent| recent.hash == hash;
        if self.recent.iter().rev().take_while(fresh).any(repeats) {
            return Err(Refusal::Duplicate);
        }
        Ok(())
    }

    fn check_pace(&self, account: AccountId, now: Timestamp) -> Result<(), Refusal> {
        let pace = millis(self.settings.slow_mode_ms);
        let Some((last, _)) = self.spoke.get(&account) else {
            return Ok(());
        };
        let passed = now.since(*last);
        if passed < pace {
            return Err(Refusal::SlowMode(pace.saturating_sub(passed)));
        }
        Ok(())
    }

    /// Remembers that something was said: seen on the topic, or accepted here a moment ago.
    pub fn note(&mut self, message: EventId, account: AccountId, text: &str, at: Timestamp) {
        let last = self.spoke.entry(account).or_insert((at, message));
        if last.0 <= at {
            *last = (at, message);
        }
        if self.spoke.len() > MOST_SPEAKERS {
            self.forget_speakers();
        }
        // Accepted here, and now it comes back from the topic.
        if self
            .recent
            .iter()
            .rev()
            .any(|recent| recent.message == message)
        {
            return;
        }
        let hash = text::hash(text);
        self.recent.push_back(Recent { message, at, hash });
        if self.recent.len() > MOST_RECENT {
            self.recent.pop_front();
        }
    }

    /// A message that was accepted here never reached the topic, as far as anybody knows.
    pub fn take_back(&mut self, message: EventId) {
        self.recent.retain(|recent| recent.message != message);
        self.spoke.retain(|_, (_, last)| *last != message);
    }

    /// Half of them, so that it is seldom.
    fn forget_speakers(&mut self) {
        let mut times: Vec<Timestamp> = self.spoke.values().map(|(at, _)| *at).collect();
        let (_, middle, _) = times.select_nth_unstable(MOST_SPEAKERS / 2);
        let middle = *middle;
        self.spoke.retain(|_, (at, _)| *at > middle);
    }

    /// Whether they may not even be in the room. Nobody bans the streamer or an operator.
    pub fn bars(&self, account: AccountId, rank: Rank) -> bool {
        rank < Rank::Streamer && self.banned.contains(&account)
    }

    /// What they may do here, given what their token says.
    pub fn rank(&self, account: AccountId, rank: Rank) -> Rank {
        if self.bars(account, rank) {
            return Rank::Viewer;
        }
        if self.moderators.contains(&account) {
            return rank.max(Rank::Moderator);
        }
        rank
    }

    pub fn asks_to_follow(&self) -> bool {
        self.settings.followers_only_ms.is_some()
    }
}

/// Whether a text has what the room blocks, as a moderator should see it first.
pub(crate) fn blocks(settings: &ChatSettings, text: &str) -> bool {
    let words = Words::new(&settings.blocked_words);
    words.are_in(text) || (!settings.links_allowed && text::has_link(text))
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests;
