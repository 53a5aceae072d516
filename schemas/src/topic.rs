//! The fixed set of topics: their number does not grow with rooms or accounts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A topic. Its name in Kafka is the deployment's prefix (`lemonair.` by default) and [`Topic::name`].
///
/// All have the same number of partitions and the same partitioner, so a room has one and the same
/// partition number in `chat`, `donations` and `streams`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// What is said in rooms. Keyed by room.
    Chat,
    /// Donations and refunds. Keyed by room.
    Donations,
    /// The life of broadcasts. Keyed by room.
    Streams,
    /// Channels, their stream keys and followers. Keyed by room.
    Channels,
    /// Accounts and their sessions. Keyed by account.
    Accounts,
    /// Every movement of points, as double entry. Keyed by the account whose wallet moves.
    Ledger,
    /// Who must no longer be read of. Keyed by account; few, and read before anything else.
    Erasures,
    /// How many watch each room, gateway by gateway. Keyed by gateway; kept for 90 days.
    Presence,
    /// What deciders are asked. Keyed by the account whose state decides.
    Commands,
    /// What deciders answered. Keyed by command; kept for a day.
    Answers,
    /// What deciders remember. Compacted; partition N belongs to partition N of `commands`.
    Decider,
}

impl Topic {
    pub const ALL: [Topic; 11] = [
        Topic::Chat,
        Topic::Donations,
        Topic::Streams,
        Topic::Channels,
        Topic::Accounts,
        Topic::Ledger,
        Topic::Erasures,
        Topic::Presence,
        Topic::Commands,
        Topic::Answers,
        Topic::Decider,
    ];

    /// Topics that hold the system of record: facts, in the past tense, never changed.
    pub const FACTS: [Topic; 7] = [
        Topic::Chat,
        Topic::Donations,
        Topic::Streams,
        Topic::Channels,
        Topic::Accounts,
        Topic::Ledger,
        Topic::Erasures,
    ];

    /// What happens in a room, as its viewers see it.
    pub const ROOM: [Topic; 3] = [Topic::Chat, Topic::Donations, Topic::Streams];

    /// Whether its records go by design when they are old.
    pub fn is_kept_for_a_while(self) -> bool {
        matches!(self, Topic::Presence | Topic::Commands | Topic::Answers)
    }

    pub fn name(self) -> &'static str {
        match self {
            Topic::Chat => "chat",
            Topic::Donations => "donations",
            Topic::Streams => "streams",
            Topic::Channels => "channels",
            Topic::Accounts => "accounts",
            Topic::Ledger => "ledger",
            Topic::Erasures => "erasures",
            Topic::Presence => "presence",
            Topic::Commands => "commands",
            Topic::Answers => "answers",
            Topic::Decider => "decider",
        }
    }

    /// The topic's name in Kafka.
    pub fn in_kafka(self, prefix: &str) -> String {
        format!("{prefix}{}", self.name())
    }

    /// The topic that a name in Kafka means, if it is one of this deployment.
    pub fn from_kafka(name: &str, prefix: &str) -> Option<Topic> {
        name.strip_prefix(prefix)?.parse().ok()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "no topic {0:?}; there are lemonair.chat, .donations, .streams, .channels, .accounts, .ledger, .erasures, .presence, .commands, .answers and .decider"
)]
pub struct UnknownTopic(String);

impl FromStr for Topic {
    type Err = UnknownTopic;

    /// Takes `chat` as well as `lemonair.chat`.
    fn from_str(name: &str) -> Result<Topic, UnknownTopic> {
        let short = name.strip_prefix("lemonair.").unwrap_or(name);
        Topic::ALL
            .into_iter()
            .find(|topic| topic.name() == short)
            .ok_or_else(|| UnknownTopic(name.to_owned()))
    }
}

// A string in Avro too, not one of its enums: a new topic then changes no schema.
impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Topic, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
