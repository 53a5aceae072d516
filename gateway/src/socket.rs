//! One WebSocket connection: reads requests, sends what its outbox holds.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lemonair_producers::log::Pending;
use lemonair_projections::channels;
use lemonair_schemas::chat::{MessageHeld, MessagePosted};
use lemonair_schemas::{Actor, Event, EventId, RoomId, Timestamp};
use serde_json::Value;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::App;
use crate::audience::Member as Standing;
use crate::cursor::Cursor;
use crate::frame::{Ask, Tell};
use crate::hub::{self, Joining};
use crate::limit::Limited;
use crate::moderation::{Rank, Speaker, Verdict};
use crate::outbox::{Close, Outbox};
use crate::token::Claims;
use crate::websocket::{self, Reader, Received};

/// Bytes of a client's frame; a message of 500 characters with its frame is far below.
const LARGEST_FRAME: usize = 8 * 1024;
/// Characters of a message.
const LONGEST_TEXT: usize = 500;
/// Characters of a nonce.
const LONGEST_NONCE: usize = 64;
/// Rooms that one connection may be in.
const MOST_ROOMS: usize = 50;
/// Messages of one connection that wait for Kafka.
const MOST_PENDING: usize = 64;
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
    /// Tokens for scripts, made on the server's own shell, are not limited.
    unlimited: bool,
}

pub(crate) struct Connection {
    app: Arc<App>,
    number: u64,
    address: IpAddr,
    stream: TcpStream,
    reader: Reader,
    outbox: Arc<Outbox>,
    /// Taken out of the outbox, and not yet taken by the kernel.
    sending: VecDeque<Bytes>,
    rooms: BTreeMap<RoomId, Member>,
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
    pub(crate) fn new(app: Arc<App>, address: IpAddr, stream: TcpStream) -> Connection {
        Connection {
            number: app.hub.connection(),
            app,
            address,
            stream,
            reader: Reader::new(LARGEST_FRAME),
            outbox: Arc::default(),
            sending: VecDeque::new(),
            rooms: BTreeMap::new(),
            acks: FuturesUnordered::new(),
        }
    }

    /// Serves the client, of whom `first` was read already, until either side has had enough.
    pub(crate) async fn run(mut self, first: Bytes) {
        metrics::gauge!("lemonair_connections").increment(1.0);
        self.app.connections.add(self.number, &self.outbox);
        // Frames are whole when they are written: nothing is won by waiting for more.
        self.stream.set_nodelay(true).ok();
        SockRef::from(&self.stream)
            .set_send_buffer_size(KERNEL_BUFFER)
            .ok();
        self.reader.feed(&first);
        let close = self.serve().await;
        let now = Timestamp::now();
        for room in self.rooms.keys() {
            self.app.hub.leave(room, self.number, now);
        }
        if let Some(close) = close {
            // The peer may be gone or deaf: saying why is a courtesy.
            let farewell = Box::pin(self.farewell(close));
            tokio::time::timeout(FAREWELL, farewell).await.ok();
        }
        self.app.connections.remove(self.number);
        metrics::gauge!("lemonair_connections").decrement(1.0);
    }

