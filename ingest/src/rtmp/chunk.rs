//! The chunk stream: messages cut into chunks, and put together again within limits.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::Error;

/// What a side uses until it says otherwise.
pub const DEFAULT_CHUNK_SIZE: usize = 128;
/// Up to what the specification allows, as some encoders and servers announce 128 MiB. It costs nothing:
/// a chunk ends with its message, and memory is taken as bytes arrive.
const CHUNK_SIZES: std::ops::RangeInclusive<u32> = 128..=0x7FFF_FFFF;
/// Encoders use fewer than ten.
const MAX_CHUNK_STREAMS: usize = 32;
/// Basic header 3, message header 11, extended timestamp 4.
const MAX_HEADER: usize = 18;
/// In the 24-bit field: the timestamp is in the four bytes after the header.
const EXTENDED: u32 = 0x00FF_FFFF;

/// One message. Timestamps are milliseconds modulo 2^32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub timestamp: u32,
    pub kind: u8,
    pub stream: u32,
    pub payload: Bytes,
}

/// Message kinds that steer the chunk stream itself, and those that sessions know.
pub mod kind {
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACK_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA_AMF0: u8 = 18;
    pub const COMMAND_AMF0: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// Puts messages together. The bytes of unfinished messages together stay under `max_message`.
#[derive(Debug)]
pub struct Reader {
    chunk_size: usize,
    max_message: usize,
    streams: BTreeMap<u32, ChunkStream>,
    header: Header,
    /// The chunk stream and the bytes left of the chunk that is being read.
    chunk: Option<(u32, usize)>,
    /// Bytes held for unfinished messages.
    held: usize,
    /// At most four bytes that were taken for a timestamp and are not one.
    put_back: Bytes,
}

/// The bytes of a header that did not come in one piece.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

#[derive(Debug, Default)]
struct ChunkStream {
    timestamp: u32,
    /// Added to `timestamp` by each further message that brings none.
    delta: u32,
    /// The 24-bit field was full, so that chunks of type 3 repeat the four bytes.
    extended: Option<u32>,
    size: usize,
    kind: u8,
    stream: u32,
    /// `Some` in the middle of a message.
    payload: Option<BytesMut>,
}

/// Cuts messages into chunks. Each goes out with a full header: there are few.
#[derive(Debug)]
pub struct Writer {
    chunk_size: usize,
}

// === impl Reader ===

impl Reader {
    pub fn new(max_message: usize) -> Reader {
        Reader {
            chunk_size: DEFAULT_CHUNK_SIZE,
            max_message,
            streams: BTreeMap::new(),
            header: Header::default(),
            chunk: None,
            held: 0,
            put_back: Bytes::new(),
        }
    }

