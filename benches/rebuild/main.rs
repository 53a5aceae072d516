//! What a rebuild of a long chat costs, and what live readers feel of it meanwhile: the projections run
//! in this process on the real broker, registry and database, and somebody goes on chatting.
//!
//! `cargo bench -p lemonair-bench --bench rebuild -- rebuild=10000000` takes ten million records instead
//! of the usual number.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints figures and has nothing else to do"
)]

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use lemonair_consumers::{Kafka, watermarks};
use lemonair_producers::Log;
use lemonair_projections::messages::Messages;
use lemonair_projections::rebuild::{Options, Phase, Progress, rebuild};
use lemonair_projections::{Checkpoints, Projector};
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::{
    AccountId, Actor, Codec, Event, EventId, Records, Registry, RoomId, Timestamp, Topic,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Measures a rebuild of the chat's read model, beside live writes.
#[derive(Parser)]
struct Cli {
    /// rebuild=RECORDS; anything else is meant for another benchmark
    scenario: Vec<String>,
    /// Chat records of the past
    #[arg(long, default_value_t = 200_000, env = "LEMONAIR_BENCH_RECORDS")]
    records: u64,
    /// Live messages a second beside the rebuild
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Deserialize)]
struct Stack {
    kafka_brokers: String,
    registry_url: String,
    database_url: String,
}

/// Everything that is measured.
struct Stage {
    kafka: Kafka,
    projector: Projector,
    log: Log,
    checkpoints: Checkpoints,
}

const ROOMS: u64 = 100;

/// Records under way while the past is written.
const BLOCK: u64 = 20_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut cli = Cli::parse();
    let Some(records) = lemonair_bench::records("rebuild", &cli.scenario, cli.records)? else {
        return Ok(());
    };
    cli.records = records;
    let (stage, url) = Stage::set().await?;
    eprintln!("writing {} records", cli.records);
    let began = Instant::now();
    stage.write_past(cli.records).await?;
    eprintln!(
        "written at {:.0}/s",
        per_second(cli.records, began.elapsed())
    );

    let stop = CancellationToken::new();
    let running = tokio::spawn(stage.projector.clone().run(stop.clone()));
    let began = Instant::now();
    stage.catch_up().await?;
    println!(
        "live loop, from nothing    {:>9.0} records/s",
        per_second(cli.records, began.elapsed())
    );

    let quiet = stage.lag(cli.rate, Until::Seconds(10)).await?;
    println!("live lag, {:>4}/s           {}", cli.rate, quiet.line());
    let busy = stage.lag(2000, Until::Seconds(10)).await?;
    println!("live lag, 2000/s           {}", busy.line());

    // The highest memory use from here on.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    let before = memory("VmRSS")?;
    let began = Instant::now();
    let done = CancellationToken::new();
    let mut compared = Compared::default();
    let mut tell = |progress: Progress| compared.tell(progress.phase);
    let run = async {
        let report = rebuild(&stage.projector, &Messages, Options::default(), &mut tell).await;
        let took = began.elapsed();
        done.cancel();
        anyhow::Ok((took, report?))
    };
    let (rebuilt, meanwhile) = tokio::join!(run, stage.lag(cli.rate, Until::Done(&done)));
    let ((took, report), meanwhile) = (rebuilt?, meanwhile?);
    let comparison = report.comparison.context("there is a live model")?;
    ensure!(
        comparison.differing == 0,
        "the rebuilt model differs: {comparison:?}"
    );
    println!(
        "rebuild beside it          {:>9.0} records/s ({} in {:.1} s, of which {:.1} s were comparing)",
        per_second(report.records, took),
        report.records,
        took.as_secs_f64(),
        compared.took.as_secs_f64()
    );
    println!(
        "  but for comparing        {:>9.0} records/s",
        per_second(report.records, took.saturating_sub(compared.took))
    );
    println!(
        "live lag, {:>4}/s, meanwhile {}",
        cli.rate,
        meanwhile.line()
    );
    println!(
        "  ratio of p99             {:>9.2}",
        meanwhile.quantile(0.99) / quiet.quantile(0.99)
    );
    println!(
        "memory before, highest     {:>6} MiB, {} MiB",
        before / 1024,
        memory("VmHWM")? / 1024
    );
    stop.cancel();
    running.await?;
    let (rows, took) = stage.server_alone().await?;
    println!(
        "the server alone           {:>9.0} rows/s ({rows} copied from table to table in the order of time)",
        per_second(rows, took)
    );
    stage.clean(&url).await
}

