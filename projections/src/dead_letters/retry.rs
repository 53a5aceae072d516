//! Dead letters tried again, or given up: the rows, the letter and the note of who did it in one
//! transaction.

use lemonair_schemas::{Codec, DecodeError, Event, Timestamp};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool};

use super::{DeadLetter, Filter, LetterId, State, select, shortened, table};
use crate::checkpoint::{self, swappable, unswapped};
use crate::database::quote;
use crate::{Error, Fact, Projection, Result, commit};

/// What came of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tried {
    pub id: LetterId,
    pub key: String,
    /// Why it failed again; it stays a dead letter then.
    pub cause: Option<String>,
}

/// Tries open letters once more, with today's schemas, in the order of their records. All of them, or
/// with `dry_run` none, are changed. One that fails again stays, with one try more.
pub async fn retry(
    pool: &MySqlPool,
    codec: &Codec,
    filter: &Filter,
    operator: &str,
    dry_run: bool,
) -> Result<Vec<Tried>> {
    let mut tried = Vec::new();
    for projection in filter.projections() {
        let rest = filter.limit - u32::try_from(tried.len()).unwrap_or(filter.limit);
        if rest > 0 {
            tried.extend(retry_of(pool, codec, projection, filter, rest, operator, dry_run).await?);
        }
    }
    Ok(tried)
}

