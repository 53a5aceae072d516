//! A topic is kept for some time only: snapshots hold what it does not tell any more, and nobody is
//! shown half of a history as if it were all.

mod support;

use std::collections::BTreeSet;

use lemonair_consumers::watermarks;
use lemonair_schemas::Topic;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::Offset;
use serde_json::Value;
use support::viewer::Viewer;
use support::{Api, Deployment, eventually};

/// Has Kafka forget all chat there is, as it does when its time is over.
async fn trim(deployment: &Deployment) {
    let kafka = deployment.kafka();
    let mut list = TopicPartitionList::new();
    for mark in watermarks(&kafka, &[Topic::Chat]).await.expect("marks") {
        let name = mark.topic.in_kafka(&kafka.prefix);
        list.add_partition_offset(&name, mark.partition, Offset::Offset(mark.high))
            .expect("a partition");
    }
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().expect("a client");
    let options = AdminOptions::new();
    admin
        .delete_records(&list, &options)
        .await
        .expect("trimmed");
}

async fn stored(api: &Api, count: usize) -> Vec<Value> {
    eventually("all is stored", async || {
        let page = api.get("/api/channels/mint/messages").await;
        let messages = page["messages"].as_array()?.clone();
        (messages.len() == count).then_some(messages)
    })
    .await
}

/// Every read model stands at the end of its topics.
async fn all_caught_up(deployment: &Deployment) {
    eventually("every read model has read all", async || {
        let printed = deployment.run(&["status", "--json"]).await;
        let status: Value = serde_json::from_str(&printed).expect("JSON");
        let models = status["read_models"].as_array()?;
        let behind = models.iter().any(|model| model["lag_records"] != 0);
        (!models.is_empty() && !behind).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trimmed_history_is_rebuilt_from_a_snapshot() {
    let deployment = Deployment::new("snapshots");
    let up = deployment.start("up").await;
    let mint = Api::sign_up(&up.http, "Mint").await;
    let mut viewer = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    let early = viewer.cursor.clone();
    for n in 0..20 {
        viewer.chat("mint", &n.to_string()).await;
    }
    let before = stored(&mint, 20).await;
    // What a read model has not read yet is in no snapshot of it.
    all_caught_up(&deployment).await;

    let taken = deployment.run(&["snapshot", "all"]).await;
    assert!(taken.contains("broadcasts has read nothing yet"), "{taken}");
    let listed = deployment.run(&["snapshot", "list"]).await;
    let models: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    // Viewers may not have been counted yet.
    let expected = [
        "accounts",
        "channels",
        "chatters",
        "messages",
        "moderation",
        "stream_keys",
    ];
    let found = models.iter().copied().filter(|&name| name != "viewers");
    assert!(found.eq(expected), "{listed}");
    trim(&deployment).await;
    up.stop().await;

    // The gateway is another one, whose rooms remember nothing.
    let up = deployment.start("up").await;
    let mint = Api {
        base: up.http.clone(),
        ..mint
    };
    let back = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), Some(&early)).await;
    assert!(!back.recovered, "there is a gap that nobody can fill");
    let mut fresh = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    assert_eq!(fresh.texts().len(), 20, "{:?}", fresh.seen);
    fresh.chat("mint", "after").await;
    stored(&mint, 21).await;

    let said = deployment.run(&["rebuild", "messages"]).await;
    assert!(
        said.contains("the snapshot of 20") && said.contains("1 records; equal to the live model"),
        "{said}"
    );
    let said = deployment
        .run(&["rebuild", "messages", "--room", "mint"])
        .await;
    assert!(said.contains("equal to the live model"), "{said}");
    let said = deployment.run(&["snapshot", "prune", "--keep", "0"]).await;
    assert_eq!(said.lines().count(), models.len(), "{said}");
    for command in [
        &["rebuild", "messages", "--verify-only"][..],
        &["rebuild", "moderation"],
        &["rebuild", "messages", "--room", "mint"],
    ] {
        let said = deployment.refused(command).await;
        assert!(said.contains("chat was trimmed"), "{said}");
        assert!(said.contains("lemonair snapshot m"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let page = mint.get("/api/channels/mint/messages").await;
    let mut messages = page["messages"].as_array().expect("messages").clone();
    assert_eq!(messages.remove(0)["text"], "after");
    assert_eq!(messages, before);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retention_that_would_lose_what_is_needed_is_refused() {
    for (retention, because) in [
        (
            "{ledger=\"90d\"}",
            "it can be set of chat, streams, presence",
        ),
        ("{chat=\"soon\"}", "it is a time such as \"90d\""),
        ("{chat=\"5 minutes\"}", "an hour at least"),
        ("{chats=\"90d\"}", "no topic \"chats\""),
    ] {
        let deployment = Deployment::new("retention").with("LEMONAIR_RETENTION", retention);
        let said = deployment.refused(&["doctor"]).await;
        assert!(said.contains(because), "{retention}: {said}");
    }
}
