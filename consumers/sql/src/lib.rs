//! SQL over tables that are read from elsewhere: SQLite's virtual tables, behind a safe trait.
//!
//! | file | holds |
//! |---|---|
//! | [`table`] | what a table must say of itself, and what is asked of it |
//! | `cursor` | how SQLite asks; the only unsafe code of the workspace |
//! | `plan` | which tables a statement reads again and again, and had better copy first |

mod cursor;
mod plan;
pub mod table;

use std::fmt;
use std::sync::Arc;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, InterruptHandle, Statement};

pub use table::{Cell, Column, Condition, Rows, Table, Test, Type, Wanted};

/// Tables, and nothing else: no file, no write.
pub struct Database {
    connection: Connection,
    tables: Vec<Arc<dyn Table>>,
}

/// Where rows go. An error ends the statement.
pub trait Sink {
    /// A column's type is known where it is a table's column as it stands.
    fn head(&mut self, columns: &[String], types: &[Option<Type>]) -> Result<(), String>;
    /// `false` when no more rows are wanted.
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<bool, String>;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("SQL: {message}, at line {line}, column {column}")]
    At {
        message: String,
        line: usize,
        column: usize,
    },
    #[error("SQL: {0}")]
    Sql(String),
    /// What a table, or whoever takes the rows, says.
    #[error("{0}")]
    Said(String),
    #[error("a query only reads: it may not write, ATTACH, set a PRAGMA or load an extension")]
    NotAllowed,
    #[error("one statement at a time, please")]
    Several,
    #[error("stopped")]
    Interrupted,
}

// === impl Database ===

impl Database {
    pub fn open(tables: Vec<Arc<dyn Table>>) -> Result<Database, Error> {
        let database = Database {
            connection: Connection::open_in_memory().map_err(Error::from)?,
            tables,
        };
        // What is sorted, or copied for a join, goes to a temporary file when it is larger than this.
        // The one setting is for sorting, the other for copies.
        database
            .connection
            .execute_batch("PRAGMA cache_size = -65536; PRAGMA temp.cache_size = -65536")?;
        for table in &database.tables {
            cursor::register(&database.connection, Arc::clone(table))?;
        }
        Ok(database)
    }

    /// Ends the statement that runs, from another thread.
    pub fn interrupter(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Runs one statement that reads; returns how many rows it gave.
    pub fn query(&self, sql: &str, sink: &mut dyn Sink) -> Result<u64, Error> {
        self.guard(true)?;
        // Whatever is wrong with the statement is found before anything is read.
        self.prepare(sql)?;
        let again = plan::read_again(&self.connection, sql, &self.tables)?;
        self.guard(false)?;
        for table in again {
            plan::copy(&self.connection, &table)?;
        }
        self.guard(true)?;

        let mut statement = self.prepare(sql)?;
        let (mut names, mut types) = (Vec::new(), Vec::new());
        for column in statement.columns() {
            names.push(column.name().to_owned());
            types.push(column.decl_type().and_then(declared));
        }
        sink.head(&names, &types).map_err(Error::Said)?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            let mut cells = Vec::with_capacity(names.len());
            for index in 0..names.len() {
                cells.push(Cell::from(row.get_ref(index)?));
            }
            if !sink.row(&cells).map_err(Error::Said)? {
                break;
            }
        }
        Ok(count)
    }

    fn prepare(&self, sql: &str) -> Result<Statement<'_>, Error> {
        let statement = self.connection.prepare(sql)?;
        if statement.column_count() == 0 {
            return Err(Error::Sql("there is no SELECT in it".to_owned()));
        }
        Ok(statement)
    }

    /// Whether anything but reading is refused.
    fn guard(&self, on: bool) -> Result<(), Error> {
        let judge = |context: AuthContext<'_>| match context.action {
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
                Authorization::Allow
            }
            AuthAction::Function { function_name } if function_name != "load_extension" => {
                Authorization::Allow
            }
            _ => Authorization::Deny,
        };
        self.connection.authorizer(on.then_some(judge))?;
        Ok(())
    }
}

/// A type as tables declare theirs, and as SQLite does those of copies.
fn declared(kind: &str) -> Option<Type> {
    match kind {
        "INTEGER" | "INT" => Some(Type::Number),
        "TEXT" => Some(Type::Text),
        _ => None,
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.tables.iter().map(|table| table.name());
        f.debug_list().entries(names).finish()
    }
}

// === impl Error ===

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        use rusqlite::ErrorCode;
        match error {
            rusqlite::Error::MultipleStatement => Error::Several,
            rusqlite::Error::SqlInputError { error, .. }
                if error.code == ErrorCode::AuthorizationForStatementDenied =>
            {
                Error::NotAllowed
            }
            rusqlite::Error::SqlInputError {
                msg, sql, offset, ..
            } => match usize::try_from(offset) {
                Ok(offset) => {
                    let before = sql.get(..offset).unwrap_or(&sql);
                    let line = before.rsplit('\n').next().unwrap_or_default();
                    Error::At {
                        message: msg,
                        line: before.matches('\n').count() + 1,
                        column: line.chars().count() + 1,
                    }
                }
                Err(_) => Error::Sql(msg),
            },
            rusqlite::Error::SqliteFailure(failure, message) => match failure.code {
                ErrorCode::OperationInterrupted => Error::Interrupted,
                ErrorCode::AuthorizationForStatementDenied => Error::NotAllowed,
                _ => Error::Sql(message.unwrap_or_else(|| failure.to_string())),
            },
            error => Error::Sql(error.to_string()),
        }
    }
}

impl<'a> From<ValueRef<'a>> for Cell<'a> {
    fn from(value: ValueRef<'a>) -> Cell<'a> {
        match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Number(number),
            ValueRef::Real(number) => Cell::Real(number),
            ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => {
                let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
                Cell::Text(hex.collect::<String>().into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_as_much_memory_as_what_is_sorted() {
        let connection = Database::open(Vec::new()).unwrap().connection;
        for schema in ["main", "temp"] {
            let read = connection.pragma_query_value(Some(schema), "cache_size", |row| row.get(0));
            let kibibytes: i64 = read.unwrap();
            assert_eq!(kibibytes, -65_536, "{schema}");
        }
    }
}
