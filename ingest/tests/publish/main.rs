//! Real encoders against a real ingest: what they publish can be watched, and the topic hears of it.

mod codecs;
mod conformance;
mod ladder;
mod limits;
mod low_latency;
mod raw;
mod recordings;
mod restream;
mod secure;
mod stage;
mod timing;

use std::time::Duration;

use lemonair_ingest::{Config, OpenBroadcast, Reason, Revoked, What};
use lemonair_schemas::EventId;
use stage::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const STARTED: What = What::Started;
const ENDED: What = What::Ended(Reason::Unpublished);

/// Codecs, decoding times and errors of what can be watched now.
async fn check_media(stage: &Stage, streams: &str, seconds: std::ops::Range<f64>) {
    check_media_at(&stage.playlist(), streams, seconds).await;
}

async fn check_media_at(url: &str, streams: &str, seconds: std::ops::Range<f64>) {
    assert_eq!(
        probe_streams(&["-show_entries", "stream=codec_name,width,height", url]).await,
        streams
    );
    let duration = probe(&["-show_entries", "format=duration", url]).await;
    let duration: f64 = duration.parse().expect("a number");
    assert!(seconds.contains(&duration), "{duration} s");
    let mut spans = Vec::new();
    for track in ["v", "a"] {
        let show = ["-select_streams", track, "-show_entries"];
        let decoded = times(&[&show[..], &["packet=dts_time", url]].concat()).await;
        assert!(decoded.is_sorted_by(|a, b| a < b), "{track}: {decoded:?}");
        let shown = times(&[&show[..], &["packet=pts_time", url]].concat()).await;
        let first = shown.iter().copied().fold(f64::MAX, f64::min);
        let last = shown.iter().copied().fold(f64::MIN, f64::max);
        spans.extend((!shown.is_empty()).then_some((first, last)));
    }
    // Picture and sound begin and end together, but for a picture's length or two.
    if let [(first, last), (first_sound, last_sound)] = spans[..] {
        assert!((first - first_sound).abs() < 0.08, "{spans:?}");
        assert!((last - last_sound).abs() < 0.25, "{spans:?}");
    }
    assert_eq!(complaints(url).await, "");
}

/// What ffprobe tells of each packet, in seconds.
async fn times(arguments: &[&str]) -> Vec<f64> {
    let times = probe(arguments).await;
    times
        .lines()
        .map(|line| line.trim_end_matches(',').parse().expect("a number"))
        .collect()
}

#[tokio::test]
async fn picture_and_sound_from_first_to_last_frame() {
    let stage = Stage::new().await;
    let encoder = stage.publish(KEY, &picture_and_tone(6));
    stage.until_told(&[STARTED]).await;
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;

    let told = stage.topic.events.lock().expect("no panic").clone();
    let figures = told[1].figures.as_ref().expect("figures");
    assert_eq!(figures.key_frame_ms, Some(1000));
    let text = stage
        .until_playlist("the end", |text| text.contains("#EXT-X-ENDLIST"))
        .await;
    // The first is one part, so that there is something to watch; the next ends at a key frame.
    let lengths: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#EXTINF:"))
        .collect();
    assert_eq!(lengths[..3], ["0.320,", "1.680,", "2.000,"], "{text}");
    assert_eq!(lengths.len(), 4, "{text}");
    let master = get(&stage.playlist()).await.text().await.expect("a text");
    assert!(
        master.contains("CODECS=\"avc1.42c00c,mp4a.40.2\",RESOLUTION=320x180\n"),
        "{master}"
    );
    assert_eq!(text.matches("#EXT-X-MAP").count(), 1, "{text}");
    check_media(&stage, "h264,320,180\naac", 5.9..6.2).await;
    let frames = [
        "-count_packets",
        "-select_streams",
        "v",
        "-show_entries",
        "stream=nb_read_packets",
    ];
    let frames = probe_streams(&[&frames[..], &[&stage.playlist()]].concat()).await;
    assert_eq!(frames, "150");
}

