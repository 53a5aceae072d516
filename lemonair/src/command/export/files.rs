//! The files of an export: they are made aside, and put into place when all are whole.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use lemonair_consumers::{Range, Watermark};
use lemonair_schemas::{Codec, Event, Position, Timestamp};
use serde::{Deserialize, Serialize};

use super::file::Writer;
use super::manifest::{File, Manifest, NAME, Request, Run};
use super::place::Place;
use super::{By, Format};
use crate::command::progress;

pub(super) struct Files {
    place: Place,
    plan: Plan,
    /// By the path that each will have.
    open: BTreeMap<String, Writer>,
    files: Vec<File>,
    /// Bytes that files hold in memory together, and as many as they may.
    held: usize,
    room: usize,
}

/// What an export that is under way will hold.
#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) request: Request,
    /// Its times as they were asked for: two days ago is another time each time.
    asked: String,
    /// How many exports it adds to.
    number: usize,
    ranges: Vec<String>,
    /// Files that may lie here though no manifest says so: of this export, and of the one whose place
    /// it takes.
    files: Vec<String>,
}

/// Bytes of rows that wait in all files together: where there are more, the largest row groups end.
const ROOM: usize = 128 * 1024 * 1024;

/// Files that are put into place at a time.
const AT_ONCE: usize = 4;

/// Where a [`Plan`] stands until all is whole.
const PLAN: &str = ".partial/plan.json";

impl Plan {
    pub(super) fn new(request: Request, asked: String, number: usize, ranges: &[Range]) -> Plan {
        Plan {
            request,
            asked,
            number,
            ranges: ranges.iter().map(ToString::to_string).collect(),
            files: Vec::new(),
        }
    }

    pub(super) fn ranges(&self) -> anyhow::Result<Vec<Range>> {
        let ranges = self.ranges.iter().map(|range| range.parse());
        Ok(ranges.collect::<Result<_, _>>()?)
    }

    fn is_like(&self, other: &Plan) -> bool {
        (&self.asked, self.number) == (&other.asked, other.number)
            && self.request.is_like(&other.request)
    }

    /// Whether the topics, which reach as far as the marks say, still hold all that is to be read.
    fn is_within(&self, marks: &[Watermark]) -> bool {
        let holds = |mark: &Watermark, range: &Range| {
            (mark.topic, mark.partition) == (range.topic, range.partition)
                && mark.low <= range.start
                && range.end <= mark.high
        };
        let held = |range: &Range| marks.iter().any(|mark| holds(mark, range));
        self.ranges().is_ok_and(|ranges| ranges.iter().all(held))
    }
}

impl Files {
    /// If an export of the same was cut off here, its plan takes the place of this one, unless some of
    /// what it would read is gone.
    pub(super) async fn open(
        place: Place,
        mut plan: Plan,
        marks: &[Watermark],
    ) -> anyhow::Result<Files> {
        let former = place.read(PLAN).await?;
        let former = former.and_then(|json| serde_json::from_slice::<Plan>(&json).ok());
        if let Some(mut former) = former {
            let stray = std::mem::take(&mut former.files);
            remove_strays(&place, stray).await?;
            if former.is_like(&plan) && former.is_within(marks) {
                plan = former;
            }
        }
        place.clear()?;
        let files = Files {
            place,
            plan,
            open: BTreeMap::new(),
            files: Vec::new(),
            held: 0,
            room: ROOM,
        };
        files.write_plan().await?;
        Ok(files)
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn write_plan(&self) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(&self.plan)?;
        self.place.write(PLAN, json).await
    }

    pub(super) fn add(
        &mut self,
        position: Position,
        at: Timestamp,
        event: &Event,
        codec: &Codec,
    ) -> anyhow::Result<()> {
        let path = self.path(position, at, event);
        if !self.open.contains_key(&path) {
            let (format, aside) = (self.plan.request.format, self.place.make(&path)?);
            let writer = Writer::new(format, aside, position.topic, event);
            let writer = writer.with_context(|| format!("write {path}"))?;
            self.open.insert(path.clone(), writer);
        }
        if let Some(writer) = self.open.get_mut(&path) {
            self.held -= writer.held();
            let added = writer.add(position, at, event, codec);
            added.with_context(|| format!("write {path}"))?;
            self.held += writer.held();
        }
        if self.held > self.room {
            self.make_room()?;
        }
        Ok(())
    }

