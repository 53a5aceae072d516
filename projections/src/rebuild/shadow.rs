//! The shadow tables: made like the live ones, filled beside them, and renamed into their place.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool, Row};

use super::compare::{self, Comparison};
use crate::database::{connect_to, create_database, quote};
use crate::{Projection, Result, checkpoint, dead_letters};

pub(super) struct Shadow {
    /// In the shadow database.
    pub(super) connection: MySqlConnection,
    pub(super) live: String,
    shadow: String,
    old: String,
    tables: Vec<String>,
}

impl Shadow {
    /// Tables made like the live ones, or left by a rebuild that was cut off. What is only made to be
    /// verified stands in a database of its own, and does not touch those.
    pub(super) async fn prepare(
        pool: &MySqlPool,
        projection: &dyn Projection,
        verify_only: bool,
        fresh: bool,
    ) -> Result<Shadow> {
        let mut connection = connect_to(pool, None).await?;
        let live: String = sqlx::query_scalar("SELECT DATABASE()")
            .fetch_one(&mut connection)
            .await?;
        let shadow = format!("{live}_{}", if verify_only { "verify" } else { "shadow" });
        create_database(&mut connection, &shadow).await?;
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
        let mut shadow = Shadow {
            connection: connect_to(pool, Some(&shadow)).await?,
            old: format!("{live}_old"),
            live,
            shadow,
            tables,
        };
        if fresh || !shadow.is_alike().await? {
            shadow.make_anew().await?;
        }
        Ok(shadow)
    }

    /// Whether all tables are there, and made as the live ones are made today.
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
            if self.definition(&self.shadow.clone(), &table).await? != live {
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

    /// The checkpoint goes first and comes last: without it, the tables count for nothing.
    async fn make_anew(&mut self) -> Result<()> {
        for table in self.tables.clone() {
            self.execute(format!("DROP TABLE IF EXISTS {}", quote(&table)))
                .await?;
        }
        for table in self.tables.clone().iter().rev() {
            let (live, table) = (quote(&self.live), quote(table));
            self.execute(format!("CREATE TABLE {table} LIKE {live}.{table}"))
                .await?;
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
            compare::table(live, &mut self.connection, table, &mut comparison).await?;
        }
        Ok(comparison)
    }

    /// Makes room for what is live now, by letting go what was live before it.
    pub(super) async fn clear_old(&mut self) -> Result<()> {
        create_database(&mut self.connection, &self.old).await?;
        for table in self.tables.clone() {
            let (old, table) = (quote(&self.old), quote(&table));
            self.execute(format!("DROP TABLE IF EXISTS {old}.{table}"))
                .await?;
        }
        Ok(())
    }

    /// Swaps everything at once. Whoever had a claim must claim anew.
    pub(super) async fn swap(
        &mut self,
        live: &mut MySqlConnection,
        projection: &dyn Projection,
    ) -> Result<()> {
        let (here, there, old) = (quote(&self.shadow), quote(&self.live), quote(&self.old));
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
                let table = quote(table);
                format!("{there}.{table} TO {old}.{table}, {here}.{table} TO {there}.{table}")
            })
            .collect();
        // A reader that sits on a table holds up this statement, which holds up all other readers.
        sqlx::raw_sql("SET SESSION lock_wait_timeout = 10")
            .execute(&mut *live)
            .await?;
        let rename = format!("RENAME TABLE {}", renames.join(", "));
        sqlx::raw_sql(AssertSqlSafe(rename))
            .execute(&mut *live)
            .await?;
        Ok(())
    }

    pub(super) async fn remove(&mut self) -> Result<()> {
        for table in self.tables.clone() {
            self.execute(format!("DROP TABLE IF EXISTS {}", quote(&table)))
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