/// Pictures that wait for others are decoded in another order than they are shown in.
#[tokio::test]
async fn b_frames_come_out_in_order() {
    let stage = Stage::new().await;
    let video = "-c:v libx264 -preset veryfast -bf 3 -pix_fmt yuv420p -g 50 -threads 1";
    let source = format!("{} {} -t 4 {video} {AUDIO}", picture(), tone());
    assert_eq!(
        finish(stage.publish(KEY, &source)).await,
        (true, String::new())
    );
    stage.until_told(&[STARTED, ENDED]).await;
    check_media(&stage, "h264,320,180\naac", 3.9..4.2).await;
    let frames = [
        "-select_streams",
        "v",
        "-show_entries",
        "frame=pts,pict_type",
    ];
    let frames = probe(&[&frames[..], &[&stage.playlist()]].concat()).await;
    assert!(frames.contains('B'), "{frames}");
    let shown: Vec<i64> = frames
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            line.split(',')
                .next()
                .and_then(|pts| pts.parse().ok())
                .expect("a number")
        })
        .collect();
    // The spaces between pictures are even, but for the milliseconds of RTMP.
    let even = |pair: &[i64]| (3500..=3700).contains(&(pair[1] - pair[0]));
    assert!(shown.windows(2).all(even), "{shown:?}");
    assert_eq!(shown.len(), 100);
}

#[tokio::test]
async fn sound_alone() {
    let stage = Stage::new().await;
    let encoder = stage.publish(KEY, &format!("{} -t 5 {AUDIO}", tone()));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
    check_media(&stage, "aac", 4.9..5.2).await;
}

