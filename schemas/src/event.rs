//! One enum over all events, and the JSON form in which the outside sees them.

use serde_json::{Map, Value};

use crate::account::{
    AccountRegistered, PasswordChanged, RoleGranted, SessionClosed, SessionOpened,
};
use crate::channel::{
    ChannelFollowed, ChannelOpened, ChannelUnfollowed, ChannelUpdated, OverlayKeyRotated,
    StreamKeyIssued, StreamKeyRevoked,
};
use crate::chat::{
    ChatCleared, ChatSettingsChanged, HeldMessageApproved, HeldMessageDenied, MemberBanned,
    MemberTimedOut, MemberUnbanned, MessageDeleted, MessageHeld, MessagePinned, MessagePosted,
    MessageUnpinned, ModeratorAdded, ModeratorRemoved, TimeoutLifted,
};
use crate::donation::{
    AlertShown, DonationAccepted, DonationMessageApproved, DonationMessageDenied, DonationRefunded,
    DonationSettingsChanged, GoalClosed, GoalStarted, OverlayCued,
};
use crate::erasure::{self, AccountErased};
use crate::ledger::EntryPosted;
use crate::presence::ViewersCounted;
use crate::record::records;
use crate::stream::{StreamEnded, StreamInterrupted, StreamResumed, StreamStarted};
use crate::{AccountId, Actor, EventId, GatewayId, RoomId, Timestamp};

/// What an event is about; the key of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Room(RoomId),
    Account(AccountId),
    Gateway(GatewayId),
}

