//! A topic as a table: a row for each event, with a column for each field that any of its events has.

use std::sync::Arc;

use lemonair_consumers::{Bound, Kafka, Range, Scan, Selection, Watermark};
use lemonair_schemas::{Codec, RoomId, Timestamp, Topic};
use lemonair_sql::{Cell, Column, Condition, Rows, Table, Wanted};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::column::{Field, columns};
use super::lines::{Kept, Lines};
use super::narrow::Narrow;
use super::tally::Tally;
use crate::command::export::pseudonym::Pseudonyms;

/// What all tables of a query are read from.
pub(super) struct History {
    pub(super) kafka: Kafka,
    pub(super) codec: Arc<Codec>,
    /// Rooms and times beyond which nothing is read.
    pub(super) window: Selection,
    /// Where the topics ended when the query began: each of its scans ends there.
    pub(super) ends: Vec<Watermark>,
    pub(super) pseudonyms: Option<Pseudonyms>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: CancellationToken,
}

struct TopicTable {
    topic: Topic,
    columns: Vec<Column>,
    fields: Arc<Vec<Field>>,
    history: Arc<History>,
    /// Where scans wait for Kafka.
    runtime: Handle,
}

/// The rows of a scan, and which of them is looked at.
struct Records {
    scan: Scan<Lines>,
    /// How many records the tally knows of.
    told: u64,
    lines: Lines,
    row: usize,
    kept: Arc<Kept>,
    history: Arc<History>,
    runtime: Handle,
}

pub(super) fn tables(history: &Arc<History>, topics: &[Topic]) -> Vec<Arc<dyn Table>> {
    let table = |topic: &Topic| {
        let (mut columns, fields): (Vec<_>, Vec<_>) = columns(*topic).into_iter().unzip();
        if history.pseudonyms.is_some() {
            // Records are keyed by the rooms' names.
            for column in &mut columns {
                column.narrows &= column.name != "room";
            }
        }
        let table: Arc<dyn Table> = Arc::new(TopicTable {
            topic: *topic,
            columns,
            fields: Arc::new(fields),
            history: Arc::clone(history),
            runtime: Handle::current(),
        });
        table
    };
    topics.iter().map(table).collect()
}

// === impl TopicTable ===

