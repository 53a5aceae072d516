//! Moderation on the real stack: on every gateway at once, after a restart, and seen by whom it
//! concerns only.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, eventually};

/// Somebody with an account and a connection.
struct Person {
    api: Api,
    viewer: Viewer,
}

impl Person {
    async fn new(at: &Lemonair, room: &str, name: &str) -> Person {
        let api = Api::sign_up(&at.http, name).await;
        let viewer = Viewer::join(&at.ws(), room, api.token.as_deref(), None).await;
        Person { api, viewer }
    }

    /// The code of the answer, `ack` if it was accepted.
    async fn says(&mut self, room: &str, text: &str) -> String {
        let answer = self.viewer.chat(room, text).await;
        let code = answer["code"].as_str().or_else(|| answer["type"].as_str());
        code.expect("an answer").to_owned()
    }
}

async fn done(api: &Api, method: &str, path: &str, body: Option<Value>) {
    let (status, answer) = api.send(method, path, body, &[]).await;
    assert!(
        matches!(status, 200 | 204),
        "{method} {path}: {status} {answer}"
    );
}

async fn set(api: &Api, room: &str, settings: Value) {
    let path = format!("/api/channels/{room}/chat-settings");
    done(api, "PATCH", &path, Some(settings)).await;
}

fn kind(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == name
}

