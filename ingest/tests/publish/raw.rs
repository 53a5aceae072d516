//! RTMP by hand, for what no encoder would send.

use bytes::{Bytes, BytesMut};
use lemonair_ingest::rtmp::amf::{self, Value};
use lemonair_ingest::rtmp::chunk::{Message, Writer, kind};

/// Up to where a stream's name would be told.
pub(crate) fn connect() -> Vec<u8> {
    let mut bytes = [&[3][..], &[0; 2 * 1536]].concat();
    bytes.extend(say(
        "connect",
        [amf::object([("app", "live".into())]), Value::Null],
    ));
    bytes.extend(say("createStream", [Value::Null, Value::Null]));
    bytes
}

pub(crate) fn publish(key: &str) -> Vec<u8> {
    [connect(), say("publish", [Value::Null, key.into()])].concat()
}

pub(crate) fn video(payload: &'static [u8]) -> Vec<u8> {
    write(kind::VIDEO, Bytes::from_static(payload))
}

pub(crate) fn command(payload: &[u8]) -> Vec<u8> {
    write(kind::COMMAND_AMF0, Bytes::copy_from_slice(payload))
}

fn say(name: &str, values: [Value; 2]) -> Vec<u8> {
    let mut payload = BytesMut::new();
    amf::encode(&name.into(), &mut payload);
    amf::encode(&1.0.into(), &mut payload);
    for value in &values {
        amf::encode(value, &mut payload);
    }
    write(kind::COMMAND_AMF0, payload.freeze())
}

fn write(kind: u8, payload: Bytes) -> Vec<u8> {
    let mut out = BytesMut::new();
    Writer::new().write(
        3,
        &Message {
            timestamp: 0,
            kind,
            stream: 1,
            payload,
        },
        &mut out,
    );
    out.to_vec()
}
