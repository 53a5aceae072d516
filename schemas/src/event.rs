//! One enum over all events, and the JSON form in which the outside sees them.

use serde_json::Map;

use crate::account::{
    AccountRegistered, DisplayNameChosen, OperatorActed, PasswordChanged, RoleGranted,
    SessionClosed, SessionOpened,
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
use crate::field::{Column, Mask, Value, is_private};
use crate::ledger::EntryPosted;
use crate::presence::ViewersCounted;
use crate::record::{Schema, records};
use crate::stream::{
    RecordingBegun, RecordingDeleted, RecordingKept, StreamEnded, StreamInterrupted, StreamResumed,
    StreamStarted,
};
use crate::{AccountId, Actor, EventId, GatewayId, Record, RoomId, Timestamp, Topic};

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

        impl $name {
            pub(crate) const COLUMNS: &'static [$crate::field::Column] = &[
                ("id", <$crate::EventId as $crate::field::Field>::TYPE),
                ("at", <$crate::Timestamp as $crate::field::Field>::TYPE),
                (
                    stringify!($subject),
                    <$crate::event::event!(@subject $subject) as $crate::field::Field>::TYPE,
                ),
                ("actor", <$crate::Actor as $crate::field::Field>::TYPE),
                $((stringify!($field), <$type as $crate::field::Field>::TYPE)),*
            ];

            pub(crate) fn each<'a>(
                &'a self,
                take: &mut impl FnMut(&'static str, $crate::field::Value<'a>),
            ) {
                use $crate::field::Field;
                take("id", self.id.value());
                take("at", self.at.value());
                take(stringify!($subject), self.$subject.value());
                take("actor", self.actor.value());
                $(if const { !$crate::field::is_private(stringify!($field)) } {
                    take(stringify!($field), self.$field.value());
                })*
            }

            pub(crate) fn mask(&mut self, mask: &dyn $crate::field::Mask) {
                use $crate::field::Field;
                self.$subject.mask(stringify!($subject), mask);
                self.actor.mask("actor", mask);
                $(self.$field.mask(stringify!($field), mask);)*
            }
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
            /// Every kind of event.
            pub const KINDS: &'static [&'static str] = &[$($kind),+];

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

            /// Hands each field to `take`, private ones left out.
            pub fn each<'a>(&'a self, take: &mut impl FnMut(&'static str, Value<'a>)) {
                match self { $(Event::$name(event) => event.each(take)),+ }
            }

            /// Lets `mask` at what is personal or private.
            pub fn mask(&mut self, mask: &dyn Mask) {
                match self { $(Event::$name(event) => event.mask(mask)),+ }
            }

            /// Its schema, as it is today.
            pub fn schema(&self) -> Schema {
                match self { $(Event::$name(_) => Schema {
                    topic: <$name as Record>::TOPIC,
                    name: <$name as Record>::NAME,
                    avsc: <$name as Record>::SCHEMA,
                }),+ }
            }

            /// The fields of the events on a topic, each once, private ones left out.
            pub fn columns(topic: Topic) -> Vec<Column> {
                let mut columns: Vec<Column> = Vec::new();
                $(if <$name as Record>::TOPIC == topic {
                    for column in $name::COLUMNS {
                        if !is_private(column.0) && !columns.contains(column) {
                            columns.push(*column);
                        }
                    }
                })+
                columns
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
    RecordingBegun("recording.begun") of room,
    RecordingKept("recording.kept") of room,
    RecordingDeleted("recording.deleted") of room,
    ChannelOpened("channel.opened") of room,
    ChannelUpdated("channel.updated") of room,
    StreamKeyIssued("channel.stream_key_issued") of room,
    StreamKeyRevoked("channel.stream_key_revoked") of room,
    OverlayKeyRotated("channel.overlay_key_rotated") of room,
    ChannelFollowed("channel.followed") of room,
    ChannelUnfollowed("channel.unfollowed") of room,
    AccountRegistered("account.registered") of account,
    DisplayNameChosen("account.display_name_chosen") of account,
    PasswordChanged("account.password_changed") of account,
    RoleGranted("account.role_granted") of account,
    OperatorActed("operator.acted") of account,
    SessionOpened("session.opened") of account,
    SessionClosed("session.closed") of account,
    EntryPosted("ledger.posted") of account,
    AccountErased("account.erased") of account,
    ViewersCounted("viewers.counted") of gateway,
}

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
    pub fn json(&self) -> Map<String, serde_json::Value> {
        let mut json = Map::new();
        json.insert("type".to_owned(), self.kind().into());
        self.each(&mut |name, value| {
            // Our own values have string keys and finite numbers: they always serialise.
            if value != Value::None
                && let Ok(value) = serde_json::to_value(value)
            {
                json.insert(outside(name).to_owned(), value);
            }
        });
        json
    }

    /// Appends the members of [`Event::json`] to an object that is being written, without building it.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"type\":\"");
        out.extend_from_slice(self.kind().as_bytes());
        out.push(b'"');
        self.each(&mut |name, value| {
            if value == Value::None {
                return;
            }
            out.extend_from_slice(b",\"");
            out.extend_from_slice(outside(name).as_bytes());
            out.extend_from_slice(b"\":");
            if serde_json::to_writer(&mut *out, &value).is_err() {
                out.extend_from_slice(b"null");
            }
        });
    }
}

/// The field's name in JSON.
fn outside(field: &'static str) -> &'static str {
    if field == "actor" { "from" } else { field }
}
