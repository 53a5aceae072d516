//! A slice of history, record by record, and what is left of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::vec;

use lemonair_schemas::{Codec, Event, Position};

use crate::batch::Consumed;
use crate::scan::{Found, Scan};
use crate::slice::{Range, Selection};
use crate::{Error, Kafka};

/// A replay under way. Records come by record time, then topic, partition and offset; within a
/// partition always by offset. Memory does not grow with history: one record a partition and a few
/// batches are held, beside librdkafka's bounded queues.
///
/// What comes next depends on where each partition stands, and on nothing else: going on from
/// [`Replay::rest`] gives the records that would have come.
pub struct Replay {
    rest: Vec<Range>,
    scan: Scan<Records>,
    /// Of the batch that is given out.
    records: vec::IntoIter<(usize, Consumed<Event>)>,
    /// How far that reaches in the ranges.
    ends: Vec<(usize, i64)>,
}

/// With the range that each stands in.
type Records = Vec<(usize, Consumed<Event>)>;

// === impl Replay ===

impl Replay {
    /// `ranges` as [`Selection::ranges`] finds them, or what is left of them.
    pub async fn open(
        kafka: &Kafka,
        codec: Arc<Codec>,
        selection: Selection,
        ranges: Vec<Range>,
    ) -> Result<Replay, Error> {
        let add = |records: &mut Records, found: Found<'_>| {
            let record = Consumed {
                position: found.position,
                at: found.at,
                key: found.key.to_vec(),
                bytes: found.bytes.to_vec(),
                content: found.content,
            };
            records.push((found.lane, record));
        };
        Ok(Replay {
            scan: Scan::open(kafka, codec, selection, ranges.clone(), add).await?,
            rest: ranges,
            records: Vec::new().into_iter(),
            ends: Vec::new(),
        })
    }

    /// The next record of the selection, decoded or not; `None` at the end. Nothing is lost when
    /// this is dropped half-way.
    pub async fn next(&mut self) -> Result<Option<Consumed<Event>>, Error> {
        loop {
            if let Some((lane, record)) = self.records.next() {
                self.rest[lane].start = record.position.offset + 1;
                return Ok(Some(record));
            }
            for (lane, end) in self.ends.drain(..) {
                self.rest[lane].start = end;
            }
            let Some(part) = self.scan.next().await? else {
                return Ok(None);
            };
            self.records = part.made.into_iter();
            self.ends = part.ends;
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

    /// Counts the records that were read so far, wanted or not.
    pub fn counter(&self) -> Arc<AtomicU64> {
        self.scan.counter()
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}
