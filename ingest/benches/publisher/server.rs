//! Who is measured: ourselves, in this process, or MediaMTX beside us.

use std::ffi::OsStr;
use std::fs::read_to_string;
use std::net::TcpListener;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::stage::{KEY, Stage, until};

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) rtmp: String,
    pub(crate) playlist: String,
    process: u32,
    /// Ends with it.
    _stage: Option<Stage>,
    _child: Option<Child>,
}

/// Of `/proc/*/stat`; fixed on Linux.
const TICKS_A_SECOND: f64 = 100.0;

impl Server {
    pub(crate) async fn lemonair() -> Server {
        let stage = Stage::new().await;
        Server {
            name: "Lemonair",
            rtmp: format!("rtmp://{}/live/{KEY}", stage.address()),
            playlist: stage.playlist(),
            process: std::process::id(),
            _stage: Some(stage),
            _child: None,
        }
    }

    /// As it comes: low latency, and a playlist from the first viewer on or, here, always.
    pub(crate) async fn mediamtx(program: &OsStr) -> Server {
        let [rtmp, hls] = [free_address(), free_address()];
        let child = Command::new(program)
            .env("MTX_LOGLEVEL", "error")
            .envs(["RTSP", "WEBRTC", "SRT"].map(|other| (format!("MTX_{other}"), "no")))
            .envs([("MTX_RTMPADDRESS", &rtmp), ("MTX_HLSADDRESS", &hls)])
            .envs([
                ("MTX_HLSALWAYSREMUX", "yes"),
                ("MTX_PATHS_ALL_OTHERS_SOURCE", "publisher"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("run LEMONAIR_MEDIAMTX");
        until("MediaMTX listens", || async {
            tokio::net::TcpStream::connect(&rtmp).await.ok()
        })
        .await;
        Server {
            name: "MediaMTX",
            rtmp: format!("rtmp://{rtmp}/live/{KEY}"),
            playlist: format!("http://{hls}/live/{KEY}/index.m3u8"),
            process: child.id().expect("it runs"),
            _stage: None,
            _child: Some(child),
        }
    }

    /// Seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = read_to_string(format!("/proc/{}/stat", self.process)).expect("it runs");
        // The name in brackets may hold spaces; user and system time are the 12th and 13th behind it.
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let ticks = fields
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok());
        ticks.sum::<f64>() / TICKS_A_SECOND
    }

    /// Mebibytes now.
    pub(crate) fn memory(&self) -> f64 {
        let status = read_to_string(format!("/proc/{}/status", self.process)).expect("it runs");
        let mut lines = status.lines();
        let line = lines
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        let kib = line
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}
