//! Writers that are older or newer than we are, and changes that the registry must refuse.

use std::collections::HashMap;

use apache_avro::types::Value as Avro;
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::record::Schema;
use lemonair_schemas::registry::Error;
use lemonair_schemas::{Codec, Event, Record, Registry, Topic};
use lemonair_testkit::{all_schemas, random_prefix, registry_url};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sample::{Any, Seed, samples};

fn registry() -> Registry {
    Registry::open(&registry_url(), &random_prefix(), None).expect("open registry")
}

/// Our schema, changed.
fn changed(schema: &Schema, change: impl FnOnce(&mut Vec<Value>)) -> Schema {
    let mut avsc: Value = serde_json::from_str(schema.avsc).expect("an .avsc file is JSON");
    change(avsc["fields"].as_array_mut().expect("fields"));
    Schema {
        avsc: avsc.to_string().leak(),
        ..*schema
    }
}

fn message() -> Schema {
    Schema {
        topic: Topic::Chat,
        name: MessagePosted::NAME,
        avsc: MessagePosted::SCHEMA,
    }
}

fn frame(id: u32, datum: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(datum);
    bytes
}

#[tokio::test]
async fn an_older_writer_lacks_a_field() {
    let registry = registry();
    let older = changed(&message(), |fields| {
        fields.retain(|field| field["name"] != "nonce" && field["name"] != "reply_to")
    });
    let id = registry.register(&older).await.unwrap();
    let codec = Codec::register(registry, &all_schemas()).await.unwrap();

    let schema = apache_avro::Schema::parse_str(older.avsc).unwrap();
    let mut record = apache_avro::types::Record::new(&schema).unwrap();
    record.put("id", "018bcfe5-6800-7000-8000-000000000001");
    record.put("at", Avro::TimestampMillis(1_700_000_000_123));
    record.put("room", "mint");
    record.put("actor", Avro::Union(0, Box::new(Avro::Null)));
    record.put("text", "hello");
    let datum = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
        .build()
        .unwrap()
        .write_value_to_vec(record)
        .unwrap();
    let Event::MessagePosted(message) = codec.decode(&frame(id, &datum)).await.unwrap() else {
        panic!("a message");
    };
    assert_eq!((message.text.as_str(), message.nonce), ("hello", None));
    assert_eq!(message.at.millis(), 1_700_000_000_123);
}

/// Every schema as a writer has it that knows one field more, and its id.
async fn newer_writers() -> (Codec, HashMap<&'static str, u32>) {
    let registry = registry();
    let mut ids = HashMap::new();
    for schema in all_schemas() {
        registry.register(&schema).await.expect("register");
        let newer = changed(&schema, |fields| {
            fields.push(json!({ "name": "mood", "type": "string", "default": "calm" }));
        });
        ids.insert(
            schema.name,
            registry.register(&newer).await.expect("register"),
        );
    }
    let codec = Codec::register(registry, &all_schemas())
        .await
        .expect("register");
    (codec, ids)
}

#[tokio::test]
async fn a_newer_writer_knows_a_field_more() {
    let (codec, ids) = newer_writers().await;
    for full in [true, false] {
        for sample in samples(&codec, &Seed::fixed(full)) {
            // A record is its fields one behind the other.
            let mut datum = sample.bytes.unwrap().split_off(5);
            datum.extend(b"\x08glad");
            let Any(read) = codec
                .decode(&frame(ids[sample.name], &datum))
                .await
                .unwrap();
            assert_eq!(read, sample.json);
        }
    }
}

/// Every schema as it was before a field came that may be null.
#[tokio::test]
async fn what_lacks_a_null_is_read_as_if_it_were_there() {
    let registry = registry();
    let mut ids = HashMap::new();
    for schema in all_schemas() {
        let mut lacking = 0;
        let older = changed(&schema, |fields| {
            // From the end on, where an absent value is a byte that can be cut off.
            while fields
                .last()
                .is_some_and(|field| field["default"].is_null() && field.get("default").is_some())
            {
                fields.pop();
                lacking += 1;
            }
        });
        let id = registry.register(&older).await.expect("register");
        ids.insert(schema.name, (id, lacking));
    }
    let codec = Codec::register(registry, &all_schemas()).await.unwrap();
    let mut lacked = 0;
    for sample in samples(&codec, &Seed::fixed(false)) {
        let (id, lacking) = ids[sample.name];
        let mut datum = sample.bytes.unwrap().split_off(5);
        datum.truncate(datum.len() - lacking);
        let Any(read) = codec.decode(&frame(id, &datum)).await.unwrap();
        assert_eq!(read, sample.json, "{}", sample.name);
        lacked += lacking;
    }
    assert!(lacked > 3);
}

/// What was written just as we would takes a shorter way than what must be resolved: whatever the
/// bytes, the two ways find the same in them.
#[test]
fn both_ways_of_reading_agree() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (codec, ids) = runtime.block_on(newer_writers());
    proptest!(|(seed in Seed::any(), at in any::<usize>(), flip in 0..=255_u8)| {
        for sample in samples(&codec, &seed) {
            let id = ids[sample.name];
            let mut bytes = sample.bytes.expect("encode");
            let at = 5 + at % (bytes.len() - 5).max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= flip;
            }
            let datum = [&bytes[5..], b"\x08glad"].concat();
            let Ok(Any(short)) = runtime.block_on(codec.decode(&bytes)) else {
                continue;
            };
            let Any(long) = runtime.block_on(codec.decode(&frame(id, &datum))).expect(sample.name);
            prop_assert_eq!(short, long);
        }
    });
}

/// Each version but the last is accepted; the last is refused in one line that names the subject.
async fn check_refused(versions: &[Schema]) {
    let registry = registry();
    let (last, before) = versions.split_last().expect("versions");
    for schema in before {
        registry.register(schema).await.expect("register");
    }
    let error = registry.register(last).await.expect_err("a refusal");
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let line = error.to_string();
    let begin = format!("schema registry refuses {}: ", registry.subject(last));
    let why = line.strip_prefix(&begin).expect(&line);
    assert!(!why.is_empty() && !why.contains("error_code"), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn a_field_of_another_type_is_refused() {
    let text = |fields: &mut Vec<Value>| {
        let text = fields.iter_mut().find(|field| field["name"] == "text");
        text.unwrap()["type"] = json!("long");
    };
    check_refused(&[message(), changed(&message(), text)]).await;
}

#[tokio::test]
async fn a_new_field_without_default_is_refused() {
    let mood = |fields: &mut Vec<Value>| {
        fields.push(json!({ "name": "mood", "type": "string" }));
    };
    check_refused(&[message(), changed(&message(), mood)]).await;
}

/// The version before could be read, but not the one before that.
#[tokio::test]
async fn a_change_that_only_the_oldest_forbids_is_refused() {
    let without = changed(&message(), |fields| {
        fields.retain(|field| field["name"] != "nonce")
    });
    let demanding = changed(&message(), |fields| {
        let nonce = fields
            .iter_mut()
            .find(|field| field["name"] == "nonce")
            .unwrap();
        nonce.as_object_mut().unwrap().remove("default");
    });
    check_refused(&[without, message(), demanding]).await;
}
