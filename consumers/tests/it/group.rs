use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lemonair_consumers::{Batch, Group, Kafka, Step};
use lemonair_schemas::{Codec, Event, Position, Topic};
use lemonair_testkit::{Cluster, seed, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::write::{at, producer, put_messages, text};

/// Where a projection would keep its effects: rows and how far they reach, fenced by owner.
#[derive(Debug, Default)]
struct Effects {
    owners: BTreeMap<i32, usize>,
    next: BTreeMap<i32, i64>,
    texts: BTreeMap<i32, Vec<String>>,
}

impl Effects {
    fn take(&mut self, member: usize, ours: &[(Topic, i32)]) -> Vec<Position> {
        for (_, partition) in ours {
            self.owners.insert(*partition, member);
        }
        ours.iter()
            .map(|(topic, partition)| at(*topic, *partition, self.next_of(*partition)))
            .collect()
    }

    fn apply(&mut self, member: usize, batch: Batch<Event>) {
        let owned = |effects: &Effects, position: &Position| {
            effects.owners.get(&position.partition) == Some(&member)
        };
        for record in batch.records {
            if !owned(self, &record.position) {
                continue;
            }
            let Position {
                partition, offset, ..
            } = record.position;
            assert_eq!(offset, self.next_of(partition), "gap, or twice the same");
            self.next.insert(partition, offset + 1);
            let texts = self.texts.entry(partition).or_default();
            texts.push(text(&record.content));
        }
        for position in batch.next {
            if owned(self, &position) {
                assert_eq!(position.offset, self.next_of(position.partition));
            }
        }
    }

    fn next_of(&self, partition: i32) -> i64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }

    fn applied(&self) -> usize {
        self.texts.values().map(Vec::len).sum()
    }

    /// Partitions of each member.
    fn shares(&self) -> BTreeMap<usize, Vec<i32>> {
        let mut shares = BTreeMap::<usize, Vec<i32>>::new();
        for (partition, member) in &self.owners {
            shares.entry(*member).or_default().push(*partition);
        }
        shares
    }
}

/// Members of one group, over common effects.
struct Members {
    kafka: Kafka,
    codec: Arc<Codec>,
    effects: Arc<Mutex<Effects>>,
    changed: watch::Sender<()>,
    running: Vec<(usize, CancellationToken, JoinHandle<()>)>,
    joined: usize,
}

impl Members {
    fn new(cluster: &Cluster) -> Members {
        Members {
            kafka: cluster.kafka.clone(),
            codec: Arc::clone(&cluster.codec),
            effects: Arc::default(),
            changed: watch::Sender::new(()),
            running: Vec::new(),
            joined: 0,
        }
    }

    fn join(&mut self) -> usize {
        let member = self.joined;
        self.joined += 1;
        let stop = CancellationToken::new();
        let task = tokio::spawn(consume(
            Group::join(
                &self.kafka,
                Arc::clone(&self.codec),
                "readers",
                &[Topic::Chat],
            )
            .expect("join group"),
            member,
            Arc::clone(&self.effects),
            self.changed.clone(),
            stop.clone(),
        ));
        self.running.push((member, stop, task));
        member
    }

    async fn leave(&mut self, index: usize) {
        let (_, stop, task) = self.running.remove(index);
        stop.cancel();
        task.await.expect("a member that leaves");
    }

    /// Waits until the effects are so; fails at once if a member does.
    async fn until(&mut self, what: &str, so: impl Fn(&Effects) -> bool) {
        let mut changed = self.changed.subscribe();
        within(what, async {
            while !so(&*self.effects.lock().await) {
                changed.changed().await.expect("the sender is here");
                for (member, _, task) in &self.running {
                    assert!(!task.is_finished(), "member {member} failed");
                }
            }
        })
        .await;
    }
}

