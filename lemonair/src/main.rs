//! The one binary: reads the settings and runs the services, or one command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks to its terminal"
)]

mod backstage;
mod bucket;
mod command;
mod seat;
mod services;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::settings::Settings;

/// Live broadcasts over RTMP, HLS and WebSocket, with every event on Kafka.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    /// Settings file, lemonair.toml unless given; every setting also has an environment variable LEMONAIR_…
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all services in one process
    Up,
    /// Run the gateway alone: WebSocket, HTTP, pages
    Gateway,
    /// Run ingest alone: RTMP in, HLS out
    Ingest,
    /// Run the projections alone: topics into MySQL
    Project,
    /// Run the decider alone: commands into events
    Decide,
    /// Build a read model again from the topics, beside the live one
    Rebuild(command::rebuild::Rebuild),
    /// Take read models into files, for when a topic is trimmed: all of them or one; list, prune
    Snapshot(command::snapshot::SnapshotCommand),
    /// Print events as JSON lines, in one deterministic order
    Replay(command::replay::Replay),
    /// Records that could not be decoded or applied: list, show, retry, drop
    #[command(subcommand)]
    Dlq(command::dlq::Dlq),
    /// Write events into files: Parquet, Avro, JSON lines or CSV
    Export(command::export::Export),
    /// Ask the topics, or an export of them, in SQL
    Query(command::query::Query),
    /// Print an access token; the account is created if it is missing
    Token(command::token::Token),
    /// Create, show and change accounts
    #[command(subcommand)]
    Account(command::account::Account),
    /// Show channels
    #[command(subcommand)]
    Channel(command::channel::Channel),
    /// Stream keys
    #[command(subcommand)]
    Key(command::key::Key),
    /// The ledger of points
    #[command(subcommand)]
    Ledger(command::ledger::Ledger),
    /// Show how everything is: services, read models, rebuilds, dead letters
    Status(command::status::Status),
    /// Check the settings and every backing service
    Doctor,
}

/// A setting or an argument is wrong: EX_USAGE of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = match Settings::load(cli.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("lemonair: {error}");
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = settings.start_logs() {
        eprintln!("lemonair: {error}");
        return ExitCode::from(USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lemonair: start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli.command, settings));
    // Blocking calls into librdkafka may still be waiting for a broker that is gone.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lemonair: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once: some errors quote their cause already.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            line = if line.is_empty() {
                cause
            } else {
                format!("{line}: {cause}")
            };
        }
    }
    line.replace('\n', " ")
}

async fn run(command: Command, settings: Settings) -> anyhow::Result<()> {
    match command {
        Command::Up => services::up(settings).await,
        Command::Gateway => services::gateway(settings).await,
        Command::Ingest => services::ingest(settings).await,
        Command::Project => services::project(settings).await,
        Command::Decide => services::decide(settings).await,
        Command::Rebuild(rebuild) => rebuild.run(&settings).await,
        Command::Snapshot(snapshot) => snapshot.run(&settings).await,
        Command::Replay(replay) => replay.run(&settings).await,
        Command::Dlq(dlq) => dlq.run(&settings).await,
        Command::Export(export) => export.run(&settings).await,
        Command::Query(query) => query.run(&settings).await,
        Command::Token(token) => token.run(&settings).await,
        Command::Account(account) => account.run(&settings).await,
        Command::Channel(channel) => channel.run(&settings).await,
        Command::Key(key) => key.run(&settings).await,
        Command::Ledger(ledger) => ledger.run(&settings).await,
        Command::Status(status) => status.run(&settings).await,
        Command::Doctor => command::doctor::run(&settings).await,
    }
}
