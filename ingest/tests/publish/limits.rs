//! How many may publish, how much and how long.

use std::time::Duration;

use lemonair_ingest::{Config, Reason, What};
use tokio::io::AsyncReadExt;

use crate::raw;
use crate::stage::*;
use crate::{ENDED, STARTED};

#[tokio::test]
async fn who_sends_too_much_is_told_and_the_broadcast_is_over() {
    let config = Config {
        kilobits: 100,
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let noise = "-vf noise=alls=60:allf=t -b:v 4M -minrate 4M -maxrate 4M -bufsize 1M";
    let (success, said) =
        finish(stage.publish(KEY, &format!("{} {noise} -t 20 {VIDEO}", picture()))).await;
    assert!(!success, "{said}");
    stage
        .until_told(&[STARTED, What::Ended(Reason::TooMuch)])
        .await;
}

#[tokio::test]
async fn a_broadcast_that_lasts_too_long_is_over() {
    let config = Config {
        longest: Duration::from_secs(6),
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let (success, _) = finish(stage.publish(KEY, &picture_and_tone(20))).await;
    assert!(!success);
    stage
        .until_told(&[STARTED, What::Ended(Reason::TooLong)])
        .await;
    assert_eq!(complaints(&stage.playlist()).await, "");
}

#[tokio::test]
async fn one_publisher_more_than_may_be_comes_later() {
    let config = Config {
        publishers: 0,
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let (success, said) = finish(stage.publish(KEY, &picture_and_tone(5))).await;
    assert!(!success);
    assert!(said.contains("as many publishers as it may have"), "{said}");
    assert_eq!(stage.told(), []);
}

/// A line that dropped unseen has the last place, and its publisher is back.
#[tokio::test]
async fn who_takes_over_needs_no_further_place() {
    let config = Config {
        publishers: 1,
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let (mut last, _) = raw::on_air(&stage, KEY).await;
    for _ in 0..2 {
        let (next, _) = raw::on_air(&stage, KEY).await;
        let mut said = Vec::new();
        last.read_to_end(&mut said).await.expect("read");
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("another publisher took over"), "{said}");
        last = next;
    }
    drop(last);
    stage.until_told(&[STARTED, What::Interrupted]).await;
    raw::on_air(&stage, KEY).await;
    stage
        .until_told(&[STARTED, What::Interrupted, What::Resumed, What::Interrupted])
        .await;
}

/// Those on air do not count as strangers, and a stranger who leaves makes room.
#[tokio::test]
async fn an_address_has_so_many_strangers() {
    let config = Config {
        connections_per_address: 2,
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(8));
    stage.until_told(&[STARTED]).await;
    let first = raw::greet(&stage).await.expect("a place");
    let second = raw::greet(&stage).await.expect("a place");
    assert!(raw::greet(&stage).await.is_none());
    drop(second);
    until("there is room again", || raw::greet(&stage)).await;
    drop(first);
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
}
