//! A slice of history: which records, and where they stand.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lemonair_schemas::field::Value;
use lemonair_schemas::{AccountId, Event, Position, RoomId, Timestamp, Topic};

use crate::kafka::{Watermark, offsets_at, partition_of, watermarks};
use crate::{Consumed, Error, Kafka};

/// Which records.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub topics: Vec<Topic>,
    /// Empty means all, here and below.
    pub rooms: Vec<RoomId>,
    pub partitions: Vec<i32>,
    /// Outside names of events, such as `chat.message`.
    pub kinds: Vec<String>,
    /// Events by or about any of them.
    pub accounts: Vec<Who>,
    pub from: Option<Bound>,
    /// Exclusive.
    pub to: Option<Bound>,
}

/// Where a slice begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Time(Timestamp),
    /// The same offset in every partition.
    Offset(i64),
}

/// An account, by its id or by a name that it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Id(AccountId),
    Name(String),
}

/// A part of one partition: offsets from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub topic: Topic,
    pub partition: i32,
    pub start: i64,
    pub end: i64,
}

/// How far the clocks of writers may lie apart: so long after its end, a slice is still searched for
/// records that are older than it looks.
const SKEW: Duration = Duration::from_secs(3600);

/// Whether the topic's records are keyed by the room that they are about, which so stands on one
/// partition. Of others' events their own fields tell which rooms they are about.
pub fn is_by_room(topic: Topic) -> bool {
    matches!(
        topic,
        Topic::Chat | Topic::Donations | Topic::Streams | Topic::Channels
    )
}

// === impl Selection ===

impl Selection {
    /// Everything on `topics`.
    pub fn of(topics: &[Topic]) -> Selection {
        Selection {
            topics: topics.to_vec(),
            ..Selection::default()
        }
    }

    /// What its topics hold now. Refuses rooms of a topic whose events have none.
    pub async fn marks(&self, kafka: &Kafka) -> Result<Vec<Watermark>, Error> {
        let without = |topic: &&Topic| matches!(topic, Topic::Accounts | Topic::Erasures);
        if let Some(topic) = self.topics.iter().find(without)
            && !self.rooms.is_empty()
        {
            return Err(Error::NoRoom(*topic));
        }
        let mut topics = self.topics.clone();
        topics.sort_unstable();
        topics.dedup();
        watermarks(kafka, &topics).await
    }

    /// Where its records stand, as far as that can be known without reading them. The end of what
    /// is not bounded is where the topics end now; partitions with nothing for it are left out.
    pub async fn ranges(&self, kafka: &Kafka) -> Result<Vec<Range>, Error> {
        let marks = self.marks(kafka).await?;
        self.ranges_within(kafka, marks).await
    }

    /// The same of what the topics held when the marks were taken.
    pub async fn ranges_within(
        &self,
        kafka: &Kafka,
        mut marks: Vec<Watermark>,
    ) -> Result<Vec<Range>, Error> {
        let count = marks
            .iter()
            .map(|mark| mark.partition + 1)
            .max()
            .unwrap_or(1);
        let partition = |room: &RoomId| partition_of(room.as_str(), count);
        let rooms: Vec<i32> = self.rooms.iter().map(partition).collect();
        marks.retain(|mark| {
            if !self.partitions.is_empty() {
                return self.partitions.contains(&mark.partition);
            }
            rooms.is_empty() || !is_by_room(mark.topic) || rooms.contains(&mark.partition)
        });
        let offset = |offset: i64| {
            let clamp = move |mark: &Watermark| offset.clamp(mark.low, mark.high);
            marks.iter().map(clamp).collect()
        };
        let starts: Vec<i64> = match self.from {
            None => offset(0),
            Some(Bound::Offset(from)) => offset(from),
            Some(Bound::Time(time)) => offsets_at(kafka, &marks, time).await?,
        };
        let ends: Vec<i64> = match self.to {
            None => offset(i64::MAX),
            Some(Bound::Offset(to)) => offset(to),
            Some(Bound::Time(time)) => offsets_at(kafka, &marks, time.plus(SKEW)).await?,
        };
        let range = |(mark, (start, end)): (&Watermark, (i64, i64))| Range {
            topic: mark.topic,
            partition: mark.partition,
            start,
            // A time is looked up in what stands there now.
            end: end.min(mark.high),
        };
        let mut ranges: Vec<Range> = marks
            .iter()
            .zip(starts.into_iter().zip(ends))
            .map(range)
            .collect();
        ranges.retain(|range| range.start < range.end);
        Ok(ranges)
    }

