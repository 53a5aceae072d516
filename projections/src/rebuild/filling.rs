//! The tables being made: read up to a position, compared, and swapped in.

use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use lemonair_schemas::{Position, RoomId, Timestamp, Topic};
use sqlx::{Connection, MySqlConnection};
use tokio::time::Instant;

use super::board::Board;
use super::compare::Comparison;
use super::lane::{Lane, Work};
use super::shadow::Shadow;
use super::{Ends, Phase, Progress, Report};
use crate::checkpoint::{self, Claim, Claims, settle};
use crate::database::{lock, unlock};
use crate::{Error, Projection, Projector, Result, dead_letters, erasure, fault};

/// Shares of the partitions that are read side by side: as many as keep two cores busy, beside the live
/// loop, with the server's work and ours.
const LANES: usize = 2;

/// Records read in vain, at most, before a feed is opened anew without the partitions they came from.
const WASTE: usize = 20_000;

/// So close to the live model, the rest is read while a snapshot of it is held open.
const CLOSE: u64 = 5000;

/// Longer than any transaction of a producer stays open.
const STANDSTILL: Duration = Duration::from_secs(90);

const SWAP: Duration = Duration::from_secs(30);

/// How soon it is noticed that a rebuild may go on.
const HELD: Duration = Duration::from_millis(200);

/// A rebuild under way.
pub(super) struct Filling<'a> {
    projector: &'a Projector,
    projection: &'static dyn Projection,
    pub(super) shadow: Shadow,
    /// When the snapshot was taken that it began with.
    pub(super) snapshot: Option<Timestamp>,
    /// Ours in the shadow.
    claims: Claims,
    phase: Phase,
    pub(super) target: Ends,
    pub(super) records: u64,
    dead_letters: u64,
    /// Only this room's records.
    pub(super) room: Option<RoomId>,
    /// Erasures that the rows know of, among those that the codec does.
    heeded: usize,
    /// Not while others wait for us, or while a snapshot is held open.
    pub(super) pausable: bool,
    board: Board,
    tell: &'a mut (dyn FnMut(Progress) + Send),
}

