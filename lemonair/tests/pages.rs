//! Every page as a whole, in a real Chromium: that it is light, closed to strangers' scripts, and takes words for words.

mod support;

use lemonair_schemas::account::DisplayNameChosen;
use lemonair_schemas::channel::{ChannelOpened, ChannelUpdated};
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::stream::{StreamEnded, StreamStarted};
use lemonair_schemas::{AccountId, Actor, Event, EventId, RoomId, Timestamp, Topic};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;
use support::browser::{Browser, DESKTOP, PHONE};
use support::channel::{PLAYS, account_of, channel, donate, is_live, until_kept};
use support::history::History;
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, Publisher, eventually};

const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u{202e}dlrow \
     \u{2066}x\u{2069} wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww \u{1f34b}\u{1f1f0}\u{1f1f7} ]]> &amp; {{x}}";

/// As long as a name may be.
const NAME: &str = "<i>x</i><script>\u{202e}y";
const CODE: &str = "<img src=x onerror=\"document.title='owned'\">";

const NOTHING_RAN: &str = "return document.title !== 'owned' && document.querySelectorAll('main script, main img[src=x]').length === 0;";
const FITS: &str =
    "return document.documentElement.scrollWidth <= document.documentElement.clientWidth;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_run_no_script_but_their_own() {
    let deployment = Deployment::new("policy");
    let up = deployment.start("up").await;
    let mint = Api::sign_up(&up.http, "Mint").await;
    for path in [
        "/",
        "/mint",
        "/studio",
        "/wallet",
        "/checkout",
        "/account",
        "/admin",
        "/overlay/mint",
        "/overlay/mint/goal",
    ] {
        let url = format!("{}{path}", up.http);
        let answer = mint.http.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers().clone();
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("base-uri 'none'") && policy.contains("frame-ancestors 'self'"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        // Nothing that such a policy would stop: no script, style or handler in the page itself.
        let html = answer.text().await.expect("a body");
        for script in html.split("<script").skip(1) {
            assert!(script.contains(" src=\"/assets/"), "{path}: {script}");
        }
        for inline in ["<style", " style=", " onload=", " onclick=", "javascript:"] {
            assert!(!html.contains(inline), "{path} has {inline}");
        }
        // All modules are named, so that they load at once; and each of them is there.
        let preloads: Vec<&str> = html
            .split("modulepreload\" href=\"")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once('"')?.0))
            .collect();
        assert!(preloads.contains(&"/assets/dom.js"), "{path}: {preloads:?}");
        for module in preloads {
            let got = mint.http.get(format!("{}{module}", up.http)).send().await;
            assert_eq!(got.expect("an answer").status(), 200, "{module}");
        }
    }

    // The refresh token is for this site's own requests, and no script reads it.
    let body = json!({ "name": "Mint", "password": "correct horse battery" });
    let request = mint
        .http
        .post(format!("{}/api/sessions", up.http))
        .json(&body);
    let answer = request.send().await.expect("an answer");
    let cookie = answer.headers()["set-cookie"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "it is for us alone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_light() {
    let deployment = Deployment::new("weight");
    let up = deployment.start("up").await;
    let (_, key) = channel(&up, "Mint", "Light", "Music").await;
    channel(&up, "Zest", "Dark", "").await;
    let _publisher = Publisher::start(&up.rtmp, &key);
    is_live(&up, "mint").await;
    let browser = Browser::open(1280, 800).await;
    for (path, ready, most) in [
        (
            "/",
            "return !!document.querySelector('[data-testid=live-card]');",
            150,
        ),
        ("/zest", "return !!document.querySelector('.chat');", 150),
        (
            "/studio",
            "return !!document.querySelector('.welcome');",
            150,
        ),
        ("/mint", PLAYS, 300),
    ] {
        browser
            .command("Network.clearBrowserCache", json!({}))
            .await;
        browser.goto(&format!("{}{path}", up.http)).await;
        browser.until(&format!("{path} is there"), ready).await;
        let figures = browser
            .js("const own = performance.getEntriesByType('resource').filter(({ name }) => new URL(name).pathname.startsWith('/assets/')); \
                 const bytes = own.reduce((sum, entry) => sum + entry.encodedBodySize, performance.getEntriesByType('navigation')[0].encodedBodySize); \
                 const shift = new Promise(done => new PerformanceObserver(list => done(list.getEntries().filter(e => !e.hadRecentInput).reduce((sum, e) => sum + e.value, 0))).observe({ type: 'layout-shift', buffered: true })); \
                 const none = new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0)))); \
                 const paint = performance.getEntriesByName('first-contentful-paint')[0]; \
                 return Promise.race([shift, none]).then(shift => ({ kib: Math.round(bytes / 102.4) / 10, requests: own.length, paint_ms: Math.round(paint?.startTime ?? -1), shift: Math.round(shift * 1000) / 1000 }));")
            .await;
        eprintln!("{path}: {figures}");
        assert!(
            figures["kib"].as_f64().expect("a size") < f64::from(most),
            "{path}: {figures}"
        );
    }
    browser.close().await;
}

