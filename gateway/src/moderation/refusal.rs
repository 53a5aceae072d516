//! Why a message is not taken, and when it would be.

use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("you are banned from this room")]
    Banned,
    /// For so much longer.
    #[error("you are timed out for another {}", Span(*.0))]
    TimedOut(Duration),
    #[error("slow mode: you may write again in {}", Span(*.0))]
    SlowMode(Duration),
    #[error("only followers may chat: follow the channel{}", Afterwards(*.0))]
    NotFollowing(Duration),
    #[error(
        "only who has followed for {} may chat; {} to go",
        Span(*needed),
        Span(*missing)
    )]
    FollowsTooShort { needed: Duration, missing: Duration },
    #[error("that was just said; say something else")]
    Duplicate,
    #[error("only emotes may be sent")]
    EmoteOnly,
    #[error("the message has a word that is not allowed here")]
    BlockedWord,
    #[error("links are not allowed here")]
    Links,
    #[error("too many messages wait for a moderator; try again later")]
    ReviewFull,
}

/// A time as people say it.
struct Span(Duration);

struct Afterwards(Duration);

// === impl Refusal ===

impl Refusal {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Banned => "banned",
            Refusal::TimedOut(_) => "timed_out",
            Refusal::SlowMode(_) => "slow_mode",
            Refusal::NotFollowing(_) | Refusal::FollowsTooShort { .. } => "followers_only",
            Refusal::Duplicate => "duplicate",
            Refusal::EmoteOnly => "emote_only",
            Refusal::BlockedWord => "blocked_word",
            Refusal::Links => "links",
            Refusal::ReviewFull => "review_full",
        }
    }

    /// After how long the same message may pass, where waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::TimedOut(rest) | Refusal::SlowMode(rest) => Some(*rest),
            Refusal::FollowsTooShort { missing, .. } => Some(*missing),
            Refusal::ReviewFull => Some(Duration::from_secs(10)),
            _ => None,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never "0 s" while there is something left.
        let seconds = self.0.as_millis().div_ceil(1000);
        let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
        let parts: Vec<String> = units
            .iter()
            .scan(seconds, |rest, (size, unit)| {
                let count = *rest / size;
                *rest %= size;
                Some((count, unit))
            })
            .filter(|(count, _)| *count > 0)
            .take(2)
            .map(|(count, unit)| format!("{count} {unit}"))
            .collect();
        match parts.is_empty() {
            true => f.write_str("0 s"),
            false => f.write_str(&parts.join(" ")),
        }
    }
}

impl fmt::Display for Afterwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return Ok(());
        }
        write!(f, ", then wait {}", Span(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_it_takes() {
        let ms = Duration::from_millis;
        for (refusal, text) in [
            (
                Refusal::TimedOut(ms(598_001)),
                "you are timed out for another 9 min 59 s",
            ),
            (
                Refusal::SlowMode(ms(1)),
                "slow mode: you may write again in 1 s",
            ),
            (
                Refusal::NotFollowing(ms(0)),
                "only followers may chat: follow the channel",
            ),
            (
                Refusal::NotFollowing(ms(600_000)),
                "only followers may chat: follow the channel, then wait 10 min",
            ),
            (
                Refusal::FollowsTooShort {
                    needed: ms(90_000_000),
                    missing: ms(3_600_000),
                },
                "only who has followed for 1 d 1 h may chat; 1 h to go",
            ),
        ] {
            assert_eq!(refusal.to_string(), text);
        }
    }
}
