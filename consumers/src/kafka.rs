//! The cluster: how to reach it, and which topics it must have.

use std::collections::BTreeMap;
use std::time::Duration;

use lemonair_schemas::{Position, Timestamp, Topic};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use rdkafka::topic_partition_list::Offset;
use serde::{Deserialize, Serialize};

use crate::Error;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Kafka {
    /// Comma-separated `host:port`.
    pub brokers: String,
    /// Stands before every topic, group and transactional id, so that deployments can share a cluster.
    pub prefix: String,
    /// Partitions of each topic, when they are made. All topics have the same number, for ever.
    pub partitions: i32,
    /// Copies of each partition, when topics are made.
    pub replication: i32,
    /// Anything else that librdkafka takes, such as `security.protocol`.
    pub options: BTreeMap<String, String>,
}

impl Default for Kafka {
    fn default() -> Kafka {
        Kafka {
            brokers: "127.0.0.1:9092".to_owned(),
            prefix: "lemonair.".to_owned(),
            partitions: 6,
            replication: 1,
            options: BTreeMap::new(),
        }
    }
}

/// What a partition holds: offsets from `low` up to, not including, `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    pub topic: Topic,
    pub partition: i32,
    pub low: i64,
    pub high: i64,
}

impl Watermark {
    pub fn start(&self) -> Position {
        Position {
            topic: self.topic,
            partition: self.partition,
            offset: self.low,
        }
    }

    pub fn end(&self) -> Position {
        Position {
            topic: self.topic,
            partition: self.partition,
            offset: self.high,
        }
    }
}

impl Kafka {
    /// What every client starts from.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "lemonair")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set_log_level(RDKafkaLogLevel::Warning);
        for (name, value) in &self.options {
            config.set(name, value);
        }
        config
    }

    /// What every consumer starts from. Its memory is bounded whatever the backlog.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", format!("{}reader", self.prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            // Noticed, not skipped over: whoever reads decides what lost history means.
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "8192")
            .set("queued.min.messages", "10000")
            .set("fetch.message.max.bytes", "1048576")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.error.backoff.ms", "50")
            .set("allow.auto.create.topics", "false");
        config
    }

    /// A consumer that asks about topics and reads none. It is in no group, which it would have to
    /// leave before it is gone.
    fn asker(&self) -> Result<BaseConsumer, Error> {
        let mut config = self.consumer();
        config.remove("group.id");
        Ok(config.create()?)
    }

    /// Makes the topics that are missing. Safe when many processes start at once.
    pub async fn ensure_topics(&self) -> Result<(), Error> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let names: Vec<String> = Topic::ALL
            .iter()
            .map(|topic| topic.in_kafka(&self.prefix))
            .collect();
        let new: Vec<NewTopic<'_>> = Topic::ALL
            .iter()
            .zip(&names)
            .map(|(topic, name)| {
                let replication = TopicReplication::Fixed(self.replication);
                settings(*topic).iter().fold(
                    NewTopic::new(name, self.partitions, replication),
                    |new, (key, value)| new.set(key, value),
                )
            })
            .collect();
        let options = AdminOptions::new()
            .operation_timeout(Some(TIMEOUT))
            .request_timeout(Some(TIMEOUT));
        let results = admin
            .create_topics(&new, &options)
            .await
            .map_err(|source| self.unreachable(source))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(KafkaError::AdminOp(code).into()),
            }
        }
        let this = self.clone();
        run_blocking(move || this.await_leaders()).await
    }

    /// A topic that was just made may have no leader yet.
    fn await_leaders(&self) -> Result<(), Error> {
        let consumer = self.asker()?;
        let deadline = std::time::Instant::now() + TIMEOUT;
        loop {
            match partitions(self, &consumer, &Topic::ALL) {
                Err(Error::NoTopic(_)) if std::time::Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                result => return result.map(|_| ()),
            }
        }
    }

    pub(crate) fn unreachable(&self, source: KafkaError) -> Error {
        Error::Unreachable {
            brokers: self.brokers.clone(),
            source,
        }
    }
}

/// The topics are the system of record: nothing is ever trimmed unless an operator says so.
pub(crate) fn settings(topic: Topic) -> &'static [(&'static str, &'static str)] {
    match topic {
        Topic::Answers => &[("retention.ms", "86400000")],
        Topic::Presence => &[("retention.ms", "7776000000")],
        Topic::Commands => &[("retention.ms", "604800000")],
        Topic::Decider => &[
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.2"),
        ],
        _ => &[("retention.ms", "-1"), ("retention.bytes", "-1")],
    }
}

/// What the partitions of `topics` hold now.
pub async fn watermarks(kafka: &Kafka, topics: &[Topic]) -> Result<Vec<Watermark>, Error> {
    let kafka = kafka.clone();
    let topics = topics.to_vec();
    run_blocking(move || {
        let consumer = kafka.asker()?;
        let mut marks = Vec::new();
        for (topic, count) in partitions(&kafka, &consumer, &topics)? {
            for partition in 0..count {
                let name = topic.in_kafka(&kafka.prefix);
                let (low, high) =
                    while_led(|| consumer.fetch_watermarks(&name, partition, TIMEOUT))
                        .map_err(|source| kafka.unreachable(source))?;
                marks.push(Watermark {
                    topic,
                    partition,
                    low,
                    high,
                });
            }
        }
        Ok(marks)
    })
    .await
}

