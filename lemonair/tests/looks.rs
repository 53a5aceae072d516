//! Every page in a real Chromium, on an evening when much goes on: on a desktop and a phone, light and dark, axe finds no
//! hindrance, nothing is wider than the screen, and, with `LEMONAIR_SCREENSHOTS` set to a folder, the pictures are kept there.

mod support;

use std::collections::HashMap;
use std::path::PathBuf;

use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::presence::{RoomViewers, ViewersCounted};
use lemonair_schemas::stream::{StreamEnded, StreamStarted};
use lemonair_schemas::{AccountId, Actor, Event, EventId, GatewayId, Timestamp};
use serde_json::json;
use support::browser::{Browser, DESKTOP, PHONE};
use support::channel::{PLAYS, account_of, channel, donate, is_live, until_kept};
use support::history::History;
use support::person::{kind, set};
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, Publisher, eventually};

/// Channels on air: name, title, category, and a picture that ffmpeg makes.
const ON_AIR: [[&str; 4]; 3] = [
    [
        "Mint",
        "Fractals and lo-fi · 프랙탈과 로파이",
        "Music",
        "mandelbrot=size=640x360:rate=10:start_scale=0.08:end_scale=0.01:end_pts=200:maxiter=400",
    ],
    [
        "hana_live",
        "오늘도 뜨개질 같이 해요",
        "일상",
        "gradients=size=480x270:rate=10:c0=#ff9a9e:c1=#fad0c4:c2=#a18cd1:c3=#fbc2eb:n=4:speed=0.02:seed=1",
    ],
    [
        "Citron",
        "Life, the cellular kind: chat picks the seed",
        "Games",
        "life=size=480x270:rate=10:mold=12:ratio=0.2:death_color=#1b4332:life_color=#ffdf1f:mold_color=#40916c",
    ],
];

const CARDS: &str = "return document.querySelectorAll('[data-testid=live-card] img:not(.placeholder)').length === 3;";

/// A browser that goes from page to page, and what it found wrong.
struct Tour<'a> {
    browser: Browser,
    up: &'a Lemonair,
    /// What is to be seen of a page that is longer than the screen, if not its head.
    place: &'static str,
    found: Vec<String>,
}

// === impl Tour ===

impl Tour<'_> {
    async fn goto(&self, path: &str, ready: &str) {
        self.browser.goto(&format!("{}{path}", self.up.http)).await;
        self.browser.until(&format!("{path} is there"), ready).await;
    }

    async fn visit(&mut self, name: &str, path: &str, ready: &str) {
        self.goto(path, ready).await;
        self.look(name).await;
    }

    /// The page as it is now, on both screens and in both themes, each looked over by axe.
    async fn look(&mut self, name: &str) {
        for (screen, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
            self.browser.screen(size).await;
            for (theme, dark) in [("light", false), ("dark", true)] {
                self.browser.dark(dark).await;
                self.browser
                    .js(&format!(
                        "document.querySelector('{}').scrollIntoView();",
                        self.place
                    ))
                    .await;
                self.browser
                    .js("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));")
                    .await;
                for hindrance in self.browser.hindrances().await {
                    self.found
                        .push(format!("{name} {screen} {theme}: {hindrance}"));
                }
                if self.browser.js(FITS).await != true {
                    self.found
                        .push(format!("{name} {screen}: wider than the screen"));
                }
                if let Some(folder) = screenshots() {
                    let file = folder.join(format!("{name}-{screen}-{theme}.webp"));
                    std::fs::write(file, self.browser.picture().await).expect("keep the picture");
                }
            }
        }
        self.browser.screen(DESKTOP).await;
        self.browser.dark(false).await;
    }

    /// Somebody else, from the front page on.
    async fn be(&self, name: &str) {
        self.browser
            .js("document.querySelector('[data-testid=logout]').click();")
            .await;
        self.browser.see("[data-testid=login-open]").await;
        self.goto("/", CARDS).await;
        self.browser.sign_in(name).await;
    }
}

const FITS: &str =
    "return document.documentElement.scrollWidth <= document.documentElement.clientWidth;";

