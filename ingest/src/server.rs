//! The socket side of RTMP: one task a connection, with limits and time-outs. It decides nothing
//! about the protocol.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broadcast::{Farewell, Reason};
use crate::places::{Full, Place, Places};
use crate::publisher::{self, Publisher};
use crate::rooms::Rooms;
use crate::rtmp::{self, MediaKind, Output, Session, StreamKey};
use crate::tries::Tries;
use crate::{Backstage, Config, Refused};

/// What connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) backstage: Arc<dyn Backstage>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) places: Arc<Places>,
    pub(crate) tries: Mutex<Tries>,
}

/// Bytes taken from a socket at once.
const READ: usize = 32 * 1024;
/// A publisher that does not take our few replies is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// After the last word, how long the peer may take to close, so that it reads that word.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection ended other than by a goodbye.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the connection was closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("protocol error: {0}")]
    Protocol(#[from] rtmp::Error),
    #[error("no publish within {0:?}")]
    Slow(Duration),
    #[error("no media for {0:?}")]
    Silent(Duration),
    #[error("replies are not taken")]
    Stuck,
    #[error(
        "dismissed: another publisher took over, the key was revoked, the broadcast lasted too long, or the server stops"
    )]
    Dismissed,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Publisher(#[from] publisher::Error),
}

/// A socket, bare or behind TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

struct Connection<'a, S> {
    server: &'a Server,
    stream: S,
    peer: SocketAddr,
    session: Session,
    /// Until it publishes.
    place: Option<Place>,
    publisher: Option<Publisher>,
    /// When the connection is given up: at first for want of a publish, then of media.
    deadline: Instant,
}

// === impl Server ===

impl Server {
    /// Takes connections until `shutdown`, then waits for none of them.
    pub(crate) async fn run(
        self: Arc<Server>,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        shutdown: CancellationToken,
        tasks: &TaskTracker,
    ) {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: others will close.
                    tracing::warn!("failed to accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = match self.places.take(peer.ip()) {
                Ok(place) => place,
                Err(full) => {
                    refused(match full {
                        Full::All(_) => "connections",
                        Full::Address(_) => "address",
                    });
                    tracing::warn!(%peer, "connection refused: {full}");
                    continue;
                }
            };
            let server = Arc::clone(&self);
            let (tls, shutdown) = (tls.clone(), shutdown.clone());
            tasks.spawn(async move {
                let gauge = metrics::gauge!("lemonair_ingest_connections");
                gauge.increment(1.0);
                server.serve(stream, tls, peer, place, shutdown).await;
                gauge.decrement(1.0);
            });
        }
    }

    async fn serve(
        &self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        peer: SocketAddr,
        place: Place,
        shutdown: CancellationToken,
    ) {
        let keepalive = TcpKeepalive::new().with_time(self.config.idle);
        let options = stream
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive));
        if let Err(error) = options {
            tracing::debug!(%peer, "failed to set socket options: {error}");
        }
        let deadline = Instant::now() + self.config.handshake;
        let Some(tls) = tls else {
            return self.talk(stream, peer, place, deadline, &shutdown).await;
        };
        let secured = tokio::select! {
            () = shutdown.cancelled() => return,
            secured = timeout_at(deadline, tls.accept(stream)) => secured,
        };
        match secured {
            Ok(Ok(stream)) => {
                let talk = self.talk(stream, peer, place, deadline, &shutdown);
                Box::pin(talk).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, "no TLS: {error}"),
            Err(_) => tracing::debug!(%peer, "no TLS within {:?}", self.config.handshake),
        }
    }

    async fn talk(
        &self,
        stream: impl Stream,
        peer: SocketAddr,
        place: Place,
        deadline: Instant,
        shutdown: &CancellationToken,
    ) {
        let mut connection = Connection {
            server: self,
            stream,
            peer,
            session: Session::new(self.config.max_message),
            place: Some(place),
            publisher: None,
            deadline,
        };
        let outcome = connection.run(shutdown).await;
        let room = connection.publisher.as_ref().map(|on_air| &on_air.room);
        match (outcome, room) {
            (Ok(()), _) => {}
            (Err(error), Some(room)) => tracing::info!(%peer, %room, "publisher cut off: {error}"),
            (Err(error), None) => tracing::debug!(%peer, "connection ended: {error}"),
        }
        connection.close().await;
    }
}

// === impl Connection ===

