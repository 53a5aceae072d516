//! One room in all its forms: plain, deflated and binary frames, and server-sent events, show the same.

mod support;

use lemonair_schemas::frame::Dialect;
use serde_json::{Value, json};
use support::raw::{Raw, frame};
use support::reader::Reader;
use support::viewer::Viewer;
use support::{Api, Deployment, eventually};

/// What browsers offer.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

fn deflate(message: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    deflate.write_all(message).expect("deflate");
    deflate.flush().expect("flush");
    let mut deflated = deflate.get_ref().clone();
    deflated.truncate(deflated.len() - 4);
    deflated
}

/// Frame by frame, each on its own: nothing of those before is remembered.
fn inflate(payload: &[u8]) -> Vec<u8> {
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut inflate = flate2::Decompress::new(false);
    let mut inflated = Vec::with_capacity(1024 * 1024);
    inflate
        .decompress_vec(&whole, &mut inflated, flate2::FlushDecompress::Sync)
        .expect("deflated as agreed");
    inflated
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_what_a_viewer_sees() {
    let deployment = Deployment::new("reader");
    let up = deployment.start("up").await;
    let streamer = Api::sign_up(&up.http, "pith").await;
    let fan = Api::sign_up(&up.http, "fan").await;
    let mut talker = Viewer::join(&up.ws(), "pith", fan.token.as_deref(), None).await;
    assert_eq!(talker.chat("pith", "before").await["type"], "ack");
    let mut viewer = Viewer::join(&up.ws(), "pith", None, None).await;
    let mut reader = Reader::open(&up.http, "/events/pith", None).await;
    assert!(reader.recovered);
    assert_eq!(reader.viewers, Some(3));
    for n in 0..20 {
        let said = talker.chat("pith", &format!("größer {n}\n🍋")).await;
        assert_eq!(said["type"], "ack");
    }
    let last = |event: &Value| event["text"] == "größer 19\n🍋";
    viewer.until("the last", last).await;
    reader.until("the last", last).await;
    assert_eq!(reader.seen, viewer.seen);
    assert_eq!(reader.id, viewer.cursor);

    // What is held or taken away is not for everybody: no byte of it, live or afterwards.
    let settings = json!({ "hold_for_review": true });
    let path = "/api/channels/pith/chat-settings";
    assert_eq!(
        streamer.send("PATCH", path, Some(settings), &[]).await.0,
        200
    );
    talker
        .until("the rule", |event| event["type"] == "chat.settings")
        .await;
    let held = talker.chat("pith", "held-secret").await;
    assert_eq!(held["type"], "ack", "{held}");
    let mut owner = Viewer::join(&up.ws(), "pith", streamer.token.as_deref(), None).await;
    let gone = owner.chat("pith", "gone-secret").await;
    reader
        .until("the message", |event| event["text"] == "gone-secret")
        .await;
    let path = format!(
        "/api/channels/pith/messages/{}",
        gone["event"].as_str().expect("an id")
    );
    eventually("it can be deleted", async || {
        let (status, _) = streamer.send("DELETE", &path, None, &[]).await;
        (status == 204).then_some(())
    })
    .await;
    reader
        .until("the deletion", |event| event["type"] == "chat.deleted")
        .await;
    assert!(!reader.raw.contains("held-secret"));
    let late = Reader::open(&up.http, "/events/pith", None).await;
    assert!(!late.raw.contains("-secret"), "{}", late.raw);
    assert!(late.texts().contains(&"before"));

    // Who leaves is not counted any more.
    drop(late);
    drop(viewer);
    reader.until_viewers(3).await;
    assert_eq!(up.stop().await, Some(0));
    assert_eq!(reader.until_closed().await, Some(4503));
    let spread = 1000..3000;
    assert!(reader.retry.is_some_and(|retry| spread.contains(&retry)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_comes_back_has_missed_nothing() {
    let deployment = Deployment::new("reread");
    let mut first = deployment.start("up").await;
    let sender = Api::sign_up(&first.http, "rind").await;
    let mut talker = Viewer::join(&first.ws(), "rind", sender.token.as_deref(), None).await;
    let mut reader = Reader::open(&first.http, "/events/rind", None).await;
    talker.chat("rind", "seen").await;
    reader.until("it", |event| event["text"] == "seen").await;
    let id = reader.id.clone();
    for n in 0..5 {
        assert_eq!(
            talker.chat("rind", &format!("missed {n}")).await["type"],
            "ack"
        );
    }
    first.kill().await;
    assert_eq!(reader.until_closed().await, None);

    let second = deployment.start("up").await;
    let missed = ["missed 0", "missed 1", "missed 2", "missed 3", "missed 4"];
    let back = Reader::open(&second.http, "/events/rind", Some(&id)).await;
    assert!(back.recovered);
    assert_eq!(back.texts(), missed);
    // For those who cannot set a header; the header, being newer, goes before.
    let path = format!("/events/rind?since={id}");
    assert_eq!(
        Reader::open(&second.http, &path, None).await.texts(),
        missed
    );
    let newest = Reader::open(&second.http, &path, Some(&back.id)).await;
    assert_eq!(newest.texts(), [""; 0]);
    let lost = Reader::open(&second.http, "/events/rind", Some("nonsense")).await;
    assert!(!lost.recovered);
    assert_eq!(lost.texts().len(), 6);
    assert_eq!(second.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_pages_may_not_read() {
    let deployment =
        Deployment::new("reorigin").with("LEMONAIR_ORIGINS", r#"["https://friend.example"]"#);
    let up = deployment.start("up").await;
    let http = reqwest::Client::new();
    for (origin, status) in [
        ("https://stranger.example", 403),
        ("null", 403),
        ("https://friend.example", 200),
        (up.http.as_str(), 200),
    ] {
        let request = http.get(format!("{}/events/open", up.http));
        let answer = request.header("Origin", origin).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), status, "{origin}");
        let allowed = answer.headers().get("access-control-allow-origin");
        let allowed = allowed.map(|allowed| allowed.to_str().expect("an origin"));
        assert_eq!(allowed, (status == 200).then_some(origin));
    }
    let (status, problem) = Api::new(&up.http)
        .send("GET", "/events/no%20room", None, &[])
        .await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_does_not_read_is_given_up() {
    let deployment = Deployment::new("deafreader");
    let up = deployment.start("up").await;
    let token = deployment.run(&["token", "robot"]).await;
    let mut talker = Viewer::join(&up.ws(), "deaf", Some(token.trim()), None).await;
    let mut honest = Reader::open(&up.http, "/events/deaf", None).await;
    let honest = tokio::spawn(async move {
        let last = |event: &Value| event["text"] == "last";
        honest.until("the last", last).await;
        honest
    });
    let mut deaf = Raw::open(&up.http).await;
    deaf.send(b"GET /events/deaf HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(deaf.head().await.starts_with("HTTP/1.1 200"));
    let text = "🍋".repeat(500);
    for batch in 0..25 {
        for n in 0..40 {
            let ask = json!({ "type": "chat", "id": [batch, n], "room": "deaf", "text": text });
            talker.send(ask).await;
        }
        for n in 0..40 {
            assert_eq!(talker.answer(&json!([batch, n])).await["type"], "ack");
        }
    }
    assert_eq!(talker.chat("deaf", "last").await["type"], "ack");
    let honest = honest.await.expect("the last");
    assert_eq!(honest.texts().len(), 1001);
    let api = Api::new(&up.http);
    eventually("the deaf one is given up", async || {
        let metrics = api.get("/metrics").await;
        let mut lines = metrics.as_str()?.lines();
        lines
            .any(|line| line == "lemonair_connections 2")
            .then_some(())
    })
    .await;
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deflated_frames_say_the_same() {
    let deployment = Deployment::new("deflated");
    let up = deployment.start("up").await;
    let token = deployment.run(&["token", "robot"]).await;
    let mut talker = Viewer::join(&up.ws(), "zip", Some(token.trim()), None).await;
    for n in 0..30 {
        assert_eq!(
            talker.chat("zip", &format!("before {n}")).await["type"],
            "ack"
        );
    }
    let mut plain = Viewer::join(&up.ws(), "zip", None, None).await;
    let (mut raw, head) = Raw::shake_with(&up.http, OFFER).await;
    let agreed = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
    assert!(head.to_lowercase().contains(agreed), "{head}");
    let join = json!({ "type": "join", "id": "ö".repeat(200), "room": "zip" }).to_string();
    raw.send(&frame(0xc1, &deflate(join.as_bytes()))).await;

    let (mut seen, mut deflated) = (Vec::new(), 0);
    let mut said = 0;
    let last = |event: &Value| {
        event["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("last"))
    };
    while !seen.iter().any(last) {
        let (first, payload) = raw.whole_frame().await.expect("a frame");
        let payload = match first {
            0x81 => payload,
            0xc1 => {
                deflated += 1;
                inflate(&payload)
            }
            // A ping, should it come.
            _ => continue,
        };
        let frame: Value = serde_json::from_slice(&payload).expect("JSON");
        if frame["type"] == "joined" {
            assert_eq!(first, 0xc1, "a history is worth deflating");
            assert_eq!(frame["id"], "ö".repeat(200));
        }
        let events = frame["events"].as_array().expect("events");
        seen.extend(
            events
                .iter()
                .filter(|event| event["type"] != "viewers")
                .cloned(),
        );
        // A short one is sent as it is, a long one is not.
        if said < 2 {
            let text = ["short", &format!("last {}", "🍋".repeat(400))][said].to_owned();
            said += 1;
            assert_eq!(talker.chat("zip", &text).await["type"], "ack");
        }
    }
    assert!(deflated >= 2);
    plain.until("the last", last).await;
    assert_eq!(seen, plain.seen);

    // A short frame that would be megabytes, at once or in two pieces.
    let bomb = deflate(&vec![b' '; 4_000_000]);
    let (one, two) = bomb.split_at(bomb.len() / 2);
    for (what, bytes, code) in [
        ("a bomb", frame(0xc1, &bomb), 1009),
        (
            "in pieces",
            [frame(0x41, one), frame(0x80, two)].concat(),
            1009,
        ),
        ("no deflate", frame(0xc1, &[0xff; 30]), 1002),
        ("a ping", frame(0xc9, b"?"), 1002),
    ] {
        let (mut raw, _) = Raw::shake_with(&up.http, OFFER).await;
        raw.send(&bytes).await;
        assert_eq!(raw.closed().await, Some(code), "{what}");
    }
    assert_eq!(talker.chat("zip", "unharmed").await["type"], "ack");
    assert_eq!(up.stop().await, Some(0));
}

/// A client of the binary subprotocol, with the schemas that it was given.
struct Binary {
    raw: Raw,
    frames: Dialect,
    requests: Dialect,
    seen: Vec<Value>,
    cursor: String,
}

impl Binary {
    async fn ask(&mut self, ask: Value) -> Value {
        let datum = self.requests.write(&ask).expect("a request");
        self.raw.send(&frame(0x82, &datum)).await;
        loop {
            let told = self.receive().await;
            if told["id"] == ask["id"] {
                return told;
            }
        }
    }

    async fn receive(&mut self) -> Value {
        loop {
            let (first, payload) = self.raw.whole_frame().await.expect("a frame");
            // A ping, should it come.
            if first == 0x89 {
                continue;
            }
            assert_eq!(first, 0x82);
            let told = self.frames.read(&payload).expect("a frame of the schema");
            let events = told["events"].as_array().into_iter().flatten();
            let facts = events.filter(|event| event["type"] != "viewers");
            self.seen.extend(facts.cloned());
            if let Some(cursor) = told["cursor"].as_str() {
                cursor.clone_into(&mut self.cursor);
            }
            return told;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_frames_say_the_same() {
    let deployment = Deployment::new("binary");
    let up = deployment.start("up").await;
    let api = Api::sign_up(&up.http, "pulp").await;
    let schema = async |name: &str| {
        let schema = api.get(&format!("/api/{name}.avsc")).await;
        Dialect::parse(&schema.to_string()).expect("a schema")
    };
    let mut plain = Viewer::join(&up.ws(), "pulp", None, None).await;
    let protocol = "Sec-WebSocket-Protocol: unknown, lemonair.avro.2\r\n";
    let (raw, head) = Raw::shake_with(&up.http, &format!("{protocol}{OFFER}")).await;
    let head = head.to_lowercase();
    let agreed = "sec-websocket-protocol: lemonair.avro.2\r\n";
    assert!(head.contains(agreed), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    let mut binary = Binary {
        raw,
        frames: schema("frames").await,
        requests: schema("requests").await,
        seen: Vec::new(),
        cursor: String::new(),
    };

    let join = json!({ "type": "join", "id": "1", "room": "pulp", "token": api.token });
    let joined = binary.ask(join).await;
    assert_eq!(joined["type"], "joined");
    assert_eq!(
        (&joined["recovered"], &joined["viewers"]),
        (&json!(true), &json!(2))
    );
    for n in 0..3 {
        let (id, text) = (format!("say {n}"), format!("größer {n}"));
        let chat = json!({ "type": "chat", "id": id, "room": "pulp", "text": text, "nonce": id });
        assert_eq!(binary.ask(chat).await["type"], "ack");
    }
    let first = plain.until("what can be answered", |event| event["text"] == "größer 0");
    let first = first.await["id"].clone();
    let answer = json!({ "type": "chat", "id": "answer", "room": "pulp", "text": "so it is", "reply_to": first });
    assert_eq!(binary.ask(answer).await["type"], "ack");
    let elsewhere = json!({ "type": "chat", "id": "3", "room": "elsewhere", "text": "hi" });
    assert_eq!(binary.ask(elsewhere).await["code"], "not_joined");
    let settings = json!({ "blocked_words": ["secret"], "unique_messages": true });
    let path = "/api/channels/pulp/chat-settings";
    assert_eq!(api.send("PATCH", path, Some(settings), &[]).await.0, 200);
    let changed = |event: &Value| event["type"] == "chat.settings";
    while !binary.seen.iter().any(changed) {
        binary.receive().await;
    }
    plain.until("the settings", changed).await;
    assert_eq!(plain.seen.len(), 5);
    assert_eq!(plain.seen[3]["reply_to"], first);
    assert_eq!(binary.seen, plain.seen);
    assert_eq!(binary.cursor, plain.cursor);

    // Half a datum, text, and a request of another time are refused; the connection goes on.
    for bytes in [frame(0x82, &[0, 2]), frame(0x81, b"{}"), frame(0x82, &[40])] {
        binary.raw.send(&bytes).await;
        let told = binary.receive().await;
        assert_eq!(told["code"], "bad_request", "{bytes:?}");
    }
    assert_eq!(
        binary.ask(json!({ "type": "ping", "id": "4" })).await["type"],
        "pong"
    );
    assert_eq!(up.stop().await, Some(0));
}
