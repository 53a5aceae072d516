//! A table to look at.

use std::io::{self, Write};

use lemonair_sql::Cell;
use unicode_width::UnicodeWidthStr;

/// The first rows wait until it is known how wide they are; those that come later are cut to that.
#[derive(Default)]
pub(super) struct Grid {
    waiting: Vec<Vec<Shown>>,
    widths: Option<Vec<usize>>,
}

struct Shown {
    text: String,
    /// Numbers stand on the right.
    number: bool,
}

/// Rows that are looked at for the widths of columns.
const FIRST: usize = 1000;

/// A column is so wide at most.
const WIDEST: usize = 60;

impl Grid {
    pub(super) fn row(
        &mut self,
        names: &[String],
        cells: &[Cell<'_>],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let row: Vec<Shown> = cells.iter().map(Shown::new).collect();
        match &self.widths {
            Some(widths) => write_row(out, widths, &row),
            None => {
                self.waiting.push(row);
                if self.waiting.len() >= FIRST {
                    self.finish(names, out)?;
                }
                Ok(())
            }
        }
    }

    /// Writes what waits.
    pub(super) fn finish(&mut self, names: &[String], out: &mut impl Write) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        let heads: Vec<Shown> = names
            .iter()
            .enumerate()
            .map(|(column, name)| Shown {
                text: plain(name),
                number: !self.waiting.is_empty()
                    && self.waiting.iter().all(|row| row[column].number),
            })
            .collect();
        let width = |column: usize| {
            let rows = self.waiting.iter().map(|row| row[column].text.width());
            let widest = rows.chain([heads[column].text.width()]).max();
            widest.unwrap_or(0).min(WIDEST)
        };
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        write_row(out, &widths, &heads)?;
        let rules = widths.iter().map(|width| "─".repeat(*width));
        writeln!(out, "{}", Vec::from_iter(rules).join("  "))?;
        for row in self.waiting.drain(..) {
            write_row(out, &widths, &row)?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

impl Shown {
    fn new(cell: &Cell<'_>) -> Shown {
        let (text, number) = match cell {
            Cell::Null => ("NULL".to_owned(), false),
            Cell::Number(number) => (number.to_string(), true),
            Cell::Real(number) => (format!("{number:?}"), true),
            Cell::Text(text) => (plain(text), false),
        };
        Shown { text, number }
    }
}

fn write_row(out: &mut impl Write, widths: &[usize], row: &[Shown]) -> io::Result<()> {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let text = cut(
            &cell.text,
            (*width).max(if cell.number { WIDEST } else { 0 }),
        );
        let space = " ".repeat(width.saturating_sub(text.width()));
        if cell.number {
            line += &format!("{space}{text}  ");
        } else {
            line += &format!("{text}{space}  ");
        }
    }
    writeln!(out, "{}", line.trim_end())
}

/// What people wrote must not move the cursor, or turn the line around.
fn plain(text: &str) -> String {
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() || turns(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(plain).collect()
}

/// As much as fits.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut end = 0;
    for (start, c) in text.char_indices() {
        let next = start + c.len_utf8();
        if text[..next].width() + 1 > width {
            break;
        }
        end = next;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[&str], rows: &[&[Cell<'_>]]) -> String {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let (mut grid, mut out) = (Grid::default(), Vec::new());
        for row in rows {
            grid.row(&names, row, &mut out).expect("memory takes it");
        }
        grid.finish(&names, &mut out).expect("memory takes it");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn numbers_stand_right_and_wide_characters_count_twice() {
        let rows: [&[Cell<'_>]; 3] = [
            &[Cell::Text("안녕 🍋".into()), Cell::Number(7), Cell::Null],
            &[
                Cell::Text("hi".into()),
                Cell::Number(-1200),
                Cell::Real(0.5),
            ],
            &[
                Cell::Text("a\u{1b}[31m\u{202e}b\n".into()),
                Cell::Number(0),
                Cell::Null,
            ],
        ];
        let lines = shown(&["text", "n", "share"], &rows);
        let expected = [
            "text           n  share",
            "─────────  ─────  ─────",
            "안녕 🍋        7  NULL",
            "hi         -1200    0.5",
            "a\u{fffd}[31m\u{fffd}b       0  NULL",
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_too_wide_is_cut() {
        let long = "가".repeat(100);
        let lines = shown(&["text"], &[&[Cell::Text(long.as_str().into())]]);
        let row = lines.lines().last().expect("a row");
        assert_eq!(row, format!("{}…", "가".repeat(29)));
        assert_eq!(shown(&["one"], &[]), "one\n───\n");
    }

    #[test]
    fn rows_that_come_late_are_cut_to_the_first_ones() {
        let short: [Cell<'_>; 1] = [Cell::Text("short".into())];
        let long: [Cell<'_>; 1] = [Cell::Text("longer than that".into())];
        let mut rows: Vec<&[Cell<'_>]> = vec![&short; FIRST];
        rows.push(&long);
        let lines = shown(&["text"], &rows);
        assert_eq!(lines.lines().last(), Some("long…"));
    }
}
