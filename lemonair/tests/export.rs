//! Exports: every good record once, the same bytes each time, and never half of it.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{Event, Records, RoomId, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::bucket::{Bucket, SECRET_KEY};
use support::evening::{account, evening};
use support::history::{BEGAN, History};
use support::{Deployment, eventually};

const TOPICS: [&str; 3] = ["chat", "donations", "streams"];
const FORMATS: [&str; 4] = ["parquet", "avro", "jsonl", "csv"];

/// Writes that a store takes of an export by room until two files are there: what is to be done, what is
/// to be put, and these.
const HALF: usize = 4;

/// What a store that refuses us makes us say.
const KEYS: &str = "are s3_access_key and s3_secret_key right?";

async fn export(deployment: &Deployment, folder: &str, more: &[&str]) -> String {
    let arguments = [&["export"], &TOPICS[..], &["-o", folder], more].concat();
    deployment.run(&arguments).await
}

/// Every file below a folder, by its path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("list the folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_owned();
                files.insert(name, std::fs::read(&path).expect("read"));
            }
        }
    }
    files
}

/// The manifest, after its checksums and counts were found right.
fn manifest(files: &BTreeMap<PathBuf, Vec<u8>>) -> Value {
    let json = files.get(Path::new("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(json).expect("JSON");
    let listed = manifest["files"].as_array().expect("files");
    assert_eq!(listed.len() + 1, files.len(), "{:?}", files.keys());
    let mut records = 0;
    for file in listed {
        let content = &files[Path::new(file["path"].as_str().expect("a path"))];
        assert_eq!(file["bytes"], content.len());
        let hash = Sha256::digest(content);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(file["sha256"], hash);
        records += file["records"].as_u64().expect("a number");
    }
    let runs = manifest["runs"].as_array().expect("runs").iter();
    let counted: u64 = runs.filter_map(|run| run["records"].as_u64()).sum();
    assert_eq!(counted, records);
    manifest
}

/// An event's id, and what was said in a message or with a donation.
type Told = (String, Option<String>);

/// What the files hold, folder by folder, as each format tells.
fn told(format: &str, files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, Vec<Told>> {
    let mut told: BTreeMap<PathBuf, Vec<Told>> = BTreeMap::new();
    for (path, content) in files {
        if path.as_path() == Path::new("manifest.json") {
            continue;
        }
        let rows = match format {
            "jsonl" => of_lines(content),
            "csv" => of_csv(content),
            "avro" => of_avro(content),
            _ => of_parquet(content),
        };
        assert!(
            !String::from_utf8_lossy(content).contains("SECRET"),
            "{path:?}"
        );
        let folder = path.parent().expect("a folder").to_owned();
        told.entry(folder).or_default().extend(rows);
    }
    told
}

fn count(format: &str, files: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    told(format, files).values().map(Vec::len).sum()
}

fn of_json(event: &Value) -> Told {
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    let said = text("text").or_else(|| text("message"));
    (text("id").expect("an id"), said)
}

fn of_lines(content: &[u8]) -> Vec<Told> {
    let lines = std::str::from_utf8(content).expect("UTF-8").lines();
    lines
        .map(|line| of_json(&serde_json::from_str(line).expect("a JSON line")))
        .collect()
}

fn of_avro(content: &[u8]) -> Vec<Told> {
    let reader = apache_avro::Reader::new(content).expect("an Avro file");
    reader
        .map(|record| of_json(&record.expect("a record").try_into().expect("JSON")))
        .collect()
}

fn of_parquet(content: &[u8]) -> Vec<Told> {
    let bytes = bytes::Bytes::copy_from_slice(content);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 8192);
    let mut told = Vec::new();
    for rows in reader.expect("a Parquet file") {
        let rows = rows.expect("rows");
        let texts = rows.column_by_name("text");
        let texts = texts.or_else(|| rows.column_by_name("message"));
        let ids = rows.column_by_name("id").expect("ids").as_string::<i32>();
        for row in 0..rows.num_rows() {
            let text = texts.filter(|texts| texts.is_valid(row));
            let text = text.map(|texts| texts.as_string::<i32>().value(row).to_owned());
            told.push((ids.value(row).to_owned(), text));
        }
    }
    told
}

fn of_csv(content: &[u8]) -> Vec<Told> {
    let mut rows = csv(std::str::from_utf8(content).expect("UTF-8")).into_iter();
    let head = rows.next().expect("a head");
    let column = |name: &str| head.iter().position(|column| column == name);
    rows.map(|row| {
        assert_eq!(row.len(), head.len(), "{row:?}");
        let cell = |name: &str| column(name).map(|column| row[column].clone());
        let text = cell("text").or_else(|| cell("message"));
        let text = text.filter(|text| !text.is_empty());
        (cell("id").expect("an id"), text)
    })
    .collect()
}

/// RFC 4180.
fn csv(content: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, content.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && letters.next_if_eq(&'\n').is_some() => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            letter => cell.push(letter),
        }
    }
    assert!(!quoted && row.is_empty() && cell.is_empty(), "cut off");
    rows
}

