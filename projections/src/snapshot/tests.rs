use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use lemonair_consumers::watermarks;
use lemonair_schemas::erasure::{AccountErased, room_hash};
use lemonair_schemas::presence::{RoomViewers, ViewersCounted};
use lemonair_schemas::{EventId, GatewayId};
use lemonair_testkit::{fresh_codec, within};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::Offset;
use sqlx::AssertSqlSafe;

use super::*;
use crate::erasure;
use crate::messages::Messages;
use crate::moderation::Moderation;
use crate::rebuild::tests::{dump, history, rebuild_one};
use crate::rebuild::{Options, rebuild_room};
use crate::run::tests::{Stage, numbered, numbers};
use crate::scratch::{Folder, actor, at, room};
use crate::viewers::Viewers;
use crate::wallets::Wallets;

pub(crate) async fn take_one(
    stage: &Stage,
    projection: &'static dyn Projection,
    folder: &Path,
    now: Timestamp,
) -> Result<Snapshot> {
    take(
        &stage.db.pool,
        &stage.cluster.kafka,
        projection,
        folder,
        now,
    )
    .await
}

/// All that there are rows for.
async fn take_all(stage: &Stage, folder: &Path) {
    for projection in projection::ALL {
        match take_one(stage, projection, folder, at(100)).await {
            // Nothing was broadcast, and nobody watched.
            Err(Error::NothingToTake("broadcasts" | "viewers")) => {}
            taken => _ = taken.unwrap(),
        }
    }
}

/// Has Kafka forget all records of these topics that there are now.
async fn trim(stage: &Stage, topics: &[Topic]) {
    let kafka = &stage.cluster.kafka;
    let marks = watermarks(kafka, topics).await.unwrap();
    let mut list = TopicPartitionList::new();
    for mark in &marks {
        let name = mark.topic.in_kafka(&kafka.prefix);
        list.add_partition_offset(&name, mark.partition, Offset::Offset(mark.high))
            .unwrap();
    }
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().unwrap();
    let options = AdminOptions::new();
    admin.delete_records(&list, &options).await.unwrap();
}

fn with(folder: &Path) -> Options<'_> {
    Options {
        snapshots: Some(folder),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_trimmed_comes_back_from_snapshots_row_for_row() {
    let mut stage = Stage::set().await;
    let folder = Folder::new();
    let running = stage.run();
    stage.reach(&stage.append(history(300)).await).await;
    take_all(&stage, &folder.path).await;
    trim(&stage, &Topic::FACTS).await;
    stage.reach(&stage.append(history(50)).await).await;
    let before = dump(&stage.db.pool).await;

    // Without one, history is not lost silently.
    let refused = rebuild_one(&stage, &Messages, Options::default()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("chat was trimmed"), "{refused}");
    assert!(refused.contains("lemonair snapshot messages"), "{refused}");

    // Beside the live service, and equal to it.
    for projection in projection::ALL {
        let report = rebuild_one(&stage, projection, with(&folder.path)).await;
        if matches!(projection.name(), "broadcasts" | "viewers") {
            continue;
        }
        let report = report.unwrap();
        assert_eq!(report.snapshot, Some(at(100)), "{}", projection.name());
        assert_eq!(report.comparison.unwrap().differences, []);
    }
    assert_eq!(dump(&stage.db.pool).await, before);
    running.stop().await;

    // And after everything in MySQL was lost.
    let name = stage.db.url.rsplit_once('/').unwrap().1;
    let drop = AssertSqlSafe(format!("DROP DATABASE {name}"));
    sqlx::raw_sql(drop).execute(&stage.db.pool).await.unwrap();
    stage.db.pool = crate::connect(&stage.db.url, 8).await.unwrap();
    for projection in projection::ALL {
        let rebuilt = rebuild_one(&stage, projection, with(&folder.path));
        within("a rebuild", rebuilt).await.unwrap();
    }
    assert_eq!(dump(&stage.db.pool).await, before);
    let running = stage.run();
    stage
        .reach(&stage.append(numbered("peach", 0..5)).await)
        .await;
    running.stop().await;
}

/// Their topic is kept for a while only: that is no fault, and a rebuild takes what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_are_rebuilt_from_what_their_topic_still_has() {
    let stage = Stage::set().await;
    let counted = |viewers: i64| ViewersCounted {
        id: EventId::new(),
        at: at(viewers * 60),
        gateway: GatewayId::new(),
        actor: None,
        anew: true,
        rooms: vec![RoomViewers {
            room: room("mint"),
            viewers,
        }],
    };
    stage.append([counted(1).into()]).await;
    trim(&stage, &[Topic::Presence]).await;
    let left = stage.append([counted(2).into(), counted(3).into()]).await;
    // One that begins now finds its beginning gone.
    let running = stage.run();
    stage.reach(&left).await;
    let report = rebuild_one(&stage, &Viewers, Options::default()).await;
    let report = report.unwrap();
    assert_eq!(report.comparison.unwrap().differences, []);
    assert!(report.swapped);
    let rows: Vec<i64> = sqlx::query_scalar("SELECT viewers FROM viewers ORDER BY minute")
        .fetch_all(&stage.db.pool)
        .await
        .unwrap();
    assert_eq!(rows, [2, 3]);
    running.stop().await;
}

