//! The services alone and together, and what they tell of themselves.

mod support;

use lemonair_schemas::EventId;
use serde_json::{Value, json};
use support::{Api, Deployment, Publisher, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_wrong_or_rotated_publishes_nothing() {
    let deployment = Deployment::new("keys").with("LEMONAIR_LOG", "debug");
    let up = deployment.start("up").await;
    let streamer = Api::sign_up(&up.http, "stem").await;
    let path = "/api/channels/stem/stream-key";
    let old = streamer.post(path, json!({})).await["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let new = streamer.post(path, json!({})).await["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    assert_ne!(old, new);
    for key in ["stem", "", "live_nonsense", &old] {
        assert!(
            !Publisher::start(&up.rtmp, key).ended().await,
            "{key:?} was let in"
        );
    }
    let publisher = Publisher::start(&up.rtmp, &new);
    eventually("the channel is live", async || {
        (streamer.get("/api/channels/stem").await["live"] == true).then_some(())
    })
    .await;
    // The streamer, and nobody else, sees how the stream does.
    let health = eventually("the stream is measured", async || {
        let (status, health) = streamer
            .send("GET", "/api/channels/stem/health", None, &[])
            .await;
        (status == 200 && health["video"]["key_frame_seconds"] == 1.0).then_some(health)
    })
    .await;
    assert_eq!(health["video"]["width"], 640);
    assert_eq!(health["warnings"], json!([]), "{health}");
    let other = Api::sign_up(&up.http, "leaf").await;
    let (status, _) = other
        .send("GET", "/api/channels/stem/health", None, &[])
        .await;
    assert_eq!(status, 403);

    // One more key beside it; a takeover with that one, which is revoked, ends the broadcast.
    let keys = "/api/channels/stem/stream-keys";
    let guest = streamer.post(keys, json!({ "label": "guest" })).await;
    let takeover = Publisher::start(&up.rtmp, guest["key"].as_str().expect("a key"));
    assert!(!publisher.ended().await, "the first is cut off");
    let listed = streamer.get(keys).await;
    let labels: Vec<&Value> = listed["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| &key["label"])
        .collect();
    assert_eq!(labels, ["", "guest"]);
    let path = format!("{keys}/{}", guest["id"].as_str().expect("an id"));
    assert_eq!(streamer.send("DELETE", &path, None, &[]).await.0, 204);
    assert!(!takeover.ended().await, "a revoked key is off the air");
    assert_eq!(streamer.send("DELETE", &path, None, &[]).await.0, 404);
    eventually("the channel is off the air", async || {
        (streamer.get("/api/channels/stem").await["live"] == false).then_some(())
    })
    .await;
    let publisher = Publisher::start(&up.rtmp, &new);
    eventually("the channel is live again", async || {
        (streamer.get("/api/channels/stem").await["live"] == true).then_some(())
    })
    .await;
    // A polite end needs no grace time.
    publisher.stop().await;
    let life = eventually("the broadcast is over", async || {
        let life = deployment.life().await;
        let ends = |event: &&Value| event["type"] == "stream.ended";
        (life.iter().filter(ends).count() == 2).then_some(life)
    })
    .await;
    let kinds: Vec<&str> = life
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    let once = ["stream.started", "stream.ended"];
    assert_eq!(kinds, [once, once].concat());
    assert_eq!(life[1]["reason"], "revoked");
    // How the encoder did stays on the topic, for who asks later.
    assert_eq!(life[1]["figures"]["width"], 640, "{life:?}");
    let sql = "SELECT reason, figures_width, figures_key_frame_ms, figures_codec LIKE 'avc1.%' AS avc \
               FROM streams WHERE figures_kbps > 0 ORDER BY at LIMIT 1";
    let row = deployment.run(&["query", "--format", "jsonl", sql]).await;
    let row: Value = serde_json::from_str(&row).expect("a line");
    assert_eq!(
        row,
        json!({ "reason": "revoked", "figures_width": 640, "figures_key_frame_ms": 1000, "avc": 1 })
    );
    assert!(
        !deployment
            .replay(&["channels"])
            .await
            .iter()
            .any(|event| event.to_string().contains(&new))
    );
    assert_eq!(up.stop().await, Some(0));
    // However much is logged, no key is.
    let log = std::fs::read_to_string(deployment.data().join("up.log")).expect("a log");
    assert!(log.contains("DEBUG") && log.contains("publisher refused"));
    let guest = guest["key"].as_str().expect("a key");
    for key in [old.as_str(), &new, guest] {
        let line = log.lines().find(|line| line.contains(key));
        assert_eq!(line, None);
    }
}

/// It was revoked while nobody wrote down where keys are looked up, and ingest began meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_revoked_while_read_models_were_away_publishes_nothing() {
    let deployment = Deployment::new("lateword");
    let project = deployment.start("project").await;
    let decide = deployment.start("decide").await;
    let gateway = deployment.start("gateway").await;
    let streamer = Api::sign_up(&gateway.http, "late").await;
    let path = "/api/channels/late/stream-key";
    let key = streamer.post(path, json!({})).await;
    assert_eq!(project.stop().await, Some(0));
    let said = deployment.refused(&["key", "rotate", "late"]).await;
    assert!(said.contains("it is done, but"), "{said}");
    let ingest = deployment.start("ingest").await;
    let publisher = Publisher::start(&ingest.rtmp, key["key"].as_str().expect("a key"));
    let project = deployment.start("project").await;
    assert!(!publisher.ended().await, "it was let in");
    assert_eq!(deployment.life().await, Vec::<Value>::new());
    for service in [gateway, ingest, decide, project] {
        assert_eq!(service.stop().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_runs_alone() {
    let deployment = Deployment::new("alone")
        .with("LEMONAIR_LEASE", "8")
        .with("LEMONAIR_METRICS", "127.0.0.1:0")
        .with("LEMONAIR_LADDER", r#"["180p:307k"]"#);
    let project = deployment.start("project").await;
    let decide = deployment.start("decide").await;
    let mut ingest = deployment.start("ingest").await;
    let gateway = deployment.start("gateway").await;
    let streamer = Api::sign_up(&gateway.http, "solo").await;
    let key = streamer
        .post("/api/channels/solo/stream-key", json!({}))
        .await;
    let key = key["key"].as_str().expect("a key");
    // That there is nothing yet is for no cache to keep, and for players on other sites to see.
    for path in [
        "hls/solo/index.m3u8".to_owned(),
        "hls/nobody/index.m3u8".to_owned(),
        "thumbnails/solo.jpg".to_owned(),
        format!("recordings/{}/index.m3u8", EventId::new()),
    ] {
        let url = format!("{}/{path}", gateway.http);
        let answer = streamer.http.get(url).send().await.expect("an answer");
        let headers = answer.headers();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(headers["access-control-allow-origin"], "*", "{path}");
    }
    let _publisher = Publisher::start(&ingest.rtmp, key);
    // The gateway passes on the picture of an ingest elsewhere.
    let ask = async |name: &str| {
        let url = format!("{}/hls/solo/{name}", gateway.http);
        let answer = streamer.http.get(url).send().await;
        answer.expect("an answer")
    };
    let master = eventually("there is a picture", async || {
        let answer = ask("index.m3u8").await;
        let text = answer.text().await.ok()?;
        text.contains("#EXT-X-STREAM-INF").then_some(text)
    })
    .await;
    let mut playlists = master.lines().filter(|line| line.ends_with(".m3u8"));
    let media = playlists.next().expect("a playlist");
    // Who waits for a segment waits through the gateway.
    let awaited = ask(&format!("{media}?_HLS_msn=2&_HLS_part=0")).await;
    assert_eq!(awaited.status(), 200);
    let playlist = awaited.text().await.expect("a text");
    assert!(playlist.contains("-2.0.m4s"), "{playlist}");
    assert_eq!(ask(&format!("{media}?_HLS_msn=99")).await.status(), 400);
    let segment = playlist
        .lines()
        .find(|line| line.ends_with(".m4s"))
        .expect("a segment");
    let answer = ask(segment).await;
    assert!(
        answer.headers()["cache-control"]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
    assert!(answer.bytes().await.expect("a body").len() > 1000);

    // Ingest dies with the broadcast on air, and what made its smaller picture with it. The broadcast
    // goes on when ingest and publisher are back.
    eventually("there is a smaller picture", async || {
        let master = ask("index.m3u8").await.text().await.ok()?;
        (master.contains("RESOLUTION=320x180") && is_at_work("307k")).then_some(())
    })
    .await;
    ingest.kill().await;
    eventually("nobody makes it any more", async || {
        (!is_at_work("307k")).then_some(())
    })
    .await;
    let mut ingest = deployment.start("ingest").await;
    let publisher = Publisher::start(&ingest.rtmp, key);
    let kinds = async || {
        let life = deployment.life().await;
        let kinds = life.iter().filter_map(|event| event["type"].as_str());
        kinds.map(str::to_owned).collect::<Vec<String>>()
    };
    eventually("the broadcast goes on", async || {
        (kinds().await.last()? == "stream.resumed").then_some(())
    })
    .await;
    // What has no page of the gateway tells its metrics all the same.
    for (service, expected) in [
        (&project, "lemonair_projection_dead_letters_open"),
        (&decide, "lemonair_decider_commands"),
        (&ingest, "lemonair_"),
    ] {
        let page = reqwest::get(&service.http).await.expect("an answer");
        let page = page.text().await.expect("a page");
        assert!(page.contains(expected), "{page}");
    }
    // It dies again and does not come back: the broadcast ends without it, once.
    ingest.kill().await;
    eventually("the broadcast is over", async || {
        (kinds().await.last()? == "stream.ended").then_some(())
    })
    .await;
    drop(publisher);
    let once = ["stream.started", "stream.interrupted", "stream.resumed"];
    assert_eq!(kinds().await, [&once[..], &["stream.ended"]].concat());

    // Players are a little behind: what is over can be had to its end, also where the picture is elsewhere.
    let ingest = deployment.start("ingest").await;
    let publisher = Publisher::start(&ingest.rtmp, key);
    let media = eventually("there is another picture", async || {
        let master = ask("index.m3u8").await.text().await.ok()?;
        let mut playlists = master.lines().filter(|line| line.ends_with(".m3u8"));
        playlists.next().map(str::to_owned)
    })
    .await;
    publisher.stop().await;
    eventually("its end is written down", async || {
        (streamer.get("/api/channels/solo").await["live"] == false).then_some(())
    })
    .await;
    let playlist = ask(&media).await.text().await.expect("a text");
    assert!(playlist.ends_with("#EXT-X-ENDLIST\n"), "{playlist}");
    let last = playlist.lines().rfind(|line| line.ends_with(".m4s"));
    assert_eq!(ask(last.expect("a segment")).await.status(), 200);
    for service in [gateway, ingest, decide, project] {
        assert_eq!(service.stop().await, Some(0));
    }
}

/// Whether there is a process that has been told this.
fn is_at_work(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("/proc");
    processes.flatten().any(|process| {
        let words = std::fs::read_to_string(process.path().join("cmdline"));
        words.is_ok_and(|words| words.split('\0').any(|word| word == argument))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_commands_say_what_is() {
    let deployment = Deployment::new("health");
    let up = deployment.start("up").await;
    let api = Api::sign_up(&up.http, "core").await;
    assert_eq!(api.get("/healthz").await["status"], "ok");
    let ready = api.get("/readyz").await;
    assert_eq!(
        (&ready["kafka"], &ready["registry"], &ready["database"]),
        (&json!("ok"), &json!("ok"), &json!("ok"))
    );
    let metrics = api.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .is_some_and(|text| text.contains("lemonair_")),
        "{metrics}"
    );
    let doctor = deployment.run(&["doctor"]).await;
    assert!(!doctor.contains("FAULT"), "{doctor}");
    assert!(deployment.run(&["channel", "list"]).await.contains("core"));
    assert!(
        deployment
            .run(&["key", "rotate", "core"])
            .await
            .starts_with("live_")
    );

    let one_line = |said: String| assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    one_line(deployment.refused(&["channel", "show", "nobody"]).await);
    one_line(deployment.refused(&["account", "show", "nobody"]).await);
    one_line(deployment.refused(&["rebuild", "nothing"]).await);
    one_line(
        deployment
            .refused(&["up", "--config", "/nowhere/lemonair.toml"])
            .await,
    );
    let misspelt = Deployment::new("settings").with("LEMONAIR_GRACE", "soon");
    one_line(misspelt.refused(&["up"]).await);
    let unreachable = Deployment::new("settings").with("LEMONAIR_KAFKA_BROKERS", "127.0.0.1:1");
    let said = unreachable.refused(&["up"]).await;
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert_eq!(up.stop().await, Some(0));
}
