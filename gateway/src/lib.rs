//! What viewers reach: WebSocket rooms, the HTTP API, the pages.
//!
//! | file | holds |
//! |---|---|
//! | [`door`], [`line`], [`places`] | where connections come in; one of them; how many an address has |
//! | [`handshake`], [`websocket`], [`deflate`] | from HTTP to a bare connection; the protocol's frames, and deflated ones, without I/O |
//! | [`socket`], [`sse`] | one connection; one that only reads |
//! | [`frame`], [`outbox`], [`connections`] | what they are told, in each form; what waits to be sent; all of them |
//! | [`hub`], [`room`] | all rooms, fed by one consumer; one room, without I/O; [`cursor`] a place in it |
//! | [`moderation`], [`moderated`] | what a room lets pass, a fold without I/O; the room's own, from its read model on |
//! | [`presence`] | how many watch at other gateways |
//! | [`view`], [`audience`] | what of an event who may see |
//! | [`api`] | the HTTP API, one file a subject |
//! | [`token`], [`password`], [`limit`] | who may do what, and how often |
//! | [`display_name`] | what people may be called beside their names |
//! | [`payment`] | who takes money for points: the trait, the signatures, the sandbox |
//! | [`pages`], [`watch`] | the embedded pages; the picture, from here or from another machine's ingest |
//! | [`health`] | liveness, readiness, metrics |

mod api;
mod audience;
mod connections;
pub mod cursor;
pub mod deflate;
mod display_name;
mod door;
mod error;
mod frame;
mod handshake;
mod health;
pub mod hub;
mod limit;
mod line;
mod moderated;
pub mod moderation;
mod nonces;
mod outbox;
mod pages;
mod password;
mod payment;
mod places;
pub mod presence;
pub mod room;
mod socket;
mod sse;
pub mod token;
mod view;
mod watch;
pub mod websocket;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, header};
use futures::future::BoxFuture;
use lemonair_consumers::{Feed, Kafka};
use lemonair_producers::{Desk, Log};
use lemonair_projections::{Checkpoints, accounts, channels};
use lemonair_schemas::{Codec, Event, Position, RoomId, Timestamp};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use sqlx::MySqlPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use api::{find_stream_key, new_stream_key};
pub use password::{Passwords, Weak};

use crate::connections::Connections;
use crate::door::Door;
use crate::hub::Hub;
use crate::limit::Limits;
use crate::nonces::Nonces;
use crate::payment::sandbox::{Sandbox, Secret};
use crate::places::Places;
use crate::token::{Audience, BadToken, Claims, Tokens};

/// Settings of the gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where people reach the pages.
    pub public_url: String,
    /// What streamers enter as the server.
    pub rtmp_url: String,
    /// Other sites whose pages may open a WebSocket here, such as `https://example.org`.
    pub origins: Vec<String>,
    /// Connections that one address may have, or one IPv6 network of 64 bits; zero for any number.
    pub connections_per_address: u32,
    /// Addresses that speak for many people, such as proxies; their connections are not counted.
    pub balancers: Vec<IpAddr>,
    /// Messages a second that an account may send.
    pub chat_per_second: NonZeroU32,
    /// Messages that an account may send at once.
    pub chat_burst: NonZeroU32,
    /// Who takes money for points.
    pub payments: Payments,
    /// Points of a donation, at least; a channel may ask for more.
    pub donation_minimum: i64,
    /// Points of a donation, at most.
    pub donation_maximum: i64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            public_url: "http://127.0.0.1:8080".to_owned(),
            rtmp_url: "rtmp://127.0.0.1:1935/live".to_owned(),
            origins: Vec::new(),
            connections_per_address: 1000,
            balancers: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            chat_per_second: NonZeroU32::new(5).unwrap_or(NonZeroU32::MIN),
            chat_burst: NonZeroU32::new(30).unwrap_or(NonZeroU32::MIN),
            payments: Payments::Off,
            donation_minimum: 1,
            donation_maximum: lemonair_producers::decide::MOST_POINTS,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payments {
    Off,
    /// Takes every payment, and no money: for trying out.
    Sandbox {
        /// Without asking the buyer at the checkout.
        at_once: bool,
    },
}

