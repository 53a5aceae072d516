//! What was measured, and on what.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::crowd::Tally;
use crate::server::Usage;

/// One run of one scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    /// Whether everybody got everything, once, in one order.
    pub(crate) verdict: String,
    /// How much in how long.
    pub(crate) speed: String,
    /// CPU of the server for each of them.
    pub(crate) cost: String,
    /// From sending to having.
    pub(crate) latency: String,
    pub(crate) memory: String,
}

const HEAD: [&str; 6] = [
    "scenario",
    "verdict",
    "speed",
    "server's CPU",
    "latency p50 / p99 / max",
    "memory",
];

impl Row {
    fn cells(&self) -> [&str; 6] {
        [
            &self.scenario,
            &self.verdict,
            &self.speed,
            &self.cost,
            &self.latency,
            &self.memory,
        ]
    }

    pub(crate) fn line(&self) -> String {
        self.cells().join(" · ")
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for row in rows {
        writeln!(table, "| {} |", row.cells().join(" | ")).ok();
    }
    table
}

/// Processor, load and commit: figures mean little without them.
pub(crate) fn machine(workspace: &Path, unpinned: bool) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpu
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(workspace)
        .output();
    let commit = commit.map(|commit| String::from_utf8_lossy(&commit.stdout).trim().to_owned());
    format!(
        "{}, {cores} cores, load {load}; commit {}. The server {}; the crowd, Kafka, registry and database on the same machine.\n",
        model.map_or("a processor", |(_, model)| model),
        commit.unwrap_or_default(),
        if unpinned {
            "uses all cores"
        } else {
            "has one core"
        },
    )
}

pub(crate) fn latency(tally: &Tally) -> String {
    let quantile = |share| millis(tally.latencies.quantile(share));
    format!(
        "{} / {} / {}",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0 - 1e-12)
    )
}

pub(crate) fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 100.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

/// CPU between two looks, for each of `count`.
pub(crate) fn micros_each(before: Usage, after: Usage, count: u64) -> String {
    let micros = (after.cpu - before.cpu).as_secs_f64() * 1e6 / count.max(1) as f64;
    if micros < 10.0 {
        format!("{micros:.2} µs")
    } else {
        format!("{micros:.0} µs")
    }
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}
