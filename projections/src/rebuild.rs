//! A read model made anew beside the live one, compared with it, and swapped in.
//!
//! The new tables stand in another database of the same server, under the same names, so that the very
//! same statements fill them: `lemonair_shadow` beside `lemonair`. They have a checkpoint of their own,
//! so a rebuild that was cut off goes on from there. The swap is one `RENAME TABLE` over all tables and
//! the checkpoint; what was live before is kept in `lemonair_old`. Readers and the live loop go on
//! throughout; only while the last few records are added and the tables swapped does the loop wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lemonair_consumers::kafka::{offsets_at, reachable};
use lemonair_consumers::{Consumed, Feed, Watermark, watermarks};
use lemonair_schemas::{Event, Position, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::{Connection, MySqlConnection};
use tokio::time::Instant;

use crate::checkpoint::{self, Claim, Claims};
use crate::commit::Batch;
use crate::database::{connect_to, lock, unlock};
use crate::{Error, Projection, Projector, Result, dead_letters, fault};

mod board;
mod compare;
mod room;
mod shadow;
mod wish;

pub(crate) use board::rate;
pub use board::{Rebuild, State, pause, rebuilds};
pub use compare::{Comparison, Difference, Sum};
pub use room::rebuild_room;
pub(crate) use wish::fulfil;
pub use wish::{Wish, note, wish, wishes};

use board::Board;
use shadow::{Place, Shadow};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Compares, and changes nothing.
    pub verify_only: bool,
    /// Begins anew instead of going on where a rebuild was cut off.
    pub fresh: bool,
    /// Begins anew, with the live rows from before this time.
    pub from: Option<Timestamp>,
}

/// How a rebuild is getting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub projection: &'static str,
    pub phase: Phase,
    /// Offsets behind it, of `total`, at this phase's target.
    pub done: u64,
    pub total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reads the topics from the beginning, or from where it was cut off.
    Filling,
    /// Held by somebody, until somebody lets it go on.
    Paused,
    Comparing,
    Swapping,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub projection: &'static str,
    /// Records applied in this run.
    pub records: u64,
    pub dead_letters: u64,
    /// `None` where there was no live model at a position that could be compared.
    pub comparison: Option<Comparison>,
    pub swapped: bool,
}

/// Offsets up to which to read, by topic and partition.
type Ends = BTreeMap<(Topic, i32), i64>;

/// Records of one transaction: more than live, where nobody waits for a row.
const BATCH: usize = 2000;

/// Records read in vain, at most, before a feed is opened anew without the partitions they came from.
const WASTE: usize = 20_000;

/// So close to the live model, the rest is read while a snapshot of it is held open.
const CLOSE: u64 = 5000;

/// Longer than any transaction of a producer stays open.
const STANDSTILL: Duration = Duration::from_secs(90);

const SWAP: Duration = Duration::from_secs(30);

/// How soon it is noticed that a rebuild may go on.
const HELD: Duration = Duration::from_millis(200);

/// Rebuilds a read model. Run again, it goes on where it was cut off. A second one of the same model is
/// refused. Differences do not keep it from being swapped in: to mend them is what it is for.
pub async fn rebuild(
    projector: &Projector,
    projection: &'static dyn Projection,
    options: Options,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let (mut live, ends) = begin(projector, projection).await?;
    let place = if options.verify_only {
        Place::Verify
    } else {
        Place::Shadow
    };
    let mut shadow = Shadow::open(&projector.pool, projection, place).await?;
    if let Some(from) = options.from {
        let kept = kept(projector, projection, &mut live, from).await?;
        shadow.make_anew(projection, &kept).await?;
    } else if options.fresh || options.verify_only || !shadow.is_alike().await? {
        shadow.make_anew(projection, &[]).await?;
    }
    let mut filling = Filling::begin(projector, projection, shadow, &ends, tell).await?;
    let comparison = filling.compare(&mut live).await?;
    fault::point("compared");
    if options.verify_only {
        filling.shadow.remove().await?;
        filling.end().await?;
        return Ok(filling.report(comparison, false));
    }
    filling.fill(&ends).await?;
    filling.swap(&mut live, &ends).await?;
    filling.end().await?;
    Ok(filling.report(comparison, true))
}

