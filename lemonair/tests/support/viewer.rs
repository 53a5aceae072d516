//! A viewer on the WebSocket.

use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::PATIENCE;

/// Frames that wait for a test to look; then reading waits.
const AHEAD: usize = 10_000;

pub(crate) struct Viewer {
    socket: SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Message>,
    frames: mpsc::Receiver<Result<Message, Error>>,
    /// Reads at once, as browsers do: pings are answered while a test looks elsewhere.
    _reader: JoinSet<()>,
    /// Events of the room so far, without viewer counts.
    pub(crate) seen: Vec<Value>,
    pub(crate) cursor: String,
    pub(crate) recovered: bool,
    /// As it was told last.
    pub(crate) viewers: u64,
    answers: Vec<Value>,
    pub(crate) closed: Option<u16>,
}

impl Viewer {
    pub(crate) async fn connect(url: &str) -> Viewer {
        Viewer::from_page(url, None).await.expect("connect")
    }

    /// As the browser does for a page of this origin; `None` if the page may not connect.
    pub(crate) async fn from_page(url: &str, origin: Option<&str>) -> Option<Viewer> {
        let mut request = url.into_client_request().expect("a request");
        if let Some(origin) = origin {
            let origin = origin.parse().expect("a header");
            request.headers_mut().insert("origin", origin);
        }
        let (socket, _) = match tokio_tungstenite::connect_async(request).await {
            Ok(connected) => connected,
            Err(Error::Http(answer)) if answer.status() == 403 => return None,
            Err(error) => panic!("connect: {error}"),
        };
        let (socket, mut incoming) = socket.split();
        let (sender, frames) = mpsc::channel(AHEAD);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Some(frame) = incoming.next().await {
                if sender.send(frame).await.is_err() {
                    return;
                }
            }
        });
        Some(Viewer {
            socket,
            frames,
            _reader: reader,
            seen: Vec::new(),
            cursor: String::new(),
            recovered: false,
            viewers: 0,
            answers: Vec::new(),
            closed: None,
        })
    }

    /// Connects and joins a room.
    pub(crate) async fn join(
        url: &str,
        room: &str,
        token: Option<&str>,
        since: Option<&str>,
    ) -> Viewer {
        let mut viewer = Viewer::connect(url).await;
        let mut ask = json!({ "type": "join", "id": "join", "room": room });
        if let Some(token) = token {
            ask["token"] = token.into();
        }
        if let Some(since) = since {
            ask["since"] = since.into();
        }
        let joined = viewer.ask(ask).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        viewer
    }

    pub(crate) async fn send(&mut self, ask: Value) {
        self.socket
            .send(Message::text(ask.to_string()))
            .await
            .expect("send");
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("send");
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, ask: Value) -> Value {
        let id = ask["id"].clone();
        self.send(ask).await;
        self.answer(&id).await
    }

    pub(crate) async fn chat(&mut self, room: &str, text: &str) -> Value {
        let id = uuid::Uuid::new_v4().to_string();
        self.ask(json!({ "type": "chat", "id": id, "room": room, "text": text, "nonce": id }))
            .await
    }

    /// Sends a message; `None` if the connection was lost before the answer came.
    pub(crate) async fn try_chat(&mut self, room: &str, text: &str, nonce: &str) -> Option<Value> {
        let ask =
            json!({ "type": "chat", "id": nonce, "room": room, "text": text, "nonce": nonce });
        let sent = self.socket.send(Message::text(ask.to_string())).await;
        if sent.is_err() {
            self.closed = Some(1006);
        }
        loop {
            if let Some(index) = self.answers.iter().position(|answer| answer["id"] == nonce) {
                return Some(self.answers.remove(index));
            }
            if self.closed.is_some() {
                return None;
            }
            self.receive().await;
        }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&mut self, id: &Value) -> Value {
        loop {
            if let Some(index) = self.answers.iter().position(|answer| answer["id"] == *id) {
                return self.answers.remove(index);
            }
            assert!(
                self.closed.is_none(),
                "closed with {:?} before the answer",
                self.closed
            );
            self.receive().await;
        }
    }

    /// Waits until an event passes `wanted`.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(event) = self.seen.iter().find(|event| wanted(event)) {
                return event.clone();
            }
            assert!(
                self.closed.is_none(),
                "closed with {:?} before {what}",
                self.closed
            );
            self.receive().await;
        }
    }

    /// Waits until as many events of a type were seen.
    pub(crate) async fn until_count(&mut self, what: &str, kind: &str, count: usize) {
        while self
            .seen
            .iter()
            .filter(|event| event["type"] == kind)
            .count()
            < count
        {
            assert!(
                self.closed.is_none(),
                "closed with {:?} before {what}",
                self.closed
            );
            self.receive().await;
        }
    }

    /// Waits until it is told that so many watch.
    pub(crate) async fn until_viewers(&mut self, count: u64) {
        while self.viewers != count {
            assert!(
                self.closed.is_none(),
                "closed with {:?} before there were {count} viewers",
                self.closed
            );
            self.receive().await;
        }
    }

    /// Waits until the server closes the connection; its code.
    pub(crate) async fn until_closed(&mut self) -> Option<u16> {
        while self.closed.is_none() {
            self.receive().await;
        }
        self.closed
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        let messages = self
            .seen
            .iter()
            .filter(|event| event["type"] == "chat.message");
        messages
            .filter_map(|event| event["text"].as_str())
            .collect()
    }

    /// Takes in one frame, or the end.
    pub(crate) async fn receive(&mut self) {
        let message = tokio::time::timeout(PATIENCE, self.frames.recv())
            .await
            .expect("a frame in time");
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                self.closed = Some(frame.map_or(1005, |frame| frame.code.into()));
                return;
            }
            Some(Ok(_)) => return,
            Some(Err(_)) | None => {
                self.closed = Some(1006);
                return;
            }
        };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        if let Some(cursor) = frame["cursor"].as_str() {
            self.cursor = cursor.to_owned();
        }
        if frame["type"] == "joined" {
            self.recovered = frame["recovered"] == true;
            self.viewers = frame["viewers"].as_u64().expect("a count");
        }
        for event in frame["events"].as_array().into_iter().flatten() {
            match event["type"] == "viewers" {
                true => self.viewers = event["count"].as_u64().expect("a count"),
                false => self.seen.push(event.clone()),
            }
        }
        if frame["type"] != "events" {
            self.answers.push(frame);
        }
    }
}
