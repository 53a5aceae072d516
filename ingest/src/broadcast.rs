//! The life of a broadcast: started, interrupted, resumed, ended. Plain decisions, no clock, no I/O.
//!
//! **Invariant:** each broadcast tells exactly one start and one end, the end last.

use std::time::Duration;

use lemonair_schemas::EventId;
use tokio::time::Instant;

/// What a room's publishers made of it. One broadcast after another, at most one at a time.
#[derive(Debug)]
pub struct Broadcast {
    grace: Duration,
    longest: Duration,
    state: State,
    /// When what is on air has lasted long enough. `None`: never.
    over_at: Option<Instant>,
}

/// A connection that publishes; counted up in each room.
pub type PublisherId = u64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Off,
    Live {
        stream: EventId,
        publisher: PublisherId,
    },
    /// The publisher's line dropped; until then it may come back.
    Interrupted {
        stream: EventId,
        until: Instant,
    },
    /// The process is stopping.
    Closed,
}

/// What is to be told, and done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Tell {
        stream: EventId,
        what: What,
    },
    /// The publisher's connection is to be closed.
    Dismiss(PublisherId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Started,
    Interrupted,
    Resumed,
    Ended(Reason),
}

/// Why a broadcast ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The streamer stopped it.
    Unpublished,
    /// The line dropped, and nobody came back in time.
    TimedOut,
    ShutDown,
    /// The stream key was revoked.
    Revoked,
    /// It was in a codec that cannot be packaged.
    Unsupported,
    /// It sent more than is allowed.
    TooMuch,
    /// It lasted as long as is allowed.
    TooLong,
}

/// How a publisher went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// The broadcast is over.
    Over(Reason),
    /// Without a word.
    Lost,
}

/// The process is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

// === impl Broadcast ===

impl Broadcast {
    pub fn new(grace: Duration, longest: Duration) -> Broadcast {
        Broadcast {
            grace,
            longest,
            state: State::Off,
            over_at: None,
        }
    }

    /// Takes up one that an earlier run left open: its publisher may come back.
    pub fn take_up(&mut self, stream: EventId, now: Instant) {
        let until = now + self.grace;
        self.state = State::Interrupted { stream, until };
        // When it began is not known here.
        self.over_at = now.checked_add(self.longest);
    }

    /// A publisher with the room's key is there. `fresh` becomes the broadcast's id if it is a new one.
    pub fn publish(
        &mut self,
        publisher: PublisherId,
        fresh: EventId,
        now: Instant,
    ) -> Result<Vec<Effect>, Closed> {
        let (stream, effects) = match self.state {
            State::Off => {
                self.over_at = now.checked_add(self.longest);
                (fresh, vec![tell(fresh, What::Started)])
            }
            // Viewers need not know that an encoder was replaced.
            State::Live {
                stream,
                publisher: old,
            } => (stream, vec![Effect::Dismiss(old)]),
            State::Interrupted { stream, .. } => (stream, vec![tell(stream, What::Resumed)]),
            State::Closed => return Err(Closed),
        };
        self.state = State::Live { stream, publisher };
        Ok(effects)
    }

