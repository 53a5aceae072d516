//! How far the read models are behind the topics.

use std::collections::BTreeSet;
use std::time::Duration;

use lemonair_consumers::{Kafka, watermarks};
use lemonair_schemas::{Position, Timestamp, Topic};
use serde::Serialize;
use sqlx::MySqlPool;

use crate::{Result, checkpoint, projection};

/// One partition of one read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lag {
    pub projection: &'static str,
    /// Its checkpoint; the beginning if it has none yet.
    pub position: Position,
    /// Where the topic ends.
    pub end: i64,
    /// Time of the newest record that the read model has.
    pub record_at: Option<Timestamp>,
}

impl Lag {
    /// Offsets between the read model and the topic's end; transaction markers count too.
    pub fn records(&self) -> i64 {
        (self.end - self.position.offset).max(0)
    }

    /// Age of the newest record that the read model has, if there are newer ones.
    pub fn age(&self, now: Timestamp) -> Duration {
        match self.record_at {
            Some(at) if self.records() > 0 => now.since(at),
            _ => Duration::ZERO,
        }
    }
}

/// Every partition of every read model.
pub async fn lag(pool: &MySqlPool, kafka: &Kafka) -> Result<Vec<Lag>> {
    let topics: BTreeSet<Topic> = projection::ALL
        .iter()
        .flat_map(|projection| projection.reads())
        .collect();
    let ends = watermarks(kafka, &Vec::from_iter(topics)).await?;
    let mut lags = Vec::new();
    let mut connection = pool.acquire().await?;
    for projection in projection::ALL {
        let checkpoints = checkpoint::read(&mut connection, projection).await?;
        for end in &ends {
            if !projection.reads().contains(&end.topic) {
                continue;
            }
            let checkpoint = checkpoints.iter().find(|checkpoint| {
                let position = checkpoint.position;
                (position.topic, position.partition) == (end.topic, end.partition)
            });
            lags.push(Lag {
                projection: projection.name(),
                position: checkpoint.map_or_else(|| end.start(), |found| found.position),
                end: end.high,
                record_at: checkpoint.and_then(|found| found.record_at),
            });
        }
    }
    Ok(lags)
}

impl Lag {
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    pub(crate) fn gauge(&self) {
        let labels = [
            ("projection", self.projection.to_owned()),
            ("topic", self.position.topic.to_string()),
            ("partition", self.position.partition.to_string()),
        ];
        metrics::gauge!("lemonair_projection_lag_records", &labels).set(self.records() as f64);
        metrics::gauge!("lemonair_projection_lag_seconds", &labels)
            .set(self.age(Timestamp::now()).as_secs_f64());
    }
}
