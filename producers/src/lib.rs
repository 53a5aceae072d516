//! The only way onto a topic: the idempotent log, and the decider that turns commands into events.
//!
//! | file | holds |
//! |---|---|
//! | [`log`] | appends events that need no decision: chat, broadcasts, channels |
//! | [`ask`] | sends a command and waits for its answer |
//! | [`decide`] | the rules: `decide(state, command) → events and answer`, one file a command |
//! | [`decider`] | the loop around them: a Kafka transaction for every batch of commands |
//! | [`producer`] | librdkafka's producer, and the thread that tells what became of each record |

pub mod ask;
pub mod decide;
pub mod decider;
pub mod log;
mod producer;

pub use ask::Desk;
pub use decider::Decider;
pub use log::Log;

use lemonair_schemas::EncodeError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The local queue is full: Kafka takes less than is offered.
    #[error("too much is waiting for kafka; try again in a moment")]
    Busy,
    /// Kafka did not say yes in time. The record may be there or not; a resend with the same nonce
    /// or idempotency key is safe.
    #[error("kafka did not confirm: {0}")]
    Unconfirmed(KafkaError),
    #[error("no decider answered in time; ask again with the same key")]
    Unanswered,
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Consume(#[from] lemonair_consumers::Error),
    #[error(
        "what the decider remembers at partition {partition}, offset {offset} cannot be read: {cause}"
    )]
    Memory {
        partition: i32,
        offset: i64,
        cause: String,
    },
    #[error("shutting down")]
    Stopped,
    #[error("the system has no thread left for a producer: {0}")]
    Thread(std::io::Error),
}

fn refused(error: KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => Error::Busy,
        _ => Error::Kafka(error),
    }
}
