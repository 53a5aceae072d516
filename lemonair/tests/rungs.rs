//! The same broadcast in several sizes, in a real Chromium. Apart from other tests, since three encoders run beside it.

mod support;

use support::browser::Browser;
use support::channel::channel;
use support::player::{nothing_noticed, plays, watch_closely};
use support::{Deployment, Publisher, eventually};

/// Who chooses another picture of a broadcast sees it, and misses nothing of what is played.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_changes_between_rungs_while_it_plays() {
    let deployment =
        Deployment::new("rungs").with("LEMONAIR_LADDER", r#"["240p:313k", "120p:157k"]"#);
    let up = deployment.start("up").await;
    let (_, key) = channel(&up, "Mint", "Rungs", "Music").await;
    let publisher = Publisher::start(&up.rtmp, &key);
    // The page reads the list once, and on a busy machine it does not wait for all of them.
    eventually("all sizes are listed", async || {
        let list = reqwest::get(format!("{}/hls/mint/index.m3u8", up.http)).await;
        let list = list.ok()?.text().await.ok()?;
        (list.matches("#EXT-X-STREAM-INF").count() == 3).then_some(())
    })
    .await;
    let browser = Browser::open(1280, 800).await;
    browser.goto(&format!("{}/mint", up.http)).await;
    let video = "const v = document.querySelector('video#player');";
    browser
        .until(
            "it plays, and may be had in three sizes",
            &format!(
                "{video} return v?.currentTime > 1 && document.querySelectorAll('[data-testid=quality] option').length === 4;"
            ),
        )
        .await;
    watch_closely(&browser).await;
    for (name, width, height) in [("120p", 214, 120), ("240p", 426, 240), ("360p", 640, 360)] {
        browser
            .js(&format!(
                "const choice = document.querySelector('[data-testid=quality]');
                 choice.value = Array.from(choice.options).find((option) => option.text === '{name}').value;
                 choice.dispatchEvent(new Event('change'));"
            ))
            .await;
        browser
            .until(
                name,
                &format!("{video} return v.videoWidth === {width} && v.videoHeight === {height};"),
            )
            .await;
        plays(&browser).await;
    }
    nothing_noticed(&browser).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    publisher.stop().await;
    assert_eq!(up.stop().await, Some(0));
}
