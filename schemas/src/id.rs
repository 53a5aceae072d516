//! Ids. All are UUIDv7, so that they sort by time; rooms go by their public name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, later than all before in this process.
            pub fn new() -> $name {
                $name(Uuid::now_v7())
            }

            /// No id that is made at that time or later comes before it.
            pub fn earliest(at: Timestamp) -> $name {
                let millis = u128::try_from(at.millis()).unwrap_or(0);
                $name(Uuid::from_u128(millis << 80))
            }

            /// The time in it, when it was made.
            pub fn at(self) -> Timestamp {
                let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |at| at.to_unix());
                let millis = seconds.saturating_mul(1000).saturating_add(u64::from(nanos / 1_000_000));
                Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<$name, uuid::Error> {
                text.parse().map($name)
            }
        }

        // A string in every format: peers' tools read ids without knowing our types.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a UUID")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

id! {
    /// An account.
    AccountId
}
id! {
    /// An event. A broadcast and a donation go by the event that began them.
    EventId
}
id! {
    /// A log-in.
    SessionId
}
id! {
    /// A gateway, from its start to its end.
    GatewayId
}

/// A room: the lower-case name of the account whose channel it is, as it stands in the address bar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(String);

#[derive(Debug, thiserror::Error)]
#[error(
    "a name has 2 to 24 of the characters A–Z, a–z, 0–9, _ and -, and starts with a letter or digit"
)]
pub struct BadName;

impl RoomId {
    /// How the rooms of the erased begin.
    pub const ERASED: &str = "erased-";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands for the name of an account that was erased, and for its room: the same wherever
    /// it is worked out, and different for any two accounts.
    pub fn of_erased(account: AccountId) -> RoomId {
        let text = account.0.simple().to_string();
        RoomId(format!("{}{}", RoomId::ERASED, &text[text.len() - 16..]))
    }

    /// Whether it begins like the room of somebody who was erased. No account may have such a name:
    /// it would own that room.
    pub fn is_pseudonym(&self) -> bool {
        self.0.starts_with(RoomId::ERASED)
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RoomId {
    type Err = BadName;

    /// Any spelling of a valid name; the room is its lower case.
    fn from_str(name: &str) -> Result<RoomId, BadName> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        let bytes = name.as_bytes();
        let well_formed = (2..=24).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes.iter().copied().all(plain);
        if !well_formed {
            return Err(BadName);
        }
        Ok(RoomId(name.to_ascii_lowercase()))
    }
}

// Avro's serializer takes a derived newtype for a record of one field.
impl Serialize for RoomId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RoomId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RoomId, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = RoomId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a room's name")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RoomId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl AccountId {
    /// No account: where something of an account is asked for and it has none.
    pub const NOBODY: AccountId = AccountId(Uuid::nil());
}
