//! The picture: from the ingest in this process, else from the one that carries the broadcast.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lemonair_projections::broadcasts;
use lemonair_schemas::{RoomId, Timestamp};
use tower::ServiceExt;

use crate::App;
use crate::api::{InRoom, User, recording};
use crate::error::Problem;

/// How long an ingest has the picture of a broadcast that ended: players are a little behind.
const LINGER: Duration = Duration::from_secs(30);

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/hls/{room}/{file}", get(picture))
        .route("/thumbnails/{file}", get(thumbnail))
        .route("/recordings/{stream}/{file}", get(recording))
        .layer(map_response(for_all_sites))
        .route("/api/channels/{room}/health", get(health))
}

/// Players on other sites see what there is, and that there is nothing.
async fn for_all_sites(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    response
}

async fn picture(
    State(app): State<Arc<App>>,
    Path((room, _)): Path<(String, String)>,
    request: Request,
) -> Response {
    serve(&app, &room, request).await
}

async fn thumbnail(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    request: Request,
) -> Response {
    let room = [".jpg", ".webp"]
        .iter()
        .find_map(|kind| file.strip_suffix(kind));
    let room = room.unwrap_or_default().to_owned();
    serve(&app, &room, request).await
}

/// How the publisher does, for the streamer alone.
async fn health(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    mut request: Request,
) -> Result<Response, Problem> {
    user.must_run(&room)?;
    let uri = format!("/health/{room}");
    *request.uri_mut() = uri.parse().map_err(|error| Problem::unavailable(&error))?;
    Ok(serve(&app, room.as_str(), request).await)
}

/// What is kept of a broadcast, unless nobody shall see it any more.
async fn recording(
    State(app): State<Arc<App>>,
    Path((stream, _)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let broadcast = recording::find(&app, &stream).await?;
    let (path, headers) = asked(&request);
    // What is still being made is asked for where it is made, whatever becomes of a store.
    if let Some(response) = here(&app, request).await
        && (response.status() != StatusCode::SERVICE_UNAVAILABLE
            || is_ours(&app, &broadcast.origin))
    {
        return Ok(response);
    }
    let nothing = || Problem::not_found("there is nothing of this recording");
    pass_on(&app, &broadcast.origin, &path, &headers, nothing).await
}

async fn serve(app: &App, room: &str, request: Request) -> Response {
    let Ok(room) = room.parse::<RoomId>() else {
        return Problem::not_found("there is no such channel").into_response();
    };
    let (path, headers) = asked(&request);
    if let Some(response) = here(app, request).await {
        return response;
    }
    let fetched = async {
        let off_air = || Problem::not_found(format!("{room} is not on air"));
        let there = broadcasts::newest(&app.pool, &room)
            .await?
            .filter(|newest| {
                let ended = newest.ended_at;
                ended.is_none_or(|ended| Timestamp::now().since(ended) < LINGER)
            });
        let there = there.ok_or_else(off_air)?;
        pass_on(app, &there.origin, &path, &headers, off_air).await
    };
    fetched.await.unwrap_or_else(IntoResponse::into_response)
}

fn asked(request: &Request) -> (String, HeaderMap) {
    let path = request.uri().path_and_query().map(ToString::to_string);
    (path.unwrap_or_default(), request.headers().clone())
}

/// What is served in this process.
async fn here(app: &App, request: Request) -> Option<Response> {
    let here = app.picture.clone()?;
    // Without what our own router found out about the path: the other one does so again.
    let (parts, body) = request.into_parts();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = parts.headers;
    let response = here.oneshot(request).await.into_response();
    (response.status() != StatusCode::NOT_FOUND).then_some(response)
}

fn is_ours(app: &App, origin: &str) -> bool {
    origin.trim_end_matches('/') == app.config.public_url.trim_end_matches('/')
}

/// Passes on what an ingest elsewhere answers, without holding it in memory.
async fn pass_on(
    app: &App,
    origin: &str,
    path: &str,
    headers: &HeaderMap,
    nothing: impl FnOnce() -> Problem,
) -> Result<Response, Problem> {
    // Our own ingest has already said that it has nothing.
    if is_ours(app, origin) {
        return Err(nothing());
    }
    let origin = origin.trim_end_matches('/');
    let mut ask = app.http.get(format!("{origin}{path}"));
    for name in [header::RANGE, header::IF_NONE_MATCH, header::IF_RANGE] {
        if let Some(value) = headers.get(&name) {
            ask = ask.header(name, value);
        }
    }
    let answer = ask
        .send()
        .await
        .map_err(|error| Problem::unavailable(&error))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    let passed_on = [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ACCEPT_RANGES,
        header::CACHE_CONTROL,
        header::ETAG,
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
    ];
    for name in passed_on {
        if let Some(value) = answer.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    Ok(response)
}
