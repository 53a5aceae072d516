//! Payments on the real stack: what a provider tells, however it comes, and what is told nobody by
//! anybody else.

mod support;

use hmac::{Hmac, Mac};
use lemonair_schemas::{EventId, Timestamp};
use serde_json::{Value, json};
use sha2::Sha256;
use support::browser::Browser;
use support::{Api, Deployment};

const SECRET: &str = "the secret of the sandbox and of this test";

/// A webhook as the sandbox provider would send it.
fn signed(body: &Value, age: i64) -> (String, String) {
    let at = lemonair_schemas::Timestamp::now().millis() / 1000 - age;
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(format!("{at}.{body}").as_bytes());
    let mac: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (format!("t={at},v1={mac}"), body)
}

async fn deliver(base: &str, event: &Value, age: i64) -> (u16, Value) {
    let (signature, body) = signed(event, age);
    send(base, &signature, body).await
}

async fn send(base: &str, signature: &str, body: String) -> (u16, Value) {
    let sent = reqwest::Client::new()
        .post(format!("{base}/api/webhooks/sandbox"))
        .header("sandbox-signature", signature)
        .header("content-type", "application/json")
        .body(body)
        .send();
    let answer = sent.await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn event(kind: &str, payment: &str, account: &str, amount: i64, refunded: i64) -> Value {
    let now = lemonair_schemas::Timestamp::now().millis();
    json!({ "id": "evt_1", "type": kind, "payment": {
        "id": payment, "account": account, "amount": amount, "refunded": refunded, "created": now,
    }})
}

async fn account(api: &Api) -> String {
    let (_, claims) = api
        .token
        .as_ref()
        .expect("a token")
        .split_once('.')
        .expect("a JWT");
    let (claims, _) = claims.split_once('.').expect("a JWT");
    use base64::Engine;
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(claims)
        .expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    claims["sub"].as_str().expect("sub").to_owned()
}

async fn wallet(api: &Api) -> (i64, i64, i64) {
    let wallet = api.get("/api/wallet").await;
    let of = |name: &str| wallet[name].as_i64().expect("points");
    (of("balance"), of("earnings"), of("debt"))
}

fn deployment(name: &str) -> Deployment {
    Deployment::new(name)
        .with("LEMONAIR_WEBHOOK_SECRET", SECRET)
        .with("LEMONAIR_SANDBOX_CONFIRMS", "by hand")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_come_from_what_the_provider_tells_alone() {
    let deployment = deployment("pay");
    let up = deployment.start("up").await;
    let buyer = Api::sign_up(&up.http, "Buyer").await;
    let order = Some(json!({ "amount": 500 }));
    let key = [("Idempotency-Key", "one")];
    let (status, begun) = buyer
        .send("POST", "/api/wallet/top-ups", order.clone(), &key)
        .await;
    assert_eq!((status, &begun["status"]), (202, &json!("pending")));
    let again = buyer.send("POST", "/api/wallet/top-ups", order, &key).await;
    assert_eq!(again, (202, begun.clone()), "one key, one payment");
    let other = Some(json!({ "amount": 501 }));
    let (status, reused) = buyer.send("POST", "/api/wallet/top-ups", other, &key).await;
    assert_eq!((status, &reused["code"]), (409, &json!("key_reused")));
    let (_, ticket) = begun["checkout"]
        .as_str()
        .expect("an address")
        .split_once('=')
        .expect("a ticket");
    let checkout = format!("/api/sandbox/checkout/{ticket}");
    assert_eq!(buyer.get(&checkout).await["amount"], 500);

    let choose = async |outcome: &str| {
        let choice = json!({ "payment": ticket, "outcome": outcome });
        buyer
            .send("POST", "/api/sandbox/checkout", Some(choice), &[])
            .await
            .0
    };
    for outcome in ["failed", "cancelled"] {
        assert_eq!(choose(outcome).await, 200);
        assert_eq!(wallet(&buyer).await, (0, 0, 0));
    }
    for outcome in ["payment.refunded", "made up"] {
        assert_eq!(choose(outcome).await, 422);
    }
    for _ in 0..3 {
        assert_eq!(choose("paid").await, 200);
        assert_eq!(wallet(&buyer).await, (500, 0, 0));
    }
    // Nobody makes a checkout of their own.
    let forged = json!({ "payment": format!("{ticket}x"), "outcome": "paid" });
    let (status, answer) = buyer
        .send("POST", "/api/sandbox/checkout", Some(forged), &[])
        .await;
    assert_eq!((status, &answer["code"]), (400, &json!("bad_signature")));

    let id = account(&buyer).await;
    let paid = event("payment.succeeded", "pay_2", &id, 100, 0);
    let (signature, body) = signed(&paid, 0);
    for (signature, body) in [
        (signature.as_str(), body.replace("100", "900")),
        ("", body.clone()),
        ("t=1,v1=00", body.clone()),
    ] {
        let (status, answer) = send(&up.http, signature, body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("bad_signature")));
    }
    assert_eq!(deliver(&up.http, &paid, 301).await.0, 400, "a recording");
    assert_eq!(
        deliver(&up.http, &json!({ "type": "payment.succeeded" }), 0)
            .await
            .0,
        400
    );
    assert_eq!(
        deliver(&up.http, &event("dispute.opened", "pay_2", &id, 100, 0), 0)
            .await
            .0,
        200
    );
    assert_eq!(wallet(&buyer).await, (500, 0, 0));

    // The same webhook many times, at once and through two gateways.
    let second = deployment.start("gateway").await;
    let deliveries = (0..20).map(|n| {
        let base = if n % 2 == 0 { &up.http } else { &second.http };
        deliver(base, &paid, 0)
    });
    for (status, answer) in futures::future::join_all(deliveries).await {
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(wallet(&buyer).await, (600, 0, 0));
    // Another amount for the same payment is not believed, signed or not.
    let richer = event("payment.succeeded", "pay_2", &id, 101, 0);
    assert_eq!(deliver(&up.http, &richer, 0).await.0, 409);
    // Taken back before it was told of: what comes late changes nothing.
    for kind in ["payment.refunded", "payment.succeeded"] {
        let refunded = if kind == "payment.refunded" { 70 } else { 0 };
        let told = event(kind, "pay_3", &id, 70, refunded);
        assert_eq!(deliver(&up.http, &told, 0).await.0, 200);
        assert_eq!(wallet(&buyer).await, (600, 0, 0));
    }
    let printed = deployment.run(&["ledger", "verify"]).await;
    assert_eq!(printed.matches("   ok\n").count(), 3, "{printed}");
    assert!(printed.contains("4 entries over 1 wallets"), "{printed}");
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fees_payouts_and_payments_taken_back_end_in_debts_and_never_in_lost_points() {
    let deployment = Deployment::new("debt").with("LEMONAIR_DONATION_FEE", "500");
    let up = deployment.start("up").await;
    let streamer = Api::sign_up(&up.http, "Star").await;
    let donor = Api::sign_up(&up.http, "Giver").await;
    let mut operator = Api::new(&up.http);
    let token = deployment
        .run(&["token", "Boss", "--role", "operator"])
        .await;
    operator.token = Some(token.trim().to_owned());

    let bought = donor
        .post("/api/wallet/top-ups", json!({ "amount": 1000 }))
        .await;
    assert_eq!(
        (&bought["status"], &bought["balance"]),
        (&json!("succeeded"), &json!(1000))
    );
    let (_, first) = donor.donate("star", 400, "a").await;
    assert_eq!(wallet(&streamer).await, (0, 380, 0));

    let pay_out = async |who: &Api, amount: i64, key: &str| {
        let body = Some(json!({ "amount": amount }));
        let key = [("Idempotency-Key", key)];
        who.send("POST", "/api/channels/star/payouts", body, &key)
            .await
    };
    assert_eq!(pay_out(&streamer, 100, "p").await.0, 403);
    assert_eq!(pay_out(&operator, 381, "q").await.0, 409);
    // Ten at once of which the earnings pay for three; then again, each with its first answer.
    let ask = || {
        (0..10).map(|n| {
            pay_out(
                &operator,
                120,
                ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"][n],
            )
        })
    };
    let asked = futures::future::join_all(ask()).await;
    let again = futures::future::join_all(ask()).await;
    for (first, again) in asked.iter().zip(&again) {
        assert_eq!((first.0, &first.1["id"]), (again.0, &again.1["id"]));
    }
    assert_eq!(asked.iter().filter(|(status, _)| *status == 201).count(), 3);
    assert_eq!(wallet(&streamer).await, (0, 20, 0));

    // A refund after the payout is the streamer's debt; what is earned next pays it.
    let refund = format!(
        "/api/donations/{}/refund",
        first["id"].as_str().expect("an id")
    );
    assert_eq!(streamer.send("POST", &refund, None, &[]).await.0, 201);
    assert_eq!(wallet(&streamer).await, (0, -360, 360));
    assert_eq!(wallet(&donor).await, (1000, 0, 0));
    assert_eq!(pay_out(&operator, 1, "late").await.0, 409);
    donor.donate("star", 900, "b").await;
    assert_eq!(wallet(&streamer).await, (0, 495, 0));

    // A payment taken back is the donor's debt where it was spent; the next one pays it.
    let entry = bought["id"].as_str().expect("an id");
    let back = format!("/api/sandbox/top-ups/{entry}/refund");
    let all = Some(json!({ "refunded": 1000 }));
    assert_eq!(donor.send("POST", &back, all.clone(), &[]).await.0, 403);
    for _ in 0..2 {
        assert_eq!(operator.send("POST", &back, all.clone(), &[]).await.0, 201);
        assert_eq!(wallet(&donor).await, (0, 0, 900));
    }
    donor
        .post("/api/wallet/top-ups", json!({ "amount": 950 }))
        .await;
    assert_eq!(wallet(&donor).await, (50, 0, 0));

    // Both sides' statements add up to what they have.
    for (who, kinds, points) in [
        (
            &donor,
            vec![
                "top_up",
                "donation",
                "refund",
                "donation",
                "correction",
                "top_up",
            ],
            50,
        ),
        (
            &streamer,
            vec![
                "received", "payout", "payout", "payout", "refund", "received",
            ],
            495,
        ),
    ] {
        let csv = statement(who, "/api/wallet/statement.csv", &[]).await;
        let rows: Vec<Vec<&str>> = csv
            .lines()
            .skip(1)
            .map(|line| line.split(',').collect())
            .collect();
        assert_eq!(rows.iter().map(|row| row[1]).collect::<Vec<_>>(), kinds);
        let sum: i64 = rows
            .iter()
            .map(|row| row[2].parse::<i64>().expect("points"))
            .sum();
        assert_eq!(sum, points, "{csv}");
        let accepted = statement(who, "/api/wallet/entries", &[("Accept", "text/csv")]).await;
        assert_eq!(accepted, csv);
        let future = "/api/wallet/statement.csv?from=2999-01-01";
        assert_eq!(statement(who, future, &[]).await.lines().count(), 1);
        let past = "/api/wallet/statement.csv?to=2020-01-01T00:00:00Z";
        assert_eq!(statement(who, past, &[]).await.lines().count(), 1);
        let bad = "/api/wallet/statement.csv?to=tomorrow";
        assert_eq!(who.send("GET", bad, None, &[]).await.0, 400);
    }

    // The last entry's id is from after midnight, its batch is from before: it is in one statement.
    let all = statement(&streamer, "/api/wallet/statement.csv", &[]).await;
    let last: Vec<&str> = all.lines().last().expect("an entry").split(',').collect();
    assert_eq!(last[10], "Giver");
    let id: EventId = last[9].parse().expect("an entry's id");
    let midnight = id.at();
    let Timestamp(before) = midnight;
    let set = format!(
        "UPDATE {}.entries SET posted_at = {} WHERE id = UNHEX('{}')",
        deployment.database(),
        before - 1,
        id.0.simple()
    );
    deployment.sql(&set).await;
    let of = async |span: &str| {
        let path = format!("/api/wallet/statement.csv?{span}={midnight}");
        statement(&streamer, &path, &[]).await.contains(last[9])
    };
    assert!(of("to").await, "until midnight");
    assert!(!of("from").await, "and not from midnight on");

    // The oracle agrees, until somebody touches a row.
    let printed = deployment.run(&["ledger", "verify"]).await;
    assert_eq!(printed.matches("   ok\n").count(), 3, "{printed}");
    let database = deployment.database();
    let touch =
        format!("UPDATE {database}.balances SET amount = amount + 1 WHERE book = 'platform'");
    deployment.sql(&touch).await;
    let output = deployment
        .command(&["ledger", "verify"])
        .output()
        .await
        .expect("run lemonair");
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("mysql: Platform of platform is 46, the topics say 45"),
        "{printed}"
    );
    assert!(printed.contains("1 FAULTS"), "{printed}");
    assert_eq!(up.stop().await, Some(0));
}

async fn statement(who: &Api, path: &str, headers: &[(&str, &str)]) -> String {
    match who.send("GET", path, None, headers).await {
        (200, Value::String(csv)) => csv,
        other => panic!("{other:?}"),
    }
}

/// Free points are not for a site that others reach, unless somebody says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_site_gives_nothing_for_nothing_unless_told_to() {
    let deployment = Deployment::new("free").with("LEMONAIR_HTTP", "0.0.0.0:0");
    let up = deployment.start("up").await;
    let order = json!({ "amount": 5 });
    let mut buyer = Api::new(&up.http);
    let body = json!({ "name": "Buyer", "password": "correct horse battery" });
    let (_, session) = buyer.send("POST", "/api/accounts", Some(body), &[]).await;
    buyer.token = session["tokens"]["access_token"]
        .as_str()
        .map(str::to_owned);
    let (status, answer) = buyer
        .send("POST", "/api/wallet/top-ups", Some(order.clone()), &[])
        .await;
    assert_eq!((status, &answer["code"]), (501, &json!("payments_off")));
    let told = event("payment.succeeded", "pay_1", &account(&buyer).await, 5, 0);
    assert_eq!(deliver(&up.http, &told, 0).await.0, 501);
    assert_eq!(up.stop().await, Some(0));
    let deployment = deployment.with("LEMONAIR_PAYMENT_PROVIDER", "sandbox");
    let up = deployment.start("up").await;
    buyer.base = up.http.clone();
    let (status, _) = buyer
        .send("POST", "/api/wallet/top-ups", Some(order), &[])
        .await;
    assert_eq!(status, 201);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_pays_at_the_checkout_and_sees_it_in_the_wallet() {
    let deployment = deployment("page");
    let up = deployment.start("up").await;
    let browser = Browser::open(1280, 800).await;
    browser.goto(&format!("{}/wallet", up.http)).await;
    browser.click("[data-testid=signup-open]").await;
    browser.fill("#signup-name", "lime").await;
    browser
        .fill("#signup-password", "correct horse battery")
        .await;
    browser.click("#signup-submit").await;
    browser.see("[data-testid=wallet-balance]").await;
    browser.click("[data-testid=wallet-topup]").await;
    browser.fill("[data-testid=topup-amount]", "1000").await;
    browser.click("[data-testid=topup-submit]").await;
    let amount = browser.text("[data-testid=checkout-amount]").await;
    assert_eq!(amount, "1,000 points");
    browser.click("[data-testid=checkout-failed]").await;
    browser
        .until(
            "the card is declined",
            "return document.querySelector('.checkout').textContent.includes('declined');",
        )
        .await;
    browser.click("[data-testid=checkout-paid]").await;
    browser
        .until(
            "the points are there",
            "const b = document.querySelector('[data-testid=wallet-balance]'); \
             return !!b && b.textContent === '1,000 points' \
             && document.querySelectorAll('[data-testid=entry]').length === 1;",
        )
        .await;
    // The file is the statement: what the page makes of it is caught on its way.
    browser
        .js(
            "const make = URL.createObjectURL; URL.createObjectURL = (blob) => { \
             blob.text().then((text) => { window.csv = text; }); return make.call(URL, blob); };",
        )
        .await;
    browser.click("[data-testid=statement-download]").await;
    browser
        .until(
            "the statement",
            "return /^time,.*\\r\\n[^\\n]*,top_up,1000,1000,0,0,,,sandbox:pay_/.test(window.csv || '');",
        )
        .await;
    browser.close().await;
    assert_eq!(up.stop().await, Some(0));
}