impl<S: Stream> Connection<'_, S> {
    async fn run(&mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        loop {
            let dismissed = self
                .publisher
                .as_ref()
                .map(|publisher| publisher.dismissed.clone());
            let outputs = tokio::select! {
                biased;
                // Publishers are dismissed by their rooms, which shut down too.
                () = dismissed_or(dismissed.as_ref(), shutdown) => {
                    let outputs = self.session.stop(
                        "another publisher took over, the stream key was revoked, the broadcast lasted too long, or the server stops",
                    );
                    self.obey(outputs).await?;
                    return Err(Error::Dismissed);
                }
                outputs = receive(&mut self.stream, &mut self.session) => outputs?,
                () = sleep_until(self.deadline) => {
                    return Err(match self.publisher {
                        Some(_) => Error::Silent(self.server.config.idle),
                        None => Error::Slow(self.server.config.handshake),
                    });
                }
            };
            if self.obey(outputs).await? == Flow::Over {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, outputs: Vec<Output>) -> Result<Flow, Error> {
        let mut outputs = std::collections::VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Write(bytes) => self.write(bytes).await?,
                Output::Publish { app, key } => {
                    let answer = match self.admit(&app, &key).await {
                        Ok(publisher) => {
                            self.publisher = Some(publisher);
                            self.place = None;
                            self.deadline = Instant::now() + self.server.config.idle;
                            self.session.accept()?
                        }
                        Err(reason) => {
                            refused(reason.as_str());
                            tracing::info!(peer = %self.peer, "publisher refused: {reason}");
                            self.session.reject(&reason.to_string())
                        }
                    };
                    outputs.extend(answer);
                }
                Output::Media(media) => {
                    let Some(publisher) = &mut self.publisher else {
                        continue;
                    };
                    // Words about the picture are no picture.
                    if media.kind != MediaKind::Data {
                        self.deadline = Instant::now() + self.server.config.idle;
                    }
                    let Err(error) = publisher.media(&media) else {
                        continue;
                    };
                    let Some(reason) = error.ends() else {
                        return Err(error.into());
                    };
                    tracing::info!(room = %publisher.room, "publisher refused: {error}");
                    refused(reason.as_str());
                    self.leave(reason);
                    outputs = self.session.stop(&error.to_string()).into();
                }
                Output::Unpublish => {
                    self.leave(Reason::Unpublished);
                    outputs.push_back(Output::Close);
                }
                Output::Close => return Ok(Flow::Over),
            }
        }
        Ok(Flow::On)
    }

    fn leave(&mut self, reason: Reason) {
        if let Some(publisher) = self.publisher.take() {
            publisher.leave(Farewell::Over(reason));
        }
    }

    /// Looks at the key; nothing of the stream is read meanwhile.
    async fn admit(&self, app: &str, key: &StreamKey) -> Result<Publisher, Refused> {
        let server = self.server;
        let address = self.peer.ip();
        if app != server.config.app {
            return Err(Refused::App);
        }
        if !self.tries().may_try(address, Instant::now()) {
            return Err(Refused::Tries);
        }
        let permit = match timeout(server.config.handshake, server.backstage.permit(&key.0)).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(error)) => {
                tracing::error!("failed to look up a stream key: {error:#}");
                return Err(Refused::Unavailable);
            }
            Err(_) => return Err(Refused::Unavailable),
        };
        let Some(permit) = permit else {
            self.tries().failed(address, Instant::now());
            return Err(Refused::Key);
        };
        server.rooms.publish(permit).await
    }

    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.server
            .tries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        timeout(WRITE_TIMEOUT, self.stream.write_all(&bytes))
            .await
            .map_err(|_| Error::Stuck)??;
        Ok(())
    }

    /// Lets the publisher go first, then gives the peer a moment to read our last word.
    async fn close(self) {
        drop(self.publisher);
        let mut stream = self.stream;
        let farewell = async {
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok(())
        };
        let _: Result<io::Result<()>, _> = timeout(CLOSE_TIMEOUT, farewell).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Flow {
    On,
    Over,
}

/// What the socket holds, through the session. The buffer is on the stack while there is something in
/// it, so that an idle connection has none.
async fn receive(stream: &mut impl Stream, session: &mut Session) -> Result<Vec<Output>, Error> {
    poll_fn(|context| {
        let mut bytes = [std::mem::MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        let received = buffer.filled();
        if received.is_empty() {
            return Poll::Ready(Err(Error::Closed));
        }
        metrics::counter!("lemonair_ingest_received_bytes_total").increment(received.len() as u64);
        Poll::Ready(Ok(session.handle(received)?))
    })
    .await
}

async fn dismissed_or(dismissed: Option<&CancellationToken>, shutdown: &CancellationToken) {
    match dismissed {
        Some(dismissed) => dismissed.cancelled().await,
        None => shutdown.cancelled().await,
    }
}

fn refused(cause: &'static str) {
    metrics::counter!("lemonair_ingest_refused_total", "cause" => cause).increment(1);
}
