//! What was: messages, broadcasts, figures. Pages go both ways by cursor, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use futures::future::try_join_all;
use lemonair_projections::broadcasts::Broadcast;
use lemonair_projections::messages::Message;
use lemonair_projections::stats::{Span, Totals};
use lemonair_projections::{Cursor, Slice, broadcasts, messages as chat, stats as figures};
use lemonair_schemas::{EventId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::channel::find;
use super::chat::find_message;
use super::{InRoom, Params, recording};
use crate::App;
use crate::error::Problem;

/// Broadcasts that are counted up at once.
const AT_ONCE: usize = 4;

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

/// One message: what an answer to it quotes.
pub(crate) async fn message(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, message)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let id = message
        .parse()
        .map_err(|_| Problem::not_found("there is no such message"))?;
    let found = find_message(&app, &room, id).await?;
    Ok(Json(shown(found)))
}

fn shown(message: Message) -> Value {
    let Message {
        id,
        author,
        text,
        nonce,
        reply_to,
        sent_at,
        deleted_at,
        ..
    } = message;
    match deleted_at {
        None => {
            json!({ "type": "chat.message", "id": id, "at": sent_at, "from": author, "text": text, "nonce": nonce, "reply_to": reply_to })
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
    let now = Timestamp::now();
    let mut totals = Vec::with_capacity(found.items.len());
    for some in found.items.chunks(AT_ONCE) {
        let asked = some
            .iter()
            .map(|broadcast| figures::totals(&app.pool, &room, span(broadcast, now)));
        totals.extend(try_join_all(asked).await?);
    }
    let shown: Vec<Value> = found
        .items
        .iter()
        .zip(totals)
        .map(|(broadcast, totals)| outlined(broadcast, totals))
        .collect();
    Ok(page("streams", &shown, found.older, found.newer))
}

/// How a broadcast went: what is to be drawn over its time.
pub(crate) async fn course(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, stream)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let missing = || Problem::not_found(format!("there is no broadcast {stream:?} in {room}"));
    let id: EventId = stream.parse().map_err(|_| missing())?;
    let found = broadcasts::by_id(&app.pool, id).await?;
    let broadcast = found
        .filter(|found| found.room == room)
        .ok_or_else(missing)?;
    let span = span(&broadcast, Timestamp::now());
    let course = figures::course(&app.pool, &room, span).await?;
    let totals = figures::totals(&app.pool, &room, span).await?;
    let mut shown = outlined(&broadcast, totals);
    shown["step_seconds"] = json!(course.step_seconds);
    shown["points"] = json!(course.points);
    Ok(Json(shown))
}

/// Up to now while it is on air.
fn span(broadcast: &Broadcast, now: Timestamp) -> Span {
    Span {
        from: broadcast.started_at,
        to: broadcast.ended_at.unwrap_or(now),
    }
}

fn outlined(broadcast: &Broadcast, totals: Totals) -> Value {
    let (started, ended) = (broadcast.started_at, broadcast.ended_at);
    json!({
        "id": broadcast.id,
        "title": broadcast.title,
        "started_at": started,
        "ended_at": ended,
        "duration_ms": ended.map(|ended| ended.since(started).as_millis() as u64),
        "reason": broadcast.reason,
        "totals": totals,
        "recording": recording::state(broadcast),
    })
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
