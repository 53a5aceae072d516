//! What operators do to rebuilds: hold them, go back, rebuild a part.

use lemonair_schemas::Event;
use lemonair_testkit::within;
use sqlx::{AssertSqlSafe, MySqlPool};
use tokio_util::sync::CancellationToken;

use super::tests::{dump, history, rebuild_one};
use super::*;
use crate::channels::Channels;
use crate::dead_letters;
use crate::messages::Messages;
use crate::run::tests::{Stage, numbered, numbers, put_poison};
use crate::scratch::{at, room, said};
use crate::viewers::Viewers;
use crate::wallets::Wallets;

async fn state(pool: &MySqlPool) -> State {
    rebuilds(pool).await.unwrap()[0].state
}

async fn forge(stage: &Stage, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&stage.db.pool)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_is_held_and_let_go_from_elsewhere() {
    let stage = Stage::set().await;
    stage.append(numbered("mint", 0..9000)).await;
    let pool = stage.db.pool.clone();
    let early = pause(&pool, &Messages, true).await;
    assert!(
        matches!(early, Err(Error::NotRebuilding("messages"))),
        "{early:?}"
    );

    let (projector, runtime) = (stage.projector(), tokio::runtime::Handle::current());
    let held = tokio::sync::Notify::new();
    let mut asked = false;
    let mut tell = |progress: Progress| {
        if !asked {
            asked = true;
            // Held before it reads on.
            tokio::task::block_in_place(|| {
                runtime.block_on(pause(&pool, &Messages, true)).unwrap();
            });
        } else if progress.phase == Phase::Paused {
            held.notify_one();
        }
    };
    let run = Box::pin(rebuild(
        &projector,
        &Messages,
        Options::default(),
        &mut tell,
    ));
    let let_go = async {
        held.notified().await;
        let seen = &rebuilds(&stage.db.pool).await.unwrap()[0];
        assert_eq!(seen.state, State::Paused);
        assert!(seen.done < seen.total, "{seen:?}");
        // Held is not let go of by waiting.
        held.notified().await;
        pause(&stage.db.pool, &Messages, false).await.unwrap();
    };
    let (report, ()) = within("a rebuild", async { tokio::join!(run, let_go) }).await;
    assert!(report.unwrap().swapped);
    assert_eq!(state(&stage.db.pool).await, State::Done);
    assert_eq!(stage.texts("mint").await, numbers(0..9000));
}

