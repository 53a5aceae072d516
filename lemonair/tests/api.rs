//! The HTTP API and the commands: what is refused, what is remembered, what is told.

mod support;

use serde_json::{Value, json};
use support::{Api, Deployment, Publisher, eventually};

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

/// Who asks what, with which body and headers, and the status and code of the answer.
type Case<'a> = (
    &'a Api,
    &'a str,
    &'a str,
    Option<Value>,
    &'a [(&'a str, &'a str)],
    u16,
    &'a str,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_problem_details_and_change_nothing() {
    let deployment = Deployment::new("bad");
    let up = deployment.start("up").await;
    let api = Api::sign_up(&up.http, "pip").await;
    Api::sign_up(&up.http, "rind").await;
    let anybody = Api::new(&up.http);
    let account = |name: &str, password: &str| json!({ "name": name, "password": password });
    let good = "correct horse battery";
    let amount = |amount: Value| json!({ "amount": amount, "message": "" });
    let key = [("Idempotency-Key", "k")];
    let long_key = "k".repeat(129);
    let bad_key = [("Idempotency-Key", long_key.as_str())];
    let donations = "/api/channels/rind/donations";
    let cases: Vec<Case<'_>> = vec![
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(account("x", good)),
            &[],
            422,
            "bad_name",
        ),
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(account("a b", good)),
            &[],
            422,
            "bad_name",
        ),
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(account("<b>x</b>", good)),
            &[],
            422,
            "bad_name",
        ),
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(account("studio", good)),
            &[],
            409,
            "name_taken",
        ),
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(account("PIP", good)),
            &[],
            409,
            "name_taken",
        ),
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(account("fresh", "short")),
            &[],
            422,
            "weak_password",
        ),
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(account("fresh", "password")),
            &[],
            422,
            "weak_password",
        ),
        (
            &anybody,
            "POST",
            "/api/accounts",
            Some(json!({ "name": "fresh" })),
            &[],
            422,
            "bad_body",
        ),
        (
            &anybody,
            "POST",
            "/api/sessions",
            Some(account("pip", "wrong password")),
            &[],
            401,
            "bad_credentials",
        ),
        (
            &anybody,
            "POST",
            "/api/sessions",
            Some(account("nobody", "wrong password")),
            &[],
            401,
            "bad_credentials",
        ),
        (
            &anybody,
            "POST",
            "/api/sessions/refresh",
            None,
            &[],
            401,
            "unauthorized",
        ),
        (
            &anybody,
            "GET",
            "/api/wallet",
            None,
            &[],
            401,
            "unauthorized",
        ),
        (
            &anybody,
            "GET",
            "/api/wallet",
            None,
            &[("Authorization", "Bearer a.b.c")],
            401,
            "unauthorized",
        ),
        (
            &anybody,
            "GET",
            "/api/wallet",
            None,
            &[("Authorization", "nonsense")],
            401,
            "unauthorized",
        ),
        (
            &anybody,
            "GET",
            "/api/channels/nobody",
            None,
            &[],
            404,
            "not_found",
        ),
        (&anybody, "GET", "/api/nothing", None, &[], 404, "not_found"),
        (
            &anybody,
            "GET",
            "/api/channels?limit=0",
            None,
            &[],
            400,
            "bad_limit",
        ),
        (
            &anybody,
            "GET",
            "/api/channels?live=perhaps",
            None,
            &[],
            400,
            "bad_query",
        ),
        (
            &anybody,
            "GET",
            "/api/channels/pip/messages?before=nonsense",
            None,
            &[],
            400,
            "bad_cursor",
        ),
        (
            &api,
            "PATCH",
            "/api/channels/rind",
            Some(json!({ "title": "mine" })),
            &[],
            403,
            "not_yours",
        ),
        (
            &api,
            "PATCH",
            "/api/channels/pip",
            Some(json!({ "title": "x".repeat(141) })),
            &[],
            422,
            "too_long",
        ),
        (
            &api,
            "POST",
            "/api/channels/rind/stream-key",
            None,
            &[],
            403,
            "not_yours",
        ),
        (
            &api,
            "PUT",
            "/api/channels/pip/follow",
            None,
            &[],
            422,
            "own_channel",
        ),
        (
            &api,
            "POST",
            donations,
            Some(amount(json!(5))),
            &[],
            400,
            "idempotency_key_missing",
        ),
        (
            &api,
            "POST",
            donations,
            Some(amount(json!(5))),
            &bad_key,
            400,
            "bad_idempotency_key",
        ),
        (
            &api,
            "POST",
            donations,
            Some(amount(json!(0))),
            &key,
            422,
            "bad_amount",
        ),
        (
            &api,
            "POST",
            donations,
            Some(amount(json!(-5))),
            &key,
            422,
            "bad_amount",
        ),
        (
            &api,
            "POST",
            donations,
            Some(amount(json!(1.5))),
            &key,
            422,
            "bad_amount",
        ),
        (
            &api,
            "POST",
            donations,
            Some(amount(json!("5"))),
            &key,
            422,
            "bad_amount",
        ),
        (
            &api,
            "POST",
            donations,
            Some(amount(json!(1e300))),
            &key,
            422,
            "bad_amount",
        ),
        (
            &api,
            "POST",
            donations,
            Some(json!({ "amount": 5, "message": "x".repeat(501) })),
            &key,
            422,
            "message_too_long",
        ),
        (
            &api,
            "POST",
            "/api/channels/nobody/donations",
            Some(amount(json!(5))),
            &key,
            404,
            "not_found",
        ),
        (
            &api,
            "POST",
            "/api/channels/pip/donations",
            Some(amount(json!(5))),
            &key,
            422,
            "own_channel",
        ),
        (
            &api,
            "POST",
            "/api/wallet/top-ups",
            Some(amount(json!(-1))),
            &[],
            422,
            "bad_amount",
        ),
        (
            &api,
            "POST",
            "/api/donations/nonsense/refund",
            None,
            &[],
            404,
            "not_found",
        ),
    ];
    let before = deployment
        .replay(&["channels", "accounts", "donations", "ledger"])
        .await;
    for (api, method, path, body, headers, status, code) in cases {
        let (got, problem) = api.send(method, path, body.clone(), headers).await;
        assert_eq!(
            (got, problem["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {body:?}: {problem}"
        );
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
    assert_eq!(
        deployment
            .replay(&["channels", "accounts", "donations", "ledger"])
            .await,
        before
    );
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_open_renew_and_close() {
    let deployment = Deployment::new("session");
    let up = deployment.start("up").await;
    Api::sign_up(&up.http, "Pulp").await;
    let mut api = Api::new(&up.http);
    let log_in = json!({ "name": "pULP", "password": "correct horse battery" });
    let session = api.post("/api/sessions", log_in).await;
    assert_eq!(session["account"]["name"], "Pulp");
    api.token = Some(
        session["tokens"]["access_token"]
            .as_str()
            .expect("a token")
            .to_owned(),
    );
    api.get("/api/wallet").await;
    let refresh = json!({ "refresh_token": session["tokens"]["refresh_token"] });
    let (status, renewed) = api
        .send("POST", "/api/sessions/refresh", Some(refresh.clone()), &[])
        .await;
    assert_eq!((status, &renewed["account"]), (200, &session["account"]));
    // A refresh token opens no doors itself.
    let wrong = Api {
        token: refresh["refresh_token"].as_str().map(str::to_owned),
        ..api.clone()
    };
    assert_eq!(wrong.send("GET", "/api/wallet", None, &[]).await.0, 401);
    assert_eq!(api.send("DELETE", "/api/sessions", None, &[]).await.0, 204);
    assert_eq!(api.send("GET", "/api/wallet", None, &[]).await.0, 401);
    assert_eq!(
        api.send("POST", "/api/sessions/refresh", Some(refresh), &[])
            .await
            .0,
        401
    );
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_wrong_or_rotated_publishes_nothing() {
    let deployment = Deployment::new("keys");
    let up = deployment.start("up").await;
    let streamer = Api::sign_up(&up.http, "stem").await;
    let path = "/api/channels/stem/stream-key";
    let old = streamer.post(path, json!({})).await["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let new = streamer.post(path, json!({})).await["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    assert_ne!(old, new);
    for key in ["stem", "", "live_nonsense", &old] {
        assert!(
            !Publisher::start(&up.rtmp, key).ended().await,
            "{key:?} was let in"
        );
    }
    let publisher = Publisher::start(&up.rtmp, &new);
    eventually("the channel is live", async || {
        (streamer.get("/api/channels/stem").await["live"] == true).then_some(())
    })
    .await;
    // The streamer, and nobody else, sees how the stream does.
    let health = eventually("the stream is measured", async || {
        let (status, health) = streamer
            .send("GET", "/api/channels/stem/health", None, &[])
            .await;
        (status == 200 && health["video"]["key_frame_seconds"] == 1.0).then_some(health)
    })
    .await;
    assert_eq!(health["video"]["width"], 640);
    assert_eq!(health["warnings"], json!([]), "{health}");
    let other = Api::sign_up(&up.http, "leaf").await;
    let (status, _) = other
        .send("GET", "/api/channels/stem/health", None, &[])
        .await;
    assert_eq!(status, 403);

    // One more key beside it; a takeover with that one, which is revoked, ends the broadcast.
    let keys = "/api/channels/stem/stream-keys";
    let guest = streamer.post(keys, json!({ "label": "guest" })).await;
    let takeover = Publisher::start(&up.rtmp, guest["key"].as_str().expect("a key"));
    assert!(!publisher.ended().await, "the first is cut off");
    let listed = streamer.get(keys).await;
    let labels: Vec<&Value> = listed["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| &key["label"])
        .collect();
    assert_eq!(labels, ["", "guest"]);
    let path = format!("{keys}/{}", guest["id"].as_str().expect("an id"));
    assert_eq!(streamer.send("DELETE", &path, None, &[]).await.0, 204);
    assert!(!takeover.ended().await, "a revoked key is off the air");
    assert_eq!(streamer.send("DELETE", &path, None, &[]).await.0, 404);
    eventually("the channel is off the air", async || {
        (streamer.get("/api/channels/stem").await["live"] == false).then_some(())
    })
    .await;
    let publisher = Publisher::start(&up.rtmp, &new);
    eventually("the channel is live again", async || {
        (streamer.get("/api/channels/stem").await["live"] == true).then_some(())
    })
    .await;
    // A polite end needs no grace time.
    publisher.stop().await;
    let life = eventually("the broadcast is over", async || {
        let life = deployment.life().await;
        let ends = |event: &&Value| event["type"] == "stream.ended";
        (life.iter().filter(ends).count() == 2).then_some(life)
    })
    .await;
    let kinds: Vec<&str> = life
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    let once = ["stream.started", "stream.ended"];
    assert_eq!(kinds, [once, once].concat());
    assert_eq!(life[1]["reason"], "revoked");
    assert!(
        !deployment
            .replay(&["channels"])
            .await
            .iter()
            .any(|event| event.to_string().contains(&new))
    );
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_runs_alone() {
    let deployment = Deployment::new("alone").with("LEMONAIR_LEASE", "8");
    let project = deployment.start("project").await;
    let decide = deployment.start("decide").await;
    let mut ingest = deployment.start("ingest").await;
    let gateway = deployment.start("gateway").await;
    let streamer = Api::sign_up(&gateway.http, "solo").await;
    let key = streamer
        .post("/api/channels/solo/stream-key", json!({}))
        .await;
    let key = key["key"].as_str().expect("a key");
    let _publisher = Publisher::start(&ingest.rtmp, key);
    // The gateway passes on the picture of an ingest elsewhere.
    let ask = async |name: &str| {
        let url = format!("{}/hls/solo/{name}", gateway.http);
        let answer = streamer.http.get(url).send().await;
        answer.expect("an answer")
    };
    let master = eventually("there is a picture", async || {
        let answer = ask("index.m3u8").await;
        let text = answer.text().await.ok()?;
        text.contains("#EXT-X-STREAM-INF").then_some(text)
    })
    .await;
    let media = master.lines().last().expect("a playlist");
    // Who waits for a segment waits through the gateway.
    let awaited = ask(&format!("{media}?_HLS_msn=2&_HLS_part=0")).await;
    assert_eq!(awaited.status(), 200);
    let playlist = awaited.text().await.expect("a text");
    assert!(playlist.contains("-2.0.m4s"), "{playlist}");
    assert_eq!(ask(&format!("{media}?_HLS_msn=99")).await.status(), 400);
    let segment = playlist
        .lines()
        .find(|line| line.ends_with(".m4s"))
        .expect("a segment");
    let answer = ask(segment).await;
    assert!(
        answer.headers()["cache-control"]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
    assert!(answer.bytes().await.expect("a body").len() > 1000);

    // Ingest dies with the broadcast on air, which goes on when ingest and publisher are back.
    ingest.kill().await;
    let mut ingest = deployment.start("ingest").await;
    let publisher = Publisher::start(&ingest.rtmp, key);
    let kinds = async || {
        let life = deployment.life().await;
        let kinds = life.iter().filter_map(|event| event["type"].as_str());
        kinds.map(str::to_owned).collect::<Vec<String>>()
    };
    eventually("the broadcast goes on", async || {
        (kinds().await.last()? == "stream.resumed").then_some(())
    })
    .await;
    // It dies again and does not come back: the broadcast ends without it, once.
    ingest.kill().await;
    eventually("the broadcast is over", async || {
        (kinds().await.last()? == "stream.ended").then_some(())
    })
    .await;
    drop(publisher);
    let once = ["stream.started", "stream.interrupted", "stream.resumed"];
    assert_eq!(kinds().await, [&once[..], &["stream.ended"]].concat());
    for service in [gateway, decide, project] {
        assert_eq!(service.stop().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_commands_say_what_is() {
    let deployment = Deployment::new("health");
    let up = deployment.start("up").await;
    let api = Api::sign_up(&up.http, "core").await;
    assert_eq!(api.get("/healthz").await["status"], "ok");
    let ready = api.get("/readyz").await;
    assert_eq!(
        (&ready["kafka"], &ready["registry"], &ready["database"]),
        (&json!("ok"), &json!("ok"), &json!("ok"))
    );
    let metrics = api.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .is_some_and(|text| text.contains("lemonair_")),
        "{metrics}"
    );
    let doctor = deployment.run(&["doctor"]).await;
    assert!(!doctor.contains("FAULT"), "{doctor}");
    assert!(deployment.run(&["channel", "list"]).await.contains("core"));
    assert!(
        deployment
            .run(&["key", "rotate", "core"])
            .await
            .starts_with("live_")
    );

    let one_line = |said: String| assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    one_line(deployment.refused(&["channel", "show", "nobody"]).await);
    one_line(deployment.refused(&["account", "show", "nobody"]).await);
    one_line(deployment.refused(&["rebuild", "nothing"]).await);
    one_line(
        deployment
            .refused(&["up", "--config", "/nowhere/lemonair.toml"])
            .await,
    );
    let misspelt = Deployment::new("settings").with("LEMONAIR_GRACE", "soon");
    one_line(misspelt.refused(&["up"]).await);
    let unreachable = Deployment::new("settings").with("LEMONAIR_KAFKA_BROKERS", "127.0.0.1:1");
    let said = unreachable.refused(&["up"]).await;
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_as_it_is_described() {
    let deployment = Deployment::new("openapi");
    let up = deployment.start("up").await;
    let api = Api::sign_up(&up.http, "seed").await;
    let described = api.get("/api/openapi.json").await;
    let nothing = uuid::Uuid::nil().to_string();
    let mut calls = 0;
    for (path, methods) in described["paths"].as_object().expect("paths") {
        let path = path
            .replace("{room}", "seed")
            .replace("{message}", &nothing)
            .replace("{donation}", &nothing)
            .replace("{entry}", &nothing);
        for (method, call) in methods.as_object().expect("methods") {
            // Without a body or a header where one is needed: whatever is answered is described.
            let (status, answer) = api.send(&method.to_uppercase(), &path, None, &[]).await;
            let described = call["responses"].as_object().expect("responses");
            let fault = [400, 401, 403, 404, 409, 415, 422].contains(&status);
            assert!(
                described.contains_key(&status.to_string())
                    || (fault && answer["code"] != "not_found"),
                "{method} {path}: {status} {answer}"
            );
            if answer.is_object() && status < 300 {
                let schema =
                    &described[&status.to_string()]["content"]["application/json"]["schema"];
                let schema = match schema["$ref"].as_str() {
                    Some(name) => &api_schema(&api, name).await,
                    None => schema,
                };
                let known = schema["properties"].as_object().expect("properties");
                for field in answer.as_object().expect("an object").keys() {
                    assert!(
                        known.contains_key(field),
                        "{method} {path} answers {field}, which is not described"
                    );
                }
                for field in schema["required"].as_array().into_iter().flatten() {
                    let field = field.as_str().expect("a name");
                    assert!(
                        !answer[field].is_null() || answer.get(field).is_some(),
                        "{method} {path} lacks {field}"
                    );
                }
            }
            calls += 1;
        }
    }
    assert!(calls > 40);
    assert_eq!(up.stop().await, Some(0));
}

/// A schema of the description, by its reference.
async fn api_schema(api: &Api, reference: &str) -> Value {
    let described = api.get("/api/openapi.json").await;
    described
        .pointer(reference.trim_start_matches('#'))
        .expect("a schema")
        .clone()
}
