//! History for analysts: many mixed records with known content, old schemas and corrupt ones among them.

mod support;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::{SinkExt, StreamExt};
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{Actor, EventId, RoomId, Timestamp};
use serde_json::Value;
use support::evening::{account, evening, time};
use support::history::{BEGAN, History};
use support::viewer::Viewer;
use support::{Api, Deployment, PATIENCE, eventually};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

const TOPICS: [&str; 4] = ["replay", "lemonair.chat", "lemonair.donations", "streams"];

fn positions(lines: &str) -> Vec<(String, i64, i64)> {
    lines
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a JSON line");
            (
                line["topic"].as_str().expect("a topic").to_owned(),
                line["partition"].as_i64().expect("a partition"),
                line["offset"].as_i64().expect("an offset"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_good_record_comes_once_in_order_and_the_same_bytes_twice() {
    let deployment = Deployment::new("replay");
    let history = History::write(&deployment).await;
    let output = deployment
        .command(&TOPICS)
        .output()
        .await
        .expect("run lemonair");
    let whole = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(positions(&whole), history.good(i64::MIN..i64::MAX));
    assert_eq!(deployment.run(&TOPICS).await, whole, "the same again");

    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for (topic, partition, offset) in &history.corrupt {
        let line = format!("cannot be decoded: {topic} partition {partition} offset {offset}: ");
        assert!(stderr.contains(&line), "{line} is not in {stderr}");
    }
    let count = format!("{} records could not be decoded", history.corrupt.len());
    assert!(stderr.contains(&count), "{stderr}");

    // A slice by time is the whole filtered.
    let (from, to) = (BEGAN + history.span / 3, BEGAN + history.span / 2);
    let bounds = [Timestamp(from).to_string(), Timestamp(to).to_string()];
    let slice = [&TOPICS[..], &["--from", &bounds[0], "--to", &bounds[1]]].concat();
    assert_eq!(
        positions(&deployment.run(&slice).await),
        history.good(from..to)
    );

    // Stopped by Ctrl-C, it says how to go on.
    let mut stopped = Running::start(&deployment, &TOPICS);
    let mut first = String::new();
    for _ in 0..100 {
        first += &stopped.line().await;
    }
    let (more, stderr) = stopped.interrupt().await;
    let rest = go_on(&deployment, &TOPICS, &stderr).await;
    assert!(!rest.is_empty() && first + &more + &rest == whole);

    // So it does where it was told how far back to begin, which would be elsewhere by then.
    let from = format!("{}s", (Timestamp::now().millis() - from) / 1000);
    let slice = [&TOPICS[..], &["--from", &from, "--to", &bounds[1]]].concat();
    let mut stopped = Running::start(&deployment, &slice);
    let mut first = String::new();
    for _ in 0..100 {
        first += &stopped.line().await;
    }
    let (more, said) = stopped.interrupt().await;
    let rest = go_on(&deployment, &slice, &said).await;
    let lines = positions(&(first + &more + &rest));
    let (_, bounds) = said.split_once("--from ").expect("it says from when");
    let from: Timestamp = bounds
        .split(' ')
        .next()
        .and_then(|from| from.parse().ok())
        .expect("a time");
    assert!(lines == history.good(from.millis()..to), "{said}");
}

/// A replay that is stopped before its end.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(deployment: &Deployment, arguments: &[&str]) -> Running {
        let mut command = deployment.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("run lemonair");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Running { child, lines }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.lines.read_line(&mut line));
        read.await.expect("a line comes").expect("read");
        line
    }

    /// What it still printed, and what it said.
    async fn interrupt(mut self) -> (String, String) {
        let id = self.child.id().expect("it runs").to_string();
        let interrupt = Command::new("kill").args(["-INT", &id]).status();
        assert!(interrupt.await.expect("send SIGINT").success());
        let mut more = String::new();
        self.lines.read_to_string(&mut more).await.expect("read");
        let ended = self.child.wait_with_output().await.expect("its status");
        assert!(ended.status.success());
        (more, String::from_utf8_lossy(&ended.stderr).into_owned())
    }
}

/// The command that goes on, as it said.
fn going_on<'a>(arguments: &[&'a str], said: &'a str) -> Vec<&'a str> {
    let (_, how) = said
        .split_once("goes on with ")
        .expect("it says how to go on");
    let how: Vec<&str> = how.split_whitespace().collect();
    [arguments, &how].concat()
}