/// Declares event structs. Every event has `id`, `at`, who did it, and what it is about
/// (`room`, `account` or `gateway`) beside its own fields.
macro_rules! event {
    (@subject room) => { $crate::RoomId };
    (@subject account) => { $crate::AccountId };
    (@subject gateway) => { $crate::GatewayId };
    ($(
        $(#[$doc:meta])*
        $name:ident of $subject:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            pub id: $crate::EventId,
            pub at: $crate::Timestamp,
            pub $subject: $crate::event::event!(@subject $subject),
            /// `None` when the system did it.
            pub actor: Option<$crate::Actor>,
            $($(#[$field_doc])* pub $field: $type),*
        }
    )+};
}
pub(crate) use event;

/// Declares [`Event`]: each variant, its outside type name, and what it is about.
macro_rules! all_events {
    ($($name:ident($kind:literal) of $subject:ident),+ $(,)?) => {
        records! {
            /// Any event.
            pub enum Event { $($name($name)),+ }
            erased by erasure::erase
        }

        impl Event {
            /// The name under which the outside knows this kind of event, such as `chat.message`.
            pub fn kind(&self) -> &'static str {
                match self { $(Event::$name(_) => $kind),+ }
            }

            pub fn id(&self) -> EventId {
                match self { $(Event::$name(event) => event.id),+ }
            }

            pub fn at(&self) -> Timestamp {
                match self { $(Event::$name(event) => event.at),+ }
            }

            pub fn actor(&self) -> Option<&Actor> {
                match self { $(Event::$name(event) => event.actor.as_ref()),+ }
            }

            pub(crate) fn actor_mut(&mut self) -> Option<&mut Actor> {
                match self { $(Event::$name(event) => event.actor.as_mut()),+ }
            }

            pub(crate) fn room_mut(&mut self) -> Option<&mut RoomId> {
                match self { $(Event::$name(event) => all_events!(@room_mut $subject event)),+ }
            }

            pub fn subject(&self) -> Subject {
                match self { $(Event::$name(event) => all_events!(@subject $subject event)),+ }
            }

            fn fields(&self) -> serde_json::Result<Value> {
                match self { $(Event::$name(event) => serde_json::to_value(event)),+ }
            }
        }
    };
    (@subject room $event:ident) => { Subject::Room($event.room.clone()) };
    (@subject account $event:ident) => { Subject::Account($event.account) };
    (@subject gateway $event:ident) => { Subject::Gateway($event.gateway) };
    (@room_mut room $event:ident) => { Some(&mut $event.room) };
    (@room_mut account $event:ident) => {{ let _ = $event; None }};
    (@room_mut gateway $event:ident) => {{ let _ = $event; None }};
}

all_events! {
    MessagePosted("chat.message") of room,
    MessageDeleted("chat.deleted") of room,
    MessageHeld("chat.held") of room,
    HeldMessageApproved("chat.approved") of room,
    HeldMessageDenied("chat.denied") of room,
    MessagePinned("chat.pinned") of room,
    MessageUnpinned("chat.unpinned") of room,
    ChatCleared("chat.cleared") of room,
    ChatSettingsChanged("chat.settings") of room,
    MemberBanned("member.banned") of room,
    MemberUnbanned("member.unbanned") of room,
    MemberTimedOut("member.timed_out") of room,
    TimeoutLifted("member.timeout_lifted") of room,
    ModeratorAdded("moderator.added") of room,
    ModeratorRemoved("moderator.removed") of room,
    DonationAccepted("donation.accepted") of room,
    DonationRefunded("donation.refunded") of room,
    DonationMessageApproved("donation.approved") of room,
    DonationMessageDenied("donation.denied") of room,
    DonationSettingsChanged("donation.settings") of room,
    GoalStarted("goal.started") of room,
    GoalClosed("goal.closed") of room,
    AlertShown("alert.shown") of room,
    OverlayCued("overlay.cued") of room,
    StreamStarted("stream.started") of room,
    StreamInterrupted("stream.interrupted") of room,
    StreamResumed("stream.resumed") of room,
    StreamEnded("stream.ended") of room,
    ChannelOpened("channel.opened") of room,
    ChannelUpdated("channel.updated") of room,
    StreamKeyIssued("channel.stream_key_issued") of room,
    StreamKeyRevoked("channel.stream_key_revoked") of room,
    OverlayKeyRotated("channel.overlay_key_rotated") of room,
    ChannelFollowed("channel.followed") of room,
    ChannelUnfollowed("channel.unfollowed") of room,
    AccountRegistered("account.registered") of account,
    PasswordChanged("account.password_changed") of account,
    RoleGranted("account.role_granted") of account,
    SessionOpened("session.opened") of account,
    SessionClosed("session.closed") of account,
    EntryPosted("ledger.posted") of account,
    AccountErased("account.erased") of account,
    ViewersCounted("viewers.counted") of gateway,
}

/// Fields that no reader outside has a use for.
const PRIVATE: [&str; 5] = ["password_hash", "email", "hash", "key", "origin"];

impl Event {
    /// The record's key: what the event is about.
    pub fn key(&self) -> String {
        match self.subject() {
            Subject::Room(room) => room.to_string(),
            Subject::Account(account) => account.to_string(),
            Subject::Gateway(gateway) => gateway.to_string(),
        }
    }

    /// The room that it is about, if it is about one.
    pub fn room(&self) -> Option<RoomId> {
        match self.subject() {
            Subject::Room(room) => Some(room),
            Subject::Account(_) | Subject::Gateway(_) => None,
        }
    }

    /// Whether it says how many watch the room, among others.
    pub fn counts(&self, room: &RoomId) -> bool {
        matches!(self, Event::ViewersCounted(counted)
            if counted.anew || counted.rooms.iter().any(|one| one.room == *room))
    }

    /// The JSON form, as on the WebSocket and in `lemonair replay`: `type`, `id`, `at`, `from`, then
    /// the event's own fields. Absent fields are left out, secrets always.
    pub fn json(&self) -> Map<String, Value> {
        let mut json = Map::new();
        json.insert("type".to_owned(), self.kind().into());
        // Our own structs have string keys and finite numbers: they always serialise.
        let Ok(Value::Object(fields)) = self.fields() else {
            return json;
        };
        for (name, value) in fields {
            if value.is_null() || PRIVATE.contains(&name.as_str()) {
                continue;
            }
            let name = if name == "actor" {
                "from".to_owned()
            } else {
                name
            };
            json.insert(name, value);
        }
        json
    }
}
