//! What a publisher may say, and when: from the handshake to its last frame.
//!
//! The session stops at `publish`, holds back what came after it, and goes on when the driver
//! accepts the key. So no media is read before that.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::amf::{self, Decoder, Value, object};
use super::chunk::{Message, Reader, Writer, kind, number};
use super::handshake::Handshake;
use super::{Error, aggregate};

/// Until the key is accepted nothing longer than this is taken.
pub const MAX_COMMAND: usize = 64 * 1024;
/// How much a side may send before it hears that it arrived.
const WINDOW: u32 = 2_500_000;
/// Ours, which ffmpeg takes over for its own: with small chunks it makes as many small writes.
const CHUNK_SIZE: u16 = 60_000;
/// The one message stream a connection has.
const STREAM: u32 = 1;

mod channel {
    pub(super) const CONTROL: u8 = 2;
    pub(super) const COMMAND: u8 = 3;
    pub(super) const STATUS: u8 = 5;
}

/// The publisher's side of one connection.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    handshake: Handshake,
    reader: Reader,
    writer: Writer,
    max_message: usize,
    /// Bytes that came behind `publish` and wait for its answer.
    held: BytesMut,
    replies: BytesMut,
    /// Bytes received, modulo 2^32, and how many of them the peer knows of.
    received: u32,
    acknowledged: u32,
    window: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Handshake,
    Connecting,
    Connected {
        app: String,
    },
    /// `publish` came; the driver looks at the key.
    Asking,
    Publishing,
    Over,
}

/// What the driver is to do. Writes come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Write(Bytes),
    /// Answer with [`Session::accept`] or [`Session::reject`].
    Publish {
        app: String,
        key: StreamKey,
    },
    Media(Media),
    /// A goodbye: the broadcast is over.
    Unpublish,
    /// Nothing more will come of this connection.
    Close,
}

/// A message with picture, sound or data. Its timestamp is in milliseconds modulo 2^32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    pub kind: MediaKind,
    pub timestamp: u32,
    pub payload: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    Audio,
    Video,
    Data,
}

/// What a streamer proves itself with. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(pub String);

// === impl Session ===

impl Session {
    /// `max_message` holds once the key is accepted.
    pub fn new(max_message: usize) -> Session {
        Session {
            phase: Phase::Handshake,
            handshake: Handshake::new(),
            reader: Reader::new(MAX_COMMAND.min(max_message)),
            writer: Writer::new(),
            max_message,
            held: BytesMut::new(),
            replies: BytesMut::new(),
            received: 0,
            acknowledged: 0,
            window: WINDOW,
        }
    }

    pub fn handle(&mut self, input: &[u8]) -> Result<Vec<Output>, Error> {
        self.received = self.received.wrapping_add(input.len() as u32);
        self.advance(input)
    }

    /// The key is good. Goes on with what was held back.
    pub fn accept(&mut self) -> Result<Vec<Output>, Error> {
        if self.phase != Phase::Asking {
            return Err(Error::OutOfTurn("an answer to publish"));
        }
        self.phase = Phase::Publishing;
        self.reader.set_max_message(self.max_message);
        self.user_control(0, STREAM);
        self.status("status", "NetStream.Publish.Start", "on air");
        let held = std::mem::take(&mut self.held);
        self.advance(&held)
    }

    /// The key is no good, or there is no room. `reason` is shown to the streamer.
    pub fn reject(&mut self, reason: &str) -> Vec<Output> {
        self.end("NetStream.Publish.BadName", reason)
    }

    /// Ends a broadcast that was accepted. `reason` is shown to the streamer.
    pub fn stop(&mut self, reason: &str) -> Vec<Output> {
        self.end("NetStream.Publish.Failed", reason)
    }

    fn end(&mut self, code: &str, reason: &str) -> Vec<Output> {
        self.phase = Phase::Over;
        self.held = BytesMut::new();
        self.status("error", code, reason);
        vec![Output::Write(self.replies.split().freeze()), Output::Close]
    }

