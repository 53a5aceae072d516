use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};
use lemonair_consumers::kafka::{offsets_at, partition_of};
use lemonair_consumers::retention::keep;
use lemonair_consumers::{Error, Kafka, watermarks};
use lemonair_schemas::{Timestamp, Topic};
use lemonair_testkit::{Cluster, within};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::FutureRecord;

use crate::write::{producer, put_messages};

fn check(cluster: &Cluster, error: &Error, expected: &Expect) {
    expected.assert_eq(
        &error
            .to_string()
            .replace(&cluster.kafka.prefix, "lemonair."),
    );
}

#[tokio::test]
async fn topics_are_made_once_whoever_asks_and_however_often() {
    let cluster = Cluster::empty().await;
    let (one, other) = tokio::join!(cluster.kafka.ensure_topics(), cluster.kafka.ensure_topics());
    one.unwrap();
    other.unwrap();
    // What was made stays as it is.
    let more = Kafka {
        partitions: 7,
        ..cluster.kafka.clone()
    };
    more.ensure_topics().await.unwrap();
    let marks = watermarks(&more, &Topic::ALL).await.unwrap();
    assert_eq!(marks.len(), Topic::ALL.len() * 3);
    assert!(marks.iter().all(|mark| (mark.low, mark.high) == (0, 0)));
}

#[tokio::test]
async fn topics_of_unequal_partitions_are_refused() {
    let cluster = Cluster::empty().await;
    let admin: AdminClient<DefaultClientContext> = cluster.kafka.client().create().unwrap();
    let name = Topic::Streams.in_kafka(&cluster.kafka.prefix);
    let streams = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
    admin
        .create_topics([&streams], &AdminOptions::new())
        .await
        .unwrap();
    let error = cluster.kafka.ensure_topics().await.unwrap_err();
    check(
        &cluster,
        &error,
        &expect!["topic lemonair.streams has 2 partitions, the others have 3: they must be equal"],
    );
}

#[tokio::test]
async fn a_missing_topic_is_named() {
    let cluster = Cluster::empty().await;
    let error = watermarks(&cluster.kafka, &[Topic::Ledger])
        .await
        .unwrap_err();
    check(
        &cluster,
        &error,
        &expect!["topic lemonair.ledger does not exist; `lemonair up` makes it"],
    );
}

/// Reading begins with the watermarks, so this is where a broker that is away shows.
#[tokio::test]
async fn a_broker_that_is_away_is_named() {
    let mut cluster = Cluster::empty().await;
    // Nothing listens on the port of a socket that was closed at once.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = free.local_addr().unwrap().to_string();
    drop(free);
    let here = std::mem::replace(&mut cluster.kafka.brokers, away.clone());
    let (ensured, read) = tokio::join!(
        cluster.kafka.ensure_topics(),
        watermarks(&cluster.kafka, &[Topic::Chat])
    );
    cluster.kafka.brokers = here;
    for error in [ensured.unwrap_err(), read.unwrap_err()] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        let line = error.to_string().replace(&away, "BROKER");
        assert!(
            line.starts_with("kafka at BROKER does not answer"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }
}

#[tokio::test]
async fn a_time_is_an_offset_in_each_partition() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    put_messages(&cluster, &writer, 0, 0..10).await;
    put_messages(&cluster, &writer, 2, 5..8).await;
    let marks = watermarks(&cluster.kafka, &[Topic::Chat]).await.unwrap();
    for (millis, offsets) in [
        (-5, [0, 0, 0]),
        (0, [0, 0, 0]),
        (1_700_000_000_006, [6, 0, 1]),
        (1_700_000_000_009, [9, 0, 3]),
        (1_700_000_000_010, [10, 0, 3]),
        (i64::MAX, [10, 0, 3]),
    ] {
        let found = offsets_at(&cluster.kafka, &marks, Timestamp(millis))
            .await
            .unwrap();
        assert_eq!(found, offsets, "{millis}");
    }
    let none = offsets_at(&cluster.kafka, &[], Timestamp(0)).await;
    assert!(none.unwrap().is_empty());
}

/// Kafka's own partitioner is asked, with keys of every length and of letters beyond ASCII.
#[tokio::test]
async fn keys_go_where_we_think() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    let name = Topic::Chat.in_kafka(&cluster.kafka.prefix);
    let letters = ['a', 'ß', 'え', '🍋', '\u{ff}'];
    let keys = (1..40).map(|length: usize| {
        let letter = |n| letters[(length * 7 + n * 3) % letters.len()];
        (0..length).map(letter).collect::<String>()
    });
    for key in keys {
        let record = FutureRecord::to(&name).key(&key).payload("x");
        let delivered = writer.send_result(record).unwrap().await.unwrap().unwrap();
        assert_eq!(delivered.partition, partition_of(&key, 3), "{key}");
    }
}

/// A topic's own settings, those of which the deployment says nothing included.
async fn settings(cluster: &Cluster, topic: Topic) -> (String, String) {
    let admin: AdminClient<DefaultClientContext> =
        cluster.kafka.client().create().expect("a client");
    let name = topic.in_kafka(&cluster.kafka.prefix);
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(&name)], &AdminOptions::new())
        .await
        .expect("settings")
        .remove(0)
        .expect("of the topic");
    let value = |key| {
        let entry = described.get(key).expect("a setting");
        entry.value.clone().expect("a value")
    };
    (value("retention.ms"), value("max.message.bytes"))
}

#[tokio::test]
async fn retention_follows_its_setting_and_leaves_the_rest_alone() {
    let cluster = Cluster::start().await;
    let admin: AdminClient<DefaultClientContext> = cluster.kafka.client().create().unwrap();
    let name = Topic::Chat.in_kafka(&cluster.kafka.prefix);
    let by_hand = AlterConfig::new(ResourceSpecifier::Topic(&name))
        .set("retention.ms", "-1")
        .set("max.message.bytes", "2000000");
    admin
        .alter_configs([&by_hand], &AdminOptions::new())
        .await
        .unwrap();
    let settled = async |retention: &str| {
        let wanted = (retention.to_owned(), "2000000".to_owned());
        within("the broker to have taken it", async {
            while settings(&cluster, Topic::Chat).await != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    settled("-1").await;
    let day = Duration::from_secs(86_400);
    for (said, kept) in [
        (BTreeMap::from([(Topic::Chat, 90 * day)]), "7776000000"),
        (BTreeMap::from([(Topic::Chat, day)]), "86400000"),
        (BTreeMap::new(), "-1"),
    ] {
        keep(&cluster.kafka, &said).await.unwrap();
        settled(kept).await;
        let (retention, _) = settings(&cluster, Topic::Presence).await;
        assert_eq!(retention, "7776000000");
        assert_eq!(settings(&cluster, Topic::Ledger).await.0, "-1");
    }
}
