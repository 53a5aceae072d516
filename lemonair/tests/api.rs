//! The HTTP API: what is refused, and that it is as it is described.

mod support;

use serde_json::{Value, json};
use support::{Api, Deployment};

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
