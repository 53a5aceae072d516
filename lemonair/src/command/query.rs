//! `lemonair query`: SQL over the topics, or over an export of them.

mod column;
mod files;
mod lines;
mod narrow;
mod output;
mod tally;
mod topic;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use lemonair_schemas::{Codec, Event, Records, Timestamp, Topic};
use lemonair_sql::{Database, Table};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::output::Output;
use self::tally::Tally;
use super::export::place::Place;
use super::export::pseudonym::Pseudonyms;
use super::progress;
use super::slice::Window;
use crate::services::open_registry;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Query {
    /// One SELECT in SQLite's SQL; - reads it from stdin
    sql: String,
    #[command(flatten)]
    window: Window,
    /// Ask this export instead of the topics: a folder, or s3://BUCKET/WITHIN
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["rooms", "from", "to", "pseudonymise"])]
    export: Option<String>,
    #[arg(long, default_value = "table")]
    format: Format,
    /// Write into this file instead of to stdout
    #[arg(short, long, value_name = "FILE", required_if_eq("format", "parquet"))]
    output: Option<PathBuf>,
    /// See pseudonyms in place of names, accounts and rooms, as in an export
    #[arg(long)]
    pseudonymise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
    Jsonl,
    Parquet,
}

/// Topics that are tables.
const TABLES: [Topic; 7] = [
    Topic::Chat,
    Topic::Donations,
    Topic::Streams,
    Topic::Channels,
    Topic::Accounts,
    Topic::Ledger,
    Topic::Presence,
];

impl Query {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let sql = match self.sql.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()).context("read SQL from stdin")?,
            sql => sql.to_owned(),
        };
        let (format, file) = (self.format, self.output.clone());
        let tally = Arc::new(Tally::default());
        let stop = CancellationToken::new();
        let tables = tokio::select! {
            tables = self.tables(settings, &sql, &tally, &stop) => tables?,
            _ = interrupt.recv() => bail!("stopped; there is no result"),
            _ = terminate.recv() => bail!("stopped; there is no result"),
        };
        let database = Database::open(tables)?;
        let interrupter = database.interrupter();
        let began = tokio::time::Instant::now();
        let mut query = tokio::task::spawn_blocking(move || {
            let mut output = Output::create(format, file)?;
            let rows = database.query(&sql, &mut output)?;
            output.finish()?;
            anyhow::Ok(rows)
        });
        let result = async {
            loop {
                tokio::select! {
                    result = &mut query => return result,
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                stop.cancel();
                interrupter.interrupt();
            }
        };
        let result = progress::during("records", || tally.records(), result).await?;
        tally.report();
        if stop.is_cancelled() {
            bail!("stopped; what there is of a result is not the whole");
        }
        let rows = result?;
        let (read, of) = tally.records();
        eprintln!(
            "{rows} rows; {read} of {of} records read in {:.1} s",
            began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    async fn tables(
        self,
        settings: &Settings,
        sql: &str,
        tally: &Arc<Tally>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<Arc<dyn Table>>> {
        if let Some(place) = &self.export {
            let place = Place::open(settings, place)?;
            return files::tables(place, &settings.kafka(), tally, stop).await;
        }
        let kafka = settings.kafka();
        let codec = Arc::new(Codec::reading(open_registry(settings)?, Event::SCHEMAS).await?);
        let pseudonyms = Pseudonyms::open(settings, self.pseudonymise)?;
        let window = self
            .window
            .selection(&kafka, &codec, Timestamp::now())
            .await?;
        // What the statement does not name is not asked where it ends.
        let sql = sql.to_ascii_lowercase();
        let named: Vec<Topic> = TABLES
            .into_iter()
            .filter(|topic| sql.contains(topic.name()))
            .collect();
        let ends = lemonair_consumers::watermarks(&kafka, &named).await?;
        let history = Arc::new(topic::History {
            kafka,
            codec,
            window,
            ends,
            pseudonyms,
            tally: Arc::clone(tally),
            stop: stop.clone(),
        });
        Ok(topic::tables(&history, &named))
    }
}
