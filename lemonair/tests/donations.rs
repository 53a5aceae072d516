//! What a channel asks of donations, what is shown of them, and how they are given back.

mod support;

use lemonair_schemas::stream::StreamStarted;
use lemonair_schemas::{EventId, Timestamp};
use serde_json::{Value, json};
use support::browser::Browser;
use support::channel::is_live;
use support::history::History;
use support::viewer::Viewer;
use support::{Api, Deployment};

/// A streamer and a donor with points, each in one breath.
async fn people(http: &str, streamer: &str, donor: &str) -> (Api, Api) {
    let streamer = Api::sign_up(http, streamer).await;
    let donor = Api::sign_up(http, donor).await;
    donor.top_up(1000).await;
    (streamer, donor)
}

async fn give(donor: &Api, room: &str, key: &str, body: Value) -> (u16, Value) {
    let path = format!("/api/channels/{room}/donations");
    donor
        .send("POST", &path, Some(body), &[("Idempotency-Key", key)])
        .await
}

async fn set(streamer: &Api, room: &str, change: Value) {
    let path = format!("/api/channels/{room}/donation-settings");
    let (status, answer) = streamer.send("PATCH", &path, Some(change), &[]).await;
    assert_eq!(status, 200, "{answer}");
}

fn code((status, answer): (u16, Value)) -> (u16, String) {
    (
        status,
        answer["code"].as_str().unwrap_or_default().to_owned(),
    )
}

