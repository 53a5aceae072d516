//! RFC 6455 without I/O: the handshake's answer, a client's bytes in and messages out, and our own
//! frames. Server frames are not masked, so one frame's bytes serve every viewer.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::deflate;

/// Bytes of the longest head that we write.
const HEAD: usize = 10;
/// Bytes that a control frame may carry.
const LONGEST_CONTROL: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// The reserved bit that permessage-deflate has taken.
const DEFLATED: u8 = 0x40;

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// The code, unless the client gave none.
    Close(Option<u16>),
}

/// What a client did wrong. Nothing more of it can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Protocol(&'static str),
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("the message is too big")]
    TooBig,
}

/// Takes a client's bytes and gives its messages, however they were cut on the way.
#[derive(Debug)]
pub struct Reader {
    /// Bytes of a message, at most; also when it is inflated.
    largest: usize,
    /// Frames that one message may come in.
    fragments: u32,
    /// Whether messages may be deflated.
    deflate: bool,
    /// What came and was not yet a whole frame: never more than one frame of `largest`, and what was
    /// read with it.
    bytes: Vec<u8>,
    /// How much of `bytes` has been taken out.
    taken: usize,
    /// A message whose last fragment is still to come.
    message: Option<Fragments>,
}

#[derive(Debug)]
struct Fragments {
    opcode: u8,
    deflated: bool,
    count: u32,
    payload: Vec<u8>,
}

struct Head {
    last: bool,
    deflated: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Where the payload begins.
    start: usize,
    length: usize,
}

/// What a frame of ours carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    Text,
    DeflatedText,
    Binary,
    DeflatedBinary,
}

/// A frame that is being written: room for its head, then its payload.
#[derive(Debug)]
pub struct Message(Vec<u8>);

/// The value of `Sec-WebSocket-Accept`. `None` if the key is not 16 bytes in base64.
pub fn accept(key: &[u8]) -> Option<String> {
    if BASE64_STANDARD.decode(key).ok()?.len() != 16 {
        return None;
    }
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Some(BASE64_STANDARD.encode(digest.finalize()))
}

/// A frame that asks whether the client is still there.
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(&[0x80 | PING, 0])
}

/// The answer to a ping, with what the ping carried.
pub fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

pub fn close(code: u16, reason: &str) -> Bytes {
    control(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(LONGEST_CONTROL)];
    let mut frame = vec![0x80 | opcode, u8::try_from(payload.len()).unwrap_or(0)];
    frame.extend_from_slice(payload);
    frame.into()
}

// === impl Reader ===

impl Reader {
    pub fn new(largest: usize, fragments: u32, deflate: bool) -> Reader {
        Reader {
            largest,
            fragments,
            deflate,
            bytes: Vec::new(),
            taken: 0,
            message: None,
        }
    }