    /// Runs until the client goes (`None`) or must go.
    async fn serve(&mut self) -> Option<Close> {
        loop {
            match self.reader.next() {
                Ok(Some(Received::Text(text))) => {
                    if let Err(close) = self.handle(&text).await {
                        return Some(close);
                    }
                }
                Ok(Some(Received::Binary)) => {
                    self.refuse(&None, "bad_request", "send text frames with JSON");
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
        match Pin::new(&mut self.stream).poll_read(task, &mut buffer) {
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
            let stream = Pin::new(&mut self.stream);
            let written = match stream.poll_write_vectored(task, &pieces[..count]) {
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
            self.stream.write_all(&piece).await?;
        }
        self.stream.write_all(&close.frame()).await?;
        self.stream.shutdown().await?;
        let mut ignored = [0; READ];
        while self.stream.read(&mut ignored).await? > 0 {}
        Ok(())
    }

    async fn handle(&mut self, text: &str) -> Result<(), Close> {
        match serde_json::from_str(text) {
            Ok(Ask::Ping { id }) => self.outbox.push(Tell::Pong { id: &id }.frame()),
            Ok(Ask::Leave { id, room }) => self.leave(&id, &room),
            Ok(Ask::Join {
                id,
                room,
                token,
                since,
            }) => {
                // Large while it lasts, and it lasts a moment of a connection's life.
                Box::pin(self.join(&id, &room, token.as_deref(), since.as_deref())).await?;
            }
            Ok(Ask::Chat {
                id,
                room,
                text,
                nonce,
            }) => self.chat(id, &room, text, nonce).await,
            Err(error) => {
                let id = serde_json::from_str::<Value>(text)
                    .ok()
                    .and_then(|ask| ask.get("id").cloned());
                self.refuse(&id, "bad_request", &format!("not a request: {error}"));
            }
        }
        Ok(())
    }

    fn leave(&mut self, id: &Option<Value>, room: &str) {
        if let Ok(room) = room.parse::<RoomId>()
            && self.rooms.remove(&room).is_some()
        {
            self.app.hub.leave(&room, self.number, Timestamp::now());
        }
        self.outbox.push(Tell::Left { id, room }.frame());
    }

    async fn join(
        &mut self,
        id: &Option<Value>,
        room: &str,
        token: Option<&str>,
        since: Option<&str>,
    ) -> Result<(), Close> {
        let room: RoomId = match room.parse() {
            Ok(room) => room,
            Err(error) => {
                self.refuse(id, "no_such_room", &format!("{error}"));
                return Ok(());
            }
        };
        let member = match token {
            None => Member {
                actor: None,
                unlimited: false,
            },
            Some(token) => match self.app.claims(token).await {
                Ok(claims) => Member {
                    actor: Some((
                        actor(&claims, &room),
                        Rank::of(&claims.name, &claims.role, &room),
                    )),
                    unlimited: claims.unlimited,
                },
                Err(error) if error.is_fault() => {
                    self.refuse(
                        id,
                        "unavailable",
                        "log-in cannot be checked right now; try again",
                    );
                    return Ok(());
                }
                Err(error) => {
                    self.refuse(id, "unauthorized", &error.to_string());
                    return Err(Close::Token);
                }
            },
        };
        if !self.rooms.contains_key(&room) && self.rooms.len() >= MOST_ROOMS {
            self.refuse(
                id,
                "too_many_rooms",
                &format!("a connection can be in {MOST_ROOMS} rooms"),
            );
            return Ok(());
        }
        // A cursor that is not ours is as good as one whose history is gone: the client reloads.
        let since = since.map(|since| since.parse().unwrap_or_else(|_| Cursor::nowhere()));
        // In again: from the new cursor on, never two copies.
        if self.rooms.remove(&room).is_some() {
            self.app.hub.leave(&room, self.number, Timestamp::now());
        }
        let joining = Joining {
            ask: id,
            since,
            connection: self.number,
            outbox: &self.outbox,
            member: member.standing(),
        };
        match self.app.hub.join(&room, joining).await {
            Ok(()) => {
                self.rooms.insert(room, member);
            }
            Err(hub::Error::Banned) => {
                self.refuse(id, "banned", "you are banned from this room");
                return Err(Close::Banned);
            }
            Err(error) => {
                tracing::warn!(%room, %error, "join");
                self.refuse(
                    id,
                    "unavailable",
                    "the room's history cannot be read right now; try again",
                );
            }
        }
        Ok(())
    }

    /// Validates a message, appends it, and answers once Kafka has it.
    async fn chat(&mut self, id: Option<Value>, room: &str, text: String, nonce: Option<String>) {
        let joined = room
            .parse::<RoomId>()
            .ok()
            .and_then(|room| self.rooms.get_key_value(&room));
        let Some((room, member)) = joined else {
            return self.refuse(&id, "not_joined", "join the room first");
        };
        let (Some((mut actor, rank)), Some(standing)) = (member.actor.clone(), member.standing())
        else {
            return self.refuse(&id, "unauthorized", "log in to chat: join with a token");
        };
        let text = text.trim();
        if text.is_empty() {
            return self.refuse(&id, "empty", "there is nothing to say");
        }
        if text.chars().count() > LONGEST_TEXT {
            return self.refuse(
                &id,
                "too_long",
                &format!("a message has at most {LONGEST_TEXT} characters"),
            );
        }
        if nonce
            .as_ref()
            .is_some_and(|nonce| nonce.is_empty() || nonce.chars().count() > LONGEST_NONCE)
        {
            return self.refuse(
                &id,
                "bad_request",
                &format!("a nonce has 1 to {LONGEST_NONCE} characters"),
            );
        }
        if self.acks.len() >= MOST_PENDING {
            return self.busy(&id);
        }
        let room = room.clone();
        let unlimited = member.unlimited;
        // Asked before the nonce is looked for: from there on nothing waits.
        let following_since = match self.app.hub.asks_to_follow(&room, &standing) {
            true => match channels::following_since(&self.app.pool, &room, actor.id).await {
                Ok(since) => since,
                Err(error) => {
                    tracing::warn!(%room, %error, "look up follower");
                    return self.refuse(&id, "unavailable", "followers cannot be looked up now");
                }
            },
            false => None,
        };
        let sent = match &nonce {
            Some(nonce) => self.app.nonces.seen(&room, actor.id, nonce, &self.app.hub),
            None => None,
        };
        if let Some(first) = sent {
            self.acks
                .push(Box::pin(async move { ack(&id, first.await) }));
            return;
        }
        if !unlimited
            && let Err(Limited { retry_after }) = self.app.limits.chat(actor.id, self.address)
        {
            return self.tell(
                &id,
                "rate_limited",
                "too many messages; slow down",
                Some(retry_after),
            );
        }
        let (event, at) = (EventId::new(), Timestamp::now());
        let speaker = Speaker {
            account: actor.id,
            rank,
            following_since,
        };
        let admitted = match self.app.hub.admit(&room, &speaker, event, text, at) {
            Some(Ok(admitted)) => admitted,
            Some(Err(refusal)) => {
                let (code, why) = (refusal.code(), refusal.to_string());
                return self.tell(&id, code, &why, refusal.retry_after());
            }
            None => return self.refuse(&id, "unavailable", "join the room again"),
        };
        if admitted.rank == Rank::Moderator && !actor.roles.iter().any(|role| role == "moderator") {
            actor.roles.push("moderator".to_owned());
        }
        let account = actor.id;
        let message: Event = match admitted.verdict {
            Verdict::Post => MessagePosted {
                id: event,
                at,
                room: room.clone(),
                actor: Some(actor),
                text: text.to_owned(),
                nonce: nonce.clone(),
            }
            .into(),
            Verdict::Hold => MessageHeld {
                id: event,
                at,
                room: room.clone(),
                actor: Some(actor),
                text: text.to_owned(),
                nonce: nonce.clone(),
            }
            .into(),
        };
        match self.app.log.enqueue(&message) {
            Ok(pending) => {
                let done = confirm(Arc::clone(&self.app), room.clone(), pending, event);
                let done = match nonce {
                    Some(nonce) => self.app.nonces.remember(room, account, nonce, done),
                    None => futures::FutureExt::boxed(done),
                };
                self.acks
                    .push(Box::pin(async move { ack(&id, done.await) }));
            }
            Err(error) => {
                self.app.hub.take_back(&room, event);
                self.not_stored(&id, &error);
            }
        }
    }

    fn not_stored(&self, id: &Option<Value>, error: &lemonair_producers::Error) {
        match error {
            lemonair_producers::Error::Busy => self.busy(id),
            error => {
                tracing::error!(%error, "append message");
                self.refuse(id, "unavailable", "the message could not be stored");
            }
        }
    }

    fn busy(&self, id: &Option<Value>) {
        self.tell(
            id,
            "busy",
            "too much at once; try again",
            Some(Duration::from_millis(250)),
        );
    }

    fn refuse(&self, id: &Option<Value>, code: &str, message: &str) {
        self.tell(id, code, message, None);
    }

    fn tell(&self, id: &Option<Value>, code: &str, message: &str, retry_after: Option<Duration>) {
        let retry_after_ms =
            retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1));
        self.outbox.push(
            Tell::Error {
                id,
                code,
                message,
                retry_after_ms,
            }
            .frame(),
        );
    }
}

async fn confirm(app: Arc<App>, room: RoomId, pending: Pending, event: EventId) -> Option<EventId> {
    match pending.confirmed().await {
        Ok(_) => Some(event),
        Err(error) => {
            tracing::warn!(%error, "message not confirmed");
            // The next try is not to be taken for a repeat.
            app.hub.take_back(&room, event);
            None
        }
    }
}

fn ack(id: &Option<Value>, event: Option<EventId>) -> Bytes {
    match event {
        Some(event) => Tell::Ack { id, event }.frame(),
        None => Tell::Error {
            id,
            code: "unconfirmed",
            message: "the message may not have been stored; send it again with the same nonce",
            retry_after_ms: Some(1000),
        }
        .frame(),
    }
}

/// A channel has the name of its owner.
fn actor(claims: &Claims, room: &RoomId) -> Actor {
    let mut roles = Vec::new();
    if claims.name.eq_ignore_ascii_case(room.as_str()) {
        roles.push("streamer".to_owned());
    }
    if claims.role != "viewer" {
        roles.push(claims.role.clone());
    }
    Actor {
        id: claims.sub,
        name: claims.name.clone(),
        roles,
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

impl Member {
    fn standing(&self) -> Option<Standing> {
        self.actor.as_ref().map(|(actor, rank)| Standing {
            account: actor.id,
            rank: *rank,
        })
    }
}

impl Close {
    fn frame(self) -> Bytes {
        let (code, reason) = match self {
            Close::Token => (4401, "the token is not valid"),
            Close::Banned => (4403, "banned from the room"),
            Close::TooSlow => (4508, "too slow; come back with your cursor"),
            Close::Draining => (
                4503,
                "this gateway is going away; come back with your cursor",
            ),
            Close::Idle => (4504, "nothing was heard for too long"),
            Close::Fault(fault) => return websocket::close(fault.code(), &fault.to_string()),
            Close::Bye(code) => (code.unwrap_or(1000), ""),
        };
        websocket::close(code, reason)
    }
}
