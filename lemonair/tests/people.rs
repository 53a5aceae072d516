//! What people do to their own account, in the browser and beside it.

mod support;

use serde_json::{Value, json};
use support::browser::Browser;
use support::viewer::Viewer;
use support::{Api, Deployment};

const OLD: &str = "correct horse battery";
const NEW: &str = "a staple of another kind";

async fn log_in(base: &str, name: &str, password: &str) -> (u16, Value) {
    let body = json!({ "name": name, "password": password });
    Api::new(base)
        .send("POST", "/api/sessions", Some(body), &[])
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_its_owners_own() {
    let deployment = Deployment::new("people");
    let up = deployment.start("up").await;
    let phone = Api::sign_up(&up.http, "Olive").await;
    let stranger = Api::sign_up(&up.http, "Prune").await;

    let browser = Browser::open(1280, 900).await;
    browser.goto(&format!("{}/account", up.http)).await;
    browser.fill("#login-name", "olive").await;
    browser.fill("#login-password", OLD).await;
    browser.click("#login-submit").await;
    let sessions = "document.querySelectorAll('[data-testid=session]').length";
    browser
        .until(
            "both log-ins are listed",
            &format!("return {sessions} === 2"),
        )
        .await;

    // Another's session is not there to be ended.
    let listed = phone.get("/api/sessions").await;
    let current = |session: &&Value| session["current"] == true;
    let sessions_of = |listed: &Value| listed["sessions"].as_array().expect("a list").clone();
    let mine = sessions_of(&listed)
        .iter()
        .find(current)
        .expect("this one")
        .clone();
    let path = format!("/api/sessions/{}", mine["id"].as_str().expect("an id"));
    assert_eq!(stranger.send("DELETE", &path, None, &[]).await.0, 404);

    // The phone was lost: logged out from here, at once.
    browser.click("[data-testid=session-end]").await;
    browser
        .until("one is left", &format!("return {sessions} === 1"))
        .await;
    assert_eq!(phone.send("GET", "/api/wallet", None, &[]).await.0, 401);

    // Another password ends every other session, and the old one opens none.
    let (_, other) = log_in(&up.http, "olive", OLD).await;
    browser.fill("#password-old", "not this one").await;
    browser.fill("#password-new", NEW).await;
    browser.click("#password-submit").await;
    browser.see(".fault:not([hidden])").await;
    browser.fill("#password-old", OLD).await;
    browser.click("#password-submit").await;
    browser
        .until(
            "it is changed",
            "return document.querySelector('#password-old').value === ''",
        )
        .await;
    assert_eq!(log_in(&up.http, "olive", OLD).await.0, 401);
    assert_eq!(log_in(&up.http, "olive", NEW).await.0, 201);
    let mut elsewhere = Api::new(&up.http);
    elsewhere.token = other["tokens"]["access_token"].as_str().map(str::to_owned);
    assert_eq!(elsewhere.send("GET", "/api/wallet", None, &[]).await.0, 401);

    // The end: asked once, and the name is nobody's.
    browser.fill("#erase-password", NEW).await;
    browser.click("#erase-submit").await;
    browser.click("[data-testid=confirm]").await;
    browser.see("[data-testid=login-open]").await;
    assert_eq!(log_in(&up.http, "olive", NEW).await.0, 401);
    let again = json!({ "name": "olive", "password": NEW });
    let (status, taken) = stranger
        .send("POST", "/api/accounts", Some(again), &[])
        .await;
    assert_eq!((status, &taken["code"]), (409, &json!("name_taken")));
    browser.close().await;
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
    // Whoever is in a room by it is sent away when it ends, on every gateway; who is in by another stays.
    let other = deployment.start("gateway").await;
    let another = json!({ "name": "Pulp", "password": OLD });
    let another = Api::new(&up.http).post("/api/sessions", another).await;
    let another = another["tokens"]["access_token"].as_str();
    let mut stays = Viewer::join(&other.ws(), "pulp", another, None).await;
    let mut lines = Vec::new();
    for at in [&up, &other] {
        lines.push(Viewer::join(&at.ws(), "pulp", api.token.as_deref(), None).await);
    }
    // A refresh token opens no doors itself.
    let wrong = Api {
        token: refresh["refresh_token"].as_str().map(str::to_owned),
        ..api.clone()
    };
    assert_eq!(wrong.send("GET", "/api/wallet", None, &[]).await.0, 401);
    assert_eq!(api.send("DELETE", "/api/sessions", None, &[]).await.0, 204);
    for mut line in lines {
        assert_eq!(line.until_closed().await, Some(4401));
    }
    assert_eq!(stays.chat("pulp", "still here").await["type"], "ack");
    assert_eq!(api.send("GET", "/api/wallet", None, &[]).await.0, 401);
    assert_eq!(
        api.send("POST", "/api/sessions/refresh", Some(refresh), &[])
            .await
            .0,
        401
    );
    assert_eq!(other.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}
