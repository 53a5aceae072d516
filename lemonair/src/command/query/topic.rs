//! A topic as a table: a row for each event, with a column for each field that any of its events has.

use std::sync::Arc;

use lemonair_consumers::batch::Consumed;
use lemonair_consumers::{Bound, Kafka, Replay, Selection, Watermark};
use lemonair_schemas::{Codec, Event, RoomId, Timestamp, Topic};
use lemonair_sql::{Cell, Column, Condition, Rows, Table};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::column::{Field, Form, columns};
use super::narrow::Narrow;
use super::tally::Tally;
use crate::command::export::pseudonym::Pseudonyms;
use crate::command::export::table::{each_cell, is_called};

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

struct Records {
    replay: Replay,
    /// How many records the tally knows of.
    told: u64,
    record: Option<(Consumed<Event>, Event)>,
    fields: Arc<Vec<Field>>,
    history: Arc<History>,
    runtime: Handle,
}

/// Names that erased rooms go by begin so; their records stand where the former name says.
const ERASED: &str = "erased-";

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

    fn scan(&self, conditions: &[Condition]) -> Result<Box<dyn Rows>, String> {
        let history = &self.history;
        let narrow = Narrow::new(conditions, |column| &self.columns[column].name);
        let opening = async {
            tokio::select! {
                () = history.stop.cancelled() => Err("stopped".to_owned()),
                replay = history.open(self.topic, narrow) => {
                    replay.map_err(|error| error.to_string())
                }
            }
        };
        let replay = self.runtime.block_on(opening)?;
        history.tally.begin(self.size());
        Ok(Box::new(Records {
            replay,
            told: 0,
            record: None,
            fields: Arc::clone(&self.fields),
            history: Arc::clone(history),
            runtime: self.runtime.clone(),
        }))
    }
}

// === impl History ===

impl History {
    async fn open(
        &self,
        topic: Topic,
        narrow: Narrow,
    ) -> Result<Replay, lemonair_consumers::Error> {
        let mut selection = Selection {
            topics: vec![topic],
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
        let by_room = !matches!(topic, Topic::Accounts | Topic::Ledger | Topic::Presence);
        if by_room {
            selection.rooms.clone_from(&self.window.rooms);
        }
        if let Some(mut rooms) = narrow.rooms
            && !rooms.iter().any(|room| room.starts_with(ERASED))
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
        Replay::open(&self.kafka, Arc::clone(&self.codec), selection, ranges).await
    }
}

// === impl Records ===

impl Records {
    /// The next record, decoded or not.
    fn record(&mut self) -> Result<Option<Consumed<Event>>, String> {
        if let Some(record) = self.replay.ready() {
            return Ok(Some(record));
        }
        self.tell();
        let Records {
            replay,
            history,
            runtime,
            ..
        } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = history.stop.cancelled() => Err("stopped".to_owned()),
                record = replay.next() => record.map_err(|error| error.to_string()),
            }
        })
    }

    fn tell(&mut self) {
        let read = self.replay.read();
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
        while let Some(mut record) = self.record()? {
            let poison = lemonair_consumers::Poison {
                cause: String::new(),
            };
            match std::mem::replace(&mut record.content, Err(poison)) {
                Ok(mut event) => {
                    if let Some(pseudonyms) = &self.history.pseudonyms {
                        event.mask(pseudonyms);
                    }
                    self.record = Some((record, event));
                    return Ok(true);
                }
                Err(poison) => self.history.tally.unreadable(record.position, poison.cause),
            }
        }
        self.tell();
        Ok(false)
    }

    fn id(&self) -> i64 {
        let position = self.record.as_ref().map(|(record, _)| record.position);
        position.map_or(0, |position| {
            (i64::from(position.partition) << 48) | position.offset
        })
    }

    fn cell(&self, column: usize) -> Cell<'_> {
        let (Some((record, event)), Some(field)) = (&self.record, self.fields.get(column)) else {
            return Cell::Null;
        };
        if field.form == Form::Event {
            let mut json = b"{".to_vec();
            event.write_json(&mut json);
            json.push(b'}');
            return Cell::Text(String::from_utf8_lossy(&json).into_owned().into());
        }
        let mut found = Cell::Null;
        each_cell(
            record.position,
            record.at,
            event,
            &mut |stem, end, value| {
                if is_called(&field.name, stem, end) {
                    found = field.cell(value);
                }
            },
        );
        found
    }
}
