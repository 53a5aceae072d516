//! Alerts and goals in a real Chromium, as a streaming program shows them.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair};

const HOSTILE: &str =
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

/// A streamer whose alerts are announced so, and somebody with points.
async fn people(up: &Lemonair, settings: Value) -> (Api, Api) {
    let streamer = Api::sign_up(&up.http, "Rind").await;
    let donor = Api::sign_up(&up.http, "Zest").await;
    donor.top_up(1000).await;
    let path = "/api/channels/rind/donation-settings";
    let set = streamer.send("PATCH", path, Some(settings), &[]).await;
    assert_eq!(set.0, 200);
    (streamer, donor)
}

async fn give(donor: &Api, amount: i64, message: &str) -> String {
    let key = uuid::Uuid::new_v4().to_string();
    let body = json!({ "amount": amount, "message": message });
    let path = "/api/channels/rind/donations";
    let (status, given) = donor
        .send("POST", path, Some(body), &[("Idempotency-Key", &key)])
        .await;
    assert_eq!(status, 201, "{given}");
    given["id"].as_str().expect("an id").to_owned()
}

fn alert(id: &str) -> String {
    format!("[data-testid=alert][data-id='{id}']")
}

/// Waits until the server has the donation, and knows that all were shown.
async fn told_of(api: &Api, id: &str) {
    support::eventually("the server knows that it was shown", async || {
        let one = format!("/api/channels/rind/overlay?donation={id}");
        let known = api.get(&one).await["alerts"][0]["id"] == id;
        let waiting = api.get("/api/channels/rind/overlay").await;
        (known && waiting["alerts"] == json!([])).then_some(())
    })
    .await;
}