/// What the gateway stands on.
#[derive(Debug)]
pub struct Deps {
    pub kafka: Kafka,
    pub codec: Arc<Codec>,
    pub pool: MySqlPool,
    pub log: Log,
    pub checkpoints: Checkpoints,
    /// Signs tokens; the same on all gateways.
    pub secret: Vec<u8>,
    /// Signs the webhooks of the payment provider; the same on all gateways.
    pub webhook_secret: Vec<u8>,
    /// The picture, where ingest runs in this process.
    pub picture: Option<Router>,
    pub metrics: PrometheusHandle,
}

/// A gateway that is ready to run.
#[derive(Debug)]
pub struct Gateway {
    app: Arc<App>,
    feed: Feed<Event>,
    answers: Answers,
    answering: CancellationToken,
}

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) kafka: Kafka,
    pub(crate) codec: Arc<Codec>,
    pub(crate) pool: MySqlPool,
    pub(crate) log: Log,
    pub(crate) desk: Desk,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) limits: Limits,
    pub(crate) nonces: Nonces,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) hub: Hub,
    pub(crate) connections: Arc<Connections>,
    pub(crate) picture: Option<Router>,
    pub(crate) http: reqwest::Client,
    pub(crate) metrics: PrometheusHandle,
    /// Connections are told to come back elsewhere.
    pub(crate) draining: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Hub(#[from] hub::Error),
    #[error(transparent)]
    Produce(#[from] lemonair_producers::Error),
    #[error("http client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error(transparent)]
    Token(#[from] BadToken),
    #[error("you are logged out; log in again")]
    LoggedOut,
    #[error(transparent)]
    Fault(#[from] lemonair_projections::Error),
}

/// The loop that hands out answers to commands.
struct Answers(BoxFuture<'static, Result<(), lemonair_producers::Error>>);

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers")
    }
}

/// Requests under way get this long when the gateway stops.
const DRAIN: Duration = Duration::from_secs(5);

// === impl Config ===

impl Config {
    pub async fn build(self, deps: Deps) -> Result<Gateway, Error> {
        let Deps {
            kafka,
            codec,
            pool,
            log,
            checkpoints,
            secret,
            webhook_secret,
            picture,
            metrics,
        } = deps;
        let connections = Arc::new(Connections::default());
        let (hub, feed) = Hub::open(
            &kafka,
            Arc::clone(&codec),
            pool.clone(),
            checkpoints.clone(),
            log.clone(),
            Arc::clone(&connections),
        )
        .await?;
        let answering = CancellationToken::new();
        let (desk, answers) =
            Desk::open(&kafka, Arc::clone(&codec), log.clone(), answering.clone()).await?;
        let app = App {
            limits: Limits::new(self.chat_per_second, self.chat_burst),
            sandbox: match self.payments {
                Payments::Off => None,
                Payments::Sandbox { at_once } => Some(Sandbox {
                    secret: Secret(webhook_secret),
                    at_once,
                }),
            },
            config: self,
            kafka,
            codec,
            pool,
            log,
            desk,
            checkpoints,
            tokens: Tokens::new(&secret),
            passwords: Passwords::new(),
            nonces: Nonces::default(),
            hub,
            connections,
            picture,
            http: reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(3))
                .build()?,
            metrics,
            draining: CancellationToken::new(),
        };
        let answers = Answers(Box::pin(answers));
        Ok(Gateway {
            app: Arc::new(app),
            feed,
            answers,
            answering,
        })
    }

    /// Browsers name the page that opens a WebSocket; other clients name none. Ours is the one with
    /// the same host as the request.
    pub(crate) fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let same = origin
            .split_once("://")
            .is_some_and(|(_, place)| place == host);
        same || origin == self.public_url || self.origins.iter().any(|allowed| allowed == origin)
    }
}

// === impl Gateway ===