/// Puts so many channels on air, as the topics would have it; every tenth makes music.
async fn hundreds(deployment: &Deployment, count: usize) -> Vec<StreamStarted> {
    let log = History::of(deployment, 0).await.log();
    let now = Timestamp::now();
    let mut events: Vec<Event> = Vec::new();
    let mut streams = Vec::new();
    for n in 0..count {
        let room: RoomId = format!("room{n:03}").parse().expect("a room");
        let opened = ChannelOpened {
            id: EventId::new(),
            at: now,
            room: room.clone(),
            actor: None,
            owner: AccountId::new(),
            name: format!("Room{n:03}"),
        };
        let updated = ChannelUpdated {
            id: EventId::new(),
            at: now,
            room: room.clone(),
            actor: None,
            title: format!("Evening {n}"),
            category: if n % 10 == 0 { "Music" } else { "Games" }.to_owned(),
            description: String::new(),
        };
        let started = StreamStarted {
            id: EventId::new(),
            at: now,
            room,
            actor: None,
            title: format!("Evening {n}"),
            ingest: "a".to_owned(),
            origin: String::new(),
        };
        streams.push(started.clone());
        events.extend([opened.into(), updated.into(), started.into()]);
    }
    let appended = events.into_iter().map(|event| log.append(event));
    futures::future::try_join_all(appended)
        .await
        .expect("appended");
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_live_is_found_among_hundreds() {
    let deployment = Deployment::new("hundreds");
    let up = deployment.start("up").await;
    let streams = hundreds(&deployment, 250).await;
    let anybody = Api::new(&up.http);
    eventually("all are live", async || {
        let last = anybody.get("/api/channels?live=true&limit=200").await;
        let next = last["next"].as_str()?;
        let rest = anybody
            .get(&format!("/api/channels?live=true&limit=200&before={next}"))
            .await;
        (rest["channels"].as_array()?.len() == 50).then_some(())
    })
    .await;
    let browser = Browser::open(PHONE.0, PHONE.1).await;
    browser.screen(PHONE).await;
    browser.goto(&format!("{}/", up.http)).await;
    let shown = async |what: &str, wanted: &str| {
        let script = format!(
            "const rooms = [...document.querySelectorAll('[data-testid=live-card]')].map((card) => card.dataset.room); return {wanted};"
        );
        browser.until(what, &script).await;
    };
    shown(
        "as many are drawn as are looked at",
        "rooms.length >= 36 && rooms.length < 250",
    )
    .await;
    browser.fill("#search", "evening 137").await;
    shown("a word finds one", "rooms.join() === 'room137'").await;
    browser.goto(&format!("{}/?q=room042", up.http)).await;
    shown("so does an address", "rooms.join() === 'room042'").await;
    browser.fill("#search", "nobody").await;
    browser
        .until(
            "it says that there is none",
            "return document.querySelector('.home-note').textContent === 'No live channel matches.';",
        )
        .await;
    browser.goto(&format!("{}/", up.http)).await;
    browser
        .until(
            "the categories are there",
            "const music = [...document.querySelectorAll('.chips .chip')].find((chip) => chip.textContent === 'Music'); \
             music?.click(); return !!music;",
        )
        .await;
    shown(
        "one category",
        "rooms.length === 25 && rooms.every((room) => room.endsWith('0'))",
    )
    .await;
    browser
        .js("document.querySelector('.chips .chip').click();")
        .await;
    shown(
        "all of them, by scrolling on",
        "(document.querySelector('.more').scrollIntoView(), rooms.length === 250)",
    )
    .await;

    // One ends: their card goes when the list is read again, and no other moves.
    let log = History::of(&deployment, 0).await.log();
    let StreamStarted { id, room, .. } = streams[7].clone();
    let ended = StreamEnded {
        id: EventId::new(),
        at: Timestamp::now(),
        room,
        actor: None,
        stream: id,
        reason: "unpublished".to_owned(),
        figures: None,
    };
    log.append(ended).await.expect("appended");
    browser
        .js("window.first = document.querySelector('[data-testid=live-card]');")
        .await;
    shown(
        "one is gone",
        "(document.dispatchEvent(new Event('visibilitychange')), rooms.length === 249 && !rooms.includes('room007') \
          && document.querySelector('[data-testid=live-card]') === window.first)",
    )
    .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_words_stay_words() {
    let deployment = Deployment::new("hostile").with("LEMONAIR_CHAT_PER_SECOND", "1000");
    let up = deployment.start("up").await;
    let mint = Api::sign_up(&up.http, "Mint").await;
    let about = json!({ "title": &HOSTILE.chars().take(140).collect::<String>(), "category": "<b>x</b>\u{202e}", "description": HOSTILE });
    assert_eq!(
        mint.send("PATCH", "/api/channels/mint", Some(about), &[])
            .await
            .0,
        200
    );
    let long = "w".repeat(24);
    let lime = Api::sign_up(&up.http, &long).await;
    lime.top_up(1000).await;
    let mut line = Viewer::join(&up.ws(), "mint", lime.token.as_deref(), None).await;
    let said = [
        HOSTILE,
        "javascript:alert(1) https://example.org/<script>",
        ":lemon:<b> @<i>x</i> :\"onload=x:",
    ];
    for text in said {
        assert_eq!(line.chat("mint", text).await["type"], "ack");
    }
    donate(&lime, "mint", 10, HOSTILE).await;
    let goal = json!({ "title": "<u>goal</u>", "target": 100 });
    let (status, answer) = mint
        .send("POST", "/api/channels/mint/goal", Some(goal), &[])
        .await;
    assert!(status < 300, "{answer}");

    let browser = Browser::open(DESKTOP.0, DESKTOP.1).await;
    for screen in [DESKTOP, PHONE] {
        browser.screen(screen).await;
        browser.goto(&format!("{}/mint", up.http)).await;
        browser.until("all is shown", "return document.querySelectorAll('.message').length === 3 && !!document.querySelector('.donation-message');").await;
        let texts = browser.js("return [...document.querySelectorAll('.message .text')].map(text => text.textContent);").await;
        let texts: Vec<String> = serde_json::from_value(texts).expect("texts");
        assert_eq!(texts[0], HOSTILE);
        assert_eq!(texts[1], said[1]);
        let donation = browser
            .js("return document.querySelector('.donation-message').textContent;")
            .await;
        assert_eq!(donation, HOSTILE);
        assert_eq!(browser.js(NOTHING_RAN).await, true);
        assert_eq!(browser.js(FITS).await, true, "{screen:?}");
        // What turns text around ends where the text ends.
        assert_eq!(browser.js("return [...document.querySelectorAll('.message .text, .watch-title, .donation-message')].every(e => getComputedStyle(e).unicodeBidi.startsWith('isolate') || e.tagName === 'BDI');").await, true);
        browser.goto(&format!("{}/", up.http)).await;
        browser
            .until(
                "the directory is there",
                "return !!document.querySelector('.offline-line');",
            )
            .await;
        assert_eq!(browser.js(NOTHING_RAN).await, true);
        assert_eq!(browser.js(FITS).await, true, "{screen:?}");
    }
    let mut complaints = browser.complaints().await;
    complaints.retain(|line| !line.contains("status of 404"));
    assert_eq!(complaints, Vec::<String>::new());
    browser.close().await;
}

/// What the API would refuse, as another program may have written it onto the topics.
async fn smuggle(deployment: &Deployment, up: &Lemonair) {
    let owner = account_of(up, "Mint").await;
    let actor = || {
        Some(Actor {
            id: AccountId::new(),
            name: NAME.to_owned(),
            roles: Vec::new(),
        })
    };
    let room = || "mint".parse().expect("a room");
    let (id, at) = (EventId::new, Timestamp::now);
    let log = History::of(deployment, 0).await.log();
    let named = DisplayNameChosen {
        id: id(),
        at: at(),
        account: owner,
        actor: None,
        display_name: NAME.to_owned(),
    };
    let said = MessagePosted {
        id: id(),
        at: at(),
        room: room(),
        actor: actor(),
        text: HOSTILE.to_owned(),
        nonce: None,
        reply_to: None,
    };
    let given = DonationAccepted {
        id: id(),
        at: at(),
        room: room(),
        actor: actor(),
        streamer: owner,
        amount: 7,
        message: HOSTILE.to_owned(),
        key: String::new(),
        anonymous: false,
        held: false,
    };
    let answer = MessagePosted {
        id: id(),
        text: CODE.to_owned(),
        reply_to: Some(said.id),
        ..said.clone()
    };
    log.append(named).await.expect("appended");
    log.append(said).await.expect("appended");
    log.append(answer).await.expect("appended");
    log.append(given).await.expect("appended");
    // A record that nobody can read, under a key that is code.
    let producer: FutureProducer = deployment.kafka().client().create().expect("a producer");
    let topic = Topic::Chat.in_kafka(deployment.prefix());
    let unfit = FutureRecord::to(&topic).key(CODE).payload(HOSTILE);
    producer
        .send(unfit, support::PATIENCE)
        .await
        .expect("kafka takes it");
}

/// A broadcast of Mint's that is over, with a title and a message that are code.
async fn recorded(up: &Lemonair, mint: &Api, key: &str) -> String {
    let publisher = Publisher::start(&up.rtmp, key);
    is_live(up, "mint").await;
    let mut line = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    assert_eq!(line.chat("mint", HOSTILE).await["type"], "ack");
    until_kept(mint, "mint", 3.0).await;
    publisher.stop().await;
    eventually("the recording is whole", async || {
        let kept = mint.get("/api/channels/mint/recordings").await;
        let newest = &kept["recordings"][0];
        (newest["state"] == "ready").then(|| newest["stream"].as_str().expect("an id").to_owned())
    })
    .await
}

/// A page, a tab of it, and what shows there with which words.
type Shown<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_words_stay_words_at_the_desks_too() {
    let deployment = Deployment::new("desks");
    let up = deployment.start("up").await;
    let title: String = HOSTILE.chars().take(140).collect();
    let (mint, key) = channel(&up, "Mint", &title, CODE.get(..40).expect("ASCII")).await;
    smuggle(&deployment, &up).await;
    let stream = recorded(&up, &mint, &key).await;
    let label = Some(json!({ "label": CODE }));
    let keys = "/api/channels/mint/stream-keys";
    assert_eq!(mint.send("POST", keys, label, &[]).await.0, 201);
    let goal = Some(json!({ "title": CODE, "target": 100 }));
    let (status, answer) = mint
        .send("POST", "/api/channels/mint/goal", goal, &[])
        .await;
    assert!(status < 300, "{answer}");
    let lime = Api::sign_up(&up.http, "Lime").await;
    lime.top_up(1000).await;
    donate(&lime, "mint", 10, HOSTILE).await;
    let mut line = Viewer::join(&up.ws(), "mint", lime.token.as_deref(), None).await;
    let hold = Some(json!({ "hold_for_review": true }));
    let rules = "/api/channels/mint/chat-settings";
    assert_eq!(mint.send("PATCH", rules, hold, &[]).await.0, 200);
    eventually("messages are held", async || {
        line.chat("mint", HOSTILE).await;
        let held = mint.get("/api/channels/mint/held").await;
        (!held["held"].as_array()?.is_empty()).then_some(())
    })
    .await;
    deployment
        .run(&["account", "role", "Mint", "operator"])
        .await;
    let log_in = json!({ "name": "Mint", "password": "correct horse battery" });
    let agent = [("user-agent", CODE)];
    let anybody = Api::new(&up.http);
    let (status, _) = anybody
        .send("POST", "/api/sessions", Some(log_in), &agent)
        .await;
    assert_eq!(status, 201);
    let overlay = mint.get("/api/channels/mint/overlay/key").await;
    let overlay = overlay["url"].as_str().expect("an address");
    let (_, overlay) = overlay.split_once("/overlay/").expect("the overlay's");

    let browser = Browser::open(DESKTOP.0, DESKTOP.1).await;
    browser.goto(&up.http).await;
    browser.sign_in("Mint").await;
    let recording = format!("/recordings/{stream}");
    let overlay = format!("/overlay/{overlay}");
    let searched = format!("/?q={}", CODE.replace(' ', "%20"));
    let places: &[Shown<'_>] = &[
        (
            "/mint",
            "",
            &[
                (".owner-name", NAME),
                (".author", NAME),
                (".message .text", HOSTILE),
                (".reply-line .quoted-name", NAME),
                (".reply-line .quoted-text", HOSTILE),
                (".donation-message", HOSTILE),
                (".goal-title", CODE),
                (".watch-title", &title),
                (".recordings .card-title", &title),
            ],
        ),
        ("/mint", "#tab-rank", &[(".rank-name", NAME)]),
        (
            &recording,
            "",
            &[
                (".watch-title", &title),
                (".message .text", HOSTILE),
                (".owner-name", NAME),
            ],
        ),
        (
            "/studio",
            "#tab-queue",
            &[("[data-testid=queued] .queue-words", HOSTILE)],
        ),
        (
            "/studio",
            "#tab-donations",
            &[
                ("[data-testid=donation-row] .rank-name", NAME),
                ("[data-testid=donation-row] .donation-message", HOSTILE),
            ],
        ),
        (
            "/studio",
            "#tab-past",
            &[(".past-name", &title), ("[data-testid=stream-keys]", CODE)],
        ),
        ("/account", "", &[("[data-testid=session]", CODE)]),
        (
            "/admin",
            "#tab-letters",
            &[("[data-testid=dead-letter]", CODE)],
        ),
        ("/admin", "#tab-people", &[("[data-testid=person]", "Lime")]),
        ("/admin", "#tab-audit", &[]),
        (&overlay, "", &[("[data-testid=alert]", HOSTILE)]),
        ("/overlay/mint/goal", "", &[(".goal-title", CODE)]),
        (&searched, "", &[(".offline-line .card-title", NAME)]),
    ];
    for screen in [DESKTOP, PHONE] {
        browser.screen(screen).await;
        for (path, tab, shown) in places {
            // One page may differ from another by its fragment alone, which would not load it.
            browser.goto("about:blank").await;
            browser.goto(&format!("{}{path}", up.http)).await;
            if !tab.is_empty() {
                browser.tab(tab).await;
            }
            for (css, words) in *shown {
                let (css_as_js, words) = (json!(css), json!(words));
                let there = format!(
                    "return [...document.querySelectorAll({css_as_js})].some(element => element.textContent.includes({words}));"
                );
                browser
                    .until(&format!("{path} {tab} shows {css}"), &there)
                    .await;
            }
            assert_eq!(browser.js(NOTHING_RAN).await, true, "{path} {tab}");
            assert_eq!(browser.js(FITS).await, true, "{path} {tab} {screen:?}");
        }
    }
    let mut complaints = browser.complaints().await;
    complaints.retain(|line| !line.contains("status of 404"));
    assert_eq!(complaints, Vec::<String>::new());
    browser.close().await;
}
