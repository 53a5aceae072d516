//! What streamers reach: RTMP in, HLS out, and the life of a broadcast.
//!
//! The way of a frame: `server` reads it from a socket, [`rtmp`] finds the message, [`flv`] the
//! access unit, [`packager`] puts it into a fragment ([`fmp4`]), [`hls`] lists the segment, and
//! `http` serves it. The way of a broadcast: `room` asks [`broadcast`] what an arrival or
//! departure means, and tells the topic.
//!
//! | file | holds |
//! |---|---|
//! | [`rtmp`] | the protocol, without I/O |
//! | `server` | its sockets, limits and time-outs |
//! | `restream` | broadcasts pushed on to other servers |
//! | `tls` | the certificates of RTMPS |
//! | `places`, `tries`, `allowance` | how many may knock, guess, and how much they may send |
//! | [`flv`], [`codec`], `clock` | tags, headers and timestamps into access units |
//! | [`packager`], `muxer`, [`fmp4`] | access units into fragments and segments |
//! | [`hls`], `rendition`, `feed`, `http` | the window, its sharing, all of a broadcast's, their serving |
//! | [`health`] | how a publisher does |
//! | `thumbnail` | one current picture a broadcast |
//! | `ladder` | smaller pictures of broadcasts |
//! | `recording` | broadcasts kept, and how long |
//! | [`broadcast`], `room`, `rooms`, `publisher` | started, interrupted, resumed, ended |

// What knows neither sockets nor time can be used, measured and fuzzed from outside.
pub mod broadcast;
pub mod codec;
pub mod flv;
pub mod fmp4;
pub mod health;
pub mod hls;
pub mod packager;
pub mod restream;
pub mod rtmp;

mod allowance;
mod clock;
mod feed;
mod http;
mod identity;
mod ladder;
mod muxer;
mod places;
mod publisher;
mod recording;
mod rendition;
mod room;
mod rooms;
mod server;
mod thumbnail;
mod tls;
mod tries;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use lemonair_schemas::stream::Figures;
use lemonair_schemas::{EventId, RoomId, Timestamp};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use broadcast::{Reason, What};
pub use ladder::{BadRung, Rung, Settings as LadderSettings};
pub use recording::{Recordings, Retention, Store};
pub use thumbnail::Settings as ThumbnailSettings;
pub use tls::Certificate;

use places::Places;
use rooms::Rooms;
use server::Server;
use tries::Tries;

/// Settings, with defaults for one machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds this ingest's id. `.lemonair/ingest`.
    pub data: PathBuf,
    /// Base URL at which gateways reach [`Ingest::router`]. `http://127.0.0.1:8080`.
    pub origin: String,
    /// The first part of the path in the RTMP URL. `live`.
    pub app: String,
    /// Connections that do not publish yet; more are closed at once. 1000.
    pub connections: usize,
    /// Of those, from one address. 100.
    pub connections_per_address: usize,
    /// Publishers on air at once. 1000.
    pub publishers: usize,
    /// Kilobits a second that a publisher may send, over ten seconds; zero for any number. 50,000.
    pub kilobits: u32,
    /// A broadcast that has lasted so long is ended. Without limit.
    pub longest: Duration,
    /// What publishers over RTMPS are shown. None.
    pub certificate: Option<Certificate>,
    /// Where the broadcasts of rooms are pushed on to. Nowhere.
    pub restream: BTreeMap<RoomId, Vec<restream::Target>>,
    /// Whose certificates such servers may have, beside those that browsers trust: a file in PEM.
    pub authorities: Option<PathBuf>,
    /// From connecting to publishing. 10 s.
    pub handshake: Duration,
    /// A publisher that sends no media for so long is cut off. 10 s.
    pub idle: Duration,
    /// How long a broadcast waits for a publisher whose line dropped. 60 s.
    pub grace: Duration,
    /// A broadcast of which nothing is heard for so long ends without us. 60 s.
    pub lease: Duration,
    /// How long the picture of a broadcast that ended can still be had. 30 s.
    pub linger: Duration,
    /// From the signal to stop until events that no broker took are given up. 10 s.
    pub shutdown: Duration,
    /// The largest message, which is the largest frame. 8 MiB.
    pub max_message: usize,
    /// Wrong keys a minute from one address. 10.
    pub failed_tries: u32,
    /// Segments of 2 s, cut at 10 s or 16 MiB if there is no key frame, in fragments of 1/3 s.
    pub cut: packager::Cut,
    /// 30 s listed, 10 s more kept, 64 MiB in all; 2 h listed where there is a recording.
    pub hls: hls::Settings,
    /// Where broadcasts are recorded. Nowhere.
    pub recordings: Option<Recordings>,
    /// For ever, however many.
    pub retention: Retention,
    /// How often what is kept is looked after, if there is no news. 30 s.
    pub keep_every: Duration,
    /// Every 10 s, 640 pixels wide, by `ffmpeg`, 2 at once, 5 s each.
    pub thumbnails: ThumbnailSettings,
    /// No rungs; one thread each, 16 children of `ffmpeg` at once; 3 s until they are listed.
    pub ladder: LadderSettings,
}