/// How long a rebuild compares.
#[derive(Default)]
struct Compared {
    since: Option<Instant>,
    took: Duration,
}

impl Compared {
    fn tell(&mut self, phase: Phase) {
        match (phase, self.since) {
            (Phase::Comparing, None) => self.since = Some(Instant::now()),
            (Phase::Comparing, Some(_)) | (_, None) => {}
            (_, Some(since)) => {
                self.took += since.elapsed();
                self.since = None;
            }
        }
    }
}

// === impl Stage ===

impl Stage {
    async fn set() -> anyhow::Result<(Stage, String)> {
        let stack = Stack::find()?;
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let kafka = Kafka {
            brokers: stack.kafka_brokers,
            prefix: format!("bench{}.", &unique[20..]),
            ..Kafka::default()
        };
        kafka.ensure_topics().await?;
        let registry = Registry::open(&stack.registry_url, &kafka.prefix, None)?;
        let codec = Arc::new(Codec::register(registry, Event::SCHEMAS).await?);
        let (server, _) = stack
            .database_url
            .rsplit_once('/')
            .context("database_url")?;
        let url = format!("{server}/lemonair_bench_{unique}");
        let pool = lemonair_projections::connect(&url, 30).await?;
        let stage = Stage {
            log: Log::open(&kafka, Arc::clone(&codec))?,
            checkpoints: Checkpoints::start(pool.clone()),
            projector: Projector {
                pool,
                kafka: kafka.clone(),
                codec,
            },
            kafka,
        };
        Ok((stage, url))
    }

    async fn write_past(&self, records: u64) -> anyhow::Result<()> {
        for block in 0..records.div_ceil(BLOCK) {
            let numbers = block * BLOCK..records.min((block + 1) * BLOCK);
            let pending: Result<Vec<_>, _> = numbers
                .map(|number| self.log.enqueue(&message(number)))
                .collect();
            for pending in pending? {
                pending.confirmed().await?;
            }
        }
        Ok(())
    }

    async fn catch_up(&self) -> anyhow::Result<()> {
        for mut end in watermarks(&self.kafka, &[Topic::Chat])
            .await?
            .iter()
            .map(lemonair_consumers::Watermark::end)
        {
            end.offset -= 1;
            let long = Duration::from_secs(3600);
            let there = self.checkpoints.wait("messages", end, long);
            ensure!(
                end.offset < 0 || there.await,
                "the live loop does not come to {end:?}"
            );
        }
        Ok(())
    }

    /// Writes at a rate, and notes of some records how long they take from `append` to the read model.
    async fn lag(&self, rate: u32, until: Until<'_>) -> anyhow::Result<Lags> {
        const TICK: Duration = Duration::from_millis(20);
        let (tasks, lags) = (TaskTracker::new(), Arc::new(Mutex::new(Vec::new())));
        let began = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut number = 0;
        while !until.is_over(began) {
            ticks.tick().await;
            let due = u64::from(rate) * u64::try_from(began.elapsed().as_millis())? / 1000;
            let mut noted = false;
            while number < due {
                let at = Instant::now();
                let pending = self.log.enqueue(&message(number))?;
                number += 1;
                if std::mem::replace(&mut noted, true) {
                    continue;
                }
                let (checkpoints, lags) = (self.checkpoints.clone(), Arc::clone(&lags));
                tasks.spawn(async move {
                    let Ok(position) = pending.confirmed().await else {
                        return;
                    };
                    let long = Duration::from_secs(60);
                    checkpoints.wait("messages", position, long).await;
                    lags.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(at.elapsed());
                });
            }
        }
        tasks.close();
        tasks.wait().await;
        let mut lags = std::mem::take(&mut *lags.lock().unwrap_or_else(PoisonError::into_inner));
        lags.sort_unstable();
        Ok(Lags(lags))
    }