/// What comes then.
async fn go_on(deployment: &Deployment, arguments: &[&str], said: &str) -> String {
    deployment.run(&going_on(arguments, said)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_slow_pace_the_next_record_waits_for_its_time() {
    let deployment = Deployment::new("slow");
    evening(&deployment).await;
    let chat = ["replay", "chat", "--room", "mint"];
    let whole = deployment.run(&chat).await;
    // Ten seconds of that evening are a thousand now.
    let slow = [&chat[..], &["--speed", "0.01x"]].concat();
    let mut running = Running::start(&deployment, &slow);
    let first = running.line().await;
    let (more, said) = running.interrupt().await;
    assert_eq!(more, "");
    assert!(first + &go_on(&deployment, &chat, &said).await == whole);
    let quick = [&chat[..], &["--speed", "10000x"]].concat();
    assert_eq!(deployment.run(&quick).await, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_gets_what_comes() {
    let deployment = Deployment::new("follow");
    let history = History::of(&deployment, 0).await;
    let follow = ["replay", "chat", "--room", "mint", "--follow"];
    let said = async |room: &str, text: &str| {
        let message = message(Timestamp::now(), room, text);
        history.log().append(message).await.expect("append");
    };
    said("mint", "before").await;
    let mut running = Running::start(&deployment, &follow);
    assert!(running.line().await.contains("\"before\""));
    said("basil", "elsewhere").await;
    said("mint", "after").await;
    assert!(running.line().await.contains("\"after\""));
    let (more, stopped) = running.interrupt().await;
    assert_eq!(more, "");

    // What is said while nobody follows comes when somebody does again.
    said("mint", "meanwhile").await;
    let mut running = Running::start(&deployment, &going_on(&follow, &stopped));
    assert!(running.line().await.contains("\"meanwhile\""));
    said("mint", "at last").await;
    assert!(running.line().await.contains("\"at last\""));
    assert_eq!(running.interrupt().await.0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_misses_nothing_that_is_written_as_they_begin() {
    let deployment = Deployment::new("meanwhile");
    let log = History::of(&deployment, 0).await.log();
    let (stop, written) = (CancellationToken::new(), Arc::new(AtomicI64::new(0)));
    let writing = tokio::spawn({
        let (stop, written) = (stop.clone(), Arc::clone(&written));
        async move {
            while !stop.is_cancelled() {
                let message = message(Timestamp::now(), "mint", "on and on");
                let all = (0..20).map(|_| log.enqueue(&message.clone().into()));
                for pending in all.collect::<Vec<_>>() {
                    pending
                        .expect("enqueue")
                        .confirmed()
                        .await
                        .expect("written");
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    let follow = ["replay", "chat", "--room", "mint", "--follow"];
    let mut running = Running::start(&deployment, &follow);
    let mut next = 0;
    let mut until = i64::MAX;
    while next < until {
        let line = running.line().await;
        assert_eq!(positions(&line)[0].2, next);
        if next == 0 {
            until = written.load(Ordering::Relaxed) + 500;
        }
        next += 1;
    }
    stop.cancel();
    writing.await.expect("the writer");
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_hears_of_erasures() {
    let deployment = Deployment::new("forgotten");
    let log = History::of(&deployment, 0).await.log();
    let follow = ["replay", "chat", "--follow"];
    let mut running = Running::start(&deployment, &follow);
    let by_ann = Actor {
        id: account("ann"),
        name: "ann".to_owned(),
        roles: Vec::new(),
    };
    let says = async || {
        let mut message = message(Timestamp::now(), "mint", "my secret recipe");
        message.actor = Some(by_ann.clone());
        log.append(message).await.expect("append");
    };
    says().await;
    assert!(running.line().await.contains("my secret recipe"));
    let room: RoomId = "ann".parse().expect("a room");
    let erased = AccountErased::new(account("ann"), &room, Timestamp::now());
    log.append(erased).await.expect("append");
    eventually("her words are gone", async || {
        says().await;
        let line = running.line().await;
        (!line.contains("recipe") && !line.contains("\"ann\"")).then_some(())
    })
    .await;
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_is_a_slice() {
    let deployment = Deployment::new("broadcast");
    let early = message(time("19:59:59"), "mint", "too early");
    let log = History::of(&deployment, 0).await.log();
    log.append(early).await.expect("append");
    let log = evening(&deployment).await.log();
    let late = message(time("21:30:01"), "mint", "too late");
    log.append(late).await.expect("append");
    let streams = deployment.replay(&["streams"]).await;
    let id = streams[0]["id"].as_str().expect("an id");
    let topics = ["replay", "chat", "streams", "--room", "mint"];
    let broadcast = [&topics[..], &["--from", id, "--to", id]].concat();
    let whole = deployment.run(&topics).await;
    let slice = deployment.run(&broadcast).await;
    let without = whole.lines().filter(|line| !line.contains("\"too "));
    assert_eq!(whole.lines().count(), slice.lines().count() + 2);
    assert!(slice.lines().eq(without));
}

fn message(at: Timestamp, room: &str, text: &str) -> MessagePosted {
    MessagePosted {
        id: EventId::new(),
        at,
        room: room.parse().expect("a room"),
        actor: None,
        text: text.to_owned(),
        nonce: None,
        reply_to: None,
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line() {
    let deployment = Deployment::new("refused");
    let history = History::of(&deployment, 10).await;
    for (arguments, says) in [
        (vec!["replay", "lemonair.chatt"], "no topic"),
        (vec!["replay", "lemonair.commands"], "holds no events"),
        (
            vec!["replay", "chat", "--type", "chat.mesage"],
            "chat.message",
        ),
        (
            vec![
                "replay",
                "chat",
                "--from",
                "018bcfe5-6800-7000-8000-00000000ffff",
            ],
            "no broadcast",
        ),
        (
            vec!["replay", "chat", "--to-topic", history.prefix()],
            "history itself",
        ),
        (
            vec!["replay", "chat", "--as-room", "stage"],
            "--to-topic or --to-ws",
        ),
    ] {
        let line = deployment.refused(&arguments).await;
        assert!(line.contains(says), "{arguments:?}: {line}");
    }
    // A slice with nothing in it is no error.
    let nothing = ["replay", "chat", "--from", "2040-01-01T00:00:00Z"];
    assert_eq!(deployment.run(&nothing).await, "");
}

#[tokio::test]
async fn an_old_evening_is_played_into_another_deployment() {
    let old = Deployment::new("old");
    let history = History::of(&old, 300).await;
    let new = Deployment::new("new");
    let prefix = new.prefix().to_owned();
    let play = [&TOPICS[..], &["--to-topic", &prefix, "--as-room", "stage"]].concat();
    assert_eq!(old.run(&play).await, "");
    let ids = |lines: &str| {
        let ids = lines.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("a JSON line");
            line["id"].as_str().expect("an id").to_owned()
        });
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        ids
    };
    let played = new.run(&TOPICS).await;
    assert!(
        played
            .lines()
            .all(|line| line.contains("\"room\":\"stage\""))
    );
    assert_eq!(ids(&played), ids(&old.run(&TOPICS).await));
    assert_eq!(ids(&played).len(), history.good(i64::MIN..i64::MAX).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_evening_is_played_into_a_room() {
    let old = Deployment::new("evening");
    let history = History::of(&old, 1).await;
    for text in ["one", "two", "three"] {
        let message = message(Timestamp(BEGAN), "basil", text);
        history.log().append(message).await.expect("append");
    }
    let new = Deployment::new("stage");
    let mut lemonair = new.start("up").await;
    Api::sign_up(&lemonair.http, "stage").await;
    let mut viewer = Viewer::join(&lemonair.ws(), "stage", None, None).await;
    let token = new.run(&["token", "player"]).await;
    let url = lemonair.ws();
    let play = [
        "replay",
        "chat",
        "--room",
        "basil",
        "--to-ws",
        &url,
        "--as-room",
        "stage",
    ];
    old.run(&[&play[..], &["--token", token.trim()]].concat())
        .await;
    viewer
        .until_count("all that was said", "chat.message", 3)
        .await;
    assert_eq!(viewer.texts(), ["one", "two", "three"]);
    lemonair.kill().await;
}

#[tokio::test]
async fn who_is_cut_off_says_how_to_go_on() {
    let deployment = Deployment::new("unheard");
    let history = History::of(&deployment, 0).await;
    for text in ["one", "two", "three"] {
        let message = message(Timestamp(BEGAN), "basil", text);
        history.log().append(message).await.expect("append");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("its address"));
    // Lets in, takes a message, and hangs up at the next.
    let gateway = async {
        let (stream, _) = listener.accept().await.expect("a caller");
        let mut socket = accept_async(stream).await.expect("a handshake");
        for answer in ["joined", "ack"] {
            let frame = socket.next().await.expect("a frame").expect("of text");
            let asked: Value = serde_json::from_str(frame.to_text().expect("text")).expect("JSON");
            let answer = serde_json::json!({ "type": answer, "id": asked["id"] });
            let answer = Message::text(answer.to_string());
            socket.send(answer).await.expect("answer");
        }
        socket.next().await;
    };
    let to = ["--to-ws", &url, "--as-room", "stage", "--token", "any"];
    let arguments = [&["replay", "chat"], &to[..]].concat();
    let (said, ()) = tokio::join!(deployment.refused(&arguments), gateway);
    let how = said.lines().find(|line| line.contains("goes on with"));
    let rest = go_on(&deployment, &["replay", "chat"], how.expect("a place")).await;
    let texts: Vec<Value> = rest
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a JSON line")["text"].clone())
        .collect();
    assert_eq!(texts, ["two", "three"], "{said}");
}
