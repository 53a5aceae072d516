//! A thousand strangers who say nothing, too little, too much or nonsense, beside a broadcast: it goes
//! on undisturbed, a new publisher gets in, and memory stays bounded. Alone in its process, whose memory
//! is looked at.

#[path = "publish/raw.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod raw;
#[path = "publish/stage.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod stage;

use std::time::Duration;

use lemonair_ingest::rtmp::chunk::kind;
use lemonair_ingest::{Config, Reason, What};
use stage::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const STRANGERS: usize = 1000;
/// What each may make us hold is 64 KiB at most, and as much again for what is to come; sockets and the
/// test itself come on top.
const MEMORY_MIB: f64 = 160.0;

/// What a stranger says before it falls silent.
fn words(n: usize) -> Vec<u8> {
    let message =
        |kind: u8, size: [u8; 3]| vec![4, 0, 0, 0, size[0], size[1], size[2], kind, 1, 0, 0, 0];
    let chunk_size = |size: u32| {
        [
            &message(kind::SET_CHUNK_SIZE, [0, 0, 4])[..],
            &size.to_be_bytes(),
        ]
        .concat()
    };
    match n % 12 {
        0 => Vec::new(),
        1 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // Half a handshake, and all of it with half a command.
        2 => raw::publish(KEY)[..2000].to_vec(),
        3 => raw::connect()[..3100].to_vec(),
        // Sizes that nobody has: of a message, of chunks, of what is held for later.
        4 => [raw::connect(), message(kind::VIDEO, [255, 255, 255])].concat(),
        5 => [raw::connect(), chunk_size(u32::MAX)].concat(),
        6 => [raw::connect(), chunk_size(1)].concat(),
        7 => [raw::publish("a-bad-key"), vec![6; 200_000]].concat(),
        // As much as is allowed, and never the end of it.
        8 => {
            let begun = message(kind::COMMAND_AMF0, [0, 0xFF, 0xF0]);
            let chunks = chunk_size(0x7FFF_FFFF);
            [raw::connect(), chunks, begun, vec![2; 60_000]].concat()
        }
        // Objects in objects, and more values than bytes.
        9 => [raw::connect(), command(&[10, 0, 0, 0, 1].repeat(10_000))].concat(),
        10 => [
            raw::connect(),
            command(&[&[10, 255, 255, 255, 255][..], &[5; 5000]].concat()),
        ]
        .concat(),
        _ => (0..5000usize).map(|i| (i * n % 251) as u8).collect(),
    }
}

fn command(payload: &[u8]) -> Vec<u8> {
    raw::write(kind::COMMAND_AMF0, 0, payload.to_vec().into())
}

/// From another address than all the others.
async fn from(address: &str, stage: &Stage) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(format!("{address}:0").parse().expect("an address"))
        .expect("bind");
    socket.connect(stage.address()).await.expect("connect")
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("a number") / 1024.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_strangers_beside_a_broadcast() {
    let config = Config {
        connections: STRANGERS + 100,
        connections_per_address: STRANGERS,
        handshake: Duration::from_secs(5),
        failed_tries: u32::MAX,
        ..Config::default()
    };
    let stage = Stage::with(config, Topic::default()).await;
    let encoder = stage.publish(KEY, &picture_and_tone(12));
    stage
        .until_playlist("a segment", |text| text.contains("#EXTINF"))
        .await;
    let before = resident_mib();

    let mut strangers = tokio::task::JoinSet::new();
    for n in 0..STRANGERS {
        let address = stage.address();
        strangers.spawn(async move {
            let mut socket = TcpStream::connect(address).await.expect("connect");
            // Some say it bit by bit.
            let bytes = words(n);
            for part in bytes.chunks(if n % 5 == 0 { 1000 } else { 1 << 20 }) {
                if socket.write_all(part).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut said = Vec::new();
            let _ = socket.read_to_end(&mut said).await;
        });
    }
    // While they are all there, an honest one gets in as if they were not.
    let mut honest = from("127.0.0.2", &stage).await;
    honest
        .write_all(&raw::publish("another-bad-key"))
        .await
        .expect("write");
    let mut said = Vec::new();
    honest.read_to_end(&mut said).await.expect("read");
    assert!(String::from_utf8_lossy(&said).contains("no such stream key"));
    let mut peak = before;
    while strangers.join_next().await.is_some() {
        peak = peak.max(resident_mib());
    }
    println!("{before:.0} MiB before, {peak:.0} MiB at most");
    assert!(peak - before < MEMORY_MIB, "{before} MiB, then {peak} MiB");

    assert_eq!(finish(encoder).await, (true, String::new()));
    stage
        .until_told(&[What::Started, What::Ended(Reason::Unpublished)])
        .await;
    let show = [
        "-count_frames",
        "-select_streams",
        "v",
        "-show_entries",
        "stream=nb_read_frames",
    ];
    let frames = probe_streams(&[&show[..], &[&stage.playlist()]].concat()).await;
    assert_eq!(frames, "300");
    assert_eq!(complaints(&stage.playlist()).await, "");
}
