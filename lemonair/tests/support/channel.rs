//! A channel as its streamer sets it up, what is given to it, and that it is on air.

use lemonair_schemas::AccountId;
use serde_json::json;

use super::{Api, Lemonair, eventually};

/// Whether the page's picture moves.
pub(crate) const PLAYS: &str =
    "const v = document.querySelector('video#player'); return !!v && v.currentTime > 1;";

pub(crate) async fn channel(
    up: &Lemonair,
    name: &str,
    title: &str,
    category: &str,
) -> (Api, String) {
    let owner = Api::sign_up(&up.http, name).await;
    let path = format!("/api/channels/{}", name.to_lowercase());
    let about = json!({ "title": title, "category": category, "description": "Every evening at eight.\nhttps://example.org/schedule" });
    let (status, answer) = owner.send("PATCH", &path, Some(about), &[]).await;
    assert_eq!(status, 200, "{answer}");
    let key = owner.post(&format!("{path}/stream-key"), json!({})).await;
    let key = key["key"].as_str().expect("a key").to_owned();
    (owner, key)
}

pub(crate) async fn donate(donor: &Api, room: &str, amount: i64, message: &str) {
    let key = uuid::Uuid::new_v4().to_string();
    let body = json!({ "amount": amount, "message": message });
    let path = format!("/api/channels/{room}/donations");
    let (status, answer) = donor
        .send("POST", &path, Some(body), &[("Idempotency-Key", &key)])
        .await;
    assert_eq!(status, 201, "{answer}");
}

pub(crate) async fn is_live(up: &Lemonair, room: &str) {
    let anybody = Api::new(&up.http);
    eventually("the channel is live", async || {
        let path = format!("/api/channels/{room}");
        (anybody.get(&path).await["live"] == true).then_some(())
    })
    .await;
}

/// Waits until as many seconds of a room's newest recording are kept, and returns its playlist.
pub(crate) async fn until_kept(api: &Api, room: &str, seconds: f64) -> String {
    eventually("so much is kept", async || {
        let kept = api.get(&format!("/api/channels/{room}/recordings")).await;
        let playlist = kept["recordings"][0]["playlist"].as_str()?.to_owned();
        let text = text(api, &playlist).await?;
        (length(&text) >= seconds).then_some(playlist)
    })
    .await
}

pub(crate) async fn text(api: &Api, path: &str) -> Option<String> {
    let answer = api.http.get(format!("{}{path}", api.base)).send().await;
    let answer = answer.ok().filter(|answer| answer.status().is_success())?;
    answer.text().await.ok()
}

/// Seconds of a playlist.
pub(crate) fn length(playlist: &str) -> f64 {
    let lengths = playlist.lines().filter_map(|line| {
        let length = line.strip_prefix("#EXTINF:")?.trim_end_matches(',');
        length.parse::<f64>().ok()
    });
    lengths.sum()
}

/// The account of a name, told to whoever logs in.
pub(crate) async fn account_of(up: &Lemonair, name: &str) -> AccountId {
    let body = json!({ "name": name, "password": "correct horse battery" });
    let session = Api::new(&up.http).post("/api/sessions", body).await;
    serde_json::from_value(session["account"]["id"].clone()).expect("an id")
}
