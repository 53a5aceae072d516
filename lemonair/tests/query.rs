//! SQL over the topics: right answers, little reading, nothing written.

mod support;

use std::process::Stdio;

use lemonair_consumers::kafka::partition_of;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::ledger::{EntryPosted, Kind};
use lemonair_schemas::{Event, EventId, RoomId, Timestamp};
use serde_json::Value;
use support::Deployment;
use support::bucket::Bucket;
use support::evening::{account, evening, time};
use support::history::{BEGAN, History, Place};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// What a query printed, and how many records it read.
struct Answer {
    lines: Vec<String>,
    stderr: String,
    read: u64,
    of: u64,
}

async fn ask(deployment: &Deployment, sql: &str, more: &[&str]) -> Answer {
    let arguments = [&["query", sql, "--format", "csv"], more].concat();
    let output = deployment.command(&arguments).output().await;
    let output = output.expect("run lemonair");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{sql}: {stderr}");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let summary = stderr.lines().last().expect("a summary");
    let number = |word: usize| {
        let word = summary.split(' ').nth(word).expect("a word");
        word.parse().unwrap_or_else(|_| panic!("{summary}"))
    };
    Answer {
        lines: stdout.lines().skip(1).map(str::to_owned).collect(),
        read: number(2),
        of: number(4),
        stderr,
    }
}

