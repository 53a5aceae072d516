//! Where connections come in. When a crowd comes at the same instant, all of it is taken in before
//! anybody is served: the kernel's queue is short, and whom it drops tries again a second later.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::coop::unconstrained;
use tower::ServiceExt;

use crate::line::Line;
use crate::places::Places;

/// Connections that wait here, at most; the rest waits in the kernel's queue.
const MOST: usize = 4096;
/// Descriptors come back when somebody leaves.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 8 * 1024;
/// How long a head may take, and how long a connection may be kept without a request.
const HEAD: Duration = Duration::from_secs(30);
/// Connections that are told why they are refused, at once; the rest is closed without a word.
const REFUSALS: usize = 256;
/// How long somebody may take to hear it.
const REFUSAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    places: Arc<Places>,
    inside: VecDeque<(Line, SocketAddr)>,
    refusals: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, places: Arc<Places>) -> Door {
        Door {
            listener,
            places,
            inside: VecDeque::new(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    /// Serves all who come until `shutdown`, then returns when nobody is left.
    pub(crate) async fn serve(mut self, router: Router, shutdown: impl Future<Output = ()>) {
        let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(LONGEST_HEAD);
        let graceful = GracefulShutdown::new();
        let places = Arc::clone(&self.places);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let (line, address) = tokio::select! {
                () = &mut shutdown => break,
                somebody = self.accept() => somebody,
            };
            let (router, places) = (router.clone(), Arc::clone(&places));
            let service = service_fn(move |mut request: Request<Incoming>| {
                let peer = places.peer(address.ip(), request.headers());
                request.extensions_mut().insert(ConnectInfo(peer));
                router.clone().oneshot(request)
            });
            let connection = http.serve_connection_with_upgrades(TokioIo::new(line), service);
            let connection = graceful.watch(connection.into_owned());
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "http");
                }
            });
        }
        // Whoever comes from now on finds the door closed, and another gateway.
        drop(self);
        graceful.shutdown().await;
    }

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            if let Some(connection) = self.inside.pop_front() {
                return connection;
            }
            match self.let_in().await {
                // All of them were refused, and more may wait: others have their turn too.
                Ok(()) if self.inside.is_empty() => tokio::task::yield_now().await,
                Ok(()) => {}
                // Those who leave again while they wait are no fault of ours.
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes in all who wait outside.
    async fn let_in(&mut self) -> io::Result<()> {
        // The runtime would interrupt after some hundred, and have those served first.
        unconstrained(std::future::poll_fn(|task| {
            for _ in 0..MOST {
                match self.listener.poll_accept(task) {
                    Poll::Ready(Ok((stream, address))) => match self.places.take(address.ip()) {
                        Some(place) => self.inside.push_back((Line::new(stream, place), address)),
                        None => self.refuse(stream),
                    },
                    _ if !self.inside.is_empty() => break,
                    nobody => {
                        ready!(nobody)?;
                    }
                }
            }
            Poll::Ready(Ok(()))
        }))
        .await
    }

    /// Sends somebody away who has too many connections, without serving them.
    fn refuse(&self, mut stream: TcpStream) {
        metrics::counter!("lemonair_connections_refused_total").increment(1);
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let told = async {
                let mut ignored = [0; 1024];
                // Who has not asked yet does not know what to make of an answer.
                if stream.read(&mut ignored).await? == 0 {
                    return Ok(());
                }
                stream.write_all(refusal().as_bytes()).await?;
                stream.shutdown().await?;
                // What a kernel holds unread when a socket is closed takes the answer with it.
                while stream.read(&mut ignored).await? > 0 {}
                io::Result::Ok(())
            };
            tokio::time::timeout(REFUSAL, told).await.ok();
            drop(permit);
        });
    }
}

/// The answer to whatever they were going to ask.
fn refusal() -> String {
    let body = r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"too many connections from this address; close some","code":"too_many_connections"}"#;
    format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Retry-After: 10\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Whether only one connection is concerned.
fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
