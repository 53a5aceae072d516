//! What a publisher costs: CPU and memory of ingest for one 720p stream of 2 and of 6 Mbit/s, and how
//! soon viewers have something. `cargo bench -p lemonair-ingest`; other kilobits a second can follow
//! `--`.

#![expect(
    clippy::print_stdout,
    reason = "it prints figures and has nothing else to do"
)]

#[path = "../tests/publish/stage.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod stage;

use std::process::Command;

use stage::{KEY, Stage, get};
use tokio::time::Instant;

/// Longer than the window, so that memory has reached its size.
const SECONDS: u32 = 60;
/// Of `/proc/self/stat`; fixed on Linux.
const TICKS_A_SECOND: f64 = 100.0;

fn main() {
    let mut bitrates: Vec<u32> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    if bitrates.is_empty() {
        bitrates = vec![2000, 6000];
    }
    for bitrate in bitrates {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(measure(bitrate));
    }
}

async fn measure(bitrate: u32) {
    let stage = Stage::new().await;
    let film = stage.data.join("film.flv");
    let film = film.to_str().expect("UTF-8");
    encode(film, bitrate, SECONDS);
    let (cpu, memory) = (cpu_seconds(), resident_mib());
    let begin = Instant::now();
    let encoder = stage.publish(KEY, &format!("-re -i {film} -c copy"));
    let (mut first, mut peak) = (None, memory);
    loop {
        // Seldom, so that looking costs nothing beside what is looked at.
        let pause = if first.is_none() { 10 } else { 1000 };
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        if first.is_none() && get(&stage.playlist()).await.status() == 200 {
            first = Some(begin.elapsed());
        }
        peak = resident_mib().max(peak);
        if begin.elapsed().as_secs() >= u64::from(SECONDS) - 1 {
            break;
        }
    }
    let cpu = cpu_seconds() - cpu;
    let share = 100.0 * cpu / begin.elapsed().as_secs_f64();
    println!("{bitrate} kbit/s, 1280x720, 30 frames/s, a key frame every 2 s, {SECONDS} s:");
    println!(
        "  CPU of ingest       {cpu:.2} s, {share:.2} % of a core (thumbnails' children apart)"
    );
    println!("  memory              {memory:.1} MiB before, {peak:.1} MiB at most");
    println!(
        "  publish to playable {:.2} s",
        first.expect("a segment").as_secs_f64()
    );
    stage::kill(encoder).await;
}

fn encode(film: &str, bitrate: u32, seconds: u32) {
    let rate = format!("{bitrate}k");
    let status = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-nostdin",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=1280x720:rate=30",
        ])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=sample_rate=48000",
            "-t",
            &seconds.to_string(),
        ])
        .args([
            "-vf",
            "noise=alls=20:allf=t",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ])
        .args([
            "-pix_fmt", "yuv420p", "-g", "60", "-b:v", &rate, "-minrate", &rate,
        ])
        .args([
            "-maxrate", &rate, "-bufsize", &rate, "-c:a", "aac", "-b:a", "128k", "-y", film,
        ])
        .status();
    assert!(status.expect("ffmpeg").success());
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    // The name in brackets may hold spaces; user and system time are the 12th and 13th behind it.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_A_SECOND
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    let kib = line
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
