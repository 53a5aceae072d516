//! Playlists that tell of each part as it comes, and who waits for them.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use lemonair_ingest::codec::VideoConfig;
use lemonair_ingest::flv::{Metadata, Unit, VideoFrame};
use lemonair_ingest::hls::Window;
use lemonair_ingest::packager::{Dropped, Packager};
use lemonair_ingest::{Config, What};
use lemonair_schemas::{EventId, Timestamp};
use reqwest::StatusCode;

use crate::conformance::{Playlist, Segment};
use crate::raw;
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
    stage.until_told(&[crate::STARTED, What::Interrupted]).await;
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

const AVC: &[u8] = &[
    1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFA,
    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xF1, 0x42, 0x99, 0x60, 1, 0,
    6, 0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0,
];

/// Timestamps wrap at 32 bits on the way, and every playlist follows from the one before it.
#[test]
fn two_hours_by_a_fast_clock() {
    let config = Config::default();
    let mut packager = Packager::new(config.cut, 0);
    let mut window = Window::new(EventId::new(), config.hls);
    window.begin(1);
    let metadata = Metadata {
        has_video: true,
        ..Metadata::default()
    };
    let header = VideoConfig::avc(AVC).expect("a header");
    for unit in [Unit::Metadata(metadata), Unit::VideoConfig(header)] {
        packager.handle(0, unit).expect("pieces");
    }
    let begin = u32::MAX - 3_600_000;
    let mut known: Option<Playlist> = None;
    for n in 0..2 * 3600 * 10 {
        let unit = Unit::VideoFrame(VideoFrame {
            key: n % 20 == 0,
            composition: 0,
            data: Bytes::from_static(&[7; 200]),
        });
        let pieces = packager.handle(begin.wrapping_add(n * 100), unit);
        let now = Timestamp(1_700_000_000_000 + i64::from(n) * 100);
        window.push(1, pieces.expect("pieces"), now).expect("ours");
        if n % 97 != 96 {
            continue;
        }
        let text = window.playlist(false).expect("a playlist").text;
        let text = std::str::from_utf8(&text).expect("UTF-8");
        let next = Playlist::check(text).unwrap_or_else(|rule| panic!("{rule}:\n{text}"));
        if let Some(known) = &known {
            next.check_after(known)
                .unwrap_or_else(|rule| panic!("{rule}: {known:?}\n{text}"));
        }
        assert_eq!(text.matches("#EXT-X-PROGRAM-DATE-TIME").count(), 1);
        known = Some(next);
    }
    let known = known.expect("a playlist");
    assert_eq!(known.next(), 3599);
    assert_eq!(packager.dropped(), Dropped::default());
}

/// The same broadcast through ten lines that drop: each goes on behind a discontinuity.
#[tokio::test]
async fn ten_drops_and_returns() {
    let stage = Stage::new().await;
    let mut told = vec![crate::STARTED];
    let mut known: Option<Playlist> = None;
    for n in 0..10 {
        let (socket, _) = raw::on_air(&stage, KEY).await;
        let mut media = vec![
            raw::metadata(&[("videocodecid", 7.0)]),
            raw::video_at(0, [b"\x17\0\0\0\0", AVC].concat()),
        ];
        for n in 0..60u32 {
            let head = if n % 25 == 0 { 0x17 } else { 0x27 };
            let data = [&[head, 1, 0, 0, 0][..], &[7; 200]].concat();
            media.push(raw::video_at(n * 40, data));
        }
        let mut socket = socket;
        tokio::io::AsyncWriteExt::write_all(&mut socket, &media.concat())
            .await
            .expect("write");
        if n > 0 {
            told.push(What::Resumed);
        }
        stage.until_told(&told).await;
        let counted = |text: &str| {
            let sequence = Playlist::check(text).map(|list| list.discontinuity_sequence);
            sequence.unwrap_or_default() as usize + text.matches("#EXT-X-DISCONTINUITY\n").count()
        };
        stage
            .until_playlist("its picture", |text| !text.is_empty() && counted(text) == n)
            .await;
        drop(socket);
        told.push(What::Interrupted);
        stage.until_told(&told).await;
        let text = stage.playlist_text().await;
        let next = Playlist::check(&text).unwrap_or_else(|rule| panic!("{rule}:\n{text}"));
        if let Some(known) = &known {
            next.check_after(known)
                .unwrap_or_else(|rule| panic!("{rule}: {known:?}\n{text}"));
        }
        assert_eq!(counted(&text), n, "{text}");
        known = Some(next);
    }
}
