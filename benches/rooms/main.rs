//! What a crowd costs the gateway. Starts the real `lemonair up` on one core and plays the crowd on another.
//!
//! `cargo bench -p lemonair-bench` runs every scenario once at the sizes below, except `sent`, which
//! takes long. `-- spike=5000 room=100,500` runs scenarios by name, at sizes of one's own.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints figures and has nothing else to do"
)]

mod crowd;
mod dialect;
mod latency;
mod report;
mod scenario;
mod server;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Parser;

use crate::dialect::Dialect;
use crate::report::Row;
use crate::scenario::{SCENARIOS, Scenario};
use crate::server::{Server, Stack};

/// Measures the gateway's rooms: what a crowd costs the real binary on the real broker.
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Cli {
    /// Scenarios, each with sizes if not the usual: spike=N room=EACH[,MEMBERS] paced=RATE[,SECONDS]
    /// gentle=RATE[,MEMBERS] idle=N rooms=N[,1 if they are logged in] slow=RATE[,SECONDS]
    /// storm=N sent=EACH[,MEMBERS]
    scenarios: Vec<String>,
    /// How often each is run
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Run this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Play the same against this Centrifugo, where it can be asked for the same
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Leave the server free to use all cores
    #[arg(long)]
    unpinned: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let binary = match &cli.binary {
        Some(binary) => binary.canonicalize().context("--binary")?,
        None => build(&workspace)?,
    };
    let stack = Stack::find(&workspace)?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
        .context("raise ulimit -n")?;
    let usual: Vec<String> = SCENARIOS.iter().map(|usual| (*usual).to_owned()).collect();
    let chosen = if cli.scenarios.is_empty() {
        &usual
    } else {
        &cli.scenarios
    };
    let chosen: Vec<Scenario> = chosen
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores > 1, "the server and the crowd need a core each");
    server::pin(1..cores)?;
    let mut rows: Vec<Row> = Vec::new();
    let peer = cli.peer.map(|peer| peer.canonicalize().context("--peer"));
    let peer = peer.transpose()?;
    for scenario in chosen {
        let mut servers = vec![(Dialect::Lemonair, &binary)];
        if let Some(peer) = peer.as_ref().filter(|_| scenario.has_peer()) {
            servers.push((Dialect::Centrifugo, peer));
        }
        for (dialect, binary) in servers.repeat(cli.times) {
            let server_cores = if cli.unpinned { 0..cores } else { 0..1 };
            let mut server = Server::start(dialect, binary, &workspace, &stack, server_cores)?;
            let mut row = scenario.play(&mut server)?;
            row.scenario.insert_str(0, &dialect.to_string());
            eprintln!("{}", row.line());
            rows.push(row);
            server.stop()?;
        }
    }
    println!("{}", report::machine(&workspace, cli.unpinned));
    println!("{}", report::table(&rows));
    Ok(())
}

/// The binary as people run it.
fn build(workspace: &Path) -> anyhow::Result<PathBuf> {
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "-p",
            "lemonair",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(workspace)
        .output()
        .context("run cargo")?;
    ensure!(
        built.status.success(),
        "build lemonair: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    let binary = built
        .stdout
        .split(|byte| *byte == b'\n')
        .rev()
        .find_map(|line| {
            let message: serde_json::Value = serde_json::from_slice(line).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        });
    binary.context("cargo names no binary")
}
