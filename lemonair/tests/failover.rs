//! A gateway is killed under load, and everybody goes on at another one.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use serde_json::Value;
use support::viewer::Viewer;
use support::{Api, Deployment, eventually};

const VIEWERS: usize = 40;
const SENDERS: usize = 8;
/// Messages of each sender.
const MESSAGES: usize = 40;

/// Watches until it has seen so many messages, whatever happens to its connection; all it was shown.
async fn watch(mut viewer: Viewer, refuge: String) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    loop {
        let shown = seen.len() + viewer.seen.len();
        if shown >= SENDERS * MESSAGES {
            seen.append(&mut viewer.seen);
            return seen;
        }
        if viewer.closed.is_some() {
            seen.append(&mut viewer.seen);
            viewer = Viewer::join(&refuge, "mint", None, Some(&viewer.cursor)).await;
            assert!(viewer.recovered);
        } else {
            viewer.receive().await;
        }
    }
}

/// Says all it has to say, each until it is acked; the events that acks named.
async fn talk(
    mut viewer: Viewer,
    refuge: String,
    token: Option<String>,
    name: String,
    acked: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut events = Vec::new();
    for n in 0..MESSAGES {
        let nonce = format!("{name} {n}");
        let answer = loop {
            if let Some(answer) = viewer.try_chat("mint", &nonce, &nonce).await {
                break answer;
            }
            viewer = Viewer::join(&refuge, "mint", token.as_deref(), Some(&viewer.cursor)).await;
        };
        assert_eq!(answer["type"], "ack", "{answer}");
        events.push(answer["event"].as_str().expect("an id").to_owned());
        acked.fetch_add(1, Ordering::Relaxed);
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_under_load_costs_nobody_a_message() {
    let deployment = Deployment::new("failover")
        .with("LEMONAIR_CHAT_PER_SECOND", "1000")
        .with("LEMONAIR_CHAT_BURST", "1000");
    let up = deployment.start("up").await;
    let mut doomed = deployment.start("gateway").await;
    let refuge = deployment.start("gateway").await;
    Api::sign_up(&up.http, "mint").await;
    // Half of them on each; nobody has anything to recover yet.
    let places = [doomed.ws(), refuge.ws()];
    let acked = Arc::new(AtomicUsize::new(0));
    let mut watching = Vec::new();
    for n in 0..VIEWERS {
        let viewer = Viewer::join(&places[n % 2], "mint", None, None).await;
        watching.push(tokio::spawn(watch(viewer, refuge.ws())));
    }
    let mut talking = Vec::new();
    for n in 0..SENDERS {
        let name = format!("talker{n}");
        let token = Api::sign_up(&up.http, &name).await.token;
        let viewer = Viewer::join(&places[n % 2], "mint", token.as_deref(), None).await;
        let acked = Arc::clone(&acked);
        talking.push(tokio::spawn(talk(viewer, refuge.ws(), token, name, acked)));
    }
    eventually("it is busy", async || {
        (acked.load(Ordering::Relaxed) > SENDERS * MESSAGES / 3).then_some(())
    })
    .await;
    doomed.kill().await;
    let acks = join_all(talking).await;
    let acks: Vec<String> = acks
        .into_iter()
        .flat_map(|events| events.expect("no talker fails"))
        .collect();

    // What was acked is on the topic, once.
    let topic = deployment.replay(&["lemonair.chat"]).await;
    let ids: Vec<&str> = topic
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    let unique: HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    assert_eq!(
        acks.iter().collect::<HashSet<_>>().len(),
        SENDERS * MESSAGES
    );
    assert!(acks.iter().all(|event| unique.contains(event.as_str())));
    // And everybody saw the topic's order, without gap or repeat: of what was sent twice, the first.
    let mut nonces = HashSet::new();
    let firsts = topic
        .iter()
        .filter(|event| nonces.insert(event["nonce"].as_str().expect("a nonce")));
    let order: Vec<&str> = firsts.filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(order.len(), SENDERS * MESSAGES);
    for seen in join_all(watching).await {
        let seen = seen.expect("no viewer fails");
        let seen: Vec<&str> = seen
            .iter()
            .filter_map(|event| event["id"].as_str())
            .collect();
        assert_eq!(seen, order);
    }
    assert_eq!(refuge.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_back_costs_one_read_of_the_topics() {
    let deployment = Deployment::new("storm");
    let mut up = deployment.start("up").await;
    let sender = Api::sign_up(&up.http, "mint").await;
    let token = sender.token.as_deref();
    // From here on no read model moves: whoever opens the room needs the topics for all of it.
    up.kill().await;
    let mut doomed = deployment.start("gateway").await;
    let mut talker = Viewer::join(&doomed.ws(), "mint", token, None).await;
    let cursor = talker.cursor.clone();
    for n in 0..5 {
        assert_eq!(talker.chat("mint", &n.to_string()).await["type"], "ack");
    }
    doomed.kill().await;
    let refuge = deployment.start("gateway").await;
    let back = (0..20).map(async |_| {
        let viewer = Viewer::join(&refuge.ws(), "mint", token, Some(&cursor)).await;
        assert!(viewer.recovered);
        assert_eq!(viewer.texts(), ["0", "1", "2", "3", "4"]);
    });
    join_all(back).await;
    let metrics = reqwest::get(format!("{}/metrics", refuge.http)).await;
    let metrics = metrics.expect("an answer").text().await.expect("a page");
    let reads: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("lemonair_topic_reads_total"))
        .collect();
    assert_eq!(reads, ["lemonair_topic_reads_total 1"]);
}
