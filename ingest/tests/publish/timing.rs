//! Timestamps and pictures that change on the way: what comes out goes on, in order and undamaged.

use lemonair_ingest::What;

use crate::codecs::{Film, film, publish};
use crate::raw;
use crate::stage::*;
use crate::{ENDED, STARTED, check_media};

async fn avc(stage: &Stage, size: &str) -> Film {
    let source = format!("-f lavfi -i testsrc=size={size}:rate=25 -t 4");
    film(stage, &format!("{source} {VIDEO} -bf 0")).await
}

/// A film as messages, each picture at the time that `at` makes of its own.
fn messages(film: &Film, at: impl Fn(usize, u32) -> u32) -> Vec<Vec<u8>> {
    let head = [&b"\x17\0\0\0\0"[..], &film.header].concat();
    let first = film.frames.first().map_or(0, |(time, ..)| at(0, *time));
    let mut messages = vec![raw::video_at(first, head)];
    for (n, (time, key, composition, data)) in film.frames.iter().enumerate() {
        let kind = if *key { 0x17 } else { 0x27 };
        let tag = [&[kind, 1][..], &composition.to_be_bytes()[1..], data].concat();
        messages.push(raw::video_at(at(n, *time), tag));
    }
    messages
}

async fn check_times(at: impl Fn(usize, u32) -> u32) {
    let stage = Stage::new().await;
    let film = avc(&stage, "320x180").await;
    let metadata = raw::metadata(&[("videocodecid", 7.0)]);
    publish(&stage, metadata, messages(&film, at)).await;
    stage.until_told(&[STARTED, ENDED]).await;
    check_media(&stage, "h264,320,180", 3.7..4.1).await;
    let count = ["-count_frames", "-show_entries", "stream=nb_read_frames"];
    let count = probe_streams(&[&count[..], &[&stage.playlist()]].concat()).await;
    assert_eq!(count, "100");
}

#[tokio::test]
async fn timestamps_that_wrap_at_32_bits() {
    check_times(|_, time| (u32::MAX - 1500).wrapping_add(time)).await;
}

/// An hour ahead, half of it back, to before the beginning, and on.
#[tokio::test]
async fn timestamps_that_jump_back_and_forth() {
    check_times(|n, time| match n / 25 {
        0 => 10_000_000 + time,
        1 => 13_600_000 + time,
        2 => 11_800_000 + time,
        _ => time,
    })
    .await;
}

/// The same encoder goes on with another picture: a new init segment, and no new broadcast.
#[tokio::test]
async fn a_picture_that_changes_its_size_on_the_way() {
    let stage = Stage::new().await;
    let (small, large) = (avc(&stage, "320x180").await, avc(&stage, "640x360").await);
    let mut all = messages(&small, |_, time| time);
    all.extend(messages(&large, |_, time| 4000 + time));
    publish(&stage, raw::metadata(&[("videocodecid", 7.0)]), all).await;
    stage.until_told(&[STARTED, ENDED]).await;
    check_stretches(&stage, &["320,180", "640,360"]).await;
}

/// What stands between two discontinuities, each by itself: ffmpeg reads only the first init segment
/// of a playlist, players each.
pub(crate) async fn check_stretches(stage: &Stage, sizes: &[&str]) {
    let stretches = stretches(stage).await;
    assert_eq!(
        stretches.len(),
        sizes.len(),
        "{}",
        stage.playlist_text().await
    );
    for (stretch, size) in stretches.into_iter().zip(sizes) {
        let file = stage.data.join(format!("{size}.mp4"));
        std::fs::write(&file, stretch).expect("a file");
        let file = file.to_str().expect("UTF-8");
        let show = [
            "-select_streams",
            "v",
            "-show_entries",
            "stream=width,height",
        ];
        assert_eq!(probe_streams(&[&show[..], &[file]].concat()).await, *size);
        assert_eq!(complaints(file).await, "");
    }
}

/// Screens are sent so: many pictures while something moves, few while nothing does.
#[tokio::test]
async fn pictures_at_a_variable_rate() {
    let stage = Stage::new().await;
    // Every picture of one second, then one of five in the next.
    let vary = "-vf select='lt(mod(n,50),25)+not(mod(n,5))' -vsync vfr";
    let source = format!("{} {} {vary} -t 6 {VIDEO} {AUDIO}", picture(), tone());
    assert_eq!(
        finish(stage.publish(KEY, &source)).await,
        (true, String::new())
    );
    stage.until_told(&[STARTED, ENDED]).await;
    check_media(&stage, "h264,320,180\naac", 5.8..6.2).await;
    let show = ["-select_streams", "v", "-show_entries", "packet=pts"];
    let times = probe(&[&show[..], &[&stage.playlist()]].concat()).await;
    let times: Vec<i64> = times
        .lines()
        .map(|line| line.trim_end_matches(',').parse().expect("a number"))
        .collect();
    assert_eq!(times.len(), 3 * (25 + 5));
    let steps: Vec<i64> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 90)
        .collect();
    assert!(
        steps
            .iter()
            .all(|step| [39, 40, 41, 199, 200, 201].contains(step)),
        "{steps:?}"
    );
}

/// Real encoders, real lines that drop, the same broadcast.
#[tokio::test]
async fn an_encoder_that_drops_and_returns_ten_times() {
    let stage = Stage::new().await;
    let mut told = vec![STARTED];
    for n in 0..10 {
        let encoder = stage.publish(KEY, &picture_and_tone(30));
        stage.until_told(&told).await;
        let discontinuities = |text: &str| {
            let gone = text.split("#EXT-X-DISCONTINUITY-SEQUENCE:").nth(1);
            let gone = gone.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
            gone.unwrap_or(0) + text.matches("#EXT-X-DISCONTINUITY\n").count()
        };
        stage
            .until_playlist("its picture", |text| {
                !text.is_empty() && discontinuities(text) == n
            })
            .await;
        kill(encoder).await;
        told.push(What::Interrupted);
        stage.until_told(&told).await;
        told.push(What::Resumed);
    }
    for stretch in stretches(&stage).await {
        let file = stage.data.join("stretch.mp4");
        std::fs::write(&file, stretch).expect("a file");
        assert_eq!(complaints(file.to_str().expect("UTF-8")).await, "");
    }
}
