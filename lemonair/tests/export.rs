//! Exports: every good record once, the same bytes each time, and never half of it.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use support::bucket::{Bucket, SECRET_KEY};
use support::history::History;
use support::{Deployment, eventually};

const TOPICS: [&str; 3] = ["chat", "donations", "streams"];
const FORMATS: [&str; 4] = ["parquet", "avro", "jsonl", "csv"];

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

/// How many records are in the files, as each format tells.
fn count(format: &str, files: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    let count = |(path, content): (&PathBuf, &Vec<u8>)| {
        assert!(
            !String::from_utf8_lossy(content).contains("SECRET"),
            "{path:?}"
        );
        match format {
            "jsonl" => String::from_utf8_lossy(content).lines().count(),
            "csv" => String::from_utf8_lossy(content).lines().count() - 1,
            "avro" => apache_avro::Reader::new(content.as_slice())
                .expect("an Avro file")
                .filter(|record| record.is_ok())
                .count(),
            _ => {
                let bytes = bytes::Bytes::copy_from_slice(content);
                let reader =
                    parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 8192);
                let batches = reader.expect("a Parquet file");
                batches.map(|batch| batch.expect("rows").num_rows()).sum()
            }
        }
    };
    let data = files
        .iter()
        .filter(|(path, _)| path.as_path() != Path::new("manifest.json"));
    data.map(count).sum()
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
            assert_eq!(count(format, &first), good);
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
    let deployment = Deployment::new("half");
    // What is to be done, two files, and no more.
    let bucket = Bucket::open(deployment.data(), 3).await;
    let deployment = bucket.of(deployment);
    let mut history = History::of(&deployment, 2_000).await;
    let more = ["--format", "parquet", "--by", "room"];
    export(&deployment, "whole", &more).await;
    let whole = files(&deployment.data().join("whole"));
    let place = "s3://exports";
    let arguments = [&["export"], &TOPICS[..], &["-o", place], &more].concat();
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
    let half = files(bucket.folder());
    assert!(half.len() < whole.len() && !half.contains_key(Path::new("manifest.json")));

    bucket.let_all_in();
    history.extend(100);
    export(&deployment, place, &more).await;
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
    // What is to be done, two files, and no more.
    bucket.allow_writes(3);
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

#[tokio::test]
async fn pseudonyms_name_nobody_and_are_the_same_everywhere() {
    let deployment = Deployment::new("pseudonym");
    History::of(&deployment, 200).await;
    let more = ["--format", "jsonl", "--pseudonymise"];
    export(&deployment, "one", &more).await;
    export(&deployment, "two", &more).await;
    let one = files(&deployment.data().join("one"));
    assert!(one == files(&deployment.data().join("two")));
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
