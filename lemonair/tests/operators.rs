//! What operators see and do, from end to end: dead letters of real poison, status, rebuilds.

mod support;

use std::time::Duration;

use lemonair_producers::Log;
use lemonair_schemas::channel::ChannelFollowed;
use lemonair_schemas::{
    AccountId, Actor, Codec, Event, EventId, Records, Registry, Timestamp, Topic,
};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use support::viewer::Viewer;
use support::{Api, Deployment, eventually};

/// Puts bytes on a topic as they are; returns partition and offset.
async fn put(deployment: &Deployment, topic: Topic, key: &str, bytes: &[u8]) -> (i32, i64) {
    let kafka = deployment.kafka();
    let mut client = kafka.client();
    let producer: FutureProducer = client
        .set("partitioner", "murmur2_random")
        .create()
        .expect("a producer");
    let name = topic.in_kafka(&kafka.prefix);
    let record = FutureRecord::to(&name).key(key).payload(bytes);
    let put = producer.send(record, Duration::from_secs(30)).await;
    let put = put.expect("the broker takes it");
    (put.partition, put.offset)
}

async fn listed(deployment: &Deployment, filter: &[&str]) -> Vec<Value> {
    let arguments = [&["dlq", "list", "--json"], filter].concat();
    let printed = deployment.run(&arguments).await;
    let lines = printed.lines().map(serde_json::from_str);
    lines.map(|line| line.expect("a JSON line")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_kept_shown_tried_again_and_dropped() {
    let deployment = Deployment::new("dlq");
    let up = deployment.start("up").await;
    let mint = Api::sign_up(&up.http, "Mint").await;
    let mut viewer = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    viewer.chat("mint", "before").await;

    let corrupt = put(&deployment, Topic::Chat, "mint", b"\0no record").await;
    let unknown = put(
        &deployment,
        Topic::Chat,
        "mint",
        b"\0\x7f\xff\xff\xf0whatever",
    )
    .await;
    // An event of a channel that nobody opened.
    let registry = Registry::open(&registry(), &deployment.kafka().prefix, None).expect("registry");
    let codec = Codec::register(registry, Event::SCHEMAS).await;
    let codec = std::sync::Arc::new(codec.expect("schemas"));
    let log = Log::open(&deployment.kafka(), codec).expect("a log");
    let followed = ChannelFollowed {
        id: EventId::new(),
        at: Timestamp::now(),
        room: "nowhere".parse().expect("a room"),
        actor: Some(Actor {
            id: AccountId::new(),
            name: "Ann".to_owned(),
            roles: Vec::new(),
        }),
    };
    let unfit = log.append(followed).await.expect("appended");
    viewer.chat("mint", "after").await;

    // Chat is stored by three read models, so each of its poisons is there three times.
    let letters = eventually("all are put away", async || {
        let letters = listed(&deployment, &[]).await;
        (letters.len() == 7).then_some(letters)
    })
    .await;
    let ids: Vec<&str> = letters
        .iter()
        .filter_map(|letter| letter["id"].as_str())
        .collect();
    let mut expected = vec![format!(
        "channels.channels.{}.{}",
        unfit.partition, unfit.offset
    )];
    for projection in ["messages", "moderation", "chatters"] {
        for (partition, offset) in [corrupt, unknown] {
            expected.push(format!("{projection}.chat.{partition}.{offset}"));
        }
    }
    assert_eq!(ids, expected);
    let messages = eventually("its neighbours are stored", async || {
        let page = mint.get("/api/channels/mint/messages").await;
        let messages = page["messages"].as_array().expect("messages").clone();
        (messages.len() == 2).then_some(messages)
    })
    .await;
    assert_eq!(
        (&messages[0]["text"], &messages[1]["text"]),
        (&json!("after"), &json!("before"))
    );

    // For people: a table, and everything about one.
    let table = deployment
        .run(&["dlq", "list", "--cause", "NO CHANNEL"])
        .await;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(
        table.contains(&expected[0]) && table.contains("no channel nowhere"),
        "{table}"
    );
    let shown = deployment.run(&["dlq", "show", &expected[0]]).await;
    assert!(shown.contains("\"type\":\"channel.followed\""), "{shown}");
    assert!(
        shown.contains(&format!("offset {}", unfit.offset)),
        "{shown}"
    );
    let shown = deployment.run(&["dlq", "show", &expected[1]]).await;
    assert!(
        shown.contains("00 6e 6f 20 72 65 63 6f 72 64") && shown.contains("cannot be read"),
        "{shown}"
    );
    let filtered = listed(
        &deployment,
        &[
            "--projection",
            "messages",
            "--room",
            "mint",
            "--since",
            "1h",
        ],
    )
    .await;
    assert_eq!(filtered.len(), 2);
    assert_eq!(
        listed(&deployment, &["--until", "1h"]).await,
        Vec::<Value>::new()
    );

    // What fails again stays, and does not loop.
    let said = deployment.run(&["dlq", "retry", "--dry-run"]).await;
    assert!(
        said.contains("0 would be applied, 7 would be left"),
        "{said}"
    );
    let said = deployment
        .run(&["dlq", "retry", "--room", "mint", "--limit", "3"])
        .await;
    assert!(said.contains("0 applied, 3 left"), "{said}");
    let tries: Vec<i64> = listed(&deployment, &[])
        .await
        .iter()
        .filter_map(|letter| letter["tries"].as_i64())
        .collect();
    assert_eq!(tries, [1, 2, 2, 2, 1, 1, 1]);
    // Nobody can be asked.
    let said = deployment.refused(&["dlq", "drop", "--room", "mint"]).await;
    assert!(
        said.contains("--yes") && said.lines().count() == 1,
        "{said}"
    );
    let said = deployment
        .run(&["dlq", "drop", "--yes", &expected[1], &expected[2]])
        .await;
    assert!(said.contains("2 dropped"), "{said}");
    let said = deployment
        .refused(&["dlq", "show", "messages.chat.9"])
        .await;
    assert!(said.contains("messages.chat.3.17"), "{said}");

    // The same for operators by HTTP, and for nobody else.
    let path = "/api/admin/dead-letters";
    assert_eq!(mint.send("GET", path, None, &[]).await.0, 403);
    let token = deployment
        .run(&["token", "Boss", "--role", "operator"])
        .await;
    let boss = Api {
        token: Some(token.trim().to_owned()),
        ..mint.clone()
    };
    let left = boss.get(path).await;
    assert_eq!(left["dead_letters"].as_array().map(Vec::len), Some(5));
    let one = format!("{path}/{}", expected[0]);
    let shown = boss.get(&one).await;
    assert_eq!(shown["event"]["type"], "channel.followed");
    // The channel is opened after all.
    Api::sign_up(&up.http, "Nowhere").await;
    let (status, tried) = boss.send("POST", &format!("{one}/retry"), None, &[]).await;
    assert_eq!((status, &tried["cause"]), (200, &Value::Null), "{tried}");
    assert_eq!(boss.get("/api/channels/nowhere").await["followers"], 1);
    assert_eq!(
        boss.send("POST", &format!("{one}/retry"), None, &[])
            .await
            .0,
        409
    );
    let actions = boss.get(&one).await["actions"].clone();
    assert_eq!(
        (&actions[0]["operator"], &actions[0]["outcome"]),
        (&json!("Boss"), &json!("applied"))
    );
    let other = format!("{path}/{}", expected[3]);
    assert_eq!(boss.send("DELETE", &other, None, &[]).await.0, 204);
    assert_eq!(boss.send("DELETE", &other, None, &[]).await.0, 409);
    assert_eq!(
        boss.send("GET", &format!("{path}/nothing"), None, &[])
            .await
            .0,
        404
    );
    let (status, refused) = boss
        .send("GET", &format!("{path}?since=soon"), None, &[])
        .await;
    assert_eq!((status, &refused["code"]), (400, &json!("bad_query")));
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_rebuilds_are_shown_and_steered() {
    let deployment = Deployment::new("status");
    let before = deployment.run(&["status"]).await;
    assert!(before.contains("nobody decides"), "{before}");
    let up = deployment.start("up").await;
    let mint = Api::sign_up(&up.http, "Mint").await;
    let mut viewer = Viewer::join(&up.ws(), "mint", mint.token.as_deref(), None).await;
    for n in 0..20 {
        viewer.chat("mint", &n.to_string()).await;
    }
    let models = eventually("everything is caught up and owned", async || {
        let printed = deployment.run(&["status", "--json"]).await;
        let status: Value = serde_json::from_str(&printed).expect("JSON");
        let models = status["read_models"]
            .as_array()
            .expect("read models")
            .clone();
        let well = |model: &Value| {
            let owned = model["owners"].as_array().is_some_and(|all| all.len() == 1);
            model["lag_records"] == 0 && owned
        };
        models.iter().all(well).then_some(models)
    })
    .await;
    assert_eq!(models.len(), 20, "each with its own topic and the erasures");
    let messages = models
        .iter()
        .find(|model| model["projection"] == "messages");
    let messages = messages.expect("messages");
    let reached = (&messages["position"], &messages["end"]);
    assert_eq!(reached, (&json!(20), &json!(20)));
    assert_eq!(messages["partitions"].as_array().map(Vec::len), Some(3));
    let table = deployment.run(&["status", "--once"]).await;
    let line = table.lines().find(|line| line.starts_with("messages "));
    let cells: Vec<&str> = line.expect("a line").split_whitespace().take(6).collect();
    assert_eq!(cells, ["messages", "chat", "20", "20", "0", "-"], "{table}");

    let said = deployment.run(&["rebuild", "messages"]).await;
    assert!(
        said.contains("20 records; equal to the live model; swapped in"),
        "{said}"
    );
    let said = deployment.run(&["rebuild", "rollback", "messages"]).await;
    assert!(said.contains("swapped in"), "{said}");
    let said = deployment
        .run(&["rebuild", "messages", "--room", "mint"])
        .await;
    assert!(said.contains("20 records; equal"), "{said}");
    let refusals: [(&[&str], &str); 5] = [
        (&["rebuild", "wallets", "--room", "mint"], "kept by account"),
        (&["rebuild", "viewers", "--room", "mint"], "kept by gateway"),
        (&["rebuild", "wallets", "--from", "1h"], "no snapshot"),
        (
            &["rebuild", "messages", "--pause"],
            "messages is not being rebuilt",
        ),
        (
            &["rebuild", "rollback", "wallets"],
            "nothing is kept of wallets",
        ),
    ];
    for (refused, because) in refusals {
        let said = deployment.refused(refused).await;
        assert!(
            said.contains(because) && said.lines().count() == 1,
            "{said}"
        );
    }

    let path = "/api/admin/status";
    assert_eq!(mint.send("GET", path, None, &[]).await.0, 403);
    let token = deployment
        .run(&["token", "Boss", "--role", "operator"])
        .await;
    let boss = Api {
        token: Some(token.trim().to_owned()),
        ..mint
    };
    let shown = boss.get(path).await;
    let models = shown["read_models"].as_array().expect("read models");
    let messages = models
        .iter()
        .find(|model| model["projection"] == "messages");
    assert_eq!(messages.expect("messages")["rebuild"]["state"], "done");
    for (path, status) in [
        ("messages/pause", 409),
        ("messages/continue", 409),
        ("messages/stop", 404),
        ("nothing/pause", 404),
    ] {
        let path = format!("/api/admin/rebuilds/{path}");
        assert_eq!(
            boss.send("POST", &path, None, &[]).await.0,
            status,
            "{path}"
        );
    }
    assert_eq!(up.stop().await, Some(0));
}

#[expect(
    clippy::disallowed_methods,
    reason = "`make test` says so where its services are"
)]
fn registry() -> String {
    std::env::var("LEMONAIR_REGISTRY_URL").expect("LEMONAIR_REGISTRY_URL is set by `make test`")
}
