//! Every page as a whole, in a real Chromium: that it is light, closed to strangers' scripts, without hindrances, and
//! what it looks like. With `LEMONAIR_SCREENSHOTS` set to a folder, the pictures are kept there.

mod support;

use std::path::PathBuf;

use serde_json::json;
use support::browser::Browser;
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, Publisher, eventually};

const DESKTOP: (u32, u32) = (1440, 900);
const PHONE: (u32, u32) = (390, 844);
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u{202e}dlrow \
     \u{2066}x\u{2069} wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww \u{1f34b}\u{1f1f0}\u{1f1f7} ]]> &amp; {{x}}";

const NOTHING_RAN: &str = "return document.title !== 'owned' && document.querySelectorAll('main script, main img[src=x]').length === 0;";
const FITS: &str = "return document.documentElement.scrollWidth <= innerWidth;";

async fn channel(up: &Lemonair, name: &str, title: &str, category: &str) -> (Api, String) {
    let owner = Api::sign_up(&up.http, name).await;
    let path = format!("/api/channels/{}", name.to_lowercase());
    let about = json!({ "title": title, "category": category, "description": "Every evening at eight.\nhttps://example.org/schedule" });
    let (status, answer) = owner.send("PATCH", &path, Some(about), &[]).await;
    assert_eq!(status, 200, "{answer}");
    let key = owner.post(&format!("{path}/stream-key"), json!({})).await;
    let key = key["key"].as_str().expect("a key").to_owned();
    (owner, key)
}

async fn donate(donor: &Api, room: &str, amount: i64, message: &str) {
    let key = uuid::Uuid::new_v4().to_string();
    let body = json!({ "amount": amount, "message": message });
    let path = format!("/api/channels/{room}/donations");
    let (status, answer) = donor
        .send("POST", &path, Some(body), &[("Idempotency-Key", &key)])
        .await;
    assert_eq!(status, 201, "{answer}");
}

async fn is_live(up: &Lemonair, room: &str) {
    let anybody = Api::new(&up.http);
    eventually("the channel is live", async || {
        let path = format!("/api/channels/{room}");
        (anybody.get(&path).await["live"] == true).then_some(())
    })
    .await;
}

const PLAYS: &str =
    "const v = document.querySelector('video#player'); return !!v && v.currentTime > 1;";

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

/// Pictures of a page on both screens and in both themes, each looked over by axe.
async fn look(browser: &Browser, name: &str, found: &mut Vec<String>) {
    for (screen, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
        browser.screen(size).await;
        for (theme, dark) in [("light", false), ("dark", true)] {
            browser.dark(dark).await;
            browser
                .js("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));")
                .await;
            for hindrance in browser.hindrances().await {
                found.push(format!("{name} {screen} {theme}: {hindrance}"));
            }
            if browser.js(FITS).await != true {
                found.push(format!("{name} {screen}: wider than the screen"));
            }
            if let Some(folder) = screenshots() {
                let file = folder.join(format!("{name}-{screen}-{theme}.webp"));
                std::fs::write(file, browser.picture().await).expect("keep the picture");
            }
        }
    }
    browser.screen(DESKTOP).await;
}