impl Gateway {
    /// Serves until `shutdown`, then tells every connection to come back elsewhere.
    pub async fn run(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Gateway {
            app,
            feed,
            answers,
            answering,
        } = self;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let hub = tasks.spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { app.hub.run(feed, stop).await }
        });
        let answers = tasks.spawn(answers.0);
        let sweep = tokio_util::task::AbortOnDropHandle::new(tokio::spawn({
            let app = Arc::clone(&app);
            async move {
                tokio::join!(
                    app.limits.sweep(),
                    app.connections.keep_alive(),
                    app.heed_erasures()
                )
            }
        }));
        let places = Places::new(app.config.connections_per_address, &app.config.balancers);
        let serve = Door::new(listener, places).serve(routes(Arc::clone(&app)), async {
            shutdown.cancelled().await;
            app.draining.cancel();
        });
        let leave = async {
            shutdown.cancelled().await;
            app.connections.drain().await;
        };
        let result = tokio::select! {
            _ = async { tokio::join!(serve, leave) } => Ok(()),
            () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
            ended = hub => flatten(ended).map_err(Error::from),
            ended = answers => flatten(ended).map_err(Error::from),
        };
        stop.cancel();
        answering.cancel();
        drop(sweep);
        tasks.close();
        tokio::time::timeout(Duration::from_secs(1), tasks.wait())
            .await
            .ok();
        result
    }
}

fn flatten<E>(ended: Result<Result<(), E>, tokio::task::JoinError>) -> Result<(), E> {
    match ended {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn routes(app: Arc<App>) -> Router {
    let web = api::router().merge(pages::router()).merge(health::router());
    let web = web.layer(tower_http::compression::CompressionLayer::new());
    web.merge(watch::router())
        .merge(sse::router())
        .route("/ws", axum::routing::any(handshake::upgrade))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(axum::middleware::map_response(pages::protect))
        .with_state(app)
}

// === impl App ===

impl App {
    /// Who a token stands for, if its session is still open.
    pub(crate) async fn claims(&self, token: &str) -> Result<Claims, Denied> {
        let claims = self.tokens.check(token, Audience::Access)?;
        self.check_session(&claims).await?;
        Ok(claims)
    }

    pub(crate) async fn check_session(&self, claims: &Claims) -> Result<(), Denied> {
        if self.codec.erased().contains(claims.sub) {
            return Err(Denied::LoggedOut);
        }
        match claims.sid {
            Some(session)
                if self.connections.has_ended(session)
                    || !accounts::session_is_open(&self.pool, session, Timestamp::now())
                        .await? =>
            {
                Err(Denied::LoggedOut)
            }
            _ => Ok(()),
        }
    }

    /// Nobody is shown any more of those who are erased, from the moment that this process knows.
    async fn heed_erasures(&self) {
        let mut news = self.codec.erased().news();
        while news.changed().await.is_ok() {
            let gone = news.borrow_and_update().clone();
            for account in gone {
                self.hub.forget(account);
            }
        }
    }

    /// Whether this is the key in force of the room's overlay.
    pub(crate) async fn is_overlay_key(
        &self,
        room: &RoomId,
        key: &str,
    ) -> Result<bool, lemonair_projections::Error> {
        if !key.starts_with(token::OVERLAY_KEY) {
            return Ok(false);
        }
        let made_by = channels::overlay_key(&self.pool, room).await?;
        Ok(made_by.is_some_and(|made_by| self.tokens.is_overlay_key(key, room, made_by)))
    }

    /// Waits (not for ever) until what was written can be read, so that whoever wrote sees it.
    pub(crate) async fn settle(&self, positions: &[Position]) {
        const PATIENCE: Duration = Duration::from_secs(5);
        if !self.checkpoints.wait_all(positions, PATIENCE).await {
            tracing::warn!(?positions, "read models lag behind what they are asked for");
        }
    }

    /// The same for the chat that the room's pages show: what is pressed there may not be readable yet.
    pub(crate) async fn catch_up(&self, room: &RoomId) {
        if let Some(told) = self.hub.told(room) {
            self.settle(&[told]).await;
        }
    }
}

impl Denied {
    /// Not the token's fault.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Denied::Fault(_))
    }
}
