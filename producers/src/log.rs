//! Appends records: idempotent, acknowledged by all in-sync replicas, in order for each key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lemonair_consumers::Kafka;
use lemonair_schemas::command::Command;
use lemonair_schemas::{Codec, Event, Position, Records, Timestamp, Topic};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::sync::oneshot;

use crate::Error;
use crate::producer::{Delivered, Producer};

/// An idempotent producer. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    producer: Producer,
    codec: Arc<Codec>,
    prefix: Arc<str>,
}

/// A record in the queue; it is on Kafka once this resolves. Dropping it does not take it back.
#[must_use = "nothing is known until Kafka confirms"]
pub struct Pending {
    pub(crate) topic: Topic,
    pub(crate) delivery: oneshot::Receiver<Delivered>,
}

// === impl Log ===

impl Log {
    pub fn open(kafka: &Kafka, codec: Arc<Codec>) -> Result<Log, Error> {
        Ok(Log {
            producer: Producer::open(&config(kafka))?,
            codec,
            prefix: kafka.prefix.as_str().into(),
        })
    }

    /// Appends an event; the position is its place for ever.
    pub async fn append(&self, event: impl Into<Event>) -> Result<Position, Error> {
        self.enqueue(&event.into())?.confirmed().await
    }

    /// Puts an event into the queue at once, so that callers fix its order before they wait.
    pub fn enqueue(&self, event: &Event) -> Result<Pending, Error> {
        let bytes = event.encode(&self.codec)?;
        send(
            &self.producer,
            &self.prefix,
            event.topic(),
            &event.key(),
            &bytes,
            event.at(),
        )
    }

    pub(crate) fn enqueue_command(&self, command: &Command) -> Result<Pending, Error> {
        let bytes = command.encode(&self.codec)?;
        send(
            &self.producer,
            &self.prefix,
            Topic::Commands,
            &command.key(),
            &bytes,
            command.at(),
        )
    }

    /// Waits until the queue is empty, for a clean end.
    pub async fn flush(&self, deadline: Duration) -> Result<(), Error> {
        Ok(self
            .producer
            .blocking(move |producer| producer.flush(deadline))
            .await?)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What every producer starts from.
pub(crate) fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = kafka.client();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // As in Kafka's Java clients, so that all of them agree on a room's partition.
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "2")
        .set("message.timeout.ms", "10000")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536");
    config
}

pub(crate) fn send(
    producer: &Producer,
    prefix: &str,
    topic: Topic,
    key: &str,
    bytes: &[u8],
    at: Timestamp,
) -> Result<Pending, Error> {
    let name = topic.in_kafka(prefix);
    let record = BaseRecord::to(&name)
        .key(key)
        .payload(bytes)
        .timestamp(at.millis());
    producer.send(topic, record)
}

// === impl Pending ===

impl Pending {
    /// Resolves when all in-sync replicas have the record.
    pub async fn confirmed(self) -> Result<Position, Error> {
        match self.delivery.await {
            Ok(Ok((partition, offset))) => Ok(Position {
                topic: self.topic,
                partition,
                offset,
            }),
            Ok(Err(error)) => Err(Error::Unconfirmed(error)),
            Err(_) => Err(Error::Stopped),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({})", self.topic)
    }
}
