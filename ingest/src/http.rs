//! Playlists, segments and thumbnails over HTTP, all from memory.
//!
//! A cache may keep a segment for ever, since its name never means anything else; a playlist for one
//! second; and an absence not at all.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::stream;

use crate::feed::Feed;
use crate::hls::File;
use crate::room::Rooms;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ONE_SECOND: &str = "public, max-age=1, must-revalidate";

pub(crate) fn router(rooms: Arc<Rooms>) -> Router {
    Router::new()
        .route("/hls/{room}/{file}", get(hls))
        .route("/thumbnails/{file}", get(thumbnail))
        .with_state(rooms)
}

async fn hls(
    State(rooms): State<Arc<Rooms>>,
    Path((room, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(feed) = find(&rooms, &room) else {
        return not_found();
    };
    if name == "index.m3u8" {
        let playlist = feed.window().playlist().cloned();
        return match playlist {
            Some(playlist) => whole(
                &headers,
                PLAYLIST,
                ONE_SECOND,
                &playlist.etag,
                playlist.text,
            ),
            None => not_found(),
        };
    }
    let file = feed.window().file(&name);
    match file {
        Some(file) => part(&headers, &format!("\"{name}\""), &file),
        None => not_found(),
    }
}

async fn thumbnail(
    State(rooms): State<Arc<Rooms>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let room = name.strip_suffix(".jpg");
    match room
        .and_then(|room| find(&rooms, room))
        .and_then(|feed| feed.thumbnail())
    {
        Some(thumbnail) => {
            let etag = format!("\"{}\"", thumbnail.at.millis());
            whole(&headers, "image/jpeg", ONE_SECOND, &etag, thumbnail.jpeg)
        }
        None => not_found(),
    }
}

fn find(rooms: &Rooms, room: &str) -> Option<Arc<Feed>> {
    rooms.feed(&room.parse().ok()?)
}

fn whole(
    request: &HeaderMap,
    kind: &'static str,
    cache: &'static str,
    etag: &str,
    body: Bytes,
) -> Response {
    let (status, body) = if known(request, etag) {
        (StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        (StatusCode::OK, body)
    };
    respond(status, kind, cache, etag, body.into())
}

/// A segment, or the range of it that was asked for.
fn part(request: &HeaderMap, etag: &str, file: &File) -> Response {
    let kind = "video/mp4";
    if known(request, etag) {
        return respond(
            StatusCode::NOT_MODIFIED,
            kind,
            FOR_EVER,
            etag,
            Body::empty(),
        );
    }
    let range = request
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let condition = request.get(header::IF_RANGE);
    let range =
        range.filter(|_| condition.is_none_or(|condition| condition.as_bytes() == etag.as_bytes()));
    let (status, from, to) = match range.map(|range| byte_range(range, file.len)) {
        Some(Range::Bytes { from, to }) => (StatusCode::PARTIAL_CONTENT, from, to),
        Some(Range::Unsatisfiable) => {
            let mut response = problem(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the range is outside of the file",
            );
            insert(
                &mut response,
                header::CONTENT_RANGE,
                &format!("bytes */{}", file.len),
            );
            return response;
        }
        Some(Range::Whole) | None => (StatusCode::OK, 0, file.len),
    };
    let mut response = respond(status, kind, FOR_EVER, etag, cut(file, from, to));
    insert(
        &mut response,
        header::CONTENT_LENGTH,
        &(to - from).to_string(),
    );
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    if status == StatusCode::PARTIAL_CONTENT {
        insert(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes {from}-{}/{}", to - 1, file.len),
        );
    }
    response
}

/// The bytes from `from` up to `to`, shared with all other viewers.
fn cut(file: &File, from: usize, to: usize) -> Body {
    let mut at = 0;
    let mut parts = Vec::with_capacity(file.parts.len());
    for part in file.parts.iter() {
        let (start, end) = (
            from.saturating_sub(at).min(part.len()),
            to.saturating_sub(at).min(part.len()),
        );
        if start < end {
            parts.push(Ok::<_, std::convert::Infallible>(part.slice(start..end)));
        }
        at += part.len();
    }
    Body::from_stream(stream::iter(parts))
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Several ranges, other units, nonsense: answered in full, as the standard allows.
    Whole,
    Bytes {
        from: usize,
        to: usize,
    },
    Unsatisfiable,
}

fn byte_range(range: &str, len: usize) -> Range {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Range::Whole;
    };
    let (from, to) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(from), Ok(last)) if from <= last => (from, last.saturating_add(1)),
        (Ok(from), Err(_)) if last.is_empty() => (from, len),
        (Err(_), Ok(suffix)) if first.is_empty() => (len - suffix.min(len), len),
        _ => return Range::Whole,
    };
    if from < to.min(len) {
        Range::Bytes {
            from,
            to: to.min(len),
        }
    } else {
        Range::Unsatisfiable
    }
}

fn known(request: &HeaderMap, etag: &str) -> bool {
    let Some(tags) = request
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
    else {
        return false;
    };
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

fn respond(
    status: StatusCode,
    kind: &'static str,
    cache: &'static str,
    etag: &str,
    body: Body,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cache),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Content-Length, Content-Range, ETag",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut response = (status, headers, body).into_response();
    insert(&mut response, header::ETAG, etag);
    response
}

fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing here now")
}

/// Problem details (RFC 9457). Never cached: what is missing may come at any moment.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{detail}"}}"#,
        status.as_u16()
    );
    let headers = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (status, headers, body).into_response()
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    // Our own words, and names that were found in the window: always valid.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let bytes = |from, to| Range::Bytes { from, to };
        for (range, expected) in [
            ("bytes=0-0", bytes(0, 1)),
            ("bytes=2-", bytes(2, 10)),
            ("bytes=2-100", bytes(2, 10)),
            ("bytes=-3", bytes(7, 10)),
            ("bytes=-100", bytes(0, 10)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=0-18446744073709551615", bytes(0, 10)),
            ("lines=1-2", Range::Whole),
            ("bytes=a-b", Range::Whole),
        ] {
            assert_eq!(byte_range(range, 10), expected, "{range}");
        }
    }

    #[tokio::test]
    async fn a_range_over_several_parts() {
        let parts = ["abc", "def", "ghi"].map(|part| Bytes::from_static(part.as_bytes()));
        let file = File {
            parts: Arc::from(parts),
            len: 9,
        };
        for (from, to, expected) in [
            (0, 9, "abcdefghi"),
            (2, 7, "cdefg"),
            (3, 6, "def"),
            (8, 9, "i"),
        ] {
            let body = axum::body::to_bytes(cut(&file, from, to), 100)
                .await
                .unwrap();
            assert_eq!(body, expected);
        }
    }
}
