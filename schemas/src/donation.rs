//! Donations, what a room asks of them, and what it shows of them: topic `lemonair.donations`, in one
//! order.

use serde::{Deserialize, Serialize};

use crate::event::event;
use crate::record::record;
use crate::{AccountId, EventId};

event! {
    /// Points went from the actor to the room's streamer. The event id is the donation's id.
    DonationAccepted of room {
        streamer: AccountId,
        /// Points, at least 1.
        amount: i64,
        message: String,
        /// The donor's idempotency key.
        key: String,
        /// Viewers are shown neither name nor id of the donor.
        anonymous: bool,
        /// The message waits for a moderator; the points do not.
        held: bool,
    }

    /// A donation, or a part of it, was given back; totals, goals and ranks lose as much.
    DonationRefunded of room {
        donation: EventId,
        donor: AccountId,
        streamer: AccountId,
        amount: i64,
        /// Points of the donation that are not given back.
        left: i64,
        /// As the donation was.
        anonymous: bool,
    }

    /// A moderator let a donation's held message through. It carries the message, so that whoever
    /// reads this event alone can show it.
    DonationMessageApproved of room {
        donation: EventId,
        /// Whose words they are.
        donor: AccountId,
        message: String,
    }

    /// A moderator kept a donation's held message from being seen.
    DonationMessageDenied of room {
        donation: EventId,
    }

    /// What a room asks of donations, and how it announces them, was changed; all fields are the new
    /// state.
    DonationSettingsChanged of room {
        /// Points of a donation, at least.
        minimum: i64,
        /// Donations are taken while there is no broadcast.
        accepts_offline: bool,
        review: Review,
        /// Points from which on a donation is announced on the overlay.
        alert_minimum: i64,
        /// How long an alert is shown.
        alert_ms: i64,
        /// Volume of an alert's sound, 0 to 100.
        alert_volume: i32,
    }

    /// A streamer set a goal for donations; the one before is over. The event id is the goal's id.
    GoalStarted of room {
        title: String,
        /// Points to reach.
        target: i64,
    }

    /// A goal is over.
    GoalClosed of room {
        goal: EventId,
    }

    /// An overlay began to show a donation's alert; it is not shown again by itself.
    AlertShown of room {
        donation: EventId,
    }

    /// A streamer or moderator told the room's overlays what to do.
    OverlayCued of room {
        action: Cue,
        /// What to show again.
        donation: Option<EventId>,
    }
}

record!(
    Donations, "donations":
    DonationAccepted, DonationRefunded, DonationMessageApproved, DonationMessageDenied,
    DonationSettingsChanged, GoalStarted, GoalClosed, AlertShown, OverlayCued,
);

/// Declares an enum of words. A string in Avro, so that a new word changes no schema.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        pub enum $name { $($(#[$word_doc])* $variant),+ }

        impl From<$name> for &'static str {
            fn from(word: $name) -> &'static str {
                match word { $($name::$variant => $word),+ }
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownWord;

            fn try_from(word: String) -> Result<$name, UnknownWord> {
                match word.as_str() {
                    $($word => Ok($name::$variant),)+
                    _ => Err(UnknownWord { word, known: &[$($word),+] }),
                }
            }
        }
    };
}

words! {
    /// Whose messages wait for a moderator.
    Review {
        None = "none",
        /// Those with what the chat blocks: words, and links where they are not allowed.
        Blocked = "blocked",
        All = "all",
    }
}

words! {
    /// What an overlay is told.
    Cue {
        /// The queue waits.
        Pause = "pause",
        Resume = "resume",
        /// What is shown now goes.
        Skip = "skip",
        /// A donation is shown again, or the last one.
        Replay = "replay",
        /// Something that is no donation is shown, to see how it looks.
        Test = "test",
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{word:?} is none of {}", known.join(", "))]
pub struct UnknownWord {
    word: String,
    known: &'static [&'static str],
}

/// What a room asks of donations: [`DonationSettingsChanged`] as a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DonationSettings {
    pub minimum: i64,
    pub accepts_offline: bool,
    pub review: Review,
    pub alert_minimum: i64,
    pub alert_ms: i64,
    pub alert_volume: i32,
}

// === impl DonationSettings ===

/// Everything is taken and shown.
impl Default for DonationSettings {
    fn default() -> DonationSettings {
        DonationSettings {
            minimum: 1,
            accepts_offline: true,
            review: Review::None,
            alert_minimum: 1,
            alert_ms: 8_000,
            alert_volume: 50,
        }
    }
}
