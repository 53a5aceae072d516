//! A share of the partitions of a rebuild: what reads them, and the connection that adds their rows.

use std::sync::Arc;

use lemonair_consumers::kafka::reachable;
use lemonair_consumers::{Batch, Consumed, Feed};
use lemonair_schemas::erasure::Erased;
use lemonair_schemas::{Event, Position, RoomId};
use sqlx::MySqlConnection;
use tokio::time::Instant;

use super::Ends;
use crate::checkpoint::{Claims, Move, settle};
use crate::commit::{self, Committed};
use crate::database::{connect_to, number};
use crate::{Error, Projection, Projector, Result};

/// Records of one transaction: more than live, where nobody waits for a row.
const BATCH: usize = 2000;

/// The server's number of a deadlock: two lanes wanted each other's rows, such as an account's that
/// entries of both are about, and one of them was sent back.
const DEADLOCK: u16 = 1213;

pub(super) struct Lane {
    feed: Feed<Event>,
    /// In the shadow database.
    connection: MySqlConnection,
    /// Of its partitions.
    claims: Claims,
    batch: Batch<Event>,
    /// When the last step forward was.
    pub(super) moved: Instant,
    /// Records read in vain, from partitions that are at their ends.
    pub(super) wasted: usize,
    pub(super) at_end: bool,
}

/// What all lanes work at.
pub(super) struct Work<'a> {
    pub(super) projection: &'static dyn Projection,
    pub(super) erased: &'a Erased,
    pub(super) ends: &'a Ends,
    /// Only this room's records.
    pub(super) room: Option<&'a RoomId>,
    /// Erasures that the rows know of.
    pub(super) heeded: usize,
}

impl Lane {
    pub(super) async fn open(
        projector: &Projector,
        shadow: &str,
        claims: &Claims,
        from: Vec<Position>,
    ) -> Result<Lane> {
        let Projector { pool, kafka, codec } = projector;
        let own = |position: &Position| {
            let key = (position.topic, position.partition);
            Some((key, *claims.get(&key)?))
        };
        let claims = from.iter().filter_map(own).collect();
        let from = reachable(kafka, from).await?;
        let mut feed = Feed::open(kafka, Arc::clone(codec), &from)?;
        Ok(Lane {
            batch: feed.next(BATCH).await?,
            feed,
            connection: connect_to(pool, Some(shadow)).await?,
            claims,
            moved: Instant::now(),
            wasted: 0,
            at_end: false,
        })
    }

    /// Commits what was read, up to exactly the ends. The next records are read and decoded while the
    /// server is busy with these.
    pub(super) async fn lap(
        &mut self,
        work: &Work<'_>,
    ) -> Result<(&mut Lane, Vec<Move>, Committed)> {
        // Read again when the rows know what these records may have been decoded with.
        if work.is_stale() {
            return Ok((self, Vec::new(), Committed::default()));
        }
        self.at_end = true;
        for next in &mut self.batch.next {
            let end = work.ends.get(&(next.topic, next.partition)).copied();
            let end = end.unwrap_or(next.offset);
            self.at_end &= next.offset >= end;
            next.offset = next.offset.min(end);
        }
        let ours = |record: &&Consumed<Event>| match work.room {
            Some(room) => record.key == room.as_str().as_bytes(),
            None => true,
        };
        let ours = self.batch.records.iter().filter(ours);
        let batch = commit::Batch::new(&self.claims, ours, &self.batch.next);
        let commit = commit(&batch, &mut self.connection, work);
        let (committed, following) = if self.at_end {
            (commit.await?, None)
        } else {
            let (committed, following) = tokio::join!(commit, self.feed.next(BATCH));
            (committed?, Some(following?))
        };
        if work.room.is_none() {
            self.wasted += self.batch.records.len() - batch.len();
        }
        let moves = batch.moves;
        settle(&moves, &mut self.claims);
        if !moves.is_empty() {
            self.moved = Instant::now();
        }
        if let Some(following) = following {
            self.batch = following;
        }
        Ok((self, moves, committed))
    }
}

// === impl Work ===

impl Work<'_> {
    /// Whether the codec has learned of an erasure since the rows were told of those before it.
    pub(super) fn is_stale(&self) -> bool {
        self.erased.count() != self.heeded
    }
}

async fn commit(
    batch: &commit::Batch<'_>,
    connection: &mut MySqlConnection,
    work: &Work<'_>,
) -> Result<Committed> {
    loop {
        match batch.commit(connection, work.projection, work.erased).await {
            Err(Error::Sql(error)) if number(&error) == Some(DEADLOCK) => {}
            result => return result,
        }
    }
}