    /// A publisher is gone. Only the latest one matters.
    pub fn farewell(&mut self, publisher: PublisherId, how: Farewell, now: Instant) -> Vec<Effect> {
        let State::Live {
            stream,
            publisher: current,
        } = self.state
        else {
            return Vec::new();
        };
        if publisher != current {
            return Vec::new();
        }
        match how {
            Farewell::Over(reason) => self.end(stream, reason),
            Farewell::Lost => {
                self.state = State::Interrupted {
                    stream,
                    until: now + self.grace,
                };
                vec![tell(stream, What::Interrupted)]
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Vec<Effect> {
        if self.over_at.is_some_and(|over_at| over_at <= now) {
            return self.dismiss(Reason::TooLong);
        }
        match self.state {
            State::Interrupted { stream, until } if until <= now => {
                self.end(stream, Reason::TimedOut)
            }
            _ => Vec::new(),
        }
    }

    /// The key of the latest publisher is good no longer.
    pub fn revoke(&mut self) -> Vec<Effect> {
        self.dismiss(Reason::Revoked)
    }

    /// It was ended by somebody else's word: there is nothing to tell.
    pub fn lapse(&mut self) -> Vec<Effect> {
        let effects = match self.state {
            State::Live { publisher, .. } => vec![Effect::Dismiss(publisher)],
            State::Closed => return Vec::new(),
            State::Off | State::Interrupted { .. } => Vec::new(),
        };
        self.state = State::Off;
        self.over_at = None;
        effects
    }

    /// The process is stopping: no broadcast outlives it.
    pub fn close(&mut self) -> Vec<Effect> {
        let effects = self.dismiss(Reason::ShutDown);
        self.state = State::Closed;
        effects
    }

    /// What is on air.
    pub fn stream(&self) -> Option<EventId> {
        match self.state {
            State::Live { stream, .. } | State::Interrupted { stream, .. } => Some(stream),
            State::Off | State::Closed => None,
        }
    }

    /// When [`Broadcast::tick`] will have something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let gives_up = match self.state {
            State::Interrupted { until, .. } => Some(until),
            _ => None,
        };
        gives_up.into_iter().chain(self.over_at).min()
    }

    pub fn is_off(&self) -> bool {
        matches!(self.state, State::Off | State::Closed)
    }

    /// Ends what is on air, whether its publisher is there or not.
    fn dismiss(&mut self, reason: Reason) -> Vec<Effect> {
        match self.state {
            State::Off | State::Closed => Vec::new(),
            State::Live { stream, publisher } => {
                let mut effects = vec![Effect::Dismiss(publisher)];
                effects.extend(self.end(stream, reason));
                effects
            }
            State::Interrupted { stream, .. } => self.end(stream, reason),
        }
    }

    fn end(&mut self, stream: EventId, reason: Reason) -> Vec<Effect> {
        self.state = State::Off;
        self.over_at = None;
        vec![tell(stream, What::Ended(reason))]
    }
}

fn tell(stream: EventId, what: What) -> Effect {
    Effect::Tell { stream, what }
}

// === impl Reason ===

impl Reason {
    /// As the topic says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Unpublished => "unpublished",
            Reason::TimedOut => "timed_out",
            Reason::ShutDown => "shut_down",
            Reason::Revoked => "revoked",
            Reason::Unsupported => "unsupported",
            Reason::TooMuch => "too_much",
            Reason::TooLong => "too_long",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(600);

    fn stream(n: u64) -> EventId {
        EventId(Uuid::from_u128(n.into()))
    }

    #[test]
    fn a_line_that_drops_and_comes_back() {
        let now = Instant::now();
        let mut broadcast = Broadcast::new(GRACE, LONGEST);
        assert_eq!(
            broadcast.publish(1, stream(1), now),
            Ok(vec![tell(stream(1), What::Started)])
        );
        assert_eq!(
            broadcast.farewell(1, Farewell::Lost, now),
            [tell(stream(1), What::Interrupted)]
        );
        assert_eq!(broadcast.deadline(), Some(now + GRACE));
        assert_eq!(broadcast.tick(now + GRACE - Duration::from_millis(1)), []);
        assert_eq!(
            broadcast.publish(2, stream(2), now),
            Ok(vec![tell(stream(1), What::Resumed)])
        );
        assert_eq!(broadcast.tick(now + GRACE), []);
        assert_eq!(
            broadcast.farewell(2, Farewell::Over(Reason::Unpublished), now),
            [tell(stream(1), What::Ended(Reason::Unpublished))]
        );
        assert_eq!(
            broadcast.publish(3, stream(3), now),
            Ok(vec![tell(stream(3), What::Started)])
        );
    }

    #[test]
    fn a_line_that_drops_and_does_not() {
        let now = Instant::now();
        let mut broadcast = Broadcast::new(GRACE, LONGEST);
        broadcast.publish(1, stream(1), now).unwrap();
        broadcast.farewell(1, Farewell::Lost, now);
        assert_eq!(
            broadcast.tick(now + GRACE),
            [tell(stream(1), What::Ended(Reason::TimedOut))]
        );
        assert_eq!(broadcast.tick(now + GRACE), []);
    }

