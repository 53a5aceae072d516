//! All balances and how far they reach, at one moment: what `lemonair ledger verify` compares.

use futures::TryStreamExt;
use lemonair_schemas::Position;
use lemonair_schemas::ledger::Book;
use sqlx::{Connection, MySqlPool, Row};

use super::{BOOKS, Wallets, book};
use crate::{Result, checkpoint};

/// Up to where the read model is, and how many entries it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub next: Vec<Position>,
    pub entries: i64,
}

/// Gives every balance, by account and book; all of them and the positions are of one moment.
pub async fn snapshot(
    pool: &MySqlPool,
    mut balance: impl FnMut(&str, Book, i64),
) -> Result<Snapshot> {
    let mut connection = pool.acquire().await?;
    // For the next transaction alone.
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .execute(&mut *connection)
        .await?;
    let mut tx = connection
        .begin_with("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        .await?;
    // Tables in the order of their names, which is that in which a swap locks them: who holds one that
    // a swap wants, and wants one that it holds, would be turned away.
    let mut rows = sqlx::query("SELECT account, book, amount FROM balances").fetch(&mut *tx);
    while let Some(row) = rows.try_next().await? {
        let name: &str = row.try_get("book")?;
        let known = BOOKS.into_iter().find(|known| book(*known) == name);
        let Some(known) = known else {
            continue;
        };
        balance(row.try_get("account")?, known, row.try_get("amount")?);
    }
    drop(rows);
    let entries = sqlx::query_scalar("SELECT COUNT(*) FROM entries")
        .fetch_one(&mut *tx)
        .await?;
    let positions = checkpoint::read(&mut tx, &Wallets).await?;
    tx.rollback().await?;
    Ok(Snapshot {
        next: positions.iter().map(|found| found.position).collect(),
        entries,
    })
}