impl Table for TopicTable {
    fn name(&self) -> &str {
        self.topic.name()
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn size(&self) -> u64 {
        let own = |mark: &&Watermark| mark.topic == self.topic;
        let marks = self.history.ends.iter().filter(own);
        let records = marks.map(|mark| u64::try_from(mark.high - mark.low).unwrap_or(0));
        records.sum()
    }

    fn index(&self) -> &[&'static str] {
        &["room", "at", "at_ms"]
    }

    fn scan(&self, conditions: &[Condition], wanted: Wanted) -> Result<Box<dyn Rows>, String> {
        let history = &self.history;
        let kept = Arc::new(Kept::new(&self.fields, wanted));
        let narrow = Narrow::new(conditions, |column| &self.columns[column].name);
        let opening = async {
            tokio::select! {
                () = history.stop.cancelled() => Err("stopped".to_owned()),
                scan = open(history, self.topic, narrow, Arc::clone(&kept)) => {
                    scan.map_err(|error| error.to_string())
                }
            }
        };
        let scan = self.runtime.block_on(opening)?;
        history.tally.begin(self.size());
        Ok(Box::new(Records {
            scan,
            told: 0,
            lines: Lines::default(),
            row: 0,
            kept,
            history: Arc::clone(history),
            runtime: self.runtime.clone(),
        }))
    }
}

async fn open(
    history: &Arc<History>,
    topic: Topic,
    narrow: Narrow,
    kept: Arc<Kept>,
) -> Result<Scan<Lines>, lemonair_consumers::Error> {
    let (selection, ranges) = history.slice(topic, narrow).await?;
    let (kafka, codec) = (&history.kafka, Arc::clone(&history.codec));
    let history = Arc::clone(history);
    Scan::open(
        kafka,
        codec,
        selection,
        ranges,
        move |lines: &mut Lines, found| {
            lines.add(&kept, history.pseudonyms.as_ref(), found);
        },
    )
    .await
}

// === impl History ===

impl History {
    /// What of a topic is to be read.
    async fn slice(
        &self,
        topic: Topic,
        narrow: Narrow,
    ) -> Result<(Selection, Vec<Range>), lemonair_consumers::Error> {
        let mut selection = Selection {
            topics: vec![topic],
            rooms: self.window.rooms.clone(),
            from: self.window.from,
            to: self.window.to,
            ..Selection::default()
        };
        let mut nothing = narrow.partitions.as_ref().is_some_and(Vec::is_empty);
        if let Some(partitions) = narrow.partitions {
            let partition = |number| i32::try_from(number).ok();
            selection.partitions = partitions.into_iter().filter_map(partition).collect();
            nothing |= selection.partitions.is_empty();
        }
        if let Some(mut rooms) = narrow.rooms
            // Records of the erased stand where the former name says.
            && !rooms.iter().any(|room| room.starts_with(RoomId::ERASED))
        {
            let window = &self.window.rooms;
            rooms.retain(|name| {
                window.is_empty() || window.iter().any(|room| room.as_str() == name)
            });
            // What is not spelled as a room's name is no room's.
            selection.rooms = rooms
                .iter()
                .filter_map(|name| {
                    name.parse()
                        .ok()
                        .filter(|room: &RoomId| room.as_str() == name)
                })
                .collect();
            nothing |= selection.rooms.is_empty();
        }
        let (from, to) = narrow.times;
        if from > i64::MIN {
            selection.from = match selection.from {
                Some(Bound::Offset(_)) => selection.from,
                Some(Bound::Time(time)) => Some(Bound::Time(time.max(Timestamp(from)))),
                None => Some(Bound::Time(Timestamp(from))),
            };
        }
        if to < i64::MAX {
            selection.to = match selection.to {
                Some(Bound::Offset(_)) => selection.to,
                Some(Bound::Time(time)) => Some(Bound::Time(time.min(Timestamp(to)))),
                None => Some(Bound::Time(Timestamp(to))),
            };
        }
        let mut ranges = if nothing {
            Vec::new()
        } else {
            selection.ranges(&self.kafka).await?
        };
        for range in &mut ranges {
            let own =
                |mark: &&Watermark| (mark.topic, mark.partition) == (range.topic, range.partition);
            let end = self.ends.iter().find(own).map_or(0, |mark| mark.high);
            range.start = range.start.max(narrow.offsets.0);
            range.end = range.end.min(narrow.offsets.1).min(end);
        }
        ranges.retain(|range| range.start < range.end);
        Ok((selection, ranges))
    }
}

// === impl Records ===

impl Records {
    fn next_lines(&mut self) -> Result<Option<Lines>, String> {
        self.tell();
        let Records {
            scan,
            history,
            runtime,
            ..
        } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = history.stop.cancelled() => Err("stopped".to_owned()),
                part = scan.next() => match part {
                    Ok(part) => Ok(part.map(|part| part.made)),
                    Err(error) => Err(error.to_string()),
                },
            }
        })
    }

    fn tell(&mut self) {
        let read = self.scan.read();
        self.history.tally.read(read - self.told);
        self.told = read;
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Rows for Records {
    fn next(&mut self) -> Result<bool, String> {
        self.row += 1;
        while self.row >= self.lines.len() {
            let Some(mut lines) = self.next_lines()? else {
                return Ok(false);
            };
            for (position, cause) in lines.unreadable.drain(..) {
                self.history.tally.unreadable(position, cause);
            }
            self.lines = lines;
            self.row = 0;
        }
        Ok(true)
    }

    fn id(&self) -> i64 {
        self.lines.id(self.row)
    }

    fn cell(&self, column: usize) -> Cell<'_> {
        self.lines.cell(&self.kept, self.row, column)
    }
}
