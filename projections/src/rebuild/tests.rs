use std::collections::{BTreeMap, BTreeSet};

use lemonair_schemas::account::SessionOpened;
use lemonair_schemas::channel::ChannelFollowed;
use lemonair_schemas::chat::{
    ChatCleared, ChatSettingsChanged, HeldMessageApproved, MemberBanned, MemberTimedOut,
    MemberUnbanned, MessageDeleted, MessageHeld, MessagePinned, ModeratorAdded,
};
use lemonair_schemas::donation::{
    Cue, DonationAccepted, DonationRefunded, DonationSettingsChanged, GoalStarted, OverlayCued,
    Review,
};
use lemonair_schemas::erasure::{AccountErased, room_hash};
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::{Event, EventId, RoomId, SessionId};
use lemonair_testkit::{fresh_codec, within};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::{AssertSqlSafe, MySqlPool, Row};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::channels::Channels;
use crate::dead_letters::{self, Filter};
use crate::messages::Messages;
use crate::moderation::Moderation;
use crate::run::tests::{LONG, Stage, numbered, numbers};
use crate::scratch::{accepted, actor, at, opened, registered, room, said};
use crate::wallets::Wallets;
use crate::{erasure, moderation, projection};

/// All rows of all read models, as text.
pub(crate) async fn dump(pool: &MySqlPool) -> BTreeMap<String, Vec<String>> {
    let mut tables = BTreeMap::new();
    for projection in projection::ALL {
        for table in projection.tables() {
            let columns: Vec<String> = sqlx::query_scalar(
                "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
                 WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position",
            )
            .bind(table.name)
            .fetch_all(pool)
            .await
            .unwrap();
            let columns: Vec<String> = columns
                .iter()
                .map(|column| format!("COALESCE(HEX(`{column}`), 'NULL')"))
                .collect();
            let (columns, table) = (columns.join(", "), table.name);
            let sql =
                format!("SELECT CONCAT_WS(' ', {columns}) AS line FROM {table} ORDER BY line");
            let rows = sqlx::query(AssertSqlSafe(sql))
                .fetch_all(pool)
                .await
                .unwrap();
            let lines = rows.iter().map(|row| row.get("line")).collect();
            tables.insert(table.to_owned(), lines);
        }
    }
    tables
}

/// What moderators do: some of it changed back, some of it standing at the end.
fn moderated() -> Vec<Event> {
    macro_rules! event {
        ($name:ident { $($field:ident: $value:expr),* $(,)? }) => {
            Event::from($name {
                id: EventId::new(),
                at: at(3),
                room: room("peach"),
                actor: Some(actor("peach")),
                $($field: $value),*
            })
        };
    }
    let (account, name) = (actor("lime").id, "lime".to_owned());
    let said = said("peach", "kiwi", "keep this");
    let hold = |text: &str| MessageHeld {
        id: EventId::new(),
        at: at(3),
        room: room("peach"),
        actor: Some(actor("lime")),
        text: text.to_owned(),
        nonce: None,
        reply_to: Some(said.id),
    };
    let (approved, waiting) = (hold("approved"), hold("waiting"));
    vec![
        event!(ModeratorAdded {
            account: actor("kiwi").id,
            name: "kiwi".to_owned()
        }),
        event!(MemberTimedOut {
            account: account,
            name: name.clone(),
            until: at(9),
            reason: Some("lime was loud".to_owned())
        }),
        event!(ChatCleared {
            account: Some(account),
            name: Some(name.clone())
        }),
        event!(MessagePinned {
            message: said.id,
            author: said.actor.clone(),
            text: said.text.clone(),
        }),
        said.into(),
        approved.clone().into(),
        event!(HeldMessageApproved {
            message: approved.id,
            author: actor("lime"),
            text: approved.text.clone(),
            nonce: None,
            reply_to: approved.reply_to,
        }),
        waiting.into(),
        event!(MemberBanned {
            account: account,
            name: name.clone(),
            reason: Some("spam".to_owned())
        }),
        event!(MemberUnbanned {
            account: account,
            name: name
        }),
    ]
}

