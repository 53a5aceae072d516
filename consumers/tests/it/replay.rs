use std::sync::Arc;
use std::time::Duration;

use lemonair_consumers::kafka::partition_of;
use lemonair_consumers::{Bound, Range, Replay, Selection, Watermark, Who};
use lemonair_schemas::account::OperatorActed;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::stream::StreamStarted;
use lemonair_schemas::{AccountId, Actor, Event, EventId, Position, Records, Timestamp, Topic};
use lemonair_testkit::{Cluster, seed, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::{FutureProducer, Producer};
use tokio_util::sync::CancellationToken;

use crate::write::{at, message, producer, put, put_messages, text, transactional};

const ROOMS: [&str; 5] = ["mint", "basil", "sage", "thyme", "dill"];
const BEGAN: i64 = 1_700_000_000_000;

/// A record as replay gives it.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    at: i64,
    position: Position,
    room: String,
    kind: &'static str,
}

impl Row {
    fn order(&self) -> (i64, Topic, i32, i64) {
        let Position {
            topic,
            partition,
            offset,
        } = self.position;
        (self.at, topic, partition, offset)
    }
}

fn everything() -> Selection {
    Selection::of(&Topic::ROOM)
}

fn event(topic: Topic, room: &str) -> Event {
    let room_id = room.parse().expect("a room");
    match topic {
        Topic::Chat => message(room, "hello").into(),
        Topic::Donations => DonationAccepted {
            id: EventId::new(),
            at: Timestamp(BEGAN),
            room: room_id,
            actor: None,
            streamer: AccountId::new(),
            amount: 5,
            message: "for you".to_owned(),
            key: "k".to_owned(),
            anonymous: false,
            held: false,
        }
        .into(),
        _ => StreamStarted {
            id: EventId::new(),
            at: Timestamp(BEGAN),
            room: room_id,
            actor: None,
            title: "Tea".to_owned(),
            ingest: "a".to_owned(),
            origin: "http://127.0.0.1".to_owned(),
        }
        .into(),
    }
}

async fn append(
    cluster: &Cluster,
    writer: &FutureProducer,
    topic: Topic,
    room: &str,
    at: i64,
) -> Row {
    let event = event(topic, room);
    let bytes = event.encode(&cluster.codec).expect("encode");
    let partition = partition_of(room, 3);
    let kafka = &cluster.kafka;
    Row {
        at,
        position: put(kafka, writer, topic, partition, at, room, &bytes).await,
        room: room.to_owned(),
        kind: event.kind(),
    }
}

/// A history over all rooms and topics, with times that tie, in the order in which replay gives it.
async fn history(cluster: &Cluster) -> Vec<Row> {
    let writer = producer(&cluster.kafka);
    let mut chance = StdRng::seed_from_u64(seed());
    let mut rows = Vec::new();
    let mut at = BEGAN;
    for _ in 0..300 {
        at += chance.random_range(0..3);
        let topic = Topic::ROOM[chance.random_range(0..3)];
        let room = ROOMS[chance.random_range(0..ROOMS.len())];
        rows.push(append(cluster, &writer, topic, room, at).await);
    }
    rows.sort_by_key(Row::order);
    rows
}

async fn replay(cluster: &Cluster, selection: &Selection) -> Vec<Row> {
    read(&mut open(cluster, selection.clone()).await, usize::MAX).await
}

/// The next rows, at most `max`.
async fn read(replay: &mut Replay, max: usize) -> Vec<Row> {
    within("the end of the replay", async {
        let mut rows = Vec::new();
        while rows.len() < max
            && let Some(record) = replay.next().await.expect("replay")
        {
            rows.push(Row {
                at: record.at.millis(),
                position: record.position,
                room: String::from_utf8(record.key).expect("a room"),
                kind: record.content.map_or("poison", |event| event.kind()),
            });
        }
        rows
    })
    .await
}

async fn open(cluster: &Cluster, selection: Selection) -> Replay {
    let ranges = selection.ranges(&cluster.kafka).await.expect("ranges");
    open_at(cluster, selection, ranges).await
}

async fn open_at(cluster: &Cluster, selection: Selection, ranges: Vec<Range>) -> Replay {
    Replay::open(
        &cluster.kafka,
        Arc::clone(&cluster.codec),
        selection,
        ranges,
    )
    .await
    .expect("open replay")
}

#[tokio::test]
async fn the_order_is_one_and_the_same() {
    let cluster = Cluster::start().await;
    let rows = history(&cluster).await;
    assert_eq!(replay(&cluster, &everything()).await, rows);
    let mut twice_named = everything();
    twice_named.topics = vec![Topic::Streams, Topic::Chat, Topic::Donations, Topic::Chat];
    assert_eq!(replay(&cluster, &twice_named).await, rows);
}