    /// Ends the row groups of those that hold most; of more than need be, so that they are not many.
    /// Nothing but the records decides where row groups end, so they end there each time.
    fn make_room(&mut self) -> anyhow::Result<()> {
        let mut writers: Vec<_> = self.open.iter_mut().collect();
        writers.sort_by_key(|(_, writer)| Reverse(writer.held()));
        for (path, writer) in writers {
            if self.held <= self.room / 2 {
                break;
            }
            self.held -= writer.held();
            writer.flush().with_context(|| format!("write {path}"))?;
            self.held += writer.held();
        }
        Ok(())
    }

    /// The file in which a record belongs. Older versions counted a folder's files in its last number.
    fn path(&self, position: Position, at: Timestamp, event: &Event) -> String {
        let mut part = format!("lemonair.{}", position.topic);
        if self.plan.request.format == Format::Avro {
            // Such a file has one schema.
            part = format!("{part}/{}", event.kind());
        }
        let part = match self.plan.request.by {
            By::Day => format!("{part}/day={}", &at.to_string()[..10]),
            By::Room => {
                let room = event.room().map(|room| room.to_string());
                format!("{part}/room={}", room.as_deref().unwrap_or("none"))
            }
        };
        let extension = match self.plan.request.format {
            Format::Parquet => "parquet",
            Format::Avro => "avro",
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
        };
        format!("{part}/{:04}-0000.{extension}", self.plan.number)
    }

    /// Puts everything into place, the manifest last; returns how many files there are now.
    pub(super) async fn finish(
        mut self,
        before: Option<Manifest>,
        erasures: Vec<String>,
        run: Run,
    ) -> anyhow::Result<usize> {
        for (path, writer) in std::mem::take(&mut self.open) {
            let written = writer.finish().with_context(|| format!("write {path}"))?;
            self.files.push(File {
                path,
                records: written.records,
                bytes: written.bytes,
                sha256: written.sha256,
            });
        }
        let former = match &before {
            None => Manifest::read(&self.place).await?,
            Some(_) => None,
        };
        // From here on there are files that no manifest names: whoever comes after a crash finds them.
        let listed = former.iter().flat_map(|former| &former.files);
        let listed = listed.chain(&self.files).map(|file| file.path.clone());
        self.plan.files = listed.collect();
        self.write_plan().await?;
        if let Some(former) = former {
            // Its manifest first: at no time one stands beside files that are not its own.
            self.place.remove(NAME).await?;
            let files = former.files.into_iter().map(|file| file.path);
            remove(&self.place, files).await?;
        }
        self.put().await?;
        let mut manifest = before.unwrap_or_else(|| Manifest {
            request: self.plan.request.clone(),
            erasures: Some(erasures),
            runs: Vec::new(),
            files: Vec::new(),
        });
        manifest.runs.push(run);
        manifest.files.append(&mut self.files);
        let json = serde_json::to_vec_pretty(&manifest)?;
        self.place.write(NAME, json).await?;
        self.give_up().await?;
        Ok(manifest.files.len())
    }

    async fn put(&self) -> anyhow::Result<()> {
        let sent = AtomicU64::new(0);
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        let put = self
            .files
            .iter()
            .map(|file| self.place.put(&file.path, &sent));
        let put = stream::iter(put)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>();
        progress::during("bytes", || (sent.load(Ordering::Relaxed), bytes), put).await
    }

    /// Leaves nothing but what is whole.
    pub(super) async fn give_up(&self) -> anyhow::Result<()> {
        self.place.remove(PLAN).await?;
        self.place.clear()
    }
}

/// Of these files, removes those that the manifest, if there is one, does not name.
async fn remove_strays(place: &Place, files: Vec<String>) -> anyhow::Result<()> {
    let whole = Manifest::read(place).await?;
    let whole: HashSet<&str> = whole
        .iter()
        .flat_map(|manifest| &manifest.files)
        .map(|file| file.path.as_str())
        .collect();
    let strays = files
        .into_iter()
        .filter(|path| !whole.contains(path.as_str()));
    remove(place, strays).await
}