/// Readers see no error, and no row go that was there: not in a rebuild, not on the way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_is_rolled_back_while_everybody_reads_and_writes() {
    let stage = Stage::set().await;
    let running = stage.run();
    let none = rollback(&stage.projector(), &Messages, &mut |_| {}).await;
    assert!(
        matches!(none, Err(Error::NothingKept("messages"))),
        "{none:?}"
    );
    stage
        .reach(&stage.append(numbered("mint", 0..500)).await)
        .await;
    forge(
        &stage,
        "UPDATE messages SET text = 'forged' WHERE text = '7'",
    )
    .await;

    let enough = CancellationToken::new();
    let write = async {
        let mut next = 500;
        while !enough.is_cancelled() {
            stage.append(numbered("mint", next..next + 20)).await;
            next += 20;
        }
        next
    };
    let read = async {
        let mut most = 0;
        while !enough.is_cancelled() {
            let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM messages")
                .fetch_one(&stage.db.pool)
                .await
                .unwrap();
            assert!(count >= most, "{count} after {most}");
            most = count;
        }
    };
    let there_and_back = async {
        let mut texts = Vec::new();
        let report = rebuild_one(&stage, &Messages, Options::default()).await;
        assert_eq!(report.unwrap().comparison.unwrap().differing, 1);
        texts.push(stage.texts("mint").await.swap_remove(7));
        for _ in 0..2 {
            let projector = stage.projector();
            let mut tell = |_| {};
            let back = rollback(&projector, &Messages, &mut tell);
            let report = within("the way back", back).await.unwrap();
            assert_eq!(report.comparison.unwrap().differing, 1);
            texts.push(stage.texts("mint").await.swap_remove(7));
        }
        enough.cancel();
        texts
    };
    let (texts, next, ()) = tokio::join!(there_and_back, write, read);
    assert_eq!(texts, ["7", "forged", "7"]);
    stage
        .reach(&stage.append(numbered("mint", next..next + 1)).await)
        .await;
    assert_eq!(stage.texts("mint").await, numbers(0..next + 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_room_is_mended_and_its_neighbours_left_alone() {
    let stage = Stage::set().await;
    let running = stage.run();
    for name in ["mint", "lime"] {
        put_poison(&stage.cluster.kafka, Topic::Chat, name, b"no record").await;
    }
    stage.reach(&stage.append(history(50)).await).await;
    let before = dump(&stage.db.pool).await;
    let letters = stage.letters().await;
    let forged = "UPDATE messages SET text = 'forged' WHERE text = '7' AND room IN ('mint', 'lime'); \
                  DELETE FROM messages WHERE room = 'mint' AND text = '9'; \
                  DELETE FROM messages_dead_letters WHERE record_key = 'mint'";
    forge(&stage, forged).await;
    let projector = stage.projector();
    let mint = room("mint");
    for (verify_only, differing) in [(true, 1), (false, 1), (true, 0)] {
        let mut tell = |_| {};
        let options = Options {
            verify_only,
            ..Options::default()
        };
        let report = rebuild_room(&projector, &Messages, &mint, options, &mut tell).await;
        let report = report.unwrap();
        let comparison = report.comparison.unwrap();
        assert_eq!(comparison.differing, differing, "{comparison:?}");
        assert_eq!(report.swapped, !verify_only);
        assert!(
            report.records < 120,
            "{} are of other rooms too",
            report.records
        );
    }
    assert_eq!(stage.texts("lime").await[7], "forged");
    forge(
        &stage,
        "UPDATE messages SET text = '7' WHERE text = 'forged'",
    )
    .await;
    assert_eq!(dump(&stage.db.pool).await, before);
    let ids = |letters: &[dead_letters::DeadLetter]| -> Vec<String> {
        letters.iter().map(|letter| letter.id.to_string()).collect()
    };
    assert_eq!(ids(&stage.letters().await), ids(&letters));
    // The loop never noticed.
    stage
        .reach(&stage.append(numbered("mint", 50..60)).await)
        .await;

    for projection in [&Wallets as &'static dyn Projection, &Viewers] {
        let mut tell = |_| {};
        let options = Options::default();
        let refused = rebuild_room(&projector, projection, &mint, options, &mut tell).await;
        assert!(
            matches!(refused, Err(Error::NotByRoom { .. })),
            "{refused:?}"
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_before_a_time_are_kept_where_they_stand_for_records() {
    let stage = Stage::set().await;
    let running = stage.run();
    let message = |n: i64| {
        let mut message = said("mint", "lime", &n.to_string());
        message.at = at(n);
        message.into()
    };
    let events: Vec<Event> = (0..100).map(message).collect();
    stage.reach(&stage.append(events).await).await;
    forge(
        &stage,
        "UPDATE messages SET text = 'early' WHERE text = '7'",
    )
    .await;
    forge(
        &stage,
        "UPDATE messages SET text = 'late' WHERE text = '77'",
    )
    .await;
    let from = Options {
        from: Some(at(50)),
        ..Options::default()
    };
    let report = rebuild_one(&stage, &Messages, from).await.unwrap();
    assert_eq!(report.records, 50);
    let texts = stage.texts("mint").await;
    assert_eq!((texts[7].as_str(), texts[77].as_str()), ("early", "77"));
    for projection in [&Wallets as &'static dyn Projection, &Channels] {
        let refused = rebuild_one(&stage, projection, from).await;
        assert!(matches!(refused, Err(Error::NoSnapshot(_))), "{refused:?}");
    }
    stage.reach(&stage.append([message(100)]).await).await;
    running.stop().await;
}

/// Cut off, a rebuild from a time leaves live rows behind; one of all there is begins without them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_otherwise_is_not_gone_on_with() {
    let stage = Stage::set().await;
    let running = stage.run();
    stage
        .reach(&stage.append(numbered("mint", 0..50)).await)
        .await;
    forge(
        &stage,
        "UPDATE messages SET text = 'forged' WHERE text = '7'",
    )
    .await;
    let from = Options {
        from: Some(at(50)),
        ..Options::default()
    };
    let projector = stage.projector();
    let (mut live, marks) = begin(&projector, &Messages).await.unwrap();
    let kept = start(&projector, &Messages, &mut live, &marks, from).await;
    let mut shadow = Shadow::open(&stage.db.pool, &Messages, Place::Shadow)
        .await
        .unwrap();
    shadow
        .make_anew(&Messages, &kept.unwrap(), &begun(from), &mut |_| {})
        .await
        .unwrap();
    end(&mut live, &Messages).await;
    rebuild_one(&stage, &Messages, Options::default())
        .await
        .unwrap();
    assert_eq!(stage.texts("mint").await, numbers(0..50));
    running.stop().await;
}