/// Keys, events and memory: what ingest needs of the rest of the system.
///
/// Each call may fail for a while. Lookups are then refused to the publisher; events are tried again
/// until they are in.
pub trait Backstage: fmt::Debug + Send + Sync + 'static {
    /// What this stream key is good for, if it is.
    fn permit<'a>(
        &'a self,
        stream_key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Permit>, BackstageError>>;

    /// Returns when the topic holds the event. Called again with the same event after an error.
    fn append(&self, event: Lifecycle) -> BoxFuture<'_, Result<(), BackstageError>>;

    /// Says that a broadcast goes on. False: it does not, by somebody else's word.
    fn hold<'a>(
        &'a self,
        room: &'a RoomId,
        stream: EventId,
    ) -> BoxFuture<'a, Result<bool, BackstageError>>;

    /// Broadcasts that were started by this ingest and not ended, as of everything appended so far.
    fn left_open<'a>(
        &'a self,
        ingest: &'a str,
    ) -> BoxFuture<'a, Result<Vec<OpenBroadcast>, BackstageError>>;

    /// What is known of these broadcasts and their recordings, as of everything told so far. Those
    /// that are not known yet are left out.
    fn recorded<'a>(
        &'a self,
        streams: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Recorded>, BackstageError>>;

    /// Returns when the topic holds the news, and when it is known.
    fn tell_recording<'a>(
        &'a self,
        room: &'a RoomId,
        stream: EventId,
        news: RecordingNews,
    ) -> BoxFuture<'a, Result<(), BackstageError>>;
}

pub type BackstageError = anyhow::Error;

/// May publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    pub room: RoomId,
    /// Which key it is; not the key itself.
    pub key: EventId,
}

/// Keys of a room that are good no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    Key(EventId),
    AllBut(EventId),
}

/// Something happened to a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    pub room: RoomId,
    pub stream: EventId,
    pub what: What,
    /// Where gateways get the picture.
    pub origin: String,
    /// Which ingest carries it.
    pub ingest: String,
    /// How the publisher did that is gone, if that was measured.
    pub figures: Option<Figures>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBroadcast {
    pub room: RoomId,
    pub stream: EventId,
}

/// A broadcast, as far as its recording is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub room: RoomId,
    pub stream: EventId,
    /// Which ingest carried it last.
    pub ingest: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// It was told that there is a recording.
    pub begun: bool,
    /// How much it is; `None` until it was told that it is whole.
    pub bytes: Option<u64>,
    /// Nobody shall have it any more.
    pub deleted: bool,
}

/// Something happened to a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingNews {
    Begun,
    Whole {
        begins: Timestamp,
        /// Of what is kept; what is missing is not counted.
        duration: Duration,
        bytes: u64,
    },
    /// It is too old, there are too many, or nothing of it could be written.
    Expired,
}

/// Why a publisher is not let in, in words for the streamer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("no such stream key; copy it again from the studio")]
    Key,
    #[error("no such application; the server's address ends in /live")]
    App,
    #[error("too many wrong stream keys; wait a minute")]
    Tries,
    #[error("the stream key cannot be checked now; try again soon")]
    Unavailable,
    #[error("the room is busy; try again soon")]
    Busy,
    #[error("the server has as many publishers as it may have; try again later")]
    Full,
    #[error("the server is shutting down; try again soon")]
    ShuttingDown,
}

/// Publishers in, pictures out.
#[derive(Clone)]
pub struct Ingest {
    server: Arc<Server>,
    tls: Option<TlsAcceptor>,
}

