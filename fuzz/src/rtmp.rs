//! What a publisher says before and around its media.

use bytes::{Bytes, BytesMut};
use lemonair_ingest::rtmp::amf::{self, Decoder, Value};
use lemonair_ingest::rtmp::chunk::{Message, Reader, Writer, kind};
use lemonair_ingest::rtmp::handshake::{Handshake, PACKET};
use lemonair_ingest::rtmp::{Client, Media, MediaKind, Output, Session, StreamKey};

use crate::cuts;

/// Answers the same however the bytes are cut.
pub(crate) fn handshake(bytes: &[u8]) {
    let answers = cuts(bytes).map(|parts| {
        let mut handshake = Handshake::new();
        let mut answer = Vec::new();
        for mut part in parts {
            answer.extend(handshake.handle(&mut part)?.unwrap_or_default());
        }
        Ok::<_, lemonair_ingest::rtmp::Error>((answer, handshake.is_done()))
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

pub(crate) fn handshakes() -> Vec<Vec<u8>> {
    let simple = [&[3][..], &[0; 2 * PACKET]].concat();
    let dated: Vec<u8> = (0..=2 * PACKET).map(|n| (n * 7 % 253) as u8).collect();
    vec![simple, [&[3][..], &dated].concat()]
}

/// Reads the same messages however the bytes are cut, and holds no more than it may.
pub(crate) fn chunk(bytes: &[u8]) {
    const LARGEST: usize = 2000;
    let read = cuts(bytes).map(|parts| {
        let mut reader = Reader::new(LARGEST);
        let mut messages = Vec::new();
        for mut part in parts {
            loop {
                match reader.read(&mut part) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    });
    assert!(read[0].0.iter().all(|m| m.payload.len() <= LARGEST));
    // Where a piece ends too early, what is held is told smaller; the error is the same kind.
    assert_eq!(read[0].0, read[1].0);
    assert_eq!(read[0].0, read[2].0);
    assert_eq!(read[0].1.is_some(), read[2].1.is_some());
}

/// What is read can be written, and is then read again as the same.
pub(crate) fn amf(bytes: &[u8]) {
    let mut decoder = Decoder::new(bytes);
    while let Ok(Some(value)) = decoder.next_value() {
        let mut once = BytesMut::new();
        amf::encode(&value, &mut once);
        // A name that has grown out of AMF0's lengths is cut, and a value can be too deep to come back.
        let Ok(Some(again)) = Decoder::new(&once).next_value() else {
            continue;
        };
        let mut twice = BytesMut::new();
        amf::encode(&again, &mut twice);
        assert!(bytes.len() > 16_384 || once == twice, "{value:?}");
    }
}

pub(crate) fn values() -> Vec<Vec<u8>> {
    let mut named = BytesMut::new();
    let fields = amf::object([("app", "live".into()), ("width", 1280.0.into())]);
    amf::encode(
        &Value::Array(vec![fields, Value::Null, "text".into()]),
        &mut named,
    );
    vec![
        named.to_vec(),
        b"\x08\0\0\0\x01\0\x06stereo\x01\x01\0\0\x09".to_vec(),
        b"\x10\0\x01T\0\x01a\x0B\0\0\0\0\0\0\0\0\0\0\0\0\x09".to_vec(),
        b"\x11\x09\x05\x01\x0A\x1B\x01\x07app\x06\x09live\x09fine\x03\x01\x0A\x01\x06\x02\x04\x03\x01".to_vec(),
        b"\x11\x08\x01\x40\x94\0\0\0\0\0\0\x11\x0C\x05ab".to_vec(),
    ]
}

/// A connection behind its handshake, accepted as soon as it asks to publish.
pub(crate) fn session(bytes: &[u8]) {
    let mut session = Session::new(1 << 20);
    let _ = session.handle(&[&[3][..], &[0; 2 * PACKET]].concat());
    for part in bytes.chunks(100) {
        let Ok(outputs) = session.handle(part) else {
            return;
        };
        for output in outputs {
            if matches!(output, Output::Publish { .. }) && session.accept().is_err() {
                return;
            }
        }
    }
}

/// A server to which a broadcast is pushed on says anything behind its handshake. We make the same of it
/// however it is cut, answer little, and repeat the key in no words of ours.
pub(crate) fn client(bytes: &[u8]) {
    const KEY: &str = "a-secret-key";
    let ends = cuts(bytes).map(|parts| {
        let mut client = Client::new("live", "rtmp://a/live", StreamKey(KEY.to_owned()));
        let _ = client.handle(&[&[3][..], &[0; 2 * PACKET]].concat());
        client.output();
        let mut said = 0;
        for part in parts {
            let handled = client.handle(part);
            said += client.output().len();
            if let Err(refusal) = handled {
                assert!(!refusal.to_string().contains(KEY), "{refusal}");
                return (said, false);
            }
            if client.is_live() {
                client.media(&Media {
                    kind: MediaKind::Video,
                    timestamp: 40,
                    payload: Bytes::from_static(b"\x17\x01\0\0\0picture"),
                });
                client.output();
            }
        }
        (said, client.is_live())
    });
    assert!(ends[0].0 <= 1000 + 8 * bytes.len(), "{ends:?}");
    assert_eq!(ends[0].1, ends[1].1);
    assert_eq!(ends[0].1, ends[2].1);
}

/// Of a server, behind its handshake.
pub(crate) fn answers() -> Vec<Vec<u8>> {
    let window = |bytes: &'static [u8]| write(kind::WINDOW_ACK_SIZE, 0, Bytes::from_static(bytes));
    let about = |level: &str, code: &str| {
        amf::object([
            ("level", level.into()),
            ("code", code.into()),
            ("description", "a-secret-key, it says".into()),
        ])
    };
    let connected = answer(
        "_result",
        1.0,
        about("status", "NetConnection.Connect.Success"),
    );
    let created = answer("_result", 4.0, 1.0.into());
    let begun = answer("onStatus", 0.0, about("status", "NetStream.Publish.Start"));
    let refused = answer("onStatus", 0.0, about("error", "NetStream.Publish.BadName"));
    let failed = answer(
        "_error",
        1.0,
        about("error", "NetConnection.Connect.Rejected"),
    );
    let ping = Bytes::from_static(&[0, 6, 1, 2, 3, 4]);
    let ping = write(kind::USER_CONTROL, 0, ping);
    vec![
        [
            window(&[0, 0x26, 0x25, 0xA0]),
            connected.clone(),
            created.clone(),
            begun,
            ping,
        ]
        .concat(),
        [window(&[0, 0, 0, 1]), connected.clone(), created, refused].concat(),
        [connected, failed].concat(),
    ]
}

fn answer(name: &str, transaction: f64, about: Value) -> Vec<u8> {
    let mut payload = BytesMut::new();
    for value in [name.into(), transaction.into(), Value::Null, about] {
        amf::encode(&value, &mut payload);
    }
    write(kind::COMMAND_AMF0, 0, payload.freeze())
}

pub(crate) fn conversations() -> Vec<Vec<u8>> {
    let app = amf::object([("app", "live".into())]);
    let to_air = [
        say("connect", [app, Value::Null]),
        say("createStream", [Value::Null, Value::Null]),
        say("publish", [Value::Null, "key".into()]),
    ];
    let picture = Bytes::from_static(b"\x17\x01\0\0\0picture");
    let tags = b"\x09\0\0\x01\0\0\x64\0\0\0\0v\0\0\0\x0C\x08\0\0\x01\0\0\x78\0\0\0\0a\0\0\0\x0C";
    let on_air = [
        write(kind::VIDEO, 0x0100_0000, picture),
        write(kind::AUDIO, 40, Bytes::from_static(b"\xAF\x01sound")),
        write(kind::AGGREGATE, 80, Bytes::from_static(tags)),
        write(
            kind::USER_CONTROL,
            0,
            Bytes::from_static(&[0, 6, 1, 2, 3, 4]),
        ),
        say("deleteStream", [Value::Null, 1.0.into()]),
    ];
    let all = [to_air.concat(), on_air.concat()].concat();
    // A chunk of each format, and one that goes on.
    let formats =
        b"\x05\0\0\x64\0\0\x02\x08\x01\0\0\0aa\x45\0\0\x14\0\0\x01\x08b\x85\0\0\x1Ec\xC5d";
    vec![to_air.concat(), all, formats.to_vec()]
}

fn say(name: &str, values: [Value; 2]) -> Vec<u8> {
    let mut payload = BytesMut::new();
    amf::encode(&name.into(), &mut payload);
    amf::encode(&1.0.into(), &mut payload);
    for value in &values {
        amf::encode(value, &mut payload);
    }
    write(kind::COMMAND_AMF0, 0, payload.freeze())
}

fn write(kind: u8, timestamp: u32, payload: Bytes) -> Vec<u8> {
    let message = Message {
        timestamp,
        kind,
        stream: 1,
        payload,
    };
    let mut out = BytesMut::new();
    Writer::new().write(3, &message, &mut out);
    out.to_vec()
}
