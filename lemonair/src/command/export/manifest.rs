//! `manifest.json`: what an export holds. It is written last: a folder without one is not whole.

use anyhow::{Context, bail};
use lemonair_consumers::{Bound, Poison, Range, Selection, Watermark, Who};
use lemonair_schemas::codec::unframe;
use lemonair_schemas::field::Mask;
use lemonair_schemas::{Position, Topic};
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::pseudonym::Pseudonyms;
use super::{By, Format};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) request: Request,
    /// Erasures that were heeded, such as `erasures/0:0-3`; older versions do not say.
    #[serde(default)]
    pub(super) erasures: Option<Vec<String>>,
    /// One, and one more for each time that something was added.
    pub(crate) runs: Vec<Run>,
    pub(crate) files: Vec<File>,
}

/// What was asked for; only the same can be added to. Where names are hidden, they are here too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) format: Format,
    pub(super) by: By,
    pub(super) pseudonymised: bool,
    pub(crate) topics: Vec<String>,
    rooms: Vec<String>,
    types: Vec<String>,
    accounts: Vec<String>,
    /// Times or offsets, if it is not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
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

    /// How far a partition was read.
    pub(super) fn end_of(&self, topic: Topic, partition: i32) -> i64 {
        let read = self.runs.iter().flat_map(|run| &run.read);
        end_of(read, topic, partition)
    }

    /// Whether somebody was erased since, given where the topic of erasures ends now. Of older
    /// versions' exports nobody knows: of these, any erasure may have come since.
    pub(crate) fn is_before_erasures(&self, ends: &[Watermark]) -> bool {
        let heeded = |mark: &Watermark| {
            let heeded = self.erasures.iter().flatten();
            end_of(heeded, mark.topic, mark.partition)
        };
        ends.iter().any(|mark| mark.high > heeded(mark))
    }

    /// Refuses where what came since, added to this, would not be what `request` asks for. The topics,
    /// and that of erasures, reach as far as the marks say; `ranges` are what is asked for of them.
    pub(super) fn check(
        &self,
        place: &Place,
        request: &Request,
        topics: &[Watermark],
        ranges: &[Range],
        erasures: &[Watermark],
    ) -> anyhow::Result<()> {
        const ANEW: &str = "export anew, without --incremental";
        if self.request.from.is_some() || self.request.to.is_some() {
            bail!(
                "{place} holds only what --from and --to left of the topics, which has no end to go on from; {ANEW}"
            );
        }
        if self.request != *request {
            bail!(
                "{place} holds another export ({}); --incremental goes on with the same",
                serde_json::to_string(&self.request)?
            );
        }
        if self.erasures.is_none() {
            bail!(
                "{place} was made by an older version, which noted too little to go on from; {ANEW}"
            );
        }
        if self.is_before_erasures(erasures) {
            bail!("somebody was erased who may still stand in {place}; {ANEW}");
        }
        for mark in topics {
            let end = self.end_of(mark.topic, mark.partition);
            if end > mark.high {
                bail!(
                    "{place} has lemonair.{} partition {} up to offset {end}, but it ends at {}: the topic was made anew; {ANEW}",
                    mark.topic,
                    mark.partition,
                    mark.high
                );
            }
            // What was never read of may be none of it: another room's.
            let asked = |range: &Range| range.start() == mark.start();
            if end < mark.low && (end > 0 || ranges.iter().any(asked)) {
                bail!(
                    "{place} has lemonair.{} partition {} up to offset {end}, but it begins at {}: what stood between was trimmed; {ANEW}",
                    mark.topic,
                    mark.partition,
                    mark.low
                );
            }
        }
        Ok(())
    }
}

/// Erasures as a manifest notes them.
pub(super) fn heeded(ends: &[Watermark]) -> Vec<String> {
    let range = |mark: &Watermark| Range {
        topic: mark.topic,
        partition: mark.partition,
        start: mark.low,
        end: mark.high,
    };
    ends.iter().map(|mark| range(mark).to_string()).collect()
}

fn end_of<'a>(ranges: impl Iterator<Item = &'a String>, topic: Topic, partition: i32) -> i64 {
    ranges
        .filter_map(|range| range.parse::<Range>().ok())
        .filter(|range| (range.topic, range.partition) == (topic, partition))
        .map(|range| range.end)
        .max()
        .unwrap_or(0)
}

impl Request {
    pub(super) fn new(
        format: Format,
        by: By,
        pseudonyms: Option<&Pseudonyms>,
        slice: &Selection,
    ) -> Request {
        let (mut rooms, mut accounts) = (slice.rooms.clone(), slice.accounts.clone());
        if let Some(pseudonyms) = pseudonyms {
            rooms.iter_mut().for_each(|room| pseudonyms.room(room));
            for who in &mut accounts {
                match who {
                    Who::Id(id) => pseudonyms.account(id),
                    Who::Name(name) => pseudonyms.name(name),
                }
            }
        }
        Request {
            format,
            by,
            pseudonymised: pseudonyms.is_some(),
            topics: slice.topics.iter().map(ToString::to_string).collect(),
            rooms: rooms.iter().map(ToString::to_string).collect(),
            types: slice.kinds.clone(),
            accounts: accounts.iter().map(|who| format!("{who:?}")).collect(),
            from: slice.from.map(|bound| bound.to_string()),
            to: slice.to.map(|bound| bound.to_string()),
        }
    }

    /// Where the slice begins and ends.
    pub(super) fn bounds(&self) -> (Option<Bound>, Option<Bound>) {
        let bound = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        (bound(&self.from), bound(&self.to))
    }

    /// Whether the same was asked for, but for times that stand for others by now.
    pub(super) fn is_like(&self, other: &Request) -> bool {
        let (from, to) = (other.from.clone(), other.to.clone());
        let asked = self.clone();
        Request { from, to, ..asked } == *other
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added_behind_what_was_trimmed() {
        let place = Place::folder("exports");
        let request = Request::new(Format::Csv, By::Day, None, &Selection::of(&[Topic::Chat]));
        let mut manifest = Manifest {
            request: request.clone(),
            erasures: Some(Vec::new()),
            runs: Vec::new(),
            files: Vec::new(),
        };
        let range = |start, end| Range {
            topic: Topic::Chat,
            partition: 0,
            start,
            end,
        };
        let check = |manifest: &Manifest, low, high| {
            let mark = Watermark {
                topic: Topic::Chat,
                partition: 0,
                low,
                high,
            };
            let ranges = Vec::from_iter((low < high).then(|| range(low, high)));
            let checked = manifest.check(&place, &request, &[mark], &ranges, &[]);
            checked.map_err(|error| error.to_string())
        };
        manifest.runs.push(Run::new(&[range(3, 10)]));
        for (low, high) in [(0, 10), (3, 12), (10, 12), (10, 10)] {
            assert_eq!(check(&manifest, low, high), Ok(()), "{low} to {high}");
        }
        for (low, high) in [(11, 12), (12, 12)] {
            let refused = check(&manifest, low, high).unwrap_err();
            assert!(refused.contains("was trimmed"), "{refused}");
        }
        // There was nothing in it when it was read; or it was not asked for.
        manifest.runs.clear();
        assert!(check(&manifest, 2, 4).is_err());
        assert_eq!(check(&manifest, 4, 4), Ok(()));
    }
}
