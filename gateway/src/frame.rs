//! What clients send and are told, as JSON; and what many are told at once, encoded once in each
//! form that one of them takes.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use lemonair_schemas::{EventId, frame as avro};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::deflate;
use crate::websocket::{Message, Payload};

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
        /// As it came: whether it is one is for whoever answers to say.
        reply_to: Option<String>,
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
    /// Our own frames have string keys and finite numbers: they always serialise.
    pub(crate) fn frame(&self, form: Form) -> Bytes {
        if form == Form::Avro {
            let json = serde_json::to_value(self).unwrap_or_default();
            return binary(&written(avro::whole(&json)), 0);
        }
        let mut frame = Message::with_capacity(128);
        serde_json::to_writer(&mut frame, self).ok();
        frame.finish(Payload::Text)
    }
}

/// How a connection is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON in text frames.
    #[default]
    Json,
    /// The same, deflated where that is worth it.
    Deflated,
    /// Avro in binary frames.
    Avro,
    /// The same JSON as server-sent events.
    Sse,
}

/// The answer to a join, around events that are already encoded.
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
    /// The frame in two pieces: its own head, and the list, which all who join meanwhile share.
    pub(crate) fn pieces(&self, list: &List, form: Form) -> [Bytes; 2] {
        let Joined {
            id,
            room,
            cursor,
            recovered,
            viewers,
            live,
        } = self;
        if form == Form::Avro {
            let head = json!({
                "type": "joined", "id": id, "room": room, "cursor": cursor, "recovered": recovered,
                "viewers": viewers, "live": live, "events": [],
            });
            let list = list.avro();
            return [binary(&written(avro::head(&head)), list.len()), list];
        }
        let id = serde_json::to_string(id).unwrap_or_default();
        let head = format_args!(
            r#"{{"type":"joined","id":{id},"room":"{room}","cursor":"{cursor}","recovered":{recovered},"viewers":{viewers},"live":{live},"events":"#
        );
        let mut frame = Message::with_capacity(256);
        // Writing to memory does not fail.
        match (form, list.deflated(form)) {
            (Form::Sse, _) => {
                let head = format!("id: {cursor}\nevent: joined\ndata: {head}");
                [head.into(), list.sse()]
            }
            // The head is not worth deflating, and stands as it is before what is deflated.
            (_, Some(deflated)) => {
                frame.push(&deflate::stored(head.to_string().as_bytes()));
                [
                    frame.finish_before(Payload::DeflatedText, deflated.len()),
                    deflated,
                ]
            }
            (_, None) => {
                frame.write_fmt(head).ok();
                let list = list.json();
                [frame.finish_before(Payload::Text, list.len()), list]
            }
        }
    }
}

/// The end of a frame, its list of events: encoded once as JSON, and once more in each other form
/// that somebody takes.
#[derive(Debug, Clone)]
pub struct List(Arc<Listed>);

#[derive(Debug)]
struct Listed {
    json: Bytes,
    deflated: OnceLock<Option<Bytes>>,
    avro: OnceLock<Bytes>,
    sse: OnceLock<Bytes>,
}

impl List {
    pub(crate) fn of<'e>(events: impl Iterator<Item = &'e str>) -> List {
        let mut list = String::from("[");
        for (index, event) in events.enumerate() {
            if index > 0 {
                list.push(',');
            }
            list.push_str(event);
        }
        list.push_str("]}");
        List(Arc::new(Listed {
            json: list.into(),
            deflated: OnceLock::new(),
            avro: OnceLock::new(),
            sse: OnceLock::new(),
        }))
    }

    pub(crate) fn json(&self) -> Bytes {
        self.0.json.clone()
    }

    /// `None` if they take none, or it is better sent as it is.
    fn deflated(&self, form: Form) -> Option<Bytes> {
        let deflate = || deflate::deflate(&self.0.json);
        match form {
            Form::Deflated => self.0.deflated.get_or_init(deflate).clone(),
            _ => None,
        }
    }

    fn avro(&self) -> Bytes {
        let json = || self.0.json.strip_suffix(b"}").unwrap_or_default();
        let encode = || avro_list(&serde_json::from_slice(json()).unwrap_or_default());
        self.0.avro.get_or_init(encode).clone()
    }

    fn sse(&self) -> Bytes {
        let sse = || [&self.0.json[..], b"\n\n"].concat().into();
        self.0.sse.get_or_init(sse).clone()
    }
}