    #[test]
    fn a_second_encoder_takes_over_in_silence() {
        let now = Instant::now();
        let mut broadcast = Broadcast::new(GRACE, LONGEST);
        broadcast.publish(1, stream(1), now).unwrap();
        assert_eq!(
            broadcast.publish(2, stream(2), now),
            Ok(vec![Effect::Dismiss(1)])
        );
        assert_eq!(
            broadcast.farewell(1, Farewell::Over(Reason::Unpublished), now),
            []
        );
        assert_eq!(broadcast.farewell(1, Farewell::Lost, now), []);
        assert_eq!(
            broadcast.close(),
            [
                Effect::Dismiss(2),
                tell(stream(1), What::Ended(Reason::ShutDown))
            ]
        );
        assert_eq!(broadcast.publish(3, stream(3), now), Err(Closed));
    }

    #[test]
    fn one_that_lasts_too_long_is_over_whoever_came_back() {
        let now = Instant::now();
        let mut broadcast = Broadcast::new(GRACE, LONGEST);
        broadcast.publish(1, stream(1), now).unwrap();
        broadcast.farewell(1, Farewell::Lost, now);
        let later = now + GRACE / 2;
        broadcast.publish(2, stream(2), later).unwrap();
        assert_eq!(broadcast.deadline(), Some(now + LONGEST));
        assert_eq!(
            broadcast.tick(now + LONGEST),
            [
                Effect::Dismiss(2),
                tell(stream(1), What::Ended(Reason::TooLong))
            ]
        );
        assert_eq!(broadcast.deadline(), None);
        broadcast.publish(3, stream(3), now + LONGEST).unwrap();
        assert_eq!(broadcast.deadline(), Some(now + 2 * LONGEST));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish,
        Farewell(PublisherId, Farewell),
        Revoke,
        Wait(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let how = prop_oneof![
            Just(Farewell::Over(Reason::Unpublished)),
            Just(Farewell::Over(Reason::Unsupported)),
            Just(Farewell::Lost),
            Just(Farewell::Lost)
        ];
        prop_oneof![
            Just(Step::Publish),
            (0u64..4, how).prop_map(|(back, how)| Step::Farewell(back, how)),
            Just(Step::Revoke),
            (0u64..90).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn one_start_and_one_end_whatever_happens(steps in proptest::collection::vec(any_step(), 0..60)) {
            let mut now = Instant::now();
            let mut broadcast = Broadcast::new(GRACE, LONGEST);
            let mut publishers = 0;
            let mut told = Vec::new();
            for step in steps {
                let effects = match step {
                    Step::Publish => {
                        publishers += 1;
                        broadcast.publish(publishers, stream(publishers), now).unwrap()
                    }
                    Step::Farewell(back, how) => {
                        broadcast.farewell(publishers.saturating_sub(back), how, now)
                    }
                    Step::Revoke => broadcast.revoke(),
                    Step::Wait(seconds) => {
                        now += Duration::from_secs(seconds);
                        broadcast.tick(now)
                    }
                };
                told.extend(effects);
            }
            told.extend(broadcast.close());
            prop_assert!(broadcast.is_off());

            let mut open = None;
            let mut quiet = false;
            let mut seen = std::collections::HashSet::new();
            for effect in told {
                let Effect::Tell { stream, what } = effect else { continue };
                match what {
                    What::Started => {
                        prop_assert_eq!(open.replace(stream), None);
                        prop_assert!(seen.insert(stream), "started twice");
                        quiet = false;
                    }
                    What::Interrupted => {
                        prop_assert_eq!(open, Some(stream));
                        prop_assert!(!std::mem::replace(&mut quiet, true));
                    }
                    What::Resumed => {
                        prop_assert_eq!(open, Some(stream));
                        prop_assert!(std::mem::replace(&mut quiet, false));
                    }
                    What::Ended(_) => prop_assert_eq!(open.take(), Some(stream)),
                }
            }
            prop_assert_eq!(open, None, "never ended");
        }
    }
}
