//! History for analysts: many mixed records with known content, old schemas and corrupt ones among them.

mod support;

use std::process::Stdio;

use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::{EventId, Timestamp};
use serde_json::Value;
use support::evening::{evening, time};
use support::history::{BEGAN, History};
use support::viewer::Viewer;
use support::{Api, Deployment, PATIENCE};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

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

/// What comes when the command goes on as it said.
async fn go_on(deployment: &Deployment, arguments: &[&str], said: &str) -> String {
    let (_, places) = said.split_once("--resume ").expect("it says how to go on");
    let resume = ["--resume", places.trim()];
    deployment.run(&[arguments, &resume].concat()).await
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
    assert_eq!(running.interrupt().await.0, "");
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
