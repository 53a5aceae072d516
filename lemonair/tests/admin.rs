//! The operator's page in a real browser: what is up, a rebuild from wish to end, a dead letter, and
//! somebody logged out; all of it in the log.

mod support;

use lemonair_schemas::channel::ChannelFollowed;
use lemonair_schemas::{AccountId, Actor, EventId, Timestamp};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use support::browser::Browser;
use support::history::History;
use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, eventually};

const PASSWORD: &str = "correct horse battery";

/// So many that a rebuild takes several batches of each lane.
const RECORDS: usize = 20_000;

/// An operator at the page, and the same by HTTP.
async fn operator(deployment: &Deployment, up: &Lemonair) -> (Browser, Api) {
    Api::sign_up(&up.http, "Boss").await;
    deployment
        .run(&["account", "role", "Boss", "operator"])
        .await;
    let body = json!({ "name": "Boss", "password": PASSWORD });
    let mut api = Api::new(&up.http);
    let session = api.post("/api/sessions", body).await;
    api.token = session["tokens"]["access_token"]
        .as_str()
        .map(str::to_owned);
    let browser = Browser::open(1440, 900).await;
    browser.goto(&format!("{}/admin", up.http)).await;
    browser.fill("#login-name", "Boss").await;
    browser.fill("#login-password", PASSWORD).await;
    browser.click("#login-submit").await;
    browser.see("[data-testid=processes]").await;
    (browser, api)
}

/// Keeps a rebuild of the messages from adding rows, from its beginning until the connection is closed:
/// else it is done before anybody has pressed a button.
async fn stopped_shadow(deployment: &Deployment) -> MySqlConnection {
    let mut connection = MySqlConnection::connect(&deployment.database_url())
        .await
        .expect("connect to the database");
    let sql = format!(
        "LOCK TABLES {}_shadow.messages WRITE",
        deployment.database()
    );
    eventually("there are shadow tables", async || {
        let lock = sqlx::raw_sql(AssertSqlSafe(sql.clone()));
        lock.execute(&mut connection).await.ok()
    })
    .await;
    connection
}

