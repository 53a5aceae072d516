//! The topic that is read: an evening of a hundred rooms, under a prefix of its own.

use std::sync::Arc;

use lemonair_consumers::Kafka;
use lemonair_producers::Log;
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::{
    AccountId, Actor, Codec, Event, EventId, Records, Registry, RoomId, Timestamp, Topic,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) struct Past {
    pub(crate) kafka: Kafka,
    /// Bytes of a record.
    pub(crate) size: usize,
}

const ROOMS: u64 = 100;

/// 2026-01-02T19:00:00Z, and how long it goes on.
const BEGAN: i64 = 1_767_380_400_000;
const EVENING: f64 = 4.0 * 3_600_000.0;

/// One donation for so many messages.
const DONATION: u64 = 500;

/// Records under way while the past is written.
const BLOCK: u64 = 20_000;

impl Past {
    pub(crate) async fn write(brokers: &str, registry: &str, records: u64) -> anyhow::Result<Past> {
        let unique = Uuid::now_v7().simple().to_string();
        let kafka = Kafka {
            brokers: brokers.to_owned(),
            prefix: format!("bench{}.", &unique[20..]),
            ..Kafka::default()
        };
        kafka.ensure_topics().await?;
        let registry = Registry::open(registry, &kafka.prefix, None)?;
        let codec = Arc::new(Codec::register(registry, Event::SCHEMAS).await?);
        let log = Log::open(&kafka, Arc::clone(&codec))?;
        eprintln!("writing {records} records");
        let began = Instant::now();
        for block in 0..records.div_ceil(BLOCK) {
            let mut pending = Vec::new();
            for number in block * BLOCK..records.min((block + 1) * BLOCK) {
                pending.push(log.enqueue(&message(number, records))?);
                if number % DONATION == 0 {
                    pending.push(log.enqueue(&donation(number, records))?);
                }
            }
            for pending in pending {
                pending.confirmed().await?;
            }
        }
        eprintln!("written in {:.0} s", began.elapsed().as_secs_f64());
        let size = message(0, records).encode(&codec)?.len();
        Ok(Past { kafka, size })
    }

    pub(crate) fn topic(&self) -> String {
        Topic::Chat.in_kafka(&self.kafka.prefix)
    }

    pub(crate) async fn delete(self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.kafka.client().create()?;
        let names = Topic::ALL.map(|topic| topic.in_kafka(&self.kafka.prefix));
        let names = names.each_ref().map(String::as_str);
        admin.delete_topics(&names, &AdminOptions::new()).await?;
        Ok(())
    }
}

/// Most is said in the middle of the evening.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a time on a curve"
)]
fn at(number: u64, records: u64) -> Timestamp {
    let share = (number as f64 + 0.5) / records as f64;
    // Between the two, the curve of an S: quick at both ends of the evening, so less is said there.
    let bent = 0.5 + (2.0 * share - 1.0).asin() / std::f64::consts::PI;
    let place = 0.35 * share + 0.65 * bent;
    Timestamp(BEGAN + (EVENING * place) as i64)
}

fn room(number: u64) -> RoomId {
    let name = format!("room-{}", number.wrapping_mul(7919) % ROOMS);
    name.parse().expect("a room's name")
}

fn actor(number: u64) -> Option<Actor> {
    let author = number.wrapping_mul(31) % 5000 + 1;
    Some(Actor {
        id: AccountId(Uuid::from_u128(u128::from(author))),
        name: format!("viewer{author}"),
        roles: Vec::new(),
    })
}

fn message(number: u64, records: u64) -> Event {
    MessagePosted {
        id: EventId::new(),
        at: at(number, records),
        room: room(number),
        actor: actor(number),
        text: format!("message {number}: what a goal that was, did you see it?"),
        nonce: Some(format!("n{number}")),
        reply_to: None,
    }
    .into()
}

fn donation(number: u64, records: u64) -> Event {
    DonationAccepted {
        id: EventId::new(),
        at: at(number, records),
        room: room(number / DONATION),
        actor: actor(number),
        streamer: AccountId(Uuid::from_u128(1)),
        amount: i64::try_from(number % 977).unwrap_or(0) + 1,
        message: "for the show".to_owned(),
        key: format!("k{number}"),
        anonymous: false,
        held: false,
    }
    .into()
}
