//! A reader of server-sent events.

use serde_json::Value;

use super::PATIENCE;

pub(crate) struct Reader {
    response: reqwest::Response,
    unread: Vec<u8>,
    /// All that came, as it came.
    pub(crate) raw: String,
    /// The last `id`, as an `EventSource` keeps it.
    pub(crate) id: String,
    /// Events of the room so far, without viewer counts.
    pub(crate) seen: Vec<Value>,
    /// The last viewer count.
    pub(crate) viewers: Option<u64>,
    pub(crate) recovered: bool,
    pub(crate) closed: Option<u64>,
    pub(crate) retry: Option<u64>,
}

impl Reader {
    /// Asks for a path and reads until the room is joined.
    pub(crate) async fn open(http: &str, path: &str, last: Option<&str>) -> Reader {
        let mut request = reqwest::Client::new().get(format!("{http}{path}"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        let mut reader = Reader {
            response,
            unread: Vec::new(),
            raw: String::new(),
            id: String::new(),
            seen: Vec::new(),
            viewers: None,
            recovered: false,
            closed: None,
            retry: None,
        };
        assert_eq!(reader.receive().await.as_deref(), Some("joined"));
        reader
    }

    /// Waits until an event passes `wanted`.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        while !self.seen.iter().any(&wanted) {
            assert!(self.receive().await.is_some(), "ended before {what}");
        }
    }

    pub(crate) async fn until_viewers(&mut self, count: u64) {
        while self.viewers != Some(count) {
            assert!(self.receive().await.is_some(), "ended before {count}");
        }
    }

    /// Reads to the end; the code that was told.
    pub(crate) async fn until_closed(&mut self) -> Option<u64> {
        while self.receive().await.is_some() {}
        self.closed
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        let messages = self.seen.iter();
        let messages = messages.filter(|event| event["type"] == "chat.message");
        messages
            .filter_map(|event| event["text"].as_str())
            .collect()
    }

    /// Takes in one event; its name. `None` at the end.
    async fn receive(&mut self) -> Option<String> {
        let end = loop {
            let end = self.unread.windows(2).position(|two| two == b"\n\n");
            if let Some(end) = end {
                break end + 2;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            // Cut off is over too.
            let chunk = chunk.expect("bytes in time").ok().flatten()?;
            self.unread.extend_from_slice(&chunk);
        };
        let block = String::from_utf8(self.unread.drain(..end).collect()).expect("UTF-8");
        self.raw.push_str(&block);
        let mut name = String::new();
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut self.id),
                Some(("event", event)) => event.clone_into(&mut name),
                Some(("retry", retry)) => self.retry = retry.parse().ok(),
                Some(("data", data)) => self.take(&serde_json::from_str(data).expect("JSON")),
                _ => assert!(matches!(line, "" | ":"), "{line}"),
            }
        }
        Some(name)
    }

    fn take(&mut self, frame: &Value) {
        if frame["type"] == "closed" {
            self.closed = frame["code"].as_u64();
            return;
        }
        assert_eq!(frame["cursor"], self.id.as_str());
        if frame["type"] == "joined" {
            self.recovered = frame["recovered"] == true;
            self.viewers = frame["viewers"].as_u64();
        }
        for event in frame["events"].as_array().expect("events") {
            match event["count"].as_u64() {
                Some(count) if event["type"] == "viewers" => self.viewers = Some(count),
                _ => self.seen.push(event.clone()),
            }
        }
    }
}