/// Goes back to what was live before the last rebuild, after bringing it up to date. Done twice, it goes
/// forth again.
pub async fn rollback(
    projector: &Projector,
    projection: &'static dyn Projection,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let (mut live, ends) = begin(projector, projection).await?;
    let mut shadow = Shadow::open(&projector.pool, projection, Place::Old).await?;
    if !shadow.is_alike().await? {
        return Err(Error::NothingKept(projection.name()));
    }
    let mut filling = Filling::begin(projector, projection, shadow, &ends, tell).await?;
    let comparison = filling.compare(&mut live).await?;
    filling.fill(&ends).await?;
    filling.swap(&mut live, &ends).await?;
    filling.end().await?;
    Ok(filling.report(comparison, true))
}

/// Keeps others from rebuilding the same model for as long as the connection lives, and says where the
/// topics end.
async fn begin(
    projector: &Projector,
    projection: &'static dyn Projection,
) -> Result<(MySqlConnection, Ends)> {
    // Its locks are freed whenever the rebuild ends, or its process does.
    let mut live = connect_to(&projector.pool, None).await?;
    let name = projection.name();
    if !lock(&mut live, &format!("rebuild.{name}"), Duration::ZERO).await? {
        return Err(Error::Busy("this read model is being rebuilt"));
    }
    // In this order: what the live model has, the topics had before.
    let reached = checkpoint::read(&mut live, projection).await?;
    let marks = watermarks(&projector.kafka, &projection.reads()).await?;
    let ends: Ends = marks
        .iter()
        .map(|mark| ((mark.topic, mark.partition), mark.high))
        .collect();
    for position in reached.iter().map(|found| found.position) {
        let end = ends.get(&(position.topic, position.partition));
        if position.offset > end.copied().unwrap_or(0) {
            return Err(Error::Foreign {
                projection: name,
                position,
            });
        }
    }
    Ok((live, ends))
}

/// Up to where the live rows stay as they are: to the first record of the time, if the live model is
/// that far.
async fn kept(
    projector: &Projector,
    projection: &'static dyn Projection,
    live: &mut MySqlConnection,
    from: Timestamp,
) -> Result<Vec<Position>> {
    if !projection.rows_are_records() {
        return Err(Error::NotByRecord(projection.name()));
    }
    let reached = checkpoint::read(live, projection).await?;
    let marks = watermarks(&projector.kafka, &projection.reads()).await?;
    let offsets = offsets_at(&projector.kafka, &marks, from).await?;
    let position = |(mark, offset): (&Watermark, i64)| {
        let live = reached
            .iter()
            .map(|found| found.position)
            .find(|found| (found.topic, found.partition) == (mark.topic, mark.partition));
        let live = live.map_or(0, |live| live.offset);
        // Who was erased is erased in the rows that are kept.
        let offset = match mark.topic {
            Topic::Erasures => live,
            _ => offset.min(live),
        };
        Position {
            offset,
            ..mark.start()
        }
    };
    Ok(marks.iter().zip(offsets).map(position).collect())
}

/// A rebuild under way.
struct Filling<'a> {
    projector: &'a Projector,
    projection: &'static dyn Projection,
    shadow: Shadow,
    /// Ours in the shadow.
    claims: Claims,
    phase: Phase,
    target: Ends,
    records: u64,
    dead_letters: u64,
    /// Only this room's records.
    room: Option<RoomId>,
    /// Not while others wait for us, or while a snapshot is held open.
    pausable: bool,
    board: Board,
    tell: &'a mut (dyn FnMut(Progress) + Send),
}

