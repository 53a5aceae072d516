//! Where connections come in. When a crowd comes at the same instant, all of it is taken in before
//! anybody is served: the kernel's queue is short, and whom it drops tries again a second later.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::coop::unconstrained;

/// Connections that wait here, at most; the rest waits in the kernel's queue.
const MOST: usize = 4096;
/// Descriptors come back when somebody leaves.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    inside: VecDeque<(TcpStream, SocketAddr)>,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Door {
    pub(crate) fn new(listener: TcpListener) -> Door {
        Door {
            listener,
            inside: VecDeque::new(),
        }
    }

    /// Takes in all who wait outside.
    async fn let_in(&mut self) -> io::Result<()> {
        // The runtime would interrupt after some hundred, and have those served first.
        unconstrained(std::future::poll_fn(|task| {
            while self.inside.len() < MOST {
                match self.listener.poll_accept(task) {
                    Poll::Ready(Ok(connection)) => self.inside.push_back(connection),
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
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(connection) = self.inside.pop_front() {
                return connection;
            }
            match self.let_in().await {
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

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
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

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Peer {
        Peer(*stream.remote_addr())
    }
}
