//! Partitions shared with other processes through a consumer group, positions from elsewhere.
//!
//! Kafka says who reads which partition; how far it was read is kept where the effect is kept (a
//! checkpoint in MySQL, a decider's memory), so the two can never disagree. Nothing is committed to
//! the group.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use lemonair_schemas::{Codec, Position, Records, Topic};
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Notify;

use crate::batch::{self, Batch, Patience};
use crate::watchdog::Watchdog;
use crate::{Error, Kafka};

/// A member of a group.
pub struct Group<R> {
    kafka: Kafka,
    codec: Arc<Codec>,
    consumer: StreamConsumer<Rebalancing>,
    changes: Arc<Changes>,
    start: Mutex<Vec<Position>>,
    patience: Patience,
    watchdog: Watchdog,
    records: PhantomData<fn() -> R>,
}

/// What happens to a member.
#[derive(Debug)]
pub enum Step<R> {
    /// These partitions are ours now; nothing comes until [`Group::start`] says from where.
    Assigned(Vec<(Topic, i32)>),
    /// All partitions are taken away; another assignment may follow.
    Revoked,
    Batch(Batch<R>),
}

/// Rebalances, as the callback (on whatever thread polls) hands them to the loop. As many as the
/// group has rebalances, which are rare: it needs no bound.
#[derive(Default)]
struct Changes {
    queue: Mutex<VecDeque<Change>>,
    arrived: Notify,
}

enum Change {
    Assigned(TopicPartitionList),
    Revoked,
}

struct Rebalancing(Arc<Changes>);

impl<R: Records> Group<R> {
    pub fn join(
        kafka: &Kafka,
        codec: Arc<Codec>,
        group: &str,
        topics: &[Topic],
    ) -> Result<Group<R>, Error> {
        let changes = Arc::new(Changes::default());
        let consumer: StreamConsumer<Rebalancing> = kafka
            .consumer()
            .set("group.id", format!("{}{group}", kafka.prefix))
            // The broker's least: a process that died is replaced within this time.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000")
            // Fetched when the last batch is taken, and not record by record as they trickle in: what
            // a member rests from, broker and client rest from too.
            .set("queued.min.messages", "1")
            .create_with_context(Rebalancing(Arc::clone(&changes)))?;
        let names: Vec<String> = topics
            .iter()
            .map(|topic| topic.in_kafka(&kafka.prefix))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&names)?;
        let start = Mutex::new(Vec::new());
        Ok(Group {
            kafka: kafka.clone(),
            codec,
            consumer,
            changes,
            start,
            patience: Patience::default(),
            watchdog: Watchdog::new(kafka),
            records: PhantomData,
        })
    }

    /// The next thing to do. A batch holds at most `max` records, or none after an idle moment.
    pub async fn next(&mut self, max: usize) -> Result<Step<R>, Error> {
        loop {
            if let Some(change) = self.changes.pop() {
                return Ok(self.step(change));
            }
            let changes = Arc::clone(&self.changes);
            let patience = &mut self.patience;
            let records = tokio::select! {
                biased;
                () = changes.arrived.notified() => continue,
                records = batch::gather(&self.consumer, &self.kafka, &self.codec, max, patience) => records,
            };
            // A rebalance that came while we gathered took the positions away with the partitions.
            // Nothing is lost with the records: whoever gets a partition next begins where the
            // effect ended, not where this consumer had read to.
            if self.changes.is_pending() {
                continue;
            }
            let start = self.lock_start().clone();
            let records = records.map_err(|error| batch::fatal(error, &self.kafka, &start))?;
            let next = batch::positions(&self.consumer, &self.kafka, &start)?;
            self.watchdog.watch(&next).await?;
            return Ok(Step::Batch(Batch { records, next }));
        }
    }

    /// Answers [`Step::Assigned`]: where to begin in each of the partitions.
    pub fn start(&self, from: &[Position]) -> Result<(), Error> {
        self.consumer.assign(&batch::list(&self.kafka, from)?)?;
        *self.lock_start() = from.to_vec();
        Ok(())
    }

    fn step(&self, change: Change) -> Step<R> {
        match change {
            Change::Assigned(list) => {
                let ours = list.elements().into_iter().filter_map(|element| {
                    Some((
                        Topic::from_kafka(element.topic(), &self.kafka.prefix)?,
                        element.partition(),
                    ))
                });
                Step::Assigned(ours.collect())
            }
            Change::Revoked => {
                self.lock_start().clear();
                Step::Revoked
            }
        }
    }

    fn lock_start(&self) -> std::sync::MutexGuard<'_, Vec<Position>> {
        self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> fmt::Debug for Group<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

impl Changes {
    fn push(&self, change: Change) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(change);
        self.arrived.notify_one();
    }

    fn is_pending(&self) -> bool {
        !self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    fn pop(&self) -> Option<Change> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

impl ClientContext for Rebalancing {}

impl ConsumerContext for Rebalancing {
    /// librdkafka waits for an assign call without any hurry, so the positions can be looked up
    /// first, off this thread: see [`Group::start`].
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Rebalancing>,
        err: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.0.push(Change::Assigned(list.clone()));
            }
            _ => {
                if let Err(error) = consumer.unassign() {
                    tracing::error!(%error, "give up partitions");
                }
                self.0.push(Change::Revoked);
            }
        }
    }
}

#[cfg(test)]
mod tests;
