//! Given partitions from given positions, outside any group.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use lemonair_schemas::{Codec, Position, Records};
use rdkafka::consumer::{Consumer, StreamConsumer};

use crate::batch::{self, Batch, Patience};
use crate::watchdog::Watchdog;
use crate::{Error, Kafka};

/// Reads the partitions that it was given.
pub struct Feed<R> {
    kafka: Kafka,
    codec: Arc<Codec>,
    consumer: StreamConsumer,
    start: Vec<Position>,
    patience: Patience,
    watchdog: Watchdog,
    records: PhantomData<fn() -> R>,
}

impl<R: Records> Feed<R> {
    /// `from` names each partition, with the offset to begin at.
    pub fn open(kafka: &Kafka, codec: Arc<Codec>, from: &[Position]) -> Result<Feed<R>, Error> {
        let consumer: StreamConsumer = kafka.consumer().create()?;
        consumer.assign(&batch::list(kafka, from)?)?;
        Ok(Feed {
            kafka: kafka.clone(),
            codec,
            consumer,
            start: from.to_vec(),
            patience: Patience::default(),
            watchdog: Watchdog::new(kafka),
            records: PhantomData,
        })
    }

    /// The next records, at most `max`; none if none come for a moment. An error ends the feed: open
    /// another where the last batch ended.
    pub async fn next(&mut self, max: usize) -> Result<Batch<R>, Error> {
        let patience = &mut self.patience;
        let records = batch::gather(&self.consumer, &self.kafka, &self.codec, max, patience)
            .await
            .map_err(|error| batch::fatal(error, &self.kafka, &self.start))?;
        let next = batch::positions(&self.consumer, &self.kafka, &self.start)?;
        self.watchdog.watch(&next).await?;
        Ok(Batch { records, next })
    }
}

impl<R> fmt::Debug for Feed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
