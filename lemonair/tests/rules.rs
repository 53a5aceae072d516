//! What a room lets pass, holds and takes away, and who sees it meanwhile.

mod support;

use serde_json::{Value, json};
use support::person::{Person, done, kind, set, shows};
use support::viewer::Viewer;
use support::{Deployment, Lemonair, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_setting_refuses_what_it_is_for() {
    let deployment = Deployment::new("settings");
    let up = deployment.start("up").await;
    let other = deployment.start("gateway").await;
    let mut streamer = Person::new(&up, "mint", "mint").await;
    let mut lime = Person::new(&other, "mint", "lime").await;
    let mut kiwi = Person::new(&up, "mint", "kiwi").await;
    let api = streamer.api.clone();
    // The event reaches the other gateway a moment after it can be read.
    let mut changes = 0;
    macro_rules! set {
        ($settings:tt) => {
            changes += 1;
            set(&api, "mint", json!($settings)).await;
            for viewer in [&mut lime.viewer, &mut kiwi.viewer] {
                viewer
                    .until_count("the settings", "chat.settings", changes)
                    .await;
            }
        };
    }

    set!({ "slow_mode_ms": 60_000 });
    assert_eq!(lime.says("mint", "one").await, "ack");
    // Two at once through one gateway: the second does not slip through.
    let refused = lime.viewer.chat("mint", "two").await;
    assert_eq!(refused["code"], "slow_mode");
    assert!(
        refused["retry_after_ms"]
            .as_u64()
            .is_some_and(|ms| ms > 50_000)
    );
    // Nor through another gateway, once that has seen the first.
    let mut there = Viewer::join(&up.ws(), "mint", lime.api.token.as_deref(), None).await;
    there
        .until("the first", |event| event["text"] == "one")
        .await;
    assert_eq!(there.chat("mint", "three").await["code"], "slow_mode");
    assert_eq!(kiwi.says("mint", "mine").await, "ack");
    for text in ["as", "fast", "as I like"] {
        assert_eq!(streamer.says("mint", text).await, "ack");
    }

    set!({ "slow_mode_ms": 0, "followers_only_ms": 0 });
    let refused = lime.viewer.chat("mint", "hi").await;
    assert_eq!(refused["code"], "followers_only");
    assert_eq!(refused["retry_after_ms"], Value::Null);
    done(&lime.api, "PUT", "/api/channels/mint/follow", None).await;
    assert_eq!(lime.says("mint", "a follower now").await, "ack");
    set!({ "followers_only_ms": 3_600_000 });
    let refused = lime.viewer.chat("mint", "hi").await;
    assert_eq!(refused["code"], "followers_only");
    assert!(
        refused["retry_after_ms"]
            .as_u64()
            .is_some_and(|ms| ms > 3_000_000)
    );

    set!({ "followers_only_ms": null, "unique_messages": true });
    assert_eq!(lime.says("mint", "Never again").await, "ack");
    kiwi.viewer
        .until("it", |event| event["text"] == "Never again")
        .await;
    assert_eq!(lime.says("mint", "never AGAIN").await, "duplicate");
    assert_eq!(kiwi.says("mint", "never  again").await, "duplicate");
    assert_eq!(kiwi.says("mint", "ever again").await, "ack");

    set!({ "unique_messages": false, "emote_only": true });
    assert_eq!(lime.says("mint", "words").await, "emote_only");
    assert_eq!(lime.says("mint", "🍋 :lemon:").await, "ack");

    set!({ "emote_only": false, "blocked_words": ["durian"], "links_allowed": false });
    assert_eq!(
        lime.says("mint", "I like D u r i a n").await,
        "blocked_word"
    );
    assert_eq!(lime.says("mint", "see evil.example").await, "links");
    assert_eq!(lime.says("mint", "durians are fine").await, "ack");
    assert_eq!(streamer.says("mint", "durian.example").await, "ack");
    // What is blocked is told to moderators only.
    assert!(!shows(&lime.viewer.seen, "blocked_words"));
    let path = "/api/channels/mint/chat-settings";
    assert_eq!(lime.api.get(path).await["blocked_words"], Value::Null);
    assert_eq!(api.get(path).await["blocked_words"], json!(["durian"]));
    assert_eq!(lime.api.get(path).await["links_allowed"], false);
    // The same again is no event.
    set(&api, "mint", json!({ "links_allowed": false })).await;
    let chat = deployment.replay(&["lemonair.chat"]).await;
    let changed = chat.iter().filter(|event| event["type"] == "chat.settings");
    assert_eq!(changed.count(), changes);
    for bad in [
        json!({ "slow_mode_ms": -1 }),
        json!({ "slow_mode_ms": 3_600_001 }),
        json!({ "followers_only_ms": -1 }),
        json!({ "blocked_words": ["!?"] }),
        json!({ "blocked_words": ["x".repeat(51)] }),
    ] {
        let (status, answer) = api.send("PATCH", path, Some(bad.clone()), &[]).await;
        assert_eq!(
            (status, &answer["code"]),
            (422, &json!("bad_setting")),
            "{bad}"
        );
    }
    let unknown = Some(json!({ "slow": 1 }));
    assert_eq!(api.send("PATCH", path, unknown, &[]).await.0, 422);
    assert_eq!(other.stop().await, Some(0));

    // A fresh gateway enforces from its first moment, by what was said before it started too.
    set(&api, "mint", json!({ "slow_mode_ms": 600_000 })).await;
    let fresh = deployment.start("gateway").await;
    let mut there = Viewer::join(&fresh.ws(), "mint", lime.api.token.as_deref(), None).await;
    assert_eq!(there.chat("mint", "durian").await["code"], "blocked_word");
    assert_eq!(there.chat("mint", "anything").await["code"], "slow_mode");
    assert_eq!(fresh.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_message_is_seen_by_its_author_and_moderators_only() {
    let deployment = Deployment::new("hold");
    let up = deployment.start("up").await;
    let mut streamer = Person::new(&up, "mint", "mint").await;
    let mut author = Person::new(&up, "mint", "lime").await;
    let mut helper = Person::new(&up, "mint", "helper").await;
    let mut viewer = Person::new(&up, "mint", "kiwi").await;
    let mut reader = Viewer::join(&up.ws(), "mint", None, None).await;
    done(
        &streamer.api,
        "PUT",
        "/api/channels/mint/moderators/helper",
        None,
    )
    .await;
    set(&streamer.api, "mint", json!({ "hold_for_review": true })).await;
    for viewer in [&mut author.viewer, &mut viewer.viewer, &mut reader] {
        viewer.until("the settings", kind("chat.settings")).await;
    }
    let before = reader.cursor.clone();
    let first = author.viewer.chat("mint", "secret one").await;
    let second = author.viewer.chat("mint", "secret two").await;
    assert_eq!(
        (&first["type"], &second["type"]),
        (&json!("ack"), &json!("ack"))
    );
    let is_second = |event: &Value| event["type"] == "chat.held" && event["id"] == second["event"];
    for viewer in [&mut author.viewer, &mut helper.viewer, &mut streamer.viewer] {
        let held = viewer.until("the held one", is_second).await;
        assert_eq!(held["text"], "secret two");
    }
    // Everybody else sees what comes after, and nothing of it; nor do newcomers or who comes back.
    assert_eq!(streamer.says("mint", "in between").await, "ack");
    let between = |event: &Value| event["text"] == "in between";
    for viewer in [&mut viewer.viewer, &mut reader] {
        viewer.until("the next", between).await;
        assert!(!shows(&viewer.seen, "secret"));
    }
    let token = |person: &Person| person.api.token.clone();
    let (lime, helps, kiwi) = (token(&author), token(&helper), token(&viewer));
    async fn check(at: &Lemonair, before: &str, who: &[(&Option<String>, bool)]) {
        for since in [None, Some(before)] {
            for (token, sees) in who {
                let back = Viewer::join(&at.ws(), "mint", token.as_deref(), since).await;
                assert!(back.recovered);
                assert!(shows(&back.seen, "in between"), "{since:?}");
                assert_eq!(shows(&back.seen, "secret"), *sees, "{since:?}");
            }
        }
    }
    let who = [
        (&None, false),
        (&kiwi, false),
        (&lime, true),
        (&helps, true),
    ];
    check(&up, &before, &who).await;
    assert!(!shows(
        &[viewer.api.get("/api/channels/mint/messages").await],
        "secret"
    ));
    // By cursor from the topic too, on a gateway that has nothing in memory.
    let fresh = deployment.start("gateway").await;
    for (token, sees) in who {
        let back = Viewer::join(&fresh.ws(), "mint", token.as_deref(), Some(&before)).await;
        assert!(back.recovered);
        assert_eq!(shows(&back.seen, "secret"), sees);
    }
    assert_eq!(fresh.stop().await, Some(0));

    // Moderators see what waits; nobody else.
    let held = eventually("both can be read", async || {
        let held = helper.api.get("/api/channels/mint/held").await;
        (held["held"].as_array()?.len() == 2).then_some(held)
    })
    .await;
    assert_eq!(held["held"][0]["from"]["name"], "lime");
    let (status, _) = author
        .api
        .send("GET", "/api/channels/mint/held", None, &[])
        .await;
    assert_eq!(status, 403);
    let path = |message: &Value| {
        let message = message["event"].as_str().expect("an id");
        format!("/api/channels/mint/held/{message}")
    };
    for _ in 0..2 {
        done(&helper.api, "PUT", &path(&first), None).await;
        done(&helper.api, "DELETE", &path(&second), None).await;
    }
    for (method, message) in [("DELETE", &first), ("PUT", &second)] {
        let (status, answer) = streamer.api.send(method, &path(message), None, &[]).await;
        assert_eq!((status, &answer["code"]), (409, &json!("decided")));
    }
    let approved = |event: &Value| event["type"] == "chat.message" && event["id"] == first["event"];
    for viewer in [
        &mut viewer.viewer,
        &mut reader,
        &mut author.viewer,
        &mut helper.viewer,
    ] {
        let message = viewer.until("the approved one", approved).await;
        assert_eq!(
            (&message["text"], &message["from"]["name"]),
            (&json!("secret one"), &json!("lime"))
        );
    }
    author.viewer.until("the denial", kind("chat.denied")).await;
    // In the approval's place: behind what was said meanwhile.
    assert_eq!(reader.texts(), ["in between", "secret one"]);
    assert_eq!(streamer.says("mint", "last").await, "ack");
    reader
        .until("the last", |event| event["text"] == "last")
        .await;
    assert!(!shows(&reader.seen, "secret two") && !shows(&reader.seen, "chat.denied"));
    let listed = viewer.api.get("/api/channels/mint/messages").await;
    assert!(shows(std::slice::from_ref(&listed), "secret one") && !shows(&[listed], "secret two"));
    let newcomer = Viewer::join(&up.ws(), "mint", None, None).await;
    assert_eq!(newcomer.texts(), ["in between", "secret one", "last"]);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_away_is_gone_everywhere() {
    let deployment = Deployment::new("clear");
    let up = deployment.start("up").await;
    let streamer = Person::new(&up, "mint", "mint").await;
    let mut lime = Person::new(&up, "mint", "lime").await;
    let mut kiwi = Person::new(&up, "mint", "kiwi").await;
    let start = kiwi.viewer.cursor.clone();
    let first = lime.viewer.chat("mint", "secret one").await;
    let id = first["event"].as_str().expect("an id").to_owned();
    for text in ["secret two", "secret three"] {
        assert_eq!(lime.says("mint", text).await, "ack");
    }
    assert_eq!(kiwi.says("mint", "harmless").await, "ack");
    kiwi.viewer
        .until("its own", |event| event["text"] == "harmless")
        .await;
    // Pinned, and gone from there too.
    let pin = json!({ "message": id });
    eventually("it can be pinned", async || {
        let path = "/api/channels/mint/pin";
        let answer = streamer.api.send("PUT", path, Some(pin.clone()), &[]).await;
        (answer.0 == 204).then_some(())
    })
    .await;
    kiwi.viewer.until("the pin", kind("chat.pinned")).await;
    let pinned = kiwi.api.get("/api/channels/mint/pin").await;
    assert_eq!(pinned["pinned"]["text"], "secret one");

    done(
        &streamer.api,
        "DELETE",
        &format!("/api/channels/mint/messages/{id}"),
        None,
    )
    .await;
    kiwi.viewer.until("it", kind("chat.deleted")).await;
    let pinned = kiwi.api.get("/api/channels/mint/pin").await;
    assert_eq!(pinned["pinned"], Value::Null);
    let newcomer = Viewer::join(&up.ws(), "mint", None, None).await;
    assert_eq!(newcomer.texts(), ["secret two", "secret three", "harmless"]);
    assert!(!shows(&newcomer.seen, "secret one"));

    let clear = "/api/channels/mint/messages?account=lime";
    for _ in 0..2 {
        done(&streamer.api, "DELETE", clear, None).await;
    }
    let cleared = kiwi.viewer.until("it", kind("chat.cleared")).await;
    assert_eq!(cleared["name"], "lime");
    let fresh = deployment.start("gateway").await;
    for at in [&up, &fresh] {
        for since in [None, Some(start.as_str())] {
            let back = Viewer::join(&at.ws(), "mint", None, since).await;
            assert!(back.recovered);
            assert_eq!(back.texts(), ["harmless"], "{since:?}");
            assert!(!shows(&back.seen, "secret"), "{since:?}: {:?}", back.seen);
        }
    }
    assert!(!shows(
        &[kiwi.api.get("/api/channels/mint/messages").await],
        "secret"
    ));
    let database = deployment.database();
    let left = deployment
        .sql(&format!(
            "SELECT id FROM {database}.messages WHERE text LIKE '%secret%' \
             UNION SELECT message FROM {database}.pins"
        ))
        .await;
    assert_eq!(left.len(), 0);

    done(
        &streamer.api,
        "POST",
        "/api/channels/mint/clear",
        Some(json!({})),
    )
    .await;
    let newcomer = Viewer::join(&up.ws(), "mint", None, None).await;
    assert_eq!(newcomer.texts(), Vec::<&str>::new());
    let chat = deployment.replay(&["lemonair.chat"]).await;
    let clears = chat.iter().filter(|event| event["type"] == "chat.cleared");
    assert_eq!(clears.count(), 2, "asked for twice, done once");
    assert_eq!(fresh.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}
