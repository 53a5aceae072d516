//! A real ingest on real sockets, real ffmpeg around it, and a topic in memory.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use lemonair_ingest::{
    Backstage, BackstageError, Config, Doors, Ingest, Lifecycle, OpenBroadcast, Permit, Recorded,
    RecordingNews, What,
};
use lemonair_schemas::{EventId, RoomId};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const KEY: &str = "a-good-key";
/// Good only once somebody has said so.
pub(crate) const LATER_KEY: &str = "a-later-good-key";
pub(crate) const KEY_ID: EventId = EventId(Uuid::from_u128(7));
pub(crate) const ROOM: &str = "mint";
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) topic: Arc<Topic>,
    rtmp_address: SocketAddr,
    rtmps_address: SocketAddr,
    pub(crate) http: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ingest: Ingest,
    pub(crate) running: JoinHandle<()>,
    pub(crate) data: PathBuf,
}

/// What the rest of the system is to ingest: one key, and a topic that may be out of order for a while.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    pub(crate) events: Mutex<Vec<Lifecycle>>,
    pub(crate) open: Mutex<Vec<OpenBroadcast>>,
    /// A broadcast that somebody else has ended.
    pub(crate) lapsed: Mutex<Option<EventId>>,
    /// The later key is good.
    pub(crate) later: AtomicBool,
    /// So many appends fail first.
    pub(crate) failures: AtomicU32,
    /// What was told of recordings.
    pub(crate) recordings: Mutex<Vec<(EventId, RecordingNews)>>,
    /// Recordings that somebody has deleted.
    pub(crate) deleted: Mutex<Vec<EventId>>,
}

impl Topic {
    /// What a read model would say.
    fn known(&self, stream: EventId) -> Option<Recorded> {
        let events = self.events.lock().expect("no panic");
        let of_it = || events.iter().filter(|event| event.stream == stream);
        let told = self.recordings.lock().expect("no panic");
        let told: Vec<RecordingNews> = told
            .iter()
            .filter(|(told, _)| *told == stream)
            .map(|(_, news)| *news)
            .collect();
        let first = of_it().next()?;
        let ended = of_it().any(|event| matches!(event.what, What::Ended(_)));
        Some(Recorded {
            room: first.room.clone(),
            stream,
            ingest: first.ingest.clone(),
            started_at: stream.at(),
            ended_at: ended.then(|| stream.at()),
            begun: !told.is_empty(),
            bytes: told.iter().find_map(|news| match news {
                RecordingNews::Whole { bytes, .. } => Some(*bytes),
                _ => None,
            }),
            deleted: told.contains(&RecordingNews::Expired)
                || self.deleted.lock().expect("no panic").contains(&stream),
        })
    }
}

impl Backstage for Topic {
    fn permit<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Permit>, BackstageError>> {
        let good = key == KEY || key == LATER_KEY && self.later.load(Ordering::SeqCst);
        let permit = good.then(|| Permit {
            room: ROOM.parse().expect("a room"),
            key: KEY_ID,
        });
        Box::pin(async move { Ok(permit) })
    }

    fn append(&self, event: Lifecycle) -> BoxFuture<'_, Result<(), BackstageError>> {
        Box::pin(async move {
            let take = |left: u32| left.checked_sub(1);
            if self
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_ok()
            {
                return Err(BackstageError::msg("the broker is away"));
            }
            self.events.lock().expect("no panic").push(event);
            Ok(())
        })
    }

    fn hold<'a>(
        &'a self,
        _: &'a RoomId,
        stream: EventId,
    ) -> BoxFuture<'a, Result<bool, BackstageError>> {
        let lapsed = *self.lapsed.lock().expect("no panic");
        Box::pin(async move { Ok(lapsed != Some(stream)) })
    }

    fn left_open<'a>(
        &'a self,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Vec<OpenBroadcast>, BackstageError>> {
        let open = std::mem::take(&mut *self.open.lock().expect("no panic"));
        Box::pin(async move { Ok(open) })
    }

    fn recorded<'a>(
        &'a self,
        streams: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Recorded>, BackstageError>> {
        let known = streams.iter().filter_map(|stream| self.known(*stream));
        let known = known.collect();
        Box::pin(async move { Ok(known) })
    }

    fn tell_recording<'a>(
        &'a self,
        _: &'a RoomId,
        stream: EventId,
        news: RecordingNews,
    ) -> BoxFuture<'a, Result<(), BackstageError>> {
        let mut told = self.recordings.lock().expect("no panic");
        told.push((stream, news));
        Box::pin(async move { Ok(()) })
    }
}

