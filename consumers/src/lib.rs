//! The only way off a topic: consume loops, reads of a range, replay.
//!
//! | file | holds |
//! |---|---|
//! | [`kafka`] | settings of the cluster; the topics are made here |
//! | [`cluster`] | the cluster as operators look at it |
//! | [`batch`] | what every loop gets: decoded records and how far they reach |
//! | [`feed`] | given partitions from given positions: gateway rooms, rebuilds, deciders' memory |
//! | [`group`] | partitions shared with other processes, positions from elsewhere: projections, deciders |
//! | [`erasures`] | of whom nothing is read any more, known before anything else is read |
//! | [`retention`] | how long topics are kept |
//! | `watchdog` | notices a consumer that stands still while its topic grows |
//! | [`mod@slice`] | which records of history, and where they stand |
//! | [`merge`], [`scan`] | a slice of history, merged into one deterministic order, decoded batch by batch |
//! | [`replay`] | the same, record by record |

pub mod batch;
pub mod cluster;
pub mod erasures;
pub mod feed;
pub mod group;
pub mod kafka;
mod merge;
pub mod replay;
pub mod retention;
pub mod scan;
pub mod slice;
mod watchdog;

pub use batch::{Batch, Consumed, Poison};
pub use feed::Feed;
pub use group::{Group, Step};
pub use kafka::{Kafka, Watermark, watermarks};
pub use replay::Replay;
pub use scan::Scan;
pub use slice::{Bound, Range, Selection, Who};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error("kafka at {brokers} does not answer ({source}); start it, or set kafka_brokers")]
    Unreachable {
        brokers: String,
        source: rdkafka::error::KafkaError,
    },
    #[error("topic {0} does not exist; `lemonair up` makes it")]
    NoTopic(String),
    #[error("topic {topic} has {found} partitions, the others have {expected}: they must be equal")]
    UnequalPartitions {
        topic: String,
        found: usize,
        expected: usize,
    },
    #[error(
        "the consumer of {topic}/{partition} stands still at {offset} while the topic has {end}"
    )]
    Stuck {
        topic: String,
        partition: i32,
        offset: i64,
        end: i64,
    },
    #[error("no event of lemonair.{0} is about a room: leave out that topic, or --room")]
    NoRoom(lemonair_schemas::Topic),
    #[error("start a thread: {0}")]
    Thread(std::io::Error),
    #[error("topic {topic} does not hold what was asked for: it was trimmed, or made anew")]
    Trimmed {
        topic: String,
        source: rdkafka::error::KafkaError,
    },
}
