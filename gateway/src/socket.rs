//! One WebSocket connection: reads what the client sends, and sends what its outbox holds.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lemonair_schemas::{AccountId, Actor, RoomId, SessionId, Timestamp};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::App;
use crate::audience::Member as Standing;
use crate::frame::Form;
use crate::line::Line;
use crate::moderation::Rank;
use crate::outbox::{Close, Outbox};
use crate::places::Peer;
use crate::websocket::{self, Reader, Received};

mod chat;
mod join;
mod request;

/// Bytes of a client's frame; a message of 500 characters with its frame is far below.
const LARGEST_FRAME: usize = 8 * 1024;
/// Frames that one message may come in.
const MOST_FRAGMENTS: u32 = 64;
/// Bytes that are read at once. On the stack: a connection keeps no buffer.
const READ: usize = 4 * 1024;
/// Pieces that are written at once.
const WRITE: usize = 32;
/// Bytes that the kernel may hold for a slow client, who is then closed with little still to send.
const KERNEL_BUFFER: usize = 128 * 1024;
/// How long a client may take over a goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection's standing in a room.
struct Member {
    actor: Option<(Actor, Rank)>,
    /// A page that announces donations, with its key.
    overlay: bool,
    /// Tokens for scripts, made on the server's own shell, are not limited.
    unlimited: bool,
}

pub(crate) struct Connection {
    app: Arc<App>,
    number: u64,
    peer: Peer,
    line: Line,
    reader: Reader,
    outbox: Arc<Outbox>,
    /// Taken out of the outbox, and not yet taken by the kernel.
    sending: VecDeque<Bytes>,
    rooms: BTreeMap<RoomId, Member>,
    /// Log-ins that it came in by.
    logins: Vec<SessionId>,
    acks: FuturesUnordered<futures::future::BoxFuture<'static, Bytes>>,
}

/// Why a connection's task goes on.
enum Turn {
    /// The reader was fed.
    Heard,
    /// It must end, after a goodbye unless the client is gone.
    End(Option<Close>),
}

// === impl Connection ===

impl Connection {
    pub(crate) fn new(app: Arc<App>, peer: Peer, line: Line, form: Form) -> Connection {
        Connection {
            number: app.hub.connection(),
            app,
            peer,
            line,
            reader: Reader::new(LARGEST_FRAME, MOST_FRAGMENTS, form == Form::Deflated),
            outbox: Outbox::new(form),
            sending: VecDeque::new(),
            rooms: BTreeMap::new(),
            logins: Vec::new(),
            acks: FuturesUnordered::new(),
        }
    }

    /// Serves the client, of whom `first` was read already, until either side has had enough.
    pub(crate) async fn run(mut self, first: Bytes) {
        self.app.connections.add(self.number, &self.outbox);
        SockRef::from(&self.line.stream)
            .set_send_buffer_size(KERNEL_BUFFER)
            .ok();
        self.reader.feed(&first);
        let close = self.serve().await;
        let now = Timestamp::now();
        for room in self.rooms.keys() {
            self.app.hub.leave(room, self.number, now);
        }
        for session in &self.logins {
            self.app.connections.log_out(self.number, *session);
        }
        if let Some(close) = close {
            // The peer may be gone or deaf: saying why is a courtesy.
            let farewell = Box::pin(self.farewell(close));
            tokio::time::timeout(FAREWELL, farewell).await.ok();
        }
        self.app.connections.remove(self.number);
    }

    /// Runs until the client goes (`None`) or must go.
    async fn serve(&mut self) -> Option<Close> {
        loop {
            match self.reader.take() {
                Ok(Some(message @ (Received::Text(_) | Received::Binary(_)))) => {
                    if let Err(close) = self.handle(message).await {
                        return Some(close);
                    }
                }
                Ok(Some(Received::Ping(payload))) => self.outbox.push(websocket::pong(&payload)),
                Ok(Some(Received::Pong)) => {}
                Ok(Some(Received::Close(code))) => return Some(Close::Bye(code)),
                Err(fault) => return Some(Close::Fault(fault)),
                Ok(None) => match std::future::poll_fn(|task| self.poll_turn(task)).await {
                    Turn::Heard => self.outbox.heard(),
                    Turn::End(close) => return close,
                },
            }
        }
    }

    /// Sends what can be sent and reads what is there. One look at each, without a timer or a lock
    /// that is shared: this runs for every frame of every viewer.
    fn poll_turn(&mut self, task: &mut Context<'_>) -> Poll<Turn> {
        if !self.acks.is_empty() {
            while let Poll::Ready(Some(ack)) = self.acks.poll_next_unpin(task) {
                self.outbox.push(ack);
            }
        }
        let close = match self.outbox.poll_take(task, &mut self.sending) {
            Poll::Ready(close) => close,
            Poll::Pending => None,
        };
        if self.poll_send(task).is_err() {
            return Poll::Ready(Turn::End(None));
        }
        if close.is_some() {
            return Poll::Ready(Turn::End(close));
        }
        let mut buffer = [const { MaybeUninit::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        match Pin::new(&mut self.line).poll_read(task, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.reader.feed(buffer.filled());
                Poll::Ready(Turn::Heard)
            }
            Poll::Ready(_) => Poll::Ready(Turn::End(None)),
        }
    }

    /// Gives the kernel as much as it takes. `Pending` while it takes no more.
    fn poll_send(&mut self, task: &mut Context<'_>) -> io::Result<()> {
        while !self.sending.is_empty() {
            let mut pieces = [IoSlice::new(&[]); WRITE];
            let count = self.sending.len().min(WRITE);
            for (slot, piece) in pieces.iter_mut().zip(&self.sending) {
                *slot = IoSlice::new(piece);
            }
            let line = Pin::new(&mut self.line);
            let written = match line.poll_write_vectored(task, &pieces[..count]) {
                Poll::Ready(written) => written?,
                Poll::Pending => break,
            };
            self.outbox.sent(written);
            advance(&mut self.sending, written);
        }
        Ok(())
    }

    /// Sends the rest and a close frame, and listens until the client has closed too: what a kernel
    /// holds unread when a socket is closed takes the goodbye with it.
    async fn farewell(&mut self, close: Close) -> io::Result<()> {
        self.sending.append(&mut self.outbox.rest());
        while let Some(piece) = self.sending.pop_front() {
            self.line.write_all(&piece).await?;
        }
        self.line.write_all(&close.frame()).await?;
        self.line.shutdown().await?;
        let mut ignored = [0; READ];
        while self.line.read(&mut ignored).await? > 0 {}
        Ok(())
    }
}

// === impl Member ===

impl Member {
    fn standing(&self) -> Option<Standing> {
        if self.overlay {
            let (account, rank) = (AccountId::NOBODY, Rank::Overlay);
            return Some(Standing { account, rank });
        }
        self.actor.as_ref().map(|(actor, rank)| Standing {
            account: actor.id,
            rank: *rank,
        })
    }
}

/// Forgets what was written.
fn advance(sending: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(piece) = sending.front_mut() {
        if written < piece.len() {
            return piece.advance(written);
        }
        written -= piece.len();
        sending.pop_front();
    }
}
