//! Rooms on the socket: acks, order, resume, and what happens to bad frames.

mod support;

use serde_json::{Value, json};
use support::person::{Person, done, kind, set};
use support::viewer::Viewer;
use support::{Api, Deployment, eventually};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_who_comes_back_has_missed_nothing() {
    let deployment = Deployment::new("resume");
    let mut first = deployment.start("up").await;
    let sender = Api::sign_up(&first.http, "zest").await;
    let token = sender.token.as_deref();
    let mut talker = Viewer::join(&first.ws(), "zest", token, None).await;
    let mut viewer = Viewer::join(&first.ws(), "zest", None, None).await;
    for n in 0..5 {
        assert_eq!(
            talker.chat("zest", &format!("before {n}")).await["type"],
            "ack"
        );
    }
    viewer
        .until("the fifth", |event| event["text"] == "before 4")
        .await;
    assert_eq!(
        viewer.texts(),
        ["before 0", "before 1", "before 2", "before 3", "before 4"]
    );

    // Gone for a moment: the gap comes from memory.
    let cursor = viewer.cursor.clone();
    drop(viewer);
    for n in 0..5 {
        talker.chat("zest", &format!("meanwhile {n}")).await;
    }
    let mut viewer = Viewer::join(&first.ws(), "zest", None, Some(&cursor)).await;
    viewer
        .until("the gap", |event| event["text"] == "meanwhile 4")
        .await;
    assert!(viewer.recovered);
    assert_eq!(
        viewer.texts(),
        [
            "meanwhile 0",
            "meanwhile 1",
            "meanwhile 2",
            "meanwhile 3",
            "meanwhile 4"
        ]
    );

    // The gateway dies as machines do: what was acked is there, and the gap comes from the topic.
    first.kill().await;
    let second = deployment.start("up").await;
    let viewer = Viewer::join(&second.ws(), "zest", None, Some(&cursor)).await;
    assert!(viewer.recovered);
    assert_eq!(
        viewer.texts(),
        [
            "meanwhile 0",
            "meanwhile 1",
            "meanwhile 2",
            "meanwhile 3",
            "meanwhile 4"
        ]
    );

    // Without a cursor: the recent history.
    let newcomer = Viewer::join(&second.ws(), "zest", None, None).await;
    assert_eq!(newcomer.texts().len(), 10);
    assert_eq!(newcomer.texts()[..2], ["before 0", "before 1"]);

    // A cursor of another history: the client is told to reload, and gets the recent events.
    let stranger = cursor
        .rsplit_once('.')
        .map(|(most, _)| format!("{most}.ffff-1"))
        .expect("a cursor");
    // As far as this one, but what stood there is another event: the topics were made anew.
    let places: Vec<&str> = cursor.split('.').collect();
    let elsewhere = places.iter().map(|place| match place.split_once('-') {
        Some((next, mark)) if mark != "0" => format!("{next}-1"),
        _ => (*place).to_owned(),
    });
    let elsewhere = elsewhere.collect::<Vec<_>>().join(".");
    assert_ne!(elsewhere, cursor);
    for since in [&stranger, &elsewhere, "nonsense", "c1.ffffff-1.0-0.0-0"] {
        let lost = Viewer::join(&second.ws(), "zest", None, Some(since)).await;
        assert!(!lost.recovered, "{since}");
        assert_eq!(lost.texts().len(), 10, "{since}");
    }
    assert_eq!(second.stop().await, Some(0));
    // A gateway that has not read the room yet finds it too.
    let third = deployment.start("up").await;
    let lost = Viewer::join(&third.ws(), "zest", None, Some(&elsewhere)).await;
    assert!(!lost.recovered);
    assert_eq!(third.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_show_one_order() {
    let deployment = Deployment::new("gateways");
    let up = deployment.start("up").await;
    let other = deployment.start("gateway").await;
    let one = Api::sign_up(&up.http, "one").await;
    let two = Api::sign_up(&up.http, "two").await;
    let mut here = Viewer::join(&up.ws(), "one", one.token.as_deref(), None).await;
    let mut there = Viewer::join(&other.ws(), "one", two.token.as_deref(), None).await;
    for n in 0..20 {
        assert_eq!(here.chat("one", &format!("here {n}")).await["type"], "ack");
        assert_eq!(
            there.chat("one", &format!("there {n}")).await["type"],
            "ack"
        );
    }
    let last = |event: &Value| event["text"] == "there 19";
    here.until("the last", last).await;
    there.until("the last", last).await;
    assert_eq!(here.texts().len(), 40);
    assert_eq!(here.seen, there.seen);

    // From one gateway to the other with a cursor: nothing missed, nothing twice.
    let cursor = here.cursor.clone();
    here.chat("one", "after").await;
    here.until("the message", |event| event["text"] == "after")
        .await;
    let mut moved = Viewer::join(&other.ws(), "one", None, Some(&cursor)).await;
    moved
        .until("the message", |event| event["text"] == "after")
        .await;
    assert_eq!(moved.texts(), ["after"]);
    // A draining gateway sends its viewers elsewhere.
    assert_eq!(other.stop().await, Some(0));
    assert_eq!(moved.until_closed().await, Some(4503));
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resend_is_the_same_message() {
    let deployment = Deployment::new("nonce");
    let up = deployment.start("up").await;
    let sender = Api::sign_up(&up.http, "lime").await;
    let token = sender.token.as_deref();
    let say = |id: &str| json!({ "type": "chat", "id": id, "room": "lime", "text": "once", "nonce": "n1" });
    let mut first = Viewer::join(&up.ws(), "lime", token, None).await;
    // Sent twice at once, and again by a connection that comes later.
    first.send(say("a")).await;
    first.send(say("b")).await;
    let (a, b) = (
        first.answer(&json!("a")).await,
        first.answer(&json!("b")).await,
    );
    let mut later = Viewer::join(&up.ws(), "lime", token, None).await;
    let c = later.ask(say("c")).await;
    assert_eq!(a["type"], "ack");
    assert_eq!((&a["event"], &a["event"]), (&b["event"], &c["event"]));
    first.chat("lime", "last").await;
    first
        .until("the last", |event| event["text"] == "last")
        .await;
    assert_eq!(first.texts(), ["once", "last"]);
    let stored = deployment.replay(&["lemonair.chat"]).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_sent_through_two_gateways_at_once_is_one() {
    let deployment = Deployment::new("twice").with("LEMONAIR_CHAT_BURST", "1000");
    let up = deployment.start("up").await;
    let other = deployment.start("gateway").await;
    let sender = Api::sign_up(&up.http, "lime").await;
    let token = sender.token.as_deref();
    let mut here = Viewer::join(&up.ws(), "lime", token, None).await;
    let mut there = Viewer::join(&other.ws(), "lime", token, None).await;
    // Whether both get onto the topic is a matter of luck: until they have.
    let mut said = 0;
    let twice = loop {
        said += 1;
        let nonce = format!("n{said}");
        let say =
            json!({ "type": "chat", "id": nonce, "room": "lime", "text": nonce, "nonce": nonce });
        tokio::join!(here.send(say.clone()), there.send(say));
        let id = json!(nonce);
        assert_eq!(here.answer(&id).await["type"], "ack");
        assert_eq!(there.answer(&id).await["type"], "ack");
        let topic = deployment.replay(&["lemonair.chat"]).await;
        if topic.len() > said {
            break topic[said - 1].clone();
        }
        assert!(said < 100, "never in the same instant");
    };
    // Rooms show the first on the topic, and so does the history, also when it is built again.
    let texts: Vec<String> = (1..=said).map(|n| format!("n{n}")).collect();
    assert_eq!(here.chat("lime", "last").await["type"], "ack");
    for viewer in [&mut here, &mut there] {
        viewer
            .until("the last", |event| event["text"] == "last")
            .await;
        assert_eq!(viewer.texts()[..said], texts);
        assert_eq!(viewer.seen[said - 1]["id"], twice["id"]);
    }
    let history = eventually("the history has the last", async || {
        let history = sender.get("/api/channels/lime/messages?limit=200").await;
        (history["messages"][0]["text"] == "last").then_some(history)
    })
    .await;
    let history = history["messages"].as_array().expect("a list");
    assert_eq!(history.len(), said + 1);
    assert_eq!(history[1]["id"], twice["id"]);
    deployment
        .run(&["rebuild", "messages", "--verify-only"])
        .await;
    // Whoever sends it again is told which one stands, even where the room has just been opened.
    let fresh = deployment.start("gateway").await;
    for at in [&up, &other, &fresh] {
        let mut later = Viewer::join(&at.ws(), "lime", token, None).await;
        let again = json!({ "type": "chat", "id": 1, "room": "lime", "text": "again", "nonce": twice["nonce"] });
        assert_eq!(later.ask(again).await["event"], twice["id"]);
    }
    assert_eq!(
        deployment.replay(&["lemonair.chat"]).await.len(),
        said + 2,
        "nothing more was written"
    );
    for gateway in [fresh, other, up] {
        assert_eq!(gateway.stop().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_frames_get_one_clear_answer_and_change_nothing() {
    let deployment = Deployment::new("frames");
    let up = deployment.start("up").await;
    let sender = Api::sign_up(&up.http, "peel").await;
    let token = sender.token.clone();
    let mut viewer = Viewer::join(&up.ws(), "peel", token.as_deref(), None).await;
    let cases = [
        (
            json!({ "type": "chat", "id": 1, "room": "peel", "text": "  " }),
            "empty",
        ),
        (
            json!({ "type": "chat", "id": 1, "room": "peel", "text": "x".repeat(501) }),
            "too_long",
        ),
        (
            json!({ "type": "chat", "id": 1, "room": "peel" }),
            "bad_request",
        ),
        (
            json!({ "type": "chat", "id": 1, "room": "peel", "text": "hi", "nonce": "" }),
            "bad_request",
        ),
        (
            json!({ "type": "chat", "id": 1, "room": "elsewhere", "text": "hi" }),
            "not_joined",
        ),
        (
            json!({ "type": "join", "id": 1, "room": "no/such room" }),
            "no_such_room",
        ),
        (json!({ "type": "dance", "id": 1 }), "bad_request"),
    ];
    for (ask, code) in cases {
        let answer = viewer.ask(ask.clone()).await;
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("error"), &json!(code)),
            "{ask}"
        );
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|message| !message.contains('\n'))
        );
    }
    for raw in [
        Message::text("{"),
        Message::text("[]"),
        Message::binary(vec![1, 2, 3]),
    ] {
        viewer.send_raw(raw).await;
        assert_eq!(viewer.answer(&Value::Null).await["code"], "bad_request");
    }
    assert_eq!(
        viewer
            .ask(json!({ "type": "ping", "id": "still here" }))
            .await["type"],
        "pong"
    );

    // Who is not logged in reads only; who has a bad token is closed and does not come back.
    let mut reader = Viewer::join(&up.ws(), "peel", None, None).await;
    assert_eq!(reader.chat("peel", "hi").await["code"], "unauthorized");
    let mut forger = Viewer::connect(&up.ws()).await;
    forger
        .send(json!({ "type": "join", "id": 1, "room": "peel", "token": "a.b.c" }))
        .await;
    assert_eq!(forger.until_closed().await, Some(4401));
    // Logged out: the line is cut, and the token is worth nothing any more.
    let (status, _) = sender.send("DELETE", "/api/sessions", None, &[]).await;
    assert_eq!(status, 204);
    assert_eq!(viewer.until_closed().await, Some(4401));
    let mut gone = Viewer::connect(&up.ws()).await;
    gone.send(json!({ "type": "join", "id": 1, "room": "peel", "token": token }))
        .await;
    assert_eq!(gone.until_closed().await, Some(4401));

    // A frame that is too big ends the connection, and only that one.
    let mut big = Viewer::join(&up.ws(), "peel", None, None).await;
    big.send_raw(Message::text("x".repeat(100_000))).await;
    big.until_closed().await;
    assert_eq!(
        reader
            .ask(json!({ "type": "ping", "id": "unharmed" }))
            .await["type"],
        "pong"
    );
    assert_eq!(deployment.replay(&["lemonair.chat"]).await.len(), 0);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_pages_may_not_connect() {
    let deployment =
        Deployment::new("origin").with("LEMONAIR_ORIGINS", r#"["https://friend.example"]"#);
    let up = deployment.start("up").await;
    let own = up.http.clone();
    for (origin, allowed) in [
        (Some("https://stranger.example"), false),
        (Some("null"), false),
        (Some("https://friend.example"), true),
        (Some(own.as_str()), true),
        (None, true),
    ] {
        let connected = Viewer::from_page(&up.ws(), origin).await;
        assert_eq!(connected.is_some(), allowed, "{origin:?}");
    }
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_talks_too_much_is_told_when_to_go_on() {
    let deployment = Deployment::new("limit")
        .with("LEMONAIR_CHAT_PER_SECOND", "1")
        .with("LEMONAIR_CHAT_BURST", "3");
    let up = deployment.start("up").await;
    let sender = Api::sign_up(&up.http, "loud").await;
    let mut viewer = Viewer::join(&up.ws(), "loud", sender.token.as_deref(), None).await;
    // All at once, so that none of them is late enough to be let through.
    for n in 0..10 {
        let ask = json!({ "type": "chat", "id": n, "room": "loud", "text": "hm", "nonce": format!("{n}") });
        viewer.send(ask).await;
    }
    let mut limited = json!(null);
    for n in 0..10 {
        let answer = viewer.answer(&json!(n)).await;
        if answer["type"] == "error" {
            limited = answer;
        }
    }
    assert_eq!(limited["code"], "rate_limited");
    assert!(
        limited["retry_after_ms"]
            .as_u64()
            .is_some_and(|after| (1..=1000).contains(&after))
    );
    // Tokens from the server's own shell are for load tests: no limit.
    let token = deployment.run(&["token", "robot"]).await;
    let mut robot = Viewer::join(&up.ws(), "loud", Some(token.trim()), None).await;
    for n in 0..20 {
        assert_eq!(
            robot.chat("loud", &format!("robot {n}")).await["type"],
            "ack"
        );
    }
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_the_message_that_it_answers() {
    let deployment = Deployment::new("replies").with("LEMONAIR_CHAT_BURST", "1000");
    let up = deployment.start("up").await;
    let mut host = Person::new(&up, "mint", "mint").await;
    let mut guest = Person::new(&up, "mint", "lime").await;
    let asked = guest.viewer.chat("mint", "who is there?").await["event"].clone();
    let answer = json!({ "type": "chat", "id": 1, "room": "mint", "text": "me", "nonce": "n", "reply_to": asked });
    host.viewer
        .until("the question", |event| event["id"] == asked)
        .await;
    let ack = host.viewer.ask(answer.clone()).await;
    assert_eq!(ack["type"], "ack", "{ack}");
    let said = |text: &'static str| move |event: &Value| event["text"] == text;
    let heard = guest.viewer.until("the answer", said("me")).await;
    assert_eq!(heard["reply_to"], asked);
    let first = guest.viewer.until("the question", said("who is there?"));
    assert!(first.await.get("reply_to").is_none());

    // What cannot be answered: a message that is none, is elsewhere, or waits for a moderator.
    let replies = |to: &Value| json!({ "type": "chat", "id": 2, "room": "mint", "text": "hm", "reply_to": to });
    let mut elsewhere = Viewer::join(&up.ws(), "lime", guest.api.token.as_deref(), None).await;
    let elsewhere = elsewhere.chat("lime", "my own room").await["event"].clone();
    set(&host.api, "mint", json!({ "hold_for_review": true })).await;
    guest.viewer.until("the rule", kind("chat.settings")).await;
    let held = json!({ "type": "chat", "id": 3, "room": "mint", "text": "held", "reply_to": ack["event"] });
    let held = guest.viewer.ask(held).await["event"].clone();
    let nothing = json!(uuid::Uuid::nil());
    for (to, code) in [
        (&json!("x"), "bad_request"),
        (&json!(1), "bad_request"),
        (&nothing, "no_such_message"),
        (&elsewhere, "no_such_message"),
        (&held, "no_such_message"),
    ] {
        let refused = host.viewer.ask(replies(to)).await;
        assert_eq!(refused["code"], code, "{to}: {refused}");
    }

    // A held answer is one for whoever decides, and for everybody afterwards; then it can be answered.
    let waits = host.viewer.until("it waits", kind("chat.held")).await;
    assert_eq!(waits["reply_to"], ack["event"]);
    let path = format!("/api/channels/mint/held/{}", held.as_str().expect("an id"));
    eventually("it is held", async || {
        let held = host.api.get("/api/channels/mint/held").await;
        (held["held"][0]["reply_to"] == ack["event"]).then_some(())
    })
    .await;
    done(&host.api, "PUT", &path, None).await;
    let through = |event: &Value| event["type"] == "chat.message" && event["text"] == "held";
    let through = host.viewer.until("it is let through", through).await;
    assert_eq!(through["reply_to"], ack["event"]);
    let approved = host.viewer.until("by whom", kind("chat.approved")).await;
    assert!(approved.get("reply_to").is_none(), "{approved}");
    assert_eq!(host.viewer.ask(replies(&held)).await["type"], "ack");

    // What was taken away is not answered any more; what was answered before stands.
    let path = format!(
        "/api/channels/mint/messages/{}",
        asked.as_str().expect("an id")
    );
    let (_, found) = host.api.send("GET", &path, None, &[]).await;
    assert_eq!(found["text"], "who is there?");
    done(&guest.api, "DELETE", &path, None).await;
    host.viewer.until("it is gone", kind("chat.deleted")).await;
    let refused = host.viewer.ask(replies(&asked)).await;
    assert_eq!(refused["code"], "message_deleted", "{refused}");
    assert_eq!(host.viewer.ask(answer.clone()).await["event"], ack["event"]);
    let (_, gone) = host.api.send("GET", &path, None, &[]).await;
    assert_eq!(
        (&gone["type"], gone.get("text")),
        (&json!("chat.deleted"), None)
    );
    let elsewhere = path.replace("/mint/", "/lime/");
    assert_eq!(host.api.send("GET", &elsewhere, None, &[]).await.0, 404);

    // A gateway that does not remember them looks them up.
    for n in 0..60 {
        host.viewer.chat("mint", &format!("more {n}")).await;
    }
    eventually("the read model has all of it", async || {
        let messages = host.api.get("/api/channels/mint/messages?limit=1").await;
        (messages["messages"][0]["text"] == "more 59").then_some(())
    })
    .await;
    let other = deployment.start("gateway").await;
    let token = host.api.token.as_deref();
    let mut later = Viewer::join(&other.ws(), "mint", token, None).await;
    assert_eq!(later.ask(replies(&ack["event"])).await["type"], "ack");
    assert_eq!(later.ask(replies(&asked)).await["code"], "message_deleted");
    assert_eq!(
        later.ask(replies(&nothing)).await["code"],
        "no_such_message"
    );

    // History and the topic say it too.
    let all = host.api.get("/api/channels/mint/messages?limit=100").await;
    let all = all["messages"].as_array().expect("a list").clone();
    let told = deployment.replay(&["lemonair.chat"]).await;
    for events in [all, told] {
        let answer = events.iter().find(|event| event["text"] == "me");
        assert_eq!(answer.expect("it is there")["reply_to"], asked);
    }
    for gateway in [other, up] {
        assert_eq!(gateway.stop().await, Some(0));
    }
}
