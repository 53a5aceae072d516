//! What a decider does: donations decided in a second, how long one waits for its answer, and how
//! long a restart takes with many accounts. On the real broker, with all partitions in one decider.
//!
//! `cargo bench -p lemonair-producers -- [DONATIONS] [SECONDS] [ACCOUNTS]`

#![expect(
    clippy::print_stdout,
    reason = "it prints figures and has nothing else to do"
)]

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use lemonair_consumers::kafka::partition_of;
use lemonair_producers::decide::Terms;
use lemonair_producers::{Decider, Desk, Log};
use lemonair_schemas::command::{Command, Donate, TopUp};
use lemonair_schemas::decider::{Memory, Wallet};
use lemonair_schemas::{AccountId, EventId, Records, Timestamp, Topic};
use lemonair_testkit::Cluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Requests under way at once where the rate is measured.
const AT_ONCE: usize = 1000;
const RATE: u64 = 100;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let sizes = std::env::args()
        .skip(1)
        .filter_map(|size| size.parse::<u64>().ok());
    let sizes: Vec<u64> = sizes.collect();
    let size = |n: usize, usual| sizes.get(n).copied().unwrap_or(usual);
    let (donations, seconds, accounts) = (size(0, 20_000), size(1, 20), size(2, 1_000_000));
    let cluster = Cluster::start().await;
    let donors: Vec<AccountId> = (0..500).map(|_| AccountId::new()).collect();

    let (desk, _answers) = desk(&cluster).await;
    let decider = Running::start(&cluster);
    each(
        &desk,
        donors.iter().map(|donor| top_up(*donor, 1_000_000).into()),
    )
    .await;
    let gifts = |n: u64| {
        let donors = donors.clone();
        (0..n).map(move |n| donate(donors[usize::try_from(n).unwrap_or(0) % donors.len()]).into())
    };
    let began = Instant::now();
    let waits = each(&desk, gifts(donations)).await;
    let rate = count(donations) / began.elapsed().as_secs_f64();
    println!(
        "{donations} donations, {AT_ONCE} at once: {rate:.0} decided/s, p99 {:?}",
        p99(waits)
    );

    let mut asked = Vec::new();
    let mut ticks =
        tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE).unwrap_or(1));
    for gift in gifts(RATE * seconds) {
        ticks.tick().await;
        let desk = desk.clone();
        asked.push(tokio::spawn(async move { ask(&desk, gift).await }));
    }
    let mut waits = Vec::new();
    for asked in asked {
        waits.push(asked.await.expect("an answer"));
    }
    println!(
        "{RATE} donations/s for {seconds} s: p50 {:?}, p99 {:?}",
        p(&mut waits, 50),
        p99(waits)
    );
    decider.stop().await;

    fill(&cluster, accounts);
    // One that each partition answers: then it has restored all.
    let mut first: Vec<AccountId> = Vec::new();
    while first.len() < usize::try_from(cluster.kafka.partitions).unwrap_or(0) {
        let account = AccountId::new();
        let part = partition_of(&account.to_string(), cluster.kafka.partitions);
        if part == i32::try_from(first.len()).unwrap_or(0) {
            first.push(account);
        }
    }
    let began = Instant::now();
    let decider = Running::start(&cluster);
    each(
        &desk,
        first.iter().map(|account| top_up(*account, 1).into()),
    )
    .await;
    println!(
        "restart with {accounts} accounts and {donations} donations: {:?}",
        began.elapsed()
    );
    decider.stop().await;
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(cluster: &Cluster) -> Running {
        let shutdown = CancellationToken::new();
        let decider = Decider {
            kafka: cluster.kafka.clone(),
            codec: Arc::clone(&cluster.codec),
            terms: Terms::default(),
        };
        let running = decider.run(shutdown.clone());
        let task = tokio::spawn(async move { running.await.expect("decider") });
        Running { shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("decider");
    }
}

async fn desk(cluster: &Cluster) -> (Desk, JoinHandle<()>) {
    let codec = Arc::clone(&cluster.codec);
    let log = Log::open(&cluster.kafka, Arc::clone(&codec)).expect("open log");
    let desk = Desk::open(&cluster.kafka, codec, log, CancellationToken::new());
    let (desk, answers) = desk.await.expect("open desk");
    (
        desk,
        tokio::spawn(async move { answers.await.expect("answers") }),
    )
}

/// Asks for all, [`AT_ONCE`] at a time; how long each waited.
async fn each(desk: &Desk, commands: impl Iterator<Item = Command>) -> Vec<Duration> {
    let asked = stream::iter(commands).map(|command| ask(desk, command));
    asked.buffer_unordered(AT_ONCE).collect().await
}

async fn ask(desk: &Desk, command: Command) -> Duration {
    let began = Instant::now();
    // A decider that restores for longer than a desk waits is asked again.
    let answered = loop {
        match desk.ask(command.clone()).await {
            Ok(answered) => break answered,
            Err(lemonair_producers::Error::Unanswered) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(answered.refusal, None);
    began.elapsed()
}

/// Accounts with points, as a decider would have left them.
fn fill(cluster: &Cluster, accounts: u64) {
    let producer: BaseProducer = cluster
        .kafka
        .client()
        .set("linger.ms", "20")
        .set("compression.type", "lz4")
        .create()
        .expect("a producer");
    let topic = Topic::Decider.in_kafka(&cluster.kafka.prefix);
    let wallet = Memory::Wallet(Wallet { balance: 100 });
    let wallet = wallet.encode(&cluster.codec).expect("encode");
    for _ in 0..accounts {
        let account = AccountId::new().to_string();
        let key = format!("w:{account}");
        let part = partition_of(&account, cluster.kafka.partitions);
        let mut record = BaseRecord::to(&topic)
            .key(&key)
            .payload(&wallet)
            .partition(part);
        while let Err((_, again)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = again;
        }
    }
    producer.flush(Duration::from_secs(60)).expect("flush");
}

fn top_up(account: AccountId, amount: i64) -> TopUp {
    TopUp {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        key: EventId::new().to_string(),
        amount,
        refunded: 0,
        paid: None,
    }
}

fn donate(account: AccountId) -> Donate {
    Donate {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        name: "Donor".to_owned(),
        key: EventId::new().to_string(),
        room: "mint".parse().expect("a room"),
        streamer: AccountId::new(),
        amount: 1,
        message: "for the show".to_owned(),
        anonymous: false,
        held: false,
        minimum: 1,
        maximum: 1_000_000,
        obstacle: None,
    }
}

fn p99(mut waits: Vec<Duration>) -> Duration {
    p(&mut waits, 99)
}

fn p(waits: &mut [Duration], percent: usize) -> Duration {
    waits.sort_unstable();
    waits[waits.len() * percent / 100]
}

fn count(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