/// The file was taken before the erasure, and says the name; no rebuild that begins with it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_erased_since_does_not_come_back() {
    let mut stage = Stage::set().await;
    stage.cluster.codec = fresh_codec().await;
    let folder = Folder::new();
    let running = stage.run();
    stage.reach(&stage.append(history(50)).await).await;
    take_all(&stage, &folder.path).await;
    trim(&stage, &[Topic::Chat, Topic::Channels, Topic::Accounts]).await;
    let lime = actor("lime").id;
    let erased = AccountErased {
        id: EventId::new(),
        at: at(8),
        account: lime,
        actor: None,
        room_hash: room_hash(&room("lime")),
    };
    stage.reach(&stage.append([erased.into()]).await).await;
    // In a room that goes by its pseudonym from here on.
    stage
        .reach(&stage.append(numbered("lime", 50..55)).await)
        .await;

    for projection in projection::ALL {
        let options = Options {
            fresh: true,
            ..with(&folder.path)
        };
        let report = rebuild_one(&stage, projection, options).await.unwrap();
        let differences = report.comparison.map(|comparison| comparison.differences);
        assert_eq!(differences.unwrap_or_default(), [], "{}", projection.name());
    }
    let hash = room_hash(&room("lime"));
    let traces = erasure::traces(&stage.db.pool, &hash, lime).await;
    assert_eq!(traces.unwrap(), []);
    let pseudonym = lemonair_schemas::RoomId::of_erased(lime);
    let mut tell = |_| {};
    let projector = stage.projector();
    // Its records stand on the topic under its former name: none is found, so nothing is replaced.
    let one = rebuild_room(
        &projector,
        &Messages,
        &pseudonym,
        with(&folder.path),
        &mut tell,
    );
    let refused = one.await;
    assert!(matches!(refused, Err(Error::NoRecords(_))), "{refused:?}");
    running.stop().await;
}

/// What a snapshot's file says, if it can be unpacked to its end.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut said = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut said).ok()?;
    Some(said)
}

