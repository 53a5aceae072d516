//! A history with known content: several topics and partitions, two versions of a schema, and
//! records that nobody can decode.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lemonair_consumers::Kafka;
use lemonair_consumers::kafka::partition_of;
use lemonair_consumers::retention;
use lemonair_producers::Log;
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::record::Schema;
use lemonair_schemas::stream::StreamStarted;
use lemonair_schemas::{
    AccountId, Actor, Codec, Event, EventId, Record, Records, Registry, Timestamp, Topic,
};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use uuid::Uuid;

use super::{Deployment, setting};

pub(crate) const BEGAN: i64 = 1_700_000_000_000;

pub(crate) const ROOMS: [&str; 5] = ["mint", "basil", "sage", "thyme", "dill"];

const PARTITIONS: i32 = 3;

/// Topic, partition, offset.
pub(crate) type Place = (String, i64, i64);

struct Written {
    number: usize,
    at: i64,
    topic: Topic,
    room: String,
    place: Place,
    good: bool,
}

pub(crate) struct History {
    kafka: Kafka,
    codec: Arc<Codec>,
    older: u32,
    producer: ThreadedProducer<DefaultProducerContext>,
    ends: [[i64; PARTITIONS as usize]; 3],
    records: Vec<Written>,
    pub(crate) corrupt: Vec<Place>,
    /// From the first to the last record.
    pub(crate) span: i64,
    /// Milliseconds from one record to the next.
    pub(crate) step: i64,
    /// That were asked for: all but the corrupt ones.
    pub(crate) count: usize,
}

impl History {
    /// As many records as the environment says, or 100,000.
    pub(crate) async fn write(deployment: &Deployment) -> History {
        History::write_or(deployment, 100_000).await
    }

    /// As many records as the environment says (`make million` does), or so many.
    #[expect(clippy::disallowed_methods, reason = "tests have no Config")]
    pub(crate) async fn write_or(deployment: &Deployment, records: usize) -> History {
        let said = std::env::var("LEMONAIR_TEST_RECORDS").ok();
        let records = said.map_or(records, |text| text.parse().expect("a number of records"));
        History::of(deployment, records).await
    }

    pub(crate) async fn of(deployment: &Deployment, records: usize) -> History {
        let kafka = Kafka {
            brokers: setting("LEMONAIR_KAFKA_BROKERS"),
            prefix: deployment.prefix().to_owned(),
            partitions: PARTITIONS,
            ..Kafka::default()
        };
        kafka.ensure_topics().await.expect("make topics");
        // What is written is older than gateways' counts are kept, and the broker looks every five minutes.
        let for_ever = Duration::from_secs(100 * 365 * 86_400);
        retention::keep(&kafka, &BTreeMap::from([(Topic::Presence, for_ever)]))
            .await
            .expect("keep the topics");
        let registry =
            Registry::open(&setting("LEMONAIR_REGISTRY_URL"), &kafka.prefix, None).expect("open");
        let mut avsc: serde_json::Value =
            serde_json::from_str(MessagePosted::SCHEMA).expect("an .avsc file is JSON");
        let fields = avsc["fields"].as_array_mut().expect("fields");
        fields.retain(|field| field["name"] != "reply_to");
        let older = Schema {
            topic: Topic::Chat,
            name: MessagePosted::NAME,
            avsc: avsc.to_string().leak(),
        };
        let older = registry.register(&older).await.expect("register");
        let codec = Codec::register(registry, Event::SCHEMAS).await;
        let producer = kafka.client().set("linger.ms", "20").create();
        let mut history = History {
            codec: Arc::new(codec.expect("register schemas")),
            older,
            producer: producer.expect("create producer"),
            kafka,
            ends: Default::default(),
            records: Vec::new(),
            corrupt: Vec::new(),
            span: 0,
            step: 2,
            count: 0,
        };
        history.extend(records);
        history
    }

    /// Writes so many more.
    pub(crate) fn extend(&mut self, records: usize) {
        let corrupt = (records / 4).max(3);
        self.count += records;
        for number in 0..records {
            // Clocks differ a little, and some times are the same.
            self.span += self.step;
            let at = BEGAN + self.span + i64::try_from(number * 7 % 13).expect("small");
            let room = ROOMS[number * 7 % ROOMS.len()];
            let event = event(number, room, at);
            let mut bytes = event.encode(&self.codec).expect("encode");
            if matches!(event, Event::MessagePosted(_)) && number % 3 == 0 {
                // The older schema lacks the last field, which is absent: one byte.
                bytes.truncate(bytes.len() - 1);
                bytes[1..5].copy_from_slice(&self.older.to_be_bytes());
            }
            self.put(event.topic(), room, (number, at), &bytes, true);
            if number % corrupt == 1 {
                let bytes = b"\0nobody can read this";
                self.put(Topic::Chat, room, (number, at), bytes, false);
            }
        }
        self.producer
            .flush(Duration::from_secs(60))
            .expect("kafka takes it");
    }

