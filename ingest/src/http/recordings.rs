//! Recordings over HTTP, from wherever they are kept.
//!
//! A recording that is being made is a playlist that grows; one that is whole no longer changes, but
//! may be deleted, so a cache keeps it for a minute. Segments never change.

use std::io;
use std::ops::ControlFlow;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use lemonair_schemas::EventId;
use sha2::{Digest, Sha256};

use super::answer::{A_MINUTE, ONE_SECOND, PLAYLIST, not_found, pick, problem, ranged, whole};
use crate::recording::{Recordings, THUMBNAIL};

pub(crate) fn router(recordings: Recordings) -> Router {
    Router::new()
        .route("/recordings/{stream}/{file}", get(recording))
        .with_state(recordings)
}

async fn recording(
    State(recordings): State<Recordings>,
    Path((stream, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Ok(stream) = stream.parse() else {
        return not_found();
    };
    match file.as_str() {
        "index.m3u8" => playlist(&recordings, stream, &headers).await,
        THUMBNAIL => thumbnail(&recordings, stream, &headers).await,
        _ => {
            let etag = format!("\"{file}\"");
            segment(&recordings, stream, &file, &etag, &headers).await
        }
    }
}

async fn playlist(recordings: &Recordings, stream: EventId, headers: &HeaderMap) -> Response {
    match recordings.playlist(stream).await {
        Ok(Some((text, ended))) => {
            let cache = if ended { A_MINUTE } else { ONE_SECOND };
            whole(headers, PLAYLIST, cache, &tag_of(&text), text)
        }
        Ok(None) => not_found(),
        Err(error) => fault(&error),
    }
}

async fn thumbnail(recordings: &Recordings, stream: EventId, headers: &HeaderMap) -> Response {
    match recordings.get(stream, THUMBNAIL).await {
        Ok(jpeg) => whole(headers, "image/jpeg", A_MINUTE, &tag_of(&jpeg), jpeg),
        Err(error) => fault(&error),
    }
}

/// A segment or an init segment, under the name that it is known by to whoever asks.
pub(super) async fn segment(
    recordings: &Recordings,
    stream: EventId,
    file: &str,
    etag: &str,
    headers: &HeaderMap,
) -> Response {
    if !(file.ends_with(".m4s") || file.ends_with(".mp4")) {
        return not_found();
    }
    let answer = async {
        let len = recordings.len(stream, file).await?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        Ok(match pick(headers, etag, len) {
            ControlFlow::Continue(picked) => {
                let range = picked.from as u64..picked.to as u64;
                let bytes = recordings.read(stream, file, range).await?;
                ranged(&picked, etag, Body::from_stream(bytes))
            }
            ControlFlow::Break(answer) => answer,
        })
    };
    answer.await.unwrap_or_else(|error| fault(&error))
}

fn tag_of(bytes: &Bytes) -> String {
    let hash = Sha256::digest(bytes);
    let hash: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hash}\"")
}

fn fault(error: &io::Error) -> Response {
    if error.kind() == io::ErrorKind::NotFound {
        return not_found();
    }
    tracing::error!("a recording cannot be read: {error}");
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "the recordings cannot be read now; ask again",
    )
}
