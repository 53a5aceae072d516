//! What is written on the topics: events, commands and answers, their Avro schemas and wire format.
//!
//! | file | holds |
//! |---|---|
//! | [`topic`] | the fixed set of topics |
//! | [`id`], [`time`] | ids, room names, time stamps |
//! | [`chat`], [`donation`], [`stream`], [`channel`], [`account`], [`ledger`], [`presence`] | the events of one topic each |
//! | [`command`], [`decider`] | what deciders read, answer and remember |
//! | [`event`] | one enum over all events, and their JSON form |
//! | [`erasure`] | who was erased, and what that leaves of an event |
//! | [`field`] | the fields of events, one by one: for tables, and for masking names |
//! | [`frame`] | what goes over a viewer's connection in Avro |
//! | [`record`] | how a Rust type is tied to its `.avsc` file |
//! | [`container`] | Avro files |
//! | [`registry`], [`codec`] | the schema registry, and Confluent's wire format |

pub mod account;
pub mod channel;
pub mod chat;
pub mod codec;
pub mod command;
pub mod container;
pub mod decider;
pub mod donation;
pub mod erasure;
pub mod event;
pub mod field;
pub mod frame;
pub mod id;
pub mod ledger;
pub mod presence;
pub mod record;
pub mod registry;
pub mod stream;
pub mod time;
pub mod topic;

pub use codec::{Codec, DecodeError, EncodeError};
pub use erasure::Erased;
pub use event::Event;
pub use id::{AccountId, EventId, GatewayId, RoomId, SessionId};
pub use record::{Actor, Position, Record, Records};
pub use registry::Registry;
pub use time::Timestamp;
pub use topic::Topic;