    fn put(
        &mut self,
        topic: Topic,
        room: &str,
        (number, at): (usize, i64),
        bytes: &[u8],
        good: bool,
    ) {
        let name = topic.in_kafka(&self.kafka.prefix);
        let partition = partition_of(room, PARTITIONS);
        let mut record = BaseRecord::to(&name)
            .partition(partition)
            .key(room)
            .payload(bytes)
            .timestamp(at);
        while let Err((_, back)) = self.producer.send(record) {
            record = back;
            self.producer.flush(Duration::from_secs(60)).expect("flush");
        }
        let index = Topic::ROOM
            .iter()
            .position(|room| *room == topic)
            .expect("a room's topic");
        let next = &mut self.ends[index][usize::try_from(partition).expect("positive")];
        let place = (format!("lemonair.{topic}"), i64::from(partition), *next);
        *next += 1;
        if !good {
            self.corrupt.push(place.clone());
        }
        self.records.push(Written {
            number,
            at,
            topic,
            room: room.to_owned(),
            place,
            good,
        });
    }

    /// The places of all that can be decoded, in the order of the merge, within `times`.
    pub(crate) fn good(&self, times: Range<i64>) -> Vec<Place> {
        merged(&self.records)
            .filter(|record| record.good && times.contains(&record.at))
            .map(|record| record.place.clone())
            .collect()
    }

    /// All that can be decoded, in the order of the merge.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        merged(&self.records)
            .filter(|record| record.good)
            .map(|record| event(record.number, &record.room, record.at))
    }

    /// The times of all that can be decoded on a topic, such as `lemonair.chat`.
    pub(crate) fn times(&self, topic: &str) -> Vec<i64> {
        self.records
            .iter()
            .filter(|record| record.good && record.place.0 == topic)
            .map(|record| record.at)
            .collect()
    }

    /// How many pairs there are of a donation and a message in its room, at most so many
    /// milliseconds apart.
    pub(crate) fn near(&self, millis: i64) -> usize {
        let of = |topic| {
            let records = self.records.iter();
            records.filter(move |record: &&Written| record.good && record.topic == topic)
        };
        let near = |donation: &Written| {
            let in_room = |message: &&Written| {
                message.room == donation.room && (message.at - donation.at).abs() <= millis
            };
            of(Topic::Chat).filter(in_room).count()
        };
        of(Topic::Donations).map(near).sum()
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.kafka.prefix
    }

    pub(crate) fn log(&self) -> Log {
        Log::open(&self.kafka, Arc::clone(&self.codec)).expect("open the log")
    }
}

/// Merges partitions by the time of their next records: a partition's own order stands.
fn merged(records: &[Written]) -> impl Iterator<Item = &Written> {
    let mut lanes: BTreeMap<(Topic, i64), VecDeque<&Written>> = BTreeMap::new();
    for record in records {
        let lane = lanes.entry((record.topic, record.place.1)).or_default();
        lane.push_back(record);
    }
    std::iter::from_fn(move || {
        let next = lanes
            .iter()
            .filter_map(|(key, lane)| Some((lane.front()?.at, *key)));
        let (_, key) = next.min()?;
        lanes.get_mut(&key)?.pop_front()
    })
}

fn event(number: usize, room: &str, at: i64) -> Event {
    let room = room.parse().expect("a room");
    let id = EventId(Uuid::from_u128(
        0x018b_cfe5_6800_7000_8000_0000_0000_0000 | number as u128,
    ));
    let at = Timestamp(at);
    let account = AccountId(Uuid::from_u128(
        0x018b_cfe5_6800_7000_9000_0000_0000_0000 | (number % 50) as u128,
    ));
    let actor = Some(Actor {
        id: account,
        name: format!("viewer{}", number % 50),
        roles: Vec::new(),
    });
    match number % 10 {
        0 => DonationAccepted {
            id,
            at,
            room,
            actor,
            streamer: account,
            amount: i64::try_from(number).expect("small"),
            message: "for \"you\", and you".to_owned(),
            key: "SECRET".to_owned(),
            anonymous: false,
            held: false,
        }
        .into(),
        1 => StreamStarted {
            id,
            at,
            room,
            actor,
            title: "Tea".to_owned(),
            ingest: "a".to_owned(),
            origin: "SECRET".to_owned(),
        }
        .into(),
        _ => MessagePosted {
            id,
            at,
            room,
            actor,
            text: format!("message {number}, Größe 🍋"),
            nonce: None,
            // Of those that the newer schema writes.
            reply_to: (number % 3 == 1).then_some(id),
        }
        .into(),
    }
}
