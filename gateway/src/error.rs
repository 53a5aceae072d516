//! What HTTP clients are told when something is wrong: problem details (RFC 9457). A 4xx says why,
//! a 5xx says nothing and is logged.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::limit::Limited;

#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// Stable, for programs.
    code: String,
    /// For people: what was wrong and what to do.
    detail: String,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: code.to_owned(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(crate) fn forbidden(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn unprocessable(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// Something behind us does not answer. The cause is logged, not told.
    pub(crate) fn unavailable(cause: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%cause, "request failed");
        let detail = "a service behind this one does not answer; try again with the same request";
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        problem.retry_after = Some(Duration::from_secs(1));
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        if let Some(after) = self.retry_after {
            body["retry_after_ms"] = json!(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        // A cache may keep an absence by itself, also past the moment when it is none any more.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        response
    }
}

impl From<lemonair_projections::Error> for Problem {
    fn from(error: lemonair_projections::Error) -> Problem {
        match error {
            lemonair_projections::Error::BadCursor(_) => {
                Problem::bad_request("bad_cursor", error.to_string())
            }
            error => Problem::unavailable(&error),
        }
    }
}

impl From<lemonair_producers::Error> for Problem {
    fn from(error: lemonair_producers::Error) -> Problem {
        Problem::unavailable(&error)
    }
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Problem {
        let detail = "too many requests; slow down";
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        problem.retry_after = Some(limited.retry_after);
        problem
    }
}