#[tokio::test]
async fn gives_what_was_selected_and_nothing_else() {
    let cluster = Cluster::start().await;
    let rows = history(&cluster).await;
    let middle = rows[150].at;
    type Wanted = fn(&Row, i64) -> bool;
    let cases: [(Selection, Wanted); 7] = [
        (
            Selection {
                rooms: vec!["sage".parse().unwrap()],
                ..everything()
            },
            |row, _| row.room == "sage",
        ),
        (
            Selection {
                kinds: vec!["donation.accepted".to_owned(), "stream.started".to_owned()],
                ..everything()
            },
            |row, _| row.kind != "chat.message",
        ),
        (
            Selection {
                from: Some(Bound::Time(Timestamp(middle))),
                ..everything()
            },
            |row, middle| row.at >= middle,
        ),
        (
            Selection {
                to: Some(Bound::Time(Timestamp(middle))),
                ..everything()
            },
            |row, middle| row.at < middle,
        ),
        (
            Selection {
                from: Some(Bound::Offset(3)),
                to: Some(Bound::Offset(9)),
                ..everything()
            },
            |row, _| (3..9).contains(&row.position.offset),
        ),
        (
            Selection {
                topics: vec![Topic::Donations],
                rooms: vec!["MINT".parse().unwrap()],
                from: Some(Bound::Time(Timestamp(middle))),
                to: Some(Bound::Offset(1_000_000)),
                ..everything()
            },
            |row, middle| {
                row.position.topic == Topic::Donations && row.room == "mint" && row.at >= middle
            },
        ),
        (
            Selection {
                from: Some(Bound::Time(Timestamp(BEGAN + 1_000_000))),
                ..everything()
            },
            |_, _| false,
        ),
    ];
    for (selection, wanted) in cases {
        let mut expected = rows.clone();
        expected.retain(|row| wanted(row, middle));
        assert_eq!(
            replay(&cluster, &selection).await,
            expected,
            "{selection:?}"
        );
    }
}

/// Clocks differ: the record behind an older one may be younger. Its partition's order stands.
#[tokio::test]
async fn a_partition_keeps_its_order_whatever_the_clocks_say() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    for at in [50, 10, 90, 30] {
        append(&cluster, &writer, Topic::Chat, "mint", BEGAN + at).await;
        append(&cluster, &writer, Topic::Streams, "mint", BEGAN + at + 1).await;
    }
    let rows = replay(&cluster, &everything()).await;
    let of = |topic| {
        rows.iter()
            .filter(move |row| row.position.topic == topic)
            .map(|row| row.position.offset)
    };
    assert!(of(Topic::Chat).eq(0..4) && of(Topic::Streams).eq(0..4));
}

#[tokio::test]
async fn ends_where_it_began_though_a_writer_goes_on() {
    let cluster = Arc::new(Cluster::start().await);
    let rows = history(&cluster).await;
    let mut replay = open(&cluster, everything()).await;
    let stop = CancellationToken::new();
    let writing = tokio::spawn({
        let (cluster, stop) = (Arc::clone(&cluster), stop.clone());
        async move {
            let writer = producer(&cluster.kafka);
            while !stop.is_cancelled() {
                for room in ROOMS {
                    append(&cluster, &writer, Topic::Chat, room, BEGAN).await;
                }
            }
        }
    });
    let mut seen = 0;
    within("the end of the replay", async {
        while let Some(record) = replay.next().await.expect("replay") {
            assert_eq!(record.position, rows[seen].position);
            seen += 1;
        }
    })
    .await;
    assert_eq!(seen, rows.len());
    stop.cancel();
    writing.await.expect("writer");
}

/// A range may end in records that are never delivered.
#[tokio::test]
async fn ends_behind_aborted_records() {
    let cluster = Cluster::start().await;
    let writer = transactional(&cluster.kafka);
    let timeout = Duration::from_secs(30);
    writer.init_transactions(timeout).unwrap();
    writer.begin_transaction().unwrap();
    put_messages(&cluster, &writer, 0, 0..3).await;
    put_messages(&cluster, &writer, 1, 0..3).await;
    writer.commit_transaction(timeout).unwrap();
    writer.begin_transaction().unwrap();
    put_messages(&cluster, &writer, 1, 3..5).await;
    put_messages(&cluster, &writer, 2, 3..5).await;
    writer.abort_transaction(timeout).unwrap();
    assert_eq!(replay(&cluster, &everything()).await.len(), 6);
}

#[tokio::test]
async fn poison_belongs_to_its_room() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    for (room, bytes) in [("mint", b"hello"), ("sage", b"adieu")] {
        let partition = partition_of(room, 3);
        put(
            &cluster.kafka,
            &writer,
            Topic::Chat,
            partition,
            BEGAN,
            room,
            bytes,
        )
        .await;
    }
    let mut room = everything();
    room.rooms.push("mint".parse().unwrap());
    // It may be what was asked for: nobody can tell.
    room.kinds.push("stream.ended".to_owned());
    let mut replay = open(&cluster, room).await;
    let record = replay.next().await.unwrap().unwrap();
    assert_eq!(record.position, at(Topic::Chat, partition_of("mint", 3), 0));
    assert!(text(&record.content).starts_with("poison"));
    assert!(replay.next().await.unwrap().is_none());
}