fn of_chat(places: Vec<Place>) -> Vec<String> {
    let chat = places
        .into_iter()
        .filter(|(topic, _, _)| topic == "lemonair.chat");
    chat.map(|(_, partition, offset)| format!("{partition},{offset}"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_good_record_is_a_row_in_the_order_of_replay() {
    let deployment = Deployment::new("query");
    let history = History::write_or(&deployment, 20_000).await;
    let rows = ask(&deployment, "SELECT partition, offset FROM chat", &[]).await;
    let good = of_chat(history.good(i64::MIN..i64::MAX));
    assert!(rows.lines == good);
    for (topic, partition, offset) in &history.corrupt {
        let line = format!("cannot be decoded: {topic} partition {partition} offset {offset}: ");
        assert!(
            rows.stderr.contains(&line),
            "{line} is not in {}",
            rows.stderr
        );
    }
    let count = format!("{} records could not be decoded", history.corrupt.len());
    assert!(rows.stderr.contains(&count), "{}", rows.stderr);
    assert_eq!(rows.read, (good.len() + history.corrupt.len()) as u64);
    assert_eq!(rows.of, rows.read);

    let sums = "SELECT count(*), count(DISTINCT id), sum(text LIKE 'message %, Größe 🍋'),
        min(at), max(at_ms) - min(at_ms), count(DISTINCT actor_name) FROM chat";
    let times: Vec<i64> = history.times("lemonair.chat");
    let (first, last) = (
        times.iter().min().expect("some"),
        times.iter().max().expect("some"),
    );
    let expected = format!(
        "{0},{0},{0},{1},{2},40",
        good.len(),
        Timestamp(*first),
        last - first
    );
    assert_eq!(ask(&deployment, sums, &[]).await.lines, [expected]);

    // Both topics in one statement, and the event as replay prints it.
    let joined = "SELECT sum(amount), (SELECT count(*) FROM streams) FROM donations";
    let sum: usize = (0..history.count).step_by(10).sum();
    assert_eq!(
        ask(&deployment, joined, &[]).await.lines,
        [format!("{sum},{}", history.count / 10)]
    );
    let events = "SELECT json_insert(event, '$.topic', 'lemonair.donations',
        '$.partition', partition, '$.offset', offset) FROM donations";
    let jsonl = ["query", events, "--format", "jsonl"];
    let replayed = deployment.replay(&["donations"]).await;
    let found = deployment.run(&jsonl).await;
    let found: Vec<Value> = found
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("a JSON line");
            let event = row.as_object().expect("an object").values().next();
            let event = event.and_then(Value::as_str).expect("a text");
            serde_json::from_str(event).expect("JSON")
        })
        .collect();
    assert!(found == replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_narrowly_reads_little() {
    let deployment = Deployment::new("narrow");
    let mut history = History::of(&deployment, 0).await;
    // A week, with a record every minute.
    history.step = 60_000;
    history.extend(7 * 24 * 60);
    let whole = of_chat(history.good(i64::MIN..i64::MAX)).len() + history.corrupt.len();
    let whole = whole as u64;

    let (from, to) = (BEGAN + 86_400_000, BEGAN + 90_000_000);
    let expected = of_chat(history.good(from..to));
    let (at, until) = (Timestamp(from), Timestamp(to));
    for condition in [
        format!("at >= '{at}' AND at < '{until}'"),
        format!("at_ms >= {from} AND at_ms < {to}"),
        format!("recorded_at BETWEEN '{at}' AND '{}'", Timestamp(to - 1)),
        format!(
            "at >= strftime('%Y-%m-%dT%H:%M:%fZ', {}, 'unixepoch') AND at < '{until}'",
            from / 1000
        ),
    ] {
        let sql = format!("SELECT partition, offset FROM chat WHERE {condition}");
        let found = ask(&deployment, &sql, &[]).await;
        assert!(found.lines == expected, "{condition}");
        // An hour is searched behind the end, for clocks that differ; some more are fetched with it.
        assert!(
            found.of == whole && found.read < whole / 20,
            "{condition}: {}",
            found.stderr
        );
    }
    let window = ["--from", &at.to_string(), "--to", &until.to_string()];
    let found = ask(&deployment, "SELECT partition, offset FROM chat", &window).await;
    assert!(
        found.lines == expected && found.read < whole / 20,
        "{}",
        found.stderr
    );

    // A room stands on one partition.
    let partition = i64::from(partition_of("mint", 3));
    let here = |place: &&Place| place.0 == "lemonair.chat" && place.1 == partition;
    let good = history.good(i64::MIN..i64::MAX);
    let all = good.iter().chain(&history.corrupt).filter(here).count() as u64;
    for condition in [
        "room = 'mint'".to_owned(),
        "room IN ('mint', 'not a room''s name')".to_owned(),
        format!("partition = {partition}"),
    ] {
        let sql = format!("SELECT count(*) FROM chat WHERE {condition}");
        let found = ask(&deployment, &sql, &[]).await;
        assert_eq!(found.read, all, "{condition}: {}", found.stderr);
        assert!(found.read < found.of);
        assert_ne!(found.lines, ["0"]);
    }
    let offsets = format!("partition = {partition} AND offset BETWEEN 10 AND 19");
    let sql = format!("SELECT offset FROM chat WHERE {offsets}");
    let found = ask(&deployment, &sql, &[]).await;
    assert_eq!(found.read, 10, "{}", found.stderr);
    assert!((7..=10).contains(&found.lines.len()), "{:?}", found.lines);
    let found = ask(&deployment, "SELECT * FROM chat WHERE room = 'Mint'", &[]).await;
    assert_eq!((found.lines.len(), found.read), (0, 0), "{}", found.stderr);

    // A join reads each of its tables once, whatever the number of rows.
    let sql = "SELECT count(*) FROM donations AS d JOIN chat AS m
        ON m.room = d.room AND m.at_ms BETWEEN d.at_ms - 60000 AND d.at_ms + 60000";
    let found = ask(&deployment, sql, &[]).await;
    assert_eq!(found.read, found.of, "{}", found.stderr);
    let within = history.near(60_000);
    assert_eq!(found.lines, [within.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_answers_as_the_topics_do() {
    let deployment = Deployment::new("exported");
    let bucket = Bucket::open(deployment.data(), 1_000_000).await;
    let deployment = bucket.of(deployment);
    History::of(&deployment, 5_000).await;
    let topics = ["chat", "donations", "streams"];
    for (by, place) in [
        ("day", "day"),
        ("room", "room"),
        ("day", "s3://exports/day"),
    ] {
        let export = ["--format", "parquet", "--by", by, "-o", place];
        deployment
            .run(&[&["export"], &topics[..], &export].concat())
            .await;
        for sql in [
            "SELECT partition, offset, recorded_at_ms, type, id, at, at_ms, room, actor_id,
                actor_name, actor_roles, text, nonce, reply_to FROM chat ORDER BY partition, offset",
            "SELECT room, count(*), sum(amount), max(anonymous) FROM donations GROUP BY room",
            "SELECT count(*) FROM chat WHERE room = 'mint' AND at > '2023-11-14T22:13:21'",
            "SELECT count(*) FROM chat",
            "SELECT event ->> 'text' FROM chat ORDER BY partition, offset",
        ] {
            let of_topics = ask(&deployment, sql, &[]).await;
            let of_export = ask(&deployment, sql, &["--export", place]).await;
            assert!(
                of_topics.lines == of_export.lines && !of_topics.lines.is_empty(),
                "{sql}"
            );
        }
    }
    let whole = std::fs::read_dir(bucket.folder().join("day/lemonair.chat/day=2023-11-14"))
        .expect("list the folder")
        .map(|file| file.expect("a file").metadata().expect("its size").len())
        .sum::<u64>();
    let (sql, before) = (
        "SELECT room, count(*) FROM chat GROUP BY room",
        bucket.asked(),
    );
    ask(&deployment, sql, &["--export", "s3://exports/day"]).await;
    let fetched = (bucket.asked() - before) as u64;
    assert!(
        (1..whole / 4).contains(&fetched),
        "of {whole} bytes {fetched} were fetched for a column"
    );
    let room = "SELECT count(*) FROM chat WHERE room = 'mint'";
    let found = ask(&deployment, room, &["--export", "room"]).await;
    assert_eq!(
        found.lines,
        [found.read.to_string()],
        "only the room's file is read"
    );
    assert!(found.of > found.read);
}

/// So many rows that SQLite looks for either condition by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_meets_either_condition_comes_once() {
    let deployment = Deployment::new("either");
    let mut history = History::of(&deployment, 0).await;
    // Four days.
    history.step = 11_520;
    history.extend(30_000);
    for by in ["day", "room"] {
        let export = [
            "export", "chat", "--format", "parquet", "--by", by, "-o", by,
        ];
        deployment.run(&export).await;
    }
    for condition in [
        "at >= '2023-11-15' AND at < '2023-11-16' OR at >= '2023-11-17' AND at < '2023-11-18'",
        "room = 'mint' AND at > '2023-11-16' OR room = 'basil' AND at < '2023-11-16'",
    ] {
        let select = "SELECT partition, offset FROM chat WHERE";
        let sql = format!("{select} {condition} ORDER BY 1, 2");
        // A sign before a column lets no condition on it reach the table.
        let plain = condition.replace("at ", "+at ").replace("room ", "+room ");
        let plain = format!("{select} {plain} ORDER BY 1, 2");
        let expected = ask(&deployment, &plain, &[]).await.lines;
        assert!(expected.len() > 1_000, "{condition}");
        let found = by_either(&deployment, &sql, &[]).await;
        assert!(found.lines == expected, "{condition}");
        for by in ["day", "room"] {
            let found = by_either(&deployment, &sql, &["--export", by]).await;
            assert!(found.lines == expected, "{condition} by {by}");
        }
    }
}

/// Asks what SQLite answers by looking for each of several conditions by itself.
async fn by_either(deployment: &Deployment, sql: &str, more: &[&str]) -> Answer {
    let plan = ask(deployment, &format!("EXPLAIN QUERY PLAN {sql}"), more).await;
    let plan = plan.lines.concat();
    assert!(plan.contains("MULTI-INDEX OR"), "{sql}: {plan}");
    ask(deployment, sql, more).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_on_either_condition_reads_each_of_its_tables_once() {
    let deployment = Deployment::new("joined");
    let mut history = History::of(&deployment, 0).await;
    history.step = 11_520;
    history.extend(30_000);
    let sql = "SELECT count(*) FROM donations AS d CROSS JOIN chat AS m
        ON m.room = d.room AND m.at_ms BETWEEN d.at_ms AND d.at_ms + 600000
            OR m.room = 'mint' AND m.at_ms BETWEEN d.at_ms - 300000 AND d.at_ms - 1
        WHERE d.amount < 50";
    let found = by_either(&deployment, sql, &[]).await;
    assert_eq!(found.read, found.of, "{}", found.stderr);
    let events: Vec<Event> = history.events().collect();
    let near = |donation: &DonationAccepted| {
        let near = |event: &&Event| {
            let Event::MessagePosted(message) = event else {
                return false;
            };
            let behind = message.at.millis() - donation.at.millis();
            message.room == donation.room && (0..=600_000).contains(&behind)
                || message.room.as_str() == "mint" && (-300_000..=-1).contains(&behind)
        };
        events.iter().filter(near).count()
    };
    let pairs = events.iter().map(|event| match event {
        Event::DonationAccepted(donation) if donation.amount < 50 => near(donation),
        _ => 0,
    });
    assert_eq!(found.lines, [pairs.sum::<usize>().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_and_who_hides_is_in_no_answer() {
    let deployment = Deployment::new("silent");
    let history = evening(&deployment).await;
    let everything = "SELECT * FROM chat UNION ALL SELECT * FROM chat";
    let before = ask(&deployment, everything, &[]).await;
    assert!(before.lines.iter().any(|line| line.contains("ann")));

    let hidden = ask(&deployment, everything, &["--pseudonymise"]).await;
    assert_eq!(hidden.lines.len(), before.lines.len());
    for line in &hidden.lines {
        for known in [",ann,", ",ben,", ",mint,", &account("ann").to_string()] {
            assert!(!line.contains(known), "{line}");
        }
    }
    let room = "SELECT count(*) FROM chat WHERE room = 'mint'";
    let found = ask(&deployment, room, &["--pseudonymise"]).await;
    assert_eq!(found.lines, ["0"]);

    let of = |name: &str| -> RoomId { name.parse().expect("a room") };
    let erased = AccountErased::new(account("mint"), &of("mint"), Timestamp::now());
    history.log().append(erased).await.expect("append");
    let after = ask(&deployment, everything, &[]).await;
    assert_eq!(after.lines.len(), before.lines.len());
    assert!(after.lines.iter().all(|line| !line.contains(",mint,")));
    // The room goes by its pseudonym, and is found by it though its records stand where they did.
    let pseudonym = RoomId::of_erased(account("mint"));
    let room = format!("SELECT count(*) FROM chat WHERE room = '{pseudonym}'");
    let found = ask(&deployment, &room, &[]).await;
    let count = before
        .lines
        .iter()
        .filter(|line| line.contains(",mint,"))
        .count()
        / 2;
    assert_eq!(found.lines, [count.to_string()]);
    let found = ask(
        &deployment,
        "SELECT count(*) FROM chat WHERE room = 'mint'",
        &[],
    )
    .await;
    assert_eq!(found.lines, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_what_is_about_it_whatever_its_records_are_keyed_by() {
    let deployment = Deployment::new("about");
    let history = evening(&deployment).await;
    for room in [Some("mint"), Some("basil"), None] {
        let entry = EntryPosted {
            id: EventId::new(),
            at: time("20:05:10"),
            account: account("ben"),
            actor: None,
            kind: Kind::Donation,
            postings: Vec::new(),
            room: room.map(|room| room.parse().expect("a room")),
            donation: None,
            payment: None,
        };
        history.log().append(entry).await.expect("append");
    }
    for (topic, count) in [("chat", 1), ("ledger", 1), ("presence", 3), ("streams", 0)] {
        let sql = format!("SELECT count(*) FROM {topic}");
        let found = ask(&deployment, &sql, &["--room", "basil"]).await;
        assert_eq!(found.lines, [count.to_string()], "{topic}");
        let replayed = deployment.replay(&[topic, "--room", "basil"]).await;
        assert_eq!(replayed.len(), count, "{topic}");
    }
    for command in [["replay", "accounts"], ["query", "SELECT * FROM accounts"]] {
        let command = [&command[..], &["--room", "basil"]].concat();
        let line = deployment.refused(&command).await;
        assert!(
            line.contains("is about a room") && line.lines().count() == 1,
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_every_format() {
    let deployment = Deployment::new("formats");
    evening(&deployment).await;
    let sql = "SELECT at, text, NULL AS absent, 1.5 AS share, length(text) AS n FROM chat
        WHERE type = 'chat.message' AND at < '2026-01-02T20:05:01' ORDER BY at";
    let table = deployment.run(&["query", sql]).await;
    let lines: Vec<&str> = table.lines().collect();
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(head, ["at", "text", "absent", "share", "n"]);
    assert!(lines[2].ends_with("1.5   5"), "{table}");
    let row = "2026-01-02T20:00:20.000Z  hi, \"ann\" and all  NULL";
    assert!(lines[3].starts_with(row), "{table}");
    let json = deployment.run(&["query", sql, "--format", "json"]).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let lines = deployment.run(&["query", sql, "--format", "jsonl"]).await;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(json, Value::Array(lines));
    assert_eq!(
        json[2],
        serde_json::json!({ "at": "2026-01-02T20:05:00.000Z", "text": "안녕하세요 🍋",
            "absent": null, "share": 1.5, "n": 7 })
    );
    let kinds = ["Utf8", "Utf8", "Utf8", "Float64", "Int64"];
    // What is NULL in all rows is what its table says, if it is a table's.
    let absent = "SELECT until_ms, until, until_ms + 1 AS later FROM chat
        WHERE type = 'chat.message' LIMIT 3";
    let cases = [(sql, &kinds[..]), (absent, &["Int64", "Utf8", "Utf8"][..])];
    for (sql, kinds) in cases {
        let said = deployment
            .run(&["query", sql, "--format", "parquet", "-o", "rows.parquet"])
            .await;
        assert_eq!(said, "");
        let bytes = std::fs::read(deployment.data().join("rows.parquet")).expect("the file");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(
            bytes::Bytes::from(bytes),
            1024,
        );
        let batches: Vec<_> = reader
            .expect("Parquet")
            .map(|batch| batch.expect("rows"))
            .collect();
        assert_eq!(
            batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
            3
        );
        let found: Vec<String> = batches[0]
            .schema()
            .fields()
            .iter()
            .map(|field| field.data_type().to_string())
            .collect();
        assert_eq!(found, kinds);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_and_mistakes_are_named() {
    let deployment = Deployment::new("mistaken");
    evening(&deployment).await;
    for (sql, says) in [
        (
            "SELECT rom FROM chat",
            "no such column: rom, at line 1, column 8",
        ),
        (
            "SELECT 1\nFORM chat",
            "near \"chat\": syntax error, at line 2, column 6",
        ),
        ("SELECT * FROM chatt", "no such table: chatt"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("", "there is no SELECT"),
        ("DELETE FROM chat", "may not"),
        ("UPDATE chat SET text = ''", "may not"),
        ("INSERT INTO chat (text) VALUES ('x')", "may not"),
        ("CREATE TABLE x (y)", "only reads"),
        ("CREATE TEMP TABLE x AS SELECT * FROM chat", "only reads"),
        ("DROP TABLE chat", ""),
        ("ATTACH 'other.db' AS other", "only reads"),
        ("VACUUM INTO 'all.db'", ""),
        ("PRAGMA user_version = 7", "only reads"),
        ("SELECT * FROM pragma_database_list", ""),
        ("SELECT load_extension('x')", "not authorized"),
        ("BEGIN", ""),
    ] {
        let line = deployment.refused(&["query", sql]).await;
        assert!(line.contains(says), "{sql}: {line}");
        assert_eq!(line.lines().count(), 1, "{sql}: {line}");
    }
    let twice = ["query", "SELECT 1 AS a, 2 AS a", "--format", "json"];
    let line = deployment.refused(&twice).await;
    assert!(line.contains("two columns are called a"), "{line}");
    let line = deployment
        .refused(&["query", "SELECT 1", "--export", "."])
        .await;
    assert!(line.contains("manifest.json"), "{line}");
    let mut files: Vec<_> = std::fs::read_dir(deployment.data())
        .expect("list the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    files.retain(|name| name != "data");
    assert_eq!(files, Vec::<std::ffi::OsString>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_query_cleanly() {
    let deployment = Deployment::new("stopped");
    History::of(&deployment, 20_000).await;
    // Without an end, were it not stopped.
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT i FROM n, (SELECT count(*) FROM chat)";
    let mut child = deployment
        .command(&["query", sql, "--format", "csv"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run lemonair");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = String::new();
    for _ in 0..100 {
        out.read_line(&mut lines).await.expect("a line");
    }
    let id = child.id().expect("it runs").to_string();
    let interrupt = tokio::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(interrupt.await.expect("send SIGINT").success());
    out.read_to_string(&mut lines).await.expect("the rest");
    let ended = child.wait_with_output().await.expect("its exit status");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(
        !ended.status.success() && stderr.contains("stopped"),
        "{stderr}"
    );
}
