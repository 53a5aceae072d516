//! The records of many partitions in one deterministic order, still encoded: the thread behind a replay.
//!
//! Nothing of the order is in the records' content, so decoding is left to whoever takes the batches,
//! on another core.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lemonair_schemas::{Timestamp, Topic};
use rdkafka::ClientContext;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc::Sender;

use crate::kafka::TIMEOUT;
use crate::slice::{Range, Selection};
use crate::{Error, Kafka, batch};

/// Records that lie one behind the other in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    bytes: Vec<u8>,
    records: Vec<Raw>,
}

/// A record that is not decoded.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Which of the ranges it stands in.
    pub(crate) lane: usize,
    pub(crate) offset: i64,
    pub(crate) at: Timestamp,
    key: ops::Range<usize>,
    value: ops::Range<usize>,
}

/// What is read, and from where.
pub(crate) struct Merge {
    pub(crate) kafka: Kafka,
    pub(crate) selection: Selection,
    pub(crate) ranges: Vec<Range>,
    /// Counts what was read, wanted or not.
    pub(crate) read: Arc<AtomicU64>,
    /// How long a lane that is not at its end may give nothing.
    pub(crate) patience: Duration,
}

/// One partition.
struct Lane {
    index: usize,
    queue: PartitionQueue<Quiet>,
    range: Range,
}

/// The next record of a lane, by the fields that decide.
type Head<'a> = Reverse<Ordered<'a>>;

struct Ordered<'a> {
    by: (i64, Topic, i32, i64),
    lane: usize,
    message: BorrowedMessage<'a>,
}

/// Counts what was read, and tells of many at once: on every record, others would wait for ours.
struct Count<'a> {
    read: &'a AtomicU64,
    more: u64,
}

/// A batch is handed on when it holds so much.
const BATCH: usize = 256 * 1024;
const RECORDS: usize = 2048;

/// librdkafka's queues of all lanes together, in KiB.
const QUEUES: usize = 64 * 1024;

/// How often a thread that waits looks whether anybody still waits for it.
const LOOK: Duration = Duration::from_millis(100);

/// As long as the live loops wait until they take a new consumer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

// === impl Merged ===

impl Merged {
    pub(crate) fn records(&self) -> &[Raw] {
        &self.records
    }

    pub(crate) fn key(&self, raw: &Raw) -> &[u8] {
        &self.bytes[raw.key.clone()]
    }

    pub(crate) fn value(&self, raw: &Raw) -> &[u8] {
        &self.bytes[raw.value.clone()]
    }

    fn push(&mut self, lane: usize, at: Timestamp, message: &BorrowedMessage<'_>) {
        let key = self.append(message.key().unwrap_or_default());
        let value = self.append(message.payload().unwrap_or_default());
        self.records.push(Raw {
            lane,
            offset: message.offset(),
            at,
            key,
            value,
        });
    }

    fn append(&mut self, bytes: &[u8]) -> ops::Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH || self.records.len() >= RECORDS
    }
}

// === impl Merge ===

impl Merge {
    /// Merges until the ranges end or nobody listens any more.
    pub(crate) fn run(&self, out: Sender<Result<Merged, Error>>) {
        let consumer = match self.consumer() {
            Ok(consumer) => consumer,
            Err(error) => {
                out.blocking_send(Err(error.into())).ok();
                return;
            }
        };
        if let Err(error) = self.merge(&consumer, &out) {
            out.blocking_send(Err(error)).ok();
        }
        // Nobody needs to wait until the consumer has left its group.
        drop(out);
    }

    fn consumer(&self) -> KafkaResult<Arc<BaseConsumer<Quiet>>> {
        let queue = (QUEUES / self.ranges.len().max(1)).clamp(1024, 8192);
        let consumer = self
            .kafka
            .consumer()
            .set("enable.partition.eof", "true")
            // History is there already: at the end of a partition nothing is worth waiting for.
            .set("fetch.wait.max.ms", "10")
            .set("queued.max.messages.kbytes", queue.to_string())
            .create_with_context(Quiet)?;
        Ok(Arc::new(consumer))
    }

