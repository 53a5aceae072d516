//! How every read model is, as seen from anywhere: where it stands, who keeps it up, what troubles it.

use lemonair_consumers::Kafka;
use lemonair_schemas::{Timestamp, Topic};
use serde::Serialize;
use sqlx::{MySqlPool, Row};

use crate::health::GONE;
use crate::lag::{Lag, lag};
use crate::rebuild::{Rebuild, Wish, rebuilds, wishes};
use crate::{Result, dead_letters, projection, row};

/// A read model and one of its topics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub projection: &'static str,
    pub topic: Topic,
    /// Sums over all partitions.
    pub position: i64,
    pub end: i64,
    pub lag_records: i64,
    /// Age of the newest record that it has, where there are newer ones; of the partition that is worst.
    pub lag_seconds: f64,
    /// Records a second, of late.
    pub rate: f64,
    /// Processes that hold partitions of it.
    pub owners: Vec<String>,
    /// What last went wrong, though it may be over.
    pub error: Option<String>,
    pub error_at: Option<Timestamp>,
    pub dead_letters: i64,
    /// Its last rebuild.
    pub rebuild: Option<Rebuild>,
    /// What an operator wants done to it, and nobody has done yet.
    pub wish: Option<Wish>,
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Partition {
    pub partition: i32,
    pub position: i64,
    pub end: i64,
    pub lag_records: i64,
    pub lag_seconds: f64,
    pub owner: Option<String>,
}

/// What a process last told of a read model's loop.
struct Told {
    projection: String,
    process: String,
    partitions: String,
    rate: f64,
    error: Option<String>,
    error_at: Option<Timestamp>,
}

/// Caught up is who stands at the end: a position passes transaction markers, which are no records.
pub async fn status(pool: &MySqlPool, kafka: &Kafka, now: Timestamp) -> Result<Vec<Status>> {
    let lags = lag(pool, kafka).await?;
    let told = told(pool, now).await?;
    let letters = dead_letters::count(pool).await?;
    let rebuilds = rebuilds(pool).await?;
    let wishes = wishes(pool).await?;
    let mut all = Vec::new();
    for projection in projection::ALL {
        let name = projection.name();
        let told: Vec<&Told> = told.iter().filter(|told| told.projection == name).collect();
        let last_error = told.iter().filter(|told| told.error.is_some());
        let last_error = last_error.max_by_key(|told| told.error_at);
        for topic in projection.reads() {
            let ours = |lag: &&Lag| lag.projection == name && lag.position.topic == topic;
            let partitions: Vec<Partition> = lags
                .iter()
                .filter(ours)
                .map(|lag| Partition::of(lag, &told, now))
                .collect();
            let mut owners: Vec<String> = partitions
                .iter()
                .filter_map(|partition| partition.owner.clone())
                .collect();
            owners.sort_unstable();
            owners.dedup();
            all.push(Status {
                projection: name,
                topic,
                position: partitions.iter().map(|partition| partition.position).sum(),
                end: partitions.iter().map(|partition| partition.end).sum(),
                lag_records: partitions
                    .iter()
                    .map(|partition| partition.lag_records)
                    .sum(),
                lag_seconds: partitions
                    .iter()
                    .map(|partition| partition.lag_seconds)
                    .fold(0.0, f64::max),
                rate: told.iter().map(|told| told.rate).sum(),
                owners,
                error: last_error.and_then(|told| told.error.clone()),
                error_at: last_error.and_then(|told| told.error_at),
                dead_letters: letters
                    .iter()
                    .find(|(projection, _)| *projection == name)
                    .map_or(0, |(_, count)| *count),
                rebuild: rebuilds
                    .iter()
                    .find(|rebuild| rebuild.projection == name)
                    .cloned(),
                wish: wishes
                    .iter()
                    .find(|(wished, _)| wished.name() == name)
                    .map(|(_, wish)| *wish),
                partitions,
            });
        }
    }
    Ok(all)
}

async fn told(pool: &MySqlPool, now: Timestamp) -> Result<Vec<Told>> {
    let gone = Timestamp(now.millis() - i64::try_from(GONE.as_millis()).unwrap_or(0));
    let rows = sqlx::query(
        "SELECT projection, process, partitions, rate, error, error_at FROM projectors \
         WHERE seen_at > ? ORDER BY projection, process",
    )
    .bind(gone.millis())
    .fetch_all(pool)
    .await?;
    let told = |row: &_| {
        Ok(Told {
            projection: row::parse(row, "projection")?,
            process: row.try_get("process")?,
            partitions: row.try_get("partitions")?,
            rate: row.try_get("rate")?,
            error: row.try_get("error")?,
            error_at: row::time_if_any(row, "error_at")?,
        })
    };
    Ok(rows.iter().map(told).collect::<sqlx::Result<_>>()?)
}

impl Partition {
    fn of(lag: &Lag, told: &[&Told], now: Timestamp) -> Partition {
        let name = format!("{}/{}", lag.position.topic, lag.position.partition);
        let holds = |told: &&&Told| told.partitions.split(',').any(|held| held == name);
        Partition {
            partition: lag.position.partition,
            position: lag.position.offset,
            end: lag.end,
            lag_records: lag.records(),
            lag_seconds: lag.age(now).as_secs_f64(),
            owner: told.iter().find(holds).map(|told| told.process.clone()),
        }
    }
}
