use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use futures::future::BoxFuture;
use lemonair_consumers::Kafka;
use lemonair_producers::Log;
use lemonair_schemas::channel::ChannelFollowed;
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::record::Schema;
use lemonair_schemas::stream::{StreamEnded, StreamStarted};
use lemonair_schemas::{Codec, EventId, Position, Record, Registry};
use lemonair_testkit::forwarder::{Forwarder, Way};
use lemonair_testkit::{Cluster, all_schemas, fresh_codec, random_prefix, registry_url, within};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::dead_letters::{self, DeadLetter, Filter};
use crate::erasure::Personal;
use crate::messages::Messages;
use crate::page::{Edge, Slice};
use crate::projection::{Fault, Table};
use crate::rebuild::tests::{VERIFY, rebuild_one};
use crate::scratch::{Scratch, accepted, actor, at, opened, registered, room, said};
use crate::wait::Checkpoints;
use crate::{Fact, accounts, broadcasts, channels, lag, messages, stats, wallets};

pub(crate) const LONG: Duration = Duration::from_secs(40);

/// Topics, a database, and whatever runs on them.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) db: Scratch,
    pub(crate) log: Log,
    pub(crate) checkpoints: Checkpoints,
}

/// Loops that run until they are told to stop.
pub(crate) struct Running {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Stage {
    pub(crate) async fn set() -> Stage {
        let (cluster, db) = tokio::join!(Cluster::start(), Scratch::new());
        Stage {
            log: Log::open(&cluster.kafka, Arc::clone(&cluster.codec)).unwrap(),
            checkpoints: Checkpoints::start(db.pool.clone()),
            cluster,
            db,
        }
    }

    pub(crate) fn projector(&self) -> Projector {
        Projector {
            pool: self.db.pool.clone(),
            kafka: self.cluster.kafka.clone(),
            codec: Arc::clone(&self.cluster.codec),
        }
    }

    pub(crate) fn run(&self) -> Running {
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.projector().run(stop.clone()));
        Running {
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Appends in order; returns where the last records of each partition stand.
    pub(crate) async fn append(&self, events: impl IntoIterator<Item = Event>) -> Vec<Position> {
        let pending: Vec<_> = events
            .into_iter()
            .map(|event| self.log.enqueue(&event).unwrap())
            .collect();
        let mut positions = Vec::new();
        for pending in pending {
            positions.push(pending.confirmed().await.unwrap());
        }
        positions.sort();
        positions.dedup_by(|later, kept| {
            let same = (later.topic, later.partition) == (kept.topic, kept.partition);
            kept.offset = kept
                .offset
                .max(if same { later.offset } else { kept.offset });
            same
        });
        positions
    }

    pub(crate) async fn reach(&self, positions: &[Position]) {
        let reached = self.checkpoints.wait_all(positions, LONG).await;
        assert!(reached, "not at {positions:?}");
    }

    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        dead_letters::list(&self.db.pool, &Filter::default())
            .await
            .unwrap()
    }

    /// Texts of a room in the room's order.
    pub(crate) async fn texts(&self, in_room: &str) -> Vec<String> {
        let mut texts = Vec::new();
        let mut slice = Slice::start(200);
        loop {
            let page = messages::page(&self.db.pool, &room(in_room), &slice)
                .await
                .unwrap();
            texts.extend(page.items.into_iter().map(|message| message.text));
            match page.older {
                Some(older) => slice.edge = Edge::Before(older),
                None => break,
            }
        }
        texts.reverse();
        texts
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        within("the loops to stop", self.task).await.unwrap();
    }
}

pub(crate) fn numbered(in_room: &str, numbers: std::ops::Range<u32>) -> Vec<Event> {
    numbers
        .map(|n| said(in_room, "lime", &n.to_string()).into())
        .collect()
}

pub(crate) fn numbers(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

/// Puts bytes on a topic that are no record.
pub(crate) async fn put_poison(kafka: &Kafka, topic: Topic, key: &str, bytes: &[u8]) -> Position {
    let producer: FutureProducer = kafka
        .client()
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    let name = topic.in_kafka(&kafka.prefix);
    let record = FutureRecord::to(&name).key(key).payload(bytes);
    let delivered = producer.send(record, LONG).await.unwrap();
    Position {
        topic,
        partition: delivered.partition,
        offset: delivered.offset,
    }
}

/// The chat's, with mistakes in it.
#[derive(Debug)]
struct Clumsy {
    stumbled: AtomicBool,
}

impl Projection for Clumsy {
    fn name(&self) -> &'static str {
        Messages.name()
    }

    fn topics(&self) -> &'static [Topic] {
        Messages.topics()
    }

