//! What stands on the topics in the end, and what must be true of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use lemonair_consumers::{Consumed, Feed, Watermark, watermarks};
use lemonair_schemas::command::{Answer, Answered};
use lemonair_schemas::ledger::Book;
use lemonair_schemas::{AccountId, Event, EventId, Position, Records, Topic};
use lemonair_testkit::{Cluster, within};

/// Everything that is committed.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) events: Vec<(Position, Event)>,
    pub(crate) answers: Vec<Answered>,
}

/// Reads what is committed of some topics.
pub(crate) async fn read<R: Records>(cluster: &Cluster, topics: &[Topic]) -> Vec<Consumed<R>> {
    let marks = watermarks(&cluster.kafka, topics)
        .await
        .expect("watermarks");
    let from = Vec::from_iter(marks.iter().map(Watermark::start));
    let codec = Arc::clone(&cluster.codec);
    let mut feed = Feed::open(&cluster.kafka, codec, &from).expect("open feed");
    let mut records = Vec::new();
    within("the ends of the topics", async {
        loop {
            let batch = feed.next(1000).await.expect("read");
            records.extend(batch.records);
            let reached = |mark: &Watermark| {
                let mut next = batch.next.iter();
                let end = mark.end();
                next.any(|next| {
                    (next.topic, next.partition) == (end.topic, end.partition)
                        && next.offset >= end.offset
                })
            };
            if marks.iter().all(reached) {
                return;
            }
        }
    })
    .await;
    records
}

impl Books {
    pub(crate) async fn read(cluster: &Cluster) -> Books {
        let events = read::<Event>(cluster, &Topic::FACTS).await;
        let answers = read::<Answer>(cluster, &[Topic::Answers]).await;
        let event = |record: Consumed<Event>| (record.position, record.content.expect("an event"));
        let answer = |record: Consumed<Answer>| {
            let Answer::Answered(answered) = record.content.expect("an answer");
            answered
        };
        Books {
            events: events.into_iter().map(event).collect(),
            answers: answers.into_iter().map(answer).collect(),
        }
    }

    /// Whatever was asked: entries balance, wallets are never overdrawn, every donation and refund
    /// has its one entry, no key was decided twice, and every answer points at what it made.
    pub(crate) fn check(&self) {
        let mut books: HashMap<(String, Book), i64> = HashMap::new();
        let mut moved: HashMap<(&'static str, EventId), usize> = HashMap::new();
        let mut keys: HashSet<(AccountId, &str)> = HashSet::new();
        let mut ids: HashSet<EventId> = HashSet::new();
        let at: HashMap<Position, &Event> =
            self.events.iter().map(|(at, event)| (*at, event)).collect();
        for (position, event) in &self.events {
            assert!(ids.insert(event.id()), "{event:?} stands twice");
            match event {
                Event::EntryPosted(entry) => {
                    let sum: i64 = entry.postings.iter().map(|posting| posting.amount).sum();
                    assert_eq!(sum, 0, "{entry:?}");
                    for posting in &entry.postings {
                        let book = books
                            .entry((posting.account.clone(), posting.book))
                            .or_default();
                        *book += posting.amount;
                        // A wallet's entries are all in one partition, so in order.
                        assert!(
                            *book >= 0 || posting.book != Book::Wallet,
                            "overdrawn at {position:?}"
                        );
                    }
                    if let Some(donation) = entry.donation {
                        let kind = match entry.kind {
                            lemonair_schemas::ledger::Kind::Refund => "refund",
                            _ => "donation",
                        };
                        *moved.entry((kind, donation)).or_default() += 1;
                    }
                }
                Event::DonationAccepted(donation) => {
                    let donor = donation.actor.as_ref().expect("a donor").id;
                    assert!(
                        keys.insert((donor, &donation.key)),
                        "{donation:?} was decided twice"
                    );
                }
                _ => {}
            }
        }
        for (_, event) in &self.events {
            let moved = |kind, id| moved.get(&(kind, id)).copied();
            match event {
                Event::DonationAccepted(it) => assert_eq!(moved("donation", it.id), Some(1)),
                Event::DonationRefunded(it) => assert_eq!(moved("refund", it.donation), Some(1)),
                _ => {}
            }
        }
        assert_eq!(books.values().sum::<i64>(), 0);
        let mut answered = HashSet::new();
        for answer in &self.answers {
            assert!(answered.insert(answer.id), "{answer:?} was answered twice");
            assert_eq!(answer.event.is_some(), answer.refusal.is_none());
            let made: Vec<EventId> = answer
                .positions
                .iter()
                .map(|position| {
                    at.get(position)
                        .expect("an event where the answer says")
                        .id()
                })
                .collect();
            match answer.event {
                // A retry is told of the event, not where it stands.
                Some(event) => assert!(made.is_empty() || made[0] == event),
                None => assert!(made.is_empty()),
            }
            if let Some(event) = answer.event {
                assert!(ids.contains(&event), "{answer:?} is about nothing");
            }
        }
    }

    pub(crate) fn kinds(&self) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::new();
        for (_, event) in &self.events {
            *kinds.entry(event.kind()).or_default() += 1;
        }
        kinds
    }

    pub(crate) fn wallet(&self, account: AccountId) -> i64 {
        let mut balance = 0;
        for (_, event) in &self.events {
            let Event::EntryPosted(entry) = event else {
                continue;
            };
            for posting in &entry.postings {
                if posting.book == Book::Wallet && posting.account == account.to_string() {
                    balance += posting.amount;
                }
            }
        }
        balance
    }
}
