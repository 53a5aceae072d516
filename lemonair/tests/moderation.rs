//! What moderators do to people: on every gateway at once, after a restart, and logged.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::person::{Person, done, kind};
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_takes_effect_everywhere_at_once_and_after_a_restart() {
    let deployment = Deployment::new("ban");
    let mut up = deployment.start("up").await;
    let other = deployment.start("gateway").await;
    let mut streamer = Person::new(&up, "mint", "Mint").await;
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
    streamer
        .viewer
        .until("the ban", kind("member.banned"))
        .await;
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
    let other = lime.viewer.chat("mint", "any news?").await["event"].clone();
    let row = format!("[data-id='{}']", said["event"].as_str().expect("an id"));
    browser.see(&row).await;
    // Where no pointer hovers, a touch brings up what can be done.
    browser.click(&format!("{row} .text")).await;
    browser
        .click(&format!("{row} [data-testid=mod-menu]"))
        .await;
    let menu = format!(
        "return document.querySelector(\"{row} [data-testid=mod-menu]\").getAttribute('aria-expanded');"
    );
    assert_eq!(browser.js(&menu).await, "true");
    browser.click(&format!("{row} [data-testid=mod-pin]")).await;
    assert_eq!(browser.js(&menu).await, "false");
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
    browser.tab("#tab-rules").await;
    browser.click("#rules-hold_for_review").await;
    browser.click("[data-testid=rules-save]").await;
    lime.viewer.until("it", kind("chat.settings")).await;
    let answer =
        json!({ "type": "chat", "id": "may", "room": "mint", "text": "may I", "reply_to": other });
    let said = lime.viewer.ask(answer).await;
    let row = format!("[data-id='{}']", said["event"].as_str().expect("an id"));
    browser.see(&format!("{row}[data-state=held]")).await;
    let quoted = browser.text(&format!("{row} .reply-line")).await;
    assert_eq!(quoted.replace('\n', " "), "lime any news?");
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
    browser.click(&format!("{row} .text")).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_yet_is_taken_away_all_the_same() {
    let deployment = Deployment::new("moment");
    let decide = deployment.start("decide").await;
    let project = deployment.start("project").await;
    let gateway = deployment.start("gateway").await;
    let streamer = Api::sign_up(&gateway.http, "Mint").await;
    let mut lime = Person::new(&gateway, "mint", "lime").await;
    project.signal("STOP").await;
    let said = lime.viewer.chat("mint", "oh no").await["event"].clone();
    lime.viewer
        .until("it is shown", |event| event["id"] == said)
        .await;
    let path = format!(
        "/api/channels/mint/messages/{}",
        said.as_str().expect("an id")
    );
    let taken = streamer.send("DELETE", &path, None, &[]);
    let ((status, answer), ()) = tokio::join!(taken, project.signal("CONT"));
    assert_eq!(status, 204, "{answer}");
    lime.viewer.until("it", kind("chat.deleted")).await;
    for service in [gateway, project, decide] {
        assert_eq!(service.stop().await, Some(0));
    }
}