async fn consume(
    mut group: Group<Event>,
    member: usize,
    effects: Arc<Mutex<Effects>>,
    changed: watch::Sender<()>,
    stop: CancellationToken,
) {
    while let Some(step) = stop.run_until_cancelled(group.next(7)).await {
        let mut effects = effects.lock().await;
        match step.expect("next step") {
            Step::Assigned(ours) => {
                let from = effects.take(member, &ours);
                group.start(&from).expect("start");
            }
            Step::Revoked => {}
            Step::Batch(batch) => effects.apply(member, batch),
        }
        changed.send_replace(());
    }
    // Leaving blocks until the broker knows.
    tokio::task::spawn_blocking(move || drop(group))
        .await
        .expect("leave group");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_partitions_and_hand_them_over() {
    let cluster = Cluster::start().await;
    let mut members = Members::new(&cluster);
    members.join();
    members
        .until("all for one", |effects| effects.owners.len() == 3)
        .await;
    members.join();
    members
        .until("a fair share", |effects| effects.shares().len() == 2)
        .await;
    members.leave(0).await;
    members
        .until("all for the other", |effects| {
            effects.shares() == BTreeMap::from([(1, vec![0, 1, 2])])
        })
        .await;
    members.leave(0).await;

    let reader: BaseConsumer = cluster
        .kafka
        .client()
        .set("group.id", format!("{}readers", cluster.kafka.prefix))
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    let name = Topic::Chat.in_kafka(&cluster.kafka.prefix);
    list.add_partition_range(&name, 0, 2);
    let committed = reader
        .committed_offsets(list, Duration::from_secs(30))
        .unwrap();
    for element in committed.elements() {
        assert_eq!(element.offset(), Offset::Invalid, "nothing is committed");
    }
}

#[tokio::test]
async fn begins_exactly_where_it_is_told() {
    let cluster = Cluster::start().await;
    let writer = producer(&cluster.kafka);
    put_messages(&cluster, &writer, 1, 0..20).await;
    let mut group = Group::<Event>::join(
        &cluster.kafka,
        Arc::clone(&cluster.codec),
        "readers",
        &[Topic::Chat],
    )
    .unwrap();
    let read = within("13 records", async {
        let mut read = Vec::new();
        loop {
            match group.next(1000).await.unwrap() {
                Step::Assigned(ours) => {
                    assert_eq!(ours, [0, 1, 2].map(|partition| (Topic::Chat, partition)));
                    let from = [0, 7, 0];
                    let from = from
                        .iter()
                        .zip(0..)
                        .map(|(from, p)| at(Topic::Chat, p, *from));
                    group.start(&Vec::from_iter(from)).unwrap();
                }
                Step::Revoked => panic!("nobody else is here"),
                Step::Batch(batch) => {
                    read.extend(batch.records.iter().map(|record| record.position));
                    if batch.next.iter().any(|next| next.offset == 20) {
                        return read;
                    }
                }
            }
        }
    })
    .await;
    assert_eq!(read, Vec::from_iter((7..20).map(|n| at(Topic::Chat, 1, n))));
}

/// Members come and go by chance while a writer goes on: every record takes effect once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_takes_effect_once_whoever_comes_and_goes() {
    let cluster = Arc::new(Cluster::start().await);
    let mut members = Members::new(&cluster);
    members.join();
    let stop = CancellationToken::new();
    let writing = tokio::spawn(write(Arc::clone(&cluster), stop.clone()));

    let mut chance = StdRng::seed_from_u64(seed());
    for _ in 0..7 {
        let many = chance.random_range(1..300);
        let before = members.effects.lock().await.applied();
        members
            .until("more records", |effects| effects.applied() >= before + many)
            .await;
        if members.running.len() == 1 || (chance.random() && members.running.len() < 4) {
            members.join();
        } else {
            let who = chance.random_range(0..members.running.len());
            members.leave(who).await;
        }
    }
    stop.cancel();
    let written = writing.await.expect("writer");
    members
        .until("the end", |effects| effects.applied() == written)
        .await;
    let effects = members.effects.lock().await;
    for (partition, texts) in &effects.texts {
        let expected = Vec::from_iter((0..texts.len()).map(|n| n.to_string()));
        assert_eq!(*texts, expected, "partition {partition}");
    }
}

/// Writes on every partition until `stop`; gives the number of records.
async fn write(cluster: Arc<Cluster>, stop: CancellationToken) -> usize {
    let writer = producer(&cluster.kafka);
    let mut written = 0;
    for round in 0.. {
        if stop.is_cancelled() {
            break;
        }
        for partition in 0..3 {
            put_messages(&cluster, &writer, partition, round..round + 1).await;
            written += 1;
        }
    }
    written
}
