//! Rebuilds that operators ask for from elsewhere. A wish stands in MySQL until somebody who keeps read
//! models up has fulfilled it, so that a process that dies over it leaves it to the next.

use std::path::Path;
use std::time::Duration;

use lemonair_schemas::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{MySqlPool, Row};
use tokio_util::sync::CancellationToken;

use super::{Options, Report, State, rebuild, rebuilds, rollback};
use crate::{Error, Projection, Projector, Result, projection, row};

/// What is to be done to a read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    Rebuild,
    /// Compare only.
    Verify,
    Rollback,
}

/// How soon a wish is noticed.
const EVERY: Duration = Duration::from_secs(1);

pub async fn wish(pool: &MySqlPool, projection: &dyn Projection, wish: Wish) -> Result<()> {
    let name = projection.name();
    let under_way = |state| matches!(state, State::Running | State::Paused);
    let all = rebuilds(pool).await?;
    if all
        .iter()
        .any(|one| one.projection == name && under_way(one.state))
    {
        return Err(Error::Busy("this read model is being rebuilt"));
    }
    sqlx::query(
        "INSERT INTO rebuild_wishes (projection, wish, wished_at) VALUES (?, ?, ?) \
         ON DUPLICATE KEY UPDATE wish = VALUES(wish), wished_at = VALUES(wished_at)",
    )
    .bind(name)
    .bind(wish.name())
    .bind(Timestamp::now().millis())
    .execute(pool)
    .await?;
    Ok(())
}

/// What is wished and not done yet, the oldest wish first.
pub async fn wishes(pool: &MySqlPool) -> Result<Vec<(&'static dyn Projection, Wish)>> {
    let rows = sqlx::query("SELECT projection, wish FROM rebuild_wishes ORDER BY wished_at")
        .fetch_all(pool)
        .await?;
    let mut wishes = Vec::new();
    for row in rows {
        let name: String = row.try_get("projection")?;
        // One of another version is for that version's processes.
        if let Ok(projection) = projection::named(&name) {
            wishes.push((projection, row::parse(&row, "wish")?));
        }
    }
    Ok(wishes)
}

/// Fulfils wishes one after the other, until `stop`. Two who try the same exclude each other by the
/// rebuild's own lock.
pub async fn fulfil(projector: &Projector, snapshots: &Path, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let wishes = match wishes(&projector.pool).await {
            Ok(wishes) => wishes,
            Err(error) => {
                tracing::debug!(%error, "nobody knows what is wished");
                continue;
            }
        };
        for (projection, wish) in wishes {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = grant(projector, projection, wish, snapshots) => done,
            };
            if let Err(error) = done {
                tracing::warn!(projection = projection.name(), %error, "a wish is still open");
            }
        }
    }
}

async fn grant(
    projector: &Projector,
    projection: &'static dyn Projection,
    wish: Wish,
    snapshots: &Path,
) -> Result<()> {
    let mut tell = |_| {};
    let options = Options {
        verify_only: wish == Wish::Verify,
        snapshots: Some(snapshots),
        ..Options::default()
    };
    let result = match wish {
        Wish::Rebuild | Wish::Verify => {
            Box::pin(rebuild(projector, projection, options, &mut tell)).await
        }
        Wish::Rollback => Box::pin(rollback(projector, projection, &mut tell)).await,
    };
    match result {
        // Somebody else is at it.
        Err(Error::Busy(_)) => return Ok(()),
        Ok(report) => note(&projector.pool, &report).await?,
        Err(error) => {
            tracing::warn!(projection = projection.name(), %error, "rebuild");
            note_fault(&projector.pool, projection, &error).await?;
        }
    }
    sqlx::query("DELETE FROM rebuild_wishes WHERE projection = ?")
        .bind(projection.name())
        .execute(&projector.pool)
        .await?;
    Ok(())
}

/// Leaves what came of a rebuild where operators look.
pub async fn note(pool: &MySqlPool, report: &Report) -> Result<()> {
    let json = serde_json::to_string(report).unwrap_or_default();
    sqlx::query("UPDATE rebuilds SET report = ?, fault = NULL WHERE projection = ?")
        .bind(json)
        .bind(report.projection)
        .execute(pool)
        .await?;
    Ok(())
}

async fn note_fault(pool: &MySqlPool, projection: &dyn Projection, error: &Error) -> Result<()> {
    let now = Timestamp::now().millis();
    // It may have failed before there was a row of it.
    sqlx::query(
        "INSERT INTO rebuilds (projection, paused, phase, done, total, rate, started_at, updated_at, \
         fault) VALUES (?, FALSE, 'done', 0, 0, 0, ?, ?, ?) ON DUPLICATE KEY UPDATE \
         report = NULL, fault = VALUES(fault), updated_at = VALUES(updated_at)",
    )
    .bind(projection.name())
    .bind(now)
    .bind(now)
    .bind(error.to_string())
    .execute(pool)
    .await?;
    Ok(())
}

// === impl Wish ===

impl Wish {
    pub fn name(self) -> &'static str {
        match self {
            Wish::Rebuild => "rebuild",
            Wish::Verify => "verify",
            Wish::Rollback => "rollback",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is none of rebuild, verify, rollback")]
pub struct UnknownWish(String);

impl std::str::FromStr for Wish {
    type Err = UnknownWish;

    fn from_str(name: &str) -> Result<Wish, UnknownWish> {
        [Wish::Rebuild, Wish::Verify, Wish::Rollback]
            .into_iter()
            .find(|wish| wish.name() == name)
            .ok_or_else(|| UnknownWish(name.to_owned()))
    }
}