fn no(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_says_which_donations_it_takes() {
    let deployment = Deployment::new("terms").with("LEMONAIR_DONATION_MAXIMUM", "600");
    let up = deployment.start("up").await;
    let (streamer, donor) = people(&up.http, "Rind", "Zest").await;
    let plain = |amount: i64| json!({ "amount": amount });
    let settings = "/api/channels/rind/donation-settings";
    let change = Some(json!({ "minimum": 50 }));
    assert_eq!(donor.send("PATCH", settings, change, &[]).await.0, 403);
    for bad in [
        json!({ "minimum": 0 }),
        json!({ "minimum": 601 }),
        json!({ "review": "some" }),
    ] {
        assert_eq!(
            streamer.send("PATCH", settings, Some(bad), &[]).await.0,
            422
        );
    }
    set(&streamer, "rind", json!({ "minimum": 50 })).await;
    assert_eq!(donor.get(settings).await["minimum"], 50);
    assert_eq!(
        code(give(&donor, "rind", "a", plain(49)).await),
        no(422, "below_minimum")
    );
    assert_eq!(
        code(give(&donor, "rind", "b", plain(601)).await),
        no(422, "above_maximum")
    );
    let (status, first) = give(&donor, "rind", "c", plain(50)).await;
    assert_eq!(status, 201, "{first}");

    set(&streamer, "rind", json!({ "accepts_offline": false })).await;
    assert_eq!(
        code(give(&donor, "rind", "d", plain(50)).await),
        no(409, "offline")
    );
    let on_air = StreamStarted {
        id: EventId::new(),
        at: Timestamp::now(),
        room: "rind".parse().expect("a room"),
        actor: None,
        title: String::new(),
        ingest: "a".to_owned(),
        origin: "http://127.0.0.1".to_owned(),
    };
    let log = History::of(&deployment, 0).await.log();
    log.append(on_air).await.expect("appended");
    is_live(&up, "rind").await;
    let (status, live) = give(&donor, "rind", "f", plain(50)).await;
    assert_eq!(status, 201, "{live}");

    let ban = "/api/channels/rind/bans/zest";
    assert_eq!(streamer.send("PUT", ban, None, &[]).await.0, 204);
    assert_eq!(
        code(give(&donor, "rind", "e", plain(50)).await),
        no(403, "banned")
    );
    // What was accepted before stays accepted, whatever has changed since.
    assert_eq!(give(&donor, "rind", "c", plain(50)).await, (201, first));
    assert_eq!(donor.get("/api/wallet").await["balance"], 900);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_no_name_is_named_nowhere_but_in_the_books() {
    let deployment = Deployment::new("nameless");
    let up = deployment.start("up").await;
    let (streamer, donor) = people(&up.http, "Rind", "Zest").await;
    let id = donor.get("/api/channels/zest").await;
    assert_eq!(id["name"], "Zest");
    let (status, named) = give(
        &donor,
        "rind",
        "a",
        json!({ "amount": 10, "message": "hi" }),
    )
    .await;
    assert_eq!(status, 201);
    let donor_id = named["from"]["id"].as_str().expect("an id").to_owned();
    let mut viewer = Viewer::join(&up.ws(), "rind", None, None).await;
    let mut owner = Viewer::join(&up.ws(), "rind", streamer.token.as_deref(), None).await;
    let asked = json!({ "amount": 30, "message": "psst", "anonymous": true });
    let (status, given) = give(&donor, "rind", "b", asked).await;
    assert_eq!(status, 201, "{given}");
    let refund = format!(
        "/api/donations/{}/refund",
        given["id"].as_str().expect("an id")
    );
    let part = Some(json!({ "amount": 4 }));
    let key = [("Idempotency-Key", "r")];
    assert_eq!(streamer.send("POST", &refund, part, &key).await.0, 201);

    let rank = viewer_sees(&mut viewer, &mut owner, &streamer, &given["id"]).await;
    assert_eq!(rank["anonymous"], json!({ "total": 26, "count": 1 }));
    assert_eq!(
        rank["rank"][0]["total"], 10,
        "the named donation only: {rank}"
    );
    // Who comes later is shown it from the read model.
    let mut late = Viewer::join(&up.ws(), "rind", streamer.token.as_deref(), None).await;
    let shown = late
        .until("the donation", |event| event["id"] == given["id"])
        .await;
    assert_eq!(
        (&shown["anonymous"], shown.get("from")),
        (&json!(true), None)
    );
    let list = streamer.get("/api/channels/rind/donations").await;
    let row = &list["donations"][0];
    assert_eq!(
        (&row["from"], &row["returned"], &row["refunded"]),
        (&Value::Null, &json!(4), &json!(false))
    );
    assert!(!row.to_string().contains(&donor_id) && !row.to_string().contains("Zest"));

    // The streamer's books name whoever wants a name.
    let books = streamer.get("/api/wallet/entries").await;
    let donors: Vec<&Value> = books["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| &entry["donor"])
        .collect();
    assert_eq!(donors, [&Value::Null, &Value::Null, &json!("Zest")]);

    // The donor's own history and the record have it.
    let entries = donor.get("/api/wallet/entries").await;
    let of_it = |entry: &&Value| entry["donation"] == given["id"];
    assert_eq!(
        entries["entries"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(of_it)
            .count(),
        2
    );
    let records = deployment
        .replay(&["donations", "--type", "donation.accepted"])
        .await;
    assert_eq!(records[1]["from"]["id"], donor_id.as_str());
    assert_eq!(up.stop().await, Some(0));
}

/// Whatever the socket said of a nameless donation, and the rank after it.
async fn viewer_sees(viewer: &mut Viewer, owner: &mut Viewer, api: &Api, id: &Value) -> Value {
    for someone in [viewer, owner] {
        let refunded = someone
            .until("the refund", |event| event["type"] == "donation.refunded")
            .await;
        assert_eq!(
            (&refunded["amount"], &refunded["left"]),
            (&json!(4), &json!(26))
        );
        let of_it = |event: &&Value| event["id"] == *id || event["donation"] == *id;
        for event in someone.seen.iter().filter(of_it) {
            assert!(event.get("donor").is_none(), "{event}");
            let named = event["type"] == "donation.accepted" && event.get("from").is_some();
            assert!(!named && !event.to_string().contains("Zest"), "{event}");
        }
    }
    api.get("/api/channels/rind/donations/rank?period=month")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_wait_where_the_streamer_wants_it() {
    let deployment = Deployment::new("review");
    let up = deployment.start("up").await;
    let (streamer, donor) = people(&up.http, "Rind", "Zest").await;
    let chat = Some(json!({ "blocked_words": ["sour"] }));
    let path = "/api/channels/rind/chat-settings";
    assert_eq!(streamer.send("PATCH", path, chat, &[]).await.0, 200);
    set(&streamer, "rind", json!({ "review": "blocked" })).await;
    let mut viewer = Viewer::join(&up.ws(), "rind", None, None).await;
    let mut owner = Viewer::join(&up.ws(), "rind", streamer.token.as_deref(), None).await;
    let said = |text: &str| json!({ "amount": 10, "message": text });
    give(&donor, "rind", "a", said("sweet")).await;
    let (_, first) = give(&donor, "rind", "b", said("so S.O.U.R lemons")).await;
    let (_, second) = give(&donor, "rind", "c", said("sour again")).await;
    assert_eq!(
        streamer.get("/api/wallet").await["earnings"],
        30,
        "the points do not wait"
    );

    let held = "/api/channels/rind/donations/held";
    let waiting = streamer.get(held).await;
    let texts: Vec<&Value> = waiting["held"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["message"])
        .collect();
    assert_eq!(texts, ["so S.O.U.R lemons", "sour again"]);
    let told = owner
        .until("the second", |event| {
            event["type"] == "donation.held" && event["donation"] == second["id"]
        })
        .await;
    assert_eq!(told["message"], "sour again");
    let anybody = Api::new(&up.http);
    assert_eq!(donor.send("GET", held, None, &[]).await.0, 403);
    let list = anybody
        .get("/api/channels/rind/donations")
        .await
        .to_string();
    assert!(list.contains("sweet") && !list.contains("lemons"), "{list}");
    let own = donor.get("/api/channels/rind/donations").await.to_string();
    assert!(own.contains("sour again"), "their own words: {own}");

    let one = |donation: &Value| format!("{held}/{}", donation["id"].as_str().expect("an id"));
    assert_eq!(donor.send("PUT", &one(&first), None, &[]).await.0, 403);
    assert_eq!(streamer.send("PUT", &one(&first), None, &[]).await.0, 204);
    assert_eq!(streamer.send("PUT", &one(&first), None, &[]).await.0, 204);
    assert_eq!(
        code(streamer.send("DELETE", &one(&first), None, &[]).await),
        no(409, "decided")
    );
    assert_eq!(
        streamer.send("DELETE", &one(&second), None, &[]).await.0,
        204
    );
    let approved = viewer
        .until("the words", |event| event["type"] == "donation.approved")
        .await;
    assert_eq!(
        (&approved["donation"], &approved["message"]),
        (&first["id"], &json!("so S.O.U.R lemons"))
    );
    viewer
        .until("the other decision", |event| {
            event["type"] == "donation.denied"
        })
        .await;
    let mut late = Viewer::join(&up.ws(), "rind", None, None).await;
    late.until("the last donation", |event| event["id"] == second["id"])
        .await;
    for someone in [&viewer, &late] {
        let seen = Value::Array(someone.seen.clone()).to_string();
        assert!(!seen.contains("sour again"), "{seen}");
        assert!(seen.contains("so S.O.U.R lemons"), "{seen}");
    }
    assert_eq!(streamer.get(held).await["held"], json!([]));
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_donation_is_given_back_in_parts_and_never_more() {
    let deployment = Deployment::new("parts");
    let up = deployment.start("up").await;
    let (streamer, donor) = people(&up.http, "Rind", "Zest").await;
    let goal = json!({ "title": "A better microphone", "target": 100 });
    streamer.post("/api/channels/rind/goal", goal).await;
    let (_, given) = give(&donor, "rind", "a", json!({ "amount": 60 })).await;
    let progress = async || streamer.get("/api/channels/rind/goal").await["goal"]["amount"].clone();
    let total = async || {
        streamer.get("/api/channels/rind/donations/rank").await["rank"][0]["total"].clone()
    };
    assert_eq!((progress().await, total().await), (json!(60), json!(60)));
    let path = format!(
        "/api/donations/{}/refund",
        given["id"].as_str().expect("an id")
    );
    let part = async |amount: i64, key: &'static str| {
        let key = [("Idempotency-Key", key)];
        streamer
            .send("POST", &path, Some(json!({ "amount": amount })), &key)
            .await
    };
    let bare = streamer
        .send("POST", &path, Some(json!({ "amount": 10 })), &[])
        .await;
    assert_eq!(code(bare), no(400, "idempotency_key_missing"));
    // Ten retries at once are one refund.
    let retries = futures::future::join_all((0..10).map(|_| part(25, "r1"))).await;
    assert!(
        retries
            .iter()
            .all(|answer| *answer == retries[0] && answer.0 == 201),
        "{retries:?}"
    );
    assert_eq!((progress().await, total().await), (json!(35), json!(35)));
    assert_eq!(code(part(24, "r1").await), no(409, "key_reused"));
    assert_eq!(code(part(36, "r2").await), no(422, "refund_too_large"));
    let key = [("Idempotency-Key", "r3")];
    let rest = streamer.send("POST", &path, None, &key).await;
    assert_eq!(
        (rest.0, &rest.1["amount"]),
        (201, &json!(35)),
        "all that is left"
    );
    let again = streamer.send("POST", &path, None, &key).await;
    assert_eq!(again, rest, "a retry gets the first answer");
    assert_eq!(code(part(35, "r3").await), no(409, "key_reused"));
    assert_eq!(
        code(streamer.send("POST", &path, None, &[]).await),
        no(409, "already_refunded")
    );
    assert_eq!(part(25, "r1").await, retries[0], "still the first answer");
    assert_eq!((progress().await, total().await), (json!(0), Value::Null));
    assert_eq!(donor.get("/api/wallet").await["balance"], 1000);
    assert_eq!(streamer.get("/api/wallet").await["earnings"], 0);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_donation_counts_exactly_once() {
    let deployment = Deployment::new("donate");
    let up = deployment.start("up").await;
    let streamer = Api::sign_up(&up.http, "Star").await;
    let donor = Api::sign_up(&up.http, "Giver").await;
    let (status, poor) = donor.donate("star", 10, "k0").await;
    assert_eq!(
        (status, &poor["code"]),
        (402, &json!("insufficient_balance"))
    );
    let top_up = json!({ "amount": 500 });
    for _ in 0..2 {
        let key = [("Idempotency-Key", "buy-1")];
        let (status, bought) = donor
            .send("POST", "/api/wallet/top-ups", Some(top_up.clone()), &key)
            .await;
        assert_eq!((status, &bought["balance"]), (201, &json!(500)));
    }
    // Twenty retries at once: one donation, the same answer each time.
    let retries = (0..20).map(|_| donor.donate("star", 200, "k1"));
    let answers = futures::future::join_all(retries).await;
    let (status, first) = &answers[0];
    assert_eq!(
        (*status, &first["balance"], &first["from"]["name"]),
        (201, &json!(300), &json!("Giver"))
    );
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    // The same key for something else.
    let (status, reused) = donor.donate("star", 201, "k1").await;
    assert_eq!((status, &reused["code"]), (409, &json!("key_reused")));
    // What was refused stays refused under its key.
    assert_eq!(donor.donate("star", 10, "k0").await.0, 402);

    assert_eq!(
        donor.get("/api/wallet").await,
        json!({ "balance": 300, "earnings": 0, "debt": 0 })
    );
    assert_eq!(
        streamer.get("/api/wallet").await,
        json!({ "balance": 0, "earnings": 200, "debt": 0 })
    );

    // The streamer gives it back, once; totals and ranks lose it.
    let refund = format!(
        "/api/donations/{}/refund",
        first["id"].as_str().expect("an id")
    );
    let (status, _) = donor.send("POST", &refund, None, &[]).await;
    assert_eq!(status, 403, "donors do not refund themselves");
    assert_eq!(streamer.send("POST", &refund, None, &[]).await.0, 201);
    assert_eq!(streamer.send("POST", &refund, None, &[]).await.0, 409);
    assert_eq!(donor.get("/api/wallet").await["balance"], 500);
    assert_eq!(streamer.get("/api/wallet").await["earnings"], 0);
    assert_eq!(
        donor.get("/api/channels/star/donations/rank").await["rank"],
        json!([])
    );
    let entries = donor.get("/api/wallet/entries").await;
    let kinds: Vec<&str> = entries["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["refund", "donation", "top_up"]);
    assert_eq!(up.stop().await, Some(0));
}

/// Lets a donation or refund through and loses its answer; whoever asks again is sent away at the door.
const LOSES: &str = "const send = window.fetch; window.asked = 0; \
    window.fetch = async (path, options) => { \
      if (options?.method !== 'POST' || !/\\/(donations|refund)$/.test(path)) return send(path, options); \
      window.asked += 1; \
      if (window.asked > 1) return new Response('{}', { status: window.asked === 2 ? 429 : 401 }); \
      await send(path, options); \
      throw new TypeError('the line is cut'); \
    };";

/// The donation form holds what was asked for until it is known what became of it.
const HELD: &str = "const form = document.querySelector('dialog[open] form'); \
    return !form.hasAttribute('aria-busy') && form.querySelector('#donate-amount').readOnly \
      && form.querySelector('#donate-amount').value === '300' && form.querySelector('#donate-message').value === 'once';";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_moves_points_once_though_the_answer_is_lost_and_the_page_is_left() {
    let deployment = Deployment::new("lost");
    let up = deployment.start("up").await;
    let (streamer, donor) = people(&up.http, "Rind", "Zest").await;
    Api::sign_up(&up.http, "Plum").await;
    let room = format!("{}/rind", up.http);
    let browser = Browser::open(1280, 800).await;
    browser.goto(&room).await;
    browser.sign_in("Zest").await;
    browser.js(LOSES).await;
    browser.click("[data-testid=donate-open]").await;
    browser.fill("[data-testid=donate-amount]", "300").await;
    browser.fill("[data-testid=donate-message]", "once").await;
    browser.click("[data-testid=donate-submit]").await;
    // Lost, 429, 401, and 401 again with a token that was renewed for it.
    browser
        .until("all tries are over", "return window.asked === 4;")
        .await;
    browser.until("the form waits", HELD).await;

    // The next person at this browser is offered a form of their own.
    let be = async |name: &str| {
        browser
            .js("document.querySelector('[data-testid=logout]').click();")
            .await;
        browser.see("[data-testid=login-open]").await;
        browser.goto(&room).await;
        browser.sign_in(name).await;
        browser.click("[data-testid=donate-open]").await;
        browser.see("[data-testid=donate-amount]").await;
    };
    be("Plum").await;
    let free = "return !document.querySelector('#donate-amount').readOnly \
        && document.querySelector('#donate-message').value === '';";
    assert_eq!(browser.js(free).await, json!(true));
    browser
        .js("document.querySelector('dialog[open]').close();")
        .await;
    be("Zest").await;
    assert_eq!(browser.js(HELD).await, json!(true));
    browser.click("[data-testid=donate-submit]").await;
    browser.see("[data-testid=donate-receipt]").await;

    // Whoever got it reads in the wallet whom it is from.
    browser
        .js("document.querySelector('[data-testid=logout]').click();")
        .await;
    browser.see("[data-testid=login-open]").await;
    browser.goto(&format!("{}/wallet", up.http)).await;
    browser.sign_in("Rind").await;
    assert_eq!(browser.text("[data-testid=entry-donor]").await, "Zest");

    // Giving a part of it back is such an attempt too.
    let studio = format!("{}/studio", up.http);
    let open = async || {
        browser.goto(&studio).await;
        browser.tab("#tab-donations").await;
        browser
            .click("[data-testid=donation-row] [data-do=refund]")
            .await;
        browser.see("[data-testid=refund-amount]").await;
    };
    open().await;
    browser.js(LOSES).await;
    browser.fill("[data-testid=refund-amount]", "100").await;
    browser.click("[data-testid=confirm]").await;
    browser
        .until("all tries are over", "return window.asked === 4;")
        .await;
    let held = "const form = document.querySelector('dialog[open] form'); \
        const amount = form.querySelector('#refund-amount'); \
        return !form.hasAttribute('aria-busy') && amount.readOnly && amount.value === '100';";
    browser.until("the form waits", held).await;
    open().await;
    assert_eq!(browser.js(held).await, json!(true));
    browser.click("[data-testid=confirm]").await;
    browser.see(".toast.good").await;
    browser.close().await;

    let list = streamer.get("/api/channels/rind/donations").await;
    let moved: Vec<(&Value, &Value)> = list["donations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|donation| (&donation["amount"], &donation["returned"]))
        .collect();
    assert_eq!(moved, [(&json!(300), &json!(100))]);
    assert_eq!(donor.get("/api/wallet").await["balance"], 800);
    assert_eq!(up.stop().await, Some(0));
}
