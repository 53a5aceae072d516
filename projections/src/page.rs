//! Lists read in pages, both ways, by where a row stands and never by counting: rows that come or
//! go meanwhile make no gap and no repeat.

use std::fmt;
use std::str::FromStr;

use lemonair_schemas::{Position, RoomId};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlPool};

use crate::{Error, Result};

/// A place in a list. Opaque to whoever holds it, and safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub edge: Edge,
    /// At most this many, between 1 and [`Slice::MOST`].
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// The list's beginning.
    Start,
    /// What comes next after this place, going on.
    Before(Cursor),
    /// What lies nearest before this place, going back.
    After(Cursor),
}

/// Part of a list, newest first (channels: by name). An empty page leads on in its own direction only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Goes on: `Edge::Before` with this gets older items. `None` at the end of the list.
    pub older: Option<Cursor>,
    /// Goes back: `Edge::After` with this gets newer items, now or when there are some.
    pub newer: Option<Cursor>,
}

/// A place of rows that stand where their record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    part: i32,
    offset: i64,
}

// === impl Cursor ===

impl Cursor {
    pub(crate) fn of(place: impl fmt::Display) -> Cursor {
        Cursor(place.to_string())
    }

    pub(crate) fn place<P: FromStr>(&self) -> Result<P> {
        self.0.parse().map_err(|_| Error::BadCursor(self.0.clone()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Anything may be a cursor; a read refuses one that is not its own.
impl From<String> for Cursor {
    fn from(text: String) -> Cursor {
        Cursor(text)
    }
}

// === impl Slice ===

impl Slice {
    pub const MOST: u32 = 200;

    pub fn start(limit: u32) -> Slice {
        Slice::at(Edge::Start, limit)
    }

    pub fn before(cursor: Cursor, limit: u32) -> Slice {
        Slice::at(Edge::Before(cursor), limit)
    }

    pub fn after(cursor: Cursor, limit: u32) -> Slice {
        Slice::at(Edge::After(cursor), limit)
    }

    fn at(edge: Edge, limit: u32) -> Slice {
        let limit = limit.clamp(1, Slice::MOST);
        Slice { edge, limit }
    }

    /// One more than asked for tells whether there are more.
    pub(crate) fn fetch(&self) -> u32 {
        self.limit + 1
    }

    /// Makes a page of rows as fetched: nearest to the edge first.
    pub(crate) fn page<T>(&self, mut items: Vec<T>, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let back = matches!(self.edge, Edge::After(_));
        if back {
            items.reverse();
        }
        let (first, last) = (items.first().map(&cursor), items.last().map(&cursor));
        let (older, newer) = match &self.edge {
            Edge::Start => (last.filter(|_| more), first),
            Edge::Before(_) => (last.filter(|_| more), first),
            // The edge itself is older than all of the page.
            Edge::After(edge) => (last, first.or_else(|| Some(edge.clone()))),
        };
        Page {
            items,
            older,
            newer,
        }
    }
}

/// Reads a page of a room's rows. `select` ends in `WHERE room = ?`.
pub(crate) async fn of_room<T>(
    pool: &MySqlPool,
    select: &'static str,
    room: &RoomId,
    slice: &Slice,
    position: fn(&T) -> Position,
) -> Result<Page<T>>
where
    T: for<'r> FromRow<'r, MySqlRow> + Send + Unpin,
{
    const ON: &str = "ORDER BY part DESC, record_offset DESC LIMIT ?";
    const BACK: &str = "ORDER BY part, record_offset LIMIT ?";
    // Spelled out, since neither server uses an index for `(part, record_offset) < (?, ?)`.
    let (sql, edge) = match &slice.edge {
        Edge::Start => (format!("{select} {ON}"), None),
        Edge::Before(edge) => (
            format!("{select} AND (part < ? OR part = ? AND record_offset < ?) {ON}"),
            Some(edge),
        ),
        Edge::After(edge) => (
            format!("{select} AND (part > ? OR part = ? AND record_offset > ?) {BACK}"),
            Some(edge),
        ),
    };
    let mut query = sqlx::query_as(AssertSqlSafe(sql)).bind(room.as_str());
    if let Some(edge) = edge {
        let place: Place = edge.place()?;
        query = query.bind(place.part).bind(place.part).bind(place.offset);
    }
    let rows = query.bind(slice.fetch()).fetch_all(pool).await?;
    Ok(slice.page(rows, |row| Cursor::of(Place::of(position(row)))))
}

// === impl Place ===

impl Place {
    fn of(position: Position) -> Place {
        Place {
            part: position.partition,
            offset: position.offset,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.part, self.offset)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Place, ()> {
        let (part, offset) = text.split_once('-').ok_or(())?;
        Ok(Place {
            part: part.parse().map_err(|_| ())?,
            offset: offset.parse().map_err(|_| ())?,
        })
    }
}
