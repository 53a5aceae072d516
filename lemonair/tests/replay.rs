//! History for analysts: many mixed records with known content, old schemas and corrupt ones among them.

mod support;

use std::process::Stdio;

use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::{EventId, Timestamp};
use serde_json::Value;
use support::history::{BEGAN, History};
use support::viewer::Viewer;
use support::{Api, Deployment};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

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
    let mut child = deployment
        .command(&TOPICS)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run lemonair");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    for _ in 0..100 {
        lines.read_line(&mut first).await.expect("a line");
    }
    let id = child.id().expect("it runs").to_string();
    let interrupt = tokio::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(interrupt.await.expect("send SIGINT").success());
    lines.read_to_string(&mut first).await.expect("the rest");
    let ended = child.wait_with_output().await.expect("its exit status");
    assert!(ended.status.success());
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    let (_, places) = stderr
        .split_once("--resume ")
        .expect("it says how to go on");
    let go_on = [&TOPICS[..], &["--resume", places.trim()]].concat();
    let rest = deployment.run(&go_on).await;
    assert!(!rest.is_empty() && first + &rest == whole);
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
        let message = MessagePosted {
            id: EventId::new(),
            at: Timestamp(BEGAN),
            room: "basil".parse().expect("a room"),
            actor: None,
            text: text.to_owned(),
            nonce: None,
        };
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
