//! The loops: one a read model, each with its own group, so that none waits for another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use lemonair_consumers::kafka::reachable;
use lemonair_consumers::{Consumed, Group, Kafka, Step, Watermark, erasures};
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{Codec, Event, Topic};
use sqlx::MySqlPool;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{self, Checkpoint, Claims, claim, positions, settle};
use crate::commit::Batch;
use crate::health::{Health, report};
use crate::{Error, Projection, Result, erasure, fault, projection};

/// Records of one transaction, at most.
pub(crate) const BATCH: usize = 500;

/// From one transaction to the next where records trickle in: what comes meanwhile is written together.
/// The first after a quiet moment is written at once, and a backlog without a rest.
const REST: Duration = Duration::from_millis(50);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const CHECK: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the loops stand on.
#[derive(Debug, Clone)]
pub struct Projector {
    pub pool: MySqlPool,
    pub kafka: Kafka,
    pub codec: Arc<Codec>,
}

/// One read model's loop.
struct Follower<'a> {
    projector: &'a Projector,
    projection: &'static dyn Projection,
    health: &'a Health,
    stop: &'a CancellationToken,
}

// === impl Projector ===

impl Projector {
    /// Keeps every read model up with the topics until `stop`. Other processes may do the same: Kafka
    /// shares the partitions out, and MySQL makes sure that each record counts once. Whatever fails is
    /// tried again, as long as it takes, and a panic as well: no read model takes others along.
    pub async fn run(self, stop: CancellationToken) {
        let mut loops = JoinSet::new();
        let health = Arc::new(Health::new());
        for projection in projection::ALL {
            let (projector, health, stop) = (self.clone(), Arc::clone(&health), stop.clone());
            loops.spawn(async move { projector.follow(projection, &health, &stop).await });
        }
        loops.spawn(async move { report(&health, &self.pool, &self.kafka, &stop).await });
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    /// Keeps one read model up.
    async fn follow(
        &self,
        projection: &'static dyn Projection,
        health: &Health,
        stop: &CancellationToken,
    ) {
        let follower = Follower {
            projector: self,
            projection,
            health,
            stop,
        };
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let ended = AssertUnwindSafe(follower.join_in(&mut pause))
                .catch_unwind()
                .await
                .unwrap_or(Err(Error::Panicked(projection.name())));
            health.holds(projection.name(), &Claims::new());
            match ended {
                Ok(()) => break,
                // A new consumer begins where the checkpoint says.
                Err(error @ Error::Fenced { .. }) => tracing::info!("{error}; claiming anew"),
                Err(error) => follower.trouble(&error),
            }
            follower.rest(&mut pause).await;
        }
    }
}

// === impl Follower ===

