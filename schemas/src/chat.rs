//! What is said in rooms, and what moderators make of it: topic `lemonair.chat`, in one order.

use serde::{Deserialize, Serialize};

use crate::event::event;
use crate::record::record;
use crate::{AccountId, Actor, EventId, Timestamp};

event! {
    /// Somebody said something in a room.
    MessagePosted of room {
        text: String,
        /// The client's own mark; a resend with the same nonce is the same message.
        nonce: Option<String>,
        /// The message that this one answers. Whose that is and what it says is not told again: it may
        /// have to be forgotten.
        reply_to: Option<EventId>,
    }

    /// A moderator or the author took a message away.
    MessageDeleted of room {
        message: EventId,
    }

    /// Somebody said something that waits for a moderator; only its author and moderators see it.
    MessageHeld of room {
        text: String,
        nonce: Option<String>,
        reply_to: Option<EventId>,
    }

    /// A moderator let a held message through. It carries the message, so that whoever reads this
    /// event alone can show it.
    HeldMessageApproved of room {
        /// Event id of the held message, which goes on being the message's id.
        message: EventId,
        author: Actor,
        text: String,
        nonce: Option<String>,
        reply_to: Option<EventId>,
    }

    /// A moderator kept a held message from being seen.
    HeldMessageDenied of room {
        message: EventId,
        /// Whose message it was.
        account: AccountId,
        name: String,
    }

    /// A message stays in view for everybody; the one before it no longer does.
    MessagePinned of room {
        message: EventId,
        author: Option<Actor>,
        text: String,
    }

    /// The pinned message no longer stays in view.
    MessageUnpinned of room {
        message: EventId,
    }

    /// All messages so far were taken away: those of one account, or everybody's.
    ChatCleared of room {
        account: Option<AccountId>,
        name: Option<String>,
    }

    /// The rules for messages were changed; all fields are the new state.
    ChatSettingsChanged of room {
        /// Time between two messages of one account; zero for none.
        slow_mode_ms: i64,
        /// Only who has followed for so long may chat; `None` where everybody may.
        followers_only_ms: Option<i64>,
        /// No message may say what was just said.
        unique_messages: bool,
        emote_only: bool,
        blocked_words: Vec<String>,
        links_allowed: bool,
        /// Messages wait for a moderator.
        hold_for_review: bool,
    }

    /// An account may no longer join the room.
    MemberBanned of room {
        account: AccountId,
        name: String,
        reason: Option<String>,
    }

    /// A ban was taken back.
    MemberUnbanned of room {
        account: AccountId,
        name: String,
    }

    /// An account may not chat in the room for a while.
    MemberTimedOut of room {
        account: AccountId,
        name: String,
        until: Timestamp,
        reason: Option<String>,
    }

    /// A time-out was taken back before its time.
    TimeoutLifted of room {
        account: AccountId,
        name: String,
    }

    /// An account may moderate the room.
    ModeratorAdded of room {
        account: AccountId,
        name: String,
    }

    /// An account may no longer moderate the room.
    ModeratorRemoved of room {
        account: AccountId,
        name: String,
    }
}

record!(
    Chat, "chat":
    MessagePosted, MessageDeleted, MessageHeld, HeldMessageApproved, HeldMessageDenied,
    MessagePinned, MessageUnpinned, ChatCleared, ChatSettingsChanged, MemberBanned,
    MemberUnbanned, MemberTimedOut, TimeoutLifted, ModeratorAdded, ModeratorRemoved,
);

/// What a room's chat asks of messages: [`ChatSettingsChanged`] as a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSettings {
    pub slow_mode_ms: i64,
    pub followers_only_ms: Option<i64>,
    pub unique_messages: bool,
    pub emote_only: bool,
    pub blocked_words: Vec<String>,
    pub links_allowed: bool,
    pub hold_for_review: bool,
}

// === impl MessagePosted ===

/// A message that was held until now: said where it was let through.
impl From<&HeldMessageApproved> for MessagePosted {
    fn from(event: &HeldMessageApproved) -> MessagePosted {
        MessagePosted {
            id: event.message,
            at: event.at,
            room: event.room.clone(),
            actor: Some(event.author.clone()),
            text: event.text.clone(),
            nonce: event.nonce.clone(),
            reply_to: event.reply_to,
        }
    }
}

// === impl ChatSettings ===

/// Everybody may say anything.
impl Default for ChatSettings {
    fn default() -> ChatSettings {
        ChatSettings {
            slow_mode_ms: 0,
            followers_only_ms: None,
            unique_messages: false,
            emote_only: false,
            blocked_words: Vec::new(),
            links_allowed: true,
            hold_for_review: false,
        }
    }
}

impl From<&ChatSettingsChanged> for ChatSettings {
    fn from(event: &ChatSettingsChanged) -> ChatSettings {
        ChatSettings {
            slow_mode_ms: event.slow_mode_ms,
            followers_only_ms: event.followers_only_ms,
            unique_messages: event.unique_messages,
            emote_only: event.emote_only,
            blocked_words: event.blocked_words.clone(),
            links_allowed: event.links_allowed,
            hold_for_review: event.hold_for_review,
        }
    }
}
