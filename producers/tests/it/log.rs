use std::collections::HashMap;
use std::sync::Arc;

use futures::future::try_join_all;
use lemonair_consumers::kafka::partition_of;
use lemonair_producers::{Error, Log};
use lemonair_schemas::account::RoleGranted;
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::{AccountId, Event, EventId, Timestamp, Topic};
use lemonair_testkit::Cluster;

use crate::books;

fn open(cluster: &Cluster) -> Log {
    Log::open(&cluster.kafka, Arc::clone(&cluster.codec)).expect("open log")
}

fn message(room: &str, text: String) -> MessagePosted {
    MessagePosted {
        id: EventId::new(),
        at: Timestamp(1_700_000_000_000),
        room: room.parse().expect("a room"),
        actor: None,
        text,
        nonce: None,
        reply_to: None,
    }
}

#[tokio::test]
async fn the_position_is_where_the_event_stands() {
    let cluster = Cluster::start().await;
    let log = open(&cluster);
    let mut appended = HashMap::new();
    for n in 0..20 {
        let room = format!("room{n}");
        let event = Event::from(message(&room, n.to_string()));
        let position = log.append(event.clone()).await.unwrap();
        assert_eq!(position.topic, Topic::Chat);
        assert_eq!(position.partition, partition_of(&room, 3));
        appended.insert(position, event);

        let event = Event::from(RoleGranted {
            id: EventId::new(),
            at: Timestamp(5),
            account: AccountId::new(),
            actor: None,
            role: "operator".to_owned(),
        });
        let position = log.append(event.clone()).await.unwrap();
        assert_eq!(position.partition, partition_of(&event.key(), 3));
        appended.insert(position, event);
    }
    let found = books::read::<Event>(&cluster, &[Topic::Chat, Topic::Accounts]).await;
    assert_eq!(found.len(), appended.len());
    for record in found {
        let event = record.content.unwrap();
        assert_eq!(record.key, event.key().as_bytes());
        assert_eq!(record.at, event.at(), "the record has the event's time");
        assert_eq!(Some(&event), appended.get(&record.position));
    }
}

/// Many at once, and yet each room's events stand in the order in which they were put in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_keeps_its_order() {
    let cluster = Cluster::start().await;
    let log = open(&cluster);
    let writers = (0..8).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            let room = format!("room{writer}");
            let mut pending = Vec::new();
            for n in 0..250 {
                let event = Event::from(message(&room, n.to_string()));
                pending.push(log.enqueue(&event).unwrap().confirmed());
            }
            try_join_all(pending).await.unwrap();
        })
    });
    try_join_all(writers).await.unwrap();
    let mut next: HashMap<Vec<u8>, usize> = HashMap::new();
    for record in books::read::<Event>(&cluster, &[Topic::Chat]).await {
        let Ok(Event::MessagePosted(message)) = record.content else {
            panic!("a message");
        };
        let next = next.entry(record.key).or_default();
        assert_eq!(message.text, next.to_string());
        *next += 1;
    }
    assert_eq!(next.len(), 8);
    assert!(next.values().all(|next| *next == 250));
}

#[tokio::test]
async fn what_kafka_will_not_take_is_an_error() {
    let cluster = Cluster::start().await;
    let log = open(&cluster);
    let endless = message("mint", "x".repeat(2_000_000));
    let error = log.append(endless).await.unwrap_err();
    assert!(matches!(error, Error::Kafka(_)), "{error}");
    log.append(message("mint", "x".to_owned())).await.unwrap();
}