impl Follower<'_> {
    /// Follows as a member of the group until the first error, or until it shall stop.
    async fn join_in(&self, pause: &mut Duration) -> Result<()> {
        let Projector { kafka, codec, .. } = self.projector;
        let name = format!("projection.{}", self.projection.name());
        let topics = self.projection.reads();
        let mut group: Group<Event> = Group::join(kafka, Arc::clone(codec), &name, &topics)?;
        fault::point("join");
        let mut claims = Claims::new();
        let mut checked = Instant::now();
        let mut rested = checked;
        // Since the last commit. Other tables were swapped in, and the partitions are still ours; or
        // others have them, which the group tells us then. So we claim anew once without leaving it.
        let mut fenced = false;
        // Erasures that the rows know of, among those that the codec does.
        let mut heeded = 0;
        loop {
            let next = async {
                tokio::time::sleep_until(rested).await;
                group.next(BATCH).await
            };
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                step = next => step?,
            };
            match step {
                Step::Revoked => {
                    claims.clear();
                    self.health.holds(self.projection.name(), &claims);
                }
                Step::Assigned(partitions) => {
                    fault::point("assigned");
                    (claims, heeded) = self.begin(&group, &partitions).await?;
                }
                Step::Batch(mut batch) => {
                    if (1..BATCH).contains(&batch.records.len()) {
                        rested = Instant::now() + REST;
                    }
                    if !claims.is_empty() {
                        self.heed(&mut heeded, &mut batch.records).await?;
                    }
                    let batch = Batch::new(&claims, &batch.records, &batch.next);
                    let outcome = if batch.moves.is_empty() {
                        self.check(&claims, &mut checked).await
                    } else {
                        fault::point("read");
                        self.commit(&batch).await
                    };
                    match outcome {
                        Err(error @ Error::Fenced { .. }) if !fenced => {
                            tracing::info!("{error}; claiming anew");
                            fenced = true;
                            let partitions: Vec<_> = claims.keys().copied().collect();
                            (claims, heeded) = self.begin(&group, &partitions).await?;
                        }
                        Ok(()) if !batch.moves.is_empty() => {
                            settle(&batch.moves, &mut claims);
                            fault::point("settled");
                            fenced = false;
                            *pause = FIRST_PAUSE;
                        }
                        outcome => outcome?,
                    }
                }
            }
        }
    }

    /// Claims what the group has given us, and goes on from where the checkpoint is. Says how many of the
    /// erasures that are known the rows know of, too.
    async fn begin(
        &self,
        group: &Group<Event>,
        partitions: &[(Topic, i32)],
    ) -> Result<(Claims, usize)> {
        let claims = self.claim(partitions).await?;
        fault::point("claimed");
        let heeded = self.heeded().await?;
        self.health.holds(self.projection.name(), &claims);
        group.start(&reachable(&self.projector.kafka, positions(&claims)).await?)?;
        fault::point("started");
        Ok((claims, heeded))
    }

    /// All that are known, where the read model is past every erasure there is. Else none: it does no harm
    /// to tell the rows of one again.
    async fn heeded(&self) -> Result<usize> {
        let known = self.projector.codec.erased().count();
        if known == 0 {
            return Ok(0);
        }
        let marks = erasures::marks(&self.projector.kafka).await?;
        let mut connection = self.projector.pool.acquire().await?;
        let reached = checkpoint::read(&mut connection, self.projection).await?;
        let is_past = |mark: &Watermark| {
            let mut positions = reached.iter().map(|found| found.position);
            let here = positions
                .find(|found| (found.topic, found.partition) == (mark.topic, mark.partition));
            here.map_or(0, |position| position.offset) >= mark.high
        };
        Ok(if marks.iter().all(is_past) { known } else { 0 })
    }

    /// Has the rows and the records know of the same erasures. The codec learns of one as soon as anybody
    /// reads it; a record that is decoded with it before the rows are renamed would not find them, nor would
    /// one that was decoded without it after.
    async fn heed(&self, heeded: &mut usize, records: &mut [Consumed<Event>]) -> Result<()> {
        let erased = self.projector.codec.erased();
        loop {
            let news = erased.since(*heeded);
            if news.is_empty() {
                return Ok(());
            }
            for event in &news {
                self.erase(event).await?;
                *heeded += 1;
            }
            for record in records.iter_mut() {
                if let Ok(event) = &mut record.content {
                    erased.heed(event);
                }
            }
        }
    }

    /// Through deadlocks with who does the same, and lost connections.
    async fn erase(&self, event: &AccountErased) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_erase(event).await {
                Err(Error::Sql(error)) if !self.stop.is_cancelled() => {
                    self.trouble(&Error::Sql(error));
                }
                result => return result,
            }
            self.rest(&mut pause).await;
        }
    }

    async fn try_erase(&self, event: &AccountErased) -> Result<()> {
        let mut connection = self.projector.pool.acquire().await?;
        Box::pin(erasure::heed(&mut connection, self.projection, event)).await
    }

    /// Tries until MySQL is there; the group goes on waiting for us meanwhile.
    async fn claim(&self, partitions: &[(Topic, i32)]) -> Result<Claims> {
        let mut pause = FIRST_PAUSE;
        loop {
            match claim(&self.projector.pool, self.projection, partitions).await {
                Ok(claims) => return Ok(claims),
                Err(Error::Busy(_)) if !self.stop.is_cancelled() => {}
                Err(Error::Sql(error)) if !self.stop.is_cancelled() => {
                    self.trouble(&Error::Sql(error));
                }
                Err(error) => return Err(error),
            }
            self.rest(&mut pause).await;
        }
    }

    /// Finds out in quiet times that other tables were swapped in, before somebody waits for a record.
    /// While MySQL is away there is nothing to find out.
    async fn check(&self, claims: &Claims, checked: &mut Instant) -> Result<()> {
        if claims.is_empty() || checked.elapsed() < CHECK {
            return Ok(());
        }
        *checked = Instant::now();
        let Ok(mut connection) = self.projector.pool.acquire().await else {
            return Ok(());
        };
        let Ok(found) = checkpoint::read(&mut connection, self.projection).await else {
            return Ok(());
        };
        for (position, claim) in positions(claims).into_iter().zip(claims.values()) {
            let ours =
                |found: &Checkpoint| found.position == position && found.owner == claim.owner;
            if !found.iter().any(ours) {
                return Err(Error::Fenced {
                    projection: self.projection.name(),
                    position,
                });
            }
        }
        Ok(())
    }

    /// Commits exactly once, through deadlocks and lost connections.
    async fn commit(&self, batch: &Batch<'_>) -> Result<()> {
        if batch.moves.is_empty() {
            return Ok(());
        }
        let name = self.projection.name();
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            match self.try_commit(batch).await {
                Ok(committed) => {
                    self.health.applied(name, committed.records);
                    metrics::counter!("lemonair_projection_records_total", "projection" => name)
                        .increment(committed.records);
                    metrics::counter!("lemonair_projection_dead_letters_total", "projection" => name)
                        .increment(committed.dead_letters);
                    metrics::histogram!("lemonair_projection_commit_seconds", "projection" => name)
                        .record(begun.elapsed());
                    return Ok(());
                }
                Err(Error::Sql(error)) if !self.stop.is_cancelled() => {
                    self.trouble(&Error::Sql(error));
                }
                Err(error) => return Err(error),
            }
            self.rest(&mut pause).await;
            // The connection may have been lost after the server committed and before it said so.
            // If it still is about to, the next try waits for it and is fenced off.
            if self.is_done(batch).await {
                return Ok(());
            }
        }
    }

    async fn try_commit(&self, batch: &Batch<'_>) -> Result<crate::commit::Committed> {
        let mut connection = self.projector.pool.acquire().await?;
        let erased = self.projector.codec.erased();
        batch.commit(&mut connection, self.projection, erased).await
    }

    async fn is_done(&self, batch: &Batch<'_>) -> bool {
        let Ok(mut connection) = self.projector.pool.acquire().await else {
            return false;
        };
        let done = checkpoint::is_done(&mut connection, self.projection, &batch.moves).await;
        done.unwrap_or(false)
    }

    fn trouble(&self, error: &Error) {
        let name = self.projection.name();
        metrics::counter!("lemonair_projection_troubles_total", "projection" => name).increment(1);
        self.health.failed(name, error);
        tracing::warn!(projection = name, %error, "read model stands still, trying again");
    }

    async fn rest(&self, pause: &mut Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod kills;
#[cfg(test)]
pub(crate) mod tests;