impl Stage {
    pub(crate) async fn new() -> Stage {
        Stage::with(Config::default(), Topic::default()).await
    }

    pub(crate) async fn with(config: Config, topic: Topic) -> Stage {
        let data = std::env::temp_dir().join(format!("lemonair-ingest-{}", Uuid::now_v7()));
        let topic = Arc::new(topic);
        let config = Config {
            data: data.clone(),
            ..config
        };
        let ingest = config
            .build(Arc::clone(&topic) as Arc<dyn Backstage>)
            .expect("build ingest");
        let (rtmp, rtmps, http) = (listen(), listen(), listen());
        let rtmp_address = rtmp.local_addr().expect("an address");
        let rtmps_address = rtmps.local_addr().expect("an address");
        let http_address = http.local_addr().expect("an address");
        tokio::spawn(axum::serve(http, ingest.router()).into_future());
        let shutdown = CancellationToken::new();
        let doors = Doors {
            rtmp,
            rtmps: Some(rtmps),
        };
        let running = tokio::spawn(run(ingest.clone(), doors, shutdown.clone()));
        Stage {
            topic,
            rtmp_address,
            rtmps_address,
            http: format!("http://{http_address}"),
            shutdown,
            ingest,
            running,
            data,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.rtmp_address
    }

    pub(crate) fn playlist(&self) -> String {
        format!("{}/hls/{ROOM}/index.m3u8", self.http)
    }

    /// Where the media playlist is, or nothing while there is none.
    pub(crate) async fn media(&self) -> Option<String> {
        let response = get(&self.playlist()).await;
        if !response.status().is_success() {
            return None;
        }
        let text = response.text().await.expect("a playlist");
        let name = text.lines().last().expect("a name");
        Some(self.playlist().replace("index.m3u8", name))
    }

    /// The media playlist's text, or nothing while there is none.
    pub(crate) async fn playlist_text(&self) -> String {
        let Some(url) = self.media().await else {
            return String::new();
        };
        let response = get(&url).await;
        if !response.status().is_success() {
            return String::new();
        }
        response.text().await.expect("a playlist")
    }

    pub(crate) async fn until_playlist(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        until(what, || async {
            let text = self.playlist_text().await;
            holds(&text).then_some(text)
        })
        .await
    }

    /// What happened, in order.
    pub(crate) fn told(&self) -> Vec<What> {
        self.topic
            .events
            .lock()
            .expect("no panic")
            .iter()
            .map(|event| event.what)
            .collect()
    }

    pub(crate) async fn until_told(&self, expected: &[What]) {
        until(&format!("{expected:?}"), || async {
            (self.told() == expected).then_some(())
        })
        .await;
    }

    /// An encoder in real time. `source` are arguments between its own and the address.
    pub(crate) fn publish(&self, key: &str, source: &str) -> Child {
        self.publish_to(&format!("rtmp://{}/live/{key}", self.rtmp_address), source)
    }

    /// Where publishers connect over TLS.
    pub(crate) fn secure_url(&self, key: &str) -> String {
        format!("rtmps://localhost:{}/live/{key}", self.rtmps_address.port())
    }

    pub(crate) fn publish_to(&self, url: &str, source: &str) -> Child {
        Command::new("ffmpeg")
            .args(["-hide_banner", "-v", "error", "-nostdin"])
            .args(source.split_whitespace())
            .args(["-f", "flv", url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run ffmpeg; these tests need it")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// With room for a crowd: what overflows the backlog is neither accepted nor refused.
fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("bind");
    socket.listen(1024).expect("listen")
}

async fn run(ingest: Ingest, doors: Doors, shutdown: CancellationToken) {
    ingest.run(doors, shutdown).await;
}

/// A test picture and a tone, with a key frame every second.
pub(crate) fn picture_and_tone(seconds: u32) -> String {
    format!("{} {} -t {seconds} {VIDEO} {AUDIO}", picture(), tone())
}

pub(crate) fn picture() -> &'static str {
    "-re -f lavfi -i testsrc=size=320x180:rate=25"
}

pub(crate) fn tone() -> &'static str {
    "-re -f lavfi -i sine=frequency=440:sample_rate=44100"
}

pub(crate) const VIDEO: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -threads 1";
pub(crate) const AUDIO: &str = "-c:a aac -b:a 64k";

pub(crate) async fn get(url: &str) -> reqwest::Response {
    reqwest::get(url).await.expect("an answer")
}

/// Asks again and again, until there is something or the time is up.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "still waiting for {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for an encoder; what it said on stderr.
pub(crate) async fn finish(encoder: Child) -> (bool, String) {
    let output = tokio::time::timeout(DEADLINE, encoder.wait_with_output());
    let Output { status, stderr, .. } = output.await.expect("ffmpeg ends").expect("ffmpeg ran");
    (
        status.success(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

pub(crate) async fn kill(mut encoder: Child) {
    encoder.kill().await.expect("kill -9");
}

/// The files between two discontinuities, one behind the other, as a player would take them.
pub(crate) async fn stretches(stage: &Stage) -> Vec<Vec<u8>> {
    stretches_of(&stage.media().await.expect("a playlist")).await
}

/// The same of any media playlist.
pub(crate) async fn stretches_of(playlist: &str) -> Vec<Vec<u8>> {
    let text = get(playlist).await.text().await.expect("a playlist");
    let (folder, _) = playlist.rsplit_once('/').expect("a folder");
    let mut stretches = Vec::new();
    for stretch in text.split("#EXT-X-DISCONTINUITY\n") {
        let mut bytes = Vec::new();
        for line in stretch.lines() {
            let map = line
                .strip_prefix("#EXT-X-MAP:URI=\"")
                .map(|name| name.trim_end_matches('"'));
            let Some(name) = map.or_else(|| (!line.starts_with('#')).then_some(line)) else {
                continue;
            };
            let file = get(&format!("{folder}/{name}")).await;
            assert_eq!(file.status(), 200, "{name}");
            bytes.extend(file.bytes().await.expect("a body"));
        }
        stretches.push(bytes);
    }
    stretches
}

/// Decodes everything; what ffmpeg complained about.
pub(crate) async fn complaints(url: &str) -> String {
    run_tool(
        "ffmpeg",
        &["-v", "error", "-nostdin", "-i", url, "-f", "null", "-"],
    )
    .await
    .1
}

/// The streams of a program are told twice: once will do.
pub(crate) async fn probe_streams(arguments: &[&str]) -> String {
    let out = probe(arguments).await;
    out.split("\n\n").next().unwrap_or_default().to_owned()
}

pub(crate) async fn probe(arguments: &[&str]) -> String {
    let (out, complaints) = run_tool(
        "ffprobe",
        &[&["-v", "error", "-of", "csv=p=0"], arguments].concat(),
    )
    .await;
    assert_eq!(complaints, "");
    out
}

async fn run_tool(program: &str, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await;
    let output = output
        .expect("it ends")
        .expect("it runs; these tests need ffmpeg");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    (text(output.stdout), text(output.stderr))
}

pub(crate) async fn signal(name: &str, process: &str) {
    run_tool("kill", &[&format!("-{name}"), process]).await;
}