    fn advance(&mut self, mut input: &[u8]) -> Result<Vec<Output>, Error> {
        let mut outputs = Vec::new();
        if self.phase == Phase::Handshake {
            if let Some(answer) = self.handshake.handle(&mut input)? {
                self.replies.extend_from_slice(&answer);
            }
            if self.handshake.is_done() {
                self.phase = Phase::Connecting;
            }
        }
        while !matches!(self.phase, Phase::Handshake | Phase::Asking | Phase::Over) {
            let Some(message) = self.reader.read(&mut input)? else {
                break;
            };
            self.message(message, &mut outputs)?;
        }
        if self.phase == Phase::Asking {
            if self.held.len() + input.len() > MAX_COMMAND {
                return Err(Error::OutOfTurn(
                    "more than a little before the answer to publish",
                ));
            }
            self.held.extend_from_slice(input);
        }
        self.acknowledge();
        if !self.replies.is_empty() {
            outputs.insert(0, Output::Write(self.replies.split().freeze()));
        }
        Ok(outputs)
    }

    fn message(&mut self, message: Message, outputs: &mut Vec<Output>) -> Result<(), Error> {
        match message.kind {
            kind::COMMAND_AMF0 => outputs.extend(self.command(&message.payload)?),
            // A byte says which notation follows, and it is always AMF0, whose values may switch.
            kind::COMMAND_AMF3 => {
                let payload = message.payload.get(1..).unwrap_or_default();
                outputs.extend(self.command(payload)?);
            }
            kind::AUDIO => outputs.push(self.media(MediaKind::Audio, message)?),
            kind::VIDEO => outputs.push(self.media(MediaKind::Video, message)?),
            kind::DATA_AMF0 => outputs.push(self.media(MediaKind::Data, message)?),
            kind::DATA_AMF3 => {
                let payload = message.payload.slice(message.payload.len().min(1)..);
                let message = Message { payload, ..message };
                outputs.push(self.media(MediaKind::Data, message)?);
            }
            kind::AGGREGATE => {
                for part in aggregate::split(&message)? {
                    self.message(part, outputs)?;
                }
            }
            kind::WINDOW_ACK_SIZE => {
                self.window = number(&message, "window acknowledgement size")?.max(1);
            }
            kind::USER_CONTROL => {
                // 6 is a ping request, its answer 7. The rest is for players.
                if let [0, 6, a, b, c, d, ..] = *message.payload {
                    self.user_control(7, u32::from_be_bytes([a, b, c, d]));
                }
            }
            // Acknowledgements, bandwidth, shared objects: nothing that a publisher needs.
            _ => {}
        }
        Ok(())
    }

    fn media(&self, kind: MediaKind, message: Message) -> Result<Output, Error> {
        if self.phase != Phase::Publishing {
            return Err(Error::MediaBeforeAccept);
        }
        Ok(Output::Media(Media {
            kind,
            timestamp: message.timestamp,
            payload: message.payload,
        }))
    }

    fn command(&mut self, payload: &[u8]) -> Result<Option<Output>, Error> {
        let mut values = Decoder::new(payload);
        let name = values.next_value()?;
        let name = name
            .as_ref()
            .and_then(Value::text)
            .ok_or(Error::Malformed("command"))?;
        let transaction = values
            .next_value()?
            .as_ref()
            .and_then(Value::number)
            .unwrap_or(0.0);
        let about = values.next_value()?.unwrap_or(Value::Null);

        if self.phase == Phase::Connecting && name != "connect" {
            return Err(Error::OutOfTurn("a command before connect"));
        }
        match name {
            "connect" => self.connect(transaction, &about),
            "createStream" => {
                self.reply(
                    "_result",
                    transaction,
                    [Value::Null, f64::from(STREAM).into()],
                );
                Ok(None)
            }
            "publish" => {
                let Phase::Connected { app } = &self.phase else {
                    return Err(Error::OutOfTurn("publish"));
                };
                let key = values.next_value()?;
                let key = key
                    .as_ref()
                    .and_then(Value::text)
                    .ok_or(Error::Malformed("publish"))?;
                // Some clients hang parameters on the stream's name.
                let key = key.split('?').next().unwrap_or_default();
                let output = Output::Publish {
                    app: app.clone(),
                    key: StreamKey(key.to_owned()),
                };
                self.phase = Phase::Asking;
                Ok(Some(output))
            }
            "FCUnpublish" | "closeStream" | "deleteStream" => {
                if self.phase != Phase::Publishing {
                    return Ok(None);
                }
                self.phase = Phase::Over;
                self.status("status", "NetStream.Unpublish.Success", "off air");
                Ok(Some(Output::Unpublish))
            }
            "play" | "play2" => {
                self.status("error", "NetStream.Play.Failed", "watch over HLS, not RTMP");
                Ok(None)
            }
            // releaseStream, FCPublish, _checkbw, getStreamLength and whatever else wants an answer.
            _ => {
                if transaction != 0.0 {
                    self.reply("_result", transaction, [Value::Null, Value::Null]);
                }
                Ok(None)
            }
        }
    }

