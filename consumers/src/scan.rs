//! A slice of history, decoded on all cores, batch by batch in one deterministic order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use lemonair_schemas::codec::Last;
use lemonair_schemas::{Codec, Event, Position, Timestamp};
use tokio::sync::mpsc;

use crate::batch::{self, Poison};
use crate::merge::{self, Merge, Merged};
use crate::slice::{Range, Selection};
use crate::{Error, Kafka, erasures};

/// A scan under way. What is made of the records is made where they are decoded, so that only it goes
/// from there to whoever takes it.
pub struct Scan<T> {
    parts: BoxStream<'static, Result<Part<T>, Error>>,
    read: Arc<AtomicU64>,
}

/// What was made of a batch.
#[derive(Debug)]
pub struct Part<T> {
    pub made: T,
    /// How far the batch reaches in the ranges.
    pub(crate) ends: Vec<(usize, i64)>,
}

/// A record of the slice.
#[derive(Debug)]
pub struct Found<'a> {
    /// Which of the ranges it stands in.
    pub(crate) lane: usize,
    pub position: Position,
    /// The record's own time in Kafka.
    pub at: Timestamp,
    pub key: &'a [u8],
    pub bytes: &'a [u8],
    pub content: Result<Event, Poison>,
}

/// Batches that wait to be decoded; the merging thread waits when there are more.
const AHEAD: usize = 8;

/// Batches that are decoded at a time.
const AT_ONCE: usize = 4;

// === impl Scan ===

impl<T: Default + Send + 'static> Scan<T> {
    /// `ranges` as [`Selection::ranges`] finds them, or what is left of them; `add` adds a record to
    /// what is made of its batch.
    pub async fn open(
        kafka: &Kafka,
        codec: Arc<Codec>,
        selection: Selection,
        ranges: Vec<Range>,
        add: impl Fn(&mut T, Found<'_>) + Send + Sync + 'static,
    ) -> Result<Scan<T>, Error> {
        erasures::load(kafka, &codec).await?;
        let (sender, merged) = mpsc::channel(AHEAD);
        let read = Arc::new(AtomicU64::new(0));
        let merge = Merge {
            kafka: kafka.clone(),
            selection: selection.clone(),
            ranges: ranges.clone(),
            read: Arc::clone(&read),
            patience: merge::PATIENCE,
        };
        if !ranges.is_empty() {
            std::thread::Builder::new()
                .name("merge".to_owned())
                .spawn(move || merge.run(sender))
                .map_err(Error::Thread)?;
        }
        let decoder = Arc::new(Decoder {
            codec,
            selection,
            ranges,
            add,
        });
        // Side by side, and given in the order in which they were merged.
        let parts = stream::unfold(merged, async |mut merged| {
            let batch = merged.recv().await?;
            Some((batch, merged))
        })
        .map(move |batch| {
            let decoder = Arc::clone(&decoder);
            let decoding = tokio::spawn(async move { Ok(decoder.decode(batch?).await) });
            async {
                match decoding.await {
                    Ok(decoded) => decoded,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                }
            }
        })
        .buffered(AT_ONCE)
        .boxed();
        Ok(Scan { parts, read })
    }

    /// What was made of the next batch; `None` at the end. Nothing is lost when this is dropped
    /// half-way.
    pub async fn next(&mut self) -> Result<Option<Part<T>>, Error> {
        self.parts.next().await.transpose()
    }

    /// How many records were read so far, wanted or not.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The same, for whoever watches while another waits for records.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }
}

impl<T> fmt::Debug for Scan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

struct Decoder<A> {
    codec: Arc<Codec>,
    selection: Selection,
    ranges: Vec<Range>,
    add: A,
}

impl<A> Decoder<A> {
    async fn decode<T: Default>(&self, batch: Merged) -> Part<T>
    where
        A: Fn(&mut T, Found<'_>),
    {
        let mut part = Part {
            made: T::default(),
            ends: Vec::new(),
        };
        let mut last = Last::default();
        for raw in batch.records() {
            let (key, bytes) = (batch.key(raw), batch.value(raw));
            let position = Position {
                offset: raw.offset,
                ..self.ranges[raw.lane].start()
            };
            let content = batch::read(position, bytes, &self.codec, &mut last).await;
            match part.ends.iter_mut().find(|(lane, _)| *lane == raw.lane) {
                Some((_, end)) => *end = raw.offset + 1,
                None => part.ends.push((raw.lane, raw.offset + 1)),
            }
            // What cannot be decoded may always be what was wanted.
            if let Ok(event) = &content
                && !self.selection.wants_event(position.topic, key, event)
            {
                continue;
            }
            let found = Found {
                lane: raw.lane,
                position,
                at: raw.at,
                key,
                bytes,
                content,
            };
            (self.add)(&mut part.made, found);
        }
        part
    }
}
