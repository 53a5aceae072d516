//! Runs a command, and tells what it cost.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// Seconds of processors, in the program and for it in the kernel.
    pub(crate) cpu: f64,
    /// KiB, as seen now and then.
    pub(crate) peak: u64,
    /// That it printed.
    pub(crate) lines: u64,
}

const LOOK: Duration = Duration::from_millis(10);

/// In which the kernel tells of a second.
const TICKS: f64 = 100.0;

/// Its output is read, counted and dropped.
pub(crate) fn run(command: &[String], environment: &[(&str, &str)]) -> anyhow::Result<Cost> {
    let context = || format!("run {}", command.join(" "));
    let began = Instant::now();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(context)?;
    let mut out = child.stdout.take().context("its output")?;
    let counting = std::thread::spawn(move || {
        let (mut buffer, mut lines) = (vec![0; 1 << 20], 0);
        loop {
            match out.read(&mut buffer) {
                Ok(0) | Err(_) => return lines,
                Ok(read) => lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64,
            }
        }
    });
    let process = format!("/proc/{}", child.id());
    let pid = rustix::process::Pid::from_child(&child);
    let options = rustix::process::WaitIdOptions::EXITED
        | rustix::process::WaitIdOptions::NOHANG
        | rustix::process::WaitIdOptions::NOWAIT;
    let mut peak = 0;
    // It is looked at once more when it has ended, before it is gone.
    while rustix::process::waitid(rustix::process::WaitId::Pid(pid), options)?.is_none() {
        peak = peak.max(memory(&process).unwrap_or(0));
        std::thread::sleep(LOOK);
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu(&process)?;
    let ended = child.wait()?;
    ensure!(ended.success(), "{} failed: {ended}", context());
    Ok(Cost {
        seconds,
        cpu,
        peak,
        lines: counting.join().unwrap_or(0),
    })
}

fn memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "seconds")]
fn cpu(process: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("{process}/stat"))?;
    // The name before it may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a line of the kernel's")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / TICKS)
}
