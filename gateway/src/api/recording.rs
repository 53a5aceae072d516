//! What is kept of broadcasts: which there are, their chat and donations in time, their deletion.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lemonair_consumers::{Bound, Range, Replay, Selection};
use lemonair_projections::broadcasts::{self, Broadcast};
use lemonair_projections::messages;
use lemonair_schemas::stream::RecordingDeleted;
use lemonair_schemas::{EventId, Timestamp, Topic};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::history::{Paging, page};
use super::{InRoom, Params, User};
use crate::App;
use crate::error::Problem;
use crate::view::View;

/// Where a reader goes on, and how much of it at most.
#[derive(Deserialize)]
pub(crate) struct Reading {
    since: Option<String>,
    limit: Option<usize>,
}

const USUAL: usize = 200;
const MOST: usize = 1000;
/// What a reader is shown: the room's lanes but the life of the broadcast, which the picture shows.
const TOPICS: [Topic; 2] = [Topic::Chat, Topic::Donations];
/// What is found in this time is answered; the reader goes on from there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Each reads with a consumer of its own; more wait.
static READERS: Semaphore = Semaphore::const_new(4);

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    let found = broadcasts::recordings(&app.pool, &room, &paging.slice()?).await?;
    let shown: Vec<Value> = found.items.iter().map(shown).collect();
    Ok(page("recordings", &shown, found.older, found.newer))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Path(stream): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&find(&app, &stream).await?)))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(stream): Path<String>,
    user: User,
) -> Result<StatusCode, Problem> {
    let Broadcast {
        id: stream,
        room,
        ended_at,
        ..
    } = find(&app, &stream).await?;
    user.must_run(&room)?;
    if ended_at.is_none() {
        let detail = "the broadcast is still on air; end it first";
        return Err(Problem::new(StatusCode::CONFLICT, "on_air", detail));
    }
    let deleted = RecordingDeleted {
        id: EventId::new(),
        at: Timestamp::now(),
        actor: Some(user.actor(Some(&room))),
        room,
        stream,
        reason: "asked".to_owned(),
    };
    let position = app.log.append(deleted).await?;
    app.settle(&[position]).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The room's chat and donations from the start of the broadcast to its end, as viewers saw them;
/// without what was taken away since.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Path(stream): Path<String>,
    Params(Reading { since, limit }): Params<Reading>,
) -> Result<Json<Value>, Problem> {
    let broadcast = find(&app, &stream).await?;
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        let detail = format!("limit is a number from 1 to {MOST}");
        return Err(Problem::bad_request("bad_limit", detail));
    }
    let since = match since.as_deref() {
        None => [0; TOPICS.len()],
        Some(cursor) => parse(cursor)
            .ok_or_else(|| Problem::bad_request("bad_cursor", "since is a cursor of this list"))?,
    };
    let selection = Selection {
        rooms: vec![broadcast.room],
        from: Some(Bound::Time(broadcast.started_at)),
        to: broadcast.ended_at.map(Bound::Time),
        ..Selection::of(&TOPICS)
    };
    // Never fails: the semaphore is never closed.
    let _permit = READERS.acquire().await;
    let mut ranges = selection.ranges(&app.kafka).await.map_err(fault)?;
    for range in &mut ranges {
        range.start = range.start.max(since[lane(range.topic)]);
    }
    ranges.retain(|range| range.start < range.end);
    let ends = ranges.clone();
    let codec = Arc::clone(&app.codec);
    let mut replay = Replay::open(&app.kafka, codec, selection, ranges)
        .await
        .map_err(fault)?;
    let mut views = Vec::new();
    let mut is_over = false;
    let read = async {
        while views.len() < limit {
            let Some(record) = replay.next().await? else {
                is_over = true;
                break;
            };
            if let Ok(event) = record.content {
                let view = View::of(&event);
                if !view.open.is_empty() {
                    views.push(view);
                }
            }
        }
        Ok::<_, lemonair_consumers::Error>(())
    };
    if let Ok(read) = timeout(PATIENCE, read).await {
        read.map_err(fault)?;
    } else if views.is_empty() {
        return Err(Problem::unavailable(&"the topics are too long to find it"));
    }
    let rest = replay.rest();
    drop(replay);
    let ids: Vec<EventId> = views
        .iter()
        .filter_map(|view| view.shows.map(|(message, _)| message))
        .collect();
    let gone = messages::deleted_among(&app.pool, &ids).await?;
    let events: Vec<Value> = views
        .iter()
        .filter(|view| {
            view.shows
                .is_none_or(|(message, _)| !gone.contains(&message))
        })
        .filter_map(|view| serde_json::from_str(&view.open).ok())
        .collect();
    let next = (!is_over && !rest.is_empty()).then(|| cursor(since, &ends, &rest));
    Ok(Json(json!({ "events": events, "next": next })))
}

/// The broadcast, if it was recorded and anybody may see that.
pub(crate) async fn find(app: &App, stream: &str) -> Result<Broadcast, Problem> {
    let nothing = || Problem::not_found("there is no such recording; it may have been deleted");
    let stream: EventId = stream.parse().map_err(|_| nothing())?;
    let broadcast = broadcasts::by_id(&app.pool, stream).await?;
    broadcast
        .filter(|broadcast| {
            state(broadcast).is_some() && !app.codec.erased().owned(&broadcast.room)
        })
        .ok_or_else(nothing)
}

/// Where the recording of a broadcast is on its way; nothing if there is none to be watched.
pub(crate) fn state(broadcast: &Broadcast) -> Option<&'static str> {
    let kept = broadcast.recording?;
    if kept.deleted_at.is_some() {
        return None;
    }
    Some(match (kept.whole, broadcast.ended_at) {
        (Some(_), _) => "ready",
        (None, Some(_)) => "finishing",
        (None, None) => "live",
    })
}

fn shown(broadcast: &Broadcast) -> Value {
    let whole = broadcast.recording.and_then(|recording| recording.whole);
    let folder = format!("/recordings/{}", broadcast.id);
    json!({
        "stream": broadcast.id,
        "room": broadcast.room,
        "title": broadcast.title,
        "started_at": broadcast.started_at,
        "ended_at": broadcast.ended_at,
        "duration_ms": whole.map(|whole| whole.duration_ms),
        "bytes": whole.map(|whole| whole.bytes),
        "state": state(broadcast),
        "playlist": format!("{folder}/index.m3u8"),
        "thumbnail": format!("{folder}/thumbnail.jpg"),
    })
}

fn lane(topic: Topic) -> usize {
    usize::from(topic != TOPICS[0])
}

/// Where each topic goes on: at its end, unless there is something left.
fn cursor(since: [i64; TOPICS.len()], ends: &[Range], rest: &[Range]) -> String {
    let mut next = since;
    for range in ends {
        next[lane(range.topic)] = range.end;
    }
    for range in rest {
        next[lane(range.topic)] = range.start;
    }
    next.map(|offset| offset.to_string()).join("-")
}

fn parse(cursor: &str) -> Option<[i64; TOPICS.len()]> {
    let offsets = cursor.split('-').map(|offset| offset.parse().ok());
    let offsets: Option<Vec<i64>> = offsets.collect();
    let offsets: [i64; TOPICS.len()] = offsets?.try_into().ok()?;
    offsets.iter().all(|offset| *offset >= 0).then_some(offsets)
}

fn fault(error: lemonair_consumers::Error) -> Problem {
    Problem::unavailable(&error)
}
