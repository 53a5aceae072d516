//! A statement of an account: every movement of its points as CSV (RFC 4180), oldest first.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt, stream};
use lemonair_projections::wallets::{self, Entry};
use lemonair_projections::{Cursor, Slice};
use lemonair_schemas::{AccountId, EventId, RoomId, Timestamp};
use serde::Deserialize;

use super::wallet::kind;
use super::{Params, User};
use crate::App;
use crate::error::Problem;

#[derive(Deserialize, Default)]
pub(crate) struct Span {
    /// A time or a day; the first that is in it.
    from: Option<String>,
    /// The first that is no more in it.
    to: Option<String>,
}

const HEAD: &str = "time,kind,points,wallet,earnings,debt,room,donation,payment,entry,donor\r\n";

/// An entry has the time of its batch, and an id made a moment later: at most so much later.
const BATCH: Duration = Duration::from_secs(60);

pub(crate) async fn download(
    State(app): State<Arc<App>>,
    user: User,
    Params(span): Params<Span>,
) -> Result<Response, Problem> {
    // So that a bad one is told before anything is sent.
    span.bounds()?;
    Ok(statement(app, user.0.sub, span))
}

/// Read page by page while it is sent: memory does not grow with history.
pub(super) fn statement(app: Arc<App>, account: AccountId, span: Span) -> Response {
    let (from, to) = span.bounds().unwrap_or((None, None));
    let first = EventId::earliest(from.unwrap_or(Timestamp(0)));
    let start = Some(Cursor::from(first.to_string()));
    let pages = stream::try_unfold(start, move |edge| {
        let app = Arc::clone(&app);
        async move {
            let Some(edge) = edge else {
                return Ok::<_, lemonair_projections::Error>(None);
            };
            let slice = Slice::after(edge, Slice::MOST);
            let page = wallets::entries(&app.pool, account, &slice).await?;
            // By the time that it shows, at either end, so that it is in one of two spans that meet.
            let within = |entry: &&Entry| {
                from.is_none_or(|from| entry.posted_at >= from)
                    && to.is_none_or(|to| entry.posted_at < to)
            };
            let beyond = |entry: &Entry| to.is_some_and(|to| entry.id.at() >= to.plus(BATCH));
            let more = page.items.len() == Slice::MOST as usize && !page.items.iter().any(beyond);
            let lines: String = page.items.iter().rev().filter(within).map(line).collect();
            Ok(Some((Bytes::from(lines), page.newer.filter(|_| more))))
        }
    });
    let head = stream::once(async { Ok(Bytes::from_static(HEAD.as_bytes())) });
    let body = head.chain(pages).inspect_err(|error| {
        tracing::error!(%error, "a statement was cut off");
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"lemonair-statement.csv\"",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

impl Span {
    fn bounds(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
        let time = |text: &String| {
            let parsed = text
                .parse()
                .or_else(|_| format!("{text}T00:00:00Z").parse());
            parsed.map_err(|_| {
                let detail = "from and to are days (2026-01-31) or times (2026-01-31T12:00:00Z)";
                Problem::bad_request("bad_query", detail)
            })
        };
        Ok((
            self.from.as_ref().map(time).transpose()?,
            self.to.as_ref().map(time).transpose()?,
        ))
    }
}

fn line(entry: &Entry) -> String {
    let fields = [
        entry.posted_at.to_string(),
        kind(entry).to_owned(),
        (entry.wallet + entry.earnings + entry.debt).to_string(),
        entry.wallet.to_string(),
        entry.earnings.to_string(),
        entry.debt.to_string(),
        text(entry.room.as_ref().map_or("", RoomId::as_str)),
        entry.donation.map(|id| id.to_string()).unwrap_or_default(),
        text(entry.payment.as_deref().unwrap_or("")),
        entry.id.to_string(),
        text(entry.donor.as_deref().unwrap_or("")),
    ];
    format!("{}\r\n", fields.join(","))
}

/// What others have written. A spreadsheet takes what begins like a formula for one, so an apostrophe
/// says that it is text (OWASP's advice on CSV injection).
fn text(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let field = if formula {
        format!("'{field}")
    } else {
        field.to_owned()
    };
    if field.contains(['"', ',', '\n', '\r', ';']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_a_formula_or_two_fields() {
        for (field, written) in [
            ("", ""),
            ("mint", "mint"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("a,b", "\"a,b\""),
            ("a\"b\r\n=1", "\"a\"\"b\r\n=1\""),
            ("=1,\"", "\"'=1,\"\"\""),
        ] {
            assert_eq!(text(field), written);
        }
    }
}
