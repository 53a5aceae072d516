//! Two tables compared by checksums, room by room.

use futures::TryStreamExt;
use lemonair_schemas::RoomId;
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use uuid::Uuid;

use crate::Result;
use crate::database::quote;
use crate::projection::Table;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Comparison {
    /// Rows of the live tables.
    pub rows: u64,
    /// Rooms or accounts whose rows differ.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub table: &'static str,
    /// The room or the account.
    pub group: String,
    pub live: Sum,
    pub rebuilt: Sum,
}

/// What a group of rows amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sum {
    pub rows: u64,
    /// Over all columns of all rows, whatever their order.
    pub checksum: u64,
}

/// Differences that are listed; beyond these they are only counted.
const LISTED: usize = 1000;

/// Compares a table of two connections, each in its own database: all of it, or one group of rows.
pub(super) async fn table(
    live: &mut MySqlConnection,
    rebuilt: &mut MySqlConnection,
    table: &Table,
    only: Option<&RoomId>,
    comparison: &mut Comparison,
) -> Result<()> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position",
    )
    .bind(table.name)
    .fetch_all(&mut *rebuilt)
    .await?;
    // Hexadecimal keeps columns apart, and NULL from an empty text. A CRC alone is linear: what two rows
    // have swapped would cancel out. A number of 64 bits costs the server a third more to make.
    let columns: Vec<String> = columns
        .iter()
        .map(|column| format!("COALESCE(HEX({}), '~')", quote(column)))
        .collect();
    let sql = format!(
        "SELECT CAST({by} AS BINARY) AS grouped, CAST(COUNT(*) AS UNSIGNED) AS amount, \
         BIT_XOR(CRC32(SHA1(CONCAT_WS(',', {columns})))) AS checksum \
         FROM {table} WHERE ? IS NULL OR {by} = ? GROUP BY {by} ORDER BY {by}",
        by = quote(table.by),
        columns = columns.join(", "),
        table = quote(table.name),
    );
    let only = only.map(RoomId::as_str);
    let query = || {
        sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(only)
            .bind(only)
    };
    let mut theirs = query().fetch(live);
    let mut ours = query().fetch(rebuilt);
    // The server works on both at the same time.
    let (mut left, mut right) = tokio::try_join!(theirs.try_next(), ours.try_next())?;
    // Both come in the order of the bytes that they are grouped by.
    loop {
        let group = match (&left, &right) {
            (None, None) => return Ok(()),
            (Some(row), None) | (None, Some(row)) => group(row)?,
            (Some(left), Some(right)) => group(left)?.min(group(right)?),
        };
        let (mut live, mut rebuilt) = (Sum::default(), Sum::default());
        if let Some(sum) = sum_of(left.as_ref(), &group)? {
            live = sum;
            left = theirs.try_next().await?;
        }
        if let Some(sum) = sum_of(right.as_ref(), &group)? {
            rebuilt = sum;
            right = ours.try_next().await?;
        }
        comparison.rows += live.rows;
        if live != rebuilt {
            comparison.differing += 1;
            if comparison.differences.len() < LISTED {
                comparison.differences.push(Difference {
                    table: table.name,
                    group: legible(&group),
                    live,
                    rebuilt,
                });
            }
        }
    }
}

fn group(row: &MySqlRow) -> sqlx::Result<Vec<u8>> {
    row.try_get("grouped")
}

fn sum_of(row: Option<&MySqlRow>, of: &[u8]) -> sqlx::Result<Option<Sum>> {
    let Some(row) = row else {
        return Ok(None);
    };
    if group(row)? != of {
        return Ok(None);
    }
    Ok(Some(Sum {
        rows: row.try_get("amount")?,
        checksum: row.try_get("checksum")?,
    }))
}

/// A room's name, or an id.
fn legible(group: &[u8]) -> String {
    match std::str::from_utf8(group) {
        Ok(name) if name.chars().all(|c| c.is_ascii_graphic()) => name.to_owned(),
        _ => match Uuid::from_slice(group) {
            Ok(id) => id.to_string(),
            Err(_) => String::from_utf8_lossy(group).into_owned(),
        },
    }
}