    /// Whether a record may belong to the slice, as far as its envelope tells.
    pub(crate) fn may_want(&self, topic: Topic, key: &[u8], at: Timestamp) -> bool {
        let is_after = |bound| matches!(bound, Bound::Time(time) if at >= time);
        let begun = match self.from {
            Some(Bound::Time(from)) => at >= from,
            _ => true,
        };
        begun && !self.to.is_some_and(is_after) && (!is_by_room(topic) || self.is_room(key))
    }

    fn is_room(&self, key: &[u8]) -> bool {
        self.rooms.is_empty()
            || self
                .rooms
                .iter()
                .any(|room| room.as_str().as_bytes() == key)
    }

    /// Whether a record belongs to the slice. What cannot be decoded may always be what was wanted.
    pub fn wants(&self, record: &Consumed<Event>) -> bool {
        let event = record.content.as_ref();
        self.may_want(record.position.topic, &record.key, record.at)
            && event.map_or(true, |event| {
                self.wants_event(record.position.topic, &record.key, event)
            })
    }

    /// The same of a record that [`Selection::may_want`].
    pub(crate) fn wants_event(&self, topic: Topic, key: &[u8], event: &Event) -> bool {
        let is_about = |room: &RoomId| match event {
            Event::EntryPosted(entry) => entry.room.as_ref() == Some(room),
            event => event.counts(room),
        };
        (self.is_room(key) || !is_by_room(topic) && self.rooms.iter().any(is_about))
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind()))
            && (self.accounts.is_empty() || self.accounts.iter().any(|who| who.is_in(event)))
    }
}

// === impl Bound ===

/// A time, or an offset.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Time(time) => write!(f, "{time}"),
            Bound::Offset(offset) => write!(f, "{offset}"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither a time such as 2026-01-02T03:04:05Z nor an offset")]
pub struct BadBound(String);

impl FromStr for Bound {
    type Err = BadBound;

    fn from_str(text: &str) -> Result<Bound, BadBound> {
        let time = || text.parse().map(Bound::Time);
        let bound = text.parse().map(Bound::Offset).or_else(|_| time());
        bound.map_err(|_| BadBound(text.to_owned()))
    }
}

// === impl Who ===

impl Who {
    fn is_in(&self, event: &Event) -> bool {
        let mut found = false;
        event.each(&mut |name, value| {
            found |= match (self, value) {
                (Who::Id(id), Value::Id(field)) => id.0 == field,
                (Who::Id(id), Value::Actor(actor)) => *id == actor.id,
                (Who::Id(id), Value::Postings(postings)) => postings
                    .iter()
                    .any(|posting| posting.account == id.to_string()),
                // What an operator acted on may be somebody.
                (Who::Id(id), Value::Text(text)) => name == "target" && text == id.to_string(),
                (Who::Name(who), Value::Text(text)) => {
                    name == "name" && text.eq_ignore_ascii_case(who)
                }
                (Who::Name(who), Value::Actor(actor)) => actor.name.eq_ignore_ascii_case(who),
                _ => false,
            };
        });
        found
    }
}

impl From<&str> for Who {
    fn from(text: &str) -> Who {
        text.parse()
            .map_or_else(|_| Who::Name(text.to_owned()), Who::Id)
    }
}

// === impl Range ===

impl Range {
    pub fn start(&self) -> Position {
        Position {
            topic: self.topic,
            partition: self.partition,
            offset: self.start,
        }
    }

    pub fn end(&self) -> Position {
        Position {
            offset: self.end,
            ..self.start()
        }
    }

    /// Offsets in it; some may hold no record.
    pub fn len(&self) -> u64 {
        u64::try_from(self.end - self.start).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `chat/0:17-42`
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range {
            topic,
            partition,
            start,
            end,
        } = self;
        write!(f, "{topic}/{partition}:{start}-{end}")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a part of a partition such as chat/0:17-42")]
pub struct BadRange(String);

impl FromStr for Range {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Range, BadRange> {
        let parse = || {
            let (topic, rest) = text.split_once('/')?;
            let (partition, rest) = rest.split_once(':')?;
            let (start, end) = rest.split_once('-')?;
            Some(Range {
                topic: topic.parse().ok()?,
                partition: partition.parse().ok()?,
                start: start.parse().ok()?,
                end: end.parse().ok()?,
            })
        };
        parse()
            .filter(|range| 0 <= range.start && range.start <= range.end)
            .ok_or_else(|| BadRange(text.to_owned()))
    }
}
