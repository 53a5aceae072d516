//! Playlists that tell of each part as it comes, and who waits for them.

use std::collections::HashMap;
use std::time::Duration;

use lemonair_ingest::Config;
use reqwest::StatusCode;

use crate::conformance::{Playlist, Segment};
use crate::stage::*;

async fn read(url: &str) -> Playlist {
    let response = get(url).await;
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    let text = response.text().await.expect("a playlist");
    Playlist::check(&text).unwrap_or_else(|rule| panic!("{rule}:\n{text}"))
}

async fn file(url: &str) -> Vec<u8> {
    let response = get(url).await;
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    response.bytes().await.expect("a body").into()
}

/// A player asks for each part before it is there, and so does not miss one.
#[tokio::test]
async fn parts_are_had_as_they_come() {
    let stage = Stage::new().await;
    let encoder = stage.publish(KEY, &picture_and_tone(7));
    let media = until("a playlist", || stage.media()).await;
    let beside = |name: &str| stage.playlist().replace("index.m3u8", name);

    let mut playlist = read(&media).await;
    let mut hinted = Vec::new();
    let mut seen = HashMap::new();
    while let Some(hint) = &playlist.hint {
        let (url, part) = (beside(hint), playlist.parts.len());
        hinted.push((hint.clone(), tokio::spawn(async move { get(&url).await })));
        let ask = format!("{media}?_HLS_msn={}&_HLS_part={part}", playlist.next());
        let next = read(&ask).await;
        let there = next.ended
            || next.next() > playlist.next()
            || next.next() == playlist.next() && next.parts.len() > part;
        assert!(there, "{playlist:?}\n{next:?}");
        next.check_after(&playlist)
            .unwrap_or_else(|rule| panic!("{rule}: {playlist:?}\n{next:?}"));
        let whole = next
            .segments
            .iter()
            .filter(|segment| !segment.parts.is_empty());
        seen.extend(whole.map(|segment| (segment.uri.clone(), segment.clone())));
        playlist = next;
    }
    assert_eq!(finish(encoder).await, (true, String::new()));
    assert!(playlist.ended);

    // What was told ahead came; only the last of a segment may be told in vain.
    let mut came = 0;
    for (name, answer) in hinted {
        let answer = answer.await.expect("no panic");
        if answer.status() == StatusCode::OK {
            let early = answer.bytes().await.expect("a body");
            assert_eq!(early, file(&beside(&name)).await, "{name}");
            came += 1;
        }
    }
    assert!(came >= 10, "{came}");
    // The parts, one behind the other, are their segment.
    for Segment { uri, parts, .. } in seen.values() {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend(file(&beside(&part.uri)).await);
        }
        assert!(bytes == file(&beside(uri)).await, "{uri}: {parts:?}");
    }
    assert!(seen.len() >= 4, "{seen:?}");
}

#[tokio::test]
async fn what_is_absurd_is_refused_and_what_never_comes_is_given_up() {
    let mut config = Config::default();
    config.hls.target = Duration::from_millis(500);
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    let media = until("a playlist", || stage.media()).await;
    for ask in [
        "_HLS_msn=1000",
        "_HLS_msn=18446744073709551615&_HLS_part=18446744073709551615",
        "_HLS_part=1",
        "_HLS_msn=-1",
        "_HLS_msn=1&_HLS_part=x",
    ] {
        let response = get(&format!("{media}?{ask}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{ask}");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    kill(encoder).await;
    // The parts that were under way have come by then.
    stage
        .until_told(&[crate::STARTED, lemonair_ingest::What::Interrupted])
        .await;
    let playlist = read(&media).await;
    let ask = format!("{media}?_HLS_msn={}&_HLS_part=0", playlist.next());
    assert_eq!(get(&ask).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let hint = playlist.hint.expect("a hint");
    let hinted = get(&stage.playlist().replace("index.m3u8", &hint)).await;
    assert_eq!(hinted.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// What a player reads that has missed a while is the same with and without what it knows already.
#[tokio::test]
async fn a_delta_leaves_out_what_is_old() {
    let mut config = Config::default();
    config.hls.target = Duration::from_secs(1);
    config.cut.target = Duration::from_secs(1);
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    let media = until("a playlist", || stage.media()).await;
    let delta = until("a playlist with something to leave out", || async {
        let delta = read(&format!("{media}?_HLS_skip=YES")).await;
        (delta.skipped > 0).then_some(delta)
    })
    .await;
    let mut full = read(&media).await;
    full.check_after(&delta).expect("the same");
    full.segments.drain(..delta.skipped as usize);
    assert_eq!(full.segments[..delta.segments.len()], delta.segments[..]);
    kill(encoder).await;
}
