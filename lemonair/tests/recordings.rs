//! Recordings of the whole: watched with seeking, with their chat, through deaths and full disks.

mod support;

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::browser::Browser;
use support::bucket::{Bucket, SECRET_KEY};
use support::channel::{length, text, until_kept};
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, Publisher, eventually};
use tokio::process::Command;

/// A streamer with a key.
async fn streamer(lemonair: &Lemonair) -> (Api, String) {
    let mint = Api::sign_up(&lemonair.http, "mint").await;
    let key = mint.post("/api/channels/mint/stream-key", json!({})).await;
    let key = key["key"].as_str().expect("a key").to_owned();
    (mint, key)
}

async fn until_live(api: &Api) {
    eventually("the channel is live", async || {
        (api.get("/api/channels/mint").await["live"] == true).then_some(())
    })
    .await;
}

/// A broadcast of which three seconds are recorded: anybody, its publisher and its key.
async fn on_air(up: &Lemonair) -> (Api, Publisher, String) {
    let (_, key) = streamer(up).await;
    let publisher = Publisher::start(&up.rtmp, &key);
    let anybody = Api::new(&up.http);
    until_live(&anybody).await;
    until_kept(&anybody, "mint", 3.0).await;
    (anybody, publisher, key)
}

/// Publishes until the recording has what came after an interruption: anybody, and its playlist.
async fn went_on(up: &Lemonair, key: &str) -> (Api, String) {
    let publisher = Publisher::start(&up.rtmp, key);
    let anybody = Api::new(&up.http);
    let playlist = eventually("it goes on", async || {
        let kept = anybody.get("/api/channels/mint/recordings").await;
        let playlist = kept["recordings"][0]["playlist"].as_str()?.to_owned();
        let text = text(&anybody, &playlist).await?;
        text.contains("#EXT-X-DISCONTINUITY").then_some(playlist)
    })
    .await;
    publisher.stop().await;
    (anybody, playlist)
}

async fn until_ready(api: &Api) -> Value {
    eventually("the recording is whole", async || {
        let kept = api.get("/api/channels/mint/recordings").await;
        let newest = kept["recordings"][0].clone();
        (newest["state"] == "ready").then_some(newest)
    })
    .await
}

