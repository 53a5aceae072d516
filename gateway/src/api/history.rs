//! What was: messages, broadcasts, figures. Pages go both ways by cursor, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lemonair_projections::messages::Message;
use lemonair_projections::{Cursor, Slice, broadcasts, messages as chat, stats as figures};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::channel::find;
use super::{InRoom, Params};
use crate::App;
use crate::error::Problem;

/// Which page is wanted: `before` goes to older items, `after` to newer ones.
#[derive(Deserialize)]
pub(crate) struct Paging {
    // Flattened query strings reach serde as text.
    limit: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl Paging {
    const USUAL: u32 = 50;

    pub(crate) fn slice(&self) -> Result<Slice, Problem> {
        let limit = match self.limit.as_deref().map(str::parse) {
            None => Paging::USUAL,
            Some(Ok(limit)) if (1..=Slice::MOST).contains(&limit) => limit,
            Some(_) => {
                let detail = format!("limit is a number from 1 to {}", Slice::MOST);
                return Err(Problem::bad_request("bad_limit", detail));
            }
        };
        match (&self.before, &self.after) {
            (None, None) => Ok(Slice::start(limit)),
            (Some(before), None) => Ok(Slice::before(Cursor::from(before.clone()), limit)),
            (None, Some(after)) => Ok(Slice::after(Cursor::from(after.clone()), limit)),
            (Some(_), Some(_)) => Err(Problem::bad_request(
                "bad_query",
                "either before or after, not both",
            )),
        }
    }
}

/// `next` goes on to older items (as `before`), `prev` back to newer ones (as `after`).
pub(crate) fn page<T: Serialize>(
    name: &str,
    items: &T,
    next: Option<Cursor>,
    prev: Option<Cursor>,
) -> Json<Value> {
    Json(json!({ name: items, "next": next, "prev": prev }))
}

pub(crate) async fn messages(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    let found = chat::page(&app.pool, &room, &paging.slice()?).await?;
    let shown: Vec<Value> = found.items.into_iter().map(shown).collect();
    Ok(page("messages", &shown, found.older, found.newer))
}

fn shown(message: Message) -> Value {
    let Message {
        id,
        author,
        text,
        nonce,
        sent_at,
        deleted_at,
        ..
    } = message;
    match deleted_at {
        None => {
            json!({ "type": "chat.message", "id": id, "at": sent_at, "from": author, "text": text, "nonce": nonce })
        }
        Some(_) => json!({ "type": "chat.deleted", "id": id, "at": sent_at, "message": id }),
    }
}

pub(crate) async fn streams(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    let found = broadcasts::page(&app.pool, &room, &paging.slice()?).await?;
    let shown: Vec<Value> = found
        .items
        .into_iter()
        .map(|stream| {
            let ended = stream.ended_at;
            json!({
                "id": stream.id,
                "title": stream.title,
                "started_at": stream.started_at,
                "ended_at": ended,
                "duration_ms": ended.map(|ended| ended.since(stream.started_at).as_millis() as u64),
                "reason": stream.reason,
            })
        })
        .collect();
    Ok(page("streams", &shown, found.older, found.newer))
}

pub(crate) async fn stats(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
) -> Result<Json<Value>, Problem> {
    find(&app, &room).await?;
    let stats = figures::of_room(&app.pool, &room).await?;
    Ok(Json(json!({
        "viewers": app.hub.viewers(&room),
        "followers": stats.followers,
        "messages": stats.messages,
        "chatters": stats.chatters,
        "donations": stats.donations,
        "donated": stats.donated,
        "streams": stats.streams,
    })))
}
