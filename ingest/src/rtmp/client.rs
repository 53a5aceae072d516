//! The other side of RTMP, for pushing a broadcast on: media in, a server's bytes in, bytes out.

use bytes::{BufMut, Bytes, BytesMut};

use super::amf::{self, Decoder, Value, object};
use super::chunk::{Message, Reader, Writer, kind, number};
use super::handshake::PACKET;
use super::session::{MAX_COMMAND, command};
use super::{Error, Media, MediaKind, StreamKey};

const VERSION: u8 = 3;
/// Large, so that a key frame is few chunks.
const CHUNK_SIZE: u16 = 60_000;
/// Which of our commands an answer is to.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

mod channel {
    pub(super) const CONTROL: u8 = 2;
    pub(super) const COMMAND: u8 = 3;
    pub(super) const SOUND: u8 = 4;
    pub(super) const DATA: u8 = 5;
    pub(super) const PICTURE: u8 = 6;
}

/// A connection that publishes to another server.
#[derive(Debug)]
pub struct Client {
    app: String,
    /// The address without the key, as servers want to be told it.
    url: String,
    key: StreamKey,
    phase: Phase,
    /// Of the handshake.
    received: Vec<u8>,
    reader: Reader,
    writer: Writer,
    out: BytesMut,
    stream: u32,
    bytes_in: u32,
    acknowledged: u32,
    window: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Connecting,
    /// Asked for a stream, or for going on air.
    Asking,
    Live,
}

/// Why a server does not take the broadcast.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Protocol(#[from] Error),
    #[error("refused: {0}")]
    Refused(String),
}

impl From<amf::Error> for Refusal {
    fn from(error: amf::Error) -> Refusal {
        Refusal::Protocol(error.into())
    }
}

// === impl Client ===

