//! What a file over HTTP is answered with: whole, in part, not changed, not there.

use std::ops::ControlFlow;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;

use crate::hls::File;

pub(super) const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const SEGMENT: &str = "video/mp4";
pub(super) const FOR_EVER: &str = "public, max-age=31536000, immutable";
pub(super) const ONE_SECOND: &str = "public, max-age=1, must-revalidate";
pub(super) const A_MINUTE: &str = "public, max-age=60";
pub(super) const A_WHILE: &str = "public, max-age=10";

pub(super) fn whole(
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
pub(super) fn part(request: &HeaderMap, etag: &str, file: &File) -> Response {
    match pick(request, etag, file.len) {
        ControlFlow::Continue(picked) => {
            let body = cut(file, picked.from, picked.to);
            ranged(&picked, etag, body)
        }
        ControlFlow::Break(answer) => answer,
    }
}

/// What is to be sent of a file that never changes.
#[derive(Debug)]
pub(super) struct Picked {
    status: StatusCode,
    pub(super) from: usize,
    pub(super) to: usize,
    len: usize,
}

/// What a request asks for, or the answer if that is nothing of the file.
pub(super) fn pick(request: &HeaderMap, etag: &str, len: usize) -> ControlFlow<Response, Picked> {
    if known(request, etag) {
        let status = StatusCode::NOT_MODIFIED;
        return ControlFlow::Break(respond(status, SEGMENT, FOR_EVER, etag, Body::empty()));
    }
    let (status, from, to) = match wanted(request, etag, len) {
        Range::Bytes { from, to } => (StatusCode::PARTIAL_CONTENT, from, to),
        Range::Unsatisfiable => return ControlFlow::Break(unsatisfiable(len)),
        Range::Whole => (StatusCode::OK, 0, len),
    };
    ControlFlow::Continue(Picked {
        status,
        from,
        to,
        len,
    })
}

pub(super) fn ranged(picked: &Picked, etag: &str, body: Body) -> Response {
    let &Picked {
        status,
        from,
        to,
        len,
    } = picked;
    let mut response = respond(status, SEGMENT, FOR_EVER, etag, body);
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
            &format!("bytes {from}-{}/{len}", to - 1),
        );
    }
    response
}

/// Which bytes a request asks for, if it still means this file.
fn wanted(request: &HeaderMap, etag: &str, len: usize) -> Range {
    let range = request
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let condition = request.get(header::IF_RANGE);
    range
        .filter(|_| condition.is_none_or(|condition| condition.as_bytes() == etag.as_bytes()))
        .map_or(Range::Whole, |range| byte_range(range, len))
}

fn unsatisfiable(len: usize) -> Response {
    let mut response = problem(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "the range is outside of the file",
    );
    insert(
        &mut response,
        header::CONTENT_RANGE,
        &format!("bytes */{len}"),
    );
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

pub(super) fn known(request: &HeaderMap, etag: &str) -> bool {
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

pub(super) fn respond(
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
pub(super) fn late() -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing new came in time; ask again",
    )
}

pub(super) fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing here now")
}

/// Problem details (RFC 9457). Never cached: what is missing may come at any moment.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
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
