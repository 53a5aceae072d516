//! Somebody in a room, and what moderators ask for.

use serde_json::Value;

use super::viewer::Viewer;
use super::{Api, Lemonair};

/// Somebody with an account and a connection.
pub(crate) struct Person {
    pub(crate) api: Api,
    pub(crate) viewer: Viewer,
}

impl Person {
    pub(crate) async fn new(at: &Lemonair, room: &str, name: &str) -> Person {
        let api = Api::sign_up(&at.http, name).await;
        let viewer = Viewer::join(&at.ws(), room, api.token.as_deref(), None).await;
        Person { api, viewer }
    }

    /// The code of the answer, `ack` if it was accepted.
    pub(crate) async fn says(&mut self, room: &str, text: &str) -> String {
        let answer = self.viewer.chat(room, text).await;
        let code = answer["code"].as_str().or_else(|| answer["type"].as_str());
        code.expect("an answer").to_owned()
    }
}

pub(crate) async fn done(api: &Api, method: &str, path: &str, body: Option<Value>) {
    let (status, answer) = api.send(method, path, body, &[]).await;
    assert!(
        matches!(status, 200 | 204),
        "{method} {path}: {status} {answer}"
    );
}

pub(crate) async fn set(api: &Api, room: &str, settings: Value) {
    let path = format!("/api/channels/{room}/chat-settings");
    done(api, "PATCH", &path, Some(settings)).await;
}

pub(crate) fn kind(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == name
}

pub(crate) fn shows(seen: &[Value], text: &str) -> bool {
    seen.iter().any(|event| event.to_string().contains(text))
}
