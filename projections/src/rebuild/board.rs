//! What others see of a rebuild, and how they hold it: a row for each read model, in the live database.

use std::time::Duration;

use lemonair_schemas::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlPool, Row};
use tokio::time::Instant;

use super::{Phase, Progress};
use crate::{Error, Projection, Result, projection, row};

/// A rebuild as others see it: the last one of a read model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rebuild {
    pub projection: &'static str,
    pub state: State,
    pub phase: String,
    /// Offsets behind it, of `total`.
    pub done: i64,
    pub total: i64,
    /// Records a second.
    pub rate: f64,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    /// What came of it.
    pub report: Option<Value>,
    /// Why nothing did.
    pub fault: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    Paused,
    /// Its process died; run again, it goes on from there.
    CutOff,
    Done,
}

/// Where a rebuild tells how it is getting on.
pub(super) struct Board {
    pool: MySqlPool,
    projection: &'static str,
    told: Option<(Instant, u64)>,
}

const EVERY: Duration = Duration::from_secs(1);

/// The last rebuild of each read model that ever had one.
pub async fn rebuilds(pool: &MySqlPool) -> Result<Vec<Rebuild>> {
    let rows = sqlx::query(
        "SELECT projection, paused, phase, done, total, rate, started_at, updated_at, \
         report, fault, IS_FREE_LOCK(CONCAT(LEFT(SHA1(DATABASE()), 16), '.rebuild.', projection)) AS unheld \
         FROM rebuilds ORDER BY projection",
    )
    .fetch_all(pool)
    .await?;
    let known = |row: &MySqlRow| {
        let name: String = row.try_get("projection")?;
        projection::named(&name)
            .ok()
            .map(|found| read(found, row))
            .transpose()
    };
    let rebuilds: sqlx::Result<Vec<Option<Rebuild>>> = rows.iter().map(known).collect();
    Ok(rebuilds?.into_iter().flatten().collect())
}

fn read(projection: &dyn Projection, row: &MySqlRow) -> sqlx::Result<Rebuild> {
    let phase: String = row.try_get("phase")?;
    let state = if phase == Phase::Done.name() {
        State::Done
    } else if row.try_get::<i64, _>("unheld")? == 1 {
        State::CutOff
    } else if row.try_get("paused")? {
        State::Paused
    } else {
        State::Running
    };
    let report: Option<String> = row.try_get("report")?;
    Ok(Rebuild {
        projection: projection.name(),
        state,
        phase,
        done: row.try_get("done")?,
        total: row.try_get("total")?,
        rate: row.try_get("rate")?,
        started_at: row::time(row, "started_at")?,
        updated_at: row::time(row, "updated_at")?,
        report: report.and_then(|report| serde_json::from_str(&report).ok()),
        fault: row.try_get("fault")?,
    })
}

/// Holds a rebuild that is under way, in whichever process, or lets it go on.
pub async fn pause(pool: &MySqlPool, projection: &dyn Projection, paused: bool) -> Result<()> {
    let name = projection.name();
    let all = rebuilds(pool).await?;
    let under_way = |rebuild: &&Rebuild| {
        rebuild.projection == name && matches!(rebuild.state, State::Running | State::Paused)
    };
    if !all.iter().any(|rebuild| under_way(&rebuild)) {
        return Err(Error::NotRebuilding(name));
    }
    sqlx::query("UPDATE rebuilds SET paused = ? WHERE projection = ?")
        .bind(paused)
        .bind(name)
        .execute(pool)
        .await?;
    Ok(())
}

// === impl Rebuild ===

impl Rebuild {
    /// Seconds until it has read what it is to read, at its present rate.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn eta(&self) -> Option<f64> {
        let left = (self.total - self.done).max(0) as f64;
        (self.state == State::Running && self.rate > 0.0).then(|| left / self.rate)
    }
}

// === impl Board ===

impl Board {
    /// Under the rebuild's lock: there is no other of this read model.
    pub(super) async fn open(pool: &MySqlPool, projection: &dyn Projection) -> Result<Board> {
        let now = Timestamp::now().millis();
        sqlx::query(
            "INSERT INTO rebuilds (projection, paused, phase, done, total, rate, started_at, updated_at) \
             VALUES (?, FALSE, ?, 0, 0, 0, ?, ?) ON DUPLICATE KEY UPDATE paused = FALSE, \
             phase = VALUES(phase), done = 0, total = 0, rate = 0, \
             started_at = VALUES(started_at), updated_at = VALUES(updated_at), \
             report = NULL, fault = NULL",
        )
        .bind(projection.name())
        .bind(Phase::Filling.name())
        .bind(now)
        .bind(now)
        .execute(pool)
        .await?;
        Ok(Board {
            pool: pool.clone(),
            projection: projection.name(),
            told: None,
        })
    }

    /// Tells at most once a second, but for the end.
    pub(super) async fn tell(&mut self, progress: Progress) -> Result<()> {
        let now = Instant::now();
        let rate = match self.told {
            Some((at, _)) if now - at < EVERY && progress.phase != Phase::Done => return Ok(()),
            Some((at, done)) => rate(progress.done.saturating_sub(done), now - at),
            None => 0.0,
        };
        self.told = Some((now, progress.done));
        sqlx::query(
            "UPDATE rebuilds SET phase = ?, done = ?, total = ?, rate = ?, updated_at = ? \
             WHERE projection = ?",
        )
        .bind(progress.phase.name())
        .bind(progress.done)
        .bind(progress.total)
        .bind(rate)
        .bind(Timestamp::now().millis())
        .bind(self.projection)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(super) async fn is_paused(&self) -> Result<bool> {
        let paused = sqlx::query_scalar("SELECT paused FROM rebuilds WHERE projection = ?")
            .bind(self.projection)
            .fetch_optional(&self.pool)
            .await?;
        Ok(paused.unwrap_or(false))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
pub(crate) fn rate(records: u64, during: Duration) -> f64 {
    let seconds = during.as_secs_f64();
    if seconds > 0.0 {
        records as f64 / seconds
    } else {
        0.0
    }
}
