//! The process is killed, at every step and at random, under load; the rows must be those of a clean
//! rebuild. What is killed is this very test binary, started to run the loops and nothing else.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use lemonair_schemas::{Position, Timestamp};
use lemonair_testkit::{codec, seed, within};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::process::{Child, Command};

use super::*;
use crate::fault::STEPS;
use crate::messages::Messages;
use crate::rebuild::tests::{dump, history, rebuild_one};
use crate::rebuild::{Options, rebuild};
use crate::run::tests::{Stage, put_poison};
use crate::scratch::{Folder, setting};
use crate::snapshot;

/// SIGABRT: it came to its step. SIGKILL: we were quicker.
const ABORTED: Option<i32> = Some(6);
const KILLED: Option<i32> = Some(9);

/// Starts `test` of this binary on the stage, to die at `fault` if there is one.
fn start(stage: &Stage, test: &str, fault: Option<&str>) -> Child {
    command(stage, test, fault).spawn().unwrap()
}

fn command(stage: &Stage, test: &str, fault: Option<&str>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    if let Some(fault) = fault {
        command.env("LEMONAIR_FAULT", fault);
    }
    command
        .args(["--exact", test])
        .env("LEMONAIR_VICTIM", &stage.cluster.kafka.prefix)
        .env("DATABASE_URL", &stage.db.url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The parts of a stage that somebody else has set, in a process started to be killed.
#[expect(clippy::disallowed_methods, reason = "that is how it is told")]
async fn cast() -> Option<Projector> {
    let prefix = std::env::var("LEMONAIR_VICTIM").ok()?;
    let url = setting("DATABASE_URL", "database_url");
    let mut kafka = Kafka {
        brokers: setting("LEMONAIR_KAFKA_BROKERS", "kafka_brokers"),
        prefix,
        ..Kafka::default()
    };
    // A static member: whoever comes next under the name need not wait for its session to run out.
    let name = ("group.instance.id".to_owned(), "victim".to_owned());
    kafka.options.extend([name]);
    Some(Projector {
        pool: crate::connect(&url, 8).await.unwrap(),
        kafka,
        codec: codec().await,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_victim() {
    if let Some(projector) = cast().await {
        projector.run(CancellationToken::new()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebuilding_victim() {
    if let Some(projector) = cast().await {
        unlocked(async || rebuild(&projector, &Messages, Options::default(), &mut |_| {}).await)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "that is how it is told")]
async fn snapshot_victim() {
    if let Some(Projector { pool, kafka, .. }) = cast().await {
        let folder = std::env::var("LEMONAIR_SNAPSHOTS").unwrap();
        unlocked(async || {
            snapshot::take(&pool, &kafka, &Messages, folder.as_ref(), Timestamp(1)).await
        })
        .await;
    }
}

/// Tries until the server has noticed that who held the lock is dead.
async fn unlocked<T>(work: impl AsyncFn() -> crate::Result<T>) -> T {
    within("the lock of who was killed", async {
        loop {
            match work().await {
                Err(Error::Busy(_)) => tokio::task::yield_now().await,
                done => return done.unwrap(),
            }
        }
    })
    .await
}

/// How often to kill: a few times usually, 200 times in `make chaos`.
#[expect(clippy::disallowed_methods, reason = "tests have no Config")]
fn kills() -> usize {
    let kills = std::env::var("LEMONAIR_KILLS").ok();
    kills.map_or(20, |kills| {
        kills.parse().expect("LEMONAIR_KILLS is a number")
    })
}

/// Something for every read model, and something for its dead letters.
async fn load(stage: &Stage, messages: u32) -> Vec<Position> {
    put_poison(&stage.cluster.kafka, Topic::Chat, "mint", b"no record").await;
    stage.append(history(messages)).await
}

/// How far the messages have come, over all partitions.
async fn progress(stage: &Stage) -> i64 {
    let mut connection = stage.db.pool.acquire().await.unwrap();
    let found = checkpoint::read(&mut connection, &Messages).await.unwrap();
    found.iter().map(|found| found.position.offset).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_the_rows_are_those_of_a_clean_rebuild() {
    let stage = Stage::set().await;
    let mut chance = StdRng::seed_from_u64(seed());
    let mut last = Vec::new();
    for kill in 0..kills().max(STEPS.len()) {
        let messages = chance.random_range(20..300);
        if let Some(step) = STEPS.get(kill).or_else(|| {
            let at_a_step: bool = chance.random();
            at_a_step.then(|| STEPS.choose(&mut chance)).flatten()
        }) {
            let fault = format!("{step}:{}", chance.random_range(1..=3));
            let mut victim = start(&stage, "run::kills::live_victim", Some(&fault));
            last = load(&stage, messages).await;
            let ended = within(&format!("death at {fault}"), victim.wait()).await;
            assert_eq!(ended.unwrap().signal(), ABORTED, "{fault}");
        } else {
            let reached = progress(&stage).await + chance.random_range(1..i64::from(messages));
            let mut victim = start(&stage, "run::kills::live_victim", None);
            last = load(&stage, messages).await;
            within("some progress", async {
                while progress(&stage).await < reached {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            victim.start_kill().unwrap();
            assert_eq!(victim.wait().await.unwrap().signal(), KILLED);
        }
    }
    let survivor = start(&stage, "run::kills::live_victim", None);
    stage.reach(&last).await;
    drop(survivor);

    let live = dump(&stage.db.pool).await;
    let letters = stage.letters().await;
    assert!(!letters.is_empty());
    let mut compared = 0;
    for projection in projection::ALL {
        let report = rebuild_one(&stage, projection, Options::default());
        let report = within("a rebuild", report).await.unwrap();
        // Nothing was broadcast and nobody watched, so there is nothing of that to compare.
        if let Some(comparison) = report.comparison {
            assert_eq!(comparison.differences, [], "{}", projection.name());
            compared += 1;
        }
    }
    assert_eq!(compared, projection::ALL.len() - 2);
    assert_eq!(dump(&stage.db.pool).await, live);
    let place = |letter: &crate::dead_letters::DeadLetter| (letter.id, letter.cause.clone());
    let again: Vec<_> = stage.letters().await.iter().map(place).collect();
    assert_eq!(again, letters.iter().map(place).collect::<Vec<_>>());
}

/// A rebuild that is killed goes on where it was, and one killed in the swap has swapped or has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_killed_at_any_step_is_ended_by_the_next() {
    let stage = Stage::set().await;
    let running = stage.run();
    stage.reach(&load(&stage, 3000).await).await;
    let before = stage.texts("mint").await;
    for fault in ["filled:2", "compared:1", "held:1", "renamed:1"] {
        let mut victim = start(&stage, "run::kills::rebuilding_victim", Some(fault));
        let ended = within(&format!("death at {fault}"), victim.wait()).await;
        assert_eq!(ended.unwrap().signal(), ABORTED, "{fault}");
        assert_eq!(stage.texts("mint").await, before, "{fault}");
        let last = stage.append(super::tests::numbered("lime", 0..5)).await;
        stage.reach(&last).await;
    }
    let report = unlocked(async || rebuild_one(&stage, &Messages, Options::default()).await).await;
    assert_eq!(report.comparison.unwrap().differences, []);
    assert_eq!(stage.texts("mint").await, before);
    running.stop().await;
}

/// What looks like a snapshot is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_killed_while_it_is_taken_is_none() {
    let stage = Stage::set().await;
    let folder = Folder::new();
    let running = stage.run();
    stage.reach(&load(&stage, 100).await).await;
    running.stop().await;
    for fault in ["dumped:1", "dumped:2", "written:1"] {
        let mut victim = command(&stage, "run::kills::snapshot_victim", Some(fault))
            .env("LEMONAIR_SNAPSHOTS", &folder.path)
            .spawn()
            .unwrap();
        let ended = within(&format!("death at {fault}"), victim.wait()).await;
        assert_eq!(ended.unwrap().signal(), ABORTED, "{fault}");
        assert_eq!(snapshot::list(&folder.path).unwrap(), [], "{fault}");
        assert_eq!(
            std::fs::read_dir(&folder.path).unwrap().count(),
            1,
            "{fault}"
        );
    }
    let (pool, kafka) = (&stage.db.pool, &stage.cluster.kafka);
    unlocked(async || snapshot::take(pool, kafka, &Messages, &folder.path, Timestamp(2)).await)
        .await;
    // What was left is gone, too.
    assert_eq!(snapshot::list(&folder.path).unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(&folder.path).unwrap().count(), 1);
}
