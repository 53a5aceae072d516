//! Several media messages in one, as FLV tags: how some encoders save headers.

use super::Error;
use super::chunk::{Message, kind};

/// A tag's kind, size, timestamp and stream.
const HEADER: usize = 11;
/// Behind each tag stands how long it was.
const TRAILER: usize = 4;
const MAX_PARTS: usize = 1024;

/// The messages in one. The first has its timestamp, and the others are as far from the first as
/// their tags are.
pub(super) fn split(message: &Message) -> Result<Vec<Message>, Error> {
    const BAD: Error = Error::Malformed("aggregate");
    let mut parts = Vec::new();
    let mut first = None;
    let mut rest = message.payload.clone();
    while !rest.is_empty() {
        let [kind, s0, s1, s2, t0, t1, t2, t3, ..] = *rest else {
            return Err(BAD);
        };
        if parts.len() == MAX_PARTS || !matches!(kind, kind::AUDIO | kind::VIDEO | kind::DATA_AMF0)
        {
            return Err(BAD);
        }
        // The timestamp's highest byte comes last.
        let time = u32::from_be_bytes([t3, t0, t1, t2]);
        let end = HEADER + u32::from_be_bytes([0, s0, s1, s2]) as usize;
        if rest.len() < end {
            return Err(BAD);
        }
        let step = time.wrapping_sub(*first.get_or_insert(time));
        parts.push(Message {
            timestamp: message.timestamp.wrapping_add(step),
            kind,
            stream: message.stream,
            payload: rest.slice(HEADER..end),
        });
        // The last trailer is left out by some.
        rest = rest.slice((end + TRAILER).min(rest.len())..);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(payload: &'static [u8]) -> Message {
        Message {
            timestamp: u32::MAX - 9,
            kind: kind::AGGREGATE,
            stream: 1,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn each_part_has_its_own_time() {
        let payload =
            b"\x09\0\0\x02\0\0\x64\0\0\0\0vv\0\0\0\x0D\x08\0\0\x01\0\0\x78\0\0\0\0a\0\0\0\x0C";
        let parts = split(&message(payload)).unwrap();
        let seen: Vec<(u8, u32, &[u8])> = parts
            .iter()
            .map(|part| (part.kind, part.timestamp, &part.payload[..]))
            .collect();
        assert_eq!(
            seen,
            [
                (kind::VIDEO, u32::MAX - 9, &b"vv"[..]),
                (kind::AUDIO, 10, b"a")
            ]
        );
        // The last trailer may be missing, and nothing else.
        let without = payload.len() - TRAILER;
        assert_eq!(split(&message(&payload[..without])).unwrap(), parts);
        for cut in 1..without {
            let whole = split(&message(&payload[..cut])).is_ok();
            assert_eq!(whole, (13..=17).contains(&cut), "{cut}");
        }
    }

    #[test]
    fn parts_are_media_and_not_too_many() {
        assert!(split(&message(b"\x16\0\0\0\0\0\0\0\0\0\0\0\0\0\x0B")).is_err());
        let many = b"\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\x0B".repeat(MAX_PARTS + 1);
        let many = Message {
            payload: many.into(),
            ..message(b"")
        };
        assert!(split(&many).is_err());
    }
}