#[tokio::test]
async fn pictures_alone() {
    let stage = Stage::new().await;
    let encoder = stage.publish(KEY, &format!("{} -t 5 {VIDEO}", picture()));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
    check_media(&stage, "h264,320,180", 4.9..5.1).await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_before_anything_happens() {
    let stage = Stage::with(
        Config {
            failed_tries: 2,
            ..Config::default()
        },
        Topic::default(),
    )
    .await;
    for words in [
        "no such stream key",
        "no such stream key",
        "too many wrong stream keys",
    ] {
        let (success, said) = finish(stage.publish("a-bad-key", &picture_and_tone(5))).await;
        assert!(!success);
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(stage.told(), []);
    assert_eq!(get(&stage.playlist()).await.status(), 404);
}

#[tokio::test]
async fn a_line_that_drops_and_comes_back_is_one_broadcast() {
    let stage = Stage::new().await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    stage
        .until_playlist("a segment", |text| text.contains("#EXTINF"))
        .await;
    kill(encoder).await;
    stage.until_told(&[STARTED, What::Interrupted]).await;
    assert!(!stage.playlist_text().await.contains("#EXT-X-ENDLIST"));

    // It comes back as another picture.
    let picture = "-re -f lavfi -i testsrc=size=640x360:rate=30";
    let encoder = stage.publish(KEY, &format!("{picture} {} -t 3 {VIDEO} {AUDIO}", tone()));
    stage
        .until_told(&[STARTED, What::Interrupted, What::Resumed])
        .await;
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage
        .until_told(&[STARTED, What::Interrupted, What::Resumed, ENDED])
        .await;

    timing::check_stretches(&stage, &["320,180", "640,360"]).await;
    let events = stage.topic.events.lock().expect("no panic");
    assert!(events.iter().all(|event| event.stream == events[0].stream));
}

#[tokio::test]
async fn a_line_that_drops_for_good_ends_once() {
    let config = Config {
        grace: Duration::from_secs(1),
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    stage
        .until_playlist("a segment", |text| text.contains("#EXTINF"))
        .await;
    kill(encoder).await;
    stage
        .until_told(&[STARTED, What::Interrupted, What::Ended(Reason::TimedOut)])
        .await;
    stage
        .until_playlist("the end", |text| text.contains("#EXT-X-ENDLIST"))
        .await;
}

/// Connected, and silent: only a time-out tells.
#[tokio::test]
async fn a_publisher_that_falls_silent_is_cut_off() {
    let config = Config {
        idle: Duration::from_secs(1),
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    stage.until_told(&[STARTED]).await;
    let id = encoder.id().expect("it runs").to_string();
    signal("STOP", &id).await;
    stage.until_told(&[STARTED, What::Interrupted]).await;
    kill(encoder).await;
}

/// It says again and again what it is about to send.
#[tokio::test]
async fn words_about_a_picture_are_no_picture() {
    let config = Config {
        idle: Duration::from_secs(1),
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let (mut socket, _) = raw::on_air(&stage, KEY).await;
    let words = raw::metadata(&[("width", 320.0)]);
    let talk = async {
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        while socket.write_all(&words).await.is_ok() {
            beat.tick().await;
        }
    };
    tokio::join!(talk, stage.until_told(&[STARTED, What::Interrupted]));
}

#[tokio::test]
async fn a_second_encoder_takes_over() {
    let stage = Stage::new().await;
    let first = stage.publish(KEY, &picture_and_tone(20));
    stage
        .until_playlist("a segment", |text| text.contains("#EXTINF"))
        .await;
    let second = stage.publish(KEY, &picture_and_tone(4));
    let (success, _) = finish(first).await;
    assert!(!success, "the first is cut off");
    assert_eq!(finish(second).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
    let text = stage.playlist_text().await;
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert_eq!(complaints(&stage.playlist()).await, "");
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_the_broadcast() {
    let stage = Stage::new().await;
    let room = ROOM.parse().expect("a room");
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    stage.until_told(&[STARTED]).await;
    // Another key is none of its business.
    let other = EventId::new();
    stage.ingest.revoke(&room, Revoked::Key(other)).await;
    stage.ingest.revoke(&room, Revoked::AllBut(KEY_ID)).await;
    stage
        .until_playlist("a segment", |text| text.contains("#EXTINF"))
        .await;
    assert_eq!(stage.told(), [STARTED]);
    stage.ingest.revoke(&room, Revoked::AllBut(other)).await;
    stage
        .until_told(&[STARTED, What::Ended(Reason::Revoked)])
        .await;
    let (success, _) = finish(encoder).await;
    assert!(!success);
    assert!(stage.playlist_text().await.contains("#EXT-X-ENDLIST"));
}

#[tokio::test]
async fn a_topic_that_is_away_hears_everything_later_in_order() {
    let stage = Stage::new().await;
    stage
        .topic
        .failures
        .store(5, std::sync::atomic::Ordering::SeqCst);
    let encoder = stage.publish(KEY, &picture_and_tone(2));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
}

#[tokio::test]
async fn stopping_ends_what_is_on_air() {
    let mut stage = Stage::new().await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    stage.until_told(&[STARTED]).await;
    stage.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), &mut stage.running)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(stage.told(), [STARTED, What::Ended(Reason::ShutDown)]);
    let (success, _) = finish(encoder).await;
    assert!(!success);
}

/// Key frames too far apart, and no sound: the streamer is told while it happens.
#[tokio::test]
async fn health_is_told_while_on_air() {
    let stage = Stage::new().await;
    let url = format!("{}/health/{ROOM}", stage.http);
    assert_eq!(get(&url).await.status(), 404);
    let video = VIDEO.replace("-g 25", "-g 1000");
    let encoder = stage.publish(KEY, &format!("{} -t 30 {video}", picture()));
    let codes = ["key_frames", "no_sound"];
    until("the warnings", || async {
        let health = get(&url).await.text().await.expect("a text");
        codes
            .iter()
            .all(|code| health.contains(&format!("\"code\":\"{code}\"")))
            .then_some(())
    })
    .await;
    kill(encoder).await;
    until("the publisher is gone", || async {
        (get(&url).await.status() == 404).then_some(())
    })
    .await;
    // What was measured last goes to the topic.
    stage.until_told(&[STARTED, What::Interrupted]).await;
    let told = stage.topic.events.lock().expect("no panic").clone();
    assert_eq!(told[0].figures, None);
    let figures = told[1].figures.as_ref().expect("figures");
    assert_eq!(figures.codec.as_deref(), Some("avc1.42c00c"));
    assert_eq!((figures.width, figures.height), (Some(320), Some(180)));
    assert_eq!(figures.key_frame_ms, None);
    assert!(figures.kbps > 0, "{figures:?}");
}

/// As a crash leaves it.
fn left_open() -> (OpenBroadcast, Topic) {
    let open = OpenBroadcast {
        room: ROOM.parse().expect("a room"),
        stream: EventId::new(),
    };
    let topic = Topic {
        open: vec![open.clone()].into(),
        failures: 2.into(),
        ..Topic::default()
    };
    (open, topic)
}

#[tokio::test]
async fn what_a_crash_left_open_goes_on_when_its_publisher_comes_back() {
    let (open, topic) = left_open();
    let stage = Stage::with(Config::default(), topic).await;
    stage.until_told(&[What::Interrupted]).await;
    let encoder = stage.publish(KEY, &picture_and_tone(3));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage
        .until_told(&[What::Interrupted, What::Resumed, ENDED])
        .await;
    assert_eq!(complaints(&stage.playlist()).await, "");
    let events = stage.topic.events.lock().expect("no panic");
    assert!(events.iter().all(|event| event.stream == open.stream));
}

#[tokio::test]
async fn what_a_crash_left_open_ends_when_nobody_comes_back() {
    let (_, topic) = left_open();
    let config = Config {
        grace: Duration::from_secs(1),
        ..Config::default()
    };
    let stage = Stage::with(config, topic).await;
    stage
        .until_told(&[What::Interrupted, What::Ended(Reason::TimedOut)])
        .await;
}

/// Another ingest has the room now, or we were not heard of for too long.
#[tokio::test]
async fn what_somebody_else_has_ended_is_over() {
    let config = Config {
        lease: Duration::from_secs(1),
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    stage.until_told(&[STARTED]).await;
    let stream = stage.topic.events.lock().expect("no panic")[0].stream;
    *stage.topic.lapsed.lock().expect("no panic") = Some(stream);
    let (success, _) = finish(encoder).await;
    assert!(!success);
    assert_eq!(stage.told(), [STARTED]);
    // The next one is a new broadcast.
    let encoder = stage.publish(KEY, &picture_and_tone(2));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, STARTED, ENDED]).await;
}

#[tokio::test]
async fn a_thumbnail_that_follows_the_picture() {
    let mut config = Config::default();
    config.thumbnails.interval = Duration::from_millis(500);
    config.thumbnails.width = 160;
    let stage = Stage::with(config, Topic::default()).await;
    let url = format!("{}/thumbnails/{ROOM}.jpg", stage.http);
    assert_eq!(get(&url).await.status(), 404);
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    let picture = || async {
        let response = get(&url).await;
        (response.status() == 200).then_some(response)
    };
    let first = until("a thumbnail", picture).await;
    assert_eq!(first.headers()["content-type"], "image/jpeg");
    let first = first.bytes().await.expect("a body");
    assert_eq!(
        probe_streams(&["-show_entries", "stream=codec_name,width,height", &url]).await,
        "mjpeg,160,90"
    );
    until("another thumbnail", || async {
        let next = get(&url).await.bytes().await.expect("a body");
        (next != first).then_some(())
    })
    .await;
    // The same as WebP, where whoever has it is told so.
    let url = url.replace(".jpg", ".webp");
    let picture = || async {
        let response = get(&url).await;
        (response.status() == 200).then_some(response)
    };
    let picture = until("a thumbnail as WebP", picture).await;
    assert_eq!(picture.headers()["content-type"], "image/webp");
    let probed = probe_streams(&["-show_entries", "stream=codec_name,width,height", &url]).await;
    assert_eq!(probed, "webp,160,90");
    kill(encoder).await;
    let client = reqwest::Client::new();
    until("the last one is known again", || async {
        let etag = get(&url).await.headers()["etag"].clone();
        let again = client.get(&url).header("if-none-match", etag).send().await;
        (again.expect("an answer").status() == 304).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_ffmpeg_there_are_no_thumbnails_and_all_else() {
    let mut config = Config::default();
    config.thumbnails.ffmpeg = "no-such-program".into();
    let stage = Stage::with(config, Topic::default()).await;
    assert_eq!(
        finish(stage.publish(KEY, &picture_and_tone(2))).await,
        (true, String::new())
    );
    stage.until_told(&[STARTED, ENDED]).await;
    assert_eq!(complaints(&stage.playlist()).await, "");
    assert_eq!(
        get(&format!("{}/thumbnails/{ROOM}.jpg", stage.http))
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn answers_that_a_cache_can_trust() {
    let stage = Stage::new().await;
    let encoder = stage.publish(KEY, &picture_and_tone(20));
    let text = stage
        .until_playlist("a segment", |text| text.contains("#EXTINF"))
        .await;
    let client = reqwest::Client::new();

    let playlist = get(&stage.media().await.expect("a playlist")).await;
    let header = |response: &reqwest::Response, name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("text").to_owned())
    };
    let is = |response: &reqwest::Response, name: &str, value: &str| {
        assert_eq!(header(response, name).as_deref(), Some(value), "{name}");
    };
    is(&playlist, "content-type", "application/vnd.apple.mpegurl");
    is(
        &playlist,
        "cache-control",
        "public, max-age=1, must-revalidate",
    );
    is(&playlist, "access-control-allow-origin", "*");
    assert!(header(&playlist, "etag").is_some());

    let name = text
        .lines()
        .find(|line| line.ends_with(".m4s"))
        .expect("a segment");
    let url = stage.playlist().replace("index.m3u8", name);
    let segment = get(&url).await;
    is(&segment, "content-type", "video/mp4");
    is(
        &segment,
        "cache-control",
        "public, max-age=31536000, immutable",
    );
    let etag = header(&segment, "etag").expect("a tag");
    let whole = segment.bytes().await.expect("a body");

    let known = client
        .get(&url)
        .header("if-none-match", etag)
        .send()
        .await
        .expect("an answer");
    assert_eq!(known.status(), 304);

    let part = client
        .get(&url)
        .header("range", "bytes=10-19")
        .send()
        .await
        .expect("an answer");
    assert_eq!(part.status(), 206);
    is(
        &part,
        "content-range",
        &format!("bytes 10-19/{}", whole.len()),
    );
    assert_eq!(part.bytes().await.expect("a body"), whole.slice(10..20));

    let head = client.head(&url).send().await.expect("an answer");
    is(&head, "content-length", &whole.len().to_string());

    let outside = client
        .get(&url)
        .header("range", "bytes=99999999-")
        .send()
        .await
        .expect("an answer");
    assert_eq!(outside.status(), 416);

    for absent in [
        "/hls/nobody/index.m3u8",
        "/hls/mint/x-1.m4s",
        "/hls/%00/index.m3u8",
        "/thumbnails/mint",
    ] {
        let response = get(&format!("{}{absent}", stage.http)).await;
        assert_eq!(response.status(), 404, "{absent}");
        is(&response, "content-type", "application/problem+json");
        is(&response, "cache-control", "no-store");
    }
    kill(encoder).await;
}

#[tokio::test]
async fn a_picture_goes_soon_after_its_end_and_the_next_is_a_new_broadcast() {
    let config = Config {
        linger: Duration::from_millis(200),
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let encoder = stage.publish(KEY, &picture_and_tone(2));
        let text = stage
            .until_playlist("a segment", |text| text.contains("#EXTINF"))
            .await;
        names.push(text.lines().last().expect("a name").to_owned());
        assert_eq!(finish(encoder).await, (true, String::new()));
        stage.until_playlist("the end", str::is_empty).await;
    }
    assert_ne!(names[0], names[1]);
    assert_eq!(stage.told(), [STARTED, ENDED, STARTED, ENDED]);
}

#[tokio::test]
async fn a_codec_that_we_cannot_package_is_told_so() {
    let stage = Stage::new().await;
    let mut socket = TcpStream::connect(stage.address()).await.expect("connect");
    let hevc = raw::video(b"\x90abcdheader");
    socket
        .write_all(&[raw::publish(KEY), hevc].concat())
        .await
        .expect("write");
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.expect("read");
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("abcd is not supported; set the encoder to H.264 and AAC"),
        "{said}"
    );
    stage
        .until_told(&[STARTED, What::Ended(Reason::Unsupported)])
        .await;
}

#[tokio::test]
async fn media_without_a_key_closes_the_connection() {
    let stage = Stage::new().await;
    let mut socket = TcpStream::connect(stage.address()).await.expect("connect");
    let bytes = [raw::connect(), raw::video(b"\x17\x01\0\0\0data")].concat();
    socket.write_all(&bytes).await.expect("write");
    let mut said = Vec::new();
    // Closed, or reset for what it did not read.
    let _ = socket.read_to_end(&mut said).await;
    assert_eq!(stage.told(), []);
}