async fn remove(place: &Place, files: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let remove = files.map(|path| async move { place.remove(&path).await });
    stream::iter(remove)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lemonair_consumers::Selection;
    use lemonair_schemas::chat::MessagePosted;
    use lemonair_schemas::{EventId, Topic};
    use lemonair_testkit::Cluster;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use sha2::{Digest, Sha256};
    use uuid::Uuid;

    use super::*;

    /// More than a process would have open at a time.
    const ROOMS: u32 = 200;

    fn message(number: u32) -> Event {
        MessagePosted {
            id: EventId(Uuid::from_u64_pair(number.into(), u64::MAX)),
            at: Timestamp(number.into()),
            room: format!("room{}", number % ROOMS).parse().unwrap(),
            actor: None,
            text: format!("message {number}"),
            nonce: None,
            reply_to: None,
        }
        .into()
    }

    #[tokio::test]
    async fn what_was_cut_off_begins_anew_when_some_of_it_is_gone() {
        let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
        let open = async |start, end| {
            let place = Place::folder(folder.to_str().unwrap());
            let request = Request::new(
                Format::Csv,
                By::Day,
                None,
                &Selection::of(&[Topic::Presence]),
            );
            let range = Range {
                topic: Topic::Presence,
                partition: 0,
                start,
                end,
            };
            let mark = Watermark {
                topic: Topic::Presence,
                partition: 0,
                low: start,
                high: end,
            };
            let plan = Plan::new(request, String::new(), 0, &[range]);
            let files = Files::open(place, plan, &[mark]).await.unwrap();
            files.plan().ranges().unwrap()[0].to_string()
        };
        assert_eq!(open(3, 7).await, "presence/0:3-7");
        assert_eq!(open(3, 9).await, "presence/0:3-7");
        assert_eq!(open(4, 9).await, "presence/0:4-9");
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// What so many messages in rooms that take turns become.
    async fn export(
        cluster: &Cluster,
        folder: &Path,
        format: Format,
        room: usize,
        messages: u32,
    ) -> Vec<File> {
        let place = || Place::folder(folder.to_str().unwrap());
        let chat = Selection::of(&[Topic::Chat]);
        let plan = Plan::new(
            Request::new(format, By::Room, None, &chat),
            String::new(),
            0,
            &[],
        );
        let mut files = Files::open(place(), plan, &[]).await.unwrap();
        files.room = room;
        for number in 0..messages {
            let event = message(number);
            let position = Position {
                topic: Topic::Chat,
                partition: 0,
                offset: number.into(),
            };
            files
                .add(position, event.at(), &event, &cluster.codec)
                .unwrap();
            assert!(files.held <= files.room, "{number}: {}", files.held);
        }
        files.finish(None, Vec::new(), Run::new(&[])).await.unwrap();
        Manifest::read(&place()).await.unwrap().unwrap().files
    }

    #[tokio::test]
    async fn rooms_that_take_turns_have_a_file_each() {
        let cluster = Cluster::start().await;
        for format in [Format::Avro, Format::Jsonl, Format::Csv] {
            let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
            let files = export(&cluster, &folder, format, ROOM, 4 * ROOMS).await;
            assert_eq!(files.len(), ROOMS as usize, "{format:?}");
            for file in files {
                let content = std::fs::read(folder.join(&file.path)).unwrap();
                assert_eq!((file.records, file.bytes), (4, content.len() as u64));
                let hash = Sha256::digest(&content);
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(file.sha256, hash);
            }
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    #[tokio::test]
    async fn files_together_hold_no_more_than_there_is_room_for() {
        const MEBIBYTE: usize = 1024 * 1024;
        let cluster = Cluster::start().await;
        let mut made = Vec::new();
        for _ in 0..2 {
            let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
            let files = export(&cluster, &folder, Format::Parquet, MEBIBYTE, 50 * ROOMS).await;
            assert_eq!(files.len(), ROOMS as usize);
            let mut groups = 0;
            for file in &files {
                let file = std::fs::File::open(folder.join(&file.path)).unwrap();
                let file = SerializedFileReader::new(file).unwrap();
                groups += file.metadata().num_row_groups();
            }
            let hashes = files.into_iter().map(|file| file.sha256);
            made.push((groups, Vec::from_iter(hashes)));
            std::fs::remove_dir_all(folder).unwrap();
        }
        assert!(made[0].0 > ROOMS as usize, "{made:?}");
        assert_eq!(made[0], made[1]);
    }
}