/// Cut off anywhere, or one bit changed anywhere: the live rows stay as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_noticed() {
    let stage = Stage::set().await;
    let folder = Folder::new();
    let running = stage.run();
    stage.reach(&stage.append(history(20)).await).await;
    let snapshot = take_one(&stage, &Moderation, &folder.path, at(100))
        .await
        .unwrap();
    trim(&stage, &[Topic::Chat]).await;
    let before = dump(&stage.db.pool).await;
    let whole = fs::read(&snapshot.path).unwrap();
    let tenth = whole.len() / 10;
    for place in (0..10).map(|n| n * tenth).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        for bytes in [&whole[..place], &changed] {
            fs::write(&snapshot.path, bytes).unwrap();
            let result = rebuild_one(&stage, &Moderation, with(&folder.path)).await;
            match result {
                Err(Error::DamagedSnapshot { .. } | Error::Trimmed { .. }) => {}
                // The same words can be packed in more ways than one, and gzip's own head says when
                // and on what it was made, which nobody reads.
                Ok(report) => {
                    assert!(unpacked(bytes) == unpacked(&whole), "{place}");
                    assert_eq!(report.comparison.unwrap().differing, 0);
                }
                Err(error) => panic!("{place}: {error}"),
            }
            assert_eq!(dump(&stage.db.pool).await, before);
        }
    }
    fs::write(&snapshot.path, &whole).unwrap();
    let options = Options {
        fresh: true,
        ..with(&folder.path)
    };
    let report = rebuild_one(&stage, &Moderation, options).await.unwrap();
    assert_eq!(report.comparison.unwrap().differences, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_snapshot_that_fits_is_used_and_old_ones_go() {
    let stage = Stage::set().await;
    let folder = Folder::new();
    let running = stage.run();
    for (n, time) in [(0, at(100)), (10, at(200)), (20, at(300))] {
        let last = stage.append(numbered("mint", n..n + 10)).await;
        stage.reach(&last).await;
        take_one(&stage, &Messages, &folder.path, time)
            .await
            .unwrap();
    }
    let last = stage.append(history(5)).await;
    stage.reach(&last).await;
    take_one(&stage, &Wallets, &folder.path, at(150))
        .await
        .unwrap();
    let nothing = take_one(
        &stage,
        &crate::broadcasts::Broadcasts,
        &folder.path,
        at(150),
    )
    .await;
    assert!(
        matches!(nothing, Err(Error::NothingToTake(_))),
        "{nothing:?}"
    );

    // Sums cannot be cut at a time, but a snapshot can be from before it.
    for (from, found) in [(at(160), Some(at(150))), (at(140), None)] {
        let options = Options {
            from: Some(from),
            ..with(&folder.path)
        };
        match rebuild_one(&stage, &Wallets, options).await {
            Ok(report) => assert_eq!(report.snapshot, found),
            Err(error) => assert!(
                found.is_none() && matches!(error, Error::NoSnapshot("wallets")),
                "{error}"
            ),
        }
    }

    trim(&stage, &[Topic::Chat]).await;
    take_one(&stage, &Messages, &folder.path, at(400))
        .await
        .unwrap();
    stage
        .reach(&stage.append(numbered("mint", 35..40)).await)
        .await;
    let report = rebuild_one(&stage, &Messages, with(&folder.path))
        .await
        .unwrap();
    assert_eq!((report.snapshot, report.records), (Some(at(400)), 5));
    // Those from before what was trimmed lack what was between.
    let too_early = Options {
        fresh: true,
        ..with(&folder.path)
    };
    let newest = list(&folder.path).unwrap().swap_remove(0);
    assert_eq!(newest.head.taken_at, at(400));
    fs::remove_file(&newest.path).unwrap();
    let refused = rebuild_one(&stage, &Messages, too_early).await;
    assert!(matches!(refused, Err(Error::Trimmed { .. })), "{refused:?}");

    let removed = prune(&folder.path, 1).unwrap();
    let taken: Vec<Timestamp> = removed
        .iter()
        .map(|removed| removed.head.taken_at)
        .collect();
    assert_eq!(taken, [at(200), at(100)]);
    assert_eq!(list(&folder.path).unwrap().len(), 2);
    assert_eq!(stage.texts("mint").await.len() as u32, 30 + 6 + 5);
    assert_eq!(stage.texts("mint").await[..30], numbers(0..30));
    running.stop().await;
}
