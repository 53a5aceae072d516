//! `lemonair status`: how everything is, in a table that refreshes.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use lemonair_consumers::Kafka;
use lemonair_consumers::kafka::{brokers, members};
use lemonair_projections::Status as ReadModel;
use lemonair_projections::rebuild::{Rebuild, State};
use lemonair_schemas::{Registry, Timestamp, Topic};
use serde::Serialize;
use sqlx::MySqlPool;

use crate::services::open_registry;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Status {
    /// Print it once, as when the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print it once as JSON
    #[arg(long)]
    json: bool,
}

/// What it all stands on, and the read models.
#[derive(Serialize)]
struct Report {
    at: Timestamp,
    services: Vec<Service>,
    read_models: Vec<ReadModel>,
}

#[derive(Serialize)]
struct Service {
    name: &'static str,
    ok: bool,
    /// What answered, or what is wrong.
    says: String,
}

/// What is asked, again and again.
struct Sources<'a> {
    settings: &'a Settings,
    kafka: Kafka,
    registry: Registry,
    /// None while it cannot be reached.
    pool: Option<MySqlPool>,
}

const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);

impl Status {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let mut sources = Sources {
            settings,
            kafka: settings.kafka(),
            registry: open_registry(settings)?,
            pool: None,
        };
        if self.json {
            println!("{}", serde_json::to_string(&sources.ask().await)?);
            return Ok(());
        }
        if self.once || !std::io::stdout().is_terminal() {
            print!("{}", sources.ask().await.table());
            return Ok(());
        }
        let mut out = std::io::stdout();
        // Cleared once; afterwards written over, which does not flicker.
        write!(out, "\x1b[2J")?;
        loop {
            let table = sources.ask().await.table().replace('\n', "\x1b[K\n");
            write!(out, "\x1b[H{table}\x1b[J")?;
            out.flush()?;
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl Sources<'_> {
    async fn ask(&mut self) -> Report {
        let now = Timestamp::now();
        let database = service("database", async {
            let pool = match self.pool.take() {
                Some(pool) => pool,
                None => {
                    let url = self.settings.database_url()?;
                    lemonair_projections::connect(url, 2).await?
                }
            };
            let version = lemonair_projections::database::version(&pool).await?;
            self.pool = Some(pool);
            Ok(version)
        });
        let database = database.await;
        let (kafka, registry, gateway, decider, read_models) = tokio::join!(
            service("kafka", async {
                let brokers = brokers(&self.kafka).await?;
                Ok(brokers.join(", "))
            }),
            service("registry", async {
                self.registry.ping().await?;
                Ok(self.settings.registry_url.clone())
            }),
            service("gateway", async {
                tokio::net::TcpStream::connect(self.settings.http).await?;
                Ok(self.settings.public_url())
            }),
            service("decider", async {
                match members(&self.kafka, "decider").await? {
                    0 => anyhow::bail!("nobody decides; does `lemonair decide` run?"),
                    members => Ok(format!("{members} running")),
                }
            }),
            async {
                let pool = self.pool.as_ref()?;
                let all = lemonair_projections::status(pool, &self.kafka, now);
                tokio::time::timeout(PATIENCE, all).await.ok()?.ok()
            },
        );
        Report {
            at: now,
            services: vec![kafka, registry, database, gateway, decider],
            read_models: read_models.unwrap_or_default(),
        }
    }
}

async fn service(
    name: &'static str,
    answer: impl Future<Output = anyhow::Result<String>>,
) -> Service {
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let (ok, says) = match answer {
        Ok(Ok(says)) => (true, says),
        Ok(Err(error)) => (false, format!("{error:#}").replace('\n', " ")),
        Err(_) => (false, format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Service { name, ok, says }
}

impl Report {
    fn table(&self) -> String {
        let mut lines = vec![format!("{}", self.at)];
        for Service { name, ok, says } in &self.services {
            let mark = if *ok { "ok  " } else { "DOWN" };
            lines.push(format!("{mark}  {name:9}  {says}"));
        }
        lines.push(String::new());
        let head = [
            "READ MODEL",
            "TOPIC",
            "POSITION",
            "END",
            "LAG",
            "SECONDS",
            "RATE/S",
            "DEAD",
            "OWNER",
            "REBUILD",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        // Erasures are read by all of them, and few.
        let shown = |model: &&ReadModel| model.topic != Topic::Erasures || model.lag_records > 0;
        rows.extend(self.read_models.iter().filter(shown).map(row));
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                rows.iter()
                    .map(|row| row[column].chars().count())
                    .fold(0, usize::max)
            })
            .collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, &width))| match column {
                2..=7 => format!("{cell:>width$}"),
                _ => format!("{cell:width$}"),
            });
            lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
        }
        for model in self.read_models.iter().filter(shown) {
            if let (Some(error), Some(at)) = (&model.error, model.error_at) {
                lines.push(format!(
                    "{}: {at} {}",
                    model.projection,
                    error.replace('\n', " ")
                ));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn row(model: &ReadModel) -> [String; 10] {
    let owner = match model.owners.as_slice() {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        many => format!("{} processes", many.len()),
    };
    let behind = if model.lag_records == 0 {
        "-".to_owned()
    } else {
        format!("{:.1}", model.lag_seconds)
    };
    [
        model.projection.to_owned(),
        model.topic.to_string(),
        model.position.to_string(),
        model.end.to_string(),
        model.lag_records.to_string(),
        behind,
        format!("{:.0}", model.rate),
        model.dead_letters.to_string(),
        owner,
        model.rebuild.as_ref().map_or_else(String::new, rebuild),
    ]
}

fn rebuild(rebuild: &Rebuild) -> String {
    if let Some(fault) = &rebuild.fault {
        let fault = fault.replace('\n', " ");
        return format!("failed {}: {fault}", rebuild.updated_at);
    }
    let share = 100 * rebuild.done / rebuild.total.max(1);
    match rebuild.state {
        State::Running => {
            let left = rebuild
                .eta()
                .map_or_else(String::new, |eta| format!(", {eta:.0} s left"));
            format!("{} {share} % {:.0}/s{left}", rebuild.phase, rebuild.rate)
        }
        State::Paused => format!("paused at {share} %"),
        State::CutOff => format!("cut off at {share} %"),
        State::Done => format!("done {}", rebuild.updated_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_rebuild_failed_is_told() {
        let mut failed = Rebuild {
            projection: "messages",
            // As of one that was refused before it began.
            state: State::Done,
            phase: "done".to_owned(),
            done: 0,
            total: 0,
            rate: 0.0,
            started_at: Timestamp(0),
            updated_at: Timestamp(0),
            report: None,
            fault: Some("chat was\ntrimmed".to_owned()),
        };
        for state in [State::Done, State::CutOff] {
            failed.state = state;
            let said = rebuild(&failed);
            assert!(said.starts_with("failed 1970-"), "{said}");
            assert!(said.ends_with(": chat was trimmed"), "{said}");
        }
    }
}
