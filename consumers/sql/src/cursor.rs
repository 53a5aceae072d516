//! How SQLite asks a table: rusqlite's traits for virtual tables.
//!
//! The traits are unsafe to implement, as SQLite takes a pointer to each of the two structs for a
//! pointer to their first field. Nothing else here, or anywhere in the workspace, is unsafe.

use std::borrow::Cow;
use std::ffi::c_int;
use std::fmt::Write;
use std::sync::Arc;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, VTab, VTabConnection, VTabCursor,
    eponymous_only_module, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use crate::plan;
use crate::table::{Cell, Condition, Rows, Table, Test, Type};

#[repr(C)]
struct Virtual {
    /// SQLite's own; it must come first.
    base: sqlite3_vtab,
    table: Arc<dyn Table>,
}

#[repr(C)]
struct Cursor {
    /// SQLite's own; it must come first.
    base: sqlite3_vtab_cursor,
    table: Arc<dyn Table>,
    rows: Option<Box<dyn Rows>>,
    ended: bool,
}

pub(crate) fn register(connection: &Connection, table: Arc<dyn Table>) -> Result<()> {
    let name = table.name().to_owned();
    connection.create_module(
        name.as_str(),
        eponymous_only_module::<Virtual>(),
        Some(table),
    )
}

// === impl Virtual ===

#[expect(unsafe_code, reason = "`base` comes first, and the struct is repr(C)")]
unsafe impl VTab<'_> for Virtual {
    type Aux = Arc<dyn Table>;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        table: Option<&Arc<dyn Table>>,
        _: &[&[u8]],
    ) -> Result<(String, Virtual)> {
        let table = table.ok_or_else(|| Error::ModuleError("no table is given".to_owned()))?;
        let columns = table.columns().iter().map(|column| {
            let kind = match column.kind {
                Type::Number => "INTEGER",
                Type::Text => "TEXT",
            };
            format!("\"{}\" {kind}", column.name)
        });
        let declared = format!("CREATE TABLE x({})", Vec::from_iter(columns).join(", "));
        let table = Virtual {
            base: sqlite3_vtab::default(),
            table: Arc::clone(table),
        };
        Ok((declared, table))
    }

    /// Takes every condition that narrows, and tells [`Cursor::filter`] of them in a line such as
    /// `chat 1f 3= 5>`: the table, the columns that are used, and of each argument what it is for.
    fn best_index(&self, info: &mut IndexInfo) -> Result<()> {
        let columns = self.table.columns();
        let mut taken = Vec::new();
        for (index, constraint) in info.constraints().enumerate() {
            if let Ok(column) = usize::try_from(constraint.column())
                && columns.get(column).is_some_and(|column| column.narrows)
                && constraint.is_usable()
                && let Some(mark) = mark(&constraint.operator())
            {
                taken.push((index, column, mark));
            }
        }
        let mut plan = format!("{} {:x}", self.table.name(), info.col_used());
        let mut rows = self.table.size().max(1);
        let mut argument = 0;
        for (index, column, mut mark) in taken {
            if info.collation(index)? != "BINARY" {
                continue;
            }
            if mark == '=' && info.set_in_constraint(index, true)? {
                mark = '|';
            }
            argument += 1;
            info.constraint_usage(index).set_argv_index(argument);
            write!(plan, " {column}{mark}").map_err(|error| module(&error))?;
            rows = (rows / if mark == '=' { 10 } else { 3 }).max(1);
        }
        info.set_idx_str(&plan);
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        info.set_estimated_rows(rows);
        // To begin costs something too.
        info.set_estimated_cost(10_000.0 + rows as f64);
        Ok(())
    }

    fn open(&mut self) -> Result<Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            table: Arc::clone(&self.table),
            rows: None,
            ended: true,
        })
    }
}

/// A list of values is marked `|`.
fn mark(operator: &IndexConstraintOp) -> Option<char> {
    Some(match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => '=',
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => '<',
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => '[',
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => '>',
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => ']',
        _ => return None,
    })
}

// === impl Cursor ===

#[expect(unsafe_code, reason = "`base` comes first, and the struct is repr(C)")]
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, plan: Option<&str>, arguments: &Filters<'_>) -> Result<()> {
        let mut words = plan.unwrap_or_default().split(' ').skip(1);
        let wanted = plan::columns(words.next());
        let mut conditions = Vec::new();
        for (index, (mark, value)) in words.zip(arguments.iter()).enumerate() {
            let Some((column, mark)) = mark.split_at_checked(mark.len().saturating_sub(1)) else {
                continue;
            };
            let column: usize = column.parse().map_err(|error| module(&error))?;
            let kind = self.table.columns()[column].kind;
            let test = match mark {
                "<" => Test::Less,
                "[" => Test::AtMost,
                ">" => Test::More,
                "]" => Test::AtLeast,
                _ => Test::Is,
            };
            let values: Option<Vec<_>> = if mark == "|" {
                let listed = arguments
                    .in_values(index)?
                    .map(|value| Ok(cell(value, kind)));
                listed.collect::<Vec<_>>()?.into_iter().collect()
            } else {
                cell(value, kind).map(|cell| vec![cell])
            };
            // What cannot be understood narrows nothing; SQLite looks at each row again.
            if let Some(values) = values {
                conditions.push(Condition {
                    column,
                    test,
                    values,
                });
            }
        }
        self.rows = Some(
            self.table
                .scan(&conditions, wanted)
                .map_err(|error| module(&error))?,
        );
        self.next()
    }

    fn next(&mut self) -> Result<()> {
        if let Some(rows) = &mut self.rows {
            self.ended = !rows.next().map_err(|error| module(&error))?;
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.ended
    }

    fn column(&self, context: &mut Context, index: c_int) -> Result<()> {
        match (&self.rows, usize::try_from(index)) {
            (Some(rows), Ok(index)) => context.set_result(&rows.cell(index)),
            _ => context.set_result(&Cell::Null),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.rows.as_ref().map_or(0, |rows| rows.id()))
    }
}

fn module(error: &impl ToString) -> Error {
    Error::ModuleError(error.to_string())
}

/// A value that a condition names, if it is of the column's type.
fn cell(value: ValueRef<'_>, kind: Type) -> Option<Cell<'static>> {
    match (value, kind) {
        (ValueRef::Integer(number), Type::Number) => Some(Cell::Number(number)),
        (ValueRef::Text(text), Type::Text) => {
            let text = std::str::from_utf8(text).ok()?;
            Some(Cell::Text(Cow::Owned(text.to_owned())))
        }
        _ => None,
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Null => ValueRef::Null,
            Cell::Number(number) => ValueRef::Integer(*number),
            Cell::Real(number) => ValueRef::Real(*number),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}
