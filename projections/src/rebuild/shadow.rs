//! The shadow tables: made like the live ones, filled beside them, and renamed into their place.

use lemonair_consumers::Watermark;
use lemonair_schemas::Position;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool, Row};

use super::compare::{self, Comparison};
use super::{Phase, Progress};
use crate::database::{connect_to, create_database, number, quote};
use crate::place::Place;
use crate::snapshot::{Snapshot, restore};
use crate::{Projection, Result, checkpoint, dead_letters};

/// Tries to swap before a rebuild gives up; run again, it goes on from there.
const RENAMES: usize = 10;

/// The server's number of a lock that was waited for in vain.
const WAITED_TOO_LONG: u16 = 1205;

pub(super) struct Shadow {
    /// In the shadow database.
    pub(super) connection: MySqlConnection,
    pub(super) live: String,
    pub(super) name: String,
    old: String,
    tables: Vec<String>,
    /// Holds how they were begun.
    begun: String,
}

/// What new tables begin with.
pub(super) enum Start {
    Nothing,
    /// The live rows of records before these positions.
    Live(Vec<Position>),
    Snapshot(Snapshot),
}

impl Shadow {
    pub(super) async fn open(
        pool: &MySqlPool,
        projection: &dyn Projection,
        place: Place,
    ) -> Result<Shadow> {
        let mut connection = connect_to(pool, None).await?;
        let live: String = sqlx::query_scalar("SELECT DATABASE()")
            .fetch_one(&mut connection)
            .await?;
        let name = place.beside(&live);
        create_database(&mut connection, &name).await?;
        connection.close().await?;
        let mut tables = vec![
            checkpoint::table(projection),
            dead_letters::table(projection),
        ];
        tables.extend(
            projection
                .tables()
                .iter()
                .map(|table| table.name.to_owned()),
        );
        Ok(Shadow {
            connection: connect_to(pool, Some(&name)).await?,
            old: Place::Old.beside(&live),
            live,
            name,
            tables,
            begun: format!("{}_begun", projection.name()),
        })
    }

    /// Whether what is there was begun so: with other rows to begin with, or by another version, it would
    /// not be what a rebuild of today makes.
    pub(super) async fn began(&mut self, how: &str) -> Result<bool> {
        self.make_begun().await?;
        let sql = format!("SELECT how FROM {}", quote(&self.begun));
        let found: Option<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_optional(&mut self.connection)
            .await?;
        Ok(found.as_deref() == Some(how))
    }

    async fn make_begun(&mut self) -> Result<()> {
        let begun = quote(&self.begun);
        self.execute(format!(
            "CREATE TABLE IF NOT EXISTS {begun} (how VARCHAR(255) NOT NULL PRIMARY KEY)"
        ))
        .await
    }

    /// Whether what is there can be gone on with: all tables, made as the live ones are made today, from
    /// where on the topics still hold everything.
    pub(super) async fn goes_on(
        &mut self,
        projection: &dyn Projection,
        marks: &[Watermark],
    ) -> Result<bool> {
        if !self.is_alike().await? {
            return Ok(false);
        }
        let reached = checkpoint::read(&mut self.connection, projection).await?;
        let holds = |mark: &Watermark| {
            let here = |position: &Position| {
                (position.topic, position.partition) == (mark.topic, mark.partition)
            };
            let mut positions = reached.iter().map(|found| found.position);
            positions.find(here).map_or(0, |position| position.offset) >= mark.low
        };
        Ok(marks.iter().all(holds))
    }

