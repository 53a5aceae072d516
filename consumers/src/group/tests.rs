use std::time::Duration;

use lemonair_schemas::Event;
use lemonair_testkit::{Cluster, within};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::*;

const TOPIC: Topic = Topic::Chat;

async fn put(kafka: &Kafka) {
    let producer: FutureProducer = kafka.client().create().unwrap();
    let name = TOPIC.in_kafka(&kafka.prefix);
    let record = FutureRecord::<str, str>::to(&name)
        .partition(0)
        .payload("x");
    producer
        .send(record, Duration::from_secs(30))
        .await
        .unwrap();
}

/// The offsets of the next records, from `from` on.
async fn read(group: &mut Group<Event>, from: i64) -> Result<Vec<i64>, Error> {
    let start = |&(topic, partition): &(Topic, i32)| Position {
        topic,
        partition,
        offset: if partition == 0 { from } else { 0 },
    };
    loop {
        match group.next(100).await? {
            Step::Assigned(ours) => group.start(&ours.iter().map(start).collect::<Vec<_>>())?,
            Step::Revoked => {}
            Step::Batch(batch) if batch.records.is_empty() => {}
            Step::Batch(batch) => {
                let offsets = batch.records.iter().map(|record| record.position.offset);
                return Ok(offsets.collect());
            }
        }
    }
}

/// A partition paused behind the loop's back is a fetcher that stopped without a word.
#[tokio::test]
async fn a_consumer_that_stands_still_is_replaced() {
    let cluster = Cluster::start().await;
    let kafka = Kafka {
        brokers: cluster.kafka.brokers.clone(),
        prefix: cluster.kafka.prefix.clone(),
        ..Kafka::default()
    };
    let join = || Group::<Event>::join(&kafka, Arc::clone(&cluster.codec), "still", &[TOPIC]);
    put(&kafka).await;
    let mut group = join().unwrap();
    let first = within("the first record", read(&mut group, 0)).await;
    assert_eq!(first.unwrap(), [0]);

    // Two partitions are quiet: they are looked at again and again, and left alone.
    group.watchdog.patience = Duration::ZERO;
    let paused = group.consumer.assignment().unwrap();
    group.consumer.pause(&paused).unwrap();
    // The list holds on to the partitions, and the consumer cannot be taken down while it does.
    drop(paused);
    put(&kafka).await;
    let stuck = within("the watchdog", read(&mut group, 1)).await;
    assert!(
        matches!(
            stuck,
            Err(Error::Stuck {
                partition: 0,
                offset: 1,
                end: 2,
                ..
            })
        ),
        "{stuck:?}"
    );
    drop(group);
    let mut group = join().unwrap();
    let second = within("the second record", read(&mut group, 1)).await;
    assert_eq!(second.unwrap(), [1]);
}