/// Something of everything, with some that cannot be applied.
pub(crate) fn history(messages: u32) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for name in ["mint", "lime", "kiwi"] {
        events.push(registered(name).into());
        events.push(opened(name).into());
        events.extend(numbered(name, 0..messages));
    }
    let oops = said("mint", "kiwi", "oops");
    let deleted = MessageDeleted {
        id: EventId::new(),
        at: at(3),
        room: room("mint"),
        actor: None,
        message: oops.id,
    };
    events.extend([oops.into(), deleted.into()]);
    events.extend(moderated());
    let logged_in = SessionOpened {
        id: EventId::new(),
        at: at(2),
        account: actor("lime").id,
        actor: None,
        session: SessionId::new(),
        expires: at(100),
        agent: Some("Mozilla/5.0".to_owned()),
    };
    let blocked = ChatSettingsChanged {
        id: EventId::new(),
        at: at(2),
        room: room("lime"),
        actor: Some(actor("lime")),
        slow_mode_ms: 0,
        followers_only_ms: None,
        unique_messages: false,
        emote_only: false,
        blocked_words: vec!["sour".to_owned()],
        links_allowed: true,
        hold_for_review: false,
    };
    events.extend([logged_in.into(), blocked.into()]);
    for name in ["lime", "kiwi", "kiwi"] {
        let followed = ChannelFollowed {
            id: EventId::new(),
            at: at(4),
            room: room("mint"),
            actor: Some(actor(name)),
        };
        events.push(followed.into());
    }
    let goal = GoalStarted {
        id: EventId::new(),
        at: at(5),
        room: room("mint"),
        actor: None,
        title: "Camera".to_owned(),
        target: 100,
    };
    let settings = DonationSettingsChanged {
        id: EventId::new(),
        at: at(5),
        room: room("mint"),
        actor: None,
        minimum: 2,
        accepts_offline: true,
        review: Review::All,
        alert_minimum: 1,
        alert_ms: 5000,
        alert_volume: 0,
    };
    let cue = OverlayCued {
        id: EventId::new(),
        at: at(5),
        room: room("mint"),
        actor: None,
        action: Cue::Pause,
        donation: None,
    };
    events.extend([goal.into(), settings.into(), cue.into()]);
    for (donor, amount) in [("lime", 5), ("kiwi", 7), ("lime", 11)] {
        let accepted = DonationAccepted {
            at: at(5),
            anonymous: donor == "kiwi",
            ..accepted(donor, amount)
        };
        if amount == 11 {
            let refunded = DonationRefunded {
                id: EventId::new(),
                at: at(6),
                room: room("mint"),
                actor: None,
                donation: accepted.id,
                donor: actor(donor).id,
                streamer: actor("mint").id,
                amount,
                left: 0,
                anonymous: false,
            };
            events.extend([accepted.into(), refunded.into()]);
        } else {
            events.push(accepted.into());
        }
    }
    // The third takes more than there is.
    for amount in [20, -5, -30, -15] {
        let posting = |account: String, book, amount| Posting {
            account,
            book,
            amount,
        };
        let entry = EntryPosted {
            id: EventId::new(),
            at: at(7),
            account: actor("lime").id,
            actor: None,
            kind: Kind::Correction,
            postings: vec![
                posting("platform".to_owned(), Book::Platform, -amount),
                posting(actor("lime").id.to_string(), Book::Wallet, amount),
            ],
            room: None,
            donation: None,
            payment: None,
        };
        events.push(entry.into());
    }
    events
}

pub(crate) async fn rebuild_one(
    stage: &Stage,
    projection: &'static dyn Projection,
    options: Options<'_>,
) -> Result<Report> {
    rebuild(&stage.projector(), projection, options, &mut |_| {}).await
}