    async fn is_alike(&mut self) -> Result<bool> {
        for table in self.tables.clone() {
            let exists: Option<i64> = sqlx::query_scalar(
                "SELECT 1 FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = ?",
            )
            .bind(&table)
            .fetch_optional(&mut self.connection)
            .await?;
            if exists.is_none() {
                return Ok(false);
            }
            let live = self.definition(&self.live.clone(), &table).await?;
            if self.definition(&self.name.clone(), &table).await? != live {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn definition(&mut self, database: &str, table: &str) -> Result<String> {
        let sql = format!("SHOW CREATE TABLE {}.{}", quote(database), quote(table));
        let row = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await?;
        Ok(row.try_get(1)?)
    }

    /// New tables, begun in the way that `how` tells of. The checkpoint goes first and comes last, all of it
    /// at once: without it, the tables count for nothing.
    pub(super) async fn make_anew(
        &mut self,
        projection: &'static dyn Projection,
        start: &Start,
        how: &str,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<()> {
        self.remove().await?;
        self.make_begun().await?;
        let sql = format!("INSERT INTO {} (how) VALUES (?)", quote(&self.begun));
        sqlx::query(AssertSqlSafe(sql))
            .bind(how)
            .execute(&mut self.connection)
            .await?;
        let live = quote(&self.live);
        for table in self.tables.clone().iter().skip(1) {
            let table = quote(table);
            self.execute(format!("CREATE TABLE {table} LIKE {live}.{table}"))
                .await?;
        }
        match start {
            Start::Nothing => {}
            Start::Live(kept) => self.copy_live(projection, kept).await?,
            Start::Snapshot(snapshot) => {
                let mut tell = |rows| {
                    tell(Progress {
                        projection: projection.name(),
                        phase: Phase::Restoring,
                        done: rows,
                        total: snapshot.head.rows,
                    });
                };
                restore(&mut self.connection, snapshot, &mut tell).await?;
            }
        }
        let table = quote(&self.tables[0]);
        let making = quote(&format!("{}_new", self.tables[0]));
        self.execute(format!("DROP TABLE IF EXISTS {making}"))
            .await?;
        self.execute(format!("CREATE TABLE {making} LIKE {live}.{table}"))
            .await?;
        for position in start.positions() {
            let sql = format!(
                "INSERT INTO {making} (topic, part, next_offset, owner) VALUES (?, ?, ?, 0)"
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(position.topic.name())
                .bind(position.partition)
                .bind(position.offset)
                .execute(&mut self.connection)
                .await?;
        }
        self.execute(format!("RENAME TABLE {making} TO {table}"))
            .await
    }

    async fn copy_live(&mut self, projection: &dyn Projection, kept: &[Position]) -> Result<()> {
        let live = quote(&self.live);
        for table in self.tables.iter().skip(1) {
            let table = quote(table);
            let own = |position: &&Position| projection.topics().contains(&position.topic);
            for position in kept.iter().filter(own) {
                let sql = format!(
                    "INSERT INTO {table} SELECT * FROM {live}.{table} \
                     WHERE part = ? AND record_offset < ?"
                );
                sqlx::query(AssertSqlSafe(sql))
                    .bind(position.partition)
                    .bind(position.offset)
                    .execute(&mut self.connection)
                    .await?;
            }
        }
        Ok(())
    }

    /// `live` is in the transaction whose snapshot is compared.
    pub(super) async fn compare(
        &mut self,
        live: &mut MySqlConnection,
        projection: &dyn Projection,
    ) -> Result<Comparison> {
        let mut comparison = Comparison::default();
        for table in projection.tables() {
            compare::table(live, &mut self.connection, table, None, &mut comparison).await?;
        }
        Ok(comparison)
    }

    /// Makes room for what is live now, by letting go what was live before it.
    pub(super) async fn clear_old(&mut self) -> Result<()> {
        if self.is_old() {
            return Ok(());
        }
        create_database(&mut self.connection, &self.old).await?;
        for table in self.tables.clone() {
            let (old, table) = (quote(&self.old), quote(&table));
            self.execute(format!("DROP TABLE IF EXISTS {old}.{table}"))
                .await?;
        }
        Ok(())
    }

    /// Whether these are the tables that were live before, on their way back.
    fn is_old(&self) -> bool {
        self.name == self.old
    }

    /// Swaps everything at once. Whoever had a claim must claim anew.
    pub(super) async fn swap(
        &mut self,
        live: &mut MySqlConnection,
        projection: &dyn Projection,
    ) -> Result<()> {
        let (here, there, old) = (quote(&self.name), quote(&self.live), quote(&self.old));
        let checkpoint = quote(&checkpoint::table(projection));
        self.execute(format!(
            "UPDATE {here}.{checkpoint} s JOIN {there}.{checkpoint} l \
             ON l.topic = s.topic AND l.part = s.part SET s.owner = l.owner + 1"
        ))
        .await?;
        let renames: Vec<String> = self
            .tables
            .iter()
            .map(|table| {
                let (aside, table) = (quote(&format!("{table}_aside")), quote(table));
                if self.is_old() {
                    format!(
                        "{there}.{table} TO {old}.{aside}, {old}.{table} TO {there}.{table}, \
                         {old}.{aside} TO {old}.{table}"
                    )
                } else {
                    format!("{there}.{table} TO {old}.{table}, {here}.{table} TO {there}.{table}")
                }
            })
            .collect();
        // A reader that sits on a table holds up this statement, which holds up all other readers: they
        // get their turn between two tries.
        sqlx::raw_sql("SET SESSION lock_wait_timeout = 2")
            .execute(&mut *live)
            .await?;
        let rename = format!("RENAME TABLE {}", renames.join(", "));
        let mut left = RENAMES;
        loop {
            left -= 1;
            let renamed = sqlx::raw_sql(AssertSqlSafe(rename.as_str()))
                .execute(&mut *live)
                .await;
            match renamed {
                Err(error) if left > 0 && number(&error) == Some(WAITED_TOO_LONG) => {
                    tracing::info!("somebody reads the tables that are to be swapped; tried again");
                }
                result => return Ok(result.map(|_| ())?),
            }
        }
    }

    pub(super) async fn remove(&mut self) -> Result<()> {
        for table in self.tables.iter().chain([&self.begun]) {
            let sql = format!("DROP TABLE IF EXISTS {}", quote(table));
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut self.connection)
                .await?;
        }
        Ok(())
    }

    async fn execute(&mut self, sql: String) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

// === impl Start ===

impl Start {
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Start::Snapshot(snapshot) => Some(snapshot),
            Start::Nothing | Start::Live(_) => None,
        }
    }

    /// Where to read on.
    fn positions(&self) -> &[Position] {
        match self {
            Start::Nothing => &[],
            Start::Live(kept) => kept,
            Start::Snapshot(snapshot) => &snapshot.head.positions,
        }
    }
}