    fn merge(
        &self,
        consumer: &Arc<BaseConsumer<Quiet>>,
        out: &Sender<Result<Merged, Error>>,
    ) -> Result<(), Error> {
        let mut lanes = Vec::new();
        // Before the assignment: what came in between would be in the consumer's queue, lost to us.
        for (index, range) in self.ranges.iter().enumerate() {
            let name = range.topic.in_kafka(&self.kafka.prefix);
            let queue = consumer
                .split_partition_queue(&name, range.partition)
                .ok_or(Error::NoTopic(name))?;
            lanes.push(Lane {
                index,
                queue,
                range: *range,
            });
        }
        let starts: Vec<_> = self.ranges.iter().map(Range::start).collect();
        consumer.assign(&batch::list(&self.kafka, &starts)?)?;

        let mut heads: BinaryHeap<Head<'_>> = BinaryHeap::with_capacity(lanes.len());
        let mut batch = Merged::default();
        let mut count = Count {
            read: &self.read,
            more: 0,
        };
        for lane in &lanes {
            let start = lane.range.start;
            heads.extend(self.head(consumer, lane, start, &mut count, &mut batch, out)?);
        }
        while let Some(mut first) = heads.peek_mut() {
            let Ordered { by, lane, message } = &first.0;
            let (at, offset, lane) = (Timestamp(by.0), by.3, *lane);
            let Range { topic, end, .. } = lanes[lane].range;
            let key = message.key().unwrap_or_default();
            if self.selection.may_want(topic, key, at) {
                batch.push(lane, at, message);
            }
            if batch.is_full() && !hand_on(&mut batch, out) {
                return Ok(());
            }
            let next = if offset + 1 < end {
                let lane = &lanes[lane];
                self.head(consumer, lane, offset + 1, &mut count, &mut batch, out)?
            } else {
                None
            };
            match next {
                Some(next) => *first = next,
                None => _ = PeekMut::pop(first),
            }
        }
        hand_on(&mut batch, out);
        Ok(())
    }

    /// The lane's next record, at `next` or behind it, unless it is at its end. Hands on what is there
    /// before it waits.
    fn head<'a>(
        &self,
        consumer: &BaseConsumer<Quiet>,
        lane: &'a Lane,
        next: i64,
        count: &mut Count<'_>,
        batch: &mut Merged,
        out: &Sender<Result<Merged, Error>>,
    ) -> Result<Option<Head<'a>>, Error> {
        let Lane {
            index,
            queue,
            range,
        } = lane;
        let mut patience = Duration::ZERO;
        // Only while we wait for it: whoever takes the records may be as slow as they like.
        let mut waited = Duration::ZERO;
        loop {
            match queue.poll(patience) {
                Some(Ok(message)) => {
                    if message.offset() >= range.end {
                        return Ok(None);
                    }
                    count.add();
                    return Ok(Some(Reverse(Ordered {
                        by: (
                            time(&message).millis(),
                            range.topic,
                            range.partition,
                            message.offset(),
                        ),
                        lane: *index,
                        message,
                    })));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) if batch::is_passing(&error) => {}
                Some(Err(error)) => return Err(batch::fatal(error, &self.kafka, &[range.end()])),
                None if patience.is_zero() => patience = LOOK,
                None => {
                    waited += LOOK;
                    if waited >= self.patience {
                        self.judge(consumer, range, next)?;
                        waited = Duration::ZERO;
                    }
                    // Errors of the whole client come here.
                    if let Some(Err(error)) = consumer.poll(Duration::ZERO) {
                        tracing::warn!(%error, "kafka is not quite there");
                    }
                }
            }
            if !hand_on(batch, out) {
                return Ok(None);
            }
        }
    }

    /// Fails where the brokers answer and have more: fetchers have been seen to stop without an error.
    fn judge(&self, consumer: &BaseConsumer<Quiet>, range: &Range, next: i64) -> Result<(), Error> {
        let topic = range.topic.in_kafka(&self.kafka.prefix);
        match consumer.fetch_watermarks(&topic, range.partition, TIMEOUT) {
            Ok((_, end)) if next < end => Err(Error::Stuck {
                topic,
                partition: range.partition,
                offset: next,
                end,
            }),
            // At the end we are told so soon; brokers that are away hold everybody up.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

// === impl Count ===

impl Count<'_> {
    fn add(&mut self) {
        self.more += 1;
        if self.more == RECORDS as u64 {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let more = std::mem::take(&mut self.more);
        self.read.fetch_add(more, Ordering::Relaxed);
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Whether anybody still listens.
fn hand_on(batch: &mut Merged, out: &Sender<Result<Merged, Error>>) -> bool {
    if batch.records.is_empty() {
        return !out.is_closed();
    }
    let next = Merged {
        bytes: Vec::with_capacity(batch.bytes.len()),
        records: Vec::with_capacity(batch.records.len()),
    };
    out.blocking_send(Ok(std::mem::replace(batch, next)))
        .is_ok()
}

fn time(message: &BorrowedMessage<'_>) -> Timestamp {
    Timestamp(message.timestamp().to_millis().unwrap_or(0))
}

/// The end of a partition is what we wait for, not an error to log.
struct Quiet;

impl ConsumerContext for Quiet {}

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "kafka");
        }
    }
}

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.by.cmp(&other.by)
    }
}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.by == other.by
    }
}

