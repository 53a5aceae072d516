//! From an HTTP request to a bare TCP connection that speaks WebSocket. Nothing of the HTTP server
//! stays behind: neither its buffers nor its task.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;

use crate::App;
use crate::deflate;
use crate::error::Problem;
use crate::frame::Form;
use crate::line::Line;
use crate::places::Peer;
use crate::socket::Connection;
use crate::websocket;

/// What a client may name in `Sec-WebSocket-Protocol`; who names nothing speaks JSON too.
const JSON: &str = "lemonair.json";
const AVRO: &str = "lemonair.avro.2";

pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
) -> Response {
    let accept = match check(&request) {
        Ok(accept) => accept,
        Err(fault) => return not_a_websocket(fault),
    };
    if !app.config.allows_origin(request.headers()) {
        return Problem::forbidden("origin", "this page is not allowed to connect here")
            .into_response();
    }
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        let why = "this connection cannot be upgraded";
        return not_a_websocket((StatusCode::BAD_REQUEST, why));
    };
    let (form, agreed) = negotiate(request.headers());
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "upgrade"),
        };
        match bare(upgraded) {
            // A task of its own, as small as a connection can be.
            Some((line, first)) => {
                tokio::spawn(Connection::new(app, peer, line, form).run(first));
            }
            None => tracing::error!("the HTTP server runs on something else"),
        }
    });
    let headers = [
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (
        StatusCode::SWITCHING_PROTOCOLS,
        headers,
        AppendHeaders(agreed),
        Body::empty(),
    )
        .into_response()
}

/// The value of `Sec-WebSocket-Accept`; or else what is wrong with this handshake.
fn check(request: &Request) -> Result<String, (StatusCode, &'static str)> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err((StatusCode::BAD_REQUEST, "the method is not GET"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade")
        || !has_token(headers, &header::UPGRADE, "websocket")
    {
        let why = "this is a WebSocket: ask for an upgrade";
        return Err((StatusCode::BAD_REQUEST, why));
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes() != b"13") {
        let why = "Sec-WebSocket-Version must be 13";
        return Err((StatusCode::UPGRADE_REQUIRED, why));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let accept = key.and_then(|key| websocket::accept(key.as_bytes()));
    let why = "Sec-WebSocket-Key must be 16 bytes in base64";
    accept.ok_or((StatusCode::BAD_REQUEST, why))
}

/// How the client wants to be spoken to, and the headers that agree to it.
fn negotiate(headers: &HeaderMap) -> (Form, Vec<(HeaderName, &'static str)>) {
    let mut agreed = Vec::new();
    let protocols = values(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    let protocol = protocols
        .flat_map(|value| value.split(','))
        .find_map(|name| [JSON, AVRO].into_iter().find(|known| *known == name.trim()));
    agreed.extend(protocol.map(|name| (header::SEC_WEBSOCKET_PROTOCOL, name)));
    // Avro is short already: it is not deflated.
    if protocol == Some(AVRO) {
        return (Form::Avro, agreed);
    }
    if !values(headers, &header::SEC_WEBSOCKET_EXTENSIONS).any(deflate::is_offered) {
        return (Form::Json, agreed);
    }
    agreed.push((header::SEC_WEBSOCKET_EXTENSIONS, deflate::AGREED));
    (Form::Deflated, agreed)
}

fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut tokens = values(headers, name).flat_map(|value| value.split(','));
    tokens.any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn not_a_websocket((status, why): (StatusCode, &'static str)) -> Response {
    let supported = [(header::SEC_WEBSOCKET_VERSION, "13")];
    (supported, Problem::new(status, "not_a_websocket", why)).into_response()
}

/// The TCP connection, and what the HTTP server has read of it already.
fn bare(upgraded: Upgraded) -> Option<(Line, Bytes)> {
    let parts = downcast::<TokioIo<Line>>(upgraded).ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}