/// Events of a room, encoded likewise for all its viewers.
#[derive(Debug)]
pub(crate) struct Events {
    cursor: String,
    /// The whole frame as JSON, of which the payload begins there.
    json: Bytes,
    payload: usize,
    deflated: OnceLock<Bytes>,
    avro: OnceLock<Bytes>,
    sse: OnceLock<Bytes>,
}

impl Events {
    /// Room names and cursors need no escaping.
    pub(crate) fn of(room: &str, cursor: &str, events: &[impl AsRef<str>]) -> Events {
        let length: usize = events.iter().map(|event| event.as_ref().len() + 1).sum();
        let mut frame = Message::with_capacity(length + 160);
        write!(
            frame,
            r#"{{"type":"events","room":"{room}","cursor":"{cursor}","events":["#
        )
        .ok();
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                frame.push(b",");
            }
            frame.push(event.as_ref().as_bytes());
        }
        frame.push(b"]}");
        let length = frame.payload().len();
        let json = frame.finish(Payload::Text);
        Events {
            cursor: cursor.to_owned(),
            payload: json.len() - length,
            json,
            deflated: OnceLock::new(),
            avro: OnceLock::new(),
            sse: OnceLock::new(),
        }
    }

    pub(crate) fn frame(&self, form: Form) -> Bytes {
        match form {
            Form::Json => self.json.clone(),
            Form::Deflated => self.deflated.get_or_init(|| self.deflate()).clone(),
            Form::Avro => self.avro.get_or_init(|| self.encode_avro()).clone(),
            Form::Sse => self.sse.get_or_init(|| self.encode_sse()).clone(),
        }
    }

    fn payload(&self) -> &[u8] {
        &self.json[self.payload..]
    }

    fn deflate(&self) -> Bytes {
        let Some(deflated) = deflate::deflate(self.payload()) else {
            return self.json.clone();
        };
        let mut frame = Message::with_capacity(deflated.len());
        frame.push(&deflated);
        frame.finish(Payload::DeflatedText)
    }

    fn encode_sse(&self) -> Bytes {
        let head = format!("id: {}\nevent: events\ndata: ", self.cursor);
        [head.as_bytes(), self.payload(), b"\n\n"].concat().into()
    }

    fn encode_avro(&self) -> Bytes {
        let mut json: Value = serde_json::from_slice(self.payload()).unwrap_or_default();
        let list = avro_list(&json["events"].take());
        json["events"] = json!([]);
        binary(&[&written(avro::head(&json))[..], &list].concat(), 0)
    }
}

/// What cannot be said in Avro is a fault of the schema, which a test holds against all events: one
/// event is left out, and not the others with it.
fn avro_list(events: &Value) -> Bytes {
    let mut events = events.as_array().cloned().unwrap_or_default();
    avro::list(&events)
        .unwrap_or_else(|_| {
            events.retain(|event| !written(avro::list(std::slice::from_ref(event))).is_empty());
            written(avro::list(&events))
        })
        .into()
}

fn written(datum: Result<Vec<u8>, avro::Error>) -> Vec<u8> {
    datum.unwrap_or_else(|error| {
        tracing::error!(%error, "encode frame");
        Vec::new()
    })
}

/// A frame with this payload, and `rest` bytes that are sent right behind it.
fn binary(payload: &[u8], rest: usize) -> Bytes {
    let mut frame = Message::with_capacity(payload.len());
    frame.push(payload);
    frame.finish_before(Payload::Binary, rest)
}