impl Eq for Ordered<'_> {}

#[cfg(test)]
mod tests {
    use lemonair_testkit::{Cluster, within};
    use rdkafka::producer::{FutureProducer, FutureRecord};
    use tokio::sync::mpsc;

    use super::*;

    /// A partition paused behind its back is a fetcher that stopped without a word.
    #[tokio::test]
    async fn a_lane_that_stands_still_is_an_error() {
        let cluster = Cluster::start().await;
        let kafka = Kafka {
            brokers: cluster.kafka.brokers.clone(),
            prefix: cluster.kafka.prefix.clone(),
            ..Kafka::default()
        };
        let topic = Topic::Chat.in_kafka(&kafka.prefix);
        let producer: FutureProducer = kafka.client().create().unwrap();
        let record = FutureRecord::<str, str>::to(&topic)
            .partition(0)
            .payload("x");
        producer.send(record, TIMEOUT).await.unwrap();
        let range = Range {
            topic: Topic::Chat,
            partition: 0,
            start: 0,
            end: 1,
        };
        let merge = Merge {
            kafka,
            selection: Selection::of(&[Topic::Chat]),
            ranges: vec![range],
            read: Arc::default(),
            patience: Duration::ZERO,
        };
        let (out, merged) = mpsc::channel(1);
        let waiting = tokio::task::spawn_blocking(move || {
            let consumer = merge.consumer().unwrap();
            let queue = consumer.split_partition_queue(&topic, 0).unwrap();
            let starts = batch::list(&merge.kafka, &[range.start()]).unwrap();
            consumer.assign(&starts).unwrap();
            consumer.pause(&starts).unwrap();
            let lane = Lane {
                index: 0,
                queue,
                range,
            };
            let mut count = Count {
                read: &merge.read,
                more: 0,
            };
            let mut batch = Merged::default();
            let head = merge.head(&consumer, &lane, 0, &mut count, &mut batch, &out);
            head.map(|head| head.is_some())
        });
        let stuck = within("the lane", waiting).await.unwrap();
        assert!(
            matches!(
                stuck,
                Err(Error::Stuck {
                    partition: 0,
                    offset: 0,
                    end: 1,
                    ..
                })
            ),
            "{stuck:?}"
        );
        drop(merged);
    }
}
