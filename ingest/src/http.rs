//! Playlists, segments and thumbnails over HTTP: from memory, and what is older from the recording.
//!
//! A cache may keep a segment for ever, since its name never means anything else; a playlist for one
//! second; and an absence not at all. Who asks for a playlist or a part that is about to come waits
//! for it here. That answer tells of one moment and may be kept a little: a playlist's name has the
//! broadcast's id in it.

mod answer;
mod health;
pub(crate) mod recordings;

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;

use self::answer::{A_WHILE, ONE_SECOND, PLAYLIST, late, not_found, part, problem, whole};
use crate::feed::{Feed, Thumbnail};
use crate::hls::{Playlist, Reach, Window};
use crate::recording::Recordings;
use crate::rendition::Rendition;
use crate::rooms::Rooms;

/// Characters of a rendition's id.
const ID: usize = uuid::fmt::Hyphenated::LENGTH;

pub(crate) fn router(rooms: Arc<Rooms>) -> Router {
    let recordings = rooms.config.recordings.as_ref().map(Recordings::router);
    Router::new()
        .route("/hls/{room}/{file}", get(hls))
        .route("/thumbnails/{file}", get(thumbnail))
        .route("/health/{room}", get(health::health))
        .with_state(rooms)
        .merge(recordings.unwrap_or_default())
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
        let there = feed.source.wait(|window| there(window, |_| ()));
        if there.await.is_none() {
            return not_found();
        }
        feed.is_listed(rooms.config.ladder.patience).await;
        return playlist(&headers, ONE_SECOND, feed.master());
    }
    // Each file's name begins with its rendition's.
    let Some((rendition, rest)) = name
        .split_at_checked(ID)
        .and_then(|(id, rest)| Some((feed.rendition(id)?, rest)))
    else {
        return not_found();
    };
    if rest == ".m3u8" {
        return match Directives::parse(query.as_deref().unwrap_or_default()) {
            Ok(directives) => media_playlist(&feed, &rendition, directives, &headers).await,
            Err(fault) => problem(StatusCode::BAD_REQUEST, fault),
        };
    }
    let file = rendition.wait(|window| match window.file(&name) {
        Err(Reach::Soon) => ControlFlow::Continue(()),
        other => ControlFlow::Break(other),
    });
    match file.await {
        Some(Ok(file)) => part(&headers, &format!("\"{name}\""), &file),
        Some(Err(_)) => earlier(&rooms, &feed, &rendition, &name, &headers).await,
        None => late(),
    }
}

/// A segment that has left memory for the recording.
async fn earlier(
    rooms: &Rooms,
    feed: &Feed,
    rendition: &Rendition,
    name: &str,
    headers: &HeaderMap,
) -> Response {
    let kept = rendition.window().in_recording(name);
    match (kept, &rooms.config.recordings) {
        (Some(kept), Some(recordings)) => {
            let etag = format!("\"{name}\"");
            recordings::segment(recordings, feed.stream, &kept.to_string(), &etag, headers).await
        }
        _ => not_found(),
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

async fn media_playlist(
    feed: &Feed,
    rendition: &Rendition,
    directives: Directives,
    headers: &HeaderMap,
) -> Response {
    let Directives {
        segment,
        part,
        skip,
    } = directives;
    let made = rendition.wait(
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
        Some(Ok(made)) => {
            let made = made.map(|made| made.with(&feed.reports(rendition)));
            playlist(headers, cache, made)
        }
        Some(Err(())) => problem(
            StatusCode::BAD_REQUEST,
            "_HLS_msn or _HLS_part is too far ahead",
        ),
        None => late(),
    }
}

/// What the window can give, if it is there or will never be.
fn there<T>(window: &mut Window, give: impl FnOnce(&mut Window) -> T) -> ControlFlow<T> {
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
