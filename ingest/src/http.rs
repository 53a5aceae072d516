//! Playlists, segments and thumbnails over HTTP, all from memory.
//!
//! A cache may keep a segment for ever, since its name never means anything else; a playlist for one
//! second; and an absence not at all. Who asks for a playlist or a part that is about to come waits
//! for it here. That answer tells of one moment and may be kept a little: a playlist's name has the
//! broadcast's id in it.

mod health;

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::stream;

use crate::feed::{Feed, Thumbnail};
use crate::hls::{File, Playlist, Reach, Window};
use crate::room::Rooms;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ONE_SECOND: &str = "public, max-age=1, must-revalidate";
const A_WHILE: &str = "public, max-age=10";

pub(crate) fn router(rooms: Arc<Rooms>) -> Router {
    Router::new()
        .route("/hls/{room}/{file}", get(hls))
        .route("/thumbnails/{file}", get(thumbnail))
        .route("/health/{room}", get(health::health))
        .with_state(rooms)
}

async fn hls(
    State(rooms): State<Arc<Rooms>>,
    Path((room, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(feed) = find(&rooms, &room) else {
        return not_found();
    };
    if name == "index.m3u8" {
        let made = feed
            .wait(|window| there(window, |window| window.master()))
            .await;
        return playlist(&headers, ONE_SECOND, made.flatten());
    }
    if let Some(id) = name.strip_suffix(".m3u8") {
        if id != feed.id.to_string() {
            return not_found();
        }
        return match Directives::parse(query.as_deref().unwrap_or_default()) {
            Ok(directives) => media_playlist(&feed, directives, &headers).await,
            Err(fault) => problem(StatusCode::BAD_REQUEST, fault),
        };
    }
    let file = feed.wait(|window| match window.file(&name) {
        Err(Reach::Soon) => ControlFlow::Continue(()),
        other => ControlFlow::Break(other),
    });
    match file.await {
        Some(Ok(file)) => part(&headers, &format!("\"{name}\""), &file),
        Some(Err(_)) => not_found(),
        None => late(),
    }
}

/// What a viewer may ask of a playlist (RFC 8216bis, 6.2.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Directives {
    segment: Option<u64>,
    part: Option<usize>,
    skip: bool,
}

impl Directives {
    fn parse(query: &str) -> Result<Directives, &'static str> {
        let mut directives = Directives::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "_HLS_msn" => {
                    let number = value.parse().map_err(|_| "_HLS_msn is no number")?;
                    directives.segment = Some(number);
                }
                "_HLS_part" => {
                    let number = value.parse().map_err(|_| "_HLS_part is no number")?;
                    directives.part = Some(number);
                }
                "_HLS_skip" => directives.skip = matches!(value, "YES" | "v2"),
                // Others are for others.
                _ => {}
            }
        }
        if directives.part.is_some() && directives.segment.is_none() {
            return Err("_HLS_part needs _HLS_msn");
        }
        Ok(directives)
    }
}

async fn media_playlist(feed: &Feed, directives: Directives, headers: &HeaderMap) -> Response {
    let Directives {
        segment,
        part,
        skip,
    } = directives;
    let made = feed.wait(
        |window| match segment.map(|segment| window.reach(segment, part)) {
            Some(Reach::Absurd) => ControlFlow::Break(Err(())),
            Some(Reach::Soon) => ControlFlow::Continue(()),
            _ => there(window, |window| window.playlist(skip)).map_break(Ok),
        },
    );
    let cache = if segment.is_some() {
        A_WHILE
    } else {
        ONE_SECOND
    };
    match made.await {
        Some(Ok(made)) => playlist(headers, cache, made),
        Some(Err(())) => problem(
            StatusCode::BAD_REQUEST,
            "_HLS_msn or _HLS_part is too far ahead",
        ),
        None => late(),
    }
}

/// What the window can give, if it is there or will never be.
fn there(
    window: &mut Window,
    give: impl FnOnce(&mut Window) -> Option<Playlist>,
) -> ControlFlow<Option<Playlist>> {
    if window.is_empty() && !window.has_ended() {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(give(window))
    }
}

fn playlist(headers: &HeaderMap, cache: &'static str, playlist: Option<Playlist>) -> Response {
    match playlist {
        Some(Playlist { text, etag }) => whole(headers, PLAYLIST, cache, &etag, text),
        None => not_found(),
    }
}

async fn thumbnail(
    State(rooms): State<Arc<Rooms>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let picture = || {
        let (room, format) = name.rsplit_once('.')?;
        let Thumbnail { jpeg, webp, at } = find(&rooms, room)?.thumbnail()?;
        let (kind, picture) = match format {
            "jpg" => ("image/jpeg", jpeg),
            "webp" => ("image/webp", webp?),
            _ => return None,
        };
        let etag = format!("\"{}.{format}\"", at.millis());
        Some(whole(&headers, kind, ONE_SECOND, &etag, picture))
    };
    picture().unwrap_or_else(not_found)
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

/// What was waited for did not come; it still may.
fn late() -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing new came in time; ask again",
    )
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
            parts: parts.into(),
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
