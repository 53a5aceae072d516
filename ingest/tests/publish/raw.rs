//! RTMP by hand, for what no encoder would send.

use bytes::{Bytes, BytesMut};
use lemonair_ingest::rtmp::amf::{self, Value};
use lemonair_ingest::rtmp::chunk::{Message, Writer, kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::Stage;

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

/// A connection that has shaken hands, if it was let in.
pub(crate) async fn greet(stage: &Stage) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(stage.address()).await.expect("connect");
    socket
        .write_all(&[&[3][..], &[0; 1536]].concat())
        .await
        .ok()?;
    socket.read_u8().await.ok()?;
    Some(socket)
}

pub(crate) fn publish(key: &str) -> Vec<u8> {
    [connect(), say("publish", [Value::Null, key.into()])].concat()
}

/// A connection whose key was accepted, and what the server said.
pub(crate) async fn on_air(stage: &Stage, key: &str) -> (TcpStream, Vec<u8>) {
    let mut socket = TcpStream::connect(stage.address()).await.expect("connect");
    socket.write_all(&publish(key)).await.expect("write");
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("NetStream.Publish.Start") {
        let read = socket.read_buf(&mut said).await.expect("read");
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
    }
    (socket, said)
}

pub(crate) fn video(payload: &'static [u8]) -> Vec<u8> {
    video_at(0, payload.to_vec())
}

pub(crate) fn video_at(timestamp: u32, payload: Vec<u8>) -> Vec<u8> {
    write(kind::VIDEO, timestamp, payload.into())
}

pub(crate) fn audio_at(timestamp: u32, payload: Vec<u8>) -> Vec<u8> {
    write(kind::AUDIO, timestamp, payload.into())
}

/// What an encoder says of itself at first.
pub(crate) fn metadata(fields: &[(&'static str, f64)]) -> Vec<u8> {
    let mut payload = BytesMut::new();
    amf::encode(&"@setDataFrame".into(), &mut payload);
    amf::encode(&"onMetaData".into(), &mut payload);
    let mut about = amf::object([]);
    if let Value::Object(known) = &mut about {
        known.extend(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value))),
        );
    }
    amf::encode(&about, &mut payload);
    write(kind::DATA_AMF0, 0, payload.freeze())
}

pub(crate) fn goodbye() -> Vec<u8> {
    say("deleteStream", [Value::Null, 1.0.into()])
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

pub(crate) fn write(kind: u8, timestamp: u32, payload: Bytes) -> Vec<u8> {
    let mut out = BytesMut::new();
    Writer::new().write(
        3,
        &Message {
            timestamp,
            kind,
            stream: 1,
            payload,
        },
        &mut out,
    );
    out.to_vec()
}
