//! Waiting until a write can be read: a request that appended a record answers when the read models
//! have it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use lemonair_schemas::{Position, Topic};
use sqlx::{AssertSqlSafe, MySqlPool, Row};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::{Projection, checkpoint, projection, row};

/// One a process, shared by all who wait: while anybody does, the checkpoints are read every few
/// milliseconds, by one query for all. Cheap to clone.
#[derive(Clone)]
pub struct Checkpoints {
    waiters: Arc<Waiters>,
    _poller: Arc<AbortOnDropHandle<()>>,
}

/// As many as there are requests under way, which the gateway bounds.
#[derive(Default)]
struct Waiters {
    list: Mutex<Vec<Waiter>>,
    came: Notify,
}

struct Waiter {
    projection: &'static str,
    position: Position,
    reached: oneshot::Sender<()>,
}

type Reached = HashMap<(&'static str, Topic, i32), i64>;

const EVERY: Duration = Duration::from_millis(10);

// === impl Checkpoints ===

impl Checkpoints {
    /// Must be called within a tokio runtime.
    pub fn start(pool: MySqlPool) -> Checkpoints {
        let waiters = Arc::new(Waiters::default());
        let poller = tokio::spawn(poll(pool, Arc::clone(&waiters)));
        Checkpoints {
            waiters,
            _poller: Arc::new(AbortOnDropHandle::new(poller)),
        }
    }

    /// Waits until the read model has the record at this position. False if that takes longer than
    /// `patience`, or if there is no such read model.
    pub async fn wait(&self, projection: &str, position: Position, patience: Duration) -> bool {
        let Ok(projection) = projection::named(projection) else {
            return false;
        };
        let (reached, news) = oneshot::channel();
        self.waiters.lock().push(Waiter {
            projection: projection.name(),
            position,
            reached,
        });
        self.waiters.came.notify_one();
        matches!(tokio::time::timeout(patience, news).await, Ok(Ok(())))
    }

    /// Waits until every read model that reads these records' topics has all of them.
    pub async fn wait_all(&self, positions: &[Position], patience: Duration) -> bool {
        let mut waits = Vec::new();
        for position in positions {
            for projection in projection::ALL {
                if projection.reads().contains(&position.topic) {
                    waits.push(self.wait(projection.name(), *position, patience));
                }
            }
        }
        join_all(waits).await.into_iter().all(|reached| reached)
    }
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints")
            .field("waiters", &self.waiters.lock().len())
            .finish_non_exhaustive()
    }
}

// === impl Waiters ===

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go who has what it waits for, and who waits no more.
    fn release(&self, reached: &Reached) {
        let has = |waiter: &mut Waiter| {
            let Position {
                topic,
                partition,
                offset,
            } = waiter.position;
            waiter.reached.is_closed()
                || reached
                    .get(&(waiter.projection, topic, partition))
                    .is_some_and(|next| *next > offset)
        };
        for waiter in self.lock().extract_if(.., has) {
            // Who went away in this moment need not know.
            let _ = waiter.reached.send(());
        }
    }

    async fn some(&self) {
        while self.lock().is_empty() {
            self.came.notified().await;
        }
    }
}

async fn poll(pool: MySqlPool, waiters: Arc<Waiters>) {
    loop {
        waiters.some().await;
        match read(&pool).await {
            Ok(reached) => waiters.release(&reached),
            Err(error) => {
                tracing::debug!(%error, "checkpoints cannot be read");
                waiters.release(&Reached::new());
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn read(pool: &MySqlPool) -> sqlx::Result<Reached> {
    let parts = projection::ALL.map(|projection: &dyn Projection| {
        let (name, table) = (projection.name(), checkpoint::table(projection));
        format!("SELECT '{name}' AS projection, topic, part, next_offset FROM {table}")
    });
    let rows = sqlx::query(AssertSqlSafe(parts.join(" UNION ALL ")))
        .fetch_all(pool)
        .await?;
    let mut reached = Reached::new();
    for row in rows {
        let name: &str = row.try_get("projection")?;
        if let Ok(projection) = projection::named(name) {
            let key = (
                projection.name(),
                row::parse(&row, "topic")?,
                row.try_get("part")?,
            );
            reached.insert(key, row.try_get("next_offset")?);
        }
    }
    Ok(reached)
}

#[cfg(test)]
mod tests;