impl<'a> Filling<'a> {
    async fn begin(
        projector: &'a Projector,
        projection: &'static dyn Projection,
        mut shadow: Shadow,
        ends: &Ends,
        tell: &'a mut (dyn FnMut(Progress) + Send),
    ) -> Result<Filling<'a>> {
        let partitions: Vec<(Topic, i32)> = ends.keys().copied().collect();
        let mut tx = shadow.connection.begin().await?;
        checkpoint::take(&mut tx, projection, &partitions).await?;
        let found = checkpoint::read(&mut tx, projection).await?;
        tx.commit().await?;
        let claims = found.iter().map(|found| {
            let claim = Claim {
                owner: found.owner,
                next: found.position.offset,
            };
            ((found.position.topic, found.position.partition), claim)
        });
        Ok(Filling {
            projector,
            projection,
            shadow,
            claims: claims.collect(),
            phase: Phase::Filling,
            target: ends.clone(),
            records: 0,
            dead_letters: 0,
            room: None,
            pausable: true,
            board: Board::open(&projector.pool, projection).await?,
            tell,
        })
    }

    /// Reads up to exactly `ends`; partitions that are further already stay where they are.
    async fn fill(&mut self, ends: &Ends) -> Result<()> {
        loop {
            let rest: Vec<Position> = ends
                .iter()
                .filter_map(|(&(topic, partition), &end)| {
                    let offset = self.claims.get(&(topic, partition))?.next;
                    let position = Position {
                        topic,
                        partition,
                        offset,
                    };
                    (offset < end).then_some(position)
                })
                .collect();
            if rest.is_empty() {
                return Ok(());
            }
            self.fill_from(&rest, ends).await?;
        }
    }

    /// Reads until all of the partitions are at their ends, or until those that are have been read so
    /// far beyond that it pays to leave them out.
    async fn fill_from(&mut self, from: &[Position], ends: &Ends) -> Result<()> {
        let Projector { kafka, codec, .. } = self.projector;
        let from = reachable(kafka, from.to_vec()).await?;
        let mut feed: Feed<Event> = Feed::open(kafka, Arc::clone(codec), &from)?;
        let mut moved = Instant::now();
        let mut wasted = 0;
        let mut batch = feed.next(BATCH).await?;
        while wasted < WASTE {
            let mut at_end = true;
            for next in &mut batch.next {
                let end = ends.get(&(next.topic, next.partition)).copied();
                let end = end.unwrap_or(next.offset);
                at_end &= next.offset >= end;
                next.offset = next.offset.min(end);
            }
            let ours = |record: &&Consumed<Event>| match &self.room {
                Some(room) => record.key == room.as_str().as_bytes(),
                None => true,
            };
            let ours = batch.records.iter().filter(ours);
            let work = Batch::new(&self.claims, ours, &batch.next);
            let commit = work.commit(&mut self.shadow.connection, self.projection);
            // The next records are read and decoded while the server is busy with these.
            let (committed, following) = if at_end {
                (commit.await?, None)
            } else {
                let (committed, following) = tokio::join!(commit, feed.next(BATCH));
                (committed?, Some(following))
            };
            work.settle(&mut self.claims);
            fault::point("filled");
            if self.room.is_none() {
                wasted += batch.records.len() - work.len();
            }
            if !work.moves.is_empty() {
                moved = Instant::now();
            }
            self.records += committed.records;
            self.dead_letters += committed.dead_letters;
            self.tell().await?;
            let Some(following) = following else {
                return Ok(());
            };
            if moved.elapsed() > STANDSTILL {
                return Err(Error::Standstill(self.projection.name()));
            }
            if self.wait_while_paused().await? {
                moved = Instant::now();
            }
            batch = following?;
        }
        Ok(())
    }

    /// Compares with the live model at one and the same position, beside the live loop: a snapshot of
    /// the live tables and their checkpoint stays as it is while the shadow is read up to it.
    async fn compare(&mut self, live: &mut MySqlConnection) -> Result<Option<Comparison>> {
        for _ in 0..5 {
            let positions = self.live_positions(live).await?;
            if self.distance(&positions) < CLOSE {
                break;
            }
            self.fill(&positions).await?;
        }
        sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .execute(&mut *live)
            .await?;
        sqlx::raw_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            .execute(&mut *live)
            .await?;
        let positions = self.live_positions(live).await?;
        let comparison = if self.is_comparable(&positions) {
            self.pausable = false;
            self.fill(&positions).await?;
            self.retry().await?;
            self.phase = Phase::Comparing;
            self.tell().await?;
            let comparison = self.shadow.compare(live, self.projection).await?;
            self.phase = Phase::Filling;
            self.pausable = true;
            Some(comparison)
        } else {
            None
        };
        sqlx::raw_sql("COMMIT").execute(&mut *live).await?;
        Ok(comparison)
    }

    /// What operators had applied by hand is not in the shadow yet.
    async fn retry(&mut self) -> Result<()> {
        let (live, codec) = (&self.shadow.live, &self.projector.codec);
        dead_letters::again(&mut self.shadow.connection, live, codec, self.projection).await
    }

    /// Not where the live model is empty, nor where the shadow is already further than it.
    fn is_comparable(&self, live: &Ends) -> bool {
        let ahead = |(key, claim): (&(Topic, i32), &Claim)| {
            claim.next > live.get(key).copied().unwrap_or(0)
        };
        live.values().any(|position| *position > 0) && !self.claims.iter().any(ahead)
    }

    /// Where the live model is, in every partition.
    async fn live_positions(&mut self, live: &mut MySqlConnection) -> Result<Ends> {
        let found = checkpoint::read(live, self.projection).await?;
        let positions = found.iter().map(|found| {
            let position = found.position;
            ((position.topic, position.partition), position.offset)
        });
        Ok(positions.collect())
    }

    /// Holds the live loop off, adds what is missing, and swaps.
    async fn swap(&mut self, live: &mut MySqlConnection, ends: &Ends) -> Result<()> {
        self.pausable = false;
        self.phase = Phase::Swapping;
        self.tell().await?;
        self.shadow.clear_old().await?;
        let lock_name = checkpoint::swap_lock(self.projection);
        if !lock(live, &lock_name, SWAP).await? {
            return Err(Error::Busy("this read model is being swapped"));
        }
        // The live loop can neither commit nor claim from here on.
        let partitions: Vec<(Topic, i32)> = ends.keys().copied().collect();
        let mut tx = live.begin().await?;
        checkpoint::take(&mut tx, self.projection, &partitions).await?;
        tx.commit().await?;
        fault::point("held");
        // Nobody shall see a row go that was there.
        let positions = self.live_positions(live).await?;
        self.fill(&positions).await?;
        self.retry().await?;
        self.shadow.swap(live, self.projection).await?;
        fault::point("renamed");
        unlock(live, &lock_name).await?;
        Ok(())
    }

    fn distance(&self, ends: &Ends) -> u64 {
        let left = ends.iter().map(|(key, end)| {
            let next = self.claims.get(key).map_or(0, |claim| claim.next);
            u64::try_from(end - next).unwrap_or(0)
        });
        left.sum()
    }

    /// Whether it was.
    async fn wait_while_paused(&mut self) -> Result<bool> {
        let mut paused = false;
        while self.pausable && self.board.is_paused().await? {
            self.phase = Phase::Paused;
            self.tell().await?;
            tokio::time::sleep(HELD).await;
            self.phase = Phase::Filling;
            paused = true;
        }
        Ok(paused)
    }

    async fn end(&mut self) -> Result<()> {
        self.phase = Phase::Done;
        self.tell().await
    }

    async fn tell(&mut self) -> Result<()> {
        let total = self.target.values().sum::<i64>().cast_unsigned();
        let progress = Progress {
            projection: self.projection.name(),
            phase: self.phase,
            done: total.saturating_sub(self.distance(&self.target)),
            total,
        };
        (self.tell)(progress);
        self.board.tell(progress).await
    }

    fn report(&self, comparison: Option<Comparison>, swapped: bool) -> Report {
        Report {
            projection: self.projection.name(),
            records: self.records,
            dead_letters: self.dead_letters,
            comparison,
            swapped,
        }
    }
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Filling => "filling",
            Phase::Paused => "paused",
            Phase::Comparing => "comparing",
            Phase::Swapping => "swapping",
            Phase::Done => "done",
        }
    }
}

#[cfg(test)]
mod controls;
#[cfg(test)]
pub(crate) mod tests;
