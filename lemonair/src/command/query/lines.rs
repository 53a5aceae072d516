//! Rows of a topic on their way to SQLite: of each record only the cells that the statement wants, made
//! where the record is decoded.

use std::ops::Range;

use lemonair_consumers::scan::Found;
use lemonair_schemas::Position;
use lemonair_sql::{Cell, Wanted};

use super::column::{Field, Form};
use crate::command::export::pseudonym::Pseudonyms;
use crate::command::export::table::{each_cell, is_called};

/// The rows of a batch.
#[derive(Default)]
pub(super) struct Lines {
    ids: Vec<i64>,
    /// Row by row, as many of each as are kept.
    cells: Vec<Stored>,
    /// All texts, one behind the other: one piece of memory, not one for each cell.
    texts: String,
    pub(super) unreadable: Vec<(Position, String)>,
}

#[derive(Clone)]
enum Stored {
    Null,
    Number(i64),
    Text(Range<usize>),
}

/// Which columns are kept.
pub(super) struct Kept {
    fields: Vec<Field>,
    /// Of each column of the table, which of `fields` it is.
    places: Vec<Option<usize>>,
}

// === impl Kept ===

impl Kept {
    pub(super) fn new(all: &[Field], wanted: Wanted) -> Kept {
        let mut kept = Kept {
            fields: Vec::new(),
            places: Vec::new(),
        };
        for (column, field) in all.iter().enumerate() {
            let is_wanted = wanted.contains(column);
            kept.places.push(is_wanted.then_some(kept.fields.len()));
            if is_wanted {
                kept.fields.push(field.clone());
            }
        }
        kept
    }
}

// === impl Lines ===

impl Lines {
    pub(super) fn add(&mut self, kept: &Kept, pseudonyms: Option<&Pseudonyms>, found: Found<'_>) {
        let position = found.position;
        let mut event = match found.content {
            Ok(event) => event,
            Err(poison) => return self.unreadable.push((position, poison.cause)),
        };
        if let Some(pseudonyms) = pseudonyms {
            event.mask(pseudonyms);
        }
        let Lines {
            ids, cells, texts, ..
        } = self;
        ids.push((i64::from(position.partition) << 48) | position.offset);
        let row = cells.len();
        cells.resize(row + kept.fields.len(), Stored::Null);
        let row = &mut cells[row..];
        each_cell(position, found.at, &event, &mut |stem, end, value| {
            for (field, cell) in kept.fields.iter().zip(&mut *row) {
                if is_called(&field.name, stem, end) {
                    *cell = store(texts, field.cell(value));
                }
            }
        });
        for (field, cell) in kept.fields.iter().zip(row) {
            if field.form == Form::Event {
                let mut json = b"{".to_vec();
                event.write_json(&mut json);
                json.push(b'}');
                *cell = store(texts, Cell::Text(String::from_utf8_lossy(&json)));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn id(&self, row: usize) -> i64 {
        self.ids.get(row).copied().unwrap_or_default()
    }

    pub(super) fn cell(&self, kept: &Kept, row: usize, column: usize) -> Cell<'_> {
        let Some(Some(place)) = kept.places.get(column) else {
            return Cell::Null;
        };
        match self.cells.get(row * kept.fields.len() + place) {
            None | Some(Stored::Null) => Cell::Null,
            Some(Stored::Number(number)) => Cell::Number(*number),
            Some(Stored::Text(range)) => Cell::Text(self.texts[range.clone()].into()),
        }
    }
}

fn store(texts: &mut String, cell: Cell<'_>) -> Stored {
    match cell {
        Cell::Number(number) => Stored::Number(number),
        Cell::Text(text) => {
            let start = texts.len();
            texts.push_str(&text);
            Stored::Text(start..texts.len())
        }
        // No field of an event is a fraction.
        Cell::Null | Cell::Real(_) => Stored::Null,
    }
}
