//! What viewers do on their pages, in a real Chromium: watching, and talking.

mod support;

use std::time::Duration;

use serde_json::json;
use support::browser::{Browser, PHONE};
use support::person::{kind, set};
use support::player::plays;
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, Publisher, eventually};

const DESKTOP: (u32, u32) = (1280, 800);

async fn streamer(up: &Lemonair) -> (Api, String) {
    let streamer = Api::sign_up(&up.http, "Mint").await;
    let key = streamer
        .post("/api/channels/mint/stream-key", json!({}))
        .await;
    let key = key["key"].as_str().expect("a key").to_owned();
    (streamer, key)
}

async fn open(up: &Lemonair, screen: (u32, u32), path: &str) -> Browser {
    let browser = Browser::open(screen.0, screen.1).await;
    browser.screen(screen).await;
    browser.goto(&format!("{}{path}", up.http)).await;
    browser
}

async fn press(browser: &Browser, keys: &str) {
    browser.js("document.activeElement?.blur();").await;
    let page = browser.see("body").await;
    page.send_keys(keys).await.expect("press");
}

async fn say(browser: &Browser, text: &str) {
    browser.fill("[data-testid=chat-input]", text).await;
    browser.click("[data-testid=chat-send]").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interruption_is_told_in_words_and_ends_without_a_reload() {
    let deployment = Deployment::new("interrupt").with("LEMONAIR_GRACE", "30");
    let up = deployment.start("up").await;
    let (_, key) = streamer(&up).await;
    let browser = open(&up, PHONE, "/mint").await;
    browser
        .until(
            "the page says that nobody is on air",
            "return document.querySelector('.player')?.dataset.state === 'offline';",
        )
        .await;
    browser.js("window.same = true;").await;

    // It begins by itself.
    let publisher = Publisher::start(&up.rtmp, &key);
    plays(&browser).await;
    publisher.drop_line().await;
    browser
        .see("[data-testid=player-state][data-state=interrupted]")
        .await;
    let told = browser.text("[data-testid=player-state]").await;
    assert_eq!(told, "The streamer’s line dropped. Back soon.");

    let publisher = Publisher::start(&up.rtmp, &key);
    browser
        .until(
            "the broadcast goes on",
            "return document.querySelector('[data-testid=player-state]').dataset.state === 'live';",
        )
        .await;
    plays(&browser).await;
    publisher.stop().await;
    browser
        .see("[data-testid=player-state][data-state=ended]")
        .await;
    assert_eq!(browser.js("return window.same;").await, true, "a reload");
    browser.close().await;
}

/// Holds back what the page would hear, from `window.held = []` until `window.hear()`: then it comes in one frame, as
/// after a line that was down.
const DEAF: &str = r#"
window.held = null;
window.hear = () => {
  const events = window.held.flatMap(({ frame }) => frame?.events ?? []);
  const { frame, act } = window.held.findLast(({ frame }) => frame?.type === 'events');
  const asked = window.held.filter(({ frame }) => !frame);
  window.held = null;
  act({ data: JSON.stringify({ ...frame, events }) });
  for (const { act } of asked) act();
};
window.WebSocket = class extends window.WebSocket {
  addEventListener(type, act) {
    const hear = (event) => (window.held ? window.held.push({ frame: JSON.parse(event.data), act }) : act(event));
    super.addEventListener(type, type === 'message' ? hear : act);
  }
};
const send = window.fetch;
window.fetch = async (path, options) => {
  if (window.held && path === '/api/channels/mint') await new Promise((act) => window.held.push({ act }));
  return send(path, options);
};"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_broadcast_that_is_heard_of_late_is_played() {
    let deployment = Deployment::new("late");
    let up = deployment.start("up").await;
    let (mint, key) = streamer(&up).await;
    let publisher = Publisher::start(&up.rtmp, &key);
    let browser = Browser::open(DESKTOP.0, DESKTOP.1).await;
    let source = json!({ "source": DEAF });
    browser
        .command("Page.addScriptToEvaluateOnNewDocument", source)
        .await;
    browser.goto(&format!("{}/mint", up.http)).await;
    plays(&browser).await;
    let live = async |wanted: bool| {
        eventually("it is known", async || {
            let channel = mint.get("/api/channels/mint").await;
            (channel["live"] == wanted).then_some(())
        })
        .await;
    };

    // It ends, its picture comes to its end, and another begins; the page hears of all that at once.
    browser
        .js("window.held = []; document.querySelector('video#player').addEventListener('ended', () => (window.ended = true));")
        .await;
    publisher.stop().await;
    live(false).await;
    browser
        .until("it comes to its end", "return !!window.ended;")
        .await;
    let publisher = Publisher::start(&up.rtmp, &key);
    live(true).await;
    browser.js("window.hear();").await;
    browser
        .until(
            "the other one plays",
            "const v = document.querySelector('video#player'); \
             return v.currentTime > 0.5 && v.readyState > 2 && !v.paused \
             && document.querySelector('[data-testid=player-state]').dataset.state === 'live';",
        )
        .await;
    plays(&browser).await;
    publisher.stop().await;
    browser
        .see("[data-testid=player-state][data-state=ended]")
        .await;
    browser.close().await;
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_player_is_driven_by_keys() {
    let deployment = Deployment::new("keys");
    let up = deployment.start("up").await;
    let (_, key) = streamer(&up).await;
    let _publisher = Publisher::start(&up.rtmp, &key);
    let browser = open(&up, DESKTOP, "/mint").await;
    plays(&browser).await;

    // Without sound at first, which the page says; the viewer's choice outlives a reload.
    browser.see("[data-testid=unmute]").await;
    press(&browser, "m").await;
    for _ in 0..4 {
        press(&browser, "\u{e015}").await;
    }
    let volume = "const { muted, volume } = document.querySelector('video#player'); return muted ? 0 : Math.round(volume * 100);";
    assert_eq!(browser.js(volume).await, 80);
    browser.goto(&format!("{}/mint", up.http)).await;
    plays(&browser).await;
    assert_eq!(browser.js(volume).await, 80);

    press(&browser, "?").await;
    browser.see("[data-testid=keys]").await;
    press(&browser, "k").await;
    let paused = "return document.querySelector('video#player').paused;";
    assert_eq!(browser.js(paused).await, false, "a dialog has the keys");
    let dialog = browser.see("dialog").await;
    dialog.send_keys("\u{e00c}").await.expect("press Escape");

    press(&browser, "t").await;
    let theatre = "return document.documentElement.dataset.theatre;";
    assert_eq!(browser.js(theatre).await, "on");
    press(&browser, "t").await;
    assert_eq!(browser.js(theatre).await, "off");

    // Back into what was, and to the edge again.
    press(&browser, "k").await;
    assert_eq!(browser.js(paused).await, true);
    assert_eq!(browser.text("[data-testid=live-edge]").await, "Go to live");
    browser.click("[data-testid=live-edge]").await;
    browser
        .until(
            "there is enough to go back into",
            "return !document.querySelector('[data-testid=seek]').hidden;",
        )
        .await;
    let behind = "const v = document.querySelector('video#player'); \
                  return v.seekable.end(v.seekable.length - 1) - v.currentTime;";
    let seconds = async || browser.js(behind).await.as_f64().expect("a number");
    for _ in 0..3 {
        press(&browser, "\u{e012}").await;
    }
    assert!(seconds().await > 12.0, "{}", seconds().await);
    plays(&browser).await;
    press(&browser, "0").await;
    assert!(seconds().await < 8.0, "{}", seconds().await);
    plays(&browser).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_talk_to_each_other() {
    let deployment = Deployment::new("talk").with("LEMONAIR_CHAT_PER_SECOND", "1000");
    let up = deployment.start("up").await;
    let (mint, _) = streamer(&up).await;
    let lime = Api::sign_up(&up.http, "Lime").await;
    Api::sign_up(&up.http, "Yuzu").await;
    let mut talker = Viewer::join(&up.ws(), "mint", lime.token.as_deref(), None).await;
    let mut host = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    talker.chat("mint", "who is there? :lemon:").await;
    let browser = open(&up, DESKTOP, "/mint").await;
    browser.sign_in("Yuzu").await;
    browser.see(".message .emote").await;

    // A name is completed, and whoever is meant is shown so.
    browser.fill("[data-testid=chat-input]", "me, @li").await;
    browser.see("#completer [role=option]").await;
    let input = browser.see("[data-testid=chat-input]").await;
    input.send_keys("\u{e007}").await.expect("press Enter");
    input.send_keys(":lo").await.expect("type");
    input
        .send_keys("\u{e007}\u{e007}")
        .await
        .expect("press Enter twice");
    let said = talker
        .until("the answer", |event| event["from"]["name"] == "Yuzu")
        .await;
    assert_eq!(said["text"], "me, @Lime :love:");
    talker.chat("mint", "hello @yuzu").await;
    browser.see(".message.for-me .mention.mine").await;
    browser
        .js("document.querySelector('.message.for-me [data-do=answer]').click();")
        .await;
    let answering = browser.text("[data-testid=answering]").await;
    assert_eq!(answering, "Replying to Lime\nhello @yuzu");
    browser.click("[data-testid=answer-cancel]").await;
    let none = "return document.querySelector('[data-testid=answering]').hidden;";
    assert_eq!(browser.js(none).await, true);

    // Whoever reads what was is not moved; what is new is counted, and marked.
    for n in 0..60 {
        let mut lines = format!("line {n}");
        lines.push_str(&" and so on".repeat(n % 7));
        host.chat("mint", &lines).await;
    }
    browser
        .until(
            "they are there",
            "return [...document.querySelectorAll('.message')].some(row => row.textContent.includes('line 59'));",
        )
        .await;
    browser
        .js("document.querySelector('.scroller').scrollTop = 200;")
        .await;
    browser.see("[data-testid=unread]").await;
    for n in 0..7 {
        host.chat("mint", &format!("news {n}")).await;
    }
    browser
        .until(
            "seven are counted",
            "return document.querySelector('[data-testid=unread]').textContent.startsWith('7 new');",
        )
        .await;
    assert_eq!(
        browser
            .js("return document.querySelector('.scroller').scrollTop;")
            .await,
        200
    );
    browser.click("[data-testid=unread]").await;
    browser
        .until(
            "the line stands before what is new",
            "return document.querySelector('[data-testid=new-line]')?.nextElementSibling.textContent.includes('news 0');",
        )
        .await;

    // The rules are told before somebody runs into them, and count down.
    let slow = Some(json!({ "slow_mode_ms": 30_000 }));
    let path = "/api/channels/mint/chat-settings";
    let (status, answer) = mint.send("PATCH", path, slow, &[]).await;
    assert_eq!(status, 200, "{answer}");
    browser
        .until(
            "slow mode is told",
            "return document.querySelector('.composer-note').textContent.includes('Slow mode');",
        )
        .await;
    say(&browser, "one").await;
    browser
        .until(
            "it counts down",
            "const note = document.querySelector('.composer-note').textContent; \
             return note.startsWith('You may write again in') && document.querySelector('[data-testid=chat-send]').disabled;",
        )
        .await;
    browser.close().await;
}

/// Presses keys where the focus is.
async fn keys(browser: &Browser, keys: &str) {
    let active = browser.page.active_element().await;
    let active = active.expect("something has the focus");
    active.send_keys(keys).await.expect("press");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_quotes_and_leads_to_what_it_answers() {
    const UP: &str = "\u{e013}";
    let deployment = Deployment::new("answers")
        .with("LEMONAIR_CHAT_PER_SECOND", "1000")
        .with("LEMONAIR_CHAT_BURST", "1000");
    let up = deployment.start("up").await;
    let (mint, _) = streamer(&up).await;
    let yuzu = Api::sign_up(&up.http, "Yuzu").await;
    let mut host = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    let mut before = Viewer::join(&up.ws(), "mint", yuzu.token.as_deref(), None).await;
    let own = before.chat("mint", "I said so").await["event"].clone();
    let old = host.chat("mint", "long ago").await["event"].clone();
    let mut lines = Vec::new();
    for n in 0..60 {
        lines.push(host.chat("mint", &format!("line {n}")).await["event"].clone());
    }
    let asked = host.chat("mint", "who <b>likes</b> tea?").await["event"].clone();
    let browser = open(&up, DESKTOP, "/mint").await;
    browser.sign_in("Yuzu").await;
    let last = "const row = [...document.querySelectorAll('.message')].at(-1);";
    let reads = async |what: &str, script: String| browser.until(what, &script).await;
    let ends_with = async |text: &str| {
        let script = format!(
            "{last} return row?.querySelector('.text').textContent === {};",
            json!(text)
        );
        browser
            .until(&format!("{text:?} comes last"), &script)
            .await;
    };
    ends_with("who <b>likes</b> tea?").await;

    // By the pointer, and given up by Escape.
    let none = "return document.querySelector('[data-testid=answering]').hidden;";
    let click = format!("{last} row.querySelector('[data-do=answer]').click();");
    browser.js(&click).await;
    let answering = browser.text("[data-testid=answering]").await;
    assert_eq!(answering, "Replying to Mint\nwho <b>likes</b> tea?");
    keys(&browser, "\u{e00c}").await;
    assert_eq!(browser.js(none).await, true);

    // By keyboard: from the list up to the last message, and one further, and back.
    browser
        .js("document.querySelector('.scroller').focus();")
        .await;
    for (pressed, label) in [
        (UP, "Reply to Mint: who <b>likes</b> tea?"),
        (UP, "Reply to Mint: line 59"),
        ("\u{e015}", "Reply to Mint: who <b>likes</b> tea?"),
    ] {
        keys(&browser, pressed).await;
        let focused = browser
            .js("return document.activeElement.getAttribute('aria-label');")
            .await;
        assert_eq!(focused, label);
    }
    keys(&browser, "\u{e007}").await;
    keys(&browser, "I do\u{e007}").await;
    let said = host.until("the answer", |event| event["text"] == "I do");
    let said = said.await;
    assert_eq!(said["reply_to"], asked);
    assert_eq!(browser.js(none).await, true, "once is enough");
    let quotes = "row.querySelector('.reply-line')?.innerText.replace(/\\s+/g, ' ')";
    reads(
        "it quotes what it answers",
        format!("{last} return row.dataset.state === 'sent' && {quotes} === 'Mint who <b>likes</b> tea?';"),
    )
    .await;

    // Whose message is answered is told so, and counted where they read what was.
    let answer = |text: &str, to: &serde_json::Value| json!({ "type": "chat", "id": text, "room": "mint", "text": text, "reply_to": to });
    host.ask(answer("so do I", &said["id"])).await;
    ends_with("so do I").await;
    browser.see(".message.for-me .reply-line").await;
    host.ask(answer("this one", &lines[20])).await;
    ends_with("this one").await;
    browser
        .js("new MutationObserver((list) => { window.lit ??= list.find(({ target }) => target.matches('.found'))?.target.dataset.id; }) \
             .observe(document.querySelector('.scroller'), { subtree: true, attributeFilter: ['class'] });")
        .await;
    browser
        .js(&format!("{last} row.querySelector('.reply-line').click();"))
        .await;
    reads(
        "it leads to the message",
        format!(
            "const [own, list] = [document.activeElement, document.querySelector('.scroller')].map((element) => element.getBoundingClientRect()); \
             return document.activeElement.dataset.id === {} && window.lit === {0} && own.top >= list.top && own.bottom <= list.bottom;",
            lines[20]
        ),
    )
    .await;
    browser.see("[data-testid=unread]").await;
    host.chat("mint", "by the way").await;
    host.ask(answer("you there?", &said["id"])).await;
    reads(
        "both are counted, and the one",
        "return document.querySelector('[data-testid=unread]').innerText.replace(/\\s+/g, ' ').startsWith('2 new messages') \
         && document.querySelector('.pill-mine')?.textContent === '1 for you';"
            .to_owned(),
    )
    .await;
    browser.click("[data-testid=unread]").await;

    // What the page does not have is looked for when it is wanted.
    host.ask(answer("do you remember?", &old)).await;
    ends_with("do you remember?").await;
    assert_eq!(
        browser.js(&format!("{last} return {quotes};")).await,
        "an earlier message"
    );
    browser
        .js(&format!("{last} row.querySelector('.reply-line').click();"))
        .await;
    reads(
        "it is shown",
        format!("{last} return {quotes} === 'Mint long ago';"),
    )
    .await;
    // Only then is it known that one was meant.
    host.ask(answer("were you right?", &own)).await;
    ends_with("were you right?").await;
    let meant = format!("{last} return row.matches('.for-me');");
    assert_eq!(browser.js(&meant).await, false);
    browser
        .js(&format!("{last} row.querySelector('.reply-line').click();"))
        .await;
    browser.until("it is meant for one", &meant).await;

    // Own words that wait for a moderator quote too.
    set(&mint, "mint", json!({ "hold_for_review": true })).await;
    host.until("the rule", |event| event["type"] == "chat.settings")
        .await;
    browser.js(&click).await;
    say(&browser, "may I?").await;
    reads(
        "it waits, and says for what",
        format!(
            "{last} return row.dataset.state === 'held' && {quotes} === 'Mint were you right?';"
        ),
    )
    .await;

    // What is taken away is so wherever it was quoted, and is not answered any more.
    browser
        .js("[...document.querySelectorAll('.message')].find((row) => row.querySelector('.text').textContent.startsWith('who')) \
             .querySelector('[data-do=answer]').click();")
        .await;
    browser.see("[data-testid=answering]").await;
    let path = format!(
        "/api/channels/mint/messages/{}",
        asked.as_str().expect("an id")
    );
    let (status, answer) = mint.send("DELETE", &path, None, &[]).await;
    assert_eq!(status, 204, "{answer}");
    let gone = "const lines = [...document.querySelectorAll('.reply-line')].map((line) => line.innerText); \
         return lines.includes('message removed') && document.querySelector('[data-testid=answering]').hidden \
           && !document.body.innerText.includes('tea?');";
    browser.until("nobody reads it any more", gone).await;
    browser.goto(&format!("{}/mint", up.http)).await;
    ends_with("may I?").await;
    browser.until("a reload changes nothing", gone).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_sent_again_or_let_go() {
    let deployment = Deployment::new("refused").with("LEMONAIR_CHAT_PER_SECOND", "1000");
    let up = deployment.start("up").await;
    let (mint, _) = streamer(&up).await;
    Api::sign_up(&up.http, "Yuzu").await;
    let mut host = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    let browser = open(&up, PHONE, "/mint").await;
    browser.sign_in("Yuzu").await;
    set(&mint, "mint", json!({ "emote_only": true })).await;
    host.until("the rule", kind("chat.settings")).await;
    for text in ["first words", "second words"] {
        say(&browser, text).await;
        let failed = format!(
            "const row = [...document.querySelectorAll('.message')].at(-1); \
             return row?.dataset.state === 'failed' && row.querySelector('.text').textContent === '{text}' \
               && row.querySelector('.failure').textContent.startsWith('Only emotes');"
        );
        browser.until("it says why", &failed).await;
    }

    set(&mint, "mint", json!({ "emote_only": false })).await;
    host.until_count("the rule's end", "chat.settings", 2).await;

    // A reload neither forgets them nor sends what may have been given up.
    browser.goto(&format!("{}/mint", up.http)).await;
    browser
        .until(
            "both are there, and were not sent",
            "return document.querySelectorAll('.message[data-state=failed]').length === 2;",
        )
        .await;
    browser
        .js("document.querySelector('.message [data-testid=retry]').click();")
        .await;
    let sent = host
        .until("it", |event| event["type"] == "chat.message")
        .await;
    assert_eq!(sent["text"], "first words");
    browser
        .until(
            "it stands among the others",
            "return !!document.querySelector('.message[data-state=sent] [data-do=answer]');",
        )
        .await;
    browser
        .js("document.querySelector('.message[data-state=failed] .failure button:last-child').click();")
        .await;
    browser
        .until(
            "the other is gone",
            "return document.querySelectorAll('.message').length === 1;",
        )
        .await;
    host.chat("mint", "and so on").await;
    browser.goto(&format!("{}/mint", up.http)).await;
    browser
        .until(
            "it stays so",
            "return [...document.querySelectorAll('.message .text')].map((text) => text.textContent).join() === 'first words,and so on';",
        )
        .await;
    host.until("the last", |event| event["text"] == "and so on")
        .await;
    assert_eq!(host.texts(), ["first words", "and so on"]);
    browser.close().await;
}

/// An address that stays the same over restarts.
fn address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chat_loses_and_repeats_nothing_when_its_line_does() {
    let deployment = Deployment::new("line").with("LEMONAIR_HTTP", &address());
    let mut up = deployment.start("up").await;
    let (mint, _) = streamer(&up).await;
    Api::sign_up(&up.http, "Yuzu").await;
    let browser = open(&up, PHONE, "/mint").await;
    browser.sign_in("Yuzu").await;
    let shows = async |wanted: &[&str]| {
        let list = json!(wanted).to_string();
        let script = format!(
            "return JSON.stringify([...document.querySelectorAll('[data-testid=message] .text')].map(text => text.textContent)) === JSON.stringify({list});"
        );
        browser.until(&format!("the chat is {list}"), &script).await;
    };
    let mut host = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    let before = host.chat("mint", "before").await["event"].clone();
    shows(&["before"]).await;

    // The server dies. What is written meanwhile waits, and the page says why.
    up.kill().await;
    browser.see(".chat-banner").await;
    browser
        .js("document.querySelector('[data-do=answer]').click();")
        .await;
    say(&browser, "into the dark").await;
    browser
        .see("[data-testid=message][data-state=pending] .reply-line.known")
        .await;
    let up = deployment.start("up").await;
    let mut host = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    let sent = host.until("it is sent by itself", |event| {
        event["text"] == "into the dark"
    });
    assert_eq!(sent.await["reply_to"], before);
    host.chat("mint", "after").await;
    shows(&["before", "into the dark", "after"]).await;

    // A reload goes on where the page was.
    browser.goto("about:blank").await;
    host.chat("mint", "meanwhile").await;
    browser.goto(&format!("{}/mint", up.http)).await;
    shows(&["before", "into the dark", "after", "meanwhile"]).await;
    let quoted = browser.text(".reply-line.known").await;
    assert_eq!(quoted, "Mint\nbefore");

    // The line is there and carries nothing, as after a tunnel or a night's sleep.
    up.signal("STOP").await;
    browser
        .js("document.dispatchEvent(new Event('visibilitychange'));")
        .await;
    say(&browser, "from the tunnel").await;
    browser.see(".chat-banner").await;
    up.signal("CONT").await;
    host.until("it comes through", |event| {
        event["text"] == "from the tunnel"
    })
    .await;
    host.chat("mint", "outside").await;
    shows(&[
        "before",
        "into the dark",
        "after",
        "meanwhile",
        "from the tunnel",
        "outside",
    ])
    .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_shows_the_picture_above_the_chat() {
    let deployment = Deployment::new("phone");
    let up = deployment.start("up").await;
    streamer(&up).await;
    Api::sign_up(&up.http, "Yuzu").await;
    let browser = open(&up, PHONE, "/mint").await;
    browser.sign_in("Yuzu").await;
    let layout = "const box = (css) => document.querySelector(css).getBoundingClientRect(); \
        const picture = box('.player'); const chat = box('.chat'); const input = box('[data-testid=chat-input]'); \
        return picture.width === innerWidth && picture.bottom <= chat.top && chat.height > 150 \
          && input.bottom <= innerHeight && document.documentElement.scrollWidth === innerWidth;";
    assert_eq!(browser.js(layout).await, true, "upright");
    browser.screen((844, 390)).await;
    let beside = "const box = (css) => document.querySelector(css).getBoundingClientRect(); \
        return box('.player').right <= box('.panel').left + 1 && box('[data-testid=chat-input]').bottom <= innerHeight;";
    browser
        .until("on its side they stand side by side", beside)
        .await;
    browser.close().await;
}

/// Accounts that speak at once.
const SPEAKERS: usize = 4;

/// Says so many numbered messages, so many a second.
async fn torrent(up: &Lemonair, from: usize, count: usize, per_second: u64) {
    let speakers = (0..SPEAKERS).map(async |speaker| {
        let name = format!("torrent{speaker}");
        let mut api = Api::new(&up.http);
        let body = json!({ "name": name, "password": "correct horse battery" });
        let (status, session) = match from {
            0 => api.send("POST", "/api/accounts", Some(body), &[]).await,
            _ => api.send("POST", "/api/sessions", Some(body), &[]).await,
        };
        assert!(status == 201 || status == 200, "{session}");
        let token = session["tokens"]["access_token"].as_str().expect("a token");
        api.token = Some(token.to_owned());
        let mut line = Viewer::join(&up.ws(), "mint", api.token.as_deref(), None).await;
        let pace = Duration::from_micros(1_000_000 * SPEAKERS as u64 / per_second);
        let mut ticks = tokio::time::interval(pace);
        for n in (from..from + count).skip(speaker).step_by(SPEAKERS) {
            ticks.tick().await;
            let text =
                format!("message {n} :lemon: @yuzu https://example.org/{n} and some more words");
            let ack = line.chat("mint", &text).await;
            assert_eq!(ack["type"], "ack", "{ack}");
        }
    });
    futures::future::join_all(speakers).await;
}

/// The page comes back with a place that nobody knows, and the first two readings of the past fail.
const LOST: &str = r#"
const key = 'lemonair.room.mint';
const kept = JSON.parse(sessionStorage.getItem(key));
sessionStorage.setItem(key, JSON.stringify({ ...kept, cursor: 'nonsense' }));
const send = window.fetch;
window.cut = 0;
window.fetch = (path, options) => {
  if (window.cut === 2 || !String(path).includes('/messages?')) return send(path, options);
  window.cut += 1;
  return Promise.reject(new TypeError('cut'));
};"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_of_messages_costs_what_the_screen_can_show() {
    const PER_SECOND: u64 = 200;
    #[expect(
        clippy::disallowed_methods,
        reason = "how long to look, for a person who looks at the figures"
    )]
    let seconds =
        std::env::var("LEMONAIR_TORRENT_SECONDS").map_or(8, |text| text.parse().expect("a number"));
    let count = usize::try_from(PER_SECOND * seconds).expect("a count");
    let deployment = Deployment::new("torrent")
        .with("LEMONAIR_CHAT_PER_SECOND", "1000")
        .with("LEMONAIR_CHAT_BURST", "1000");
    let up = deployment.start("up").await;
    streamer(&up).await;
    let browser = open(&up, DESKTOP, "/mint").await;
    browser.see(".scroller").await;
    browser
        .js("window.long = []; new PerformanceObserver(list => window.long.push(...list.getEntries().map(e => e.duration))) \
             .observe({ type: 'longtask' }); window.most = 0; \
             setInterval(() => { window.most = Math.max(window.most, document.querySelectorAll('*').length); }, 100);")
        .await;
    browser.command("Performance.enable", json!({})).await;
    let figures = async || -> [f64; 4] {
        browser
            .command("HeapProfiler.collectGarbage", json!({}))
            .await;
        let metrics = browser.command("Performance.getMetrics", json!({})).await;
        let metrics = metrics["metrics"].as_array().expect("a list").clone();
        [
            "JSHeapUsedSize",
            "ScriptDuration",
            "RecalcStyleDuration",
            "LayoutDuration",
        ]
        .map(|name| {
            let figure = metrics.iter().find(|metric| metric["name"] == name);
            figure.expect("a figure")["value"]
                .as_f64()
                .expect("a number")
        })
    };
    let before = figures().await;
    torrent(&up, 0, count, PER_SECOND).await;
    let arrived = format!(
        "const shown = new Set([...document.querySelectorAll('.message .text')].map(text => Number(text.textContent.split(' ')[1]))); \
         return [1, 2, 3, 4].every(back => shown.has({count} - back));"
    );
    browser.until("the last ones are there", &arrived).await;
    let long = browser
        .js("return { count: window.long.length, sum: Math.round(window.long.reduce((a, b) => a + b, 0)), longest: Math.round(Math.max(0, ...window.long)), most: window.most };")
        .await;
    let after = figures().await;
    let [_, script, style, layout] = [0, 1, 2, 3].map(|figure| after[figure] - before[figure]);
    let [heap_before, heap_after] = [before[0], after[0]].map(|bytes| bytes / 1_048_576.0);
    eprintln!(
        "{count} messages, {PER_SECOND}/s: long tasks and most elements {long}; seconds of script {script:.1}, style {style:.1}, \
         layout {layout:.1}; heap {heap_before:.1} MiB before, {heap_after:.1} after"
    );
    assert!(long["most"].as_u64().expect("a count") < 12_000, "{long}");
    // The newest stand there: of each speaker the last ones, none missing and none twice.
    let shown = browser
        .js("return [...document.querySelectorAll('.message .text')].map(text => Number(text.textContent.split(' ')[1]));")
        .await;
    let shown: Vec<usize> = serde_json::from_value(shown).expect("numbers");
    assert!((300..=400).contains(&shown.len()), "{}", shown.len());
    for speaker in 0..SPEAKERS {
        let of_one: Vec<usize> = shown
            .iter()
            .copied()
            .filter(|n| n % SPEAKERS == speaker)
            .collect();
        let last: Vec<usize> = (0..count).filter(|n| n % SPEAKERS == speaker).collect();
        assert!(last.ends_with(&of_one), "speaker {speaker}: {of_one:?}");
    }

    // Whoever has scrolled up is told of each.
    browser
        .js("document.querySelector('.scroller').scrollTop = 100;")
        .await;
    browser.see("[data-testid=unread]").await;
    torrent(&up, count, 600, PER_SECOND).await;
    browser
        .until(
            "all are counted",
            "return document.querySelector('[data-testid=unread]').textContent.replace(/[^0-9]/g, '') === '600';",
        )
        .await;

    // Whose place is not found any more gets a longer past, though it cannot be read at once.
    eventually("the read model has all", async || {
        let path = "/api/channels/mint/messages?limit=100";
        let newest = Api::new(&up.http).get(path).await.to_string();
        (1..=SPEAKERS)
            .all(|back| newest.contains(&format!("message {} ", count + 600 - back)))
            .then_some(())
    })
    .await;
    browser.goto("about:blank").await;
    let source = json!({ "source": LOST });
    browser
        .command("Page.addScriptToEvaluateOnNewDocument", source)
        .await;
    browser.goto(&format!("{}/mint", up.http)).await;
    let past = format!(
        "const shown = [...document.querySelectorAll('.message .text')].map(text => Number(text.textContent.split(' ')[1])); \
         return window.cut === 2 && shown.length === 100 && new Set(shown).size === 100 && shown.includes({});",
        count + 600 - 1
    );
    browser.until("the past is there", &past).await;
    browser.close().await;
}
