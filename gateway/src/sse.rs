//! A room as server-sent events, for those who only read: where something on the way lets no
//! WebSocket through, and for whoever has an HTTP client and no more. The same frames from the same
//! hub; `Last-Event-ID` is the cursor, so an `EventSource` comes back to where it was by itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::Stream;
use lemonair_schemas::{RoomId, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::api::{InRoom, Params};
use crate::cursor::Cursor;
use crate::error::Problem;
use crate::frame::Form;
use crate::hub::Joining;
use crate::outbox::{Close, Outbox};

/// Who is sent away comes back after one to three seconds, not all in one instant.
const RETRY: u64 = 1000;
const SPREAD: u64 = 2000;

#[derive(Debug, Deserialize)]
struct Since {
    since: Option<String>,
}

/// One who reads, for as long as the answer lasts.
struct Reader {
    app: Arc<App>,
    room: RoomId,
    number: u64,
    outbox: Arc<Outbox>,
    sending: VecDeque<Bytes>,
    goodbye: Option<Bytes>,
    ended: bool,
}

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new().route("/events/{room}", get(events))
}

async fn events(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Params(Since { since }): Params<Since>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !app.config.allows_origin(&headers) {
        let why = "this page is not allowed to read here";
        return Err(Problem::forbidden("origin", why));
    }
    let last = headers.get("last-event-id").filter(|id| !id.is_empty());
    let since = match last {
        Some(id) => Some(id.to_str().unwrap_or_default().to_owned()),
        None => since,
    };
    let reader = Reader::new(app, room);
    let joining = Joining {
        ask: &None,
        // A cursor that is not ours is as good as one whose history is gone: the client reloads.
        since: since.map(|since| since.parse().unwrap_or_else(|_| Cursor::nowhere())),
        connection: reader.number,
        outbox: &reader.outbox,
        // Nobody in particular: they see what everybody sees.
        member: None,
    };
    if let Err(error) = reader.app.hub.join(&reader.room, joining).await {
        tracing::warn!(room = %reader.room, %error, "join");
        // An EventSource gives up for good on any other status: it is told to come back instead.
        reader.outbox.close(Close::Unavailable);
    }
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = (HEADERS, Body::from_stream(reader)).into_response();
    if let Some(origin) = headers.get(header::ORIGIN) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    Ok(response)
}

// === impl Reader ===

impl Reader {
    fn new(app: Arc<App>, room: RoomId) -> Reader {
        let reader = Reader {
            number: app.hub.connection(),
            app,
            room,
            outbox: Outbox::new(Form::Sse),
            sending: VecDeque::new(),
            goodbye: None,
            ended: false,
        };
        let connections = &reader.app.connections;
        connections.add(reader.number, &reader.outbox);
        reader
    }

    /// Why it ends, and when to come back.
    fn farewell(&self, close: Close) -> Bytes {
        let (code, reason) = close.reason();
        let retry = RETRY + self.number % SPREAD;
        let data = json!({ "type": "closed", "code": code, "reason": reason });
        format!("retry: {retry}\nevent: closed\ndata: {data}\n\n").into()
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let reader = self.get_mut();
        loop {
            if let Some(piece) = reader.sending.pop_front() {
                reader.outbox.sent(piece.len());
                return Poll::Ready(Some(Ok(piece)));
            }
            if reader.ended {
                return Poll::Ready(reader.goodbye.take().map(Ok));
            }
            match reader.outbox.poll_take(task, &mut reader.sending) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {}
                Poll::Ready(Some(close)) => {
                    reader.goodbye = Some(reader.farewell(close));
                    reader.ended = true;
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Reader { app, room, .. } = self;
        app.hub.leave(room, self.number, Timestamp::now());
        app.connections.remove(self.number);
    }
}