    /// How fast the server fills the same table from another one: nothing is read from Kafka, decoded, or
    /// sent to it.
    async fn server_alone(&self) -> anyhow::Result<(u64, Duration)> {
        let pool = &self.projector.pool;
        sqlx::query("CREATE TABLE copied LIKE messages")
            .execute(pool)
            .await?;
        let began = Instant::now();
        let copied =
            sqlx::query("INSERT INTO copied SELECT * FROM messages ORDER BY id LIMIT 1000000")
                .execute(pool)
                .await?;
        Ok((copied.rows_affected(), began.elapsed()))
    }

    async fn clean(self, url: &str) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.kafka.client().create()?;
        let names = Topic::ALL.map(|topic| topic.in_kafka(&self.kafka.prefix));
        let names = names.each_ref().map(String::as_str);
        admin.delete_topics(&names, &AdminOptions::new()).await?;
        let options: sqlx::mysql::MySqlConnectOptions = url.parse()?;
        let database = options.get_database().unwrap_or_default().to_owned();
        let mut connection = options.connect().await?;
        for suffix in ["", "_shadow", "_old"] {
            let sql = format!("DROP DATABASE IF EXISTS `{database}{suffix}`");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await?;
        }
        Ok(connection.close().await?)
    }
}

impl Stack {
    fn find() -> anyhow::Result<Stack> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Figment::new()
            .merge(Toml::file(workspace.join(".lemonair/stack.toml")))
            .merge(Env::prefixed("LEMONAIR_").only(&["kafka_brokers", "registry_url"]))
            .merge(Env::raw().only(&["DATABASE_URL"]))
            .extract()
            .context("find the services: run `stack/stack up`, or `make bench`")
    }
}

fn message(number: u64) -> Event {
    let room = format!("room-{}", number % ROOMS);
    let author = u128::from(number % 5000) + 1;
    MessagePosted {
        id: EventId::new(),
        at: Timestamp::now(),
        room: room.parse::<RoomId>().expect("a room's name"),
        actor: Some(Actor {
            id: AccountId(uuid::Uuid::from_u128(author)),
            name: format!("viewer{author}"),
            roles: Vec::new(),
        }),
        text: format!("message {number}: what a goal that was, did you see it?"),
        nonce: Some(uuid::Uuid::new_v4().to_string()),
        reply_to: None,
    }
    .into()
}

// === Figures ===

enum Until<'a> {
    Seconds(u64),
    Done(&'a CancellationToken),
}

impl Until<'_> {
    fn is_over(&self, began: Instant) -> bool {
        match self {
            Until::Seconds(seconds) => began.elapsed() >= Duration::from_secs(*seconds),
            Until::Done(done) => done.is_cancelled(),
        }
    }
}

/// In order.
struct Lags(Vec<Duration>);

impl Lags {
    /// Milliseconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank"
    )]
    fn quantile(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share) as usize;
        let lag = self.0.get(rank.min(self.0.len().saturating_sub(1)));
        lag.map_or(0.0, |lag| lag.as_secs_f64() * 1000.0)
    }

    fn line(&self) -> String {
        let (half, most) = (self.quantile(0.5), self.quantile(0.99));
        format!(
            "p50 {half:>6.0} ms, p99 {most:>6.0} ms ({} seen)",
            self.0.len()
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(records: u64, took: Duration) -> f64 {
    records as f64 / took.as_secs_f64()
}

/// KiB, by the kernel's name.
fn memory(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.context("the kernel says no such thing")?.parse()?)
}
