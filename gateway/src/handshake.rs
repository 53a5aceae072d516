//! From an HTTP request to a bare TCP connection that speaks WebSocket. Nothing of the HTTP server
//! stays behind: neither its buffers nor its task.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::net::TcpStream;

use crate::App;
use crate::door::Peer;
use crate::error::Problem;
use crate::socket::Connection;
use crate::websocket;

pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    mut request: Request,
) -> Response {
    let accept = match check(&request) {
        Ok(accept) => accept,
        Err(problem) => return problem,
    };
    if !app.config.allows_origin(request.headers()) {
        return Problem::forbidden("origin", "this page is not allowed to connect here")
            .into_response();
    }
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return not_a_websocket("this connection cannot be upgraded");
    };
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "upgrade"),
        };
        match bare(upgraded) {
            // A task of its own, as small as a connection can be.
            Some((stream, first)) => {
                tokio::spawn(Connection::new(app, address.ip(), stream).run(first));
            }
            None => tracing::error!("the HTTP server runs on something that is not TCP"),
        }
    });
    let headers = [
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// The value of `Sec-WebSocket-Accept`, if this is a WebSocket handshake.
#[expect(
    clippy::result_large_err,
    reason = "once a connection, and passed on at once"
)]
fn check(request: &Request) -> Result<String, Response> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(not_a_websocket("the method is not GET"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade")
        || !has_token(headers, &header::UPGRADE, "websocket")
    {
        return Err(not_a_websocket("this is a WebSocket: ask for an upgrade"));
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes() != b"13") {
        let why = "Sec-WebSocket-Version must be 13";
        let refused = Problem::new(StatusCode::UPGRADE_REQUIRED, "not_a_websocket", why);
        return Err(([(header::SEC_WEBSOCKET_VERSION, "13")], refused).into_response());
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    key.and_then(|key| websocket::accept(key.as_bytes()))
        .ok_or_else(|| not_a_websocket("Sec-WebSocket-Key must be 16 bytes in base64"))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.any(|value| {
        value
            .split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(token))
    })
}

fn not_a_websocket(why: &str) -> Response {
    Problem::bad_request("not_a_websocket", why).into_response()
}

/// The TCP connection, and what the HTTP server has read of it already.
fn bare(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = downcast::<TokioIo<TcpStream>>(upgraded).ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}
