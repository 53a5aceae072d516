//! Smaller pictures, made by a real ffmpeg that is killed in the middle.

use std::fs::{DirEntry, Permissions, read_dir, read_to_string};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lemonair_ingest::{Config, What};

use crate::conformance::{Playlist, check_master};
use crate::recordings::Folder;
use crate::stage::*;
use crate::{ENDED, STARTED, check_media_at};

/// One rung, whose bitrate no other child is told: by it we know ours.
fn config(rung: &str) -> Config {
    let mut config = Config::default();
    config.ladder.rungs = vec![rung.parse().expect("a rung")];
    config
}

fn large(seconds: u32) -> String {
    picture_and_tone(seconds).replace("320x180", "640x360")
}

/// The media playlists that the master names: the publisher's own and the rung's.
async fn playlists(stage: &Stage) -> Option<[String; 2]> {
    let master = get(&stage.playlist()).await.text().await.ok()?;
    let names = master.lines().filter(|line| line.ends_with(".m3u8"));
    let urls: Vec<String> = names
        .map(|name| stage.playlist().replace("index.m3u8", name))
        .collect();
    urls.try_into().ok()
}

async fn playlist(url: &str) -> Playlist {
    let text = get(url).await.text().await.expect("a playlist");
    Playlist::check(&text).unwrap_or_else(|rule| panic!("{rule}:\n{text}"))
}

/// Where a segment begins, by its distance from the first.
fn starts(playlist: &Playlist) -> Vec<u64> {
    let lengths = playlist.segments.iter().map(|one| one.seconds);
    let starts = lengths.scan(0.0, |at, seconds| {
        let start = *at;
        *at += seconds;
        Some((start * 1000.0_f64).round() as u64)
    });
    starts.collect()
}

/// A process that has been told this.
fn child(argument: &str) -> Option<String> {
    let told = |entry: DirEntry| {
        let command = read_to_string(entry.path().join("cmdline")).ok()?;
        let it = command.split('\0').any(|word| word == argument);
        it.then(|| entry.file_name().to_string_lossy().into_owned())
    };
    let processes = read_dir("/proc").expect("/proc");
    processes.flatten().find_map(told)
}

