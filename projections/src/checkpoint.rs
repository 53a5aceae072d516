//! How far a read model has come, and who may move it on.
//!
//! Each partition of each read model has a row in its checkpoint table. Whoever takes over the
//! partition adds one to the row's `owner`, and moves `next_offset` only where both are still as it
//! knows them. So of two who believe that a partition is theirs, one commits and the other finds out.

use std::collections::BTreeMap;
use std::time::Duration;

use lemonair_schemas::{Position, Timestamp, Topic};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool, Row};

use crate::database::{lock, unlock};
use crate::{Error, Projection, Result, fault, row};

/// What a process holds of a read model, by topic and partition.
pub(crate) type Claims = BTreeMap<(Topic, i32), Claim>;

/// A partition that is ours, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) owner: i64,
    /// Offset of the next record.
    pub(crate) next: i64,
}

/// A partition's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    pub(crate) owner: i64,
    /// Time of the newest record behind the position.
    pub(crate) record_at: Option<Timestamp>,
}

/// A partition's step forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: Claim,
    pub(crate) to: Position,
    pub(crate) record_at: Option<Timestamp>,
}

/// How long a claim waits while a rebuilt model is swapped in.
pub(crate) const SWAP: Duration = Duration::from_secs(5);

pub(crate) fn table(projection: &dyn Projection) -> String {
    format!("{}_checkpoint", projection.name())
}

/// The lock under which a read model's tables are swapped, and partitions claimed.
pub(crate) fn swap_lock(projection: &dyn Projection) -> String {
    format!("swap.{}", projection.name())
}

/// A connection during which the read model's tables are not swapped: what is done to those on their
/// way out is lost. Not one of the pool: its end, however it comes, must free the lock.
pub(crate) async fn unswapped(
    pool: &MySqlPool,
    projection: &dyn Projection,
) -> Result<MySqlConnection> {
    let mut connection = pool.acquire().await?.detach();
    if !lock(&mut connection, &swap_lock(projection), SWAP).await? {
        return Err(Error::Busy("the read model is being swapped"));
    }
    Ok(connection)
}

/// Ends it; whoever swaps need not wait until the server finds it gone.
pub(crate) async fn swappable(
    mut connection: MySqlConnection,
    projection: &dyn Projection,
) -> Result<()> {
    unlock(&mut connection, &swap_lock(projection)).await?;
    Ok(connection.close().await?)
}

/// Takes over partitions. Whoever held them before can no longer commit, and what it had under way
/// is committed or gone when this returns.
pub(crate) async fn claim(
    pool: &MySqlPool,
    projection: &dyn Projection,
    partitions: &[(Topic, i32)],
) -> Result<Claims> {
    let mut connection = unswapped(pool, projection).await?;
    let mut tx = connection.begin().await?;
    fault::point("claiming");
    take(&mut tx, projection, partitions).await?;
    fault::point("taken");
    let found = read(&mut tx, projection).await?;
    tx.commit().await?;
    swappable(connection, projection).await?;
    let claims = found.iter().filter_map(|checkpoint| {
        let Position {
            topic,
            partition,
            offset,
        } = checkpoint.position;
        let claim = Claim {
            owner: checkpoint.owner,
            next: offset,
        };
        partitions
            .contains(&(topic, partition))
            .then_some(((topic, partition), claim))
    });
    Ok(claims.collect())
}

/// Adds one to the owner of each of the partitions, whose rows stay locked until `tx` ends.
pub(crate) async fn take(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    partitions: &[(Topic, i32)],
) -> sqlx::Result<()> {
    let sql = format!(
        "INSERT INTO {} (topic, part, next_offset, owner) VALUES (?, ?, 0, 1) \
         ON DUPLICATE KEY UPDATE owner = owner + 1",
        table(projection)
    );
    // Always in the same order, or two who take would block each other.
    let mut partitions = partitions.to_vec();
    partitions.sort_by_key(|(topic, partition)| (topic.name(), *partition));
    for (topic, partition) in partitions {
        sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(topic.name())
            .bind(partition)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// All rows of a read model.
pub(crate) async fn read(
    connection: &mut MySqlConnection,
    projection: &dyn Projection,
) -> sqlx::Result<Vec<Checkpoint>> {
    let sql = format!(
        "SELECT topic, part, next_offset, owner, record_at FROM {} ORDER BY topic, part",
        table(projection)
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await?;
    let checkpoint = |row: &_| {
        Ok(Checkpoint {
            position: Position {
                topic: row::parse(row, "topic")?,
                partition: row.try_get("part")?,
                offset: row.try_get("next_offset")?,
            },
            owner: row.try_get("owner")?,
            record_at: row::time_if_any(row, "record_at")?,
        })
    };
    rows.iter().map(checkpoint).collect()
}

/// Steps forward, in the transaction that holds the step's effect. The rows stay locked until it ends.
pub(crate) async fn step(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    moves: &[Move],
) -> Result<()> {
    let sql = format!(
        "UPDATE {} SET next_offset = ?, record_at = COALESCE(?, record_at) \
         WHERE topic = ? AND part = ? AND next_offset = ? AND owner = ?",
        table(projection)
    );
    for step in moves {
        let moved = sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(step.to.offset)
            .bind(step.record_at.map(Timestamp::millis))
            .bind(step.to.topic.name())
            .bind(step.to.partition)
            .bind(step.from.next)
            .bind(step.from.owner)
            .execute(&mut *tx)
            .await?;
        if moved.rows_affected() != 1 {
            return Err(Error::Fenced {
                projection: projection.name(),
                position: step.to,
            });
        }
    }
    Ok(())
}

/// Where each of the partitions goes on.
pub(crate) fn positions(claims: &Claims) -> Vec<Position> {
    let position = |(&(topic, partition), claim): (&(Topic, i32), &Claim)| Position {
        topic,
        partition,
        offset: claim.next,
    };
    claims.iter().map(position).collect()
}

/// Notes steps that were committed.
pub(crate) fn settle(moves: &[Move], claims: &mut Claims) {
    for step in moves {
        if let Some(claim) = claims.get_mut(&(step.to.topic, step.to.partition)) {
            claim.next = step.to.offset;
        }
    }
}

/// Whether the steps were committed after all, when nobody answered whether they were. They stand or
/// fall together.
pub(crate) async fn is_done(
    connection: &mut MySqlConnection,
    projection: &dyn Projection,
    moves: &[Move],
) -> sqlx::Result<bool> {
    let found = read(connection, projection).await?;
    let done = |step: &Move| {
        found
            .iter()
            .any(|checkpoint| checkpoint.position == step.to && checkpoint.owner == step.from.owner)
    };
    Ok(moves.iter().all(done))
}
