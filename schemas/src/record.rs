//! How a Rust type is tied to its `.avsc` file.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, Datum, DecodeError, EncodeError};
use crate::{AccountId, Erased, Topic};

/// A type with a schema, on one topic.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    const TOPIC: Topic;
    /// Full name in Avro, such as `lemonair.chat.MessagePosted`.
    const NAME: &'static str;
    /// The `.avsc` file.
    const SCHEMA: &'static str;
}

/// The records that may stand side by side on a topic, as one enum.
pub trait Records: Sized + Send + 'static {
    const SCHEMAS: &'static [Schema];

    /// How the record called `name` is read, or `None` if this enum has no such record.
    fn reader(name: &str) -> Option<Read<Self>>;

    fn topic(&self) -> Topic;

    /// Takes away what is known of those who were erased; every reader gets records after this.
    fn erase(&mut self, _: &Erased) {}

    /// The record's bytes in Kafka: Confluent's header, then the datum.
    fn encode(&self, codec: &Codec) -> Result<Vec<u8>, EncodeError>;

    /// The datum without the header.
    fn datum(&self, codec: &Codec) -> Result<Vec<u8>, EncodeError>;
}

/// Makes a record of a datum.
pub type Read<R> = fn(Datum<'_>) -> Result<R, DecodeError>;

/// What is registered at start.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    pub topic: Topic,
    pub name: &'static str,
    pub avsc: &'static str,
}

/// Who did something, as known at that time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    pub id: AccountId,
    pub name: String,
    /// In this room: `streamer`, `moderator`, `operator`.
    pub roles: Vec<String>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
}

/// Ties structs to their `.avsc` files: `record!(Chat, "chat": MessagePosted, MessageDeleted);`
macro_rules! record {
    ($topic:ident, $folder:literal: $($name:ident),+ $(,)?) => {$(
        impl $crate::Record for $name {
            const TOPIC: $crate::Topic = $crate::Topic::$topic;
            const NAME: &'static str = concat!("lemonair.", $folder, ".", stringify!($name));
            const SCHEMA: &'static str =
                include_str!(concat!("../avro/", $folder, "/", stringify!($name), ".avsc"));
        }
    )+};
}

/// Makes an enum of records: `records! { pub enum Command { Donate(Donate), … } }`
macro_rules! records {
    (
        $(#[$doc:meta])* pub enum $enum:ident { $($name:ident($type:ty)),+ $(,)? }
        $(erased by $erase:path)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $enum {
            $($name($type)),+
        }

        impl $crate::Records for $enum {
            const SCHEMAS: &'static [$crate::record::Schema] = &[
                $($crate::record::Schema {
                    topic: <$type as $crate::Record>::TOPIC,
                    name: <$type as $crate::Record>::NAME,
                    avsc: <$type as $crate::Record>::SCHEMA,
                }),+
            ];

            fn reader(name: &str) -> Option<$crate::record::Read<$enum>> {
                $(if name == <$type as $crate::Record>::NAME {
                    return Some(|datum| datum.read::<$type>().map($enum::$name));
                })+
                None
            }

            fn topic(&self) -> $crate::Topic {
                match self { $($enum::$name(_) => <$type as $crate::Record>::TOPIC),+ }
            }

            $(fn erase(&mut self, erased: &$crate::Erased) {
                $erase(self, erased);
            })?

            fn encode(&self, codec: &$crate::Codec) -> Result<Vec<u8>, $crate::EncodeError> {
                match self { $($enum::$name(record) => codec.encode(record)),+ }
            }

            fn datum(&self, codec: &$crate::Codec) -> Result<Vec<u8>, $crate::EncodeError> {
                match self { $($enum::$name(record) => codec.datum(record)),+ }
            }
        }

        $(impl From<$type> for $enum {
            fn from(record: $type) -> $enum {
                $enum::$name(record)
            }
        })+
    };
}

pub(crate) use {record, records};
