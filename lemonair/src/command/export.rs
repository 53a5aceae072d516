//! `lemonair export`: a slice of history as files, the same bytes each time.

mod file;
mod files;
pub(super) mod manifest;
pub(super) mod place;
pub(super) mod pseudonym;
pub(super) mod table;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::{Args, ValueEnum};
use lemonair_consumers::{Range, Replay, erasures};
use lemonair_schemas::{Codec, Event, Records, Timestamp};
use serde::{Deserialize, Serialize};

use self::files::{Files, Plan};
use self::manifest::{Manifest, Request, Run, Undecodable};
use self::place::Place;
use self::pseudonym::Pseudonyms;
use super::progress;
use super::slice::Slice;
use crate::services::open_registry;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    slice: Slice,
    #[arg(long)]
    format: Format,
    /// Where the files go: a folder, or s3://BUCKET/WITHIN in a store that speaks S3
    #[arg(short, long, value_name = "PLACE")]
    output: String,
    /// What a file holds: a day (UTC) or a room
    #[arg(long, default_value = "day")]
    by: By,
    /// Add what came since the last export into this place
    #[arg(long, conflicts_with_all = ["from", "to"])]
    incremental: bool,
    /// Put pseudonyms in place of names, accounts and rooms; their key is made on first use, and
    /// kept beside the other secrets
    #[arg(long)]
    pseudonymise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Parquet,
    Avro,
    Jsonl,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Day,
    Room,
}

impl Export {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let kafka = settings.kafka();
        let codec = Arc::new(Codec::reading(open_registry(settings)?, Event::SCHEMAS).await?);
        let place = Place::open(settings, &self.output)?;
        let pseudonyms = Pseudonyms::open(settings, self.pseudonymise)?;
        let asked = self.slice.asked();
        let mut selection = self
            .slice
            .selection(&kafka, &codec, Timestamp::now())
            .await?;
        let request = Request::new(self.format, self.by, pseudonyms.as_ref(), &selection);
        let _lock = place.lock()?;
        let marks = selection.marks(&kafka).await?;
        // At least these are heeded: they are all read before anything else is.
        let erasures = erasures::marks(&kafka).await?;
        let mut ranges = selection.ranges_within(&kafka, marks.clone()).await?;
        let before = match Manifest::read(&place).await? {
            Some(manifest) if self.incremental => {
                manifest.check(&place, &request, &marks, &ranges, &erasures)?;
                for range in &mut ranges {
                    let end = manifest.end_of(range.topic, range.partition);
                    range.start = range.start.max(end);
                }
                ranges.retain(|range| !range.is_empty());
                Some(manifest)
            }
            _ => None,
        };
        let number = before.as_ref().map_or(0, |manifest| manifest.runs.len());
        let plan = Plan::new(request, asked, number, &ranges);
        // What was cut off is made again with the same bounds, so that it becomes the same files.
        let mut files = Files::open(place, plan, &marks).await?;
        let ranges = files.plan().ranges()?;
        (selection.from, selection.to) = files.plan().request.bounds();
        if before.is_some() && ranges.is_empty() {
            files.give_up().await?;
            println!("nothing new in {}", self.output);
            return Ok(());
        }

        let total: u64 = ranges.iter().map(Range::len).sum();
        let mut run = Run::new(&ranges);
        let mut replay = Replay::open(&kafka, Arc::clone(&codec), selection, ranges).await?;
        let read = replay.counter();
        let reading = async {
            while let Some(record) = replay.next().await? {
                match record.content {
                    Ok(mut event) => {
                        if let Some(pseudonyms) = &pseudonyms {
                            event.mask(pseudonyms);
                        }
                        files.add(record.position, record.at, &event, &codec)?;
                        run.records += 1;
                    }
                    Err(poison) => run.undecodable.push(Undecodable::new(
                        record.position,
                        &record.bytes,
                        poison,
                    )),
                }
            }
            anyhow::Ok(())
        };
        progress::during("records", || (read.load(Ordering::Relaxed), total), reading).await?;
        let (records, undecodable) = (run.records, run.undecodable.len());
        let count = files
            .finish(before, manifest::heeded(&erasures), run)
            .await?;
        println!("{records} records in {count} files in {}", self.output);
        if undecodable > 0 {
            println!("{undecodable} records could not be decoded; manifest.json lists them");
        }
        Ok(())
    }
}