    fn reads(&self) -> Vec<Topic> {
        let again = self.stumbled.swap(true, Ordering::Relaxed);
        assert!(again, "the first time is too much for it");
        Messages.reads()
    }

    fn tables(&self) -> &'static [Table] {
        Messages.tables()
    }

    fn personal(&self) -> &'static [Personal] {
        Messages.personal()
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            Messages.apply(tx, facts).await?;
            let is_stone = |fact: &Fact<'_>| matches!(fact.event, Event::MessagePosted(event) if event.text == "stone");
            assert!(!facts.iter().any(is_stone), "a stone is too much for it");
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_panic_stops_no_loop_and_puts_its_record_away() {
    static CLUMSY: Clumsy = Clumsy {
        stumbled: AtomicBool::new(false),
    };
    let stage = Stage::set().await;
    let mut events = numbered("mint", 0..3);
    events.push(said("mint", "lime", "stone").into());
    events.extend(numbered("mint", 3..6));
    let positions = stage.append(events).await;

    let (projector, stop) = (stage.projector(), CancellationToken::new());
    let stopped = stop.clone();
    let running = AbortOnDropHandle::new(tokio::spawn(async move {
        projector.follow(&CLUMSY, &Health::new(), &stopped).await;
    }));
    let reached = stage.checkpoints.wait("messages", positions[0], LONG);
    assert!(reached.await, "not at {positions:?}");
    stop.cancel();
    within("the loop to stop", running).await.unwrap();

    assert_eq!(stage.texts("mint").await, numbers(0..6));
    let letters = stage.letters().await;
    let causes: Vec<&str> = letters.iter().map(|letter| letter.cause.as_str()).collect();
    assert_eq!(
        causes,
        ["the read model panicked at it; the log says where"]
    );
    assert_eq!(letters[0].id.position.offset, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_model_keeps_up_past_poison() {
    let stage = Stage::set().await;
    let running = stage.run();
    let pool = &stage.db.pool;
    let mut topped_up = EntryPosted {
        id: EventId::new(),
        at: at(1),
        account: actor("lime").id,
        actor: None,
        kind: Kind::TopUp,
        postings: vec![
            Posting {
                account: "provider".to_owned(),
                book: Book::Provider,
                amount: -9,
            },
            Posting {
                account: actor("lime").id.to_string(),
                book: Book::Wallet,
                amount: 9,
            },
        ],
        room: None,
        donation: None,
        payment: None,
    };
    let started = StreamStarted {
        id: EventId::new(),
        at: at(2),
        room: room("mint"),
        actor: None,
        title: "on".to_owned(),
        ingest: "one".to_owned(),
        origin: "http://one".to_owned(),
    };
    let events: Vec<Event> = vec![
        registered("lime").into(),
        opened("mint").into(),
        started.into(),
        said("mint", "lime", "before").into(),
        topped_up.clone().into(),
    ];
    let before = stage.append(events).await;
    let poison = put_poison(&stage.cluster.kafka, Topic::Chat, "mint", b"\0no record").await;
    topped_up.id = EventId::new();
    topped_up.postings[0].amount = -8;
    let events: Vec<Event> = vec![topped_up.into(), said("mint", "lime", "after").into()];
    let after = stage.append(events).await;
    stage.reach(&before).await;
    stage.reach(&after).await;

    assert_eq!(stage.texts("mint").await, ["before", "after"]);
    assert!(accounts::by_name(pool, "lime").await.unwrap().is_some());
    assert!(
        broadcasts::live(pool, &room("mint"))
            .await
            .unwrap()
            .is_some()
    );
    let listed = channels::list(pool, true, &Slice::start(5)).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let wallet = wallets::wallet(pool, actor("lime").id).await.unwrap();
    assert_eq!(wallet.balance, 9);
    let of_room = stats::of_room(pool, &room("mint")).await.unwrap();
    let (messages, chatters, streams) = (of_room.messages, of_room.chatters, of_room.streams);
    assert_eq!((messages, chatters, streams), (2, 1, 1));

    let letters = stage.letters().await;
    let mut found: Vec<(&str, i64)> = letters
        .iter()
        .map(|letter| (letter.id.projection, letter.id.position.offset))
        .collect();
    let ledger = after
        .iter()
        .find(|position| position.topic == Topic::Ledger);
    // Each read model keeps its own, whichever comes first.
    found.sort_unstable();
    let expected = [
        ("chatters", poison.offset),
        ("messages", poison.offset),
        ("moderation", poison.offset),
        ("wallets", ledger.unwrap().offset),
    ];
    assert_eq!(found, expected, "{letters:?}");

    let lags = lag::lag(pool, &stage.cluster.kafka).await.unwrap();
    // Partitions of its own topic, and of the erasures.
    assert_eq!(lags.len(), projection::ALL.len() * (3 + 3));
    assert_eq!(
        lags.iter().map(lag::Lag::records).sum::<i64>(),
        0,
        "{lags:?}"
    );
    running.stop().await;
}

/// Of whom nothing is read any more is known before anything is read: also before the rows are renamed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_find_the_rows_of_who_was_erased_while_nobody_read() {
    let mut stage = Stage::set().await;
    stage.cluster.codec = fresh_codec().await;
    let mint = room("mint");
    let started = StreamStarted {
        id: EventId::new(),
        at: at(2),
        room: mint.clone(),
        actor: None,
        title: "on".to_owned(),
        ingest: "one".to_owned(),
        origin: "http://one".to_owned(),
    };
    let ended = StreamEnded {
        id: EventId::new(),
        at: at(4),
        room: mint.clone(),
        actor: None,
        stream: started.id,
        reason: "unpublished".to_owned(),
        figures: None,
    };
    let followed = ChannelFollowed {
        id: EventId::new(),
        at: at(4),
        room: mint.clone(),
        actor: Some(actor("lime")),
    };
    let given = |amount| DonationAccepted {
        at: at(3),
        ..accepted("lime", amount)
    };
    let events: Vec<Event> = vec![opened("mint").into(), started.into(), given(100).into()];
    let running = stage.run();
    stage.reach(&stage.append(events).await).await;
    running.stop().await;

    let events: Vec<Event> = vec![followed.into(), ended.into(), given(7).into()];
    let mut last = stage.append(events).await;
    let erased = AccountErased::new(actor("mint").id, &mint, at(5));
    last.extend(stage.append([erased.into()]).await);
    let codec = fresh_codec().await;
    erasures::load(&stage.cluster.kafka, &codec).await.unwrap();
    stage.cluster.codec = codec;
    let running = stage.run();
    stage.reach(&last).await;
    assert_eq!(stage.letters().await, []);
    for projection in projection::ALL {
        let report = rebuild_one(&stage, projection, VERIFY).await.unwrap();
        let differences = report.comparison.map(|comparison| comparison.differences);
        assert_eq!(differences.unwrap_or_default(), [], "{}", projection.name());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_neither_skip_nor_repeat() {
    let stage = Stage::set().await;
    let running = stage.run();
    let (written, kills_left) = (AtomicBool::new(false), AtomicI32::new(0));
    let write = async {
        let mut last = Vec::new();
        for block in 0..30 {
            kills_left.store(2, Ordering::SeqCst);
            let events = numbered("mint", block * 100..block * 100 + 100);
            last = stage.append(events).await;
            // As fast as they are read, or one batch would take them all.
            stage.reach(&last).await;
        }
        written.store(true, Ordering::SeqCst);
        last
    };
    let kill = async {
        let options = stage.db.pool.connect_options();
        let mut connection = options.as_ref().clone().connect().await.unwrap();
        let mut kills = 0;
        while !written.load(Ordering::SeqCst) {
            let others: Vec<i64> = sqlx::query_scalar(
                "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                 WHERE db = DATABASE() AND id <> CONNECTION_ID() \
                 AND (info LIKE 'UPDATE messages_c%' OR info LIKE 'INSERT INTO messages (%' \
                 OR info = 'COMMIT')",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for id in others {
                if kills_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
                    break;
                }
                let killing = AssertSqlSafe(format!("KILL {id}"));
                let killed = sqlx::raw_sql(killing).execute(&mut connection).await;
                kills += i32::from(killed.is_ok());
            }
        }
        kills
    };
    let (last, kills) = tokio::join!(write, kill);
    assert!(kills > 0, "nothing was killed");
    stage.reach(&last).await;
    assert_eq!(stage.texts("mint").await, numbers(0..3000));
    assert_eq!(stage.letters().await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_hand_partitions_over_without_skip_or_repeat() {
    let stage = Stage::set().await;
    let rooms = ["mint", "lime", "kiwi", "plum", "pear", "ann", "bob", "cat"];
    let write = async |numbers: std::ops::Range<u32>| {
        let events = rooms
            .iter()
            .flat_map(|name| numbered(name, numbers.clone()));
        stage.append(events).await
    };
    let first = stage.run();
    stage.reach(&write(0..100).await).await;
    let second = stage.run();
    let last = write(100..200).await;
    first.stop().await;
    stage.reach(&last).await;
    let third = stage.run();
    let last = write(200..300).await;
    second.stop().await;
    stage.reach(&last).await;
    for name in rooms {
        assert_eq!(stage.texts(name).await, numbers(0..300), "{name}");
    }
    third.stop().await;
}

/// A record of a newer schema, which the registry cannot tell of just then, is no poison.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_schema_waits_for_the_registry() {
    let mut stage = Stage::set().await;
    let forwarder = Forwarder::start().await;
    let prefix = random_prefix();
    let registry = Registry::open(&forwarder.url(), &prefix, None).unwrap();
    let codec = Codec::register(registry, &all_schemas()).await.unwrap();
    stage.cluster.codec = Arc::new(codec);
    let running = stage.run();
    stage
        .reach(&stage.append(numbered("mint", 0..3)).await)
        .await;

    // Somebody with a newer release writes a field more, at the end.
    let said = said("mint", "lime", "from the future");
    let ours = all_schemas();
    let ours = ours
        .iter()
        .find(|schema| schema.name == MessagePosted::NAME);
    let newer = newer(ours.unwrap());
    let elsewhere = Registry::open(&registry_url(), &prefix, None).unwrap();
    let id = elsewhere.register(&newer).await.unwrap();
    let mut bytes = stage.cluster.codec.encode(&said).unwrap();
    bytes[1..5].copy_from_slice(&id.to_be_bytes());
    bytes.push(84);
    forwarder.turn(Way::Shut);
    let position = put_poison(&stage.cluster.kafka, Topic::Chat, "mint", &bytes).await;
    let asked = async {
        while forwarder.turned_away() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within("the loops to ask the registry", asked).await;
    assert_eq!(stage.texts("mint").await, numbers(0..3));
    assert_eq!(stage.letters().await, []);

    forwarder.turn(Way::Open);
    stage.reach(&[position]).await;
    let texts = stage.texts("mint").await;
    assert_eq!(texts.last().map(String::as_str), Some("from the future"));
    assert_eq!(stage.letters().await, []);
    running.stop().await;
}

fn newer(schema: &Schema) -> Schema {
    let mut avsc: serde_json::Value = serde_json::from_str(schema.avsc).unwrap();
    let mood = serde_json::json!({ "name": "mood", "type": "long", "default": 0 });
    avsc["fields"].as_array_mut().unwrap().push(mood);
    Schema {
        avsc: avsc.to_string().leak(),
        ..*schema
    }
}
