//! Which tables a statement reads again and again, and had better copy first.
//!
//! SQLite joins by going through one table for each row of another. Of a table that is read from
//! elsewhere that would be the whole way each time, so such a one is copied into a temporary table,
//! which SQLite keeps in a file and gives indexes. It goes by the same name, so the statement finds
//! the copy where it would have found the table.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use crate::{Error, Table, Wanted};

/// A table, and the columns of it that the statement uses.
pub(crate) type Used = (Arc<dyn Table>, Wanted);

pub(crate) fn read_again(
    connection: &Connection,
    sql: &str,
    tables: &[Arc<dyn Table>],
) -> Result<Vec<Used>, Error> {
    // What cannot be explained, as it explains itself, does not run.
    let Ok(mut statement) = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")) else {
        return Ok(Vec::new());
    };
    let mut used: BTreeMap<String, (u64, bool)> = BTreeMap::new();
    // Steps under which everything is done for each row of another.
    let mut repeated = HashSet::new();
    // Steps with a loop in them: another one is done within it.
    let mut looped = HashSet::new();
    let mut steps = statement.query([])?;
    while let Some(step) = steps.next()? {
        let (id, parent): (i64, i64) = (step.get(0)?, step.get(1)?);
        let detail: String = step.get(3)?;
        let is_loop = ["SCAN ", "SEARCH ", "MULTI-INDEX OR"];
        let is_loop = is_loop.iter().any(|step| detail.starts_with(step));
        let within = repeated.contains(&parent) || (is_loop && !looped.insert(parent));
        if within || detail.starts_with("CORRELATED") || detail.starts_with("RECURSIVE STEP") {
            repeated.insert(id);
        }
        if let Some((_, plan)) = detail.split_once("VIRTUAL TABLE INDEX ")
            && let Some((_, plan)) = plan.split_once(':')
        {
            let mut words = plan.split(' ');
            let table = words.next().unwrap_or_default();
            let entry = used.entry(table.to_owned()).or_default();
            entry.0 |= columns(words.next()).0;
            entry.1 |= within;
        }
    }
    let again = tables.iter().filter_map(|table| {
        let (columns, again) = used.get(table.name())?;
        again.then(|| (Arc::clone(table), Wanted(*columns)))
    });
    Ok(again.collect())
}

/// The columns that a plan says are used.
pub(crate) fn columns(word: Option<&str>) -> Wanted {
    let bits = word.and_then(|word| u64::from_str_radix(word, 16).ok());
    Wanted(bits.unwrap_or(u64::MAX))
}

/// Puts what the statement uses of a table into a temporary one of the same name.
pub(crate) fn copy(connection: &Connection, (table, used): &Used) -> Result<(), Error> {
    let name = table.name();
    let mut columns: Vec<&str> = table
        .columns()
        .iter()
        .enumerate()
        .filter(|(index, _)| used.contains(*index))
        .map(|(_, column)| column.name.as_str())
        .collect();
    if columns.is_empty() {
        columns.extend(table.columns().first().map(|column| column.name.as_str()));
    }
    let list = |columns: &[&str]| {
        let quoted = columns.iter().map(|column| format!("\"{column}\""));
        Vec::from_iter(quoted).join(", ")
    };
    let mut copy = format!(
        "CREATE TEMP TABLE \"{name}\" AS SELECT {} FROM \"{name}\";",
        list(&columns)
    );
    columns.retain(|column| table.index().contains(column));
    columns.sort_by_key(|column| table.index().iter().position(|index| index == column));
    if !columns.is_empty() {
        copy += &format!(
            "CREATE INDEX temp.\"{name} index\" ON \"{name}\" ({});",
            list(&columns)
        );
    }
    Ok(connection.execute_batch(&copy)?)
}
