//! The fields of events, one by one: what JSON and tables are made of, and where names are masked.

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::donation::{Cue, Review};
use crate::ledger::{Book, Kind, Posting};
use crate::presence::RoomViewers;
use crate::stream::Figures;
use crate::{AccountId, Actor, EventId, GatewayId, RoomId, SessionId, Timestamp};

/// A field's name and type.
pub type Column = (&'static str, Type);

/// What a field holds, as far as a table is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    Number,
    Flag,
    Time,
    Texts,
    Actor,
    Postings,
    Viewers,
    Figures,
}

/// What a field of one event holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    None,
    Text(&'a str),
    Id(Uuid),
    Number(i64),
    Flag(bool),
    Time(Timestamp),
    Texts(&'a [String]),
    Actor(&'a Actor),
    Postings(&'a [Posting]),
    Viewers(&'a [RoomViewers]),
    Figures(&'a Figures),
}

/// Replaces what tells who somebody is.
pub trait Mask {
    fn account(&self, account: &mut AccountId);
    fn name(&self, name: &mut String);
    fn room(&self, room: &mut RoomId);
    /// A field that no reader outside has a use for.
    fn private(&self, text: &mut String) {
        text.clear();
    }
}

/// A type that a field of an event may have.
pub trait Field {
    const TYPE: Type;

    fn value(&self) -> Value<'_>;

    /// Lets `mask` at what is personal or private in the field called `field`.
    fn mask(&mut self, _field: &str, _mask: &dyn Mask) {}
}

/// Fields that no reader outside has a use for.
const PRIVATE: [&str; 5] = ["password_hash", "email", "hash", "key", "origin"];

pub(crate) const fn is_private(field: &str) -> bool {
    let mut at = 0;
    while at < PRIVATE.len() {
        if equal(field.as_bytes(), PRIVATE[at].as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

/// `==` is not const yet, and this decides for each field while we compile.
const fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

// === impl Field ===

impl Field for String {
    const TYPE: Type = Type::Text;

    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }

    fn mask(&mut self, field: &str, mask: &dyn Mask) {
        if matches!(field, "name" | "display_name") {
            mask.name(self);
        } else if is_private(field) {
            mask.private(self);
        } else if field == "target"
            && let Ok(mut account) = self.parse()
        {
            // What operators act on may be somebody.
            mask.account(&mut account);
            *self = account.to_string();
        }
    }
}

impl Field for RoomId {
    const TYPE: Type = Type::Text;

    fn value(&self) -> Value<'_> {
        Value::Text(self.as_str())
    }

    fn mask(&mut self, _: &str, mask: &dyn Mask) {
        mask.room(self);
    }
}

impl Field for AccountId {
    const TYPE: Type = Type::Text;

    fn value(&self) -> Value<'_> {
        Value::Id(self.0)
    }

    fn mask(&mut self, _: &str, mask: &dyn Mask) {
        mask.account(self);
    }
}

impl Field for Actor {
    const TYPE: Type = Type::Actor;

    fn value(&self) -> Value<'_> {
        Value::Actor(self)
    }

    fn mask(&mut self, _: &str, mask: &dyn Mask) {
        mask.account(&mut self.id);
        mask.name(&mut self.name);
    }
}

impl Field for Vec<Posting> {
    const TYPE: Type = Type::Postings;

    fn value(&self) -> Value<'_> {
        Value::Postings(self)
    }

    fn mask(&mut self, _: &str, mask: &dyn Mask) {
        for posting in self {
            // The provider and the platform are nobody.
            if let Ok(mut account) = posting.account.parse() {
                mask.account(&mut account);
                posting.account = account.to_string();
            }
        }
    }
}

impl Field for Vec<RoomViewers> {
    const TYPE: Type = Type::Viewers;

    fn value(&self) -> Value<'_> {
        Value::Viewers(self)
    }

    fn mask(&mut self, _: &str, mask: &dyn Mask) {
        for one in self {
            mask.room(&mut one.room);
        }
    }
}

impl<T: Field> Field for Option<T> {
    const TYPE: Type = T::TYPE;

    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::None, T::value)
    }

    fn mask(&mut self, field: &str, mask: &dyn Mask) {
        if let Some(value) = self {
            value.mask(field, mask);
        }
    }
}

/// Types that tell nothing of anybody.
macro_rules! plain {
    ($($name:ty as $type:ident($this:ident => $value:expr)),+ $(,)?) => {$(
        impl Field for $name {
            const TYPE: Type = Type::$type;

            fn value(&self) -> Value<'_> {
                let $this = self;
                $value
            }
        }
    )+};
}

plain! {
    EventId as Text(id => Value::Id(id.0)),
    SessionId as Text(id => Value::Id(id.0)),
    GatewayId as Text(id => Value::Id(id.0)),
    Timestamp as Time(at => Value::Time(*at)),
    i64 as Number(number => Value::Number(*number)),
    i32 as Number(number => Value::Number(i64::from(*number))),
    bool as Flag(flag => Value::Flag(*flag)),
    Vec<String> as Texts(texts => Value::Texts(texts)),
    Kind as Text(kind => Value::Text(kind.name())),
    Book as Text(book => Value::Text(book.name())),
    Review as Text(review => Value::Text((*review).into())),
    Cue as Text(cue => Value::Text((*cue).into())),
    Figures as Figures(figures => Value::Figures(figures)),
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::None => serializer.serialize_none(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Id(id) => {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(id.as_hyphenated().encode_lower(&mut buffer))
            }
            Value::Number(number) => serializer.serialize_i64(*number),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            Value::Time(at) => at.serialize(serializer),
            Value::Texts(texts) => texts.serialize(serializer),
            Value::Actor(actor) => actor.serialize(serializer),
            Value::Postings(postings) => postings.serialize(serializer),
            Value::Viewers(rooms) => rooms.serialize(serializer),
            Value::Figures(figures) => figures.serialize(serializer),
        }
    }
}