    fn connect(&mut self, transaction: f64, about: &Value) -> Result<Option<Output>, Error> {
        if self.phase != Phase::Connecting {
            return Err(Error::OutOfTurn("connect"));
        }
        let app = about.get("app").and_then(Value::text).unwrap_or_default();
        let app = app
            .split('?')
            .next()
            .unwrap_or_default()
            .trim_matches('/')
            .to_owned();

        self.control(kind::WINDOW_ACK_SIZE, &WINDOW.to_be_bytes());
        // 2: the peer may keep a limit that it was given before.
        self.control(
            kind::SET_PEER_BANDWIDTH,
            &[WINDOW.to_be_bytes().as_slice(), &[2]].concat(),
        );
        self.writer.set_chunk_size(CHUNK_SIZE, &mut self.replies);
        // Encoders look for a server's name and abilities of this shape.
        let server = object([
            ("fmsVer", "FMS/3,0,1,123".into()),
            ("capabilities", 31.0.into()),
        ]);
        let result = object([
            ("level", "status".into()),
            ("code", "NetConnection.Connect.Success".into()),
            ("description", "connected".into()),
            ("objectEncoding", 0.0.into()),
        ]);
        self.reply("_result", transaction, [server, result]);
        self.phase = Phase::Connected { app };
        Ok(None)
    }

    fn acknowledge(&mut self) {
        if self.received.wrapping_sub(self.acknowledged) > self.window / 2
            && !matches!(self.phase, Phase::Handshake | Phase::Connecting)
        {
            self.acknowledged = self.received;
            self.control(kind::ACKNOWLEDGEMENT, &self.received.to_be_bytes());
        }
    }

    fn status(&mut self, level: &str, code: &str, description: &str) {
        let info = object([
            ("level", level.into()),
            ("code", code.into()),
            ("description", description.into()),
        ]);
        let payload = command("onStatus", 0.0, &[Value::Null, info]);
        self.write(channel::STATUS, kind::COMMAND_AMF0, STREAM, payload);
    }

    fn reply(&mut self, name: &str, transaction: f64, values: [Value; 2]) {
        self.write(
            channel::COMMAND,
            kind::COMMAND_AMF0,
            0,
            command(name, transaction, &values),
        );
    }

    fn user_control(&mut self, event: u16, value: u32) {
        let mut payload = BytesMut::with_capacity(6);
        payload.put_u16(event);
        payload.put_u32(value);
        self.control(kind::USER_CONTROL, &payload);
    }

    fn control(&mut self, kind: u8, payload: &[u8]) {
        self.write(channel::CONTROL, kind, 0, Bytes::copy_from_slice(payload));
    }

    fn write(&mut self, channel: u8, kind: u8, stream: u32, payload: Bytes) {
        let message = Message {
            timestamp: 0,
            kind,
            stream,
            payload,
        };
        self.writer.write(channel, &message, &mut self.replies);
    }
}

pub(super) fn command(name: &str, transaction: f64, values: &[Value]) -> Bytes {
    let mut payload = BytesMut::new();
    amf::encode(&name.into(), &mut payload);
    amf::encode(&transaction.into(), &mut payload);
    for value in values {
        amf::encode(value, &mut payload);
    }
    payload.freeze()
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(…)")
    }
}

#[cfg(test)]
mod tests;
