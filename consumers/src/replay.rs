//! A slice of history, merged over partitions and topics into one deterministic order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use lemonair_schemas::{Codec, Event, Position, RoomId, Timestamp, Topic};
use rdkafka::ClientContext;
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio_util::task::AbortOnDropHandle;

use crate::batch::{self, Consumed};
use crate::kafka::{Watermark, offsets_at, partition_of, watermarks};
use crate::{Error, Kafka, erasures};

/// What to replay.
#[derive(Debug, Clone)]
pub struct Selection {
    pub topics: Vec<Topic>,
    pub room: Option<RoomId>,
    /// Outside names of events, such as `chat.message`; empty means all.
    pub kinds: Vec<String>,
    pub from: Option<Bound>,
    /// Exclusive.
    pub to: Option<Bound>,
}

/// Where a slice begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Time(Timestamp),
    /// The same offset in every partition.
    Offset(i64),
}

/// A replay under way. Records come by record time, then topic, partition and offset; within a
/// partition always by offset. The end is fixed when it starts. Memory does not grow with history:
/// one record a partition is held, beside librdkafka's bounded queues.
pub struct Replay {
    kafka: Kafka,
    codec: Arc<Codec>,
    selection: Selection,
    lanes: Vec<Lane>,
    heads: BinaryHeap<Reverse<Head>>,
    /// Serves the consumer's events while its messages go to the lanes.
    _events: Option<AbortOnDropHandle<()>>,
}

/// One partition.
struct Lane {
    queue: StreamPartitionQueue<Quiet>,
    end: Position,
    /// Its last record was read.
    over: bool,
}

/// The next record of a lane; the fields in the order in which they decide.
struct Head {
    order: (Timestamp, Topic, i32, i64),
    lane: usize,
    record: Consumed<Event>,
}

impl Replay {
    pub async fn open(
        kafka: &Kafka,
        codec: Arc<Codec>,
        mut selection: Selection,
    ) -> Result<Replay, Error> {
        erasures::load(kafka, &codec).await?;
        // Two lanes of one partition would share its records between them.
        selection.topics.sort_unstable();
        selection.topics.dedup();
        let mut replay = Replay {
            kafka: kafka.clone(),
            codec,
            lanes: Vec::new(),
            heads: BinaryHeap::new(),
            _events: None,
            selection,
        };
        let ranges = replay.ranges().await?;
        if ranges.is_empty() {
            return Ok(replay);
        }
        let consumer: StreamConsumer<Quiet> = kafka
            .consumer()
            .set("enable.partition.eof", "true")
            // History is there already: at the end of a partition nothing is worth waiting for.
            .set("fetch.wait.max.ms", "10")
            .create_with_context(Quiet)?;
        let consumer = Arc::new(consumer);
        // Before the assignment: what came in between would be in the consumer's queue, lost to us.
        for (start, end) in &ranges {
            let name = start.topic.in_kafka(&kafka.prefix);
            let queue = consumer
                .split_partition_queue(&name, start.partition)
                .ok_or(Error::NoTopic(name))?;
            replay.lanes.push(Lane {
                queue,
                end: *end,
                over: false,
            });
        }
        let starts: Vec<Position> = ranges.iter().map(|(start, _)| *start).collect();
        consumer.assign(&batch::list(kafka, &starts)?)?;
        replay._events = Some(AbortOnDropHandle::new(tokio::spawn(serve(Arc::clone(
            &consumer,
        )))));
        for lane in 0..replay.lanes.len() {
            replay.refill(lane).await?;
        }
        Ok(replay)
    }

    /// The next record of the selection, decoded or not; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Consumed<Event>>, Error> {
        while let Some(Reverse(head)) = self.heads.pop() {
            self.refill(head.lane).await?;
            if self.selection.wants(&head.record) {
                return Ok(Some(head.record));
            }
        }
        Ok(None)
    }

    /// Where each partition begins and ends; partitions with nothing between are left out.
    async fn ranges(&self) -> Result<Vec<(Position, Position)>, Error> {
        let marks = watermarks(&self.kafka, &self.selection.topics).await?;
        let partitions = marks
            .iter()
            .map(|mark| mark.partition + 1)
            .max()
            .unwrap_or(1);
        let only = self
            .selection
            .room
            .as_ref()
            .map(|room| partition_of(room.as_str(), partitions));
        let marks: Vec<Watermark> = marks
            .into_iter()
            // A gateway's count of all its rooms stands on one partition.
            .filter(|mark| {
                mark.topic == Topic::Presence || only.is_none_or(|only| only == mark.partition)
            })
            .collect();
        let starts = self
            .resolve(&marks, self.selection.from, |mark| mark.low)
            .await?;
        let ends = self
            .resolve(&marks, self.selection.to, |mark| mark.high)
            .await?;
        let ranges = marks.iter().zip(starts.into_iter().zip(ends));
        Ok(ranges
            .filter(|(_, (start, end))| start < end)
            .map(|(mark, (start, end))| {
                (
                    Position {
                        offset: start,
                        ..mark.start()
                    },
                    Position {
                        offset: end,
                        ..mark.end()
                    },
                )
            })
            .collect())
    }

    /// The offset that a bound means in each partition.
    async fn resolve(
        &self,
        marks: &[Watermark],
        bound: Option<Bound>,
        unbounded: fn(&Watermark) -> i64,
    ) -> Result<Vec<i64>, Error> {
        match bound {
            None => Ok(marks.iter().map(unbounded).collect()),
            Some(Bound::Offset(offset)) => Ok(marks
                .iter()
                .map(|mark| offset.clamp(mark.low, mark.high))
                .collect()),
            Some(Bound::Time(time)) => offsets_at(&self.kafka, marks, time).await,
        }
    }

    /// Puts the lane's next record on the heap, unless the lane is at its end.
    async fn refill(&mut self, lane: usize) -> Result<(), Error> {
        loop {
            let Lane { queue, end, over } = &mut self.lanes[lane];
            if *over {
                return Ok(());
            }
            let message = match queue.recv().await {
                Ok(message) => message,
                Err(KafkaError::PartitionEOF(_)) => return Ok(()),
                Err(error) if batch::is_passing(&error) => continue,
                Err(error) => return Err(batch::fatal(error, &self.kafka, &[*end])),
            };
            let Some(record) = batch::decode(&message, &self.kafka, &self.codec).await else {
                continue;
            };
            *over = record.position.offset + 1 >= end.offset;
            if record.position.offset >= end.offset {
                return Ok(());
            }
            let Position {
                topic,
                partition,
                offset,
            } = record.position;
            self.heads.push(Reverse(Head {
                order: (record.at, topic, partition, offset),
                lane,
                record,
            }));
            return Ok(());
        }
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("selection", &self.selection)
            .finish_non_exhaustive()
    }
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

async fn serve(consumer: Arc<StreamConsumer<Quiet>>) {
    loop {
        if let Err(error) = consumer.recv().await {
            tracing::warn!(%error, "kafka is not quite there");
        }
    }
}

impl Selection {
    /// Whether a record belongs to the slice. What cannot be decoded belongs to it if its key does.
    pub fn wants(&self, record: &Consumed<Event>) -> bool {
        if let Some(room) = &self.room
            && record.key != room.as_str().as_bytes()
            && !record
                .content
                .as_ref()
                .is_ok_and(|event| event.counts(room))
        {
            return false;
        }
        match &record.content {
            Ok(event) => {
                self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind())
            }
            Err(_) => self.kinds.is_empty(),
        }
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.order == other.order
    }
}

impl Eq for Head {}