/// The key frames' times.
async fn key_frames(url: &str) -> Vec<String> {
    let show = ["-show_entries", "packet=pts_time,flags"];
    let packets = probe(&[&["-select_streams", "v"], &show[..], &[url]].concat()).await;
    let keys = packets.lines().filter(|line| line.contains('K'));
    keys.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_rung_is_the_same_broadcast_smaller() {
    let mut config = config("180p:301k");
    // However busy the machine is.
    config.ladder.patience = Duration::from_secs(30);
    let stage = Stage::with(config, Topic::default()).await;
    // Its pictures wait for each other; those of the rung do not.
    let source = large(8).replace(VIDEO, &format!("{VIDEO} -bf 2"));
    let encoder = stage.publish(KEY, &source);
    // Players ask once.
    let master = until("a master", async || {
        let answer = get(&stage.playlist()).await;
        answer.error_for_status().ok()?.text().await.ok()
    })
    .await;
    let variants = check_master(&master).unwrap_or_else(|rule| panic!("{rule}:\n{master}"));
    let sizes: Vec<&str> = variants.iter().map(|variant| &*variant.size).collect();
    assert_eq!(sizes, ["640x360", "320x180"], "{master}");
    for variant in &variants {
        let codecs = &variant.codecs;
        assert!(codecs.starts_with("avc1.") && codecs.ends_with(",mp4a.40.2"));
    }
    let [own, rung] = playlists(&stage).await.expect("two playlists");
    let told = until("a word of the other", || async {
        let text = get(&own).await.text().await.ok()?;
        text.contains("#EXT-X-RENDITION-REPORT").then_some(text)
    });
    let (_, name) = rung.rsplit_once('/').expect("a name");
    assert!(told.await.contains(&format!("URI=\"{name}\"")));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
    until("its end", || async {
        let text = get(&rung).await.text().await.ok()?;
        text.contains("#EXT-X-ENDLIST").then_some(())
    })
    .await;

    check_media_at(&own, "h264,640,360\naac", 7.9..8.2).await;
    check_media_at(&rung, "h264,320,180\naac", 7.8..8.2).await;
    let [of_own, of_rung] = [playlist(&own).await, playlist(&rung).await];
    assert_eq!(starts(&of_own), starts(&of_rung));
    let [of_own, of_rung] = [key_frames(&own).await, key_frames(&rung).await];
    assert_eq!(of_own.len(), 8);
    assert_eq!(of_own, of_rung);
    until("no child", || async {
        child("301k").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_child_that_is_killed_comes_back_and_the_publishers_own_goes_on() {
    let stage = Stage::with(config("180p:302k"), Topic::default()).await;
    let encoder = stage.publish(KEY, &large(14));
    let [own, rung] = until("two playlists", || playlists(&stage)).await;
    signal("KILL", &child("302k").expect("a child")).await;
    until("another child's picture behind a gap", || async {
        let playlist = playlist(&rung).await;
        let behind = playlist.segments.last()?;
        (playlist.segments.iter().any(|one| one.gap) && !behind.gap).then_some(())
    })
    .await;
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
    check_media_at(&own, "h264,640,360\naac", 13.9..14.2).await;
    until("no child", || async {
        child("302k").is_none().then_some(())
    })
    .await;

    // What is there is where it belongs in time.
    let [of_own, of_rung] = [playlist(&own).await, playlist(&rung).await];
    assert!(of_rung.segments.iter().all(|one| !one.discontinuity));
    let starts = starts(&of_own);
    let (mut at, mut found) = (0, Vec::new());
    for segment in &of_rung.segments {
        let was_gap = found.last().is_none_or(|(_, gap)| *gap);
        if !segment.gap && was_gap {
            assert!(starts.contains(&at), "{at} in {starts:?}");
        }
        found.push((at, segment.gap));
        at += (segment.seconds * 1000.0).round() as u64;
    }
}

/// It comes back in another size, and is another stretch in all its renditions.
#[tokio::test]
async fn a_publisher_that_returns_is_climbed_after() {
    let stage = Stage::with(config("90p:303k"), Topic::default()).await;
    let encoder = stage.publish(KEY, &large(20));
    let [own, rung] = until("two playlists", || playlists(&stage)).await;
    kill(encoder).await;
    stage.until_told(&[STARTED, What::Interrupted]).await;
    let encoder = stage.publish(KEY, &picture_and_tone(4));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage
        .until_told(&[STARTED, What::Interrupted, What::Resumed, ENDED])
        .await;
    until("its end", || async {
        playlist(&rung).await.ended.then_some(())
    })
    .await;
    until("no child", || async {
        child("303k").is_none().then_some(())
    })
    .await;
    for url in [own, rung] {
        let playlist = playlist(&url).await;
        assert!(playlist.ended);
        let discontinuities = playlist.segments.iter().filter(|one| one.discontinuity);
        assert_eq!(discontinuities.count(), 1);
    }
}

/// Players that change over find their place by counting discontinuities.
#[tokio::test]
async fn a_rung_that_begins_late_counts_from_where_the_publishers_own_is() {
    let mut config = config("180p:308k");
    let folder = Folder::new();
    let ffmpeg = folder.0.join("ffmpeg");
    config.ladder.ffmpeg = ffmpeg.clone().into();
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &large(20));
    stage
        .until_playlist("a segment", |text| text.contains("#EXTINF"))
        .await;
    kill(encoder).await;
    stage.until_told(&[STARTED, What::Interrupted]).await;
    let encoder = stage.publish(KEY, &large(60));
    stage
        .until_playlist("the seam", |text| text.contains("#EXT-X-DISCONTINUITY"))
        .await;
    // Only now it can be made.
    let draft = folder.0.join("draft");
    std::fs::create_dir_all(&folder.0).expect("a folder");
    std::fs::write(&draft, "#!/bin/sh\nexec ffmpeg \"$@\"\n").expect("a script");
    std::fs::set_permissions(&draft, Permissions::from_mode(0o755)).expect("a script");
    std::fs::rename(&draft, &ffmpeg).expect("a script");
    let [own, rung] = until("two playlists", || playlists(&stage)).await;
    kill(encoder).await;
    let [of_own, of_rung] = [playlist(&own).await, playlist(&rung).await];
    assert_eq!(of_own.discontinuity_sequence, 0);
    let discontinuities = of_own.segments.iter().filter(|one| one.discontinuity);
    assert_eq!(discontinuities.count(), 1);
    assert_eq!(of_rung.discontinuity_sequence, 1);
    assert!(of_rung.segments.iter().all(|one| !one.discontinuity));
}

#[tokio::test]
async fn without_a_larger_picture_or_without_ffmpeg_there_is_the_publishers_own() {
    let large = Stage::with(config("180p:304k"), Topic::default()).await;
    let mut config = config("90p:305k");
    config.ladder.ffmpeg = "no-such-program".into();
    let missing = Stage::with(config, Topic::default()).await;
    for stage in [large, missing] {
        let encoder = stage.publish(KEY, &picture_and_tone(4));
        assert_eq!(finish(encoder).await, (true, String::new()));
        stage.until_told(&[STARTED, ENDED]).await;
        assert_eq!(playlists(&stage).await, None);
        check_media_at(&stage.playlist(), "h264,320,180\naac", 3.9..4.2).await;
    }
}

#[tokio::test]
async fn a_child_that_hangs_does_not_outlive_us() {
    let mut config = config("180p:306k");
    config.shutdown = Duration::from_secs(1);
    let mut stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &large(30));
    until("two playlists", || playlists(&stage)).await;
    signal("STOP", &child("306k").expect("a child")).await;
    stage.shutdown.cancel();
    (&mut stage.running).await.expect("no panic");
    until("no child", || async {
        child("306k").is_none().then_some(())
    })
    .await;
    kill(encoder).await;
}
