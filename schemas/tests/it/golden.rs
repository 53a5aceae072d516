//! Golden bytes: what an older version of this code wrote, as it stands on topics that are kept for
//! ever. `golden/` has one file for each version of each record: its schema, its bytes, and what
//! they say.
//!
//! A change of an `.avsc` file needs a new version; `UPDATE_EXPECT=1 cargo test -p lemonair-schemas`
//! adds it. No file is ever changed or deleted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use lemonair_schemas::record::Schema;
use lemonair_schemas::{Codec, Registry};
use lemonair_testkit::{all_schemas, codec, random_prefix, registry_url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sample::{Any, Seed, samples, sorted};

#[derive(Serialize, Deserialize)]
struct Golden {
    schema: Value,
    data: Vec<Written>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    /// The datum behind Confluent's header, hexadecimal.
    bytes: String,
    json: Value,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"))
}

/// Versions of each record, from 1 without a gap.
fn golden() -> BTreeMap<String, Vec<Golden>> {
    let mut files: BTreeMap<String, BTreeMap<usize, Golden>> = BTreeMap::new();
    for entry in fs::read_dir(folder()).expect("list golden files") {
        let path = entry.expect("list golden files").path();
        let file = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let stem = file.strip_suffix(".json").expect("golden files are JSON");
        let (name, version) = stem.rsplit_once(".v").expect("<full name>.v<number>.json");
        let text = fs::read_to_string(&path).expect("read golden file");
        let golden = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let version = version.parse().expect("<full name>.v<number>.json");
        files
            .entry(name.to_owned())
            .or_default()
            .insert(version, golden);
    }
    let mut golden = BTreeMap::new();
    for (name, versions) in files {
        assert!(
            versions.keys().copied().eq(1..=versions.len()),
            "{name} has a gap in its versions"
        );
        golden.insert(name, versions.into_values().collect());
    }
    golden
}

/// A schema without what does not touch the bytes.
fn essence(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "doc");
            fields
                .map(|(name, value)| (name.clone(), essence(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(essence).collect(),
        other => other.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// What today's code writes.
async fn today(schema: &Schema) -> Golden {
    let codec = codec().await;
    let mut data = Vec::new();
    for full in [true, false] {
        let samples = samples(&codec, &Seed::fixed(full));
        let sample = samples
            .into_iter()
            .find(|sample| sample.name == schema.name);
        let sample = sample.unwrap_or_else(|| panic!("tests/it/sample.rs has no {}", schema.name));
        let bytes = sample.bytes.expect("encode");
        data.push(Written {
            bytes: hex(&bytes[5..]),
            json: sorted(sample.json),
        });
    }
    Golden {
        schema: sorted(serde_json::from_str(schema.avsc).expect("an .avsc file is JSON")),
        data,
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "as expect-test does")]
async fn every_schema_has_its_golden_version() {
    let update = std::env::var("UPDATE_EXPECT").is_ok();
    let mut golden = golden();
    let mut faults = Vec::new();
    for schema in all_schemas() {
        let versions = golden.remove(schema.name).unwrap_or_default();
        let today = today(&schema).await;
        let newest = versions.last().map(|golden| essence(&golden.schema));
        if newest == Some(essence(&today.schema)) {
            continue;
        }
        let version = versions.len() + 1;
        let file = format!("{}.v{version}.json", schema.name);
        if update {
            let mut text = serde_json::to_string_pretty(&today).expect("serialize");
            text.push('\n');
            fs::write(folder().join(&file), text).expect("write golden file");
        } else {
            faults.push(format!(
                "{} was changed, and schemas/golden/{file} is missing",
                schema.name
            ));
        }
    }
    for name in golden.keys() {
        faults.push(format!(
            "{name} is gone, but stands on topics for ever: it must stay readable"
        ));
    }
    assert!(
        faults.is_empty(),
        "{}\nUPDATE_EXPECT=1 cargo test -p lemonair-schemas adds a version; never change an old one",
        faults.join("\n")
    );
}

#[tokio::test]
async fn todays_bytes_are_those_of_the_newest_version() {
    let golden = golden();
    for schema in all_schemas() {
        let today = today(&schema).await;
        let Some(newest) = golden.get(schema.name).and_then(|versions| versions.last()) else {
            continue;
        };
        for (today, golden) in today.data.iter().zip(&newest.data) {
            assert_eq!(today.bytes, golden.bytes, "{}", schema.name);
        }
    }
}

/// Through the registry, as a topic's reader would: all versions, the oldest first, under one subject.
#[tokio::test]
async fn every_golden_version_is_read() {
    let registry = Registry::open(&registry_url(), &random_prefix(), None).unwrap();
    let golden = golden();
    let mut ids = BTreeMap::new();
    for schema in all_schemas() {
        for (version, golden) in golden.get(schema.name).into_iter().flatten().enumerate() {
            let old = Schema {
                avsc: golden.schema.to_string().leak(),
                ..schema
            };
            let id = registry.register(&old).await;
            let id = id.unwrap_or_else(|error| panic!("{} v{}: {error}", schema.name, version + 1));
            ids.insert((schema.name, version), id);
        }
    }
    let codec = Codec::register(registry, &all_schemas()).await.unwrap();
    for ((name, version), id) in ids {
        for written in &golden[name][version].data {
            let mut bytes = vec![0];
            bytes.extend(id.to_be_bytes());
            bytes.extend(unhex(&written.bytes));
            let Any(read) = codec
                .decode(&bytes)
                .await
                .unwrap_or_else(|error| panic!("{name} v{}: {error}", version + 1));
            assert_has(&read, &written.json, name);
        }
    }
}

/// Newer fields may have come, none may have gone or changed.
fn assert_has(read: &Value, golden: &Value, place: &str) {
    match (read, golden) {
        (Value::Object(read), Value::Object(golden)) => {
            for (name, golden) in golden {
                let read = read.get(name).unwrap_or(&Value::Null);
                assert_has(read, golden, &format!("{place}.{name}"));
            }
        }
        (Value::Array(read), Value::Array(golden)) => {
            assert_eq!(read.len(), golden.len(), "{place}");
            for (read, golden) in read.iter().zip(golden) {
                assert_has(read, golden, place);
            }
        }
        _ => assert_eq!(read, golden, "{place}"),
    }
}
