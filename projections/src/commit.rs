//! One batch, one transaction: rows, dead letters and checkpoint together. The live loop and the
//! rebuild both come through here.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use lemonair_consumers::Consumed;
use lemonair_schemas::erasure::Erased;
use lemonair_schemas::{Event, Position};
use sqlx::{Connection, MySqlConnection};

use crate::checkpoint::{Claims, Move, step};
use crate::dead_letters::keep;
use crate::projection::Fault;
use crate::{Error, Fact, Projection, Result, erasure, fault};

/// Records of partitions that are ours, and how far they bring us.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    records: Vec<&'a Consumed<Event>>,
    pub(crate) moves: Vec<Move>,
}

/// What a transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Committed {
    pub(crate) records: u64,
    pub(crate) dead_letters: u64,
}

// === impl Batch ===

impl<'a> Batch<'a> {
    /// Leaves out what is not ours, what the checkpoint is past already, and what lies beyond `next`.
    pub(crate) fn new(
        claims: &Claims,
        records: impl IntoIterator<Item = &'a Consumed<Event>>,
        next: &[Position],
    ) -> Batch<'a> {
        let mut moves = HashMap::new();
        for position in next {
            let key = (position.topic, position.partition);
            if let Some(claim) = claims.get(&key)
                && position.offset > claim.next
            {
                let step = Move {
                    from: *claim,
                    to: *position,
                    record_at: None,
                };
                moves.insert(key, step);
            }
        }
        let mut ours = Vec::new();
        for record in records {
            let position = record.position;
            if let Some(step) = moves.get_mut(&(position.topic, position.partition))
                && (step.from.next..step.to.offset).contains(&position.offset)
            {
                step.record_at = step.record_at.max(Some(record.at));
                ours.push(record);
            }
        }
        let mut moves: Vec<Move> = moves.into_values().collect();
        // Always in the same order, or two who step would block each other.
        moves.sort_by_key(|step| (step.to.topic.name(), step.to.partition));
        Batch {
            records: ours,
            moves,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Commits the batch, to whichever database the connection is in. Records that cannot be applied
    /// become dead letters; any other trouble leaves everything as it was.
    pub(crate) async fn commit(
        &self,
        connection: &mut MySqlConnection,
        projection: &dyn Projection,
        erased: &Erased,
    ) -> Result<Committed> {
        if self.moves.is_empty() {
            return Ok(Committed::default());
        }
        let mut tx = connection.begin().await?;
        fault::point("begun");
        // First of all: who was fenced off does no work, and a claim waits for our end.
        step(&mut tx, projection, &self.moves).await?;
        fault::point("moved");
        match self.apply_together(&mut tx, projection, erased).await {
            Ok(committed) => {
                fault::point("applied");
                tx.commit().await?;
                fault::point("committed");
                Ok(committed)
            }
            Err(fault) if fault.is_records() => {
                tx.rollback().await?;
                let mut tx = connection.begin().await?;
                step(&mut tx, projection, &self.moves).await?;
                let committed = self.apply_singly(&mut tx, projection, erased).await?;
                fault::point("singly");
                tx.commit().await?;
                Ok(committed)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn apply_together(
        &self,
        tx: &mut MySqlConnection,
        projection: &dyn Projection,
        erased: &Erased,
    ) -> Result<Committed, Fault> {
        let mut committed = self.count();
        let mut facts = Vec::with_capacity(self.records.len());
        for record in &self.records {
            match &record.content {
                Ok(event) => facts.push(Fact {
                    position: record.position,
                    event,
                }),
                Err(poison) => {
                    keep(tx, projection, record, &poison.cause, erased).await?;
                    fault::point("kept");
                    committed.dead_letters += 1;
                }
            }
        }
        if !facts.is_empty() {
            apply(tx, projection, &facts).await?;
        }
        Ok(committed)
    }

    /// Finds the records that are at fault; all others are applied.
    async fn apply_singly(
        &self,
        tx: &mut MySqlConnection,
        projection: &dyn Projection,
        erased: &Erased,
    ) -> Result<Committed> {
        let mut committed = self.count();
        for record in &self.records {
            let event = match &record.content {
                Ok(event) => event,
                Err(poison) => {
                    keep(tx, projection, record, &poison.cause, erased).await?;
                    committed.dead_letters += 1;
                    continue;
                }
            };
            let fact = Fact {
                position: record.position,
                event,
            };
            let mut savepoint = tx.begin().await?;
            match apply(&mut savepoint, projection, &[fact]).await {
                Ok(()) => savepoint.commit().await?,
                Err(fault) if fault.is_records() => {
                    savepoint.rollback().await?;
                    keep(tx, projection, record, &fault.to_string(), erased).await?;
                    committed.dead_letters += 1;
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(committed)
    }

    fn count(&self) -> Committed {
        Committed {
            records: self.records.len().try_into().unwrap_or(u64::MAX),
            dead_letters: 0,
        }
    }
}

/// Facts, and behind them the erasures among them: what was decoded after an erasure knows of it.
///
/// A record that the model panics at is at fault like any other: the bug is met again each time, and
/// what comes behind must not wait until it is mended. What the panic said may be of somebody, so it is in
/// the log alone.
pub(crate) async fn apply(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    facts: &[Fact<'_>],
) -> Result<(), Fault> {
    let applied = async {
        projection.apply(tx, facts).await?;
        for fact in facts {
            if let Event::AccountErased(event) = fact.event {
                erasure::apply(tx, projection, event).await?;
            }
        }
        Ok(())
    };
    match AssertUnwindSafe(applied).catch_unwind().await {
        Ok(applied) => applied,
        Err(_) => Fault::unfit("the read model panicked at it; the log says where"),
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Sql(error) => Error::Sql(error),
            Fault::Unfit(cause) => Error::Unfit(cause),
        }
    }
}

#[cfg(test)]
mod tests;
