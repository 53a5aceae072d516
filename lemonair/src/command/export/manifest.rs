//! `manifest.json`: what an export holds. It is written last: a folder without one is not whole.

use anyhow::Context;
use lemonair_consumers::{Poison, Range, Selection};
use lemonair_schemas::Position;
use lemonair_schemas::codec::unframe;
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::{By, Format};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) request: Request,
    /// One, and one more for each time that something was added.
    pub(crate) runs: Vec<Run>,
    pub(crate) files: Vec<File>,
}

/// What was asked for; only the same can be added to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) format: Format,
    pub(super) by: By,
    pub(super) pseudonymised: bool,
    pub(crate) topics: Vec<String>,
    rooms: Vec<String>,
    types: Vec<String>,
    accounts: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Offsets that were read, such as `chat/0:17-42`.
    read: Vec<String>,
    pub(crate) records: u64,
    pub(crate) undecodable: Vec<Undecodable>,
}

/// A record that stands in no file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Undecodable {
    position: Position,
    schema_id: Option<u32>,
    cause: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(super) sha256: String,
}

pub(super) const NAME: &str = "manifest.json";

impl Manifest {
    /// The manifest at `place`, if it holds a whole export.
    pub(crate) async fn read(place: &Place) -> anyhow::Result<Option<Manifest>> {
        let Some(json) = place.read(NAME).await? else {
            return Ok(None);
        };
        let manifest = serde_json::from_slice(&json);
        manifest.with_context(|| format!("read {NAME} of {place}"))
    }

    /// How far the partition of `range` was read.
    pub(super) fn end_of(&self, range: &Range) -> i64 {
        self.runs
            .iter()
            .flat_map(|run| &run.read)
            .filter_map(|read| read.parse::<Range>().ok())
            .filter(|read| (read.topic, read.partition) == (range.topic, range.partition))
            .map(|read| read.end)
            .max()
            .unwrap_or(0)
    }
}

impl Request {
    pub(super) fn new(format: Format, by: By, pseudonymised: bool, slice: &Selection) -> Request {
        Request {
            format,
            by,
            pseudonymised,
            topics: slice.topics.iter().map(ToString::to_string).collect(),
            rooms: slice.rooms.iter().map(ToString::to_string).collect(),
            types: slice.kinds.clone(),
            accounts: slice
                .accounts
                .iter()
                .map(|who| format!("{who:?}"))
                .collect(),
        }
    }
}

impl Run {
    pub(super) fn new(ranges: &[Range]) -> Run {
        Run {
            read: ranges.iter().map(ToString::to_string).collect(),
            records: 0,
            undecodable: Vec::new(),
        }
    }
}

impl Undecodable {
    pub(super) fn new(position: Position, bytes: &[u8], poison: Poison) -> Undecodable {
        Undecodable {
            position,
            schema_id: unframe(bytes).ok().map(|(id, _)| id),
            cause: poison.cause,
        }
    }
}
