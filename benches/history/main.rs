//! What it costs an analyst to read history: `lemonair replay`, `export` and `query` on one topic, and
//! beside them, in the same run, what others would take: kcat and a Python consumer.
//!
//! `cargo bench -p lemonair-bench --bench history -- history=10000000` takes ten million records.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints figures and has nothing else to do"
)]

mod past;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Parser;
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

use self::past::Past;
use self::process::Cost;

/// Measures replay, export and query beside other tools.
#[derive(Parser)]
struct Cli {
    /// history=RECORDS; anything else is meant for another benchmark
    scenario: Vec<String>,
    /// Chat records to read
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Leave others' tools out
    #[arg(long)]
    alone: bool,
    /// Write an export here before everything is deleted, to plot it
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Deserialize)]
struct Stack {
    kafka_brokers: String,
    registry_url: String,
}

/// A command that reads the whole topic.
struct Reader {
    name: &'static str,
    command: Vec<String>,
    /// Whether it can be told by the lines it prints that it has read everything.
    prints: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut cli = Cli::parse();
    let Some(records) = lemonair_bench::records("history", &cli.scenario, cli.records)? else {
        return Ok(());
    };
    cli.records = records;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let stack: Stack = Figment::new()
        .merge(Toml::file(workspace.join(".lemonair/stack.toml")))
        .merge(Env::prefixed("LEMONAIR_").only(&["kafka_brokers", "registry_url"]))
        .extract()
        .context("find the services: run `stack/stack up`, or `make bench`")?;
    let binary = binary(&workspace)?;
    let past = Past::write(&stack.kafka_brokers, &stack.registry_url, cli.records).await?;
    let folder = std::env::temp_dir().join(format!("lemonair-{}", past.kafka.prefix));
    let measured = measure(&cli, &stack, &workspace, &binary, &past, &folder);
    std::fs::remove_dir_all(&folder).ok();
    past.delete().await?;
    measured
}

fn measure(
    cli: &Cli,
    stack: &Stack,
    workspace: &Path,
    binary: &str,
    past: &Past,
    folder: &Path,
) -> anyhow::Result<()> {
    let environment = [
        ("LEMONAIR_KAFKA_BROKERS", stack.kafka_brokers.as_str()),
        ("LEMONAIR_REGISTRY_URL", stack.registry_url.as_str()),
        ("LEMONAIR_KAFKA_PREFIX", past.kafka.prefix.as_str()),
    ];
    println!(
        "| {} chat records, {} bytes each | records/s | seconds | CPU a record | highest memory |",
        cli.records, past.size
    );
    println!("|---|---|---|---|---|");
    let mut readers = ours(binary, folder);
    if !cli.alone {
        readers.extend(theirs(stack, workspace, past)?);
    }
    let mut first = None;
    for reader in readers {
        let mut costs = Vec::new();
        for _ in 0..cli.runs.max(1) {
            std::fs::remove_dir_all(folder).ok();
            let cost = process::run(&reader.command, &environment)?;
            ensure!(
                !reader.prints || cost.lines == cli.records,
                "{} printed {} lines instead of {}",
                reader.name,
                cost.lines,
                cli.records
            );
            costs.push(cost);
        }
        costs.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let cost = &costs[costs.len() / 2];
        let first = *first.get_or_insert(cost.seconds);
        row(reader.name, cli.records, cost, first);
    }
    if let Some(keep) = &cli.keep {
        let export = ["export", "chat", "donations", "--format", "parquet", "-o"];
        let mut command = vec![binary.to_owned()];
        command.extend(export.map(str::to_owned));
        command.push(keep.display().to_string());
        process::run(&command, &environment)?;
    }
    Ok(())
}

fn ours(binary: &str, folder: &Path) -> Vec<Reader> {
    let reader = |name, arguments: &[&str], prints| Reader {
        name,
        command: [&[binary], arguments]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        prints,
    };
    let folder = folder.display().to_string();
    let export = |format| ["export", "chat", "--format", format, "-o", &folder];
    vec![
        reader("`lemonair replay` to JSON lines", &["replay", "chat"], true),
        reader("`lemonair export` to Parquet", &export("parquet"), false),
        reader("`lemonair export` to JSON lines", &export("jsonl"), false),
        reader("`lemonair export` to CSV", &export("csv"), false),
        reader("`lemonair export` to Avro", &export("avro"), false),
        reader(
            "`lemonair query`, count by room",
            &["query", "SELECT room, count(*) FROM chat GROUP BY room"],
            false,
        ),
        reader(
            "`lemonair query`, count by minute",
            &[
                "query",
                "SELECT at_ms / 60000 AS minute, count(*) FROM chat GROUP BY minute",
            ],
            false,
        ),
        reader(
            "`lemonair query`, an hour of a room",
            &[
                "query",
                "SELECT count(*), avg(length(text)) FROM chat WHERE room = 'room-7' AND at >= '2026-01-02T21:00' AND at < '2026-01-02T22:00'",
            ],
            false,
        ),
    ]
}

/// Debian's kcat is built without Avro, so it gives each record's bytes as they are.
fn theirs(stack: &Stack, workspace: &Path, past: &Past) -> anyhow::Result<Vec<Reader>> {
    let topic = past.topic();
    let output = Command::new(workspace.join("stack/peers"))
        .output()
        .context("run stack/peers")?;
    ensure!(output.status.success(), "stack/peers failed");
    let python = String::from_utf8(output.stdout)?.trim().to_owned();
    let script = workspace.join("docs/examples/consume.py");
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Ok(vec![
        Reader {
            name: "kcat -J, Avro not decoded",
            command: words(&[
                "kcat",
                "-C",
                "-q",
                "-e",
                "-J",
                "-o",
                "beginning",
                "-b",
                &stack.kafka_brokers,
                "-t",
                &topic,
            ]),
            prints: true,
        },
        Reader {
            name: "Python (confluent-kafka, its Avro deserializer) to JSON lines",
            command: words(&[
                &python,
                &script.display().to_string(),
                &stack.kafka_brokers,
                &stack.registry_url,
                &topic,
            ]),
            prints: true,
        },
    ])
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn row(name: &str, records: u64, cost: &Cost, first: f64) {
    println!(
        "| {name} | {:.0} | {:.2}{} | {:.2} µs | {} MiB |",
        records as f64 / cost.seconds,
        cost.seconds,
        if cost.seconds > first * 1.005 {
            format!(", {:.1} times the first", cost.seconds / first)
        } else {
            String::new()
        },
        cost.cpu * 1e6 / records as f64,
        cost.peak / 1024,
    );
}

/// The release build beside this benchmark's.
fn binary(workspace: &Path) -> anyhow::Result<String> {
    let own = std::env::current_exe()?;
    let release = own.ancestors().find(|folder| folder.ends_with("release"));
    let binary = release.map_or_else(
        || workspace.join("target/release/lemonair"),
        |release| release.join("lemonair"),
    );
    ensure!(
        binary.is_file(),
        "there is no {}: run `cargo build --release -p lemonair`, or `make bench`",
        binary.display()
    );
    eprintln!("measuring {}", binary.display());
    Ok(binary.display().to_string())
}
