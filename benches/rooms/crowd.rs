//! Thousands of viewers on one thread. Every delivery is counted and held against the room's one order.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;

use crate::dialect::{DIGITS, Dialect, Heard};
use crate::latency::Latencies;
use crate::server::Server;
use crate::wire;

/// Read at once; a whole round of a busy room.
const SCRATCH: usize = 256 * 1024;

pub(crate) struct Crowd {
    address: SocketAddr,
    dialect: Dialect,
    poll: Poll,
    begin: Instant,
    pub(crate) members: Vec<Member>,
    rooms: Vec<Order>,
    /// Frames that were read before: the same bytes reach every viewer of a room.
    known: std::collections::HashMap<u64, Rc<Seen>>,
    hasher: foldhash::fast::FixedState,
    messages: Vec<Message>,
    scratch: Vec<u8>,
    pub(crate) tally: Tally,
    /// Members whose message was acked since this was last taken.
    pub(crate) acked: Vec<usize>,
    /// Messages that were refused for now.
    again: Vec<(Instant, usize, u32)>,
}

pub(crate) struct Member {
    stream: TcpStream,
    state: State,
    room: usize,
    token: Option<Rc<str>>,
    /// The begin of a frame whose rest is under way.
    partial: Vec<u8>,
    unsent: Vec<u8>,
    /// How much of the room's order it has seen.
    seen: usize,
    /// Where to go on after a lost connection.
    cursor: Option<Rc<str>>,
    deaf: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Upgrading,
    Joining,
    In,
    Closed(u16),
}

/// What a frame says.
struct Seen {
    messages: Vec<u32>,
    cursor: Rc<str>,
}

/// The order that the first viewer to see each message saw.
struct Order {
    name: Rc<str>,
    messages: Vec<u32>,
}

struct Message {
    /// Microseconds since the crowd came to be.
    sent: u32,
    /// Its place in the room's order.
    place: Option<usize>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) entered: usize,
    pub(crate) acks: usize,
    pub(crate) deliveries: u64,
    pub(crate) frames: u64,
    pub(crate) doubled: u64,
    pub(crate) skipped: u64,
    /// Came back and were told to reload.
    pub(crate) unrecovered: u64,
    pub(crate) closed: BTreeMap<u16, usize>,
    pub(crate) refused: BTreeMap<String, usize>,
    pub(crate) latencies: Latencies,
}

// === impl Crowd ===

impl Crowd {
    pub(crate) fn new(server: &Server) -> anyhow::Result<Crowd> {
        Ok(Crowd {
            address: server.address,
            dialect: server.dialect(),
            poll: Poll::new()?,
            begin: Instant::now(),
            members: Vec::new(),
            rooms: Vec::new(),
            known: std::collections::HashMap::new(),
            hasher: foldhash::fast::FixedState::default(),
            messages: Vec::new(),
            scratch: vec![0; SCRATCH],
            tally: Tally::default(),
            acked: Vec::new(),
            again: Vec::new(),
        })
    }

    pub(crate) fn open_room(&mut self, name: &str) -> usize {
        self.rooms.push(Order {
            name: name.into(),
            messages: Vec::new(),
        });
        self.rooms.len() - 1
    }

