//! Frames in Avro say what the JSON says.

use expect_test::expect;
use lemonair_schemas::frame::{self, Dialect, Error};
use lemonair_schemas::{Event, Topic};
use lemonair_testkit::codec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sample::{Seed, samples};

/// A room's events as its viewers see them.
async fn events(full: bool) -> Vec<Value> {
    let codec = codec().await;
    let samples = samples(&codec, &Seed::fixed(full));
    let events = samples.into_iter().filter_map(|sample| sample.event);
    // What an overlay has shown, and what is kept of broadcasts, is told to nobody.
    let told = events.filter(|event| {
        let kept = event.kind().starts_with("recording.");
        !kept && !matches!(event, Event::AlertShown(_))
    });
    let of_room = told.filter(|event| Topic::ROOM.contains(&topic(event)));
    let mut events = Vec::from_iter(of_room.map(|event| {
        let mut json = event.json();
        // Named by the frame; not for everybody; said by the message itself.
        let hidden: &[&str] = match event {
            Event::ChatSettingsChanged(_) => &["room", "blocked_words"],
            Event::HeldMessageApproved(_) => &["room", "author", "text", "nonce", "reply_to"],
            Event::DonationMessageApproved(_) | Event::DonationMessageDenied(_) => {
                &["room", "from", "donor"]
            }
            Event::OverlayCued(_) => &["room", "from"],
            Event::StreamInterrupted(_) | Event::StreamEnded(_) => &["room", "figures"],
            _ => &["room"],
        };
        hidden.iter().for_each(|field| drop(json.remove(*field)));
        Value::Object(json)
    }));
    let at = "2023-11-14T22:13:20.123Z";
    events.push(json!({
        "type": "donation.held", "at": at, "donation": "d", "amount": 5, "message": "tea",
    }));
    events.push(json!({
        "type": "goal.progress", "at": at,
        "goal": { "id": "g", "title": "tea", "target": 9, "amount": 5, "started_at": at },
    }));
    events.push(json!({ "type": "viewers", "at": "2023-11-14T22:13:20.123Z", "count": 7 }));
    events
}

fn topic(event: &Event) -> Topic {
    lemonair_schemas::Records::topic(event)
}

fn published() -> Dialect {
    Dialect::parse(frame::FRAMES).expect("our own schema")
}

#[tokio::test]
async fn every_event_of_a_room_has_its_place() {
    for full in [true, false] {
        let events = events(full).await;
        assert_eq!(events.len(), 30);
        for (head, kind) in [
            (
                json!({ "type": "events", "room": "mint", "cursor": "c1" }),
                "events",
            ),
            (
                json!({
                    "type": "joined", "id": "1", "room": "mint", "cursor": "c1", "recovered": true,
                    "viewers": 3, "live": false,
                }),
                "joined",
            ),
        ] {
            let mut empty = head.clone();
            empty["events"] = json!([]);
            let datum = [frame::head(&empty).unwrap(), frame::list(&events).unwrap()].concat();
            let mut whole = head;
            whole["events"] = events.clone().into();
            assert_eq!(published().read(&datum).unwrap(), whole, "{kind}");
        }
    }
}

#[test]
fn the_other_frames_have_theirs() {
    for frame in [
        json!({ "type": "ack", "id": "1", "event": "e" }),
        json!({ "type": "left", "id": "1", "room": "mint" }),
        json!({ "type": "pong" }),
        json!({ "type": "error", "id": "1", "code": "busy", "message": "m", "retry_after_ms": 250 }),
    ] {
        let datum = frame::whole(&frame).unwrap();
        assert_eq!(published().read(&datum).unwrap(), frame);
    }
    for frame in [
        json!({ "type": "dance" }),
        json!({ "type": "ack", "id": "1", "event": "e", "more": 1 }),
        json!({ "type": "ack", "id": 1, "event": "e" }),
        json!({ "type": "ack" }),
    ] {
        assert!(
            matches!(frame::whole(&frame), Err(Error::Foreign(_))),
            "{frame}"
        );
    }
}

/// Clients have these schemas: bytes may not change under the same name of the subprotocol.
#[test]
fn bytes_stay_the_same() {
    let ack = frame::whole(&json!({ "type": "ack", "id": "1", "event": "e" })).unwrap();
    expect!["040202310265"].assert_eq(&hex(&ack));
    let viewers = json!({ "type": "viewers", "at": "2023-11-14T22:13:20.123Z", "count": 7 });
    expect!["022af6a1abfef9620e00"].assert_eq(&hex(&frame::list(&[viewers]).unwrap()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn requests_are_read() {
    let theirs = Dialect::parse(frame::REQUESTS).unwrap();
    for request in [
        json!({ "type": "join", "id": "1", "room": "mint", "token": "t", "since": "c1" }),
        json!({ "type": "join", "room": "mint" }),
        json!({ "type": "chat", "id": "2", "room": "mint", "text": "größer", "nonce": "n" }),
        json!({ "type": "chat", "room": "mint", "text": "größer", "reply_to": "e" }),
        json!({ "type": "leave", "room": "mint" }),
        json!({ "type": "ping", "id": "4" }),
    ] {
        let datum = theirs.write(&request).unwrap();
        assert_eq!(frame::request(&datum).unwrap(), request);
        for cut in 0..datum.len() {
            assert!(
                frame::request(&datum[..cut]).is_err(),
                "{request} cut at {cut}"
            );
        }
        let more = [&datum[..], &[0]].concat();
        assert!(frame::request(&more).is_err(), "{request} and more");
    }
}

proptest! {
    #[test]
    fn strangers_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = frame::request(&bytes);
        let _ = published().read(&bytes);
    }
}