pub(crate) const VERIFY: Options<'static> = Options {
    verify_only: true,
    fresh: false,
    from: None,
    snapshots: None,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_database_comes_back_row_for_row() {
    let mut stage = Stage::set().await;
    let running = stage.run();
    let last = stage.append(history(300)).await;
    stage.reach(&last).await;
    running.stop().await;
    let before = dump(&stage.db.pool).await;
    let letters = stage.letters().await;
    assert_eq!(letters.len(), 1);

    let drop = stage.db.url.rsplit_once('/').unwrap().1;
    let drop = AssertSqlSafe(format!("DROP DATABASE {drop}"));
    sqlx::raw_sql(drop).execute(&stage.db.pool).await.unwrap();
    stage.db.pool = crate::connect(&stage.db.url, 8).await.unwrap();
    assert_ne!(dump(&stage.db.pool).await, before);

    let mut told = Vec::new();
    for projection in projection::ALL {
        let projector = stage.projector();
        let mut tell = |progress| told.push(progress);
        let report = rebuild(&projector, projection, Options::default(), &mut tell);
        let report = within("a rebuild", report).await.unwrap();
        assert!(report.swapped);
        assert_eq!(report.comparison, None, "there is nothing to compare with");
        let done = told.last().unwrap();
        assert_eq!((done.phase, done.done), (Phase::Done, done.total));
    }
    assert_eq!(dump(&stage.db.pool).await, before);
    let again = stage.letters().await;
    assert_eq!(again.len(), 1);
    assert_eq!(
        (again[0].id, &again[0].bytes),
        (letters[0].id, &letters[0].bytes)
    );

    // The loops go on from there.
    let running = stage.run();
    let last = stage.append(numbered("mint", 300..310)).await;
    stage.reach(&last).await;
    let mut texts = stage.texts("mint").await;
    texts.retain(|text| !text.is_empty());
    assert_eq!(texts, numbers(0..310));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_dropped_under_running_loops_comes_back() {
    let stage = Stage::set().await;
    let running = stage.run();
    stage.reach(&stage.append(history(300)).await).await;
    let before = dump(&stage.db.pool).await;
    let name = stage.db.url.rsplit_once('/').unwrap().1;
    let drop = AssertSqlSafe(format!("DROP DATABASE {name}"));
    sqlx::raw_sql(drop).execute(&stage.db.pool).await.unwrap();

    // Another process, as `lemonair rebuild all` is.
    let projector = Projector {
        pool: crate::connect(&stage.db.url, 4).await.unwrap(),
        ..stage.projector()
    };
    for projection in projection::ALL {
        let mut tell = |_| {};
        let report = rebuild(&projector, projection, Options::default(), &mut tell);
        within("a rebuild", report).await.unwrap();
    }
    assert_eq!(dump(&stage.db.pool).await, before);
    // Pools and loops that were there all the time go on.
    stage
        .reach(&stage.append(numbered("lime", 300..305)).await)
        .await;
    assert_eq!(stage.texts("lime").await, numbers(0..305));
    running.stop().await;
}

/// Who is in a group, by the names that Kafka gave them when they joined.
fn members(stage: &Stage, group: &str) -> Vec<String> {
    let kafka = &stage.cluster.kafka;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .create()
        .unwrap();
    let groups = consumer
        .fetch_group_list(Some(&format!("{}{group}", kafka.prefix)), LONG)
        .unwrap();
    let members = groups.groups()[0].members();
    members.iter().map(|one| one.id().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_service_goes_on_beside_a_rebuild() {
    let stage = Stage::set().await;
    let running = stage.run();
    stage
        .reach(&stage.append(numbered("mint", 0..2000)).await)
        .await;

    let members = members(&stage, "projection.messages");
    let enough = CancellationToken::new();
    let write = async {
        let mut next = 2000;
        let mut last = Vec::new();
        while !enough.is_cancelled() {
            last = stage.append(numbered("mint", next..next + 20)).await;
            next += 20;
        }
        (next, last)
    };
    // A reader never sees a row go that was there.
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
    let rebuild_twice = async {
        let mut reports = Vec::new();
        for _ in 0..2 {
            let report = rebuild_one(&stage, &Messages, Options::default());
            reports.push(within("a rebuild", report).await.unwrap());
        }
        enough.cancel();
        reports
    };
    let (reports, (next, last), ()) = tokio::join!(rebuild_twice, write, read);
    for report in reports {
        let comparison = report.comparison.unwrap();
        assert_eq!(comparison.differences, []);
        assert!(comparison.rows >= 2000 && report.swapped);
    }
    stage.reach(&last).await;
    assert_eq!(stage.texts("mint").await, numbers(0..next));
    // The loop, idle now, has claimed the new tables.
    let last = stage.append(numbered("mint", next..next + 1)).await;
    stage.reach(&last).await;
    // And has not left its group for that, which takes many times as long.
    assert_eq!(self::members(&stage, "projection.messages"), members);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_changed_by_hand_is_found_and_mended() {
    let stage = Stage::set().await;
    let running = stage.run();
    let mut events = numbered("mint", 0..50);
    events.extend(numbered("lime", 0..50));
    stage.reach(&stage.append(events).await).await;
    let honest = rebuild_one(&stage, &Messages, VERIFY).await.unwrap();
    assert_eq!(honest.comparison.unwrap().differing, 0);

    sqlx::raw_sql("UPDATE messages SET text = 'forged' WHERE room = 'lime' AND text = '7'")
        .execute(&stage.db.pool)
        .await
        .unwrap();
    let forged = dump(&stage.db.pool).await;
    let report = rebuild_one(&stage, &Messages, VERIFY).await.unwrap();
    assert!(!report.swapped);
    let comparison = report.comparison.unwrap();
    assert_eq!((comparison.rows, comparison.differing), (100, 1));
    let found = &comparison.differences[0];
    assert_eq!((found.table, found.group.as_str()), ("messages", "lime"));
    assert_eq!((found.live.rows, found.rebuilt.rows), (50, 50));
    assert_ne!(found.live.checksum, found.rebuilt.checksum);
    assert_eq!(dump(&stage.db.pool).await, forged, "nothing was changed");

    let report = rebuild_one(&stage, &Messages, Options::default())
        .await
        .unwrap();
    assert_eq!(report.comparison.unwrap().differing, 1);
    assert_eq!(stage.texts("lime").await, numbers(0..50));
    // What was live before is kept.
    let old = stage.db.url.rsplit_once('/').unwrap().1;
    let sql = format!("SELECT COUNT(*) FROM {old}_old.messages WHERE text = 'forged'");
    let kept: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&stage.db.pool)
        .await
        .unwrap();
    assert_eq!(kept, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_was_cut_off_goes_on_and_a_second_one_is_refused() {
    let stage = Stage::set().await;
    stage.append(numbered("mint", 0..9000)).await;
    let reached = tokio::sync::Notify::new();
    let projector = stage.projector();
    let mut tell = |progress: Progress| {
        if progress.done > 0 {
            reached.notify_one();
        }
    };
    let mut first = Box::pin(rebuild(
        &projector,
        &Messages,
        Options::default(),
        &mut tell,
    ));
    tokio::select! {
        biased;
        () = reached.notified() => {}
        result = &mut first => panic!("done too soon: {result:?}"),
    }
    let refused = rebuild_one(&stage, &Messages, Options::default()).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    drop(first);
    // The server frees the lock when it finds the connection gone.
    let report = within("the lock of who is gone", async {
        loop {
            match rebuild_one(&stage, &Messages, Options::default()).await {
                Err(Error::Busy(_)) => tokio::task::yield_now().await,
                result => return result.unwrap(),
            }
        }
    })
    .await;
    assert!(report.swapped);
    assert!(
        report.records < 9000,
        "{} were applied again",
        report.records
    );
    assert_eq!(stage.texts("mint").await, numbers(0..9000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_another_cluster_is_left_alone() {
    let stage = Stage::set().await;
    sqlx::raw_sql("INSERT INTO messages_checkpoint VALUES ('chat', 0, 77, 1, NULL)")
        .execute(&stage.db.pool)
        .await
        .unwrap();
    let refused = rebuild_one(&stage, &Messages, Options::default()).await;
    assert!(matches!(refused, Err(Error::Foreign { .. })), "{refused:?}");
}

/// Who is erased while everything runs: rows become what they would be had nothing personal ever been
/// on the topics, in the live tables and in those that a rebuild put aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_leaves_what_a_rebuild_makes() {
    let mut stage = Stage::set().await;
    stage.cluster.codec = fresh_codec().await;
    let running = stage.run();
    stage.reach(&stage.append(history(300)).await).await;
    for projection in [&Messages as &'static dyn Projection, &Moderation] {
        rebuild_one(&stage, projection, Options::default())
            .await
            .unwrap();
    }
    let lime = actor("lime").id;
    let hash = room_hash(&room("lime"));
    let traces = || erasure::traces(&stage.db.pool, &hash, lime);
    // An operator, too; and what they look at names rooms.
    let (codec, all) = (&stage.cluster.codec, Filter::default());
    let retried = dead_letters::retry(&stage.db.pool, codec, &all, "Lime", false);
    assert_eq!(retried.await.unwrap().len(), 1);
    let letter = stage.letters().await[0].id;
    let reported =
        "UPDATE rebuilds SET report = '{\"group\":\"lime\"}' WHERE projection = 'messages'";
    sqlx::raw_sql(reported)
        .execute(&stage.db.pool)
        .await
        .unwrap();
    // What somebody else says, even if it is just the name, is theirs.
    let lime_said = stage.append([said("kiwi", "kiwi", "lime").into()]).await;
    stage.reach(&lime_said).await;
    let of_messages = |trace: &&erasure::Trace| trace.table == "messages" && trace.column == "room";
    assert_eq!(
        traces().await.unwrap().iter().filter(of_messages).count(),
        2,
        "live, and put aside"
    );

    let erased = AccountErased {
        id: EventId::new(),
        at: at(8),
        account: lime,
        actor: None,
        room_hash: hash.clone(),
    };
    stage.reach(&stage.append([erased.into()]).await).await;
    assert_eq!(traces().await.unwrap(), []);
    assert!(
        crate::accounts::by_name(&stage.db.pool, "lime")
            .await
            .unwrap()
            .is_none()
    );
    assert!(stage.texts("mint").await.iter().all(String::is_empty));
    assert_eq!(stage.texts("peach").await, ["keep this", ""]);
    let aside = stage.db.url.rsplit_once('/').unwrap().1;
    let reasons = format!(
        "SELECT COUNT(*) FROM {aside}_old.moderation_log WHERE detail LIKE '%lime was loud%'"
    );
    let reasons: i64 = sqlx::query_scalar(AssertSqlSafe(reasons))
        .fetch_one(&stage.db.pool)
        .await
        .unwrap();
    let noted = dead_letters::actions(&stage.db.pool, letter).await.unwrap();
    assert_eq!(noted[0].operator, RoomId::of_erased(lime).as_str());
    assert_eq!(noted[0].cause.as_deref(), Some(dead_letters::OF_ERASED));
    let rebuilds = rebuilds(&stage.db.pool).await.unwrap();
    assert!(rebuilds.iter().all(|rebuild| rebuild.report.is_none()));
    assert_eq!(reasons, 0, "what was put aside is erased as what is live");

    let mut rows = 0;
    for projection in projection::ALL {
        let report = rebuild_one(&stage, projection, VERIFY).await.unwrap();
        let comparison = report.comparison.unwrap();
        assert_eq!(comparison.differences, [], "{}", projection.name());
        rows += comparison.rows;
    }
    assert!(rows > 900, "{rows} rows");
    // Nor does a rebuild bring back what could not be applied.
    rebuild_one(&stage, &Wallets, Options::default())
        .await
        .unwrap();
    let letters = "SELECT COUNT(*) FROM wallets_dead_letters";
    let kept: i64 = sqlx::query_scalar(letters)
        .fetch_one(&stage.db.pool)
        .await
        .unwrap();
    assert!(kept > 0);
    assert_eq!(traces().await.unwrap(), []);
    running.stop().await;
}

/// Somebody is erased while a room that they said something in is made anew, by a process that had read
/// what they said before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_meanwhile_reaches_a_room_that_is_made_anew() {
    let mut stage = Stage::set().await;
    stage.cluster.codec = fresh_codec().await;
    let running = stage.run();
    stage
        .reach(&stage.append(numbered("mint", 0..3000)).await)
        .await;
    let projector = Projector {
        codec: fresh_codec().await,
        ..stage.projector()
    };
    let reached = tokio::sync::Notify::new();
    let mut tell = |progress: Progress| {
        if progress.done > 0 {
            reached.notify_one();
        }
    };
    let mint = room("mint");
    let mut rebuilding = Box::pin(rebuild_room(
        &projector,
        &Messages,
        &mint,
        Options::default(),
        &mut tell,
    ));
    tokio::select! {
        biased;
        () = reached.notified() => {}
        result = &mut rebuilding => panic!("done too soon: {result:?}"),
    }
    let lime = actor("lime").id;
    let erased = AccountErased::new(lime, &room("lime"), at(8));
    let hash = erased.room_hash.clone();
    stage.reach(&stage.append([erased.into()]).await).await;
    let report = within("the rebuild", rebuilding).await.unwrap();
    assert!(report.swapped);
    let texts = stage.texts("mint").await;
    assert_eq!(texts.len(), 3000);
    assert!(texts.iter().all(String::is_empty));
    let traces = erasure::traces(&stage.db.pool, &hash, lime).await;
    assert_eq!(traces.unwrap(), []);
    running.stop().await;
}

/// Erases whose channel it is while the channels are made anew, in the midst of its records.
async fn erased_in_the_midst(stage: &Stage, projector: &Projector) {
    let running = stage.run();
    let followed = ChannelFollowed {
        id: EventId::new(),
        at: at(4),
        room: room("mint"),
        actor: Some(actor("lime")),
    };
    let mut events: Vec<Event> = vec![opened("mint").into()];
    // More than a lane reads at once.
    events.extend(std::iter::repeat_n(Event::from(followed), 2200));
    stage.reach(&stage.append(events).await).await;
    let reached = tokio::sync::Notify::new();
    let mut tell = |progress: Progress| {
        if progress.done > 0 {
            reached.notify_one();
        }
    };
    let mut rebuilding = Box::pin(rebuild(projector, &Channels, Options::default(), &mut tell));
    tokio::select! {
        biased;
        () = reached.notified() => {}
        result = &mut rebuilding => panic!("done too soon: {result:?}"),
    }
    let erased = AccountErased::new(actor("mint").id, &room("mint"), at(8));
    let hash = erased.room_hash.clone();
    stage.reach(&stage.append([erased.into()]).await).await;
    let report = within("the rebuild", rebuilding).await.unwrap();
    assert!(report.swapped);
    assert_eq!(stage.letters().await, []);
    let report = rebuild_one(stage, &Channels, VERIFY).await.unwrap();
    assert_eq!(report.comparison.unwrap().differences, []);
    let traces = erasure::traces(&stage.db.pool, &hash, actor("mint").id).await;
    assert_eq!(traces.unwrap(), []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_reads_of_an_erasure_in_its_own_time_finds_its_rows() {
    let mut stage = Stage::set().await;
    stage.cluster.codec = fresh_codec().await;
    let projector = Projector {
        codec: fresh_codec().await,
        ..stage.projector()
    };
    erased_in_the_midst(&stage, &projector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_told_of_an_erasure_by_the_live_loops_finds_its_rows() {
    let mut stage = Stage::set().await;
    stage.cluster.codec = fresh_codec().await;
    erased_in_the_midst(&stage, &stage.projector()).await;
}

/// Statements in our database that wait for tables, by their numbers.
async fn waiting(pool: &MySqlPool, like: &str) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT CAST(query_id AS SIGNED) FROM information_schema.processlist \
         WHERE state = 'Waiting for table metadata lock' AND info LIKE ? \
         AND (db = DATABASE() OR INSTR(info, DATABASE()) > 0)",
    )
    .bind(like)
    .fetch_all(pool)
    .await
    .unwrap()
}

/// A swap locks tables one by one. Whoever reads several of them while it waits for one gets no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_turns_no_reader_away() {
    let stage = Stage::set().await;
    let running = stage.run();
    stage.reach(&stage.append(history(3)).await).await;
    let (pool, projector) = (stage.db.pool.clone(), stage.projector());
    let mut holder = pool.begin().await.unwrap();
    let held = sqlx::query("SELECT 1 FROM held_messages").fetch_all(&mut *holder);
    held.await.unwrap();

    let rebuilding = tokio::spawn(async move {
        rebuild(&projector, &Moderation, Options::default(), &mut |_| {}).await
    });
    let enough = CancellationToken::new();
    let (reader, stop) = (pool.clone(), enough.clone());
    let reading = tokio::spawn(async move {
        while !stop.is_cancelled() {
            let mut connection = reader.acquire().await.unwrap();
            let rooms = [room("peach")];
            let found = moderation::snapshots(&mut connection, &rooms, |_| 0).await;
            assert!(!found.unwrap()[&rooms[0]].moderators.is_empty());
        }
    });
    let both = async {
        while waiting(&pool, "RENAME%").await.is_empty()
            || waiting(&pool, "SELECT%").await.is_empty()
        {}
    };
    within("a swap and a reader to wait", both).await;
    holder.rollback().await.unwrap();
    let report = within("the rebuild", rebuilding).await.unwrap().unwrap();
    assert!(report.swapped);
    enough.cancel();
    reading.await.unwrap();
    running.stop().await;
}

/// Other readers get their turn meanwhile, and the rebuild is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_sits_on_a_table_is_waited_for() {
    let stage = Stage::set().await;
    let running = stage.run();
    stage.reach(&stage.append(history(3)).await).await;
    let (pool, projector) = (stage.db.pool.clone(), stage.projector());
    let mut holder = pool.begin().await.unwrap();
    let held = sqlx::query("SELECT 1 FROM messages").fetch_all(&mut *holder);
    held.await.unwrap();
    let rebuilding = tokio::spawn(async move {
        rebuild(&projector, &Messages, Options::default(), &mut |_| {}).await
    });
    let twice = async {
        let mut tries = BTreeSet::new();
        while tries.len() < 2 {
            tries.extend(waiting(&pool, "RENAME%").await);
        }
    };
    within("a second try", twice).await;
    holder.rollback().await.unwrap();
    let report = within("the rebuild", rebuilding).await.unwrap().unwrap();
    assert!(report.swapped);
    running.stop().await;
}