fn screenshots() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("LEMONAIR_SCREENSHOTS")?);
    std::fs::create_dir_all(&folder).expect("make the folder");
    Some(folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hinder_nobody() {
    let deployment = Deployment::new("looks")
        .with("LEMONAIR_CHAT_PER_SECOND", "1000")
        .with("LEMONAIR_SANDBOX_CONFIRMS", "by hand")
        .with("LEMONAIR_GRACE", "60");
    let up = deployment.start("up").await;
    let mut tour = Tour {
        browser: Browser::open(DESKTOP.0, DESKTOP.1).await,
        up: &up,
        place: "body",
        found: Vec::new(),
    };
    tour.browser.screen(DESKTOP).await;
    tour.visit(
        "home-empty",
        "/",
        "return !!document.querySelector('.empty');",
    )
    .await;
    tour.visit(
        "studio-welcome",
        "/studio",
        "return !!document.querySelector('.welcome');",
    )
    .await;

    // A lively evening.
    let mut owners = Vec::new();
    for [name, title, category, _] in ON_AIR {
        owners.push(channel(&up, name, title, category).await);
    }
    last_week(&deployment, &up).await;
    let mut publishers = Vec::new();
    for ([name, _, _, picture], (_, key)) in ON_AIR.iter().zip(&owners) {
        let file = deployment.data().join(format!("{name}.mp4"));
        publishers.push(Publisher::repeating(picture, &file, &up.rtmp, key).await);
        is_live(&up, &name.to_lowercase()).await;
    }
    let mint = &owners[0].0;
    channel(&up, "pomelo", "Rust from scratch", "Coding").await;
    let talkers = talk(&up, mint).await;
    crowd(&up).await;
    let recording = record(&up).await;
    eventually("there is a thumbnail of each", async || {
        for [name, ..] in ON_AIR {
            let url = format!("{}/thumbnails/{}.jpg", up.http, name.to_lowercase());
            let answer = mint.http.get(url).send().await.ok()?;
            answer.status().is_success().then_some(())?;
        }
        Some(())
    })
    .await;

    tour.visit("home", "/", CARDS).await;
    tour.browser.sign_in("Lime").await;
    tour.visit("watch", "/mint", PLAYS).await;
    tour.browser.click("[data-testid=donate-open]").await;
    tour.browser.see("[data-testid=donate-submit]").await;
    tour.look("donate").await;
    tour.goto("/mint", PLAYS).await;
    tour.browser
        .js("document.querySelector('[data-testid=keys-open]').click();")
        .await;
    tour.browser.see("[data-testid=keys]").await;
    tour.look("keys").await;
    tour.visit(
        "offline",
        "/yuzu_haru",
        "return document.querySelectorAll('[data-testid=recording-card] img[src*=thumbnail]').length === 2;",
    )
    .await;
    tour.goto(&recording, PLAYS).await;
    tour.browser
        .until(
            "some of the chat has been said",
            "return document.querySelectorAll('.chat .message').length >= 4;",
        )
        .await;
    tour.look("recording").await;
    tour.visit(
        "missing",
        "/nobody",
        "return !!document.querySelector('.empty');",
    )
    .await;
    tour.visit(
        "wallet",
        "/wallet",
        "return !!document.querySelector('[data-testid=entry]');",
    )
    .await;
    tour.visit(
        "checkout",
        &format!("/checkout?payment={}", order(mint, 5_000).await),
        "return !!document.querySelector('[data-testid=checkout-paid]');",
    )
    .await;
    tour.visit(
        "account",
        "/account",
        "return !!document.querySelector('[data-testid=session]');",
    )
    .await;

    // In Korean.
    tour.browser
        .js("localStorage.setItem('lemonair.language', 'ko');")
        .await;
    tour.visit("home-ko", "/", CARDS).await;
    tour.visit("watch-ko", "/mint", PLAYS).await;
    tour.browser
        .js("localStorage.removeItem('lemonair.language');")
        .await;

    // A streamer, and an operator.
    tour.be("Mint").await;
    tour.goto("/studio", PLAYS).await;
    tour.browser
        .until(
            "the stream's health is drawn",
            "return [...document.querySelectorAll('[data-testid=health-charts] .chart-line')].filter(line => line.getAttribute('d').split('L').length > 8).length === 3;",
        )
        .await;
    tour.look("studio").await;
    tour.browser.tab("#tab-donations").await;
    tour.browser.see("[data-testid=donation-row]").await;
    tour.browser.tab("#tab-past").await;
    tour.browser
        .js("[...document.querySelectorAll('[data-testid=past-stream] summary')][1].click();")
        .await;
    tour.browser
        .until(
            "its course is drawn",
            "return document.querySelectorAll('.past .chart-line[d^=M]').length === 3;",
        )
        .await;
    tour.place = ".tiles";
    tour.look("studio-past").await;
    tour.browser.tab("#tab-giving").await;
    tour.browser.see("[data-testid=giving-save]").await;
    tour.place = ".desks";
    tour.look("studio-giving").await;
    tour.place = ".panel";
    hold_some(&up, mint, &talkers).await;
    tour.browser.tab("#tab-queue").await;
    tour.browser.see("[data-testid=queued] .reply-line").await;
    tour.look("studio-queue").await;
    tour.place = "body";

    deployment
        .run(&["account", "role", "Mint", "operator"])
        .await;
    tour.be("Mint").await;
    tour.goto(
        "/admin",
        "return document.querySelector('.chart-line')?.getAttribute('d').split('L').length > 8;",
    )
    .await;
    tour.look("admin").await;
    for (tab, ready) in [
        ("models", "[data-testid=read-model]"),
        ("cluster", "[data-testid=topic]"),
        ("schemas", "[data-testid=subject]"),
        ("people", "[data-testid=person]"),
    ] {
        tour.browser.click(&format!("#tab-{tab}")).await;
        tour.browser.see(ready).await;
        if tab == "models" {
            let messages = "[data-testid=read-model][data-name=messages]";
            tour.browser
                .click(&format!("{messages} [data-testid=rebuild-verify]"))
                .await;
            tour.browser
                .see(&format!("{messages}[data-state=done] small"))
                .await;
        }
        tour.look(&format!("admin-{tab}")).await;
    }

    let overlay = mint.get("/api/channels/mint/overlay/key").await;
    let url = overlay["url"].as_str().expect("an address");
    let (_, rest) = url.split_once("/overlay/").expect("the overlay's address");
    tour.visit(
        "overlay",
        &format!("/overlay/{rest}"),
        "return !!document.querySelector('[data-testid=alert]');",
    )
    .await;
    let Tour {
        browser, mut found, ..
    } = tour;
    let mut complaints = browser.complaints().await;
    complaints.retain(|line| !line.contains("status of 404"));
    found.append(&mut complaints);
    browser.close().await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Mint's broadcasts of the last days, as the topics would have them.
async fn last_week(deployment: &Deployment, up: &Lemonair) {
    const HOUR: i64 = 3_600_000;
    const MINUTE: i64 = 60_000;
    let streamer = account_of(up, "Mint").await;
    let room = || "mint".parse().expect("a room");
    let person = |number: i64| Actor {
        id: AccountId(uuid::Uuid::from_u128(
            0x018b_cfe5_6800_7000_9000_0000_0000_0000 | u128::from(number.unsigned_abs()),
        )),
        name: format!("guest_{number}"),
        roles: Vec::new(),
    };
    let gateway = GatewayId(uuid::Uuid::from_u128(1));
    let log = History::of(deployment, 0).await.log();
    let now = Timestamp::now().millis();
    for (days, minutes, crowd, title) in [
        (6, 95, 34, "First flight over the set"),
        (4, 130, 58, "줄리아 집합 산책 · A walk through Julia sets"),
        (1, 174, 96, "Seahorse valley, all the way down"),
    ] {
        let began = now - days * 24 * HOUR - 3 * HOUR;
        let started = StreamStarted {
            id: EventId::new(),
            at: Timestamp(began),
            room: room(),
            actor: None,
            title: title.to_owned(),
            ingest: "a".to_owned(),
            origin: String::new(),
        };
        let stream = started.id;
        let mut events: Vec<Event> = vec![started.into()];
        for minute in 0..minutes {
            let at = |second: i64| Timestamp(began + minute * MINUTE + second * 1000);
            // People come, stay, and go when it ends; a wave for each song.
            let swell = (minute * 6).min((minutes - minute) * 14).min(100);
            let wave =
                [0, 3, 7, 9, 6, 2, -3, -6, -4][usize::try_from(minute / 4 % 9).expect("small")];
            let viewers = (crowd * swell / 100 + wave * crowd / 60 + minute * 13 % 5).max(2);
            let counted = ViewersCounted {
                id: EventId::new(),
                at: at(0),
                gateway,
                actor: None,
                anew: true,
                rooms: vec![RoomViewers {
                    room: room(),
                    viewers,
                }],
            };
            events.push(counted.into());
            let lively = if minute % 37 > 31 { 3 } else { 1 };
            for said in 0..(viewers * lively / 12 + minute * 7 % 4) {
                let message = MessagePosted {
                    id: EventId::new(),
                    at: at(said % 60),
                    room: room(),
                    actor: Some(person((minute * 31 + said * 17) % viewers)),
                    text: "그때 그 노래 좋았어요".to_owned(),
                    nonce: None,
                    reply_to: None,
                };
                events.push(message.into());
            }
            if minute % 23 == 11 || minute % 37 == 33 {
                let given = DonationAccepted {
                    id: EventId::new(),
                    at: at(30),
                    room: room(),
                    actor: Some(person(minute % viewers)),
                    streamer,
                    amount: [1_000, 3_000, 5_000, 2_000, 10_000]
                        [usize::try_from(minute % 5).expect("small")],
                    message: String::new(),
                    key: String::new(),
                    anonymous: false,
                    held: false,
                };
                events.push(given.into());
            }
        }
        let ended = StreamEnded {
            id: EventId::new(),
            at: Timestamp(began + minutes * MINUTE),
            room: room(),
            actor: None,
            stream,
            reason: "unpublished".to_owned(),
            figures: None,
        };
        events.push(ended.into());
        let appended = events.into_iter().map(|event| log.append(event));
        futures::future::try_join_all(appended)
            .await
            .expect("appended");
    }
    // That gateway is gone.
    let nobody = ViewersCounted {
        id: EventId::new(),
        at: Timestamp(now),
        gateway,
        actor: None,
        anew: true,
        rooms: Vec::new(),
    };
    log.append(nobody).await.expect("appended");
}

/// Two broadcasts that are over, the second with a chat; the path of its page.
async fn record(up: &Lemonair) -> String {
    const PICTURE: &str = "gradients=size=640x360:rate=10:c0=#0f2027:c1=#2c5364:c2=#f2994a:c3=#203a43:n=4:speed=0.01:seed=7";
    let (yuzu, key) = channel(up, "yuzu_haru", "새벽 라디오 · 비 오는 날", "음악").await;
    let ready = async |count: usize| {
        eventually("the recording is whole", async || {
            let kept = yuzu.get("/api/channels/yuzu_haru/recordings").await;
            let newest = kept["recordings"].as_array()?;
            (newest.len() == count && newest[0]["state"] == "ready")
                .then(|| newest[0]["stream"].as_str().expect("an id").to_owned())
        })
        .await
    };
    let publisher = Publisher::showing(PICTURE, &up.rtmp, &key);
    until_kept(&yuzu, "yuzu_haru", 8.0).await;
    publisher.stop().await;
    ready(1).await;
    let title = Some(json!({ "title": "새벽 라디오 · 신청곡 받아요" }));
    let path = "/api/channels/yuzu_haru";
    assert_eq!(yuzu.send("PATCH", path, title, &[]).await.0, 200);
    let publisher = Publisher::showing(PICTURE, &up.rtmp, &key);
    is_live(up, "yuzu_haru").await;
    let people = [
        Api::sign_up(&up.http, "boram").await,
        Api::sign_up(&up.http, "Pith").await,
        yuzu.clone(),
    ];
    let mut lines = Vec::new();
    for person in &people {
        lines.push(Viewer::join(&up.ws(), "yuzu_haru", person.token.as_deref(), None).await);
    }
    let said = [
        (0, "오늘은 비가 와서 더 좋네요"),
        (1, "good evening from Lisbon :lemon:"),
        (2, "어서 오세요! 첫 곡은 신청곡으로 갈게요"),
        (0, "지난주에 틀어 주신 곡 한 번 더요 :love:"),
        (1, "yes please, the one with the piano"),
        (2, "@boram @Pith 같은 곡이네요, 바로 틀어요 :juice:"),
        (1, ":heart:"),
        (0, "볼륨 딱 좋아요"),
    ];
    for (place, (who, text)) in said.into_iter().enumerate() {
        assert_eq!(lines[who].chat("yuzu_haru", text).await["type"], "ack");
        until_kept(
            &yuzu,
            "yuzu_haru",
            f64::from(u8::try_from(place).expect("few")) * 3.0,
        )
        .await;
    }
    publisher.stop().await;
    let stream = ready(2).await;
    format!("/recordings/{stream}")
}

/// Begins to buy points; the payment that its checkout asks about.
async fn order(buyer: &Api, amount: i64) -> String {
    let order = Some(json!({ "amount": amount }));
    let (status, begun) = buyer.send("POST", "/api/wallet/top-ups", order, &[]).await;
    assert_eq!(status, 202, "{begun}");
    let checkout = begun["checkout"].as_str().expect("an address");
    let (_, payment) = checkout.split_once('=').expect("a payment");
    payment.to_owned()
}

/// What is said and given in Mint's room, and by whom.
async fn talk(up: &Lemonair, mint: &Api) -> HashMap<&'static str, Api> {
    let names = ["Lime", "minsu", "Rind", "kumquat", "jiwoo_"];
    let mut people = HashMap::new();
    for name in names {
        let person = Api::sign_up(&up.http, name).await;
        let payment = order(&person, 50_000).await;
        let paid = Some(json!({ "payment": payment, "outcome": "paid" }));
        let checkout = "/api/sandbox/checkout";
        assert_eq!(person.send("POST", checkout, paid, &[]).await.0, 200);
        let line = Viewer::join(&up.ws(), "mint", person.token.as_deref(), None).await;
        people.insert(name, (person, line));
    }
    let line = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    people.insert("Mint", (mint.clone(), line));
    let (status, answer) = mint
        .send(
            "POST",
            "/api/channels/mint/goal",
            Some(json!({ "title": "새 마이크 · A new microphone", "target": 100_000 })),
            &[],
        )
        .await;
    assert!(status < 300, "{answer}");
    let said: [(&str, &str); 18] = [
        ("Lime", "hi everyone :lemon:"),
        ("minsu", "안녕하세요! 오늘 화면 진짜 예뻐요 :love:"),
        ("Rind", "is this the seahorse valley again?"),
        ("Mint", "yes, a bit deeper than yesterday"),
        ("kumquat", "the new track is lovely"),
        ("jiwoo_", "배경 음악 제목 알려주세요"),
        ("Mint", "제가 어제 만든 곡이에요 :juice:"),
        ("minsu", "우와 직접 만드셨다니 :wow:"),
        ("Lime", ":lemon: :lemon: :lemon:"),
        (
            "Rind",
            "the palette, for who asked: https://example.org/palettes/citrus-7",
        ),
        ("kumquat", "@Lime same :laugh:"),
        ("jiwoo_", "다음 방송은 언제예요?"),
        ("Mint", "내일 저녁 8시요. Same time tomorrow!"),
        ("Lime", "@minsu did you see the one on Sunday?"),
        ("minsu", "네! 다시보기로 봤어요"),
        ("Rind", "here it comes"),
        ("kumquat", "zoooom :gg:"),
        ("jiwoo_", ":heart:"),
    ];
    // Which of them answers which.
    let answers = [(3, 2), (6, 5), (12, 11), (14, 13)];
    let mut acks: Vec<serde_json::Value> = Vec::new();
    for (place, (name, text)) in said.into_iter().enumerate() {
        let (person, line) = people.get_mut(name).expect("somebody");
        let answered = answers.iter().find(|(answer, _)| *answer == place);
        let answered = answered.map(|(_, to)| acks[*to].clone());
        if let Some(answered) = &answered {
            line.until("what is answered", |event| event["id"] == *answered)
                .await;
        }
        let ack = line.ask(json!({ "type": "chat", "id": place, "room": "mint", "text": text, "reply_to": answered })).await;
        assert_eq!(ack["type"], "ack", "{ack}");
        acks.push(ack["event"].clone());
        match place {
            8 => donate(person, "mint", 5_000, "For the lemons.").await,
            14 => {
                donate(
                    person,
                    "mint",
                    12_000,
                    "새 마이크에 보탬이 되길! 항상 잘 보고 있어요",
                )
                .await
            }
            _ => {}
        }
    }
    donate(&people["kumquat"].0, "mint", 30_000, "You earned it.").await;
    for name in names {
        let (person, _) = &people[name];
        let follow = "/api/channels/mint/follow";
        assert_eq!(person.send("PUT", follow, None, &[]).await.0, 204);
    }
    people
        .into_iter()
        .map(|(name, (person, _))| (name, person))
        .collect()
}

/// What waits for a moderator, one of them an answer.
async fn hold_some(up: &Lemonair, mint: &Api, people: &HashMap<&str, Api>) {
    let mut host = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    let asked = host.chat("mint", "what shall we fly over next?").await["event"].clone();
    set(mint, "mint", json!({ "hold_for_review": true })).await;
    host.until("the rule", kind("chat.settings")).await;
    for (name, text, answered) in [
        (
            "minsu",
            "저번처럼 나선 쪽으로 가요! 거기 색이 정말 예뻤어요",
            Some(&asked),
        ),
        ("Rind", "more palettes: https://example.org/palettes", None),
    ] {
        let token = people[name].token.as_deref();
        let mut line = Viewer::join(&up.ws(), "mint", token, None).await;
        let ask = json!({ "type": "chat", "id": text, "room": "mint", "text": text, "reply_to": answered });
        assert_eq!(line.ask(ask).await["type"], "ack");
    }
}

/// Those who only watch, for as long as the test lasts: who is silent for too long is sent away.
async fn crowd(up: &Lemonair) {
    for (room, watch) in [("mint", 23), ("hana_live", 14), ("citron", 8)] {
        for _ in 0..watch {
            let mut viewer = Viewer::join(&up.ws(), room, None, None).await;
            tokio::spawn(async move {
                while viewer.closed.is_none() {
                    viewer.receive().await;
                }
            });
        }
    }
}
