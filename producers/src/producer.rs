//! librdkafka's producer, and the thread that tells what became of each record.
//!
//! rdkafka has such a thread too (`FutureProducer`), but it asks ten times a second and spins for the
//! last millisecond of each: a hundredth of a core for every producer, sending or not.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use lemonair_schemas::Topic;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use tokio::sync::oneshot;

use crate::log::Pending;
use crate::{Error, refused};

/// Cheap to clone. The thread ends when the last clone is gone; what is still in the queue then is lost.
#[derive(Clone)]
pub(crate) struct Producer {
    base: Arc<BaseProducer<Deliveries>>,
    /// Wakes the thread: there is something to wait for.
    sent: SyncSender<()>,
}

/// Partition and offset, or why not.
pub(crate) type Delivered = KafkaResult<(i32, i64)>;

pub(crate) struct Deliveries;

/// How long the thread asks at once, and how long it sleeps while nothing is under way.
const WHILE: Duration = Duration::from_secs(1);

// === impl Producer ===

impl Producer {
    pub(crate) fn open(config: &ClientConfig) -> Result<Producer, Error> {
        let base = Arc::new(config.create_with_context::<_, BaseProducer<_>>(Deliveries)?);
        let (sent, under_way) = sync_channel(1);
        let thread = std::thread::Builder::new().name("deliveries".to_owned());
        let polled = Arc::clone(&base);
        thread
            .spawn(move || poll(&polled, &under_way))
            .map_err(Error::Thread)?;
        Ok(Producer { base, sent })
    }

    /// Puts a record into the queue; `topic` is what the caller will be told.
    pub(crate) fn send(
        &self,
        topic: Topic,
        record: BaseRecord<'_, str, [u8]>,
    ) -> Result<Pending, Error> {
        let (delivered, delivery) = oneshot::channel();
        let record = BaseRecord {
            topic: record.topic,
            partition: record.partition,
            payload: record.payload,
            key: record.key,
            timestamp: record.timestamp,
            headers: record.headers,
            delivery_opaque: Box::new(delivered),
        };
        self.base
            .send(record)
            .map_err(|(error, _)| refused(error))?;
        // Full means that it was told already.
        self.sent.try_send(()).ok();
        Ok(Pending { topic, delivery })
    }

    /// Makes one of librdkafka's calls that block.
    pub(crate) async fn blocking(
        &self,
        call: impl FnOnce(&BaseProducer<Deliveries>) -> KafkaResult<()> + Send + 'static,
    ) -> KafkaResult<()> {
        let base = Arc::clone(&self.base);
        match tokio::task::spawn_blocking(move || call(&base)).await {
            Ok(result) => result,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    pub(crate) fn begin_transaction(&self) -> KafkaResult<()> {
        self.base.begin_transaction()
    }
}

/// Until the last sender is gone.
fn poll(producer: &BaseProducer<Deliveries>, under_way: &Receiver<()>) {
    loop {
        let idle = producer.in_flight_count() == 0;
        let patience = if idle { WHILE } else { Duration::ZERO };
        match under_way.recv_timeout(patience) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if idle => {}
            _ => producer.poll(WHILE),
        }
    }
}

// === impl Deliveries ===

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<oneshot::Sender<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivered: Self::DeliveryOpaque) {
        let result = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever sent it may not want to know.
        delivered.send(result).ok();
    }
}