    pub fn set_max_message(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Takes bytes from the front of `input` until a message is whole or nothing is left.
    /// Messages that steer the chunk stream (sizes, aborts) take effect here and are not returned.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        loop {
            if self.put_back.is_empty() {
                let message = self.read_on(input)?;
                if message.is_some() || self.put_back.is_empty() {
                    return Ok(message);
                }
            }
            let bytes = std::mem::take(&mut self.put_back);
            let mut rest = bytes.as_ref();
            let message = self.read_on(&mut rest)?;
            self.put_back = bytes.slice_ref(rest);
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    fn read_on(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        while !input.is_empty() && self.put_back.is_empty() {
            let Some((id, left)) = self.chunk else {
                self.read_header(input)?;
                continue;
            };
            let (part, rest) = input.split_at(left.min(input.len()));
            *input = rest;
            if let Some(message) = self.append(id, left, part)?
                && !self.steer(&message)?
            {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn append(&mut self, id: u32, left: usize, part: &[u8]) -> Result<Option<Message>, Error> {
        let stream = self.streams.get_mut(&id).ok_or(Error::NoEarlierChunk)?;
        let payload = stream.payload.as_mut().ok_or(Error::NoEarlierChunk)?;
        payload.extend_from_slice(part);
        self.held += part.len();
        if self.held > self.max_message {
            return Err(Error::MessageSize {
                size: self.held,
                limit: self.max_message,
            });
        }
        self.chunk = (left > part.len()).then(|| (id, left - part.len()));
        if payload.len() < stream.size {
            return Ok(None);
        }
        self.held -= payload.len();
        Ok(stream
            .payload
            .take()
            .map(|payload| stream.message(payload.freeze())))
    }

    /// One byte after another, since a header's length is in its first bytes, and it may come in pieces.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<(), Error> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.header.bytes[self.header.len] = byte;
            self.header.len += 1;
            let header = self.header.bytes;
            let Some((format, id, fields)) = basic_header(&header[..self.header.len]) else {
                continue;
            };
            let known = self.streams.get(&id);
            if format > 0 && known.is_none() {
                return Err(Error::NoEarlierChunk);
            }
            let wanted = [11, 7, 3, 0][usize::from(format)];
            if fields.len() < wanted {
                continue;
            }
            let (fields, extension) = fields.split_at(wanted);
            let extended = match fields.first_chunk() {
                Some(&field) => u24(field) == EXTENDED,
                None => known.is_some_and(|stream| stream.extended.is_some()),
            };
            if extended && extension.len() < 4 {
                continue;
            }
            self.header.len = 0;
            return self.open_chunk(format, id, fields, extension.first_chunk().copied());
        }
        Ok(())
    }

    fn open_chunk(
        &mut self,
        format: u8,
        id: u32,
        fields: &[u8],
        extension: Option<[u8; 4]>,
    ) -> Result<(), Error> {
        if !self.streams.contains_key(&id) && self.streams.len() == MAX_CHUNK_STREAMS {
            return Err(Error::ChunkStreams(MAX_CHUNK_STREAMS));
        }
        let stream = self.streams.entry(id).or_default();
        if let [_, _, _, a, b, c, kind, ..] = *fields {
            let size = u24([a, b, c]) as usize;
            if size > self.max_message {
                return Err(Error::MessageSize {
                    size,
                    limit: self.max_message,
                });
            }
            if stream.payload.is_some() && size != stream.size {
                return Err(Error::SizeChanged);
            }
            stream.size = size;
            stream.kind = kind;
        }
        if let [.., a, b, c, d] = *fields
            && format == 0
        {
            // The one number of RTMP that is little-endian.
            stream.stream = u32::from_le_bytes([a, b, c, d]);
        }
        if let Some(&field) = fields.first_chunk() {
            stream.extended = extension.map(u32::from_be_bytes);
            let time = stream.extended.unwrap_or_else(|| u24(field));
            if stream.payload.is_none() {
                stream.delta = time;
                stream.timestamp = if format == 0 {
                    time
                } else {
                    stream.timestamp.wrapping_add(time)
                };
            }
        } else if stream.payload.is_none() {
            // Type 3 after type 0 takes that timestamp as its step: so says the specification, and so
            // ffmpeg writes.
            stream.timestamp = stream.timestamp.wrapping_add(stream.delta);
        }

        if format == 3
            && stream.payload.is_some()
            && let (Some(expected), Some(found)) = (stream.extended, extension)
            && u32::from_be_bytes(found) != expected
        {
            // Some encoders leave the extended timestamp out of chunks of type 3: these four bytes are
            // the message's own.
            self.put_back = Bytes::copy_from_slice(&found);
        }
        // It grows as bytes come, whatever size is claimed.
        let payload = stream.payload.get_or_insert_default();
        let left = (stream.size - payload.len()).min(self.chunk_size);
        if left == 0 {
            // An empty message is whole at its header; nobody needs one.
            stream.payload = None;
        } else {
            self.chunk = Some((id, left));
        }
        Ok(())
    }

    /// Obeys the messages that are about chunks. True if this was one.
    fn steer(&mut self, message: &Message) -> Result<bool, Error> {
        match message.kind {
            kind::SET_CHUNK_SIZE => {
                let size = number(message, "set chunk size")?;
                if !CHUNK_SIZES.contains(&size) {
                    return Err(Error::ChunkSize(size));
                }
                self.chunk_size = size as usize;
            }
            kind::ABORT => {
                let id = number(message, "abort")?;
                if let Some(stream) = self.streams.get_mut(&id)
                    && let Some(payload) = stream.payload.take()
                {
                    self.held -= payload.len();
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl ChunkStream {
    fn message(&self, payload: Bytes) -> Message {
        Message {
            timestamp: self.timestamp,
            kind: self.kind,
            stream: self.stream,
            payload,
        }
    }
}

/// The format, the chunk stream's id and the rest, as soon as the one to three bytes are there.
fn basic_header(header: &[u8]) -> Option<(u8, u32, &[u8])> {
    let (&first, rest) = header.split_first()?;
    let format = first >> 6;
    match (first & 0x3F, rest) {
        (0, [low, rest @ ..]) => Some((format, 64 + u32::from(*low), rest)),
        (1, [low, high, rest @ ..]) => {
            Some((format, 64 + u32::from(*low) + (u32::from(*high) << 8), rest))
        }
        (0 | 1, _) => None,
        (id, rest) => Some((format, u32::from(id), rest)),
    }
}

fn u24([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

/// The number that is the whole of a control message.
pub(crate) fn number(message: &Message, what: &'static str) -> Result<u32, Error> {
    let bytes = message
        .payload
        .first_chunk()
        .ok_or(Error::Malformed(what))?;
    Ok(u32::from_be_bytes(*bytes))
}

// === impl Writer ===

impl Writer {
    pub fn new() -> Writer {
        Writer {
            chunk_size: DEFAULT_CHUNK_SIZE,
        }
    }

    pub fn write(&self, id: u8, message: &Message, out: &mut BytesMut) {
        let extended = message.timestamp >= EXTENDED;
        out.put_u8(id & 0x3F);
        out.put_uint(u64::from(message.timestamp.min(EXTENDED)), 3);
        out.put_uint(message.payload.len() as u64, 3);
        out.put_u8(message.kind);
        out.put_u32_le(message.stream);
        if extended {
            out.put_u32(message.timestamp);
        }
        for (n, part) in message.payload.chunks(self.chunk_size).enumerate() {
            if n > 0 {
                out.put_u8(0xC0 | (id & 0x3F));
                if extended {
                    out.put_u32(message.timestamp);
                }
            }
            out.extend_from_slice(part);
        }
    }

    /// Tells the other side of a new chunk size, and uses it from then on.
    pub fn set_chunk_size(&mut self, size: u16, out: &mut BytesMut) {
        let payload = Bytes::copy_from_slice(&u32::from(size).to_be_bytes());
        self.write(
            2,
            &Message {
                timestamp: 0,
                kind: kind::SET_CHUNK_SIZE,
                stream: 0,
                payload,
            },
            out,
        );
        self.chunk_size = usize::from(size);
    }
}

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

#[cfg(test)]
mod tests;
