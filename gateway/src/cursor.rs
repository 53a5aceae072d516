//! A viewer's place in a room: for each of the room's topics, the next offset and a mark of the
//! event before it. Opaque to clients.
//!
//! The mark is how a topic that was deleted and made anew is noticed: the same offset then holds
//! another event, and the client is told to reload instead of being shown another history.

use std::fmt;
use std::str::FromStr;

use lemonair_schemas::{EventId, Topic};

/// Number of topics that make up a room.
pub const LANES: usize = Topic::ROOM.len();

/// The index of a room topic in a [`Cursor`].
pub fn lane(topic: Topic) -> Option<usize> {
    Topic::ROOM.iter().position(|&room| room == topic)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(pub [Place; LANES]);

/// A place in one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Offset of the next record to see.
    pub next: i64,
    /// Mark of the room's event at `next - 1`; zero where that is not an event of the room.
    pub mark: u32,
}

impl Cursor {
    /// A place that no topic ever reaches.
    pub fn nowhere() -> Cursor {
        Cursor(
            [Place {
                next: i64::MAX,
                mark: 1,
            }; LANES],
        )
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not a cursor of this service")]
pub struct BadCursor;

impl Place {
    pub fn behind(offset: i64, event: EventId) -> Place {
        Place {
            next: offset + 1,
            mark: mark(event),
        }
    }
}

/// The random end of the id; never zero, which means "no event".
pub fn mark(event: EventId) -> u32 {
    let [.., a, b, c, d] = *event.0.as_bytes();
    u32::from_be_bytes([a, b, c, d]).max(1)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("c1")?;
        for Place { next, mark } in self.0 {
            write!(f, ".{next:x}-{mark:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Cursor, BadCursor> {
        let mut places = text
            .strip_prefix("c1.")
            .ok_or(BadCursor)?
            .split('.')
            .map(|place| {
                let (next, mark) = place.split_once('-')?;
                let next = i64::from_str_radix(next, 16)
                    .ok()
                    .filter(|next| *next >= 0)?;
                Some(Place {
                    next,
                    mark: u32::from_str_radix(mark, 16).ok()?,
                })
            });
        let mut cursor = Cursor::default();
        for place in &mut cursor.0 {
            *place = places.next().flatten().ok_or(BadCursor)?;
        }
        match places.next() {
            None => Ok(cursor),
            Some(_) => Err(BadCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(places in any::<[(u32, u32); LANES]>()) {
            let cursor = Cursor(places.map(|(next, mark)| Place { next: i64::from(next), mark }));
            prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn strangers_text_never_panics(text in ".*") {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for text in [
            "",
            "c1",
            "c1.",
            "c1.1-2.1-2",
            "c1.1-2.1-2.1-2.1-2",
            "c1.-1-2.1-2.1-2",
            "c2.1-2.1-2.1-2",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
