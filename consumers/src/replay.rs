//! A slice of history, decoded, in one deterministic order over partitions and topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lemonair_schemas::{Codec, Event, Position};
use tokio::sync::mpsc;

use crate::batch::{self, Consumed};
use crate::merge::{Merge, Merged};
use crate::slice::{Range, Selection};
use crate::{Error, Kafka, erasures};

/// A replay under way. Records come by record time, then topic, partition and offset; within a
/// partition always by offset. Memory does not grow with history: one record a partition and a few
/// batches are held, beside librdkafka's bounded queues.
///
/// What comes next depends on where each partition stands, and on nothing else: going on from
/// [`Replay::rest`] gives the records that would have come.
#[derive(Debug)]
pub struct Replay {
    codec: Arc<Codec>,
    selection: Selection,
    rest: Vec<Range>,
    merged: mpsc::Receiver<Result<Merged, Error>>,
    batch: Merged,
    next: usize,
    read: Arc<AtomicU64>,
}

/// Batches that wait to be decoded; the merging thread waits when there are more.
const AHEAD: usize = 8;

impl Replay {
    /// `ranges` as [`Selection::ranges`] finds them, or what is left of them.
    pub async fn open(
        kafka: &Kafka,
        codec: Arc<Codec>,
        selection: Selection,
        ranges: Vec<Range>,
    ) -> Result<Replay, Error> {
        erasures::load(kafka, &codec).await?;
        let (sender, merged) = mpsc::channel(AHEAD);
        let read = Arc::new(AtomicU64::new(0));
        let merge = Merge {
            kafka: kafka.clone(),
            selection: selection.clone(),
            ranges: ranges.clone(),
            read: Arc::clone(&read),
        };
        if !ranges.is_empty() {
            std::thread::Builder::new()
                .name("merge".to_owned())
                .spawn(move || merge.run(&sender))
                .map_err(Error::Thread)?;
        }
        Ok(Replay {
            codec,
            selection,
            rest: ranges,
            merged,
            batch: Merged::default(),
            next: 0,
            read,
        })
    }

    /// The next record of the selection, decoded or not; `None` at the end. Nothing is lost when
    /// this is dropped half-way.
    pub async fn next(&mut self) -> Result<Option<Consumed<Event>>, Error> {
        loop {
            let Some(raw) = self.batch.get(self.next).cloned() else {
                match self.merged.recv().await {
                    Some(batch) => self.batch = batch?,
                    None => return Ok(None),
                }
                self.next = 0;
                continue;
            };
            let range = &self.rest[raw.lane];
            let position = Position {
                offset: raw.offset,
                ..range.start()
            };
            let record = Consumed {
                position,
                at: raw.at,
                key: self.batch.key(&raw).to_vec(),
                bytes: self.batch.value(&raw).to_vec(),
                content: batch::read(position, self.batch.value(&raw), &self.codec).await,
            };
            self.next += 1;
            self.rest[raw.lane].start = raw.offset + 1;
            if self.selection.wants(&record) {
                return Ok(Some(record));
            }
        }
    }

    /// What was not given out yet.
    pub fn rest(&self) -> Vec<Range> {
        let mut rest = self.rest.clone();
        rest.retain(|range| !range.is_empty());
        rest
    }

    /// The same, and once more the record at `position`.
    pub fn rest_with(&mut self, position: Position) -> Vec<Range> {
        let same = |range: &&mut Range| {
            (range.topic, range.partition) == (position.topic, position.partition)
        };
        if let Some(range) = self.rest.iter_mut().find(same) {
            range.start = position.offset;
        }
        self.rest()
    }

    /// How many records were read so far, wanted or not.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
