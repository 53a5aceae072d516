//! A publisher that sends each frame at its very time, in a process of its own.

use std::process::Stdio;
use std::time::Duration;

use lemonair_ingest::rtmp::{Client, Media, MediaKind, StreamKey};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};

/// Returns when it sends its first frame.
pub(crate) async fn start(url: &str, film: &str) -> (Child, Instant) {
    let mut child = Command::new(std::env::current_exe().expect("ourselves"))
        .args(["publish", url, film])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run ourselves");
    let stdout = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    lines.next_line().await.expect("a line").expect("it begins");
    (child, Instant::now())
}

pub(crate) async fn run(url: &str, film: &str) {
    let (host, path) = url
        .trim_start_matches("rtmp://")
        .split_once('/')
        .expect("a path");
    let (app, key) = path.split_once('/').expect("a key");
    let film = std::fs::read(film).expect("the film");
    let mut client = Client::new(
        app,
        &format!("rtmp://{host}/{app}"),
        StreamKey(key.to_owned()),
    );
    let mut socket = TcpStream::connect(host).await.expect("connect");
    socket.set_nodelay(true).expect("a socket");
    let mut said = vec![0; 4096];
    while !client.is_live() {
        socket.write_all(&client.output()).await.expect("write");
        let len = socket.read(&mut said).await.expect("read");
        client.handle(&said[..len]).expect("let in");
    }
    let begun = Instant::now();
    println!("on air");
    for media in tags(&film) {
        let due = begun + Duration::from_millis(media.timestamp.into());
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                read = socket.read(&mut said) => {
                    let len = read.expect("read");
                    assert!(len > 0, "the line was closed");
                    client.handle(&said[..len]).expect("an answer");
                }
            }
        }
        client.media(&media);
        socket.write_all(&client.output()).await.expect("write");
    }
}

/// The tags of an FLV file, behind its head and the length of the one before each.
fn tags(mut film: &[u8]) -> Vec<Media> {
    let mut tags = Vec::new();
    film = &film[9..];
    while let [
        _,
        _,
        _,
        _,
        kind,
        a,
        b,
        c,
        t2,
        t1,
        t0,
        t3,
        _,
        _,
        _,
        rest @ ..,
    ] = film
    {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        tags.push(Media {
            kind: match kind {
                8 => MediaKind::Audio,
                9 => MediaKind::Video,
                _ => MediaKind::Data,
            },
            timestamp: u32::from_be_bytes([*t3, *t2, *t1, *t0]),
            payload: rest[..len].to_vec().into(),
        });
        film = &rest[len..];
    }
    tags
}
