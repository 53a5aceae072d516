//! Frames of the WebSocket protocol, as JSON.

use std::fmt::Write;

use bytes::Bytes;
use lemonair_schemas::EventId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::websocket::TextFrame;

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
    pub(crate) fn frame(&self) -> Bytes {
        let mut frame = TextFrame::with_capacity(128);
        // Our own frames have string keys and finite numbers: they always serialise.
        serde_json::to_writer(&mut frame, self).ok();
        frame.finish()
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
    /// The frame up to its list of events, which [`list`] has made for all who join meanwhile.
    pub(crate) fn frame(&self, events: &Bytes) -> Bytes {
        let Joined {
            id,
            room,
            cursor,
            recovered,
            viewers,
            live,
        } = self;
        let id = serde_json::to_string(id).unwrap_or_default();
        let mut frame = TextFrame::with_capacity(256);
        // Writing to memory does not fail.
        write!(
            frame,
            r#"{{"type":"joined","id":{id},"room":"{room}","cursor":"{cursor}","recovered":{recovered},"viewers":{viewers},"live":{live},"events":"#
        )
        .ok();
        frame.finish_before(events.len())
    }
}

/// The end of a frame: its list of events.
pub(crate) fn list<'e>(events: impl Iterator<Item = &'e str>) -> Bytes {
    let mut list = String::from("[");
    for (index, event) in events.enumerate() {
        if index > 0 {
            list.push(',');
        }
        list.push_str(event);
    }
    list.push_str("]}");
    list.into()
}

/// Events of a room, encoded once for all its viewers. Room names and cursors need no escaping.
pub(crate) fn events(room: &str, cursor: &str, events: &[impl AsRef<str>]) -> Bytes {
    let length: usize = events.iter().map(|event| event.as_ref().len() + 1).sum();
    let mut frame = TextFrame::with_capacity(length + 160);
    write!(
        frame,
        r#"{{"type":"events","room":"{room}","cursor":"{cursor}","events":["#
    )
    .ok();
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            frame.push_str(",");
        }
        frame.push_str(event.as_ref());
    }
    frame.push_str("]}");
    frame.finish()
}
