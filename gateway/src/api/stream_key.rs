//! Stream keys: several a channel, each shown once, each void at its owner's word.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lemonair_projections::stream_keys::{self, StreamKey};
use lemonair_schemas::channel::{StreamKeyIssued, StreamKeyRevoked};
use lemonair_schemas::{Actor, EventId, RoomId, Timestamp};
use rand::RngCore;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::MySqlPool;
use subtle::ConstantTimeEq;

use super::channel::{bounded, find};
use super::{Body, InRoom, User};
use crate::App;
use crate::error::Problem;

/// Keys that a channel has at most.
const MOST: usize = 20;
/// Characters of a label, at most.
const LABEL: usize = 60;
/// Characters by which an owner can tell a key, and by which it is found.
const PREFIX: usize = 9;

#[derive(Deserialize)]
pub(crate) struct Wanted {
    label: Option<String>,
}

/// What may be told of the newest key: never the key itself.
pub(crate) async fn newest(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_run(&room)?;
    find(&app, &room).await?;
    let key = stream_keys::of_room(&app.pool, &room).await?.pop();
    Ok(Json(json!({
        "server": app.config.rtmp_url,
        "prefix": key.as_ref().map(|key| &key.prefix),
        "created_at": key.as_ref().map(|key| key.issued_at),
    })))
}

/// One key in place of all.
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<(StatusCode, Json<Value>), Problem> {
    user.must_run(&room)?;
    find(&app, &room).await?;
    let (key, issued) = new_stream_key(room.clone(), Some(user.actor(Some(&room))));
    issue(&app, key, issued).await
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_run(&room)?;
    find(&app, &room).await?;
    let keys = stream_keys::of_room(&app.pool, &room).await?;
    let keys: Vec<Value> = keys.iter().map(told).collect();
    Ok(Json(json!({ "server": app.config.rtmp_url, "keys": keys })))
}

/// One more key.
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Body(Wanted { label }): Body<Wanted>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    user.must_run(&room)?;
    find(&app, &room).await?;
    if stream_keys::of_room(&app.pool, &room).await?.len() >= MOST {
        let detail = format!("a channel has at most {MOST} stream keys; revoke one first");
        return Err(Problem::new(StatusCode::CONFLICT, "too_many_keys", detail));
    }
    let label = bounded("label", label.unwrap_or_default(), LABEL)?;
    let (key, issued) = new_stream_key(room.clone(), Some(user.actor(Some(&room))));
    let issued = StreamKeyIssued {
        label,
        beside: true,
        ..issued
    };
    issue(&app, key, issued).await
}

#[derive(Deserialize)]
pub(crate) struct KeyPath {
    key: EventId,
}

/// Ends the broadcast of who is on air with it, too: ingest hears of the event.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path(KeyPath { key }): Path<KeyPath>,
    user: User,
) -> Result<StatusCode, Problem> {
    user.must_run(&room)?;
    let keys = stream_keys::of_room(&app.pool, &room).await?;
    if !keys.iter().any(|known| known.id == key) {
        let detail = format!("{room} has no such stream key");
        return Err(Problem::not_found(detail));
    }
    let revoked = StreamKeyRevoked {
        id: EventId::new(),
        at: Timestamp::now(),
        room: room.clone(),
        actor: Some(user.actor(Some(&room))),
        issued: key,
    };
    let position = app.log.append(revoked).await?;
    app.settle(&[position]).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn issue(
    app: &App,
    key: String,
    issued: StreamKeyIssued,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = json!({
        "id": issued.id,
        "key": key,
        "server": app.config.rtmp_url,
        "prefix": issued.prefix,
        "label": issued.label,
    });
    let position = app.log.append(issued).await?;
    app.settle(&[position]).await;
    Ok((StatusCode::CREATED, Json(body)))
}

fn told(key: &StreamKey) -> Value {
    json!({
        "id": key.id,
        "label": key.label,
        "prefix": key.prefix,
        "created_at": key.issued_at,
    })
}

/// A key of 192 random bits, and the fact that it is now the one in force. Only its hash is kept: a
/// key is too long to guess, so a plain hash tells nothing.
pub fn new_stream_key(room: RoomId, actor: Option<Actor>) -> (String, StreamKeyIssued) {
    let mut random = [0; 24];
    rand::rng().fill_bytes(&mut random);
    let key = format!("live_{}", URL_SAFE_NO_PAD.encode(random));
    let issued = StreamKeyIssued {
        id: EventId::new(),
        at: Timestamp::now(),
        room,
        actor,
        hash: hash(&key),
        prefix: key[..PREFIX].to_owned(),
        label: String::new(),
        beside: false,
    };
    (key, issued)
}

/// What is known of a key that somebody shows. How long it takes does not tell how much of it is
/// right, beyond the prefix, which is no secret.
pub async fn find_stream_key(
    pool: &MySqlPool,
    key: &str,
) -> lemonair_projections::Result<Option<StreamKey>> {
    let Some(prefix) = key.get(..PREFIX) else {
        return Ok(None);
    };
    let hash = hash(key);
    let known = stream_keys::beginning_with(pool, prefix).await?;
    Ok(known
        .into_iter()
        .find(|known| known.hash.as_bytes().ct_eq(hash.as_bytes()).into()))
}

fn hash(key: &str) -> String {
    Sha256::digest(key)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
