//! A snapshot's rows put back, into empty tables beside the live ones.

use std::io;

use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::sync::mpsc;

use super::file::{Reader, Row};
use super::{Content, Snapshot};
use crate::database::quote;
use crate::{Error, Result, insert};

/// Rows that are read together: of one table, and not more of them than one statement may carry.
#[derive(Debug, Default)]
struct Block {
    table: usize,
    rows: Vec<Vec<Option<Vec<u8>>>>,
    bytes: usize,
}

/// Rows and bytes of a block, at most (and one row more).
const ROWS: usize = 1000;
const BYTES: usize = 1 << 20;

/// Blocks that wait to be inserted; the file is not read on while there are so many.
const WAITING: usize = 4;

/// Fills the tables of the connection's database. Only when this returns was all of it as it was written.
pub(crate) async fn restore(
    connection: &mut MySqlConnection,
    snapshot: &Snapshot,
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let damaged = |source| Error::DamagedSnapshot {
        path: snapshot.path.clone(),
        source,
    };
    let (blocks, mut waiting) = mpsc::channel(WAITING);
    let path = snapshot.path.clone();
    let reading = tokio::task::spawn_blocking(move || read(Reader::open(&path)?.0, &blocks));
    let mut rows = 0;
    while let Some(block) = waiting.recv().await {
        let Block {
            table, rows: some, ..
        } = &block;
        let mut tx = connection.begin().await?;
        put(&mut tx, &snapshot.head.tables[*table], some).await?;
        tx.commit().await?;
        rows += some.len() as u64;
        tell(rows);
    }
    match reading.await {
        Ok(read) => read.map_err(damaged),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn read(mut reader: Reader, blocks: &mpsc::Sender<Block>) -> io::Result<()> {
    let mut block = Block::default();
    while let Some(Row { table, columns }) = reader.next()? {
        if block.table != table || block.rows.len() >= ROWS || block.bytes >= BYTES {
            let full = std::mem::replace(
                &mut block,
                Block {
                    table,
                    ..Block::default()
                },
            );
            if !full.rows.is_empty() && blocks.blocking_send(full).is_err() {
                return Ok(());
            }
        }
        block.bytes += columns.iter().flatten().map(Vec::len).sum::<usize>();
        block.rows.push(columns);
    }
    if !block.rows.is_empty() {
        blocks.blocking_send(block).ok();
    }
    Ok(())
}

async fn put(
    tx: &mut MySqlConnection,
    table: &Content,
    rows: &[Vec<Option<Vec<u8>>>],
) -> Result<()> {
    let columns: Vec<String> = table.columns.iter().map(|column| quote(column)).collect();
    let start = format!(
        "INSERT INTO {} ({})",
        quote(&table.name),
        columns.join(", ")
    );
    let marks = format!("({})", vec!["?"; columns.len()].join(", "));
    for chunk in insert::chunks(rows) {
        let sql = insert::statement(&start, &marks, chunk.len(), "");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in chunk.iter().flatten() {
            query = query.bind(value.as_deref());
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}