fn shows(seen: &[Value], text: &str) -> bool {
    seen.iter().any(|event| event.to_string().contains(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_takes_effect_everywhere_at_once_and_after_a_restart() {
    let deployment = Deployment::new("ban");
    let mut up = deployment.start("up").await;
    let other = deployment.start("gateway").await;
    let streamer = Person::new(&up, "mint", "Mint").await;
    let mut bad = Person::new(&other, "mint", "Troll").await;
    let mut good = Person::new(&other, "mint", "Kiwi").await;
    assert_eq!(bad.says("mint", "hello").await, "ack");

    let ban = "/api/channels/mint/bans/troll";
    let why = json!({ "reason": "spam" });
    for _ in 0..2 {
        done(&streamer.api, "PUT", ban, Some(why.clone())).await;
    }
    assert_eq!(bad.viewer.until_closed().await, Some(4403));
    let told = good.viewer.until("the ban", kind("member.banned")).await;
    assert_eq!(
        (&told["name"], &told["reason"], &told["from"]["name"]),
        (&json!("Troll"), &json!("spam"), &json!("Mint"))
    );
    // With their token they may not come in; who says nothing may watch.
    async fn refused(at: &Lemonair, token: &Option<String>) {
        let mut back = Viewer::connect(&at.ws()).await;
        let join = json!({ "type": "join", "id": 1, "room": "mint", "token": token });
        assert_eq!(back.ask(join).await["code"], "banned");
        assert_eq!(back.until_closed().await, Some(4403));
    }
    refused(&up, &bad.api.token).await;
    refused(&other, &bad.api.token).await;
    Viewer::join(&other.ws(), "mint", None, None).await;

    up.kill().await;
    let up = deployment.start("up").await;
    refused(&up, &bad.api.token).await;
    let streamer = Api {
        base: up.http.clone(),
        ..streamer.api
    };
    let listed = streamer.get("/api/channels/mint/bans").await;
    assert_eq!(listed["bans"].as_array().map(Vec::len), Some(1));
    done(&streamer, "DELETE", ban, None).await;
    eventually("the other gateway lets them in", async || {
        let mut back = Viewer::connect(&other.ws()).await;
        let join =
            json!({ "type": "join", "id": 1, "room": "mint", "token": bad.api.token.clone() });
        (back.ask(join).await["type"] == "joined").then_some(())
    })
    .await;
    // The killed one held the read models' partitions for a while; then it is seen to be done.
    eventually("it can be read", async || {
        let listed = streamer.get("/api/channels/mint/bans").await;
        (listed["bans"] == json!([])).then_some(())
    })
    .await;
    done(&streamer, "DELETE", ban, None).await;
    // Asked for twice, done once.
    let chat = deployment.replay(&["lemonair.chat"]).await;
    let count = |kind: &str| chat.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("member.banned"), count("member.unbanned")), (1, 1));
    assert_eq!(other.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_tells_the_rest_and_ends() {
    let deployment = Deployment::new("timeout").with("LEMONAIR_CHAT_BURST", "1000");
    let up = deployment.start("up").await;
    let other = deployment.start("gateway").await;
    let streamer = Person::new(&up, "mint", "mint").await;
    let mut loud = Person::new(&other, "mint", "loud").await;
    let path = "/api/channels/mint/timeouts/loud";
    for _ in 0..2 {
        done(&streamer.api, "PUT", path, Some(json!({ "seconds": 600 }))).await;
    }
    let event = loud
        .viewer
        .until("the time-out", kind("member.timed_out"))
        .await;
    assert!(event["until"].as_str() > event["at"].as_str());
    let refused = loud.viewer.chat("mint", "hey").await;
    assert_eq!(refused["code"], "timed_out");
    let rest = refused["retry_after_ms"].as_u64().expect("the rest");
    assert!((500_000..=600_000).contains(&rest), "{rest}");

    // A gateway that comes later knows too.
    let third = deployment.start("gateway").await;
    let mut there = Viewer::join(&third.ws(), "mint", loud.api.token.as_deref(), None).await;
    assert_eq!(there.chat("mint", "hey").await["code"], "timed_out");
    assert_eq!(third.stop().await, Some(0));

    done(&streamer.api, "PUT", path, Some(json!({ "seconds": 2 }))).await;
    loud.viewer
        .until_count("the shorter one", "member.timed_out", 2)
        .await;
    eventually("it ends", async || {
        (loud.says("mint", "back again").await == "ack").then_some(())
    })
    .await;
    done(&streamer.api, "PUT", path, Some(json!({ "seconds": 600 }))).await;
    done(&streamer.api, "DELETE", path, None).await;
    loud.viewer
        .until("the end", kind("member.timeout_lifted"))
        .await;
    assert_eq!(loud.says("mint", "thanks").await, "ack");
    assert_eq!(other.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}

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
    let held = helper.api.get("/api/channels/mint/held").await;
    assert_eq!(held["held"].as_array().map(Vec::len), Some(2));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_do_what_and_all_of_it_is_logged() {
    let deployment = Deployment::new("powers");
    let up = deployment.start("up").await;
    let mut lime = Person::new(&up, "mint", "lime").await;
    let streamer = Api::sign_up(&up.http, "mint").await;
    let helper = Api::sign_up(&up.http, "helper").await;
    Api::sign_up(&up.http, "helper2").await;
    let stranger = Api::new(&up.http);
    let site = async |name: &str, role: &str| {
        let token = deployment.run(&["token", name, "--role", role]).await;
        let mut api = Api::new(&up.http);
        api.token = Some(token.trim().to_owned());
        api
    };
    let operator = site("root", "operator").await;
    let warden = site("warden", "moderator").await;
    for name in ["helper", "helper2"] {
        let path = format!("/api/channels/mint/moderators/{name}");
        done(&streamer, "PUT", &path, None).await;
    }
    let id = lime.viewer.chat("mint", "mine").await["event"].clone();
    let message = format!(
        "/api/channels/mint/messages/{}",
        id.as_str().expect("an id")
    );
    let seconds = json!({ "seconds": 60 });
    let settings = json!({ "slow_mode_ms": 1 });
    let nothing = None;
    let people = [&stranger, &lime.api, &helper, &warden, &streamer, &operator];
    // stranger, viewer, moderator, the site's moderator, streamer, operator
    let table = [
        ("PUT", "bans/lime", &nothing, [401, 403, 204, 204, 204, 204]),
        (
            "DELETE",
            "bans/lime",
            &nothing,
            [401, 403, 204, 204, 204, 204],
        ),
        (
            "PUT",
            "bans/helper2",
            &nothing,
            [401, 403, 403, 403, 204, 204],
        ),
        (
            "DELETE",
            "bans/helper2",
            &nothing,
            [401, 403, 204, 204, 204, 204],
        ),
        (
            "PUT",
            "moderators/helper2",
            &nothing,
            [401, 403, 403, 403, 204, 204],
        ),
        (
            "PUT",
            "timeouts/helper2",
            &Some(seconds.clone()),
            [401, 403, 403, 403, 204, 204],
        ),
        ("PUT", "bans/mint", &nothing, [401, 403, 403, 403, 403, 403]),
        ("PUT", "bans/root", &nothing, [401, 403, 403, 403, 403, 403]),
        (
            "PUT",
            "timeouts/mint",
            &Some(seconds.clone()),
            [401, 403, 403, 403, 403, 403],
        ),
        (
            "PUT",
            "timeouts/nobody",
            &Some(seconds),
            [401, 403, 404, 404, 404, 404],
        ),
        (
            "PUT",
            "moderators/mint",
            &nothing,
            [401, 403, 403, 403, 422, 422],
        ),
        (
            "DELETE",
            "moderators/lime",
            &nothing,
            [401, 403, 403, 403, 204, 204],
        ),
        (
            "PATCH",
            "chat-settings",
            &Some(settings),
            [401, 403, 200, 200, 200, 200],
        ),
        ("GET", "audit", &nothing, [401, 403, 200, 200, 200, 200]),
        ("GET", "held", &nothing, [401, 403, 200, 200, 200, 200]),
        ("GET", "bans", &nothing, [401, 403, 200, 200, 200, 200]),
        (
            "GET",
            "moderators",
            &nothing,
            [401, 403, 200, 200, 200, 200],
        ),
        ("DELETE", "pin", &nothing, [401, 403, 204, 204, 204, 204]),
        ("GET", "pin", &nothing, [200, 200, 200, 200, 200, 200]),
        ("POST", "clear", &nothing, [401, 403, 204, 204, 204, 204]),
    ];
    for (method, path, body, expected) in table {
        let mut found = [0; 6];
        for (status, who) in found.iter_mut().zip(people) {
            let path = format!("/api/channels/mint/{path}");
            *status = who.send(method, &path, body.clone(), &[]).await.0;
        }
        assert_eq!(found, expected, "{method} {path}");
    }
    // One's own message is one's own to take away.
    assert_eq!(stranger.send("DELETE", &message, None, &[]).await.0, 401);
    assert_eq!(lime.api.send("DELETE", &message, None, &[]).await.0, 204);
    // What the streamer said is not a moderator's to take away.
    let mut speaks = Viewer::join(&up.ws(), "mint", streamer.token.as_deref(), None).await;
    let said = speaks.chat("mint", "listen").await["event"].clone();
    let path = format!(
        "/api/channels/mint/messages/{}",
        said.as_str().expect("an id")
    );
    eventually("it can be read", async || {
        (helper.send("DELETE", &path, None, &[]).await.0 == 403).then_some(())
    })
    .await;
    assert_eq!(operator.send("DELETE", &path, None, &[]).await.0, 204);

    // By id as well as by name; and roles are seen with what is said.
    let account = lime.api.get("/api/channels/mint").await;
    assert_eq!(account["you"]["moderator"], false);
    assert_eq!(
        helper.get("/api/channels/mint").await["you"]["moderator"],
        true
    );
    let mut helps = Viewer::join(&up.ws(), "mint", helper.token.as_deref(), None).await;
    assert_eq!(helps.chat("mint", "I help").await["type"], "ack");
    let event = helps.until("it", |event| event["text"] == "I help").await;
    assert_eq!(event["from"]["roles"], json!(["moderator"]));
    let by_id = format!(
        "/api/channels/mint/moderators/{}",
        event["from"]["id"].as_str().expect("an id")
    );
    done(&streamer, "DELETE", &by_id, None).await;
    assert_eq!(
        helper
            .send("GET", "/api/channels/mint/audit", None, &[])
            .await
            .0,
        403
    );

    let log = streamer.get("/api/channels/mint/audit?limit=200").await;
    let log = log["audit"].as_array().expect("a list");
    let line = |entry: &Value| {
        let part = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {}",
            part(&entry["actor"]["name"]),
            part(&entry["action"]),
            part(&entry["target"]["name"])
        )
    };
    let lines: Vec<String> = log.iter().rev().map(line).collect();
    assert_eq!(
        lines,
        [
            "mint moderator.added helper",
            "mint moderator.added helper2",
            "helper member.banned lime",
            "helper member.unbanned lime",
            "mint member.banned helper2",
            "helper member.unbanned helper2",
            "mint moderator.added helper2",
            "mint member.timed_out helper2",
            "helper chat.settings -",
            "helper chat.cleared -",
            "root chat.deleted mint",
            "mint moderator.removed helper",
        ]
    );
    // In pages, both ways.
    let first = streamer.get("/api/channels/mint/audit?limit=5").await;
    let next = first["next"].as_str().expect("more");
    let path = format!("/api/channels/mint/audit?limit=5&before={next}");
    assert_eq!(streamer.get(&path).await["audit"][0], log[5]);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moderators_have_their_tools_on_the_page() {
    let deployment = Deployment::new("page");
    let up = deployment.start("up").await;
    let mut lime = Person::new(&up, "mint", "lime").await;
    Api::sign_up(&up.http, "mint").await;
    let browser = Browser::open(1280, 900).await;
    browser.goto(&format!("{}/mint", up.http)).await;
    browser.click("[data-testid=login-open]").await;
    browser.fill("#login-name", "mint").await;
    browser
        .fill("#login-password", "correct horse battery")
        .await;
    browser.click("#login-submit").await;
    browser.see(".chat[data-moderates=on]").await;

    // A message's menu: pin, then delete, and it is gone from both places.
    let said = lime.viewer.chat("mint", "hello page").await;
    let row = format!("[data-id='{}']", said["event"].as_str().expect("an id"));
    browser.see(&row).await;
    browser
        .click(&format!("{row} [data-testid=mod-menu]"))
        .await;
    browser.click(&format!("{row} [data-testid=mod-pin]")).await;
    lime.viewer.until("the pin", kind("chat.pinned")).await;
    assert!(
        browser
            .text("[data-testid=pinned]")
            .await
            .contains("hello page")
    );
    browser
        .click(&format!("{row} [data-testid=mod-menu]"))
        .await;
    browser
        .click(&format!("{row} [data-testid=mod-delete]"))
        .await;
    lime.viewer.until("it", kind("chat.deleted")).await;
    browser
        .until(
            "its words are gone",
            "return !document.body.textContent.includes('hello page');",
        )
        .await;

    // The studio's form sets the rules; what is held then is let through in the chat.
    browser.goto(&format!("{}/studio", up.http)).await;
    browser.click("#rules-hold_for_review").await;
    browser.click("[data-testid=rules-save]").await;
    lime.viewer.until("it", kind("chat.settings")).await;
    let said = lime.viewer.chat("mint", "may I").await;
    let row = format!("[data-id='{}']", said["event"].as_str().expect("an id"));
    browser.see(&format!("{row}[data-state=held]")).await;
    browser
        .click(&format!("{row} [data-testid=mod-approve]"))
        .await;
    browser.see(&format!("{row}[data-state=sent]")).await;
    lime.viewer
        .until("it", |event| {
            event["type"] == "chat.message" && event["text"] == "may I"
        })
        .await;

    // Time out: refused with words on the page of who is.
    browser
        .click(&format!("{row} [data-testid=mod-menu]"))
        .await;
    browser
        .click(&format!("{row} [data-testid=mod-timeout]"))
        .await;
    lime.viewer.until("it", kind("member.timed_out")).await;
    assert_eq!(lime.says("mint", "but").await, "timed_out");
    browser.close().await;
    assert_eq!(up.stop().await, Some(0));
}
