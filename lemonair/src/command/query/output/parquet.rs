//! A result as Parquet. SQLite's columns may hold anything, so the first rows say what they hold; of
//! those that are NULL in all of these, the tables say.

use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use lemonair_sql::{Cell, Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

#[derive(Default)]
pub(super) struct Parquet {
    waiting: Vec<Vec<Cell<'static>>>,
    writer: Option<ArrowWriter<Bytes>>,
    schema: Option<Arc<Schema>>,
    rows: u64,
}

/// What the writer has made and nobody took yet.
#[derive(Default)]
struct Bytes(Vec<u8>);

/// Rows that are gathered at a time, and looked at for the types of columns at first.
const ROWS: usize = 8192;

impl Parquet {
    pub(super) fn row(
        &mut self,
        names: &[String],
        types: &[Option<Type>],
        cells: &[Cell<'_>],
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let owned = |cell: &Cell<'_>| match cell {
            Cell::Null => Cell::Null,
            Cell::Number(number) => Cell::Number(*number),
            Cell::Real(number) => Cell::Real(*number),
            Cell::Text(text) => Cell::Text(text.clone().into_owned().into()),
        };
        self.waiting.push(cells.iter().map(owned).collect());
        if self.waiting.len() >= ROWS {
            self.write(names, types, out)?;
        }
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        names: &[String],
        types: &[Option<Type>],
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        self.write(names, types, out)?;
        if let Some(writer) = self.writer.take() {
            out.write_all(&writer.into_inner()?.0)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        names: &[String],
        types: &[Option<Type>],
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let schema = match &self.schema {
            Some(schema) => Arc::clone(schema),
            None => {
                let fields = names.iter().zip(types).enumerate();
                let fields = fields.map(|(column, (name, declared))| {
                    let cells = self.waiting.iter().map(|row| &row[column]);
                    Field::new(name, kind(cells, *declared), true)
                });
                let schema = Arc::new(Schema::new(Vec::from_iter(fields)));
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
                    .set_created_by("lemonair".to_owned())
                    .build();
                let writer =
                    ArrowWriter::try_new(Bytes::default(), Arc::clone(&schema), Some(properties))?;
                self.writer = Some(writer);
                self.schema = Some(Arc::clone(&schema));
                schema
            }
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            let cells = self.waiting.iter().map(|row| &row[index]);
            match column(field.data_type(), cells) {
                Some(column) => columns.push(column),
                None => bail!(
                    "column {} holds a {} in its first {} rows and something else later; CAST it",
                    field.name(),
                    if field.data_type() == &DataType::Utf8 {
                        "text"
                    } else {
                        "number"
                    },
                    self.rows
                ),
            }
        }
        self.rows += self.waiting.len() as u64;
        self.waiting.clear();
        if let Some(writer) = &mut self.writer {
            writer.write(&RecordBatch::try_new(schema, columns)?)?;
            let made = &mut writer.inner_mut().0;
            out.write_all(made)?;
            made.clear();
        }
        Ok(())
    }
}

/// What can hold all of them.
fn kind<'a>(
    mut cells: impl Iterator<Item = &'a Cell<'static>> + Clone,
    declared: Option<Type>,
) -> DataType {
    if cells.clone().all(|cell| matches!(cell, Cell::Null)) {
        match declared {
            Some(Type::Number) => DataType::Int64,
            Some(Type::Text) | None => DataType::Utf8,
        }
    } else if cells.clone().any(|cell| matches!(cell, Cell::Text(_))) {
        DataType::Utf8
    } else if cells.any(|cell| matches!(cell, Cell::Real(_))) {
        DataType::Float64
    } else {
        DataType::Int64
    }
}

/// `None` where a cell does not fit.
fn column<'a>(kind: &DataType, cells: impl Iterator<Item = &'a Cell<'static>>) -> Option<ArrayRef> {
    match kind {
        DataType::Int64 => {
            let mut column = Int64Builder::new();
            for cell in cells {
                match cell {
                    Cell::Null => column.append_null(),
                    Cell::Number(number) => column.append_value(*number),
                    _ => return None,
                }
            }
            Some(Arc::new(column.finish()))
        }
        DataType::Float64 => {
            let mut column = Float64Builder::new();
            for cell in cells {
                match cell {
                    Cell::Null => column.append_null(),
                    #[expect(clippy::cast_precision_loss, reason = "as SQLite itself does")]
                    Cell::Number(number) => column.append_value(*number as f64),
                    Cell::Real(number) => column.append_value(*number),
                    Cell::Text(_) => return None,
                }
            }
            Some(Arc::new(column.finish()))
        }
        _ => {
            let mut column = StringBuilder::new();
            for cell in cells {
                match cell {
                    Cell::Null => column.append_null(),
                    Cell::Number(number) => column.append_value(number.to_string()),
                    Cell::Real(number) => column.append_value(format!("{number:?}")),
                    Cell::Text(text) => column.append_value(text),
                }
            }
            Some(Arc::new(column.finish()))
        }
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn a_number_that_comes_late_is_what_its_table_says() {
        let (names, types) = (["amount".to_owned()], [Some(Type::Number)]);
        let (mut parquet, mut out) = (Parquet::default(), Vec::new());
        for row in 0..=ROWS {
            let cell = if row < ROWS {
                Cell::Null
            } else {
                Cell::Number(7)
            };
            parquet.row(&names, &types, &[cell], &mut out).unwrap();
        }
        parquet.finish(&names, &types, &mut out).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(out)).unwrap();
        assert_eq!(reader.schema().field(0).data_type(), &DataType::Int64);
    }
}
