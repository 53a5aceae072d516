//! The streamer's studio in a real browser: from signing up to being live, what waits, what is given
//! back, and what came of it.

mod support;

use serde_json::json;
use support::browser::{Browser, PHONE};
use support::person::{Person, done};
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, Publisher, eventually};

const PASSWORD: &str = "correct horse battery";

/// The value of an input field.
async fn value(browser: &Browser, css: &str) -> String {
    let element = browser.see(css).await;
    let value = element.prop("value").await.expect("a property");
    value.expect("a value")
}

/// How the steps until live stand.
async fn steps(browser: &Browser, wanted: [&str; 4]) {
    let script = format!(
        "return Array.from(document.querySelectorAll('[data-testid=step]'), (step) => step.dataset.state)\
         .join() === '{}';",
        wanted.join(",")
    );
    browser
        .until(&format!("the steps are {wanted:?}"), &script)
        .await;
}

/// Nothing is wider than the screen.
async fn fits(browser: &Browser) {
    let wide = browser
        .js("return Array.from(document.querySelectorAll('body *'), (element) => element)\
             .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 \
             && !element.closest('.wide-table, .tabs, .command, .charts, .offscreen, dialog')).slice(0, 3)\
             .map((element) => element.outerHTML.slice(0, 120));")
        .await;
    assert_eq!(wide, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_nothing_to_live_on_a_phone() {
    let deployment = Deployment::new("first").with(
        "LEMONAIR_RESTREAM",
        r#"{rind=["rtmp://127.0.0.1:1/app/ELSEWHERE"]}"#,
    );
    let up = deployment.start("up").await;
    let phone = Browser::open_phone().await;
    phone.goto(&format!("{}/studio", up.http)).await;
    phone.fill("#signup-name", "Rind").await;
    phone.fill("#signup-password", PASSWORD).await;
    phone.click("#signup-submit").await;
    steps(&phone, ["done", "current", "ahead", "ahead"]).await;
    fits(&phone).await;
    phone.click("[data-testid=stream-key-create]").await;
    steps(&phone, ["done", "done", "current", "ahead"]).await;
    let server = value(&phone, "[data-testid=stream-server]").await;
    assert_eq!(server, up.rtmp);
    let old = value(&phone, "[data-testid=stream-key]").await;

    // A key that was shown to somebody is made anew: asked once, and the old one is void.
    phone.click("[data-testid=stream-key-rotate]").await;
    phone.click("[data-testid=confirm]").await;
    phone
        .page
        .execute("window.old = arguments[0];", vec![json!(old)])
        .await
        .expect("remember the key");
    phone
        .until(
            "there is another key",
            "return document.querySelector('[data-testid=stream-key]').value !== window.old;",
        )
        .await;

    // One whose revocation fails is not taken for gone.
    phone.click(".more-keys summary").await;
    let cut = "window.kept = window.fetch; window.fetch = (path, options) => \
        options?.method === 'DELETE' ? Promise.reject(new TypeError('cut')) : window.kept(path, options);";
    phone.js(cut).await;
    let revoke = async || {
        phone.click("[data-testid=stream-key-revoke]").await;
        phone.click("[data-testid=confirm]").await;
    };
    revoke().await;
    phone.see(".toast.bad").await;
    steps(&phone, ["done", "done", "current", "ahead"]).await;
    phone.js("window.fetch = window.kept;").await;
    revoke().await;
    steps(&phone, ["done", "current", "ahead", "ahead"]).await;
    phone.click("[data-testid=stream-key-create]").await;
    let key = value(&phone, "[data-testid=stream-key]").await;
    assert!(!Publisher::start(&up.rtmp, &old).ended().await, "void");

    let publisher = Publisher::start(&server, &key);
    steps(&phone, ["done"; 4]).await;
    phone
        .see("[data-testid=studio-status][data-state=live]")
        .await;
    phone
        .until(
            "the own picture moves",
            "return document.querySelector('video#player')?.currentTime > 0.5;",
        )
        .await;
    phone
        .until(
            "the stream's health is drawn, and nothing is wrong with it",
            "const lines = document.querySelectorAll('[data-testid=health-charts] .chart-line'); \
             return lines.length === 3 && Array.from(lines).every((line) => \
             line.getAttribute('d').split('L').length > 2) \
             && document.querySelector('[data-testid=health-warnings]').children.length === 0;",
        )
        .await;
    phone
        .until(
            "what was left out is told, and how it does elsewhere",
            "const fact = (name) => document.querySelector(`[data-fact=${name}]`)?.textContent; \
             return Number(fact('dropped')) >= 0 \
             && fact('restream')?.startsWith('rtmp://127.0.0.1:1/app: failed: ');",
        )
        .await;
    let said = phone.js("return document.body.innerHTML;").await;
    assert!(!said.to_string().contains("ELSEWHERE"), "{said}");
    fits(&phone).await;
    publisher.stop().await;
    phone
        .see("[data-testid=studio-status][data-state=offline]")
        .await;
    // What was set up once stays so.
    steps(&phone, ["done", "done", "done", "current"]).await;
    phone.close().await;
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_decided_and_what_was_given_is_given_back() {
    let deployment = Deployment::new("queue");
    let up = deployment.start("up").await;
    let rind = Api::sign_up(&up.http, "Rind").await;
    let mut zest = Person::new(&up, "rind", "Zest").await;
    zest.api.top_up(1000).await;
    let mut host = Viewer::join(&up.ws(), "rind", rind.token.as_deref(), None).await;
    let asked = host.chat("rind", "who <i>knows</i>?").await["event"].clone();
    let hold = Some(json!({ "hold_for_review": true }));
    let path = "/api/channels/rind/chat-settings";
    assert_eq!(rind.send("PATCH", path, hold, &[]).await.0, 200);
    // One waits before the page is there, one comes while it is.
    eventually("messages are held", async || {
        let answer = zest.viewer.chat("rind", "first").await;
        assert_eq!(answer["type"], "ack");
        let held = rind.get("/api/channels/rind/held").await;
        (!held["held"].as_array()?.is_empty()).then_some(())
    })
    .await;

    let studio = Browser::open(1440, 900).await;
    log_in(&studio, &format!("{}/studio", up.http), "Rind").await;
    studio.see("[data-testid=queue-count]").await;
    studio.tab("#tab-queue").await;
    studio
        .click("[data-testid=queued] [data-testid=queue-deny]")
        .await;
    zest.viewer
        .until("the denial", |event| event["type"] == "chat.denied")
        .await;
    let answer = json!({ "type": "chat", "id": 2, "room": "rind", "text": "<b>second</b>", "reply_to": asked });
    let second = zest.viewer.ask(answer).await["event"].clone();
    let row = format!(
        "[data-testid=queued][data-id='{}']",
        second.as_str().expect("an id")
    );
    assert!(studio.text(&row).await.contains("<b>second</b>"));
    // What it answers is quoted, until that is taken away.
    let line = format!("{row} .reply-line");
    let quoted = studio.text(&line).await.replace('\n', " ");
    assert_eq!(quoted, "Rind who <i>knows</i>?");
    let path = format!(
        "/api/channels/rind/messages/{}",
        asked.as_str().expect("an id")
    );
    done(&rind, "DELETE", &path, None).await;
    studio
        .until(
            "its words are gone",
            &format!("return document.querySelector(\"{line}\").innerText === 'message removed';"),
        )
        .await;
    studio
        .click(&format!("{row} [data-testid=queue-approve]"))
        .await;
    zest.viewer
        .until("it", |event| {
            event["type"] == "chat.message" && event["id"] == second
        })
        .await;
    let gone = format!("return !document.querySelector(\"{row}\");");
    studio.until("it waits no more", &gone).await;

    // A part is given back, then the rest; a double click is one refund.
    let (status, given) = zest.api.donate("rind", 100, "k").await;
    assert_eq!(status, 201, "{given}");
    studio.tab("#tab-donations").await;
    let row = format!(
        "[data-testid=donation-row][data-id='{}']",
        given["id"].as_str().expect("an id")
    );
    studio.click(&format!("{row} [data-do=refund]")).await;
    studio.fill("[data-testid=refund-amount]", "30").await;
    studio
        .js("const yes = document.querySelector('[data-testid=confirm]'); yes.click(); yes.click();")
        .await;
    let part = format!("{row} .refunded-part");
    assert!(studio.text(&part).await.contains("30"));
    has(&zest.api, 930).await;
    // Who comes back finds it so, also where the page has to ask for all of it.
    let forget = json!({ "source": "try { sessionStorage.clear(); } catch {}" });
    studio
        .command("Page.addScriptToEvaluateOnNewDocument", forget)
        .await;
    let again = async |returned: i64| {
        eventually("it can be read", async || {
            let given = rind.get("/api/channels/rind/donations").await;
            (given["donations"][0]["returned"] == returned).then_some(())
        })
        .await;
        studio.goto("about:blank").await;
        studio.goto(&format!("{}/studio", up.http)).await;
        studio.tab("#tab-donations").await;
    };
    again(30).await;
    assert!(studio.text(&part).await.contains("30"));
    studio.click(&format!("{row} [data-do=refund]")).await;
    assert_eq!(value(&studio, "[data-testid=refund-amount]").await, "70");
    studio.click("[data-testid=confirm]").await;
    studio.see(&format!("{row}.refunded")).await;
    has(&zest.api, 1000).await;
    again(100).await;
    studio.see(&format!("{row}.refunded")).await;
    studio.close().await;
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_past_broadcast_shows_what_came_of_it() {
    let deployment = Deployment::new("past");
    let up = deployment.start("up").await;
    let rind = Api::sign_up(&up.http, "Rind").await;
    let key = rind.post("/api/channels/rind/stream-key", json!({})).await;
    let publisher = Publisher::start(&up.rtmp, key["key"].as_str().expect("a key"));
    eventually("the channel is live", async || {
        (rind.get("/api/channels/rind").await["live"] == true).then_some(())
    })
    .await;
    let mut zest = Person::new(&up, "rind", "Zest").await;
    let mut pith = Person::new(&up, "rind", "Pith").await;
    for text in ["one", "two"] {
        assert_eq!(zest.says("rind", text).await, "ack");
    }
    assert_eq!(pith.says("rind", "three").await, "ack");
    zest.api.top_up(1000).await;
    assert_eq!(zest.api.donate("rind", 250, "k").await.0, 201);
    let follow = "/api/channels/rind/follow";
    assert_eq!(pith.api.send("PUT", follow, None, &[]).await.0, 204);
    publisher.stop().await;
    let expected = json!({
        "peak_viewers": 2, "messages": 3, "chatters": 2, "donations": 1, "donated": 250,
        "new_followers": 1,
    });
    let stream = eventually("the broadcast is over and counted up", async || {
        let streams = rind.get("/api/channels/rind/streams").await;
        let stream = streams["streams"][0].clone();
        (stream["totals"] == expected && stream["ended_at"].is_string()).then_some(stream)
    })
    .await;
    let id = stream["id"].as_str().expect("an id");
    let course = format!("/api/channels/rind/streams/{id}/course");
    let course = Api::new(&up.http).get(&course).await;
    let points = course["points"].as_array().expect("points");
    let sum = |name: &str| points.iter().filter_map(|point| point[name].as_i64()).sum();
    let sums: [i64; 3] = ["messages", "donations", "donated"].map(sum);
    assert_eq!((sums, &course["totals"]), ([3, 1, 250], &expected));
    let elsewhere = format!("/api/channels/zest/streams/{id}/course");
    assert_eq!(rind.send("GET", &elsewhere, None, &[]).await.0, 404);

    for browser in [Browser::open(1440, 900).await, Browser::open_phone().await] {
        log_in(&browser, &format!("{}/studio", up.http), "Rind").await;
        browser.tab("#tab-past").await;
        browser.click("[data-testid=past-stream] summary").await;
        browser
            .until(
                "its course is drawn",
                "return document.querySelectorAll('.past .chart-line[d^=M]').length === 3;",
            )
            .await;
        let said = browser.text("[data-testid=past-stream]").await;
        for part in ["2", "3 by 2", "250 points"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        fits(&browser).await;
        // Where not all tabs fit beside each other, the one that is shown can be seen; also where they fitted before.
        for tab in ["giving", "past", "past"] {
            browser
                .js(&format!(
                    "document.querySelector('#tab-{tab}[aria-selected=false]')?.click();"
                ))
                .await;
            let whole = format!(
                "const tab = document.querySelector('#tab-{tab}'); \
                 const [own, list] = [tab, tab.parentElement].map((element) => element.getBoundingClientRect()); \
                 return own.left >= list.left && own.right <= list.right;"
            );
            browser
                .until(&format!("the tab {tab} is whole"), &whole)
                .await;
            if tab == "past" {
                browser.screen(PHONE).await;
            }
        }
        browser.close().await;
    }
    the_recording_is_gone_when_asked(&up, &rind, id).await;

    // All of it comes back from the topics.
    let before = rind.get("/api/channels/rind/streams").await;
    for model in ["chatters", "viewers"] {
        let said = deployment.run(&["rebuild", model]).await;
        assert!(said.contains("equal to the live model"), "{said}");
    }
    assert_eq!(rind.get("/api/channels/rind/streams").await, before);
    assert_eq!(up.stop().await, Some(0));
}

async fn the_recording_is_gone_when_asked(up: &Lemonair, rind: &Api, id: &str) {
    let browser = Browser::open(1440, 900).await;
    log_in(&browser, &format!("{}/studio", up.http), "Rind").await;
    browser.tab("#tab-past").await;
    browser.click("[data-testid=past-stream] summary").await;
    let watch = browser.see("[data-testid=past-watch]").await;
    let address = watch.attr("href").await.expect("an attribute");
    assert_eq!(address, Some(format!("/recordings/{id}")));
    browser.click("[data-testid=past-delete]").await;
    browser.click("[data-testid=confirm]").await;
    let gone = "return !document.querySelector('[data-testid=past-watch]');";
    browser.until("it is gone", gone).await;
    let recording = format!("/api/recordings/{id}");
    assert_eq!(rind.send("GET", &recording, None, &[]).await.0, 404);
    browser.close().await;
}

/// The page may know of it before the read model does.
async fn has(api: &Api, balance: i64) {
    eventually(&format!("the balance is {balance}"), async || {
        (api.get("/api/wallet").await["balance"] == balance).then_some(())
    })
    .await;
}

async fn log_in(browser: &Browser, url: &str, name: &str) {
    browser.goto(url).await;
    browser.click("[data-testid=login-open]").await;
    browser.fill("#login-name", name).await;
    browser.fill("#login-password", PASSWORD).await;
    browser.click("#login-submit").await;
    browser.see("[data-testid=studio-status]").await;
}
