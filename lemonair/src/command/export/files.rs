//! The files of an export: they are made aside, and put into place when all are whole.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use lemonair_consumers::Range;
use lemonair_schemas::{Codec, Event, Position, Timestamp};
use serde::{Deserialize, Serialize};

use super::file::Writer;
use super::manifest::{File, Manifest, NAME, Request, Run};
use super::place::Place;
use super::{By, Format};

pub(super) struct Files {
    place: Place,
    request: Request,
    number: usize,
    open: BTreeMap<String, Open>,
    /// How many files each part has so far; rooms that speak seldom may get several.
    parts: BTreeMap<String, usize>,
    files: Vec<File>,
    clock: u64,
}

struct Open {
    path: String,
    writer: Writer,
    used: u64,
}

/// What an export that is under way will hold.
#[derive(PartialEq, Serialize, Deserialize)]
struct Plan {
    request: Request,
    number: usize,
    ranges: Vec<String>,
}

/// Files that are open at a time: each has records in memory.
const OPEN: usize = 64;

/// Files that are put into place at a time.
const AT_ONCE: usize = 4;

/// Where a [`Plan`] stands until all is whole.
const PLAN: &str = ".partial/plan.json";

impl Files {
    /// If an export of the same was cut off here, `ranges` become those that it had.
    pub(super) async fn open(
        place: Place,
        request: &Request,
        number: usize,
        ranges: &mut Vec<Range>,
    ) -> anyhow::Result<Files> {
        let same = |plan: &Plan| plan.request == *request && plan.number == number;
        let plan = place.read(PLAN).await?;
        let plan = plan.and_then(|json| serde_json::from_slice::<Plan>(&json).ok());
        if let Some(plan) = plan.filter(same) {
            *ranges = plan
                .ranges
                .iter()
                .map(|range| range.parse())
                .collect::<Result<_, _>>()?;
        }
        place.clear()?;
        let plan = Plan {
            request: request.clone(),
            number,
            ranges: ranges.iter().map(ToString::to_string).collect(),
        };
        place.write(PLAN, serde_json::to_vec_pretty(&plan)?).await?;
        Ok(Files {
            place,
            request: request.clone(),
            number,
            open: BTreeMap::new(),
            parts: BTreeMap::new(),
            files: Vec::new(),
            clock: 0,
        })
    }

    pub(super) fn add(
        &mut self,
        position: Position,
        at: Timestamp,
        event: &Event,
        codec: &Codec,
    ) -> anyhow::Result<()> {
        let part = self.part(position, at, event);
        if !self.open.contains_key(&part) {
            if self.open.len() >= OPEN {
                self.close_oldest()?;
            }
            let open = self.create(&part, position, event)?;
            self.open.insert(part.clone(), open);
        }
        self.clock += 1;
        if let Some(open) = self.open.get_mut(&part) {
            open.used = self.clock;
            open.writer.add(position, at, event, codec)?;
        }
        Ok(())
    }

    /// The folder of the files in which a record belongs.
    fn part(&self, position: Position, at: Timestamp, event: &Event) -> String {
        let mut part = format!("lemonair.{}", position.topic);
        if self.request.format == Format::Avro {
            // Such a file has one schema.
            part = format!("{part}/{}", event.kind());
        }
        match self.request.by {
            By::Day => format!("{part}/day={}", &at.to_string()[..10]),
            By::Room => {
                let room = event.room().map(|room| room.to_string());
                format!("{part}/room={}", room.as_deref().unwrap_or("none"))
            }
        }
    }

    fn create(&mut self, part: &str, position: Position, event: &Event) -> anyhow::Result<Open> {
        let count = self.parts.entry(part.to_owned()).or_default();
        let extension = match self.request.format {
            Format::Parquet => "parquet",
            Format::Avro => "avro",
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
        };
        let path = format!("{part}/{:04}-{count:04}.{extension}", self.number);
        *count += 1;
        let aside = self.place.make(&path)?;
        let file =
            std::fs::File::create(&aside).with_context(|| format!("write {}", aside.display()))?;
        Ok(Open {
            path,
            writer: Writer::new(self.request.format, file, position.topic, event)?,
            used: 0,
        })
    }

    fn close_oldest(&mut self) -> anyhow::Result<()> {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
        if let Some(part) = oldest.map(|(part, _)| part.clone())
            && let Some(open) = self.open.remove(&part)
        {
            self.close(open)?;
        }
        Ok(())
    }

    fn close(&mut self, open: Open) -> anyhow::Result<()> {
        let Open { path, writer, .. } = open;
        let written = writer.finish().with_context(|| format!("write {path}"))?;
        self.files.push(File {
            path,
            records: written.records,
            bytes: written.bytes,
            sha256: written.sha256,
        });
        Ok(())
    }

    /// Puts everything into place, the manifest last; returns how many files there are now.
    pub(super) async fn finish(
        mut self,
        before: Option<Manifest>,
        run: Run,
    ) -> anyhow::Result<usize> {
        for (_, open) in std::mem::take(&mut self.open) {
            self.close(open)?;
        }
        self.files.sort_by(|one, other| one.path.cmp(&other.path));
        let mut manifest = match before {
            Some(manifest) => manifest,
            None => {
                self.remove_former().await?;
                Manifest {
                    request: self.request.clone(),
                    runs: Vec::new(),
                    files: Vec::new(),
                }
            }
        };
        let put = self.files.iter().map(|file| self.place.put(&file.path));
        stream::iter(put)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        manifest.runs.push(run);
        manifest.files.append(&mut self.files);
        let json = serde_json::to_vec_pretty(&manifest)?;
        self.place.write(NAME, json).await?;
        self.give_up().await?;
        Ok(manifest.files.len())
    }

    /// What an export left here that this one replaces; its manifest first, so that at no time one
    /// stands beside files that are not its own.
    async fn remove_former(&self) -> anyhow::Result<()> {
        let Some(former) = Manifest::read(&self.place).await? else {
            return Ok(());
        };
        self.place.remove(NAME).await?;
        let remove = former
            .files
            .iter()
            .map(|file| self.place.remove(&file.path));
        stream::iter(remove)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Leaves nothing but what is whole.
    pub(super) async fn give_up(&self) -> anyhow::Result<()> {
        self.place.remove(PLAN).await?;
        self.place.clear()
    }
}
