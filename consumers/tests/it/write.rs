//! What the tests put on topics, around `producers`: also what that would never write.

use lemonair_consumers::{Feed, Kafka, Watermark, watermarks};
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::{Event, EventId, Position, Records, Timestamp, Topic};
use lemonair_testkit::{Cluster, within};
use rdkafka::producer::{FutureProducer, FutureRecord};

pub(crate) fn producer(kafka: &Kafka) -> FutureProducer {
    kafka
        .client()
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .create()
        .expect("create producer")
}

pub(crate) fn transactional(kafka: &Kafka) -> FutureProducer {
    kafka
        .client()
        .set("transactional.id", format!("{}writer", kafka.prefix))
        .set("linger.ms", "0")
        .create()
        .expect("create producer")
}

/// One record, wherever it shall stand.
pub(crate) async fn put(
    kafka: &Kafka,
    producer: &FutureProducer,
    topic: Topic,
    partition: i32,
    at: i64,
    key: &str,
    bytes: &[u8],
) -> Position {
    let name = topic.in_kafka(&kafka.prefix);
    let record = FutureRecord::to(&name)
        .partition(partition)
        .timestamp(at)
        .key(key)
        .payload(bytes);
    let delivered = producer
        .send_result(record)
        .expect("enqueue")
        .await
        .expect("producer lives")
        .expect("kafka takes the record");
    Position {
        topic,
        partition: delivered.partition,
        offset: delivered.offset,
    }
}

pub(crate) fn message(room: &str, text: &str) -> MessagePosted {
    MessagePosted {
        id: EventId::new(),
        at: Timestamp(1_700_000_000_000),
        room: room.parse().expect("a room"),
        actor: None,
        text: text.to_owned(),
        nonce: None,
        reply_to: None,
    }
}

/// Messages `0`, `1`, … on one partition of a topic.
pub(crate) async fn put_messages(
    cluster: &Cluster,
    producer: &FutureProducer,
    partition: i32,
    texts: std::ops::Range<i32>,
) {
    for number in texts {
        let event = Event::from(message("mint", &number.to_string()));
        let bytes = event.encode(&cluster.codec).expect("encode");
        let at = 1_700_000_000_000 + i64::from(number);
        put(
            &cluster.kafka,
            producer,
            Topic::Chat,
            partition,
            at,
            "mint",
            &bytes,
        )
        .await;
    }
}

/// What was said, or why it cannot be read.
pub(crate) fn text(content: &Result<Event, lemonair_consumers::Poison>) -> String {
    match content {
        Ok(Event::MessagePosted(message)) => message.text.clone(),
        Ok(other) => other.kind().to_owned(),
        Err(poison) => format!("poison: {}", poison.cause),
    }
}

pub(crate) fn at(topic: Topic, partition: i32, offset: i64) -> Position {
    Position {
        topic,
        partition,
        offset,
    }
}

pub(crate) async fn ends(kafka: &Kafka, topic: Topic) -> Vec<Position> {
    let marks = watermarks(kafka, &[topic]).await.expect("watermarks");
    marks.iter().map(Watermark::end).collect()
}

/// Reads until the feed has reached `ends`; positions never go back on the way.
pub(crate) async fn read_to(
    feed: &mut Feed<Event>,
    max: usize,
    ends: &[Position],
) -> Vec<(Position, String)> {
    let mut read = Vec::new();
    let mut before: Vec<Position> = Vec::new();
    within("the end of the topic", async {
        loop {
            let batch = feed.next(max).await.expect("read");
            assert!(batch.records.len() <= max);
            for record in &batch.records {
                read.push((record.position, text(&record.content)));
            }
            for (before, now) in before.iter().zip(&batch.next) {
                assert!(before.offset <= now.offset, "went back to {now:?}");
            }
            let reached = |end: &Position| {
                batch.next.iter().any(|next| {
                    (next.topic, next.partition) == (end.topic, end.partition)
                        && next.offset >= end.offset
                })
            };
            if ends.iter().all(reached) {
                assert_eq!(batch.next.len(), ends.len());
                return;
            }
            before = batch.next;
        }
    })
    .await;
    read
}
