//! Frames of the WebSocket protocol, as JSON.

use axum::extract::ws::Utf8Bytes;
use lemonair_schemas::EventId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Ask {
    Join {
        id: Option<Value>,
        room: String,
        token: Option<String>,
        since: Option<String>,
    },
    Chat {
        id: Option<Value>,
        room: String,
        text: String,
        nonce: Option<String>,
    },
    Leave {
        id: Option<Value>,
        room: String,
    },
    Ping {
        id: Option<Value>,
    },
}

/// What a client is told. `id` is the client's own, of whatever JSON type it chose.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Tell<'a> {
    Ack {
        id: &'a Option<Value>,
        event: EventId,
    },
    Left {
        id: &'a Option<Value>,
        room: &'a str,
    },
    Pong {
        id: &'a Option<Value>,
    },
    Error {
        id: &'a Option<Value>,
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl Tell<'_> {
    pub(crate) fn frame(&self) -> Utf8Bytes {
        // Our own frames have string keys and finite numbers: they always serialise.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// The answer to a join, around events that are already JSON.
#[derive(Debug)]
pub(crate) struct Joined<'a> {
    pub(crate) id: &'a Option<Value>,
    pub(crate) room: &'a str,
    pub(crate) cursor: String,
    pub(crate) recovered: bool,
    pub(crate) viewers: usize,
    pub(crate) live: bool,
}

impl Joined<'_> {
    pub(crate) fn frame<'e>(&self, events: impl Iterator<Item = &'e str>) -> Utf8Bytes {
        let Joined {
            id,
            room,
            cursor,
            recovered,
            viewers,
            live,
        } = self;
        let id = serde_json::to_string(id).unwrap_or_default();
        let mut frame = format!(
            r#"{{"type":"joined","id":{id},"room":"{room}","cursor":"{cursor}","recovered":{recovered},"viewers":{viewers},"live":{live},"events":["#
        );
        join(&mut frame, events);
        frame.into()
    }
}

/// Events of a room, encoded once for all its viewers. Room names and cursors need no escaping.
pub(crate) fn events<'e>(
    room: &str,
    cursor: &str,
    events: impl Iterator<Item = &'e str>,
) -> Utf8Bytes {
    let mut frame = format!(r#"{{"type":"events","room":"{room}","cursor":"{cursor}","events":["#);
    join(&mut frame, events);
    frame.into()
}

fn join<'e>(frame: &mut String, events: impl Iterator<Item = &'e str>) {
    for (index, event) in events.enumerate() {
        if index > 0 {
            frame.push(',');
        }
        frame.push_str(event);
    }
    frame.push_str("]}");
}
