//! The whole path on real parts: publish, watch, chat, donate, read back, rebuild, replay.

mod support;

use serde_json::json;
use support::browser::Browser;
use support::player::{nothing_noticed, plays_on, watch_closely};
use support::viewer::Viewer;
use support::{Api, Deployment, Publisher, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_watch_chat_donate_read_back_rebuild_replay() {
    let deployment = Deployment::new("path");
    let lemonair = deployment.start("up").await;

    // A streamer signs up, gets a key, and goes live.
    let streamer = Api::sign_up(&lemonair.http, "Mint").await;
    let key = streamer
        .post("/api/channels/mint/stream-key", json!({}))
        .await;
    let key = key["key"].as_str().expect("a key").to_owned();
    let title = json!({ "title": "First light", "category": "Music" });
    let (status, channel) = streamer
        .send("PATCH", "/api/channels/mint", Some(title), &[])
        .await;
    assert_eq!((status, &channel["title"]), (200, &json!("First light")));
    let publisher = Publisher::start(&lemonair.rtmp, &key);
    let anybody = Api::new(&lemonair.http);
    eventually("the channel is live", async || {
        (anybody.get("/api/channels/mint").await["live"] == true).then_some(())
    })
    .await;
    let listed = anybody.get("/api/channels?live=true").await;
    assert_eq!(listed["channels"][0]["room"], "mint");
    assert_eq!(listed["channels"][0]["title"], "First light");

    // Somebody else listens on the socket.
    let mut listener = Viewer::join(&lemonair.ws(), "mint", None, None).await;

    // A viewer signs up in a real browser and sees the picture move.
    let browser = Browser::open(1280, 800).await;
    browser.goto(&format!("{}/mint", lemonair.http)).await;
    browser
        .until(
            "the picture moves",
            "const v = document.querySelector('video#player'); \
             return !!v && v.currentTime > 0.5 && v.getVideoPlaybackQuality().totalVideoFrames > 10;",
        )
        .await;
    // Low latency in a real player; what it shows is told by the playlist's dates.
    browser
        .until(
            "the picture is fresh",
            "const n = parseFloat(document.querySelector('[data-testid=latency]').textContent); \
             return n > 0 && n < 3;",
        )
        .await;
    watch_closely(&browser).await;
    plays_on(&browser, 10.0).await;
    nothing_noticed(&browser).await;
    sign_up(&browser, "lime").await;

    // The viewer chats; the listener receives it.
    browser
        .fill("[data-testid=chat-input]", "hello from the browser")
        .await;
    browser.click("[data-testid=chat-send]").await;
    browser.see("[data-testid=message][data-state=sent]").await;
    let message = listener
        .until("the message", |event| {
            event["text"] == "hello from the browser"
        })
        .await;
    assert_eq!(message["from"]["name"], "lime");

    // The viewer tops up and donates; a double click is one donation.
    browser.click("[data-testid=topup-open]").await;
    browser.fill("[data-testid=topup-amount]", "1000").await;
    browser.click("[data-testid=topup-submit]").await;
    browser
        .until(
            "the balance is there",
            "const b = document.querySelector('[data-testid=balance]'); \
             return !!b && b.textContent.replace(/[^0-9]/g, '') === '1000';",
        )
        .await;
    // A dialog that is open may cover the page.
    browser
        .js("document.querySelectorAll('dialog[open]').forEach(dialog => dialog.close());")
        .await;
    browser.click("[data-testid=donate-open]").await;
    browser.fill("[data-testid=donate-amount]", "300").await;
    browser
        .fill("[data-testid=donate-message]", "encore!")
        .await;
    browser
        .js("const s = document.querySelector('[data-testid=donate-submit]'); s.click(); s.click();")
        .await;
    browser.see("[data-testid=donate-receipt]").await;
    browser.see("[data-testid=donation]").await;
    let donation = listener
        .until("the donation", |event| event["type"] == "donation.accepted")
        .await;
    assert_eq!(
        (&donation["amount"], &donation["message"]),
        (&json!(300), &json!("encore!"))
    );
    browser.close().await;

    // Both are read back from MySQL.
    eventually("the message can be read", async || {
        let messages = anybody.get("/api/channels/mint/messages").await;
        (messages["messages"][0]["text"] == "hello from the browser").then_some(())
    })
    .await;
    let donations = anybody.get("/api/channels/mint/donations").await;
    assert_eq!(donations["donations"].as_array().map(Vec::len), Some(1));
    assert_eq!(donations["donations"][0]["id"], donation["id"]);
    let rank = anybody.get("/api/channels/mint/donations/rank").await;
    assert_eq!(
        (&rank["rank"][0]["name"], &rank["rank"][0]["total"]),
        (&json!("lime"), &json!(300))
    );
    assert_eq!(streamer.get("/api/wallet").await["earnings"], 300);

    // A thumbnail is taken.
    eventually("there is a thumbnail", async || {
        let url = format!("{}/thumbnails/mint.jpg", lemonair.http);
        let answer = anybody.http.get(url).send().await.expect("an answer");
        let bytes = answer.bytes().await.expect("a body");
        bytes.starts_with(&[0xff, 0xd8]).then_some(())
    })
    .await;

    // The line drops; after the grace time the broadcast is over, once.
    publisher.drop_line().await;
    listener
        .until("the interruption", |event| {
            event["type"] == "stream.interrupted"
        })
        .await;
    listener
        .until("the end", |event| event["type"] == "stream.ended")
        .await;
    eventually("the channel is off air", async || {
        (anybody.get("/api/channels/mint").await["live"] == false).then_some(())
    })
    .await;
    let life = deployment.life().await;
    let kinds: Vec<&str> = life
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        ["stream.started", "stream.interrupted", "stream.ended"]
    );

    eventually("the recording is whole", async || {
        let streams = anybody.get("/api/channels/mint/streams").await;
        (streams["streams"][0]["recording"] == "ready").then_some(())
    })
    .await;

    // The read models are dropped, and come back equal.
    let before = read_models(&anybody, &streamer).await;
    let (ws, http) = (lemonair.ws(), lemonair.http.clone());
    assert_eq!(lemonair.stop().await, Some(0));
    assert_eq!(listener.until_closed().await, Some(4503));
    deployment
        .sql(&format!("DROP DATABASE {}", deployment.database()))
        .await;
    deployment.run(&["rebuild", "all"]).await;
    let lemonair = deployment.start("up").await;
    assert_ne!(
        (ws, &http),
        (lemonair.ws(), &lemonair.http),
        "another port, the same data"
    );
    let anybody = Api::new(&lemonair.http);
    let streamer = Api {
        token: streamer.token,
        ..Api::new(&lemonair.http)
    };
    let after = read_models(&anybody, &streamer).await;
    assert_eq!(before, after);

    // The listener comes back with its cursor and has missed nothing, and sees nothing twice.
    let back = Viewer::join(&lemonair.ws(), "mint", None, Some(&listener.cursor)).await;
    assert!(back.recovered);
    assert!(back.seen.is_empty(), "{:?}", back.seen);

    // The room is replayed: every event once and in order.
    let topics = [
        "lemonair.chat",
        "lemonair.donations",
        "lemonair.streams",
        "--room",
        "mint",
    ];
    let replayed = deployment.replay(&topics).await;
    let kinds: Vec<&str> = replayed
        .iter()
        .filter_map(|event| event["type"].as_str())
        .filter(|kind| !kind.starts_with("recording."))
        .collect();
    assert_eq!(
        kinds,
        [
            "stream.started",
            "chat.message",
            "donation.accepted",
            "stream.interrupted",
            "stream.ended"
        ]
    );
    assert_eq!(replayed, deployment.replay(&topics).await, "the same again");
    assert_eq!(lemonair.stop().await, Some(0));
}

/// Everything that the read models say of the room.
async fn read_models(anybody: &Api, streamer: &Api) -> Vec<serde_json::Value> {
    let mut said = Vec::new();
    for path in [
        "",
        "/messages",
        "/donations",
        "/donations/rank",
        "/streams",
        "/stats",
    ] {
        let mut answer = anybody.get(&format!("/api/channels/mint{path}")).await;
        // Who watches at the moment is no fact, and in no read model.
        answer.as_object_mut().expect("an object").remove("viewers");
        said.push(answer);
    }
    said.push(streamer.get("/api/wallet").await);
    said.push(streamer.get("/api/wallet/entries").await);
    said
}

async fn sign_up(browser: &Browser, name: &str) {
    browser.click("[data-testid=signup-open]").await;
    browser.fill("#signup-name", name).await;
    browser
        .fill("#signup-password", "correct horse battery")
        .await;
    browser.click("#signup-submit").await;
    browser.see("[data-testid=balance]").await;
}