fn screenshots() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("LEMONAIR_SCREENSHOTS")?);
    std::fs::create_dir_all(&folder).expect("make the folder");
    Some(folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hinder_nobody() {
    let deployment = Deployment::new("looks")
        .with("LEMONAIR_CHAT_PER_SECOND", "1000")
        .with("LEMONAIR_GRACE", "60");
    let up = deployment.start("up").await;
    let mut found = Vec::new();
    let browser = Browser::open(DESKTOP.0, DESKTOP.1).await;
    browser.screen(DESKTOP).await;
    let goto = async |path: &str, ready: &str| {
        browser.goto(&format!("{}{path}", up.http)).await;
        browser.until(&format!("{path} is there"), ready).await;
    };
    goto("/", "return !!document.querySelector('.empty');").await;
    look(&browser, "home-empty", &mut found).await;
    goto("/studio", "return !!document.querySelector('.welcome');").await;
    look(&browser, "studio-welcome", &mut found).await;

    // A lively evening.
    let pictures = [
        (
            "Mint",
            "Fractals and lo-fi · 프랙탈과 로파이",
            "Music",
            "mandelbrot=size=854x480:rate=8:end_scale=0.01:end_pts=600:maxiter=1000",
        ),
        (
            "hana_live",
            "오늘도 뜨개질 같이 해요",
            "일상",
            "gradients=size=480x270:rate=10:c0=#ff9a9e:c1=#fad0c4:c2=#a18cd1:c3=#fbc2eb:n=4:speed=0.02",
        ),
        (
            "Citron",
            "Life, the cellular kind: chat picks the seed",
            "Games",
            "life=size=480x270:rate=10:mold=12:ratio=0.2:death_color=#1b4332:life_color=#ffdf1f:mold_color=#40916c",
        ),
    ];
    let mut publishers = Vec::new();
    let mut streamers = Vec::new();
    for (name, title, category, picture) in pictures {
        let (owner, key) = channel(&up, name, title, category).await;
        publishers.push(Publisher::showing(picture, &up.rtmp, &key));
        is_live(&up, &name.to_lowercase()).await;
        streamers.push(owner);
    }
    channel(&up, "pomelo", "Rust from scratch", "Coding").await;
    channel(&up, "yuzu_haru", "새벽 라디오", "음악").await;
    talk(&up, &streamers[0]).await;
    eventually("there is a thumbnail of each", async || {
        for (name, ..) in pictures {
            let url = format!("{}/thumbnails/{}.jpg", up.http, name.to_lowercase());
            if !streamers[0]
                .http
                .get(url)
                .send()
                .await
                .ok()?
                .status()
                .is_success()
            {
                return None;
            }
        }
        Some(())
    })
    .await;

    const CARDS: &str = "return document.querySelectorAll('[data-testid=live-card] img:not(.placeholder)').length > 0;";
    goto("/", CARDS).await;
    look(&browser, "home", &mut found).await;
    goto("/mint", PLAYS).await;
    browser.sign_in("Lime").await;
    look(&browser, "watch", &mut found).await;
    browser.click("[data-testid=donate-open]").await;
    browser.see("[data-testid=donate-submit]").await;
    look(&browser, "donate", &mut found).await;
    goto("/mint", PLAYS).await;
    browser
        .js("document.querySelector('[data-testid=keys-open]').click();")
        .await;
    browser.see("[data-testid=keys]").await;
    look(&browser, "keys", &mut found).await;
    goto(
        "/pomelo",
        "return document.querySelector('.player')?.dataset.state === 'offline';",
    )
    .await;
    look(&browser, "offline", &mut found).await;
    goto("/nobody", "return !!document.querySelector('.empty');").await;
    look(&browser, "missing", &mut found).await;
    goto(
        "/wallet",
        "return !!document.querySelector('[data-testid=entry]');",
    )
    .await;
    look(&browser, "wallet", &mut found).await;
    goto(
        "/account",
        "return document.querySelector('main').childElementCount > 0;",
    )
    .await;
    look(&browser, "account", &mut found).await;

    // A streamer, and an operator.
    sign_out(&browser).await;
    goto("/", CARDS).await;
    browser.sign_in("Mint").await;
    goto("/studio", PLAYS).await;
    look(&browser, "studio", &mut found).await;
    deployment
        .run(&["token", "Mint", "--role", "operator"])
        .await;
    sign_out(&browser).await;
    goto("/", CARDS).await;
    browser.sign_in("Mint").await;
    goto("/admin", "return !!document.querySelector('main table');").await;
    look(&browser, "admin", &mut found).await;

    let overlay = streamers[0].get("/api/channels/mint/overlay/key").await;
    let url = overlay["url"].as_str().expect("an address");
    let (_, rest) = url.split_once("/overlay/").expect("the overlay's address");
    goto(
        &format!("/overlay/{rest}"),
        "return !!document.querySelector('[data-testid=alert]');",
    )
    .await;
    look(&browser, "overlay", &mut found).await;
    let complaints = browser.complaints().await;
    found.extend(
        complaints
            .into_iter()
            .filter(|line| !line.contains("status of 404")),
    );
    browser.close().await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

async fn sign_out(browser: &Browser) {
    browser
        .js("document.querySelector('[data-testid=logout]').click();")
        .await;
    browser.see("[data-testid=login-open]").await;
}

/// What is said and given in Mint's room.
async fn talk(up: &Lemonair, mint: &Api) {
    let names = ["Lime", "minsu", "Rind", "kumquat", "jiwoo_"];
    let mut people = std::collections::HashMap::new();
    for name in names {
        let person = Api::sign_up(&up.http, name).await;
        person.top_up(50_000).await;
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
        ("Mint", "@Rind yes, a bit deeper than yesterday"),
        ("kumquat", "the new track is lovely"),
        ("jiwoo_", "배경 음악 제목 알려주세요"),
        ("Mint", "@jiwoo_ 제가 어제 만든 곡이에요 :juice:"),
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
        ("minsu", "@Lime 네! 다시보기로 봤어요"),
        ("Rind", "here it comes"),
        ("kumquat", "zoooom :gg:"),
        ("jiwoo_", ":heart:"),
    ];
    for (place, (name, text)) in said.into_iter().enumerate() {
        let (person, line) = people.get_mut(name).expect("somebody");
        let ack = line.chat("mint", text).await;
        assert_eq!(ack["type"], "ack", "{ack}");
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
}