    /// Takes in what was read. Call [`Reader::take`] until it gives nothing before feeding more.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message. After a fault the connection is of no use.
    pub fn take(&mut self) -> Result<Option<Received>, Fault> {
        while let Some(head) = self.head()? {
            let rest = &self.bytes[self.taken..];
            let end = head.start + head.length;
            if rest.len() < end {
                return Ok(None);
            }
            let mut payload = rest[head.start..end].to_vec();
            for (byte, mask) in payload.iter_mut().zip(head.mask.iter().cycle()) {
                *byte ^= mask;
            }
            self.taken += end;
            if self.taken == self.bytes.len() {
                // Most connections are quiet most of the time: they keep no buffer.
                self.bytes = Vec::new();
                self.taken = 0;
            }
            if let Some(received) = self.frame(&head, payload)? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// The head of the next frame, once it is there; checked before its payload is waited for.
    fn head(&self) -> Result<Option<Head>, Fault> {
        let bytes = &self.bytes[self.taken..];
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        // A message is deflated as a whole: its first frame says so.
        let deflated = self.deflate && matches!(opcode, TEXT | BINARY) && first & DEFLATED != 0;
        if first & 0x70 != 0 && !(deflated && first & 0x70 == DEFLATED) {
            return Err(Fault::Protocol("a reserved bit is set"));
        }
        if second & 0x80 == 0 {
            return Err(Fault::Protocol("a client's frame is not masked"));
        }
        let short = second & 0x7f;
        match opcode {
            CLOSE | PING | PONG if !last => {
                return Err(Fault::Protocol("a control frame is fragmented"));
            }
            CLOSE | PING | PONG if short > 125 => {
                return Err(Fault::Protocol("a control frame is too long"));
            }
            CLOSE | PING | PONG => {}
            CONTINUATION if self.message.is_none() => {
                return Err(Fault::Protocol("nothing to continue"));
            }
            TEXT | BINARY if self.message.is_some() => {
                return Err(Fault::Protocol("a message inside a message"));
            }
            CONTINUATION | TEXT | BINARY => {}
            _ => return Err(Fault::Protocol("an unknown kind of frame")),
        }
        let (start, length) = match short {
            126 => match rest.first_chunk() {
                Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (10, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            short => (2, u64::from(short)),
        };
        if short == 126 && length < 126 || short == 127 && length <= u64::from(u16::MAX) {
            return Err(Fault::Protocol("a length in more bytes than it needs"));
        }
        let so_far = self
            .message
            .as_ref()
            .map_or(0, |message| message.payload.len());
        let length = usize::try_from(length).map_err(|_| Fault::TooBig)?;
        if opcode < CLOSE && length > self.largest - so_far {
            return Err(Fault::TooBig);
        }
        let mask = bytes.get(start..).and_then(|rest| rest.first_chunk());
        Ok(mask.map(|mask| Head {
            last,
            deflated,
            opcode,
            mask: *mask,
            start: start + 4,
            length,
        }))
    }

    fn frame(&mut self, head: &Head, payload: Vec<u8>) -> Result<Option<Received>, Fault> {
        match head.opcode {
            PING => return Ok(Some(Received::Ping(payload))),
            PONG => return Ok(Some(Received::Pong)),
            CLOSE => return closing(&payload).map(|code| Some(Received::Close(code))),
            _ => {}
        }
        let message = match self.message.take() {
            None => Fragments {
                opcode: head.opcode,
                deflated: head.deflated,
                count: 1,
                payload,
            },
            Some(mut message) => {
                message.count += 1;
                message.payload.extend_from_slice(&payload);
                message
            }
        };
        if message.count > self.fragments {
            return Err(Fault::TooBig);
        }
        if !head.last {
            self.message = Some(message);
            return Ok(None);
        }
        let payload = match message.deflated {
            true => deflate::inflate(&message.payload, self.largest)?,
            false => message.payload,
        };
        if message.opcode == BINARY {
            return Ok(Some(Received::Binary(payload)));
        }
        let text = String::from_utf8(payload).map_err(|_| Fault::NotUtf8)?;
        Ok(Some(Received::Text(text)))
    }
}

/// The code of a close frame.
fn closing(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Fault::Protocol("half a close code")),
        };
    };
    match u16::from_be_bytes(*code) {
        1000..=1003 | 1007..=1014 | 3000..=4999 if std::str::from_utf8(reason).is_err() => {
            Err(Fault::NotUtf8)
        }
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
        _ => Err(Fault::Protocol("a close code that nobody may send")),
    }
}

impl Fault {
    pub fn code(self) -> u16 {
        match self {
            Fault::Protocol(_) => 1002,
            Fault::NotUtf8 => 1007,
            Fault::TooBig => 1009,
        }
    }
}

// === impl Message ===

impl Message {
    /// With room for a payload of so many bytes.
    pub fn with_capacity(payload: usize) -> Message {
        let mut bytes = Vec::with_capacity(HEAD + payload);
        bytes.resize(HEAD, 0);
        Message(bytes)
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The payload so far.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.0[HEAD..]
    }

    pub fn finish(self, payload: Payload) -> Bytes {
        self.finish_before(payload, 0)
    }

    /// The frame without the last `rest` bytes of its payload, which are sent right behind it.
    pub(crate) fn finish_before(mut self, payload: Payload, rest: usize) -> Bytes {
        let length = (self.0.len() - HEAD + rest) as u64;
        let mut head = [0; HEAD];
        head[0] = 0x80
            | match payload {
                Payload::Text => TEXT,
                Payload::DeflatedText => DEFLATED | TEXT,
                Payload::Binary => BINARY,
                Payload::DeflatedBinary => DEFLATED | BINARY,
            };
        let used = match length {
            0..126 => {
                head[1] = length.to_be_bytes()[7];
                2
            }
            126..65_536 => {
                head[1] = 126;
                head[2..4].copy_from_slice(&length.to_be_bytes()[6..]);
                4
            }
            _ => {
                head[1] = 127;
                head[2..].copy_from_slice(&length.to_be_bytes());
                HEAD
            }
        };
        let start = HEAD - used;
        self.0[start..HEAD].copy_from_slice(&head[..used]);
        Bytes::from(self.0).slice(start..)
    }
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

impl std::io::Write for Message {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
