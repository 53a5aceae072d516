//! `lemonair dlq`: dead letters, the records that could not be decoded or applied.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use lemonair_consumers::erasures;
use lemonair_projections::dead_letters::{self, DeadLetter, Filter, LetterId, State};
use lemonair_projections::{Projection, projection};
use lemonair_schemas::{Codec, Timestamp, Topic};
use serde::Serialize;
use serde_json::json;
use sqlx::MySqlPool;

use crate::services::{open_registry, schemas};
use crate::settings::Settings;

#[derive(Subcommand)]
pub(crate) enum Dlq {
    /// List dead letters, in the order of their records
    List {
        #[command(flatten)]
        which: Which,
        /// open, applied (by a later try) or dropped
        #[arg(long, default_value = "open")]
        state: State,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show all there is to know of one: the record's bytes, what they mean, what was tried
    Show {
        id: LetterId,
        #[arg(long)]
        json: bool,
    },
    /// Try them again, with today's schemas, in order; what fails again stays
    Retry {
        #[command(flatten)]
        which: Which,
        /// Say what would come of it, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Give them up for good
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters: all that are open, unless narrowed down.
#[derive(Args)]
pub(crate) struct Which {
    /// Their ids, as `list` prints them
    ids: Vec<LetterId>,
    /// Of one read model
    #[arg(long, value_parser = named)]
    projection: Option<&'static str>,
    /// Of one topic
    #[arg(long)]
    topic: Option<Topic>,
    /// Of one room (or account, where the topic is keyed by those)
    #[arg(long)]
    room: Option<String>,
    /// With this text in the cause
    #[arg(long, value_name = "TEXT")]
    cause: Option<String>,
    /// Of records from a time on: 2026-01-02T03:04:05Z, or a duration ago such as 2h
    #[arg(long, value_parser = super::time)]
    since: Option<Timestamp>,
    /// Of records before a time
    #[arg(long, value_parser = super::time)]
    until: Option<Timestamp>,
    /// So many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// Characters of a cause that fit beside the rest on a terminal.
const SHOWN: usize = 72;

impl Dlq {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let pool = lemonair_projections::connect(settings.database_url()?, 2).await?;
        match self {
            Dlq::List { which, state, json } => list(&pool, &which.filter(state), json).await,
            Dlq::Show { id, json } => show(&pool, settings, id, json).await,
            Dlq::Retry {
                which,
                dry_run,
                json,
            } => {
                let codec = open_codec(settings).await?;
                let filter = which.filter(State::Open);
                let operator = operator();
                let tried = dead_letters::retry(&pool, &codec, &filter, &operator, dry_run).await?;
                let failed = tried.iter().filter(|tried| tried.cause.is_some()).count();
                for tried in &tried {
                    if json {
                        print_json(tried)?;
                    } else if let Some(cause) = &tried.cause {
                        println!("{}  fails again: {cause}", tried.id);
                    } else if dry_run {
                        println!("{}  would be applied", tried.id);
                    } else {
                        println!("{}  applied", tried.id);
                    }
                }
                if !json {
                    let would = if dry_run { "would be " } else { "" };
                    let applied = tried.len() - failed;
                    println!("{applied} {would}applied, {failed} {would}left");
                }
                Ok(())
            }
            Dlq::Drop { which, yes } => {
                let filter = which.filter(State::Open);
                if !yes {
                    let count = dead_letters::list(&pool, &filter).await?.len();
                    if count == 0 {
                        println!("No such dead letters.");
                        return Ok(());
                    }
                    confirm(&format!("Give up {count} dead letters for good?"))?;
                }
                let dropped = dead_letters::drop(&pool, &filter, &operator()).await?;
                for id in &dropped {
                    println!("{id}  dropped");
                }
                println!("{} dropped", dropped.len());
                Ok(())
            }
        }
    }
}

impl Which {
    fn filter(self, state: State) -> Filter {
        Filter {
            ids: self.ids,
            projection: self.projection,
            topic: self.topic,
            key: self.room,
            cause: self.cause,
            since: self.since,
            until: self.until,
            state,
            limit: self.limit,
        }
    }
}

async fn list(pool: &MySqlPool, filter: &Filter, json: bool) -> anyhow::Result<()> {
    let letters = dead_letters::list(pool, filter).await?;
    if json {
        return letters.iter().try_for_each(print_json);
    }
    if letters.is_empty() {
        println!("No {} dead letters.", filter.state.name());
        return Ok(());
    }
    let width = |of: fn(&DeadLetter) -> String, least: usize| {
        letters
            .iter()
            .map(|letter| of(letter).chars().count())
            .fold(least, usize::max)
    };
    let ids = width(|letter| letter.id.to_string(), 2);
    let keys = width(|letter| letter.key.clone(), 3);
    let terminal = std::io::stdout().is_terminal();
    println!(
        "{:ids$}  {:keys$}  {:24}  {:>6}  {:>5}  CAUSE",
        "ID", "KEY", "AT", "SCHEMA", "TRIES"
    );
    for letter in &letters {
        let schema = letter
            .schema_id
            .map_or_else(|| "-".to_owned(), |id| id.to_string());
        let cause = letter.cause.replace(['\n', '\r'], " ");
        let cause = match cause.char_indices().nth(SHOWN) {
            Some((end, _)) if terminal => format!("{}…", &cause[..end]),
            _ => cause,
        };
        println!(
            "{:ids$}  {:keys$}  {:24}  {schema:>6}  {:>5}  {cause}",
            letter.id.to_string(),
            letter.key,
            letter.record_at.to_string(),
            letter.tries,
        );
    }
    if letters.len() == filter.limit as usize {
        println!("There may be more: --limit");
    }
    Ok(())
}

async fn show(
    pool: &MySqlPool,
    settings: &Settings,
    id: LetterId,
    json: bool,
) -> anyhow::Result<()> {
    let letter = dead_letters::find(pool, id).await?;
    let letter = letter.with_context(|| {
        format!("there is no dead letter {id}; `lemonair dlq list` names those there are")
    })?;
    let actions = dead_letters::actions(pool, id).await?;
    let event = match open_codec(settings).await {
        Ok(codec) => letter.decode(&codec).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    if json {
        let mut shown = serde_json::to_value(&letter)?;
        shown["event"] = event.map_or(json!(null), |event| json!(event.json()));
        shown["actions"] = json!(actions);
        return print_json(&shown);
    }
    let position = id.position;
    println!("id          {id}");
    println!("read model  {}", id.projection);
    println!(
        "record      {} partition {} offset {}",
        position.topic.in_kafka(&settings.kafka_prefix),
        position.partition,
        position.offset
    );
    println!("key         {}", letter.key);
    println!("at          {}", letter.record_at);
    if let Some(schema) = letter.schema_id {
        println!("schema id   {schema}");
    }
    println!("cause       {}", letter.cause);
    println!(
        "tries       {}, first {}, last {}",
        letter.tries, letter.first_at, letter.last_at
    );
    println!("state       {}", letter.state.name());
    match event {
        Ok(event) => println!("event       {}", serde_json::to_string(&event.json())?),
        Err(error) => println!("event       cannot be read: {error:#}"),
    }
    println!("bytes       {}", letter.bytes.len());
    for (line, bytes) in letter.bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = bytes.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        let text = text.collect::<String>();
        println!("  {:08x}  {:47}  {text}", line * 16, hex.join(" "));
    }
    for action in actions {
        let cause = action
            .cause
            .map_or_else(String::new, |cause| format!(": {cause}"));
        println!(
            "{}  {} by {}{cause}",
            action.at, action.outcome, action.operator
        );
    }
    Ok(())
}

async fn open_codec(settings: &Settings) -> anyhow::Result<Arc<Codec>> {
    let registry = open_registry(settings)?;
    let codec = Arc::new(Codec::register(registry, &schemas()).await?);
    erasures::load(&settings.kafka(), &codec).await?;
    Ok(codec)
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

fn confirm(question: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("{question} Say --yes, as nobody can be asked here");
    }
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

/// Who does this, as far as a shell can tell.
#[expect(clippy::disallowed_methods, reason = "no setting: it is who runs this")]
fn operator() -> String {
    let user = std::env::var("LOGNAME").or_else(|_| std::env::var("USER"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (user, host) = (
        user.unwrap_or_else(|_| "somebody".to_owned()),
        host.trim().to_owned(),
    );
    format!("{user}@{host}")
}

fn named(name: &str) -> Result<&'static str, lemonair_projections::Error> {
    projection::named(name).map(Projection::name)
}