async fn retry_of(
    pool: &MySqlPool,
    codec: &Codec,
    projection: &'static dyn Projection,
    filter: &Filter,
    limit: u32,
    operator: &str,
    dry_run: bool,
) -> Result<Vec<Tried>> {
    // While other tables are swapped in, a letter may be open that the new ones have no need of.
    let mut connection = unswapped(pool, projection).await?;
    let mut tx = connection.begin().await?;
    // The live loop waits meanwhile, as if it were another process's turn.
    let hold = format!("SELECT 1 FROM {} FOR UPDATE", checkpoint::table(projection));
    sqlx::query(AssertSqlSafe(hold)).fetch_all(&mut *tx).await?;
    let open = Filter {
        state: State::Open,
        ..filter.clone()
    };
    let letters = select(&mut tx, projection, &open, limit, " FOR UPDATE").await?;
    let mut tried = Vec::new();
    for letter in &letters {
        let cause = try_one(&mut tx, codec, projection, letter).await?;
        let outcome = if cause.is_some() { "failed" } else { "applied" };
        note(&mut tx, letter.id, operator, outcome, cause.as_deref()).await?;
        tried.push(Tried {
            id: letter.id,
            key: letter.key.clone(),
            cause,
        });
    }
    if dry_run {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    swappable(connection, projection).await?;
    Ok(tried)
}

/// Applies a letter; if that fails, says why and leaves everything as it was but for the letter.
async fn try_one(
    tx: &mut MySqlConnection,
    codec: &Codec,
    projection: &dyn Projection,
    letter: &DeadLetter,
) -> Result<Option<String>> {
    let cause = match letter.decode(codec).await {
        Ok(event) => apply(tx, projection, letter, &event).await?,
        // Not the record's fault: nothing was tried.
        Err(DecodeError::Registry(error)) => return Err(Error::Registry(error)),
        Err(error) => Some(error.to_string()),
    };
    let table = table(projection);
    let position = letter.id.position;
    let sql = match &cause {
        None => format!(
            "UPDATE {table} SET tries = tries + 1, last_at = ?, cause = ?, state = 'applied' \
             WHERE topic = ? AND part = ? AND record_offset = ?"
        ),
        Some(_) => format!(
            "UPDATE {table} SET tries = tries + 1, last_at = ?, cause = ? \
             WHERE topic = ? AND part = ? AND record_offset = ?"
        ),
    };
    sqlx::query(AssertSqlSafe(sql))
        .bind(Timestamp::now().millis())
        .bind(shortened(cause.as_deref().unwrap_or(&letter.cause)))
        .bind(position.topic.name())
        .bind(position.partition)
        .bind(position.offset)
        .execute(tx)
        .await?;
    Ok(cause)
}

async fn apply(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    letter: &DeadLetter,
    event: &Event,
) -> Result<Option<String>> {
    let fact = Fact {
        position: letter.id.position,
        event,
    };
    let mut savepoint = tx.begin().await?;
    match commit::apply(&mut savepoint, projection, &[fact]).await {
        Ok(()) => savepoint.commit().await?,
        Err(fault) if fault.is_records() => {
            savepoint.rollback().await?;
            return Ok(Some(fault.to_string()));
        }
        Err(fault) => return Err(fault.into()),
    }
    Ok(None)
}

/// Gives open letters up; returns which.
pub async fn drop(pool: &MySqlPool, filter: &Filter, operator: &str) -> Result<Vec<LetterId>> {
    let mut dropped = Vec::new();
    for projection in filter.projections() {
        let rest = filter.limit - u32::try_from(dropped.len()).unwrap_or(filter.limit);
        let mut connection = unswapped(pool, projection).await?;
        let mut tx = connection.begin().await?;
        let open = Filter {
            state: State::Open,
            ..filter.clone()
        };
        for letter in select(&mut tx, projection, &open, rest, " FOR UPDATE").await? {
            let sql = format!(
                "UPDATE {} SET state = 'dropped' WHERE topic = ? AND part = ? AND record_offset = ?",
                table(projection)
            );
            let position = letter.id.position;
            sqlx::query(AssertSqlSafe(sql))
                .bind(position.topic.name())
                .bind(position.partition)
                .bind(position.offset)
                .execute(&mut *tx)
                .await?;
            note(&mut tx, letter.id, operator, "dropped", None).await?;
            dropped.push(letter.id);
        }
        tx.commit().await?;
        swappable(connection, projection).await?;
    }
    Ok(dropped)
}

async fn note(
    tx: &mut MySqlConnection,
    id: LetterId,
    operator: &str,
    outcome: &str,
    cause: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO dead_letter_log (done_at, operator, outcome, cause, projection, topic, part, \
         record_offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(Timestamp::now().millis())
    .bind(operator.chars().take(255).collect::<String>())
    .bind(outcome)
    .bind(cause.map(shortened))
    .bind(id.projection)
    .bind(id.position.topic.name())
    .bind(id.position.partition)
    .bind(id.position.offset)
    .execute(tx)
    .await?;
    Ok(())
}

/// Does in a rebuilt model what operators did in the live one, in the database named `live`: what they
/// had applied is tried here too, and what they gave up stays so.
pub(crate) async fn again(
    rebuilt: &mut MySqlConnection,
    live: &str,
    codec: &Codec,
    projection: &'static dyn Projection,
) -> Result<()> {
    let (table, live) = (table(projection), quote(live));
    let mut tx = rebuilt.begin().await?;
    let both = format!(
        "{table} s JOIN {live}.{table} l ON l.topic = s.topic AND l.part = s.part \
         AND l.record_offset = s.record_offset"
    );
    let kept = format!(
        "UPDATE {both} SET s.first_at = LEAST(s.first_at, l.first_at), \
         s.last_at = GREATEST(s.last_at, l.last_at), s.tries = GREATEST(s.tries, l.tries), \
         s.state = IF(s.state = 'open' AND l.state = 'dropped', 'dropped', s.state)"
    );
    sqlx::query(AssertSqlSafe(kept)).execute(&mut *tx).await?;
    let sql = format!(
        "SELECT s.* FROM {both} WHERE s.state = 'open' AND l.state = 'applied' \
         ORDER BY s.topic, s.part, s.record_offset"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *tx).await?;
    for row in &rows {
        let letter = DeadLetter::read(projection.name(), row)?;
        try_one(&mut tx, codec, projection, &letter).await?;
    }
    tx.commit().await?;
    Ok(())
}
