//! What a publisher and its viewers cost, and how soon they see something: CPU and memory of ingest
//! for one 720p stream of 2 and of 6 Mbit/s, the time to the first segment and picture, how far
//! low-latency viewers are behind, and what a request costs. `cargo bench --bench publisher`; other
//! kilobits a second can follow `--`. With `LEMONAIR_MEDIAMTX=/path/to/mediamtx` the same is measured
//! of that, in the same run.

#![expect(
    clippy::print_stdout,
    reason = "it prints figures and has nothing else to do"
)]

mod publisher;
mod server;
#[path = "../../tests/publish/stage.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod stage;
mod viewer;

use std::time::Duration;

use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use server::Server;
use viewer::Playlists;

/// Longer than the window, so that memory has reached its size.
const SECONDS: u64 = 60;
/// From its start on a publisher is watched so long, and then left alone. Less than what any of them
/// lists.
const WATCHED: u64 = 12;
/// Then viewers take what they can.
const CROWD: usize = 1000;
const CROWD_SECONDS: u64 = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Runtime::new().expect("a runtime");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The parts of others are played by processes of their own, whose CPU is not counted.
        ["publish", url, film] => runtime.block_on(publisher::run(url, film)),
        ["crowd", playlist, len] => runtime.block_on(viewer::crowd(playlist, len)),
        _ => runtime.block_on(measure(&arguments)),
    }
}

async fn measure(arguments: &[String]) {
    let mut bitrates: Vec<u32> = arguments
        .iter()
        .filter_map(|one| one.parse().ok())
        .collect();
    if bitrates.is_empty() {
        bitrates = vec![2000, 6000];
    }
    let peer = std::env::var_os("LEMONAIR_MEDIAMTX");
    if peer.is_none() {
        println!("MediaMTX: not measured (LEMONAIR_MEDIAMTX names no program)");
    }
    for bitrate in bitrates {
        let film =
            std::env::temp_dir().join(format!("lemonair-{}-{bitrate}.flv", std::process::id()));
        let film = film.to_str().expect("UTF-8");
        encode(film, bitrate).await;
        println!("{bitrate} kbit/s, 1280x720, 30 frames/s, a key frame every 2 s:");
        let server = Server::lemonair().await;
        tell(&server, film).await;
        drop(server);
        if let Some(program) = &peer {
            tell(&Server::mediamtx(program).await, film).await;
        }
        std::fs::remove_file(film).expect("the film");
    }
}

async fn tell(server: &Server, film: &str) {
    let idle = server.memory();
    let (publisher, begun) = publisher::start(&server.rtmp, film).await;
    let first = async {
        viewer::first_segment(&server.playlist).await;
        begun.elapsed()
    };
    let picture = async {
        viewer::first_picture(&server.playlist).await;
        begun.elapsed()
    };
    let (first, picture) = tokio::join!(first, picture);
    let playlists = Playlists::find(&server.playlist).await;
    let behind = viewer::behind(&playlists, begun, Duration::from_secs(WATCHED)).await;

    sleep(Duration::from_secs(WATCHED + 5).saturating_sub(begun.elapsed())).await;
    let (since, cpu) = (begun.elapsed(), server.cpu());
    sleep(Duration::from_secs(SECONDS).saturating_sub(begun.elapsed())).await;
    let share = (server.cpu() - cpu) / (begun.elapsed() - since).as_secs_f64();
    let memory = server.memory();

    let cpu = server.cpu();
    let crowd = viewer::watch_crowd(&playlists).await;
    let cpu = server.cpu() - cpu;
    drop(publisher);

    let seconds = |duration: Duration| duration.as_secs_f64();
    println!("  {}:", server.name);
    println!(
        "    CPU                        {:.2} % of a core (without children)",
        100.0 * share
    );
    println!(
        "    memory                     {idle:.1} MiB before, {memory:.1} MiB after {SECONDS} s"
    );
    println!("    publish to first segment   {:.2} s", seconds(first));
    println!(
        "    publish to first picture   {:.2} s (ffmpeg plays)",
        seconds(picture)
    );
    match behind {
        Some(behind) => println!(
            "    picture to viewer          {:.2} s median, {:.2} s at most; shown {:.2} s later, as its playlist asks: {:.2} s from glass to glass, encoder and decoder apart",
            seconds(behind.median),
            seconds(behind.most),
            seconds(behind.hold_back),
            seconds(behind.median + behind.hold_back),
        ),
        None => println!("    picture to viewer          no parts"),
    }
    println!(
        "    {CROWD} viewers take         {:.2} Gbit/s a core, {:.0} µs CPU a request of {:.0} kB",
        crowd.bytes as f64 * 8.0 / 1e9 / cpu,
        1e6 * cpu / crowd.requests as f64,
        crowd.bytes as f64 / 1e3 / crowd.requests as f64,
    );
}

async fn encode(film: &str, bitrate: u32) {
    let rate = format!("{bitrate}k");
    let seconds = (SECONDS + CROWD_SECONDS + 5).to_string();
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"];
    let sound = ["-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(picture)
        .args(sound)
        .args(["-t", &seconds, "-vf", "noise=alls=20:allf=t"])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
        ])
        .args(["-g", "60", "-sc_threshold", "0"])
        .args([
            "-b:v", &rate, "-minrate", &rate, "-maxrate", &rate, "-bufsize", &rate,
        ])
        .args(["-c:a", "aac", "-b:a", "128k", "-y", film])
        .status();
    assert!(status.await.expect("ffmpeg").success());
}
