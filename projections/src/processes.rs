//! Who is up: a row for each process, which it renews itself.

use std::time::Duration;

use lemonair_schemas::Timestamp;
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlPool, Row};
use tokio_util::sync::CancellationToken;

use crate::health::{EVERY, GONE, process};
use crate::{Result, row};

/// A process that is up, or was until lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Machine and process id.
    pub process: String,
    pub services: Vec<String>,
    pub version: String,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// Not heard of for so long that it must be gone, though it never said so.
    pub gone: bool,
}

/// How long one that is gone is told of.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Tells that this process is up, until `stop`; then, that it has ended as it should.
pub async fn announce(
    pool: &MySqlPool,
    services: &[&str],
    version: &str,
    stop: &CancellationToken,
) {
    let (process, started) = (process(), Timestamp::now());
    while !stop.is_cancelled() {
        if let Err(error) = renew(pool, &process, services, version, started).await {
            tracing::debug!(%error, "nobody is told that this process is up");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    let ended = sqlx::query("DELETE FROM processes WHERE process = ?").bind(&process);
    ended.execute(pool).await.ok();
}

async fn renew(
    pool: &MySqlPool,
    process: &str,
    services: &[&str],
    version: &str,
    started: Timestamp,
) -> sqlx::Result<()> {
    let now = Timestamp::now();
    sqlx::query(
        "INSERT INTO processes (process, services, version, started_at, seen_at) \
         VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE services = VALUES(services), \
         version = VALUES(version), started_at = VALUES(started_at), seen_at = VALUES(seen_at)",
    )
    .bind(process)
    .bind(services.join(","))
    .bind(version)
    .bind(started.millis())
    .bind(now.millis())
    .execute(pool)
    .await?;
    sqlx::query("DELETE FROM processes WHERE seen_at < ?")
        .bind(before(now, REMEMBERED))
        .execute(pool)
        .await?;
    Ok(())
}

pub async fn processes(pool: &MySqlPool, now: Timestamp) -> Result<Vec<Process>> {
    let rows = sqlx::query("SELECT * FROM processes ORDER BY started_at, process");
    let rows = rows.fetch_all(pool).await?;
    let read = |row: &MySqlRow| {
        let services: &str = row.try_get("services")?;
        let seen_at = row::time(row, "seen_at")?;
        Ok(Process {
            process: row.try_get("process")?,
            services: services.split(',').map(str::to_owned).collect(),
            version: row.try_get("version")?,
            started_at: row::time(row, "started_at")?,
            seen_at,
            gone: seen_at.millis() < before(now, GONE),
        })
    };
    Ok(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
}

fn before(now: Timestamp, long: Duration) -> i64 {
    now.millis() - i64::try_from(long.as_millis()).unwrap_or(0)
}