impl<'a> Filling<'a> {
    pub(super) async fn begin(
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
            snapshot: None,
            claims: claims.collect(),
            phase: Phase::Filling,
            target: ends.clone(),
            records: 0,
            dead_letters: 0,
            room: None,
            heeded: 0,
            pausable: true,
            board: Board::open(&projector.pool, projection).await?,
            tell,
        })
    }

    /// Whoever was erased is erased in the rows that are there already, before records are added in which
    /// they go by their pseudonym.
    pub(super) async fn erase(&mut self, ends: &Ends) -> Result<()> {
        let mut ends = ends.clone();
        ends.retain(|(topic, _), _| *topic == Topic::Erasures);
        self.fill(&ends).await
    }

    /// Reads up to exactly `ends`; partitions that are further already stay where they are.
    pub(super) async fn fill(&mut self, ends: &Ends) -> Result<()> {
        loop {
            self.heed().await?;
            let mut rest = checkpoint::positions(&self.claims);
            rest.retain(|position| {
                let end = ends.get(&(position.topic, position.partition));
                end.is_some_and(|end| position.offset < *end)
            });
            if rest.is_empty() {
                return Ok(());
            }
            let mut lanes = self.open(rest).await?;
            self.run(&mut lanes, ends).await?;
        }
    }

    /// The codec may be one that the live loops read erasures with, too.
    async fn heed(&mut self) -> Result<()> {
        let projector = self.projector;
        for event in projector.codec.erased().since(self.heeded) {
            let rows = &mut self.shadow.connection;
            Box::pin(erasure::heed(rows, self.projection, &event)).await?;
            self.heeded += 1;
        }
        Ok(())
    }

    async fn open(&mut self, from: Vec<Position>) -> Result<Vec<Lane>> {
        let open = shares(from)
            .into_iter()
            .map(|share| Lane::open(self.projector, &self.shadow.name, &self.claims, share));
        try_join_all(open).await
    }

    /// Reads until all of the lanes are at their ends, or until those that are have been read so far
    /// beyond that it pays to leave them out, or until somebody is erased whom the rows do not know of
    /// yet. No lane waits for another, but while others hold us.
    async fn run(&mut self, lanes: &mut [Lane], ends: &Ends) -> Result<()> {
        let room = self.room.clone();
        let work = Work {
            projection: self.projection,
            erased: self.projector.codec.erased(),
            ends,
            room: room.as_ref(),
            heeded: self.heeded,
        };
        while lanes.iter().any(|lane| !lane.at_end)
            && lanes.iter().all(|lane| lane.wasted < WASTE)
            && !work.is_stale()
        {
            let running = lanes.iter_mut().filter(|lane| !lane.at_end);
            let mut laps: FuturesUnordered<_> = running.map(|lane| lane.lap(&work)).collect();
            let mut goes_on = true;
            while let Some(lap) = laps.next().await {
                let (lane, moves, committed) = lap?;
                settle(&moves, &mut self.claims);
                self.records += committed.records;
                self.dead_letters += committed.dead_letters;
                fault::point("filled");
                self.tell().await?;
                if !lane.at_end && lane.moved.elapsed() > STANDSTILL {
                    return Err(Error::Standstill(self.projection.name()));
                }
                goes_on =
                    goes_on && lane.wasted < WASTE && !work.is_stale() && !self.is_paused().await?;
                if goes_on && !lane.at_end {
                    laps.push(lane.lap(&work));
                }
            }
            drop(laps);
            if self.wait_while_paused().await? {
                for lane in &mut *lanes {
                    lane.moved = Instant::now();
                }
            }
        }
        Ok(())
    }

    /// Compares with the live model at one and the same position, beside the live loop: a snapshot of
    /// the live tables and their checkpoint stays as it is while the shadow is read up to it.
    pub(super) async fn compare(
        &mut self,
        live: &mut MySqlConnection,
    ) -> Result<Option<Comparison>> {
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
    pub(super) async fn retry(&mut self) -> Result<()> {
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
    pub(super) async fn live_positions(&mut self, live: &mut MySqlConnection) -> Result<Ends> {
        let found = checkpoint::read(live, self.projection).await?;
        let positions = found.iter().map(|found| {
            let position = found.position;
            ((position.topic, position.partition), position.offset)
        });
        Ok(positions.collect())
    }

    /// Holds the live loop off, adds what is missing, and swaps. All that takes time is done before.
    pub(super) async fn swap(&mut self, live: &mut MySqlConnection, ends: &Ends) -> Result<()> {
        self.pausable = false;
        self.phase = Phase::Swapping;
        self.tell().await?;
        self.shadow.clear_old().await?;
        let positions = self.live_positions(live).await?;
        self.fill(&positions).await?;
        let mut lanes = self.open(checkpoint::positions(&self.claims)).await?;
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
        self.run(&mut lanes, &positions).await?;
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

    async fn is_paused(&mut self) -> Result<bool> {
        Ok(self.pausable && self.board.is_paused().await?)
    }

    /// Whether it was.
    async fn wait_while_paused(&mut self) -> Result<bool> {
        let mut paused = false;
        while self.is_paused().await? {
            self.phase = Phase::Paused;
            self.tell().await?;
            tokio::time::sleep(HELD).await;
            self.phase = Phase::Filling;
            paused = true;
        }
        Ok(paused)
    }

    pub(super) async fn end(&mut self) -> Result<()> {
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

    pub(super) fn report(&self, comparison: Option<Comparison>, swapped: bool) -> Report {
        Report {
            projection: self.projection.name(),
            snapshot: self.snapshot,
            records: self.records,
            dead_letters: self.dead_letters,
            comparison,
            swapped,
        }
    }
}

/// One for each lane. Erasures come when these are done: whoever they tell of is then taken out of all
/// that the lanes have added.
fn shares(rest: Vec<Position>) -> Vec<Vec<Position>> {
    let (erasures, records): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|position| position.topic == Topic::Erasures);
    if records.is_empty() {
        return vec![erasures];
    }
    let mut shares = vec![Vec::new(); LANES.min(records.len())];
    let lanes = shares.len();
    for (n, position) in records.into_iter().enumerate() {
        shares[n % lanes].push(position);
    }
    shares
}