/// A history whose writers' clocks differ, so that even a partition is not in the order of time.
async fn muddled_history(cluster: &Cluster) {
    let writer = producer(&cluster.kafka);
    let mut chance = StdRng::seed_from_u64(seed());
    for step in 0..200 {
        let topic = Topic::ROOM[chance.random_range(0..3)];
        let room = ROOMS[chance.random_range(0..ROOMS.len())];
        let at = BEGAN + step * 1000 + chance.random_range(-60_000..60_000);
        append(cluster, &writer, topic, room, at).await;
    }
}

#[tokio::test]
async fn a_slice_is_the_whole_filtered_whatever_the_clocks_say() {
    let cluster = Cluster::start().await;
    muddled_history(&cluster).await;
    let whole = replay(&cluster, &everything()).await;
    for (from, to) in [(0, 100), (30, 31), (50, 120), (90, 400)] {
        let (from, to) = (BEGAN + from * 1000, BEGAN + to * 1000);
        let slice = Selection {
            from: Some(Bound::Time(Timestamp(from))),
            to: Some(Bound::Time(Timestamp(to))),
            ..everything()
        };
        let mut expected = whole.clone();
        expected.retain(|row| (from..to).contains(&row.at));
        assert_eq!(replay(&cluster, &slice).await, expected);
    }
}

#[tokio::test]
async fn goes_on_where_it_was_left() {
    let cluster = Cluster::start().await;
    muddled_history(&cluster).await;
    let whole = replay(&cluster, &everything()).await;
    let mut ranges = everything().ranges(&cluster.kafka).await.expect("ranges");
    let mut rows = Vec::new();
    while !ranges.is_empty() {
        let mut replay = open_at(&cluster, everything(), ranges).await;
        rows.extend(read(&mut replay, 7).await);
        let rest: Vec<String> = replay.rest().iter().map(Range::to_string).collect();
        ranges = rest
            .iter()
            .map(|range| range.parse().expect(range))
            .collect();
    }
    assert_eq!(rows, whole);
}

#[tokio::test]
async fn accounts_are_found_by_id_and_by_name() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    let account = AccountId::new();
    for actor in [Some("Basil"), None, Some("Thyme")] {
        let mut message = message("mint", "hello");
        message.actor = actor.map(|name| Actor {
            id: account,
            name: name.to_owned(),
            roles: Vec::new(),
        });
        let bytes = Event::from(message).encode(&cluster.codec).expect("encode");
        put(
            &cluster.kafka,
            &writer,
            Topic::Chat,
            0,
            BEGAN,
            "mint",
            &bytes,
        )
        .await;
    }
    for (who, offsets) in [
        (account.to_string().as_str(), vec![0, 2]),
        ("basil", vec![0]),
        ("mint", vec![]),
    ] {
        let selection = Selection {
            accounts: vec![Who::from(who)],
            ..everything()
        };
        let rows = replay(&cluster, &selection).await;
        let found: Vec<i64> = rows.iter().map(|row| row.position.offset).collect();
        assert_eq!(found, offsets, "{who}");
    }
}

#[tokio::test]
async fn whom_an_operator_acted_on_is_found() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    let [whom, other] = [AccountId::new(), AccountId::new()];
    for target in [whom.to_string(), "messages".to_owned(), other.to_string()] {
        let acted = OperatorActed {
            id: EventId::new(),
            at: Timestamp(BEGAN),
            account: AccountId::new(),
            actor: None,
            action: "account.suspended".to_owned(),
            target,
        };
        let bytes = Event::from(acted).encode(&cluster.codec).expect("encode");
        let kafka = &cluster.kafka;
        put(kafka, &writer, Topic::Accounts, 0, BEGAN, "key", &bytes).await;
    }
    let selection = Selection {
        accounts: vec![Who::Id(whom)],
        ..Selection::of(&[Topic::Accounts])
    };
    let rows = replay(&cluster, &selection).await;
    let found: Vec<i64> = rows.iter().map(|row| row.position.offset).collect();
    assert_eq!(found, [0]);
}

/// Whoever goes on with what comes later reads it from the same marks.
#[tokio::test]
async fn ends_where_it_was_looked_at() {
    let cluster = Cluster::start().await;
    let rows = history(&cluster).await;
    let last = rows[rows.len() - 1].at;
    // A time is looked up where what came since stands too.
    for to in [Some(Bound::Time(Timestamp(last + 1))), None] {
        let selection = Selection { to, ..everything() };
        let marks = selection.marks(&cluster.kafka).await.expect("marks");
        let writer = producer(&cluster.kafka);
        for room in ROOMS {
            append(&cluster, &writer, Topic::Chat, room, last).await;
            append(&cluster, &writer, Topic::Chat, room, last + 86_400_000).await;
        }
        let ranges = selection.ranges_within(&cluster.kafka, marks.clone());
        for range in ranges.await.expect("ranges") {
            let end = |mark: &Watermark| mark.end() == range.end();
            assert!(marks.iter().any(end), "{range}");
        }
    }
}

#[tokio::test]
async fn nothing_is_the_end_too() {
    let cluster = Cluster::start().await;
    assert!(replay(&cluster, &everything()).await.is_empty());
}
