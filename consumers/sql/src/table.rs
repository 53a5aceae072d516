//! What a table must say of itself, and what is asked of it.

use std::borrow::Cow;

/// Something with rows, read from its beginning to its end each time.
pub trait Table: Send + Sync + 'static {
    fn name(&self) -> &str;

    fn columns(&self) -> &[Column];

    /// About how many rows it has.
    fn size(&self) -> u64;

    /// Columns by which rows are mostly looked for, together: a copy gets an index of them.
    fn index(&self) -> &[&'static str];

    /// Rows, at least those that meet all `conditions`: SQLite looks again. Of columns that are not
    /// `wanted` no cell is asked for.
    fn scan(&self, conditions: &[Condition], wanted: Wanted) -> Result<Box<dyn Rows>, String>;
}

/// Rows one after another; before the first [`Rows::next`] there is none.
pub trait Rows {
    /// Goes on to the next row, if there is one.
    fn next(&mut self) -> Result<bool, String>;

    /// The same number for the same row in every scan, and for no other row.
    fn id(&self) -> i64;

    fn cell(&self, column: usize) -> Cell<'_>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Type,
    /// Whether conditions on it save the table work.
    pub narrows: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Number,
    Text,
}

/// Columns of a table: a bit for each, the last of them for all that are beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted(pub(crate) u64);

impl Wanted {
    pub fn contains(self, column: usize) -> bool {
        self.0 & (1 << column.min(63)) != 0
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    Null,
    Number(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

/// What is asked of a column; its values are of the column's type.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub column: usize,
    pub test: Test,
    /// One; for [`Test::Is`] any number, any of which will do.
    pub values: Vec<Cell<'static>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    Is,
    Less,
    AtMost,
    More,
    AtLeast,
}