/// What an export of all of it holds, folder by folder.
fn expected(format: &str, by: &str, history: &History) -> BTreeMap<PathBuf, Vec<Told>> {
    let mut expected: BTreeMap<PathBuf, Vec<Told>> = BTreeMap::new();
    for event in history.events() {
        let mut folder = PathBuf::from(format!("lemonair.{}", event.topic()));
        if format == "avro" {
            folder.push(event.kind());
        }
        folder.push(match by {
            "day" => format!("day={}", &event.at().to_string()[..10]),
            _ => format!("room={}", event.room().expect("a room")),
        });
        let text = match &event {
            Event::MessagePosted(message) => Some(message.text.clone()),
            Event::DonationAccepted(donation) => Some(donation.message.clone()),
            _ => None,
        };
        let told = (event.id().to_string(), text);
        expected.entry(folder).or_default().push(told);
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_holds_every_good_record_and_twice_the_same_bytes() {
    let deployment = Deployment::new("export");
    let history = History::write_or(&deployment, 20_000).await;
    let good = history.good(i64::MIN..i64::MAX).len();
    for format in FORMATS {
        for by in ["day", "room"] {
            let more = ["--format", format, "--by", by];
            let (one, two) = (format!("{format}-{by}-1"), format!("{format}-{by}-2"));
            let said = export(&deployment, &one, &more).await;
            assert!(said.contains(&format!("{good} records in ")), "{said}");
            export(&deployment, &two, &more).await;
            let first = files(&deployment.data().join(&one));
            assert!(
                first == files(&deployment.data().join(&two)),
                "{format} by {by}"
            );
            let expected = expected(format, by, &history);
            assert!(told(format, &first) == expected, "{format} by {by}");
            let manifest = manifest(&first);
            let undecodable = manifest["runs"][0]["undecodable"]
                .as_array()
                .expect("a list");
            let mut places: Vec<_> = undecodable
                .iter()
                .map(|entry| {
                    let position = &entry["position"];
                    (
                        format!("lemonair.{}", position["topic"].as_str().expect("a topic")),
                        position["partition"].as_i64().expect("a number"),
                        position["offset"].as_i64().expect("a number"),
                    )
                })
                .collect();
            places.sort();
            let mut corrupt = history.corrupt.clone();
            corrupt.sort();
            assert_eq!(places, corrupt);
        }
    }
    // JSON lines are those of replay, in its order.
    let lines = files(&deployment.data().join("jsonl-day-1"));
    let chat: Vec<u8> = lines
        .iter()
        .filter(|(path, _)| path.starts_with("lemonair.chat"))
        .flat_map(|(_, content)| content.clone())
        .collect();
    let replayed = deployment.run(&["replay", "chat"]).await;
    assert!(replayed.as_bytes() == chat);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_becomes_the_same_files_though_the_topics_grew() {
    let deployment = Deployment::new("cut");
    let mut history = History::write(&deployment).await;
    let more = ["--format", "parquet"];
    export(&deployment, "whole", &more).await;
    let whole = files(&deployment.data().join("whole"));

    let arguments = [&["export"], &TOPICS[..], &["-o", "cut"], &more].concat();
    let mut child = deployment
        .command(&arguments)
        .spawn()
        .expect("run lemonair");
    let begun = deployment.data().join("cut/.partial/lemonair.chat");
    eventually("the export has begun", async || {
        begun.exists().then_some(())
    })
    .await;
    child.kill().await.expect("kill lemonair");
    assert!(!deployment.data().join("cut/manifest.json").exists());
    history.extend(100);
    export(&deployment, "cut", &more).await;
    assert!(files(&deployment.data().join("cut")) == whole);

    // What came since is added, once.
    export(
        &deployment,
        "cut",
        &[&more[..], &["--incremental"]].concat(),
    )
    .await;
    let grown = files(&deployment.data().join("cut"));
    for (path, content) in &whole {
        assert!(path.ends_with("manifest.json") || grown.get(path) == Some(content));
    }
    manifest(&grown);
    assert_eq!(
        count("parquet", &grown),
        history.good(i64::MIN..i64::MAX).len()
    );
    let said = export(
        &deployment,
        "cut",
        &[&more[..], &["--incremental"]].concat(),
    )
    .await;
    assert!(said.contains("nothing new"), "{said}");
    assert!(files(&deployment.data().join("cut")) == grown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_gets_what_a_folder_gets() {
    let deployment = Deployment::new("bucket");
    let bucket = Bucket::open(deployment.data(), 1_000_000).await;
    let deployment = bucket.of(deployment);
    // So many that a file is sent in parts.
    let mut history = History::of(&deployment, 40_000).await;
    for (format, by) in [("jsonl", "day"), ("parquet", "room")] {
        let more = ["--format", format, "--by", by];
        let place = format!("s3://exports/some/{format}");
        export(&deployment, format, &more).await;
        let said = export(&deployment, &place, &more).await;
        assert!(said.lines().any(|line| line.ends_with(&place)), "{said}");
        let in_folder = files(&deployment.data().join(format));
        let in_bucket = files(&bucket.folder().join("some").join(format));
        assert!(in_folder == in_bucket, "{:?}", in_bucket.keys());
    }
    history.extend(100);
    let (place, more) = (
        "s3://exports/some/jsonl",
        ["--format", "jsonl", "--incremental"],
    );
    let before = files(&bucket.folder().join("some/jsonl"));
    export(&deployment, place, &more).await;
    let grown = files(&bucket.folder().join("some/jsonl"));
    for (path, content) in &before {
        assert!(path.ends_with("manifest.json") || grown.get(path) == Some(content));
    }
    manifest(&grown);
    let good = history.good(i64::MIN..i64::MAX).len();
    assert_eq!(count("jsonl", &grown), good);
    let said = export(&deployment, place, &more).await;
    assert!(said.contains("nothing new"), "{said}");

    // What takes its place leaves nothing of it.
    export(&deployment, place, &["--format", "csv"]).await;
    let other = files(&bucket.folder().join("some/jsonl"));
    manifest(&other);
    assert_eq!(count("csv", &other), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_not_whole_until_all_is_there() {
    let more = ["--format", "parquet", "--by", "room"];
    let (deployment, bucket, mut history) = half("half", &more).await;
    export(&deployment, "whole", &more).await;
    let whole = files(&deployment.data().join("whole"));
    let half = files(bucket.folder());
    assert!(half.len() < whole.len() && !half.contains_key(Path::new("manifest.json")));

    bucket.let_all_in();
    history.extend(100);
    export(&deployment, "s3://exports", &more).await;
    assert!(files(bucket.folder()) == whole);
}

#[tokio::test]
async fn what_a_store_refuses_is_said_in_one_line() {
    const PLACE: &str = "s3://exports/place";
    let deployment = Deployment::new("locked");
    let bucket = Bucket::open(deployment.data(), 1_000_000).await;
    let right = bucket.of(deployment);
    History::of(&right, 10).await;
    let refused = async |deployment: &Deployment, place: &str, says: &str| {
        let export = ["export", "chat", "--format", "csv", "-o", place];
        let line = deployment.refused(&export).await;
        assert!(line.contains(says) && line.lines().count() == 1, "{line}");
        assert!(!line.contains(SECRET_KEY), "{line}");
    };
    refused(&right, "s3://", "names no bucket").await;
    refused(&right, "s3://missing/place", "is there such a bucket?").await;
    bucket.allow_writes(0);
    refused(&right, PLACE, KEYS).await;
    bucket.allow_writes(usize::MAX);
    let wrong = right.with("LEMONAIR_S3_SECRET_KEY", "wrong");
    refused(&wrong, PLACE, KEYS).await;
    let unknown = wrong.with("LEMONAIR_S3_ACCESS_KEY", "nobody's");
    refused(&unknown, PLACE, KEYS).await;
    assert!(files(bucket.folder()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_half_way_leaves_nothing_that_looks_whole() {
    let deployment = Deployment::new("revoked");
    let bucket = Bucket::open(deployment.data(), 1_000_000).await;
    let deployment = bucket.of(deployment);
    History::of(&deployment, 2_000).await;
    let more = ["--format", "parquet", "--by", "room"];
    export(&deployment, "whole", &more).await;
    let whole = files(&deployment.data().join("whole"));
    bucket.allow_writes(HALF);
    let place = "s3://exports";
    let arguments = [&["export"], &TOPICS[..], &["-o", place], &more].concat();
    let line = deployment.refused(&arguments).await;
    assert!(line.contains(KEYS) && line.lines().count() == 1, "{line}");
    let half = files(bucket.folder());
    assert!(half.len() < whole.len() && !half.contains_key(Path::new("manifest.json")));
    let query = ["query", "SELECT count(*) FROM chat", "--export", place];
    let line = deployment.refused(&query).await;
    assert!(line.contains("not a whole one"), "{line}");

    bucket.allow_writes(usize::MAX);
    export(&deployment, place, &more).await;
    assert!(files(bucket.folder()) == whole);
}

/// A store in which an export was cut off when two of its files were there.
async fn half(name: &str, more: &[&str]) -> (Deployment, Bucket, History) {
    let deployment = Deployment::new(name);
    let bucket = Bucket::open(deployment.data(), HALF).await;
    let deployment = bucket.of(deployment);
    let history = History::of(&deployment, 2_000).await;
    let arguments = [&["export"], &TOPICS[..], &["-o", "s3://exports"], more].concat();
    let mut child = deployment
        .command(&arguments)
        .spawn()
        .expect("run lemonair");
    eventually("files are on their way", async || {
        let begun = files(bucket.folder()).len() > 2;
        (begun && bucket.is_waited_for()).then_some(())
    })
    .await;
    child.kill().await.expect("kill lemonair");
    (deployment, bucket, history)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_has_nothing_to_do_with_another_window() {
    let window = ["--format", "csv", "--by", "room", "--from", "100000 days"];
    let (deployment, bucket, history) = half("window", &window).await;
    bucket.let_all_in();
    let plan = || {
        let plan = files(bucket.folder());
        let plan = plan.get(Path::new(".partial/plan.json")).expect("a plan");
        serde_json::from_slice::<Value>(plan).expect("JSON")
    };
    // What begins so long ago begins there still, however late it goes on.
    let from = plan()["request"]["from"].clone();
    assert!(from.is_string());
    export(&deployment, "s3://exports", &window).await;
    let done = manifest(&files(bucket.folder()));
    assert_eq!(done["request"]["from"], from);

    bucket.allow_writes(HALF);
    let from = Timestamp(BEGAN + history.span / 2).to_string();
    let window = ["--format", "csv", "--by", "room", "--from", &from];
    let arguments = [&["export"], &TOPICS[..], &["-o", "s3://exports"], &window].concat();
    deployment.refused(&arguments).await;
    bucket.allow_writes(usize::MAX);
    export(&deployment, "s3://exports", &window[..4]).await;
    let whole = told("csv", &files(bucket.folder()));
    assert!(whole == expected("csv", "room", &history));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_leaves_nothing_to_another_export() {
    let by_room = ["--format", "parquet", "--by", "room"];
    let (deployment, bucket, _) = half("strays", &by_room).await;
    bucket.let_all_in();
    let by_day = ["--format", "jsonl"];
    export(&deployment, "s3://exports", &by_day).await;
    manifest(&files(bucket.folder()));

    // Nor does what it replaced, if only some of that was removed: its manifest, and a file.
    bucket.allow_removals(2);
    let arguments = [&["export"], &TOPICS[..], &["-o", "s3://exports"], &by_room].concat();
    let line = deployment.refused(&arguments).await;
    assert!(line.contains(KEYS), "{line}");
    assert!(!files(bucket.folder()).contains_key(Path::new("manifest.json")));
    bucket.allow_removals(usize::MAX);
    export(&deployment, "s3://exports", &["--format", "csv"]).await;
    manifest(&files(bucket.folder()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_added_to_what_is_not_the_whole_of_what_there_was() {
    let deployment = Deployment::new("added");
    let history = evening(&deployment).await;
    let more = ["--format", "parquet"];
    let refused = async |folder: &str, says: &str| {
        let arguments = [
            &["export"],
            &TOPICS[..],
            &["-o", folder],
            &more,
            &["--incremental"],
        ];
        let line = deployment.refused(&arguments.concat()).await;
        assert!(line.contains(says) && line.lines().count() == 1, "{line}");
    };
    for (folder, bound, at) in [
        ("late", "--from", "2026-01-02T21:00:00Z"),
        ("none", "--to", "0"),
    ] {
        let window = [&more[..], &[bound, at]].concat();
        export(&deployment, folder, &window).await;
        refused(folder, "what --from and --to left").await;
    }
    export(&deployment, "whole", &more).await;
    let whole = [
        "query",
        "SELECT * FROM chat",
        "--format",
        "csv",
        "--export",
        "whole",
    ];
    let asked = async || {
        let output = deployment
            .command(&whole)
            .output()
            .await
            .expect("run lemonair");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (rows, said) = asked().await;
    assert!(rows.contains(",ann,") && !said.contains("erased"), "{said}");

    // A topic that was made anew is shorter.
    let path = deployment.data().join("whole/manifest.json");
    let before = std::fs::read_to_string(&path).expect("read");
    let mut longer: Value = serde_json::from_str(&before).expect("JSON");
    let read = &mut longer["runs"][0]["read"][0];
    let (range, _) = read
        .as_str()
        .and_then(|read| read.split_once('-'))
        .expect("a range");
    *read = format!("{range}-1000000").into();
    std::fs::write(&path, longer.to_string()).expect("write");
    refused("whole", "made anew").await;
    std::fs::write(&path, before).expect("write");

    // Who is erased later stands in what was written before.
    let room: RoomId = "ann".parse().expect("a room");
    let erased = AccountErased::new(account("ann"), &room, Timestamp::now());
    history.log().append(erased).await.expect("append");
    refused("whole", "somebody was erased").await;
    assert!(asked().await.1.contains("somebody was erased"));
    export(&deployment, "whole", &more).await;
    let (rows, said) = asked().await;
    assert!(
        !rows.contains(",ann,") && !said.contains("erased"),
        "{said}"
    );
    let again = [&more[..], &["--incremental"]].concat();
    let said = export(&deployment, "whole", &again).await;
    assert!(said.contains("nothing new"), "{said}");
}

#[tokio::test]
async fn pseudonyms_name_nobody_and_are_the_same_everywhere() {
    let deployment = Deployment::new("pseudonym");
    History::of(&deployment, 200).await;
    let more = ["--format", "jsonl", "--pseudonymise"];
    export(&deployment, "one", &more).await;
    export(&deployment, "two", &more).await;
    let one = files(&deployment.data().join("one"));
    assert!(one == files(&deployment.data().join("two")));
    let (room, whom) = (["--room", "mint"], ["--account", "viewer7"]);
    let id = ["--account", "018bcfe5-6800-7000-9000-000000000007"];
    let asked = [&more[..], &room, &whom, &id].concat();
    export(&deployment, "asked", &asked).await;
    let asked = files(&deployment.data().join("asked"));
    let manifest = String::from_utf8_lossy(&asked[Path::new("manifest.json")]);
    for known in ["viewer", "mint", "-9000-"] {
        assert!(!manifest.contains(known), "{manifest}");
    }
    let mut names = BTreeMap::new();
    for (path, content) in &one {
        if path.ends_with("manifest.json") {
            continue;
        }
        for line in String::from_utf8_lossy(content).lines() {
            for known in ["viewer", "mint", "basil", "-9000-"] {
                assert!(!line.contains(known), "{line}");
            }
            let line: Value = serde_json::from_str(line).expect("a JSON line");
            let (id, name) = (line["from"]["id"].clone(), line["from"]["name"].clone());
            let before = names.insert(id.to_string(), name.clone());
            assert!(before.is_none_or(|before| before == name));
        }
    }
    assert_eq!(names.len(), 50);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line() {
    let deployment = Deployment::new("exports");
    History::of(&deployment, 10).await;
    export(&deployment, "one", &["--format", "csv"]).await;
    let other = [
        "export",
        "chat",
        "--format",
        "jsonl",
        "-o",
        "one",
        "--incremental",
    ];
    let line = deployment.refused(&other).await;
    assert!(line.contains("holds another export"), "{line}");
    let nothing = [
        "export",
        "chat",
        "--format",
        "csv",
        "-o",
        "none",
        "--from",
        "2040-01-01T00:00:00Z",
    ];
    let said = deployment.run(&nothing).await;
    assert!(said.starts_with("0 records in 0 files"), "{said}");
}
