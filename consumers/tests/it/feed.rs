use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use lemonair_consumers::{Error, Feed};
use lemonair_schemas::{Event, Position, Records, Topic};
use lemonair_testkit::{Cluster, within};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset;

use crate::write::{at, ends, message, producer, put, put_messages, read_to, text, transactional};

fn open(cluster: &Cluster, from: &[Position]) -> Feed<Event> {
    Feed::open(&cluster.kafka, Arc::clone(&cluster.codec), from).expect("open feed")
}

#[tokio::test]
async fn reads_from_the_given_positions_in_order() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    put_messages(&cluster, &writer, 0, 0..10).await;
    put_messages(&cluster, &writer, 1, 100..110).await;
    let from = [
        at(Topic::Chat, 0, 7),
        at(Topic::Chat, 1, 0),
        at(Topic::Chat, 2, 0),
    ];
    for max in [1, 3, 1000] {
        let mut feed = open(&cluster, &from);
        let read = read_to(&mut feed, max, &ends(&cluster.kafka, Topic::Chat).await).await;
        let of = |partition| {
            read.iter()
                .filter(move |(position, _)| position.partition == partition)
                .map(|(position, text)| (position.offset, text.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(0),
            (7..10).map(|n| (n, n.to_string())).collect::<Vec<_>>()
        );
        assert_eq!(
            of(1),
            (0..10)
                .map(|n| (n, (100 + n).to_string()))
                .collect::<Vec<_>>()
        );
        assert_eq!(read.len(), 13);
    }
}

#[tokio::test]
async fn positions_pass_what_is_never_delivered() {
    let cluster = Cluster::start().await;
    let writer = transactional(&cluster.kafka);
    let timeout = Duration::from_secs(30);
    writer.init_transactions(timeout).unwrap();
    for (texts, keep) in [(0..3, true), (3..6, false), (6..8, true), (8..10, false)] {
        writer.begin_transaction().unwrap();
        put_messages(&cluster, &writer, 0, texts.clone()).await;
        if !keep {
            // A partition that holds nothing else.
            put_messages(&cluster, &writer, 2, texts).await;
            writer.abort_transaction(timeout).unwrap();
        } else {
            writer.commit_transaction(timeout).unwrap();
        }
    }
    let from = [
        at(Topic::Chat, 0, 0),
        at(Topic::Chat, 1, 0),
        at(Topic::Chat, 2, 0),
    ];
    // The markers of the last transaction may still be on their way when its producer is told.
    let ends = vec![
        at(Topic::Chat, 0, 14),
        at(Topic::Chat, 1, 0),
        at(Topic::Chat, 2, 7),
    ];
    let mut feed = open(&cluster, &from);
    let read = read_to(&mut feed, 1000, &ends).await;
    let texts: Vec<&str> = read.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["0", "1", "2", "6", "7"]);
}

#[tokio::test]
async fn poison_stands_at_its_place_between_its_neighbours() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    let good = |text| {
        Event::from(message("mint", text))
            .encode(&cluster.codec)
            .expect("encode")
    };
    let mut cut = good("cut");
    cut.truncate(20);
    let mut long = good("long");
    long.push(7);
    let mut unknown = good("unknown");
    unknown[1..5].copy_from_slice(&0x7fff_fff0_u32.to_be_bytes());
    for bytes in [
        good("before"),
        b"hello".to_vec(),
        Vec::new(),
        unknown.clone(),
        cut,
        long,
        good("after"),
    ] {
        put(&cluster.kafka, &writer, Topic::Chat, 0, 5, "mint", &bytes).await;
    }
    let mut feed = open(&cluster, &[at(Topic::Chat, 0, 0)]);
    let mut records = Vec::new();
    within("7 records", async {
        while records.len() < 7 {
            records.extend(feed.next(10).await.expect("read").records);
        }
    })
    .await;
    for (offset, record) in (0..).zip(&records) {
        assert_eq!(record.position, at(Topic::Chat, 0, offset));
        assert_eq!(record.key, b"mint");
        assert_eq!(record.at.millis(), 5);
    }
    assert!(records[3].content.is_err());
    assert_eq!(records[3].bytes, unknown, "the record as it stands");
    let texts: Vec<String> = records.iter().map(|record| text(&record.content)).collect();
    expect![[r#"
        before
        poison: no zero byte and schema id in front (5 bytes)
        poison: no zero byte and schema id in front (0 bytes)
        poison: schema id 2147483632 is unknown to the registry
        poison: lemonair.chat.MessagePosted: Unexpected end of slice while deserializing
        poison: lemonair.chat.MessagePosted: 1 bytes behind the datum
        after"#]]
    .assert_eq(&texts.join("\n"));
}

#[tokio::test]
async fn history_that_is_gone_is_an_error() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    put_messages(&cluster, &writer, 0, 0..10).await;
    let admin: AdminClient<DefaultClientContext> = cluster.kafka.client().create().unwrap();
    let mut trim = TopicPartitionList::new();
    let name = Topic::Chat.in_kafka(&cluster.kafka.prefix);
    trim.add_partition_offset(&name, 0, Offset::Offset(5))
        .unwrap();
    admin
        .delete_records(&trim, &AdminOptions::new())
        .await
        .unwrap();

    for (partition, offset) in [(0, 4), (0, 11), (1, 1)] {
        let mut feed = open(&cluster, &[at(Topic::Chat, partition, offset)]);
        let error = within("an error", async {
            loop {
                match feed.next(10).await {
                    Ok(batch) => assert!(batch.records.is_empty(), "skipped to {batch:?}"),
                    Err(error) => return error,
                }
            }
        })
        .await;
        assert!(matches!(error, Error::Trimmed { .. }), "{error}");
        let error = error
            .to_string()
            .replace(&cluster.kafka.prefix, "lemonair.");
        expect![
            "topic lemonair.chat does not hold what was asked for: it was trimmed, or made anew"
        ]
        .assert_eq(&error);
    }
    let mut feed = open(&cluster, &[at(Topic::Chat, 0, 5)]);
    let read = read_to(&mut feed, 10, &[at(Topic::Chat, 0, 10)]).await;
    assert_eq!(read.len(), 5);
}

#[tokio::test]
async fn a_topic_that_is_missing_is_an_error() {
    let mut cluster = Cluster::empty().await;
    // A topic may be so new that not every broker knows it; we know better.
    let patience = "topic.metadata.propagation.max.ms".to_owned();
    cluster.kafka.options.insert(patience, "0".to_owned());
    let mut feed = open(&cluster, &[at(Topic::Chat, 0, 0)]);
    let error = within("an error", async {
        loop {
            if let Err(error) = feed.next(10).await {
                return error;
            }
        }
    })
    .await;
    let error = error
        .to_string()
        .replace(&cluster.kafka.prefix, "lemonair.");
    expect!["topic lemonair.chat does not exist; `lemonair up` makes it"].assert_eq(&error);
}
