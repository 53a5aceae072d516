//! Pushes broadcasts on to other servers: one task a target and publisher, which connects, and again
//! when the line drops, and never holds the publisher up.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lemonair_schemas::RoomId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::flv::Unit;
use crate::rtmp::client::Refusal;
use crate::rtmp::{Client, Media, StreamKey};
use crate::tls;

/// Where a broadcast is pushed to: `rtmp://host/app/key`, or `rtmps`. It shows itself without its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    secure: bool,
    host: String,
    port: u16,
    app: String,
    key: StreamKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a target is rtmp://host/app/key or rtmps://host/app/key")]
pub struct BadTarget;

/// How a target does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Connecting,
    Live,
    /// It is tried again.
    Failed(String),
}

/// A publisher's targets. Dropping it is their goodbye.
#[derive(Debug)]
pub(crate) struct Relays(Vec<Relay>);

#[derive(Debug)]
struct Relay {
    name: String,
    line: Arc<Line>,
    sender: mpsc::Sender<Queued>,
}

/// What a target's task and its publisher share.
#[derive(Debug)]
struct Line {
    state: Mutex<State>,
    headers: Mutex<Headers>,
    /// Bytes that wait to be sent.
    waiting: AtomicUsize,
    /// Something was left out.
    gap: AtomicBool,
}

#[derive(Debug)]
struct Queued {
    media: Media,
    /// A key frame: decoders can begin here.
    begins: bool,
}

struct Task {
    room: RoomId,
    target: Target,
    authorities: Option<PathBuf>,
    line: Arc<Line>,
    queue: mpsc::Receiver<Queued>,
}

/// What a decoder needs before the first frame: each replaces the one before it.
#[derive(Debug, Clone, Default)]
struct Headers {
    metadata: Option<Media>,
    video: Option<Media>,
    audio: Option<Media>,
}

/// How far a connection has got.
#[derive(Debug, Default)]
struct Sent {
    /// The latest timestamp, and where it is on the connection's own time, which begins with zero.
    last: Option<(u32, i64)>,
    /// A decoder has its headers, and all since then.
    whole: bool,
}

/// Messages and bytes that may wait for a target. When it is further behind, frames are left out, and
/// it goes on with the next key frame.
const QUEUE: usize = 1024;
const QUEUE_BYTES: usize = 8 << 20;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// For connecting and being let in, and for each write.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the line dropped: {0}")]
    Line(#[from] io::Error),
    #[error("it closed the line")]
    Closed,
    #[error("no answer within {PATIENCE:?}")]
    Slow,
}

// === impl Target ===

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(url: &str) -> Result<Target, BadTarget> {
        let (scheme, rest) = url.split_once("://").ok_or(BadTarget)?;
        let (secure, usual) = match scheme {
            "rtmp" => (false, 1935),
            "rtmps" => (true, 443),
            _ => return Err(BadTarget),
        };
        let (authority, path) = rest.split_once('/').ok_or(BadTarget)?;
        let (app, key) = path.rsplit_once('/').ok_or(BadTarget)?;
        // The colons of an IPv6 address stand in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| BadTarget)?)
            }
            _ => (authority, usual),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || app.is_empty() || key.is_empty() {
            return Err(BadTarget);
        }
        Ok(Target {
            secure,
            host: host.to_owned(),
            port,
            app: app.to_owned(),
            key: StreamKey(key.to_owned()),
        })
    }
}

/// The address without the key.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "rtmps" } else { "rtmp" };
        let (host, port, app) = (&self.host, self.port, &self.app);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}/{app}")
        } else {
            write!(f, "{scheme}://{host}:{port}/{app}")
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl State ===

impl State {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Live => "live",
            State::Failed(_) => "failed",
        }
    }

    pub fn cause(&self) -> Option<&str> {
        match self {
            State::Failed(cause) => Some(cause),
            State::Connecting | State::Live => None,
        }
    }
}

// === impl Relays ===

impl Relays {
    pub(crate) fn start(room: &RoomId, targets: &[Target], authorities: Option<&Path>) -> Relays {
        let start = |target: &Target| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let line = Arc::new(Line {
                state: Mutex::new(State::Connecting),
                headers: Mutex::default(),
                waiting: AtomicUsize::new(0),
                gap: AtomicBool::new(false),
            });
            let relay = Relay {
                name: target.to_string(),
                line: Arc::clone(&line),
                sender,
            };
            let task = Task {
                room: room.clone(),
                target: target.clone(),
                authorities: authorities.map(Path::to_owned),
                line,
                queue,
            };
            tokio::spawn(task.run());
            relay
        };
        Relays(targets.iter().map(start).collect())
    }

    pub(crate) fn media(&self, media: &Media, unit: &Unit) {
        for relay in &self.0 {
            relay.line.remember(media, unit);
            relay.media(media, unit);
        }
    }

    /// Each target's address without its key, and how it does.
    pub(crate) fn states(&self) -> Vec<(String, State)> {
        let state = |relay: &Relay| (relay.name.clone(), relay.line.state());
        self.0.iter().map(state).collect()
    }
}

