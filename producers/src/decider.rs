//! The loop around the rules: reads commands, decides, and writes events, memory and answers in one
//! Kafka transaction, so that a crash leaves all of them or none.
//!
//! Each partition of `commands` has its own transactional producer and its own memory, the same
//! partition of the compacted topic `decider`. The memory also says how far the commands are
//! decided: the offset moves in the same transaction as its effects, and whoever takes the partition
//! over fences the former owner by the producer's epoch before it reads that memory. So two
//! processes may both believe that a partition is theirs, yet only one can decide.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future;
use lemonair_consumers::{Consumed, Feed, Group, Kafka, Step, watermarks};
use lemonair_schemas::command::{Answer, Answered, Command};
use lemonair_schemas::decider::{Memory, Progress};
use lemonair_schemas::{Codec, EventId, Position, Records, Timestamp, Topic};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::decide::{Decided, State, Terms, decide, lapsed};
use crate::log::{self, Pending};
use crate::producer::Producer;

/// Commands decided in one transaction, at most.
const BATCH: usize = 500;
/// Keys forgotten in one transaction, at most: more than come in, fewer than the queue holds.
const FORGOTTEN: usize = 2 * BATCH;
const TIMEOUT: Duration = Duration::from_secs(10);
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Decides the commands of the partitions that the group gives it.
#[derive(Debug)]
pub struct Decider {
    pub kafka: Kafka,
    pub codec: Arc<Codec>,
    pub terms: Terms,
}

/// One partition that is ours.
struct Partition {
    number: i32,
    producer: Producer,
    codec: Arc<Codec>,
    prefix: String,
    state: State,
    /// When it became ours.
    since: Timestamp,
    /// Records of the open transaction that nobody has waited for yet.
    unconfirmed: Vec<Pending>,
}

// === impl Decider ===