/// The positions, moved on to where the topics begin now where those are kept for a while only. Of a
/// topic that is kept for ever, a record that is gone is history lost, and whoever reads says so.
pub async fn reachable(
    kafka: &Kafka,
    mut positions: Vec<Position>,
) -> Result<Vec<Position>, Error> {
    let asked = |position: &Position| position.topic.is_kept_for_a_while();
    let mut topics: Vec<Topic> = positions
        .iter()
        .filter(|position| asked(position))
        .map(|position| position.topic)
        .collect();
    topics.dedup();
    if topics.is_empty() {
        return Ok(positions);
    }
    for mark in watermarks(kafka, &topics).await? {
        for position in &mut positions {
            if (position.topic, position.partition) == (mark.topic, mark.partition) {
                position.offset = position.offset.max(mark.low);
            }
        }
    }
    Ok(positions)
}

/// For each partition, the first offset whose record is not older than `time`, or its end.
pub async fn offsets_at(
    kafka: &Kafka,
    marks: &[Watermark],
    time: Timestamp,
) -> Result<Vec<i64>, Error> {
    // An empty question is an error to librdkafka.
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    let kafka = kafka.clone();
    let marks = marks.to_vec();
    run_blocking(move || {
        let consumer = kafka.asker()?;
        let name = |mark: &Watermark| mark.topic.in_kafka(&kafka.prefix);
        let mut list = TopicPartitionList::with_capacity(marks.len());
        for mark in &marks {
            list.add_partition_offset(
                &name(mark),
                mark.partition,
                Offset::Offset(time.millis().max(0)),
            )?;
        }
        let found = while_led(|| consumer.offsets_for_times(list.clone(), TIMEOUT))?;
        let offset =
            |mark: &Watermark| match found.find_partition(&name(mark), mark.partition)?.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
        Ok(marks
            .iter()
            .map(|mark| offset(mark).unwrap_or(mark.high))
            .collect())
    })
    .await
}

/// Partitions of each topic; refuses a topic that is missing, leaderless or unlike the others.
fn partitions(
    kafka: &Kafka,
    consumer: &BaseConsumer,
    topics: &[Topic],
) -> Result<Vec<(Topic, i32)>, Error> {
    let mut expected = None;
    let mut counts = Vec::new();
    for &topic in topics {
        let name = topic.in_kafka(&kafka.prefix);
        let metadata = consumer
            .fetch_metadata(Some(&name), TIMEOUT)
            .map_err(|source| kafka.unreachable(source))?;
        let found = metadata
            .topics()
            .first()
            .map(|topic| topic.partitions())
            .unwrap_or_default();
        if found.is_empty() || found.iter().any(|partition| partition.leader() < 0) {
            return Err(Error::NoTopic(name));
        }
        let expected = *expected.get_or_insert(found.len());
        if found.len() != expected {
            return Err(Error::UnequalPartitions {
                topic: name,
                found: found.len(),
                expected,
            });
        }
        counts.push((topic, i32::try_from(found.len()).unwrap_or(i32::MAX)));
    }
    Ok(counts)
}

/// Asks again while a partition's leader is not yet, or no longer, who the metadata says.
fn while_led<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = std::time::Instant::now() + TIMEOUT;
    loop {
        let result = ask();
        let code = result
            .as_ref()
            .err()
            .and_then(KafkaError::rdkafka_error_code);
        let moving = matches!(
            code,
            Some(
                RDKafkaErrorCode::NotLeaderForPartition
                    | RDKafkaErrorCode::LeaderNotAvailable
                    | RDKafkaErrorCode::ReplicaNotAvailable
                    | RDKafkaErrorCode::FencedLeaderEpoch
                    | RDKafkaErrorCode::UnknownLeaderEpoch
                    | RDKafkaErrorCode::OffsetNotAvailable
                    | RDKafkaErrorCode::UnknownTopicOrPartition
            )
        );
        if !moving || std::time::Instant::now() >= deadline {
            return result;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Addresses of the brokers there are.
pub async fn brokers(kafka: &Kafka) -> Result<Vec<String>, Error> {
    let kafka = kafka.clone();
    run_blocking(move || {
        let consumer = kafka.asker()?;
        let metadata = consumer
            .fetch_metadata(None, TIMEOUT)
            .map_err(|source| kafka.unreachable(source))?;
        let address = |broker: &MetadataBroker| format!("{}:{}", broker.host(), broker.port());
        Ok(metadata.brokers().iter().map(address).collect())
    })
    .await
}

/// Kafka's own name for the cluster.
pub async fn cluster_id(kafka: &Kafka) -> Result<String, Error> {
    let kafka = kafka.clone();
    run_blocking(move || {
        let consumer = kafka.asker()?;
        let client = consumer.client();
        // Says why, if nobody answers.
        client
            .fetch_metadata(None, TIMEOUT)
            .map_err(|source| kafka.unreachable(source))?;
        Ok(client.fetch_cluster_id(TIMEOUT).unwrap_or_default())
    })
    .await
}

/// How many members a group has.
pub async fn members(kafka: &Kafka, group: &str) -> Result<usize, Error> {
    let (kafka, group) = (kafka.clone(), format!("{}{group}", kafka.prefix));
    run_blocking(move || {
        let consumer = kafka.asker()?;
        let groups = consumer
            .fetch_group_list(Some(&group), TIMEOUT)
            .map_err(|source| kafka.unreachable(source))?;
        let members = groups.groups().iter().map(|group| group.members().len());
        Ok(members.sum())
    })
    .await
}

/// librdkafka's metadata calls block.
pub(crate) async fn run_blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The partition of a key, as Kafka's Java clients and our producers choose it: murmur2 of the key.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    let positive = murmur2(key.as_bytes()) & 0x7fff_ffff;
    i32::try_from(positive % u32::try_from(partitions.max(1)).unwrap_or(1)).unwrap_or(0)
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(0);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    /// Values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash.cast_unsigned(), "{text}");
        }
    }
}