const NONE: &str = "return document.querySelector('[data-testid=alert]') === null;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlay_announces_each_donation_once() {
    let deployment = Deployment::new("overlay");
    let up = deployment.start("up").await;
    let settings = json!({ "alert_ms": 60_000, "alert_minimum": 5, "alert_volume": 10 });
    let (streamer, donor) = people(&up, settings).await;
    let key = "/api/channels/rind/overlay/key";
    assert_eq!(donor.send("GET", key, None, &[]).await.0, 403);
    let key = streamer.get(key).await;
    let url = format!(
        "{}/overlay/rind#key={}",
        up.http,
        key["key"].as_str().expect("a key")
    );
    let cue = async |action: &str| {
        let body = Some(json!({ "action": action }));
        let (status, answer) = streamer
            .send("POST", "/api/channels/rind/overlay/cues", body, &[])
            .await;
        assert_eq!(status, 204, "{answer}");
    };
    let mut viewer = Viewer::join(&up.ws(), "rind", None, None).await;

    // What came while no overlay was there is announced when it comes; hostile words are words.
    let first = give(&donor, 10, HOSTILE).await;
    let overlay = Browser::open(800, 600).await;
    overlay.goto(&url).await;
    assert_eq!(
        overlay
            .text(&format!("{} .alert-message", alert(&first)))
            .await,
        HOSTILE
    );
    let inert = "return document.title !== 'owned' && document.querySelector('.alert img, .alert script') === null;";
    assert_eq!(overlay.js(inert).await, json!(true));
    let seen_through = "return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor;";
    assert_eq!(
        overlay.js(seen_through).await,
        "rgba(0, 0, 0, 0)rgba(0, 0, 0, 0)"
    );

    // Too small to be announced; two that wait their turn. A reload shows neither what was shown nor
    // loses what waits.
    give(&donor, 4, "small").await;
    let second = give(&donor, 20, "second").await;
    let third = give(&donor, 30, "third").await;
    overlay.goto("about:blank").await;
    overlay.goto(&url).await;
    overlay.see(&alert(&second)).await;
    cue("skip").await;
    overlay.see(&alert(&third)).await;
    cue("skip").await;
    overlay.until("nothing is left", NONE).await;

    // Another machine, whose browser remembers nothing, shows none of them again.
    told_of(&donor, &third).await;
    let other = Browser::open(800, 600).await;
    other.goto(&url).await;
    other
        .until(
            "it is there",
            "return document.body.dataset.line === 'open';",
        )
        .await;
    let fourth = give(&donor, 40, "fourth").await;
    other.see(&alert(&fourth)).await;
    overlay.see(&alert(&fourth)).await;
    other.close().await;

    // Paused, what comes waits; a test is shown all the same, and moves no points.
    cue("pause").await;
    cue("skip").await;
    overlay.until("the queue waits", &format!("return document.querySelector('[data-testid=alerts]').dataset.paused === 'on' && {}", &NONE[7..])).await;
    let fifth = give(&donor, 50, "fifth").await;
    cue("test").await;
    overlay.see("[data-testid=alert][data-again]").await;
    cue("skip").await;
    overlay
        .until("the test is gone, and the fifth still waits", NONE)
        .await;
    cue("resume").await;
    overlay.see(&alert(&fifth)).await;
    cue("skip").await;
    overlay.until("it is gone", NONE).await;
    told_of(&donor, &fifth).await;
    cue("replay").await;
    overlay.see(&format!("{}[data-again]", alert(&fifth))).await;

    // Viewers saw donations and nothing of all this.
    viewer
        .until("the fifth", |event| event["id"] == fifth.as_str())
        .await;
    let kinds = |kind: &str| {
        viewer
            .seen
            .iter()
            .filter(|event| event["type"] == kind)
            .count()
    };
    assert_eq!(kinds("donation.accepted"), 6);
    let told: Vec<&Value> = viewer
        .seen
        .iter()
        .filter(|event| {
            event["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("overlay") || kind.starts_with("alert"))
        })
        .collect();
    assert_eq!(told, Vec::<&Value>::new());
    assert_eq!(streamer.get("/api/wallet").await["earnings"], 154);

    // A key that was rotated controls nothing any more, and the new one does.
    let with = |key: &Value| Api {
        token: key["key"].as_str().map(str::to_owned),
        ..donor.clone()
    };
    let skip = async |api: &Api| {
        let body = Some(json!({ "action": "skip" }));
        api.send("POST", "/api/channels/rind/overlay/cues", body, &[])
            .await
            .0
    };
    assert_eq!((skip(&with(&key)).await, skip(&donor).await), (204, 403));
    let rotated = streamer
        .post("/api/channels/rind/overlay/key", json!({}))
        .await;
    assert_eq!(
        (skip(&with(&key)).await, skip(&with(&rotated)).await),
        (401, 204)
    );
    let records = deployment.replay(&["channels", "donations"]).await;
    let records = Value::Array(records).to_string();
    for key in [key, rotated] {
        let key = key["key"].as_str().expect("a key");
        assert!(!records.contains(key), "no key is on a topic");
    }
    overlay.close().await;
    assert_eq!(up.stop().await, Some(0));
}

/// Holds the page's first questions back until it is let go, and counts the donations that come meanwhile.
const SLOW: &str = r#"
const send = window.fetch;
const released = new Promise((resolve) => (window.release = resolve));
window.fetch = async (path, options) => {
  if (String(path).endsWith('/overlay')) {
    window.asked = true;
    await released;
  }
  return send(path, options);
};
window.heard = 0;
window.WebSocket = class extends window.WebSocket {
  constructor(...address) {
    super(...address);
    this.addEventListener('message', ({ data }) => (window.heard += data.split('"donation.accepted"').length - 1));
  }
};"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_announced_before_it_is_known_what_is_too_small() {
    let deployment = Deployment::new("early");
    let up = deployment.start("up").await;
    let settings = json!({ "alert_ms": 60_000, "alert_minimum": 50, "alert_volume": 10 });
    let (_, donor) = people(&up, settings).await;
    let overlay = Browser::open(800, 600).await;
    let source = json!({ "source": SLOW });
    overlay
        .command("Page.addScriptToEvaluateOnNewDocument", source)
        .await;
    overlay.goto(&format!("{}/overlay/rind", up.http)).await;
    overlay.until("it asks", "return !!window.asked;").await;
    give(&donor, 10, "small").await;
    let large = give(&donor, 60, "large").await;
    overlay
        .until("it has heard of both", "return window.heard === 2;")
        .await;
    assert_eq!(overlay.js(NONE).await, json!(true));
    overlay.js("window.release();").await;
    // The small one came first, and would be shown for a minute.
    overlay.see(&alert(&large)).await;
    overlay.close().await;
    assert_eq!(up.stop().await, Some(0));
}

