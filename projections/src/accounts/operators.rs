//! What operators did to the whole site, in the order in which they did it.

use lemonair_schemas::account::{OperatorActed, RoleGranted, SessionClosed};
use lemonair_schemas::{AccountId, Actor, EventId, Timestamp};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use crate::page::{Cursor, Edge, Page, Slice};
use crate::projection::Fault;
use crate::{Result, row};

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Act {
    pub id: EventId,
    pub at: Timestamp,
    pub operator: AccountId,
    /// As spelled then.
    pub operator_name: String,
    pub action: String,
    pub target: String,
    /// Whose account the target is, if it is one.
    pub target_name: Option<String>,
}

/// What an event says for the log.
struct Line<'a> {
    id: EventId,
    at: Timestamp,
    operator: &'a Actor,
    action: &'a str,
    target: String,
}

// === Writes ===

pub(super) async fn acted(tx: &mut MySqlConnection, event: &OperatorActed) -> Result<(), Fault> {
    let Some(operator) = &event.actor else {
        return Fault::unfit("nobody is named as the operator");
    };
    let line = Line {
        id: event.id,
        at: event.at,
        operator,
        action: &event.action,
        target: event.target.clone(),
    };
    write(tx, &line).await
}

/// From a shell, nobody is named.
pub(super) async fn granted(tx: &mut MySqlConnection, event: &RoleGranted) -> Result<(), Fault> {
    let Some(operator) = &event.actor else {
        return Ok(());
    };
    let line = Line {
        id: event.id,
        at: event.at,
        operator,
        action: &format!("role.{}", event.role),
        target: event.account.to_string(),
    };
    write(tx, &line).await
}

/// Whoever logs out themselves is no operator here.
pub(super) async fn closed(tx: &mut MySqlConnection, event: &SessionClosed) -> Result<(), Fault> {
    let by_another = |actor: &&Actor| actor.id != event.account;
    let Some(operator) = event.actor.as_ref().filter(by_another) else {
        return Ok(());
    };
    let line = Line {
        id: event.id,
        at: event.at,
        operator,
        action: "session.closed",
        target: event.account.to_string(),
    };
    write(tx, &line).await
}

async fn write(tx: &mut MySqlConnection, line: &Line<'_>) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO operator_log (id, done_at, operator, operator_name, action, target) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(line.id.0)
    .bind(line.at.millis())
    .bind(line.operator.id.0)
    .bind(&line.operator.name)
    .bind(line.action)
    .bind(&line.target)
    .execute(tx)
    .await?;
    Ok(())
}

// === Reads ===

/// A page of the log, newest first: ids sort by time.
pub async fn log(pool: &MySqlPool, slice: &Slice) -> Result<Page<Act>> {
    let (place, order, edge) = match &slice.edge {
        Edge::Start => ("", "DESC", None),
        Edge::Before(edge) => ("WHERE l.id < ?", "DESC", Some(edge)),
        Edge::After(edge) => ("WHERE l.id > ?", "ASC", Some(edge)),
    };
    let sql = format!(
        "SELECT l.*, a.name AS target_name FROM operator_log l LEFT JOIN accounts a \
         ON CHAR_LENGTH(l.target) = 36 AND a.id = UNHEX(REPLACE(l.target, '-', '')) \
         {place} ORDER BY l.id {order} LIMIT ?"
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql));
    if let Some(edge) = edge {
        query = query.bind(edge.place::<Uuid>()?);
    }
    let rows = query.bind(slice.fetch()).fetch_all(pool).await?;
    Ok(slice.page(rows, |act: &Act| Cursor::of(act.id)))
}

impl FromRow<'_, MySqlRow> for Act {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Act> {
        Ok(Act {
            id: row::event(row, "id")?,
            at: row::time(row, "done_at")?,
            operator: row::account(row, "operator")?,
            operator_name: row.try_get("operator_name")?,
            action: row.try_get("action")?,
            target: row.try_get("target")?,
            target_name: row.try_get("target_name")?,
        })
    }
}
