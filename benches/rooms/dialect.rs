//! How a server under test is spoken to: our own protocol, or that of Centrifugo, a peer that keeps no log
//! (<https://centrifugal.dev/docs/transports/client_protocol>).

use std::fmt;

/// Text behind the number, so that a message is as long as people's are.
const PADDING: &str = "and so says everybody in this room tonight";
/// Digits of a message's number.
pub(crate) const DIGITS: usize = 8;

/// Centrifugo's ids of requests begin with 1, and two are taken.
const FIRST: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Lemonair,
    Centrifugo,
}

/// What a frame is, or a part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<'f> {
    /// Messages, and the text that tells which.
    Events(&'f [u8]),
    Joined(&'f [u8]),
    Answer(&'f [u8]),
    /// To be answered with the same.
    Ping(&'f [u8]),
}

impl Dialect {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Dialect::Lemonair => "/ws",
            Dialect::Centrifugo => "/connection/websocket",
        }
    }

    pub(crate) fn join(self, room: &str, token: Option<&str>, since: Option<&str>) -> String {
        if self == Dialect::Centrifugo {
            return format!(
                "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{room}\"}}}}"
            );
        }
        let field = |name, value: Option<&str>| {
            value.map_or_else(String::new, |value| format!(r#","{name}":"{value}""#))
        };
        format!(
            r#"{{"type":"join","id":"join","room":"{room}"{}{}}}"#,
            field("token", token),
            field("since", since)
        )
    }

    pub(crate) fn say(self, room: &str, id: u32) -> String {
        match self {
            Dialect::Lemonair => format!(
                r#"{{"type":"chat","id":{id},"room":"{room}","text":"{id:0DIGITS$} {PADDING}"}}"#
            ),
            Dialect::Centrifugo => format!(
                r#"{{"id":{},"publish":{{"channel":"{room}","data":{{"text":"{id:0DIGITS$} {PADDING}"}}}}}}"#,
                id + FIRST
            ),
        }
    }

    /// What a text frame says.
    pub(crate) fn hear(self, payload: &[u8]) -> Vec<Heard<'_>> {
        if self == Dialect::Lemonair {
            return vec![match payload {
                events if events.starts_with(br#"{"type":"events""#) => Heard::Events(events),
                joined if joined.starts_with(br#"{"type":"joined""#) => Heard::Joined(joined),
                answer => Heard::Answer(answer),
            }];
        }
        let mut heard = Vec::new();
        let lines = payload.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            match line {
                b"{}" => heard.push(Heard::Ping(line)),
                // Answers hold no messages: the whole frame may be read for these.
                push if push.starts_with(br#"{"push""#) => {
                    if !heard.contains(&Heard::Events(payload)) {
                        heard.push(Heard::Events(payload));
                    }
                }
                first if first.starts_with(br#"{"id":1,"#) => {}
                joined if joined.starts_with(br#"{"id":2,"subscribe""#) => {
                    heard.push(Heard::Joined(joined));
                }
                answer => heard.push(Heard::Answer(answer)),
            }
        }
        heard
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dialect::Lemonair => "",
            Dialect::Centrifugo => "Centrifugo: ",
        })
    }
}
