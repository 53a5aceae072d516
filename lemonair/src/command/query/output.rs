//! What a query's rows become: a table to look at, CSV, JSON or Parquet.

mod grid;
mod parquet;

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use lemonair_sql::{Cell, Sink, Type};

use self::grid::Grid;
use self::parquet::Parquet;
use super::Format;
use crate::command::export::table::quote;

pub(super) struct Output {
    out: Out,
    names: Vec<String>,
    types: Vec<Option<Type>>,
    kind: Kind,
    rows: u64,
}

enum Kind {
    Table(Grid),
    Csv,
    Json,
    Jsonl,
    Parquet(Box<Parquet>),
}

/// Where the bytes go. A file is made aside, and moved into place when it is whole.
struct Out {
    to: BufWriter<Box<dyn Write + Send>>,
    file: Option<(PathBuf, PathBuf)>,
}

impl Output {
    pub(super) fn create(format: Format, file: Option<PathBuf>) -> anyhow::Result<Output> {
        let (to, file): (Box<dyn Write + Send>, _) = match file {
            None => (Box::new(std::io::stdout()), None),
            Some(path) => {
                let mut aside = path.clone().into_os_string();
                aside.push(".partial");
                let aside = PathBuf::from(aside);
                let file =
                    File::create(&aside).with_context(|| format!("write {}", aside.display()))?;
                (Box::new(file), Some((aside, path)))
            }
        };
        Ok(Output {
            out: Out {
                to: BufWriter::with_capacity(64 * 1024, to),
                file,
            },
            names: Vec::new(),
            types: Vec::new(),
            kind: match format {
                Format::Table => Kind::Table(Grid::default()),
                Format::Csv => Kind::Csv,
                Format::Json => Kind::Json,
                Format::Jsonl => Kind::Jsonl,
                Format::Parquet => Kind::Parquet(Box::default()),
            },
            rows: 0,
        })
    }

    fn write_head(&mut self) -> anyhow::Result<()> {
        let named_twice =
            |name: &&String| self.names.iter().filter(|other| other == name).count() > 1;
        match &mut self.kind {
            Kind::Table(_) => {}
            Kind::Csv => {
                let names = self.names.iter().map(|name| Cell::Text(name.into()));
                let names: Vec<_> = names.collect();
                write_csv(&mut self.out.to, &names)?;
            }
            Kind::Json | Kind::Jsonl | Kind::Parquet(_) => {
                if let Some(name) = self.names.iter().find(named_twice) {
                    bail!("two columns are called {name}; call one of them something else with AS");
                }
            }
        }
        Ok(())
    }

    fn write_row(&mut self, cells: &[Cell<'_>]) -> anyhow::Result<()> {
        let out = &mut self.out.to;
        match &mut self.kind {
            Kind::Table(grid) => grid.row(&self.names, cells, out)?,
            Kind::Csv => write_csv(out, cells)?,
            Kind::Json => {
                out.write_all(if self.rows == 0 { b"[\n" } else { b",\n" })?;
                write_json(out, &self.names, cells)?;
            }
            Kind::Jsonl => {
                write_json(out, &self.names, cells)?;
                out.write_all(b"\n")?;
            }
            Kind::Parquet(parquet) => parquet.row(&self.names, &self.types, cells, out)?,
        }
        self.rows += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let out = &mut self.out.to;
        let mut end = || {
            match &mut self.kind {
                Kind::Table(grid) => grid.finish(&self.names, out)?,
                Kind::Json if self.rows == 0 => out.write_all(b"[]\n")?,
                Kind::Json => out.write_all(b"\n]\n")?,
                Kind::Csv | Kind::Jsonl => {}
                Kind::Parquet(parquet) => parquet.finish(&self.names, &self.types, out)?,
            }
            anyhow::Ok(out.flush()?)
        };
        match end() {
            Err(error) if is_closed(&error) => {}
            ended => ended.context("write the result")?,
        }
        if let Some((aside, path)) = &self.out.file {
            std::fs::rename(aside, path).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Sink for Output {
    fn head(&mut self, columns: &[String], types: &[Option<Type>]) -> Result<(), String> {
        self.names = columns.to_vec();
        self.types = types.to_vec();
        self.write_head().map_err(|error| format!("{error:#}"))
    }

    /// Nobody reads any more as in `| head`: that is no error.
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<bool, String> {
        match self.write_row(cells) {
            Ok(()) => Ok(true),
            Err(error) if is_closed(&error) => Ok(false),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if let Some((aside, _)) = &self.file {
            std::fs::remove_file(aside).ok();
        }
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// A line, RFC 4180.
fn write_csv(out: &mut impl Write, cells: &[Cell<'_>]) -> std::io::Result<()> {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        match cell {
            Cell::Null => {}
            Cell::Number(number) => line += &number.to_string(),
            // With a point, so that it is seen to be no whole number.
            Cell::Real(number) => line += &format!("{number:?}"),
            Cell::Text(text) => quote(&mut line, text),
        }
    }
    line.push_str("\r\n");
    out.write_all(line.as_bytes())
}

fn write_json(out: &mut impl Write, names: &[String], cells: &[Cell<'_>]) -> std::io::Result<()> {
    let object = names.iter().zip(cells).map(|(name, cell)| {
        let cell = match cell {
            Cell::Null => serde_json::Value::Null,
            Cell::Number(number) => (*number).into(),
            Cell::Real(number) => (*number).into(),
            Cell::Text(text) => text.as_ref().into(),
        };
        (name.clone(), cell)
    });
    serde_json::to_writer(out, &object.collect::<serde_json::Map<_, _>>())?;
    Ok(())
}
