//! What every loop gets: decoded records, and how far they reach.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt;
use lemonair_schemas::codec::Last;
use lemonair_schemas::{Codec, Position, Records, Timestamp, Topic};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use crate::{Error, Kafka};

/// Records of one or more partitions, each partition in order.
#[derive(Debug)]
pub struct Batch<R> {
    pub records: Vec<Consumed<R>>,
    /// The consumer's position in every partition it has. It passes transaction markers, which are
    /// never delivered: "caught up" is a matter of this, not of the last record.
    pub next: Vec<Position>,
}

/// A record as it stood on its topic.
#[derive(Debug, Clone)]
pub struct Consumed<R> {
    pub position: Position,
    /// The record's own time in Kafka.
    pub at: Timestamp,
    pub key: Vec<u8>,
    /// As they stood on the topic, header and all.
    pub bytes: Vec<u8>,
    pub content: Result<R, Poison>,
}

/// Why a record cannot be decoded.
#[derive(Debug, Clone)]
pub struct Poison {
    pub cause: String,
}

/// How long a loop waits for records before it reports its positions all the same: not long where
/// some have just come, as a transaction's marker may follow; ever longer where nothing happens.
#[derive(Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(1);
}

impl Default for Patience {
    fn default() -> Patience {
        Patience(Patience::LEAST)
    }
}

/// Waits for records as long as `patience` says, and takes what is there, up to `max`.
pub(crate) async fn gather<R: Records, C: ConsumerContext + 'static>(
    consumer: &StreamConsumer<C>,
    kafka: &Kafka,
    codec: &Codec,
    max: usize,
    patience: &mut Patience,
) -> Result<Vec<Consumed<R>>, KafkaError> {
    let mut records = Vec::new();
    let Ok(first) = tokio::time::timeout(patience.0, consumer.recv()).await else {
        patience.0 = (patience.0 * 2).min(Patience::MOST);
        return Ok(records);
    };
    *patience = Patience::default();
    let mut last = Last::default();
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Ok(message) => records.extend(decode(&message, kafka, codec, &mut last).await),
            Err(error) if is_passing(&error) => tracing::warn!(%error, "kafka is not quite there"),
            Err(error) => return Err(error),
        }
        if records.len() >= max {
            break;
        }
        next = consumer.recv().now_or_never();
    }
    Ok(records)
}

/// Decodes a message, waiting while the registry is away: what it does not know yet is not poison.
pub(crate) async fn decode<R: Records>(
    message: &BorrowedMessage<'_>,
    kafka: &Kafka,
    codec: &Codec,
    last: &mut Last<R>,
) -> Option<Consumed<R>> {
    // A topic that is not ours was not asked for.
    let topic = Topic::from_kafka(message.topic(), &kafka.prefix)?;
    let position = Position {
        topic,
        partition: message.partition(),
        offset: message.offset(),
    };
    // A tombstone says that a compacted key is gone; on our other topics nothing writes any.
    let bytes = message.payload().unwrap_or_default();
    Some(Consumed {
        position,
        at: Timestamp(message.timestamp().to_millis().unwrap_or(0)),
        key: message.key().unwrap_or_default().to_vec(),
        bytes: bytes.to_vec(),
        content: read(position, bytes, codec, last).await,
    })
}

/// What `bytes` hold; waits while the registry is away.
pub(crate) async fn read<R: Records>(
    position: Position,
    bytes: &[u8],
    codec: &Codec,
    last: &mut Last<R>,
) -> Result<R, Poison> {
    let mut pause = Duration::from_millis(100);
    loop {
        match codec.decode_next(bytes, last).await {
            Ok(record) => return Ok(record),
            Err(error) if error.is_transient() => {
                tracing::warn!(?position, %error, "waiting for the registry");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => {
                return Err(Poison {
                    cause: error.to_string(),
                });
            }
        }
    }
}

/// The consumer's position in every partition of `list`; where nothing was consumed yet, its start.
pub(crate) fn positions<C: ConsumerContext + 'static>(
    consumer: &StreamConsumer<C>,
    kafka: &Kafka,
    start: &[Position],
) -> Result<Vec<Position>, Error> {
    let reached = consumer.position()?;
    let next = |start: &Position| {
        let name = start.topic.in_kafka(&kafka.prefix);
        let offset = match reached
            .find_partition(&name, start.partition)
            .map(|found| found.offset())
        {
            Some(Offset::Offset(offset)) => offset.max(start.offset),
            _ => start.offset,
        };
        Position { offset, ..*start }
    };
    Ok(start.iter().map(next).collect())
}

pub(crate) fn list(kafka: &Kafka, positions: &[Position]) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let name = position.topic.in_kafka(&kafka.prefix);
        list.add_partition_offset(&name, position.partition, Offset::Offset(position.offset))?;
    }
    Ok(list)
}

/// Whether the consumer goes on by itself after this error.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    !matches!(error, KafkaError::MessageConsumptionFatal(_))
        && !is_trimmed(error)
        && !is_missing(error)
        && error.rdkafka_error_code() != Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}

/// The error in our words. Kafka does not say which of the topics it means.
pub(crate) fn fatal(error: KafkaError, kafka: &Kafka, reading: &[Position]) -> Error {
    let topics: BTreeSet<String> = reading
        .iter()
        .map(|position| position.topic.in_kafka(&kafka.prefix))
        .collect();
    let topic = Vec::from_iter(topics).join(" or ");
    if is_trimmed(&error) {
        Error::Trimmed {
            topic,
            source: error,
        }
    } else if is_missing(&error) {
        Error::NoTopic(topic)
    } else {
        Error::Kafka(error)
    }
}

fn is_trimmed(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

fn is_missing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
