//! A slice of history, decoded, in one deterministic order over partitions and topics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
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
pub struct Replay {
    rest: Vec<Range>,
    decoded: BoxStream<'static, Result<Decoded, Error>>,
    batch: Decoded,
    read: Arc<AtomicU64>,
}

/// What is wanted of a batch.
#[derive(Default)]
struct Decoded {
    /// With the range that each stands in.
    records: vec::IntoIter<(usize, Consumed<Event>)>,
    /// How far the batch reaches in the ranges.
    ends: Vec<(usize, i64)>,
}

/// Batches that wait to be decoded; the merging thread waits when there are more.
const AHEAD: usize = 8;

/// Batches that are decoded at a time.
const AT_ONCE: usize = 4;

// === impl Replay ===

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
            decoded: decode(merged, codec, selection, ranges.clone()),
            rest: ranges,
            batch: Decoded::default(),
            read,
        })
    }

    /// The next record of the selection, decoded or not; `None` at the end. Nothing is lost when
    /// this is dropped half-way.
    pub async fn next(&mut self) -> Result<Option<Consumed<Event>>, Error> {
        loop {
            if let Some(record) = self.ready() {
                return Ok(Some(record));
            }
            match self.decoded.next().await {
                Some(batch) => self.batch = batch?,
                None => return Ok(None),
            }
        }
    }

    /// The next record, if it is decoded already.
    pub fn ready(&mut self) -> Option<Consumed<Event>> {
        if let Some((lane, record)) = self.batch.records.next() {
            self.rest[lane].start = record.position.offset + 1;
            return Some(record);
        }
        for (lane, end) in self.batch.ends.drain(..) {
            self.rest[lane].start = end;
        }
        None
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

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

/// Decodes batches side by side, and gives them in the order in which they were merged.
fn decode(
    merged: mpsc::Receiver<Result<Merged, Error>>,
    codec: Arc<Codec>,
    selection: Selection,
    ranges: Vec<Range>,
) -> BoxStream<'static, Result<Decoded, Error>> {
    let (selection, ranges) = (Arc::new(selection), Arc::new(ranges));
    stream::unfold(merged, async |mut merged| {
        let batch = merged.recv().await?;
        Some((batch, merged))
    })
    .map(move |batch| {
        let (codec, selection, ranges) = (
            Arc::clone(&codec),
            Arc::clone(&selection),
            Arc::clone(&ranges),
        );
        let decoding =
            tokio::spawn(async move { Ok(batch?.decode(&codec, &selection, &ranges).await) });
        async {
            match decoding.await {
                Ok(decoded) => decoded,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
    })
    .buffered(AT_ONCE)
    .boxed()
}

impl Merged {
    async fn decode(self, codec: &Codec, selection: &Selection, ranges: &[Range]) -> Decoded {
        let mut records = Vec::with_capacity(self.records().len());
        let mut ends: Vec<(usize, i64)> = Vec::new();
        for raw in self.records() {
            let position = Position {
                offset: raw.offset,
                ..ranges[raw.lane].start()
            };
            let record = Consumed {
                position,
                at: raw.at,
                key: self.key(raw).to_vec(),
                bytes: self.value(raw).to_vec(),
                content: batch::read(position, self.value(raw), codec).await,
            };
            match ends.iter_mut().find(|(lane, _)| *lane == raw.lane) {
                Some((_, end)) => *end = raw.offset + 1,
                None => ends.push((raw.lane, raw.offset + 1)),
            }
            if selection.wants(&record) {
                records.push((raw.lane, record));
            }
        }
        Decoded {
            records: records.into_iter(),
            ends,
        }
    }
}