    /// Somebody sets out for a room; [`Crowd::turn`] gets them there.
    pub(crate) fn enter(&mut self, room: usize, token: Option<&Rc<str>>) -> anyhow::Result<usize> {
        let index = self.members.len();
        let mut stream = TcpStream::connect(self.address).context("connect")?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(index), interest)?;
        self.members.push(Member {
            stream,
            state: State::Connecting,
            room,
            token: token.cloned(),
            partial: Vec::new(),
            unsent: Vec::new(),
            seen: 0,
            cursor: None,
            deaf: false,
        });
        Ok(index)
    }

    /// Everybody has lost the connection, and comes back at once with a cursor.
    pub(crate) fn come_back(&mut self) -> anyhow::Result<()> {
        self.tally.entered = 0;
        for (index, member) in self.members.iter_mut().enumerate() {
            member.stream = TcpStream::connect(self.address).context("connect again")?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            registry.register(&mut member.stream, Token(index), interest)?;
            member.state = State::Connecting;
            member.partial.clear();
            member.unsent.clear();
        }
        Ok(())
    }

    /// A member says something new.
    pub(crate) fn say(&mut self, member: usize) -> anyhow::Result<()> {
        let id = u32::try_from(self.messages.len())?;
        self.messages.push(Message {
            sent: self.now(),
            place: None,
        });
        self.write(member, id)
    }

    fn write(&mut self, index: usize, id: u32) -> anyhow::Result<()> {
        let member = &mut self.members[index];
        let room = &self.rooms[member.room].name;
        let ask = self.dialect.say(room, id);
        wire::write(&mut member.unsent, wire::TEXT, ask.as_bytes());
        member.flush()
    }

    /// Turns until `done`; fails when nothing was heard for `patience`.
    pub(crate) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut done: impl FnMut(&mut Crowd) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut last = (Instant::now(), 0);
        while !done(self)? {
            self.turn(Duration::from_millis(20))?;
            let heard = self.tally.frames + self.tally.acks as u64 + self.tally.entered as u64;
            if heard != last.1 {
                last = (Instant::now(), heard);
            } else if last.0.elapsed() > patience {
                bail!("waited in vain until {what}: {:?}", self.tally.summary());
            }
        }
        Ok(())
    }

    /// Handles what is there, waiting at most so long for something.
    pub(crate) fn turn(&mut self, wait: Duration) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            let Token(index) = event.token();
            let member = &mut self.members[index];
            if event.is_writable() {
                if member.state == State::Connecting && member.stream.peer_addr().is_ok() {
                    member.state = State::Upgrading;
                    member.unsent = wire::upgrade(&self.address.to_string(), self.dialect.path());
                }
                member.flush()?;
            }
            if event.is_readable() {
                self.read(index)?;
            }
        }
        let due = Instant::now();
        while let Some(position) = self.again.iter().position(|(at, ..)| *at <= due) {
            let (_, member, id) = self.again.swap_remove(position);
            self.write(member, id)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> anyhow::Result<()> {
        let mut scratch = std::mem::take(&mut self.scratch);
        loop {
            let member = &mut self.members[index];
            if member.deaf || matches!(member.state, State::Closed(_)) {
                break;
            }
            let begin = member.partial.len();
            if scratch.len() < begin + SCRATCH / 2 {
                scratch.resize(begin + SCRATCH, 0);
            }
            scratch[..begin].copy_from_slice(&member.partial);
            match member.stream.read(&mut scratch[begin..]) {
                Ok(0) => self.close(index, 1006),
                Ok(count) => {
                    let end = begin + count;
                    let used = self.take(index, &scratch[..end])?;
                    let partial = &mut self.members[index].partial;
                    partial.clear();
                    partial.extend(&scratch[used..end]);
                    // The socket is empty: asking again would cost another system call.
                    if end < scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.close(index, 1006),
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    fn take(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<usize> {
        let now = self.now();
        let mut used = 0;
        if self.members[index].state == State::Upgrading {
            let Some(head) = wire::switched(bytes) else {
                return Ok(0);
            };
            used = head;
            let member = &mut self.members[index];
            member.state = State::Joining;
            let room = &self.rooms[member.room].name;
            let (token, since) = (member.token.as_deref(), member.cursor.as_deref());
            let ask = self.dialect.join(room, token, since);
            wire::write(&mut member.unsent, wire::TEXT, ask.as_bytes());
            member.flush()?;
        }
        while let Some(frame) = wire::read(&bytes[used..]) {
            let payload = &bytes[used + frame.payload.start..used + frame.payload.end];
            used += frame.payload.end;
            match frame.opcode {
                wire::TEXT => {
                    for heard in self.dialect.hear(payload) {
                        match heard {
                            Heard::Events(events) => self.deliver(index, events, now),
                            Heard::Joined(joined) => self.joined(index, joined, now),
                            Heard::Answer(answer) => self.answer(index, answer)?,
                            Heard::Ping(ping) => self.reply(index, wire::TEXT, ping)?,
                        }
                    }
                }
                wire::PING => self.reply(index, wire::PING + 1, payload)?,
                wire::CLOSE => {
                    let code = payload
                        .first_chunk()
                        .map_or(1005, |code| u16::from_be_bytes(*code));
                    self.close(index, code);
                }
                other => bail!("a frame of kind {other}"),
            }
        }
        Ok(used)
    }

    fn reply(&mut self, index: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let member = &mut self.members[index];
        wire::write(&mut member.unsent, opcode, payload);
        member.flush()
    }

    fn joined(&mut self, index: usize, payload: &[u8], now: u32) {
        self.tally.entered += 1;
        self.members[index].state = State::In;
        if self.members[index].cursor.is_some() {
            self.tally.unrecovered +=
                u64::from(memmem::find(payload, br#""recovered":true"#).is_none());
            return self.deliver(index, payload, now);
        }
        if self.dialect == Dialect::Centrifugo {
            // It gives no history; nobody talks while people come in.
            let member = &mut self.members[index];
            member.seen = self.rooms[member.room].messages.len();
            return;
        }
        let last = memmem::rfind(payload, TEXT.as_bytes())
            .and_then(|at| number(&payload[at + TEXT.len()..]));
        let member = &mut self.members[index];
        member.cursor = Some(cursor(payload));
        member.seen = last
            .and_then(|id| self.messages[id as usize].place)
            .map_or(0, |place| place + 1);
    }

    fn deliver(&mut self, index: usize, payload: &[u8], now: u32) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(payload);
        let read = || {
            Rc::new(Seen {
                messages: numbers(payload),
                cursor: cursor(payload),
            })
        };
        let seen = Rc::clone(self.known.entry(hasher.finish()).or_insert_with(read));
        let member = &mut self.members[index];
        member.cursor = Some(Rc::clone(&seen.cursor));
        let order = &mut self.rooms[member.room].messages;
        for &id in &seen.messages {
            let message = &mut self.messages[id as usize];
            let place = *message.place.get_or_insert_with(|| {
                order.push(id);
                order.len() - 1
            });
            if place < member.seen {
                self.tally.doubled += 1;
                continue;
            }
            self.tally.skipped += (place - member.seen) as u64;
            member.seen = place + 1;
            self.tally.latencies.add(now.saturating_sub(message.sent));
        }
        self.tally.deliveries += seen.messages.len() as u64;
        self.tally.frames += u64::from(!seen.messages.is_empty());
        // Only frames that are under way are needed.
        if self.known.len() > 10_000 {
            self.known.clear();
        }
    }

    fn answer(&mut self, index: usize, payload: &[u8]) -> anyhow::Result<()> {
        let answer: Value = serde_json::from_slice(payload).context("an answer in JSON")?;
        match answer["type"].as_str() {
            None if answer["publish"].is_object() => {
                self.tally.acks += 1;
                self.acked.push(index);
            }
            Some("ack") => {
                self.tally.acks += 1;
                self.acked.push(index);
            }
            Some("error") => {
                let code = answer["code"].as_str().unwrap_or_default();
                *self.tally.refused.entry(code.to_owned()).or_default() += 1;
                ensure!(code == "busy", "refused: {answer}");
                let wait = Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap_or(250));
                let id = u32::try_from(answer["id"].as_u64().context("an id")?)?;
                self.again.push((Instant::now() + wait, index, id));
            }
            _ => bail!("an answer that was not asked for: {answer}"),
        }
        Ok(())
    }

    fn close(&mut self, index: usize, code: u16) {
        let member = &mut self.members[index];
        if !matches!(member.state, State::Closed(_)) {
            member.state = State::Closed(code);
            *self.tally.closed.entry(code).or_default() += 1;
            self.poll.registry().deregister(&mut member.stream).ok();
            member.stream.shutdown(std::net::Shutdown::Both).ok();
        }
    }

    /// Those who hear again what they have not heard.
    pub(crate) fn listen(&mut self) -> anyhow::Result<()> {
        for index in 0..self.members.len() {
            if std::mem::take(&mut self.members[index].deaf) {
                self.read(index)?;
                // The end may have come while nobody listened, and is not told again.
                self.read(index)?;
            }
        }
        Ok(())
    }

    /// Deliveries that members who are still in should have had and have not.
    pub(crate) fn missing(&self) -> u64 {
        let members = self
            .members
            .iter()
            .filter(|member| member.state == State::In && !member.deaf);
        members
            .map(|member| (self.rooms[member.room].messages.len() - member.seen) as u64)
            .sum()
    }

    /// Messages that were acked and that nobody has seen.
    pub(crate) fn unseen(&self) -> usize {
        let seen: usize = self.rooms.iter().map(|room| room.messages.len()).sum();
        self.tally.acks.saturating_sub(seen)
    }

    /// Whether every acked message is with every member.
    pub(crate) fn complete(&self) -> bool {
        self.unseen() == 0 && self.missing() == 0
    }

    fn now(&self) -> u32 {
        u32::try_from(self.begin.elapsed().as_micros()).unwrap_or(u32::MAX)
    }
}

impl Member {
    /// Reads no more. Little of what comes is kept for it.
    pub(crate) fn turn_deaf(&mut self) -> anyhow::Result<()> {
        self.deaf = true;
        Ok(rustix::net::sockopt::set_socket_recv_buffer_size(
            &self.stream,
            16 * 1024,
        )?)
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => {
                    self.unsent.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Reading tells with which code.
                Err(_) => break,
            }
        }
        Ok(())
    }
}

impl Tally {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} entered, {} acks, {} deliveries, {} doubled, {} skipped, closed {:?}, refused {:?}",
            self.entered,
            self.acks,
            self.deliveries,
            self.doubled,
            self.skipped,
            self.closed,
            self.refused
        )
    }
}

const TEXT: &str = r#""text":""#;

fn numbers(payload: &[u8]) -> Vec<u32> {
    memmem::find_iter(payload, TEXT)
        .filter_map(|at| number(&payload[at + TEXT.len()..]))
        .collect()
}

fn cursor(payload: &[u8]) -> Rc<str> {
    const CURSOR: &[u8] = br#""cursor":""#;
    let rest = memmem::find(payload, CURSOR).map(|at| &payload[at + CURSOR.len()..]);
    let text = rest.and_then(|rest| rest.split(|byte| *byte == b'"').next());
    String::from_utf8_lossy(text.unwrap_or_default()).into()
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text.get(..DIGITS)?).ok()?.parse().ok()
}
