//! A broadcast that is pushed on to other servers: ours, and ffmpeg's, which speaks its own RTMP.

use std::process::Stdio;

use lemonair_ingest::restream::Target;
use lemonair_ingest::{Config, What};
use serde_json::Value;
use tokio::process::Command;

use crate::stage::*;
use crate::{ENDED, STARTED, check_media};

/// An ingest that pushes on.
async fn to(target: &str) -> Stage {
    let target: Target = target.parse().expect("a target");
    let config = Config {
        restream: [(ROOM.parse().expect("a room"), vec![target])].into(),
        ..Config::default()
    };
    Stage::with(config, Topic::default()).await
}

/// What the streamer is told of the target.
async fn told(stage: &Stage) -> Option<Value> {
    let health = get(&format!("{}/health/{ROOM}", stage.http))
        .await
        .text()
        .await
        .ok()?;
    assert!(!health.contains(KEY), "{health}");
    let health: Value = serde_json::from_str(&health).ok()?;
    health["restream"].get(0).cloned()
}

async fn until_state(stage: &Stage, state: &str) -> Value {
    until(state, || async {
        told(stage).await.filter(|told| told["state"] == state)
    })
    .await
}

#[tokio::test]
async fn it_arrives_whole_and_ends_with_a_goodbye() {
    let far = Stage::new().await;
    let near = to(&format!("rtmp://{}/live/{KEY}", far.address())).await;
    let encoder = near.publish(KEY, &picture_and_tone(8));
    far.until_told(&[STARTED]).await;
    let live = until_state(&near, "live").await;
    assert_eq!(live["target"], format!("rtmp://{}/live", far.address()));
    assert_eq!(finish(encoder).await, (true, String::new()));
    far.until_told(&[STARTED, ENDED]).await;
    check_media(&far, "h264,320,180\naac", 5.5..8.2).await;
}

#[tokio::test]
async fn a_target_that_is_away_is_told_and_tried_again() {
    let far = Stage::new().await;
    // Refused at first: another key, which is then made good.
    let near = to(&format!("rtmp://{}/live/{LATER_KEY}", far.address())).await;
    let encoder = near.publish(KEY, &picture_and_tone(60));
    let failed = until_state(&near, "failed").await;
    let cause = failed["cause"].as_str().expect("a cause");
    assert!(cause.contains("no such stream key"), "{cause}");
    far.topic
        .later
        .store(true, std::sync::atomic::Ordering::SeqCst);
    until_state(&near, "live").await;
    far.until_told(&[STARTED]).await;
    // The line drops with the encoder's, and both come back.
    kill(encoder).await;
    near.until_told(&[STARTED, What::Interrupted]).await;
    far.until_told(&[STARTED, ENDED]).await;
    let encoder = near.publish(KEY, &picture_and_tone(60));
    far.until_told(&[STARTED, ENDED, STARTED]).await;
    kill(encoder).await;
}

#[tokio::test]
async fn a_server_of_another_make_takes_it() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let url = format!("rtmp://127.0.0.1:{port}/app/{KEY}");
    let near = to(&url).await;
    let file = near.data.join("taken.flv");
    let mut server = Command::new("ffmpeg")
        .args([
            "-v", "error", "-nostdin", "-listen", "1", "-i", &url, "-c", "copy",
        ])
        .arg(&file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("ffmpeg");
    let encoder = near.publish(KEY, &picture_and_tone(10));
    until_state(&near, "live").await;
    assert_eq!(finish(encoder).await, (true, String::new()));
    server.wait().await.expect("ffmpeg ends");
    let file = file.to_str().expect("UTF-8");
    let show = ["-show_entries", "stream=codec_name,width,height", file];
    assert_eq!(probe_streams(&show).await, "h264,320,180\naac");
    assert_eq!(complaints(file).await, "");
}

#[tokio::test]
async fn over_tls_to_whom_we_trust() {
    let (far, certificate) = crate::secure::stage().await;
    let target: Target = far.secure_url(KEY).parse().expect("a target");
    let trusting = |authorities| Config {
        restream: [(ROOM.parse().expect("a room"), vec![target.clone()])].into(),
        authorities,
        ..Config::default()
    };
    let wary = Stage::with(trusting(None), Topic::default()).await;
    let encoder = wary.publish(KEY, &picture_and_tone(60));
    let failed = until_state(&wary, "failed").await;
    assert!(
        failed["cause"]
            .as_str()
            .is_some_and(|cause| cause.starts_with("no TLS")),
        "{failed}"
    );
    kill(encoder).await;
    assert_eq!(far.told(), []);

    let near = Stage::with(trusting(Some(certificate.chain)), Topic::default()).await;
    let encoder = near.publish(KEY, &picture_and_tone(5));
    far.until_told(&[STARTED]).await;
    assert_eq!(finish(encoder).await, (true, String::new()));
    far.until_told(&[STARTED, ENDED]).await;
}