// === impl Relay ===

impl Relay {
    fn media(&self, media: &Media, unit: &Unit) {
        let queued = Queued {
            media: media.clone(),
            begins: matches!(unit, Unit::VideoFrame(frame) if frame.key),
        };
        let len = media.payload.len();
        let waiting = self.line.waiting.fetch_add(len, Ordering::Relaxed);
        if waiting + len > QUEUE_BYTES || self.sender.try_send(queued).is_err() {
            self.line.waiting.fetch_sub(len, Ordering::Relaxed);
            self.line.gap.store(true, Ordering::Relaxed);
        }
    }
}

// === impl Line ===

impl Line {
    fn remember(&self, media: &Media, unit: &Unit) {
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        match unit {
            Unit::Metadata(_) => headers.metadata = Some(media.clone()),
            Unit::VideoConfig(_) => headers.video = Some(media.clone()),
            Unit::AudioConfig(_) => headers.audio = Some(media.clone()),
            _ => {}
        }
    }

    fn headers(&self) -> Headers {
        let headers = self.headers.lock();
        headers.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> State {
        let state = self.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

// === impl Task ===

impl Task {
    async fn run(mut self) {
        let mut pause = FIRST_RETRY;
        loop {
            self.line.set(State::Connecting);
            let Err(error) = self.push().await else {
                return;
            };
            if self.line.state() == State::Live {
                pause = FIRST_RETRY;
            }
            tracing::warn!(room = %self.room, target = %self.target, "failed to push the broadcast on: {error}");
            metrics::counter!("lemonair_ingest_restream_failures_total").increment(1);
            self.line.set(State::Failed(error.to_string()));
            // What comes meanwhile is not kept: a target is live or it is not.
            let waited = timeout(pause, async { while self.next().await.is_some() {} });
            if waited.await.is_ok() {
                return;
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    /// Until the publisher is gone.
    async fn push(&mut self) -> Result<(), Error> {
        let Target { host, port, .. } = &self.target;
        let connected = timeout(PATIENCE, TcpStream::connect((host.as_str(), *port))).await;
        let stream = connected
            .map_err(|_| Error::Slow)?
            .map_err(Error::Connect)?;
        stream.set_nodelay(true)?;
        if !self.target.secure {
            return self.talk(stream).await;
        }
        let secured = tls::connect(host, stream, self.authorities.as_deref());
        let secured = timeout(PATIENCE, secured).await;
        let stream = secured.map_err(|_| Error::Slow)?.map_err(Error::Tls)?;
        Box::pin(self.talk(stream)).await
    }

    async fn talk(&mut self, stream: impl AsyncRead + AsyncWrite) -> Result<(), Error> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut said = vec![0; 4096];
        let Target { app, key, .. } = &self.target;
        let mut client = Client::new(app, &self.target.to_string(), key.clone());
        let let_in = async {
            while !client.is_live() {
                writer.write_all(&client.output()).await?;
                hear(&mut client, reader.read(&mut said).await?, &said)?;
            }
            Ok::<_, Error>(())
        };
        timeout(PATIENCE, let_in).await.map_err(|_| Error::Slow)??;
        self.line.set(State::Live);
        tracing::info!(room = %self.room, target = %self.target, "the broadcast is pushed on");

        let mut sent = Sent::default();
        loop {
            let words = client.output();
            let written = timeout(PATIENCE, writer.write_all(&words)).await;
            written.map_err(|_| Error::Slow)??;
            tokio::select! {
                queued = self.next() => match queued {
                    Some(queued) => self.send(&mut client, queued, &mut sent),
                    None => {
                        client.goodbye();
                        let goodbye = async {
                            writer.write_all(&client.output()).await?;
                            writer.shutdown().await
                        };
                        return timeout(PATIENCE, goodbye).await.map_err(|_| Error::Slow)?.map_err(Error::Line);
                    }
                },
                read = reader.read(&mut said) => hear(&mut client, read?, &said)?,
            }
        }
    }

    async fn next(&mut self) -> Option<Queued> {
        let queued = self.queue.recv().await?;
        let len = queued.media.payload.len();
        self.line.waiting.fetch_sub(len, Ordering::Relaxed);
        Some(queued)
    }

    fn send(&self, client: &mut Client, queued: Queued, sent: &mut Sent) {
        let gap = self.line.gap.swap(false, Ordering::Relaxed);
        for media in sent.go_on(queued, self.line.headers(), gap) {
            client.media(&media);
        }
    }
}

// === impl Sent ===

impl Sent {
    /// What is to be sent. Behind a gap that is nothing until the next key frame, and then the headers
    /// again. Time goes on over it: to the server it is one stream.
    fn go_on(&mut self, queued: Queued, headers: Headers, gap: bool) -> Vec<Media> {
        self.whole &= !gap;
        if !self.whole && headers.video.is_some() && !queued.begins {
            return Vec::new();
        }
        let timestamp = queued.media.timestamp;
        let time = self.last.map_or(0, |(last, time)| {
            time + i64::from(timestamp.wrapping_sub(last).cast_signed())
        });
        self.last = Some((timestamp, time));
        // Sound may be from a little before the first picture. After 49 days it begins again with zero.
        let timestamp = time.max(0) as u32;
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.whole, true) {
            let all = [headers.metadata, headers.video, headers.audio];
            let headers = all.into_iter().flatten();
            out.extend(headers.map(|header| Media {
                timestamp,
                ..header
            }));
        }
        out.push(Media {
            timestamp,
            ..queued.media
        });
        out
    }
}

fn hear(client: &mut Client, len: usize, said: &[u8]) -> Result<(), Error> {
    match said.get(..len) {
        Some(said) if len > 0 => Ok(client.handle(said)?),
        _ => Err(Error::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::MediaKind;

    #[test]
    fn time_goes_on_over_a_gap_and_over_the_wrap() {
        let media = |what: u8, timestamp: u32| Media {
            kind: MediaKind::Video,
            timestamp,
            payload: vec![what].into(),
        };
        let headers = Headers {
            video: Some(media(b'h', 7)),
            ..Headers::default()
        };
        let mut sent = Sent::default();
        let mut go_on = |timestamp: u32, begins: bool, gap: bool| {
            let queued = Queued {
                media: media(b'f', timestamp),
                begins,
            };
            let out = sent.go_on(queued, headers.clone(), gap).into_iter();
            out.map(|media| (char::from(media.payload[0]), media.timestamp))
                .collect::<Vec<_>>()
        };
        let (key, frame, gap) = (true, false, true);
        assert!(go_on(1000, frame, !gap).is_empty());
        assert_eq!(go_on(1040, key, !gap), [('h', 0), ('f', 0)]);
        assert_eq!(go_on(1030, frame, !gap), [('f', 0)]);
        assert_eq!(go_on(1080, frame, !gap), [('f', 40)]);
        assert!(go_on(5000, frame, gap).is_empty());
        assert!(go_on(5040, frame, !gap).is_empty());
        assert_eq!(go_on(5080, key, !gap), [('h', 4040), ('f', 4040)]);
        assert_eq!(go_on(5120, frame, !gap), [('f', 4080)]);
        // Twelve days each.
        for n in 1..=5u32 {
            let later = n.wrapping_mul(1 << 30);
            let at = go_on(later.wrapping_add(5120), frame, !gap);
            assert_eq!(at, [('f', later.wrapping_add(4080))]);
        }
    }

    #[test]
    fn a_target_is_told_without_its_key() {
        for (url, told) in [
            (
                "rtmp://a.example/live2/s-3-cret",
                "rtmp://a.example:1935/live2",
            ),
            (
                "rtmps://b.example:1936/x/y/s-3-cret",
                "rtmps://b.example:1936/x/y",
            ),
            (
                "rtmps://[2001:db8::1]/app/s-3-cret",
                "rtmps://[2001:db8::1]:443/app",
            ),
            ("rtmp://[::1]:1/app/s-3-cret?a=b", "rtmp://[::1]:1/app"),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!(target.to_string(), told);
            assert!(!format!("{target:?}").contains("s-3-cret"));
        }
        for url in [
            "",
            "http://a/b/c",
            "rtmp://a/b",
            "rtmp:///b/c",
            "rtmp://a:x/b/c",
            "rtmp://a/b/",
        ] {
            assert_eq!(url.parse::<Target>(), Err(BadTarget), "{url}");
        }
    }
}