impl Decider {
    /// Runs until `shutdown`. A fault (fenced, transaction aborted, broker away) drops everything in
    /// memory and begins again from the topics: what was not committed never happened.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut pause = LEAST_PAUSE;
        loop {
            let began = tokio::time::Instant::now();
            let Err(error) = self.serve(&shutdown).await else {
                return Ok(());
            };
            tracing::warn!(%error, "decider begins again from its memory on kafka");
            metrics::counter!("lemonair_decider_restarts").increment(1);
            // What went well for so long did not fail because of what failed before.
            if began.elapsed() > 4 * LONGEST_PAUSE {
                pause = LEAST_PAUSE;
            }
            let rest = tokio::time::sleep(pause);
            if shutdown.run_until_cancelled(rest).await.is_none() {
                return Ok(());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A batch is always finished: readers would wait behind its open transaction until the brokers
    /// give it up.
    async fn serve(&self, shutdown: &CancellationToken) -> Result<(), Error> {
        let codec = Arc::clone(&self.codec);
        let mut group = Group::<Command>::join(&self.kafka, codec, "decider", &[Topic::Commands])?;
        let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
        while let Some(step) = shutdown.run_until_cancelled(group.next(BATCH)).await {
            match step? {
                Step::Assigned(ours) => {
                    let taken = ours.iter().map(|(_, number)| self.take_over(*number));
                    let taken = shutdown.run_until_cancelled(future::try_join_all(taken));
                    let Some(taken) = taken.await else { break };
                    partitions = taken?
                        .into_iter()
                        .map(|partition| (partition.number, partition))
                        .collect();
                    let starts: Vec<Position> = partitions.values().map(Partition::next).collect();
                    group.start(&starts)?;
                }
                Step::Revoked => partitions.clear(),
                Step::Batch(batch) => {
                    let mut shares: BTreeMap<i32, Vec<Consumed<Command>>> = BTreeMap::new();
                    for record in batch.records {
                        shares
                            .entry(record.position.partition)
                            .or_default()
                            .push(record);
                    }
                    let work = partitions.values_mut().map(|partition| {
                        let commands = shares.remove(&partition.number).unwrap_or_default();
                        partition.decide(commands, Timestamp::now())
                    });
                    future::try_join_all(work).await?;
                }
            }
        }
        Ok(())
    }

    /// Fences the former owner, then reads what the partition remembers.
    async fn take_over(&self, number: i32) -> Result<Partition, Error> {
        let mut config = log::config(&self.kafka);
        config
            .set(
                "transactional.id",
                format!("{}decider-{number}", self.kafka.prefix),
            )
            .set("transaction.timeout.ms", "10000")
            // A transaction is the batch; lingering would only add to its latency.
            .set("linger.ms", "0")
            // Must not outlive the transaction.
            .set("message.timeout.ms", "10000");
        let producer = Producer::open(&config)?;
        producer
            .blocking(|producer| producer.init_transactions(TIMEOUT))
            .await?;
        let mut partition = Partition {
            number,
            producer,
            codec: Arc::clone(&self.codec),
            prefix: self.kafka.prefix.clone(),
            state: State::new(self.terms),
            since: Timestamp::now(),
            unconfirmed: Vec::new(),
        };
        partition.restore(&self.kafka).await?;
        tracing::info!(
            partition = number,
            offset = partition.state.next(),
            "decides"
        );
        Ok(partition)
    }
}

// === impl Partition ===

impl Partition {
    fn next(&self) -> Position {
        Position {
            topic: Topic::Commands,
            partition: self.number,
            offset: self.state.next(),
        }
    }

    async fn restore(&mut self, kafka: &Kafka) -> Result<(), Error> {
        let marks = watermarks(kafka, &[Topic::Decider]).await?;
        let Some(mark) = marks.into_iter().find(|mark| mark.partition == self.number) else {
            return Ok(());
        };
        if mark.low == mark.high {
            return Ok(());
        }
        let mut feed = Feed::<Memory>::open(kafka, Arc::clone(&self.codec), &[mark.start()])?;
        loop {
            let batch = feed.next(10_000).await?;
            for record in batch.records {
                let key = String::from_utf8_lossy(&record.key).into_owned();
                match record.content {
                    Ok(memory) => self.state.remember(&key, Some(memory)),
                    Err(_) if record.bytes.is_empty() => self.state.remember(&key, None),
                    // To decide without a part of the memory could pay twice.
                    Err(poison) => {
                        let Position {
                            partition, offset, ..
                        } = record.position;
                        return Err(Error::Memory {
                            partition,
                            offset,
                            cause: poison.cause,
                        });
                    }
                }
            }
            if batch.next.iter().all(|next| next.offset >= mark.high) {
                return Ok(());
            }
        }
    }

    /// Decides commands in order, and what time alone decides, in one transaction.
    async fn decide(
        &mut self,
        commands: Vec<Consumed<Command>>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let began = tokio::time::Instant::now();
        let commands: Vec<_> = commands
            .into_iter()
            .filter(|command| command.position.offset >= self.state.next())
            .collect();
        // Leases may have been renewed by commands that still wait.
        let heard = match commands.last().map(|command| &command.content) {
            Some(Ok(command)) => command.at().min(now),
            Some(Err(_)) => self.since,
            None => now,
        };
        let since = self.since;
        let lapsed = |state: &State| lapsed(state, since, heard, now, &mut EventId::new);
        if commands.is_empty() && lapsed(&self.state).is_empty() {
            return Ok(());
        }
        self.producer.begin_transaction()?;
        let mut answers = Vec::new();
        for command in &commands {
            let Ok(command) = &command.content else {
                tracing::error!(position = ?command.position, "a command cannot be read; whoever asked gets no answer");
                metrics::counter!("lemonair_decider_unreadable").increment(1);
                continue;
            };
            let decided = decide(&self.state, command, now, &mut EventId::new);
            answers.push((command.id(), self.write(decided, now)?));
        }
        for (id, (outcome, written)) in answers {
            let positions =
                future::try_join_all(written.into_iter().map(Pending::confirmed)).await?;
            self.answer(id, outcome, positions, now)?;
        }
        for decided in lapsed(&self.state) {
            tracing::warn!("a broadcast ends: nothing more was heard of it");
            let (_, written) = self.write(decided, now)?;
            self.unconfirmed.extend(written);
        }
        for key in self.state.expired(now, FORGOTTEN) {
            self.remember(&key, None)?;
        }
        if let Some(last) = commands.last() {
            let next = last.position.offset + 1;
            let progress = Memory::Progress(Progress { next });
            self.remember(crate::decide::PROGRESS, Some(progress))?;
        }
        self.commit().await?;
        metrics::histogram!("lemonair_decider_batch_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("lemonair_decider_commands").increment(commands.len() as u64);
        Ok(())
    }

    fn write(
        &mut self,
        decided: Decided,
        now: Timestamp,
    ) -> Result<(Outcome, Vec<Pending>), Error> {
        let mut written = Vec::new();
        for event in &decided.events {
            let bytes = event.encode(&self.codec)?;
            written.push(log::send(
                &self.producer,
                &self.prefix,
                event.topic(),
                &event.key(),
                &bytes,
                now,
            )?);
        }
        for (key, memory) in decided.memories {
            self.remember(&key, memory)?;
        }
        Ok((decided.outcome, written))
    }

    /// Into our own state at once, and onto the topic with the transaction; should that fail, all of
    /// this is dropped and restored from the topic.
    fn remember(&mut self, key: &str, memory: Option<Memory>) -> Result<(), Error> {
        let bytes = memory
            .as_ref()
            .map(|memory| memory.encode(&self.codec))
            .transpose()?;
        let topic = Topic::Decider.in_kafka(&self.prefix);
        let mut record = BaseRecord::<str, [u8]>::to(&topic)
            .key(key)
            .partition(self.number);
        if let Some(bytes) = &bytes {
            record = record.payload(bytes);
        }
        let pending = self.producer.send(Topic::Decider, record)?;
        self.unconfirmed.push(pending);
        self.state.remember(key, memory);
        Ok(())
    }

    fn answer(
        &mut self,
        id: EventId,
        outcome: Outcome,
        positions: Vec<Position>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let accepted = outcome.as_ref().ok();
        let answered = Answered {
            id,
            at: now,
            event: accepted.map(|accepted| accepted.event),
            decided: accepted.map(|accepted| accepted.at),
            amount: accepted.and_then(|accepted| accepted.amount),
            balance: accepted.and_then(|accepted| accepted.balance),
            refusal: outcome.err(),
            positions,
        };
        let bytes = Answer::Answered(answered).encode(&self.codec)?;
        self.unconfirmed.push(log::send(
            &self.producer,
            &self.prefix,
            Topic::Answers,
            &id.to_string(),
            &bytes,
            now,
        )?);
        Ok(())
    }

    /// The commit would wait for the records too, but in steps of a tenth of a second.
    async fn commit(&mut self) -> Result<(), Error> {
        let sent = std::mem::take(&mut self.unconfirmed);
        future::try_join_all(sent.into_iter().map(Pending::confirmed)).await?;
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        loop {
            let commit = |producer: &BaseProducer<_>| {
                // What is confirmed leaves the queue a moment later.
                for _ in 0..10_000 {
                    if producer.in_flight_count() == 0 {
                        break;
                    }
                    std::thread::yield_now();
                }
                producer.commit_transaction(TIMEOUT)
            };
            match self.producer.blocking(commit).await {
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && tokio::time::Instant::now() < deadline => {}
                result => return Ok(result?),
            }
        }
    }
}

type Outcome = Result<crate::decide::Accepted, String>;

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
