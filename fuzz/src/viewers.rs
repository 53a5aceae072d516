//! What viewers send: WebSocket frames, deflated or not, and cursors.

use lemonair_gateway::cursor::Cursor;
use lemonair_gateway::deflate as agreed;
use lemonair_gateway::websocket::{Reader, Received};

use crate::cuts;

const LARGEST: usize = 8 * 1024;
const MASK: [u8; 4] = [1, 2, 3, 4];

/// Reads the same however the bytes are cut, and nothing longer than it may.
pub(crate) fn websocket(bytes: &[u8]) {
    let read = cuts(bytes).map(|parts| {
        let mut reader = Reader::new(LARGEST, 64, true);
        let mut received = Vec::new();
        for part in parts {
            reader.feed(part);
            loop {
                match reader.take() {
                    Ok(Some(message)) => received.push(message),
                    Ok(None) => break,
                    Err(fault) => return (received, Some(fault)),
                }
            }
        }
        (received, None)
    });
    assert_eq!(read[0], read[1]);
    assert_eq!(read[0], read[2]);
    for received in &read[0].0 {
        let len = match received {
            Received::Text(text) => text.len(),
            Received::Binary(bytes) | Received::Ping(bytes) => bytes.len(),
            Received::Pong | Received::Close(_) => 0,
        };
        assert!(len <= LARGEST);
    }
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let join = br#"{"type":"join","id":"1","room":"mint"}"#;
    let cut = [
        frame(0x01, &join[..9]),
        frame(0x89, b"?"),
        frame(0x80, &join[9..]),
    ];
    let long = agreed::deflate(&join.repeat(40)).unwrap_or_default();
    vec![
        frame(0x81, join),
        cut.concat(),
        frame(0xC1, &long),
        frame(0x82, &[7; 300]),
        [frame(0x8A, b""), frame(0x88, &[3, 232])].concat(),
    ]
}

/// As a payload, masked and framed, so that what is random is the deflated stream alone.
pub(crate) fn deflate(bytes: &[u8]) {
    websocket(&frame(0xC2, bytes));
    let _ = agreed::is_offered(&String::from_utf8_lossy(bytes));
}

pub(crate) fn deflated() -> Vec<Vec<u8>> {
    let text = b"a viewer says something, and says it again. ".repeat(30);
    vec![
        agreed::deflate(&text).unwrap_or_default().to_vec(),
        agreed::stored(b"as it is"),
        agreed::deflate(&[0; 7000]).unwrap_or_default().to_vec(),
        b"permessage-deflate; client_max_window_bits=9".to_vec(),
    ]
}

pub(crate) fn cursor(bytes: &[u8]) {
    let Ok(cursor) = String::from_utf8_lossy(bytes).parse::<Cursor>() else {
        return;
    };
    let again = cursor.to_string().parse::<Cursor>();
    assert_eq!(again.ok(), Some(cursor));
}

pub(crate) fn cursors() -> Vec<Vec<u8>> {
    let nowhere = Cursor::nowhere().to_string();
    vec![
        nowhere.into_bytes(),
        Cursor::default().to_string().into_bytes(),
    ]
}

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}