/// Where publishers come in. Give the listeners a long backlog: what overflows it is neither accepted
/// nor refused.
#[derive(Debug)]
pub struct Doors {
    pub rtmp: TcpListener,
    /// Nobody is let in here without a [`Certificate`].
    pub rtmps: Option<TcpListener>,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Config {
        let target = Duration::from_secs(2);
        // A third of a second, rounded up as timestamps are: ten pictures of thirty fit in.
        let part = Duration::from_millis(335);
        Config {
            data: ".lemonair/ingest".into(),
            origin: "http://127.0.0.1:8080".to_owned(),
            app: "live".to_owned(),
            connections: 1000,
            connections_per_address: 100,
            publishers: 1000,
            kilobits: 50_000,
            longest: Duration::MAX,
            certificate: None,
            restream: BTreeMap::new(),
            authorities: None,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            grace: Duration::from_secs(60),
            lease: Duration::from_secs(60),
            linger: Duration::from_secs(30),
            shutdown: Duration::from_secs(10),
            max_message: 8 << 20,
            failed_tries: 10,
            cut: packager::Cut {
                target,
                longest: Duration::from_secs(10),
                largest: 16 << 20,
                fragment: part,
            },
            hls: hls::Settings {
                window: Duration::from_secs(30),
                dvr: Duration::from_secs(2 * 3600),
                kept: Duration::from_secs(10),
                bytes: 64 << 20,
                target,
                part,
            },
            recordings: None,
            retention: Retention {
                age: None,
                bytes: None,
            },
            keep_every: Duration::from_secs(30),
            thumbnails: ThumbnailSettings {
                ffmpeg: "ffmpeg".into(),
                interval: Duration::from_secs(10),
                width: 640,
                children: 2,
                timeout: Duration::from_secs(5),
            },
            ladder: LadderSettings {
                ffmpeg: "ffmpeg".into(),
                rungs: Vec::new(),
                threads: 1,
                children: 16,
                patience: Duration::from_secs(3),
            },
        }
    }
}

impl Config {
    /// Fails if the data folder or the certificate cannot be used.
    pub fn build(mut self, backstage: Arc<dyn Backstage>) -> io::Result<Ingest> {
        let ingest = identity::load(&self.data)?;
        if self.recordings.is_none() {
            self.hls.dvr = Duration::ZERO;
        }
        let certificate = self.certificate.as_ref();
        let tls = certificate.map(Certificate::acceptor).transpose()?;
        let rooms = Arc::new(Rooms::new(self.clone(), ingest, Arc::clone(&backstage)));
        Ok(Ingest {
            server: Arc::new(Server {
                places: Places::new(self.connections, self.connections_per_address),
                tries: Mutex::new(Tries::new(self.failed_tries)),
                config: self,
                backstage,
                rooms,
            }),
            tls,
        })
    }

    /// Where ends of recordings stand that are not in them yet.
    fn journals(&self) -> PathBuf {
        self.data.join("journals")
    }
}

// === impl Ingest ===

impl Ingest {
    /// Takes up what an earlier run left open, then takes publishers until `shutdown`, and ends all
    /// broadcasts before it returns.
    pub async fn run(&self, doors: Doors, shutdown: CancellationToken) {
        let keeper = self.server.rooms.keeper();
        if let Some(keeper) = &keeper {
            keeper.recover().await;
        }
        let recovered = tokio::select! {
            () = self.server.rooms.recover() => true,
            () = shutdown.cancelled() => false,
        };
        if !recovered {
            return;
        }
        let connections = TaskTracker::new();
        if let Some(keeper) = keeper {
            connections.spawn(keeper.run(shutdown.clone()));
        }
        let serve = |listener, tls| {
            let server = Arc::clone(&self.server);
            server.run(listener, tls, shutdown.clone(), &connections)
        };
        let secure = async {
            if let (Some(listener), Some(tls)) = (doors.rtmps, &self.tls) {
                serve(listener, Some(tls.clone())).await;
            }
        };
        tokio::join!(serve(doors.rtmp, None), secure);
        self.server.rooms.close(self.server.config.shutdown).await;
        connections.close();
        connections.wait().await;
    }

    /// Ends the room's broadcast if its publisher came with one of these keys.
    pub async fn revoke(&self, room: &RoomId, revoked: Revoked) {
        self.server.rooms.revoke(room, revoked).await;
    }

    /// `GET /hls/{room}/index.m3u8`, `/hls/{room}/{file}`, `/thumbnails/{room}.jpg`,
    /// `/recordings/{stream}/index.m3u8` and what it names, and `/health/{room}`, which is not for
    /// everybody.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.server.rooms))
    }
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ingest").field(&self.server).finish()
    }
}

impl From<TcpListener> for Doors {
    fn from(rtmp: TcpListener) -> Doors {
        Doors { rtmp, rtmps: None }
    }
}

// === impl Revoked ===

impl Revoked {
    fn includes(self, key: EventId) -> bool {
        match self {
            Revoked::Key(revoked) => key == revoked,
            Revoked::AllBut(good) => key != good,
        }
    }
}

// === impl Refused ===

impl Refused {
    fn as_str(self) -> &'static str {
        match self {
            Refused::Key => "key",
            Refused::App => "app",
            Refused::Tries => "tries",
            Refused::Unavailable => "unavailable",
            Refused::Busy => "busy",
            Refused::Full => "full",
            Refused::ShuttingDown => "shutting_down",
        }
    }
}