/// The first alert that is marked cannot be read by the server yet, and what is read the second time comes late.
const BEHIND: &str = r#"
const send = window.fetch;
let marked = 0;
let reads = 0;
const released = new Promise((resolve) => (window.release = resolve));
window.fetch = async (path, options) => {
  if (String(path).includes('/overlay/shown/') && ++marked === 1)
    return new Response('{"status":404,"code":"not_found"}', { status: 404 });
  const answer = await send(path, options);
  if (!String(path).endsWith('/overlay') || ++reads !== 2) return answer;
  window.read = true;
  await released;
  const text = await answer.text();
  setTimeout(() => setTimeout(() => (window.heeded = true)));
  return new Response(text, answer);
};"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_behind_confuses_no_overlay() {
    let deployment = Deployment::new("behind");
    let up = deployment.start("up").await;
    let (streamer, donor) = people(&up, json!({ "alert_ms": 60_000 })).await;
    let key = streamer.get("/api/channels/rind/overlay/key").await;
    let overlay = Browser::open(800, 600).await;
    let source = json!({ "source": BEHIND });
    overlay
        .command("Page.addScriptToEvaluateOnNewDocument", source)
        .await;
    overlay.goto(key["url"].as_str().expect("an address")).await;
    let cue = async |action: &str| {
        let body = Some(json!({ "action": action }));
        let path = "/api/channels/rind/overlay/cues";
        assert_eq!(streamer.send("POST", path, body, &[]).await.0, 204);
    };

    // What was read before the pause does not end it.
    overlay
        .until("it has read twice", "return !!window.read;")
        .await;
    cue("pause").await;
    let paused = "return document.querySelector('[data-testid=alerts]').dataset.paused === 'on';";
    overlay.until("it waits", paused).await;
    overlay.js("window.release();").await;
    overlay
        .until("it has read what came late", "return !!window.heeded;")
        .await;
    assert_eq!(overlay.js(paused).await, json!(true));
    cue("resume").await;

    // The second is known to be shown before the first could be: it is still the last of them.
    let first = give(&donor, 10, "first").await;
    overlay.see(&alert(&first)).await;
    cue("skip").await;
    let second = give(&donor, 20, "second").await;
    overlay.see(&alert(&second)).await;
    cue("skip").await;
    overlay.until("it is gone", NONE).await;
    told_of(&donor, &second).await;
    cue("replay").await;
    overlay.see("[data-testid=alert]").await;
    overlay
        .see(&format!("{}[data-again]", alert(&second)))
        .await;
    overlay.close().await;
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goal_moves_and_a_refund_moves_it_back() {
    let deployment = Deployment::new("goal");
    let up = deployment.start("up").await;
    let streamer = Api::sign_up(&up.http, "Rind").await;
    let donor = Api::sign_up(&up.http, "Zest").await;
    donor.top_up(1000).await;
    let overlay = Browser::open(800, 200).await;
    overlay
        .goto(&format!("{}/overlay/rind/goal", up.http))
        .await;
    let watch = Browser::open(1280, 800).await;
    watch.goto(&format!("{}/rind", up.http)).await;
    let line = "return document.body.dataset.line === 'open' || document.querySelector('section.chat')?.dataset.line === 'open';";
    for page in [&overlay, &watch] {
        page.until("the line is open", line).await;
    }
    let goal = json!({ "title": "<b>Microphone</b>", "target": 100 });
    streamer.post("/api/channels/rind/goal", goal).await;
    let shows = async |amount: i64| {
        let now = format!(
            "return document.querySelector('[data-testid=goal]:not([hidden])')?.dataset.amount === '{amount}';"
        );
        for page in [&overlay, &watch] {
            page.until(&format!("the goal is at {amount}"), &now).await;
        }
    };
    shows(0).await;
    assert_eq!(overlay.text(".goal-title").await, "<b>Microphone</b>");
    let id = give(&donor, 60, "").await;
    shows(60).await;
    let refund = format!("/api/donations/{id}/refund");
    let part = Some(json!({ "amount": 25 }));
    let key = [("Idempotency-Key", "r")];
    assert_eq!(streamer.send("POST", &refund, part, &key).await.0, 201);
    shows(35).await;
    overlay.goto("about:blank").await;
    overlay
        .goto(&format!("{}/overlay/rind/goal", up.http))
        .await;
    shows(35).await;
    assert_eq!(
        streamer
            .send("DELETE", "/api/channels/rind/goal", None, &[])
            .await
            .0,
        204
    );
    for page in [&overlay, &watch] {
        page.until(
            "the goal is gone",
            "return document.querySelector('[data-testid=goal]').hidden;",
        )
        .await;
    }
    overlay.close().await;
    watch.close().await;
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamer_does_it_all_from_the_studio() {
    let deployment = Deployment::new("desk");
    let up = deployment.start("up").await;
    let studio = Browser::open(1280, 1000).await;
    studio.goto(&format!("{}/studio", up.http)).await;
    studio.fill("#signup-name", "Rind").await;
    studio
        .fill("#signup-password", "correct horse battery")
        .await;
    studio.click("#signup-submit").await;
    studio.tab("#tab-giving").await;
    studio.see("[data-testid=overlay-url]").await;
    let url = studio
        .js("return document.querySelector('[data-testid=overlay-url]').value;")
        .await;
    let overlay = Browser::open(800, 600).await;
    overlay.goto(url.as_str().expect("an address")).await;
    overlay
        .until(
            "the line is open",
            "return document.body.dataset.line === 'open';",
        )
        .await;
    studio.fill("#giving-seconds", "60").await;
    studio.click("[data-testid=giving-save]").await;
    studio.see(".toast.good").await;
    studio.click("[data-testid=alert-test]").await;
    overlay.see("[data-testid=alert]").await;
    studio.click("[data-testid=alert-skip]").await;
    overlay.until("it is gone", NONE).await;
    studio.fill("#goal-title", "Camera").await;
    studio.fill("#goal-target", "500").await;
    studio.click("[data-testid=goal-start]").await;
    studio.see("[data-testid=goal]").await;

    // Words that wait are let through from the list of donations, and announced then.
    let donor = Api::sign_up(&up.http, "Zest").await;
    donor.top_up(1000).await;
    studio
        .js("document.querySelector('#giving-review').value = 'all';")
        .await;
    studio.click("[data-testid=giving-save]").await;
    let settings = "/api/channels/rind/donation-settings";
    support::eventually("the rule is set", async || {
        (donor.get(settings).await["review"] == "all").then_some(())
    })
    .await;
    let id = give(&donor, 70, "may I?").await;
    studio.tab("#tab-donations").await;
    studio
        .click(&format!(
            "[data-testid=donation-row][data-id='{id}'] [data-testid=donation-approve]"
        ))
        .await;
    assert_eq!(
        overlay
            .text(&format!("{} .alert-message", alert(&id)))
            .await,
        "may I?"
    );
    studio
        .until(
            "the goal has moved",
            "return document.querySelector('[data-testid=goal]').dataset.amount === '70';",
        )
        .await;
    overlay.close().await;
    studio.close().await;
    assert_eq!(up.stop().await, Some(0));
}