/// What the log says was done, the oldest first.
async fn acts(boss: &Api) -> Vec<(String, Value)> {
    let log = boss.get("/api/admin/audit").await;
    let log = log["audit"].as_array().expect("a list").clone();
    let act = |entry: &Value| {
        assert_eq!(entry["operator_name"], "Boss");
        let name = entry["target_name"].clone();
        let target = if name.is_null() {
            entry["target"].clone()
        } else {
            name
        };
        (
            entry["action"].as_str().expect("an action").to_owned(),
            target,
        )
    };
    log.iter().rev().map(act).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_is_begun_held_and_finished_from_the_page() {
    let deployment = Deployment::new("steer");
    let up = deployment.start("up").await;
    History::of(&deployment, RECORDS).await;
    let (page, boss) = operator(&deployment, &up).await;
    page.tab("#tab-models").await;
    let row = "[data-testid=read-model][data-name=messages]";
    // One after the other, as all of them together take their time.
    for name in ["messages", "moderation", "chatters", "donations"] {
        let caught_up = format!(
            "return document.querySelector('[data-name={name}] td.count')?.textContent === '0';"
        );
        page.until(&format!("{name} is caught up"), &caught_up)
            .await;
    }

    // However short a complaint is on the page.
    page.js(
        "window.complaints = []; \
         new MutationObserver(() => window.complaints.push(...[...document.querySelectorAll('.toast.bad')].map((toast) => toast.textContent))) \
           .observe(document.querySelector('.toasts'), { childList: true });",
    )
    .await;
    page.click(&format!("{row} [data-testid=rebuild-rebuild]"))
        .await;
    let (stopped, ()) = tokio::join!(
        stopped_shadow(&deployment),
        page.click("[data-testid=confirm]")
    );
    // Once it is known to run, it tells nothing of itself until it has got on.
    page.see(&format!("{row} [data-testid=rebuild-pause]"))
        .await;
    deployment
        .sql(&format!(
            "UPDATE {}.rebuilds SET done = 100, total = 700, rate = 10 WHERE projection = 'messages'",
            deployment.database()
        ))
        .await;
    page.until(
        "it says how long it takes",
        &format!("return document.querySelector('{row} small')?.textContent === '100 / 700 · 10/s · 1:00 left';"),
    )
    .await;
    page.click(&format!("{row} [data-testid=rebuild-pause]"))
        .await;
    eventually("the log tells of the pause", async || {
        let told = acts(&boss).await.last()?.0 == "rebuild.paused";
        told.then_some(())
    })
    .await;
    stopped.close().await.expect("let the rebuild go on");
    page.see(&format!("{row}[data-state=paused] progress"))
        .await;
    let held = eventually("it has noticed", async || {
        let status = boss.get("/api/admin/status").await;
        let rebuild = model(&status, "messages")["rebuild"].clone();
        (rebuild["phase"] == "paused").then_some(rebuild)
    })
    .await;
    assert_eq!(held["state"], "paused", "{held}");
    assert!(held["done"].as_i64() < held["total"].as_i64(), "{held}");
    page.click(&format!("{row} [data-testid=rebuild-continue]"))
        .await;
    page.see(&format!("{row}[data-state=done]")).await;
    let done = boss.get("/api/admin/status").await;
    let report = model(&done, "messages")["rebuild"]["report"].clone();
    assert_eq!(
        (&report["swapped"], &report["comparison"]["differing"]),
        (&json!(true), &json!(0)),
        "{report}"
    );

    // A row that was forged is found by comparing, and mended by a rebuild.
    let database = deployment.database();
    deployment
        .sql(&format!(
            "UPDATE {database}.messages SET text = 'forged' WHERE room = 'mint' LIMIT 1"
        ))
        .await;
    page.click(&format!("{row} [data-testid=rebuild-verify]"))
        .await;
    page.click(&format!("{row} [data-testid=differences]"))
        .await;
    let differences = page.text("dialog").await;
    assert!(differences.contains("mint"), "{differences}");
    page.js("document.querySelector('dialog').close();").await;

    // Partition by partition.
    page.click(&format!("{row} th button")).await;
    page.until(
        "its own topic's partitions are shown, and the erasures'",
        "return document.querySelectorAll('[data-testid=partitions] tbody tr').length === 6;",
    )
    .await;

    let expected = [
        ("rebuild.wished", "messages"),
        ("rebuild.paused", "messages"),
        ("rebuild.continued", "messages"),
        ("verify.wished", "messages"),
    ];
    let expected = expected.map(|(action, target)| (action.to_owned(), json!(target)));
    assert_eq!(acts(&boss).await, expected);
    page.tab("#tab-audit").await;
    page.see("[data-testid=operator-act][data-action='verify.wished']")
        .await;
    assert_eq!(page.js("return window.complaints;").await, json!([]));
    page.close().await;
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_letters_and_people_are_seen_and_steered() {
    let deployment = Deployment::new("operate");
    let up = deployment.start("up").await;
    let mut other = deployment.start("gateway").await;
    let (page, boss) = operator(&deployment, &up).await;
    let processes = "return Array.from(document.querySelectorAll('[data-testid=process]'), \
                     (row) => row.querySelectorAll('.service').length).sort().join();";
    page.until(
        "both processes are up, the one with all services",
        &processes.replace("return", "return '1,4' ==="),
    )
    .await;
    other.kill().await;
    page.until(
        "one is seen to be gone",
        "return document.querySelectorAll('[data-testid=process] .behind').length === 1;",
    )
    .await;
    page.tab("#tab-cluster").await;
    page.until(
        "each topic has a leader, and its copies",
        "return document.querySelectorAll('[data-testid=topic]').length === 11 \
         && !document.querySelector('[data-testid=topic] .behind');",
    )
    .await;
    page.tab("#tab-schemas").await;
    page.see("[data-testid=subject]").await;
    page.until(
        "all are kept compatible",
        "return document.querySelectorAll('[data-testid=subject]').length > 50 \
         && !document.querySelector('[data-testid=subject] .behind');",
    )
    .await;

    // Somebody follows a channel that nobody has opened.
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
    let log = History::of(&deployment, 0).await.log();
    let unfit = log.append(followed).await.expect("appended");
    let id = format!("channels.channels.{}.{}", unfit.partition, unfit.offset);
    page.tab("#tab-letters").await;
    let letter = format!("[data-testid=dead-letter][data-id='{id}']");
    page.click(&format!("{letter} [data-testid=letter-try]"))
        .await;
    page.see(".toast.bad").await;
    let nowhere = Api::sign_up(&up.http, "Nowhere").await;
    page.click(&format!("{letter} [data-testid=letter-try]"))
        .await;
    page.see(".toast.good").await;
    assert_eq!(nowhere.get("/api/channels/nowhere").await["followers"], 0);
    page.click(&format!("{letter} [data-testid=letter-retry]"))
        .await;
    page.click("[data-testid=confirm]").await;
    let gone = format!("return !document.querySelector(\"{letter}\");");
    page.until("it is applied", &gone).await;
    assert_eq!(nowhere.get("/api/channels/nowhere").await["followers"], 1);

    // Whoever is logged out is so at once, and their line is cut.
    let mut line = Viewer::join(&up.ws(), "nowhere", nowhere.token.as_deref(), None).await;
    page.tab("#tab-people").await;
    page.fill("#people-name", "now").await;
    let person = "[data-testid=person][data-name=Nowhere]";
    page.click(&format!("{person} [data-testid=person-sessions]"))
        .await;
    page.click("[data-testid=person-session-end]").await;
    assert_eq!(line.until_closed().await, Some(4401));
    assert_eq!(nowhere.send("GET", "/api/wallet", None, &[]).await.0, 401);
    page.js("document.querySelector('dialog').close();").await;

    page.see(person).await;
    page.js(&format!(
        "const choice = document.querySelector('{person} select'); choice.value = 'moderator'; \
         choice.dispatchEvent(new Event('change'));"
    ))
    .await;
    page.click("[data-testid=confirm]").await;
    page.until(
        "the role is given",
        &format!(
            "return !document.querySelector('dialog') \
             && document.querySelector('{person} select').value === 'moderator';"
        ),
    )
    .await;
    eventually("it is written down", async || {
        let acts = acts(&boss).await;
        acts.iter()
            .any(|(act, _)| act == "role.moderator")
            .then_some(())
    })
    .await;
    page.click(&format!("{person} [data-testid=person-erase]"))
        .await;
    page.click("[data-testid=confirm]").await;
    page.until(
        "the name is gone",
        &format!("return !document.querySelector('{person}');"),
    )
    .await;
    let done: Vec<String> = acts(&boss).await.into_iter().map(|(act, _)| act).collect();
    assert_eq!(
        done,
        [
            "letter.retried",
            "session.closed",
            "role.moderator",
            "account.erased"
        ]
    );
    // Nobody else may, and nobody may do it to themselves.
    let viewer = Api::sign_up(&up.http, "Pip").await;
    let me = &boss.get("/api/admin/accounts?name=boss").await["accounts"][0]["id"];
    let me = format!("/api/admin/accounts/{}", me.as_str().expect("an id"));
    let role = Some(json!({ "role": "viewer" }));
    for (method, path, body) in [
        ("GET", "/api/admin/audit", None),
        ("GET", "/api/admin/cluster", None),
        ("GET", "/api/admin/schemas", None),
        ("GET", "/api/admin/accounts", None),
        (
            "POST",
            "/api/admin/rebuilds/messages",
            Some(json!({ "wish": "rebuild" })),
        ),
        ("PUT", &format!("{me}/role"), role.clone()),
        ("DELETE", &me, None),
    ] {
        let (status, refused) = viewer.send(method, path, body, &[]).await;
        assert_eq!(
            (status, &refused["code"]),
            (403, &json!("not_an_operator")),
            "{path}"
        );
    }
    for (method, path, body) in [("PUT", format!("{me}/role"), role), ("DELETE", me, None)] {
        let (status, refused) = boss.send(method, &path, body, &[]).await;
        assert_eq!((status, &refused["code"]), (422, &json!("own_account")));
    }
    page.close().await;
    assert_eq!(up.stop().await, Some(0));
}

fn model(status: &Value, name: &str) -> Value {
    let models = status["read_models"].as_array().expect("read models");
    let model = models.iter().find(|model| model["projection"] == name);
    model.expect("it is one of them").clone()
}
