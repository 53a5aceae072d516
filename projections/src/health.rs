//! What the loops tell of themselves, so that others can see it from anywhere: a row for each read model
//! and process, and the metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lemonair_consumers::Kafka;
use lemonair_schemas::{Timestamp, Topic};
use sqlx::MySqlPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Claims;
use crate::lag::{self, Lag};
use crate::rebuild::{State, rate, rebuilds};
use crate::{Error, Result, dead_letters, projection};

/// As the loops of this process last knew.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<BTreeMap<&'static str, Loop>>);

#[derive(Debug, Clone, Default)]
struct Loop {
    partitions: Vec<(Topic, i32)>,
    records: u64,
    trouble: Option<(String, Timestamp)>,
}

/// Between two reports.
pub(crate) const EVERY: Duration = Duration::from_secs(2);

/// After so long without a report, a process counts as gone.
pub(crate) const GONE: Duration = Duration::from_secs(15);

/// Tells the metrics and the table `projectors`, every few seconds.
pub(crate) async fn report(
    health: &Health,
    pool: &MySqlPool,
    kafka: &Kafka,
    stop: &CancellationToken,
) {
    let process = process();
    let mut told: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut at = Instant::now();
    while !stop.is_cancelled() {
        match lag::lag(pool, kafka).await {
            Ok(lags) => lags.iter().for_each(Lag::gauge),
            Err(error) => tracing::debug!(%error, "lag is unknown"),
        }
        if let Err(error) = gauge(pool).await {
            tracing::debug!(%error, "dead letters and rebuilds are unknown");
        }
        let now = Instant::now();
        let loops = health.lock().clone();
        for (projection, state) in &loops {
            let before = told
                .insert(projection, state.records)
                .unwrap_or(state.records);
            let rate = rate(state.records - before, now - at);
            if let Err(error) = tell(pool, projection, &process, state, rate).await {
                tracing::debug!(%error, "nobody is told how the read models are");
                break;
            }
        }
        at = now;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    let gone = sqlx::query("DELETE FROM projectors WHERE process = ?").bind(&process);
    gone.execute(pool).await.ok();
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
async fn gauge(pool: &MySqlPool) -> Result<()> {
    for (projection, letters) in dead_letters::count(pool).await? {
        metrics::gauge!("lemonair_projection_dead_letters_open", "projection" => projection)
            .set(letters as f64);
    }
    for rebuild in rebuilds(pool).await? {
        for (name, state) in [
            ("running", State::Running),
            ("paused", State::Paused),
            ("cut_off", State::CutOff),
        ] {
            let labels = [("projection", rebuild.projection), ("state", name)];
            metrics::gauge!("lemonair_projection_rebuild", &labels)
                .set(f64::from(u8::from(rebuild.state == state)));
        }
    }
    Ok(())
}

async fn tell(
    pool: &MySqlPool,
    projection: &str,
    process: &str,
    state: &Loop,
    rate: f64,
) -> sqlx::Result<()> {
    let partitions: Vec<String> = state
        .partitions
        .iter()
        .map(|(topic, partition)| format!("{topic}/{partition}"))
        .collect();
    let (error, error_at) = match &state.trouble {
        Some((error, at)) => (Some(error), Some(at.millis())),
        None => (None, None),
    };
    sqlx::query(
        "INSERT INTO projectors (projection, process, partitions, rate, error, error_at, seen_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE partitions = VALUES(partitions), \
         rate = VALUES(rate), error = VALUES(error), error_at = VALUES(error_at), \
         seen_at = VALUES(seen_at)",
    )
    .bind(projection)
    .bind(process)
    .bind(partitions.join(","))
    .bind(rate)
    .bind(error)
    .bind(error_at)
    .bind(Timestamp::now().millis())
    .execute(pool)
    .await?;
    Ok(())
}

/// Machine and process.
pub(crate) fn process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

// === impl Health ===

impl Health {
    pub(crate) fn new() -> Health {
        let loops = projection::ALL.map(|projection| (projection.name(), Loop::default()));
        Health(Mutex::new(loops.into()))
    }

    pub(crate) fn holds(&self, projection: &'static str, claims: &Claims) {
        self.lock().entry(projection).or_default().partitions = claims.keys().copied().collect();
    }

    pub(crate) fn applied(&self, projection: &'static str, records: u64) {
        self.lock().entry(projection).or_default().records += records;
    }

    pub(crate) fn failed(&self, projection: &'static str, error: &Error) {
        let error = error.to_string().chars().take(1000).collect();
        self.lock().entry(projection).or_default().trouble = Some((error, Timestamp::now()));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Loop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