/// What ffmpeg complains about when it decodes everything, and how long it is.
async fn decode(url: &str) -> (String, f64) {
    let tool = async |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(support::PATIENCE, command.output()).await;
        let output = output.expect("it ends").expect("run ffmpeg");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (_, complaints) = tool("ffmpeg", &["-v", "error", "-i", url, "-f", "null", "-"]).await;
    let ask = [
        "-v",
        "error",
        "-of",
        "csv=p=0",
        "-show_entries",
        "format=duration",
        url,
    ];
    let (duration, _) = tool("ffprobe", &ask).await;
    (complaints, duration.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_watched_with_its_chat() {
    let deployment = Deployment::new("recordings");
    let up = deployment.start("up").await;
    let (mint, key) = streamer(&up).await;
    let lime = Api::sign_up(&up.http, "lime").await;
    let anybody = Api::new(&up.http);
    let mut viewer = Viewer::join(&up.ws(), "mint", lime.token.as_deref(), None).await;
    viewer.chat("mint", "too early").await;
    let publisher = Publisher::start(&up.rtmp, &key);
    until_live(&anybody).await;
    let mut said = Vec::new();
    for text in ["one", "two", "taken back", "three"] {
        said.push(viewer.chat("mint", text).await["event"].clone());
    }
    lime.top_up(100).await;
    assert_eq!(lime.donate("mint", 30, "once").await.0, 201);

    // On air it can be watched already, but not deleted.
    let playlist = until_kept(&anybody, "mint", 5.0).await;
    viewer.chat("mint", "five seconds later").await;
    let path = playlist.replace("/index.m3u8", "");
    let stream = path.rsplit('/').next().expect("an id").to_owned();
    let one = format!("/api/recordings/{stream}");
    assert_eq!(anybody.get(&one).await["state"], "live");
    assert_eq!(mint.send("DELETE", &one, None, &[]).await.0, 409);
    publisher.stop().await;
    let ready = until_ready(&anybody).await;
    assert_eq!(ready, anybody.get(&one).await);
    viewer.chat("mint", "too late").await;

    let (complaints, seconds) = decode(&format!("{}{playlist}", up.http)).await;
    assert_eq!(complaints, "");
    let told = ready["duration_ms"].as_f64().expect("a number") / 1000.0;
    assert!((seconds - told).abs() < 0.2, "{seconds} {told}");

    // A gateway elsewhere passes it on.
    let gateway = deployment.start("gateway").await;
    let (_, passed_on) = decode(&format!("{}{playlist}", gateway.http)).await;
    assert_eq!(passed_on, seconds);

    // What was said is read back as it was seen, but for what was taken back since.
    let taken = format!(
        "/api/channels/mint/messages/{}",
        said[2].as_str().expect("an id")
    );
    assert_eq!(lime.send("DELETE", &taken, None, &[]).await.0, 204);
    let events = format!("{one}/events");
    let all = anybody.get(&events).await;
    assert_eq!(all["next"], Value::Null);
    let shown: Vec<&str> = all["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["text"].as_str().or_else(|| event["message"].as_str()))
        .collect();
    assert_eq!(
        shown,
        ["one", "two", "three", "for the show", "five seconds later"]
    );
    let live: Vec<&Value> = viewer
        .seen
        .iter()
        .filter(|event| event["text"] == "two")
        .collect();
    assert_eq!(all["events"][1], *live[0], "as on the socket");
    let mut pages = Vec::new();
    let mut ask = format!("{events}?limit=1");
    while let page = anybody.get(&ask).await
        && {
            pages.extend(page["events"].as_array().expect("events").clone());
            let next = page["next"].as_str();
            ask = format!("{events}?limit=1&since={}", next.unwrap_or_default());
            next.is_some()
        }
    {}
    assert_eq!(json!(pages), all["events"]);
    for wrong in [
        "limit=0",
        "limit=1001",
        "since=x",
        "since=1-2-3",
        "since=-1-0",
    ] {
        let (status, _) = anybody
            .send("GET", &format!("{events}?{wrong}"), None, &[])
            .await;
        assert_eq!(status, 400, "{wrong}");
    }

    // On the channel's page it is found, and watched with what was said when it was said.
    let browser = Browser::open(1280, 800).await;
    browser.goto(&format!("{}/mint", up.http)).await;
    browser
        .click(&format!(
            "[data-testid=recording-card][data-stream='{stream}']"
        ))
        .await;
    let video = "const v = document.querySelector('video#player');";
    browser
        .until(
            "it plays from the beginning",
            &format!("{video} return v?.currentTime > 0.3 && v.duration > 4;"),
        )
        .await;
    let chat = "const said = Array.from(document.querySelectorAll('.chat .text, .chat .donation-message'), (text) => text.textContent).join();";
    browser
        .until(
            "what was said first stands beside it, without what was taken back",
            &format!("{chat} return said === 'one,two,three,for the show';"),
        )
        .await;
    browser
        .js(&format!("{video} v.currentTime = v.duration - 1;"))
        .await;
    browser
        .until(
            "it plays on from there to the end, with what was said there",
            &format!("{video} {chat} return v.ended && said.endsWith(',five seconds later');"),
        )
        .await;
    let length = browser.js(&format!("{video} return v.duration;")).await;
    let length = length.as_f64().expect("a number");
    assert!((length - seconds).abs() < 0.2, "{length} {seconds}");
    browser.js(&format!("{video} v.currentTime = 0;")).await;
    browser
        .until(
            "back there, what is yet to be said is gone",
            &format!("{chat} return !said.includes('five seconds later');"),
        )
        .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;

    // The list comes back from the topics.
    deployment.run(&["rebuild", "broadcasts"]).await;
    assert_eq!(anybody.get(&one).await, ready);

    // The streamer deletes it: at once for everybody, and soon its bytes.
    assert_eq!(lime.send("DELETE", &one, None, &[]).await.0, 403);
    assert_eq!(mint.send("DELETE", &one, None, &[]).await.0, 204);
    assert_eq!(mint.send("DELETE", &one, None, &[]).await.0, 404);
    assert_eq!(anybody.send("GET", &one, None, &[]).await.0, 404);
    assert_eq!(text(&anybody, &playlist).await, None);
    let kept = anybody.get("/api/channels/mint/recordings").await;
    assert_eq!(kept["recordings"], json!([]));
    let folder = deployment.data().join("data/recordings").join(&stream);
    eventually("its bytes are gone", async || {
        (!folder.exists()).then_some(())
    })
    .await;
    assert_eq!(gateway.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}

/// All but the last part of what could be watched live is kept when ingest is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_on_air_it_keeps_all_but_the_last_part() {
    let deployment = Deployment::new("recordkill").with("LEMONAIR_GRACE", "30");
    let mut up = deployment.start("up").await;
    let (anybody, publisher, key) = on_air(&up).await;
    // All that live viewers know at the moment, parts of the segment that is being made included.
    let master = text(&anybody, "/hls/mint/index.m3u8")
        .await
        .expect("a master");
    let media = format!("/hls/mint/{}", master.lines().last().expect("a name"));
    let live = text(&anybody, &media).await.expect("a playlist");
    up.kill().await;
    let behind = live.rsplit_once("#EXTINF").expect("segments").1;
    let parts = behind.lines().filter_map(|line| {
        let (_, part) = line.split_once("#EXT-X-PART:DURATION=")?;
        part.split(',').next()?.parse::<f64>().ok()
    });
    let known = length(&live) + parts.sum::<f64>();
    assert!(!publisher.ended().await);

    let up = deployment.start("up").await;
    let (anybody, playlist) = went_on(&up, &key).await;
    until_ready(&anybody).await;
    let whole = text(&anybody, &playlist).await.expect("a playlist");
    let (before, after) = whole
        .split_once("#EXT-X-DISCONTINUITY\n")
        .expect("two runs");
    let kept = length(before);
    assert!(kept > known - 0.4, "{kept} of {known} s:\n{before}\n{live}");
    assert!(
        after.contains("#EXTINF") && whole.ends_with("#EXT-X-ENDLIST\n"),
        "{whole}"
    );
    let kinds: Vec<Value> = deployment
        .replay(&["lemonair.streams"])
        .await
        .into_iter()
        .map(|event| event["type"].clone())
        .collect();
    let expected = [
        "stream.started",
        "recording.begun",
        "stream.interrupted",
        "stream.resumed",
        "stream.ended",
        "recording.kept",
    ];
    assert_eq!(json!(kinds), json!(expected));
    let (complaints, _) = decode(&format!("{}{playlist}", up.http)).await;
    assert_eq!(complaints, "");
    assert_eq!(up.stop().await, Some(0));
}

/// A disk that is full is told of and costs viewers nothing; when there is room again, what is still
/// in memory is kept after all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_viewers_nothing() {
    let deployment = Deployment::new("recordfull");
    let folder = deployment.data().join("small");
    std::fs::create_dir_all(&folder).expect("a folder");
    let folder = folder.to_str().expect("UTF-8").to_owned();
    let mount = format!("mount -t tmpfs -o size=4m none '{folder}' && exec \"$@\"");
    let deployment = deployment
        .with("LEMONAIR_RECORDINGS", &folder)
        .under(&["unshare", "-rm", "sh", "-c", &mount, "sh"]);
    let up = deployment.start("up").await;
    let (mint, key) = streamer(&up).await;
    let publisher = Publisher::start(&up.rtmp, &key);
    let anybody = Api::new(&up.http);
    until_live(&anybody).await;
    let playlist = until_kept(&anybody, "mint", 1.0).await;

    // Whoever looks through the process sees its small disk.
    let filler = format!("/proc/{}/root{folder}/filler", up.id());
    let filler = Path::new(&filler);
    let full = std::fs::write(filler, vec![7; 8 << 20]).expect_err("it is small");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let warned = async || {
        let health = mint
            .send("GET", "/api/channels/mint/health", None, &[])
            .await
            .1;
        let warnings = health["warnings"].as_array()?.clone();
        Some(
            warnings
                .iter()
                .any(|warning| warning["code"] == "recording"),
        )
    };
    eventually("the streamer is told", async || {
        warned().await?.then_some(())
    })
    .await;
    let metrics = text(&anybody, "/metrics").await.expect("metrics");
    assert!(metrics.contains("lemonair_recording_errors_total"));
    let newest = async || {
        let master = text(&anybody, "/hls/mint/index.m3u8").await?;
        let media = format!("/hls/mint/{}", master.lines().last()?);
        let media = text(&anybody, &media).await?;
        media
            .lines()
            .rfind(|line| line.ends_with(".m4s"))
            .map(str::to_owned)
    };
    let before = newest().await;
    eventually("live goes on", async || {
        (newest().await != before).then_some(())
    })
    .await;

    std::fs::remove_file(filler).expect("delete");
    eventually("it is well again", async || {
        (!warned().await?).then_some(())
    })
    .await;
    publisher.stop().await;
    until_ready(&anybody).await;
    let whole = text(&anybody, &playlist).await.expect("a playlist");
    assert!(
        !whole.contains("#EXT-X-DISCONTINUITY"),
        "nothing is lost: {whole}"
    );
    let (complaints, _) = decode(&format!("{}{playlist}", up.http)).await;
    assert_eq!(complaints, "");
    assert_eq!(up.stop().await, Some(0));
}

/// A recording is in the folder or in the bucket, and whoever watches it does not know where: not while
/// the bucket is away, after ingest is killed, or on another machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_goes_to_a_bucket() {
    let deployment = Deployment::new("recordbucket").with("LEMONAIR_GRACE", "30");
    let bucket = Bucket::open(deployment.data(), 1_000_000).await;
    let deployment = bucket
        .of(deployment)
        .with("LEMONAIR_RECORDINGS", "s3://exports/kept");
    bucket.set_away(true);
    let mut up = deployment.start("up").await;
    let (_, publisher, key) = on_air(&up).await;
    up.kill().await;
    assert!(!publisher.ended().await);
    let up = deployment.start("up").await;
    let (anybody, playlist) = went_on(&up, &key).await;
    let ready = until_ready(&anybody).await;
    let stream = ready["stream"].as_str().expect("an id");

    // It waits on the disk, and is watched from there.
    let metric = async |name: &str| {
        let metrics = text(&anybody, "/metrics").await?;
        let line = metrics.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let bytes = ready["bytes"].as_f64().expect("a number");
    eventually("it is told that it waits", async || {
        let faults = metric("lemonair_recording_store_errors_total").await?;
        let aside = metric("lemonair_recordings_aside_bytes").await?;
        (faults >= 1.0 && aside > bytes).then_some(())
    })
    .await;
    let (complaints, seconds) = decode(&format!("{}{playlist}", up.http)).await;
    assert_eq!(complaints, "");
    let whole = text(&anybody, &playlist).await;
    let kept = deployment.data().join("data/recordings").join(stream);
    let in_bucket = bucket.folder().join("kept").join(stream);
    assert!(kept.exists() && !in_bucket.exists());
    let log = std::fs::read_to_string(deployment.data().join("up.log")).expect("a log");
    assert_eq!(log.matches("recordings wait on disk").count(), 2, "{log}");
    assert!(!log.contains(SECRET_KEY));

    // The store is back.
    bucket.set_away(false);
    eventually("it is in the bucket, and there alone", async || {
        let aside = metric("lemonair_recordings_aside_bytes").await;
        (!kept.exists() && aside == Some(0.0)).then_some(())
    })
    .await;
    assert!(in_bucket.join("index.m3u8").is_file());
    let from_bucket = decode(&format!("{}{playlist}", up.http)).await;
    assert_eq!(from_bucket, (String::new(), seconds));
    assert_eq!(text(&anybody, &playlist).await, whole);

    // A player that seeks asks for ranges.
    let whole = whole.expect("a playlist");
    let name = whole.lines().find(|line| line.ends_with(".m4s"));
    let name = name.expect("a segment");
    let all = std::fs::read(in_bucket.join(name)).expect("a segment");
    let url = format!("{}/recordings/{stream}/{name}", up.http);
    let ask = async |range: &str| {
        let ask = anybody.http.get(&url).header("range", range);
        let answer = ask.send().await.expect("an answer");
        let (status, range) = (
            answer.status().as_u16(),
            answer.headers().get("content-range"),
        );
        let range = range.map(|range| range.to_str().expect("text").to_owned());
        (status, range, answer.bytes().await.expect("a body"))
    };
    let len = all.len();
    for (wanted, from, to) in [
        ("bytes=10-19", 10, 20),
        ("bytes=0-", 0, len),
        ("bytes=-7", len - 7, len),
    ] {
        let (status, range, body) = ask(wanted).await;
        assert_eq!((status, &body[..]), (206, &all[from..to]), "{wanted}");
        assert_eq!(range, Some(format!("bytes {from}-{}/{len}", to - 1)));
    }
    let (status, range, _) = ask(&format!("bytes={len}-")).await;
    assert_eq!((status, range), (416, Some(format!("bytes */{len}"))));

    // A machine that has nothing of it has it all the same: with an ingest, and without one.
    assert_eq!(up.stop().await, Some(0));
    std::fs::remove_dir_all(deployment.data().join("data")).expect("an empty disk");
    let gateway = deployment.start("gateway").await;
    let alone = decode(&format!("{}{playlist}", gateway.http)).await;
    assert_eq!(alone, (String::new(), seconds));
    assert_eq!(gateway.stop().await, Some(0));
    let up = deployment.start("up").await;
    let anew = decode(&format!("{}{playlist}", up.http)).await;
    assert_eq!(anew, (String::new(), seconds));
    let anybody = Api::new(&up.http);
    let segment = format!("/recordings/{stream}/{name}");
    bucket.set_away(true);
    let (status, _) = anybody.send("GET", &segment, None, &[]).await;
    assert_eq!(status, 503, "it is not gone");
    bucket.set_away(false);

    // It grows old, and goes.
    let database = deployment.database();
    let age = format!("UPDATE {database}.broadcasts SET ended_at = ended_at - 31 * 86400000");
    deployment.sql(&age).await;
    eventually("its bytes are gone", async || {
        let left = std::fs::read_dir(&in_bucket).map_or(0, Iterator::count);
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(text(&anybody, &playlist).await, None);
    assert_eq!(up.stop().await, Some(0));
}

/// What the streamer deletes is gone from the bucket too, with all its files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_streamer_deletes_is_gone_from_the_bucket() {
    let deployment = Deployment::new("bucketdelete");
    let bucket = Bucket::open(deployment.data(), 1_000_000).await;
    let deployment = bucket
        .of(deployment)
        .with("LEMONAIR_RECORDINGS", "s3://exports/kept");
    let up = deployment.start("up").await;
    let (mint, key) = streamer(&up).await;
    let publisher = Publisher::start(&up.rtmp, &key);
    let playlist = until_kept(&mint, "mint", 2.0).await;
    publisher.stop().await;
    let ready = until_ready(&mint).await;
    let stream = ready["stream"].as_str().expect("an id");
    let in_bucket = bucket.folder().join("kept").join(stream);
    eventually("it is in the bucket", async || {
        in_bucket.join("index.m3u8").is_file().then_some(())
    })
    .await;
    assert!(text(&mint, &playlist).await.is_some());

    let one = format!("/api/recordings/{stream}");
    assert_eq!(mint.send("DELETE", &one, None, &[]).await.0, 204);
    assert_eq!(text(&mint, &playlist).await, None);
    eventually("its bytes are gone", async || {
        let left = std::fs::read_dir(&in_bucket).map_or(0, Iterator::count);
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(up.stop().await, Some(0));
}