impl Client {
    /// Its first words are in [`Client::output`].
    pub fn new(app: &str, url: &str, key: StreamKey) -> Client {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        // No time, version zero ("simple"), and noise nobody checks.
        out.extend((0..PACKET).map(|n| if n < 8 { 0 } else { (n * 31 % 251) as u8 }));
        Client {
            app: app.to_owned(),
            url: url.to_owned(),
            key,
            phase: Phase::Handshake,
            received: Vec::new(),
            reader: Reader::new(MAX_COMMAND),
            writer: Writer::new(),
            out,
            stream: 0,
            bytes_in: 0,
            acknowledged: 0,
            window: u32::MAX,
        }
    }

    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// What is to be written.
    pub fn output(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Bytes of the server.
    pub fn handle(&mut self, mut input: &[u8]) -> Result<(), Refusal> {
        self.bytes_in = self.bytes_in.wrapping_add(input.len() as u32);
        if self.phase == Phase::Handshake && !self.shake(&mut input)? {
            return Ok(());
        }
        while let Some(message) = self.reader.read(&mut input)? {
            self.message(&message)?;
        }
        if self.bytes_in.wrapping_sub(self.acknowledged) > self.window / 2 {
            self.acknowledged = self.bytes_in;
            let bytes = self.bytes_in.to_be_bytes();
            self.control(kind::ACKNOWLEDGEMENT, &bytes);
        }
        Ok(())
    }

    /// Only when live.
    pub fn media(&mut self, media: &Media) {
        let (channel, kind) = match media.kind {
            MediaKind::Audio => (channel::SOUND, kind::AUDIO),
            MediaKind::Video => (channel::PICTURE, kind::VIDEO),
            MediaKind::Data => (channel::DATA, kind::DATA_AMF0),
        };
        let message = Message {
            timestamp: media.timestamp,
            kind,
            stream: self.stream,
            payload: media.payload.clone(),
        };
        self.writer.write(channel, &message, &mut self.out);
    }

    /// Says that the broadcast is over.
    pub fn goodbye(&mut self) {
        let key = Value::from(self.key.0.as_str());
        self.command("FCUnpublish", 0.0, &[Value::Null, key]);
        let stream = f64::from(self.stream).into();
        self.command("deleteStream", 0.0, &[Value::Null, stream]);
    }

    /// Version, the server's packet and its echo of ours. True when they are all there.
    fn shake(&mut self, input: &mut &[u8]) -> Result<bool, Error> {
        const ALL: usize = 1 + 2 * PACKET;
        let before = self.received.len();
        let (head, rest) = input.split_at(input.len().min(ALL - before));
        self.received.extend_from_slice(head);
        *input = rest;
        if let Some(&version) = self.received.first()
            && version != VERSION
        {
            return Err(Error::Version(version));
        }
        let packet = 1..1 + PACKET;
        if (before..self.received.len()).contains(&PACKET) {
            self.out.extend_from_slice(&self.received[packet]);
        }
        if self.received.len() < ALL {
            return Ok(false);
        }
        self.received = Vec::new();
        self.phase = Phase::Connecting;
        let about = object([
            ("app", self.app.as_str().into()),
            ("type", "nonprivate".into()),
            ("flashVer", "FMLE/3.0 (compatible; Lemonair)".into()),
            ("tcUrl", self.url.as_str().into()),
        ]);
        self.command("connect", CONNECT, &[about]);
        Ok(true)
    }

    fn message(&mut self, message: &Message) -> Result<(), Refusal> {
        match message.kind {
            kind::COMMAND_AMF0 => self.answer(&message.payload)?,
            kind::COMMAND_AMF3 => self.answer(message.payload.get(1..).unwrap_or_default())?,
            kind::WINDOW_ACK_SIZE => {
                self.window = number(message, "window acknowledgement size")?.max(1);
            }
            kind::USER_CONTROL => {
                if let [0, 6, rest @ ..] = &message.payload[..] {
                    let pong = [&[0, 7], rest].concat();
                    self.control(kind::USER_CONTROL, &pong);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let mut values = Decoder::new(payload);
        let mut next = || Ok::<_, amf::Error>(values.next_value()?.unwrap_or(Value::Null));
        let (name, transaction, _) = (next()?, next()?.number(), next()?);
        let about = next()?;
        let code = about.get("code").and_then(Value::text).unwrap_or_default();
        match (name.text().unwrap_or_default(), transaction) {
            ("_result", Some(CONNECT)) if self.phase == Phase::Connecting => {
                self.phase = Phase::Asking;
                self.writer.set_chunk_size(CHUNK_SIZE, &mut self.out);
                let key = Value::from(self.key.0.as_str());
                self.command("releaseStream", 2.0, &[Value::Null, key.clone()]);
                self.command("FCPublish", 3.0, &[Value::Null, key]);
                self.command("createStream", CREATE_STREAM, &[Value::Null]);
            }
            ("_result", Some(CREATE_STREAM)) if self.phase == Phase::Asking => {
                self.stream = about.number().unwrap_or(1.0) as u32;
                let key = Value::from(self.key.0.as_str());
                self.command("publish", 5.0, &[Value::Null, key, "live".into()]);
            }
            ("onStatus", _) if code == "NetStream.Publish.Start" => self.phase = Phase::Live,
            ("onStatus", _) if about.get("level").and_then(Value::text) == Some("error") => {
                return Err(self.refused(code, &about));
            }
            ("_error", Some(CONNECT | CREATE_STREAM)) => return Err(self.refused(code, &about)),
            // Servers tell much that changes nothing.
            _ => {}
        }
        Ok(())
    }

    /// In the server's words, but never with the key.
    fn refused(&self, code: &str, about: &Value) -> Refusal {
        let words = about.get("description").and_then(Value::text);
        let words = format!("{code} {}", words.unwrap_or_default());
        // First of all, as half of it would be too much as well.
        let words = words.replace(&self.key.0, "…");
        Refusal::Refused(words.trim().chars().take(200).collect())
    }

    fn command(&mut self, name: &str, transaction: f64, values: &[Value]) {
        let message = Message {
            timestamp: 0,
            kind: kind::COMMAND_AMF0,
            stream: self.stream,
            payload: command(name, transaction, values),
        };
        self.writer.write(channel::COMMAND, &message, &mut self.out);
    }

    fn control(&mut self, kind: u8, payload: &[u8]) {
        let message = Message {
            timestamp: 0,
            kind,
            stream: 0,
            payload: Bytes::copy_from_slice(payload),
        };
        self.writer.write(channel::CONTROL, &message, &mut self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Output, Session};
    use super::*;

    fn client(key: &str) -> Client {
        Client::new("live", "rtmp://example.org/live", StreamKey(key.to_owned()))
    }

    /// Both sides until neither has a word left; what the server is to do.
    fn talk(client: &mut Client, server: &mut Session, cut: usize) -> Result<Vec<Output>, Refusal> {
        let mut done = Vec::new();
        loop {
            let said = client.output();
            if said.is_empty() {
                return Ok(done);
            }
            let mut answer = Vec::new();
            for part in said.chunks(cut) {
                for output in server.handle(part)? {
                    match output {
                        Output::Write(bytes) => answer.extend(bytes),
                        other => done.push(other),
                    }
                }
            }
            for part in answer.chunks(cut) {
                client.handle(part)?;
            }
        }
    }

    #[test]
    fn our_own_server_takes_it_however_it_is_cut() {
        for cut in [1, 7, 1536, 100_000] {
            let (mut client, mut server) = (client("secret"), Session::new(1 << 20));
            let asked = talk(&mut client, &mut server, cut).unwrap();
            let (app, key) = ("live".to_owned(), StreamKey("secret".to_owned()));
            assert_eq!(asked, [Output::Publish { app, key }]);
            for output in server.accept().unwrap() {
                let Output::Write(bytes) = output else {
                    panic!("{output:?}")
                };
                client.handle(&bytes).unwrap();
            }
            assert!(client.is_live());
            let media = Media {
                kind: MediaKind::Video,
                timestamp: 40,
                payload: vec![7; 100_000].into(),
            };
            client.media(&media);
            client.goodbye();
            let done = talk(&mut client, &mut server, cut).unwrap();
            assert_eq!(done, [Output::Media(media), Output::Unpublish]);
        }
    }

    #[test]
    fn a_refusal_is_told_without_the_key() {
        let (mut client, mut server) = (client("secret"), Session::new(1 << 20));
        talk(&mut client, &mut server, 100_000).unwrap();
        let [Output::Write(bytes), Output::Close] = &server.reject("secret is not known")[..]
        else {
            panic!("no answer")
        };
        let refusal = client.handle(bytes).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "refused: NetStream.Publish.BadName … is not known"
        );
        assert!(!format!("{client:?}").contains("secret"));
        let words = Value::from(format!("{}secret", ".".repeat(197)).as_str());
        let about = object([("description", words)]);
        let cut = client.refused("", &about).to_string();
        assert!(cut.ends_with("...…"), "{cut}");
    }
}
