//! Events as rows: one wide table a topic, with a column for each field that any of its events has.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use lemonair_schemas::field::{Mask, Type, Value};
use lemonair_schemas::stream::Figures;
use lemonair_schemas::{AccountId, Actor, Event, Position, RoomId, Timestamp, Topic};

/// Blanks what no reader outside has a use for, and nothing else.
pub(super) struct Private;

impl Mask for Private {
    fn account(&self, _: &mut AccountId) {}
    fn name(&self, _: &mut String) {}
    fn room(&self, _: &mut RoomId) {}
}

/// Rows on their way into Parquet.
pub(super) struct Table {
    schema: SchemaRef,
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

enum Column {
    Small(Int32Builder),
    Number(Int64Builder),
    Text(StringBuilder),
    Flag(BooleanBuilder),
    Time(TimestampMillisecondBuilder),
    Texts(ListBuilder<StringBuilder>),
}

/// Rows on their way into CSV.
pub(super) struct Cells {
    names: Vec<String>,
    cells: Vec<String>,
    row: String,
}

/// The columns of a topic's table. Fixed ones say where a record stands, and when Kafka got it.
pub(crate) fn columns(topic: Topic) -> Vec<(String, Type)> {
    let mut columns = vec![
        ("partition".to_owned(), Type::Number),
        ("offset".to_owned(), Type::Number),
        ("recorded_at".to_owned(), Type::Time),
        ("type".to_owned(), Type::Text),
    ];
    for (name, kind) in Event::columns(topic) {
        let parts = match kind {
            Type::Actor => vec![
                (format!("{name}_id"), Type::Text),
                (format!("{name}_name"), Type::Text),
                (format!("{name}_roles"), Type::Texts),
            ],
            Type::Figures => {
                let parts = Figures::COLUMNS.iter();
                parts
                    .map(|(end, kind)| (format!("{name}{end}"), *kind))
                    .collect()
            }
            kind => vec![(name.to_owned(), kind)],
        };
        for part in parts {
            if !columns.iter().any(|(name, _)| *name == part.0) {
                columns.push(part);
            }
        }
    }
    columns
}

/// Hands each cell of a row to `take`, by its column's name, which is in two parts where a field has
/// several columns.
pub(crate) fn each_cell<'a>(
    position: Position,
    at: Timestamp,
    event: &'a Event,
    take: &mut impl FnMut(&str, &str, Value<'a>),
) {
    take(
        "partition",
        "",
        Value::Number(i64::from(position.partition)),
    );
    take("offset", "", Value::Number(position.offset));
    take("recorded_at", "", Value::Time(at));
    take("type", "", Value::Text(event.kind()));
    event.each(&mut |name, value| match value {
        Value::None => {}
        Value::Actor(Actor {
            id,
            name: actor,
            roles,
        }) => {
            take(name, "_id", Value::Id(id.0));
            take(name, "_name", Value::Text(actor));
            take(name, "_roles", Value::Texts(roles));
        }
        Value::Figures(figures) => {
            for ((end, _), value) in Figures::COLUMNS.iter().zip(figures.values()) {
                if value != Value::None {
                    take(name, end, value);
                }
            }
        }
        value => take(name, "", value),
    });
}

/// Whether a column's name is what [`each_cell`] says in two parts.
pub(crate) fn is_called(name: &str, stem: &str, end: &str) -> bool {
    name.len() == stem.len() + end.len() && name.starts_with(stem) && name.ends_with(end)
}

/// Where a column stands. Cells come mostly in the order of columns, so it is looked for behind the
/// one before.
fn find(names: &[String], before: &mut usize, stem: &str, end: &str) -> Option<usize> {
    let found = (*before..names.len())
        .chain(0..*before)
        .find(|index| is_called(&names[*index], stem, end))?;
    *before = found;
    Some(found)
}

// === impl Table ===

impl Table {
    pub(super) fn new(topic: Topic) -> Table {
        let columns = columns(topic);
        let field = |(name, kind): &(String, Type)| {
            let kind = match kind {
                Type::Number if name == "partition" => DataType::Int32,
                Type::Number => DataType::Int64,
                Type::Flag => DataType::Boolean,
                Type::Time => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
                Type::Texts => DataType::new_list(DataType::Utf8, true),
                Type::Text | Type::Actor | Type::Postings | Type::Viewers | Type::Figures => {
                    DataType::Utf8
                }
            };
            Field::new(name, kind, true)
        };
        let fields: Vec<Field> = columns.iter().map(field).collect();
        // There is a table for each file: one with few rows must be small.
        let texts = || StringBuilder::with_capacity(0, 0);
        Table {
            columns: fields
                .iter()
                .map(|field| match field.data_type() {
                    DataType::Int32 => Column::Small(Int32Builder::with_capacity(0)),
                    DataType::Int64 => Column::Number(Int64Builder::with_capacity(0)),
                    DataType::Boolean => Column::Flag(BooleanBuilder::with_capacity(0)),
                    DataType::Timestamp(..) => Column::Time(
                        TimestampMillisecondBuilder::with_capacity(0).with_timezone("UTC"),
                    ),
                    DataType::List(_) => Column::Texts(ListBuilder::with_capacity(texts(), 0)),
                    _ => Column::Text(texts()),
                })
                .collect(),
            names: columns.into_iter().map(|(name, _)| name).collect(),
            schema: Arc::new(Schema::new(fields)),
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, position: Position, at: Timestamp, event: &Event) {
        let Table { names, columns, .. } = self;
        let mut before = 0;
        each_cell(position, at, event, &mut |stem, end, value| {
            if let Some(index) = find(names, &mut before, stem, end) {
                columns[index].push(value);
            }
        });
        self.rows += 1;
        self.bytes = 8 * self.rows * columns.len();
        for column in columns {
            column.fill(self.rows);
            if let Column::Text(texts) = column {
                self.bytes += texts.values_slice().len();
            }
        }
    }

    /// The rows so far.
    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        (self.rows, self.bytes) = (0, 0);
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

// === impl Column ===

impl Column {
    fn push(&mut self, value: Value<'_>) {
        match (self, value) {
            (Column::Small(column), Value::Number(number)) => {
                column.append_option(i32::try_from(number).ok());
            }
            (Column::Number(column), Value::Number(number)) => column.append_value(number),
            (Column::Flag(column), Value::Flag(flag)) => column.append_value(flag),
            (Column::Time(column), Value::Time(at)) => column.append_value(at.millis()),
            (Column::Texts(column), Value::Texts(texts)) => {
                for text in texts {
                    column.values().append_value(text);
                }
                column.append(true);
            }
            (Column::Text(column), Value::Text(text)) => column.append_value(text),
            (Column::Text(column), Value::Id(id)) => {
                let mut buffer = uuid::Uuid::encode_buffer();
                column.append_value(id.as_hyphenated().encode_lower(&mut buffer));
            }
            (Column::Text(column), value) => {
                column.append_option(serde_json::to_string(&value).ok())
            }
            // No field has two types.
            _ => {}
        }
    }

    /// Nothing stands where nothing was put.
    fn fill(&mut self, rows: usize) {
        use arrow_array::builder::ArrayBuilder;
        match self {
            Column::Small(column) if column.len() < rows => column.append_null(),
            Column::Number(column) if column.len() < rows => column.append_null(),
            Column::Text(column) if column.len() < rows => column.append_null(),
            Column::Flag(column) if column.len() < rows => column.append_null(),
            Column::Time(column) if column.len() < rows => column.append_null(),
            Column::Texts(column) if column.len() < rows => column.append_null(),
            _ => {}
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Small(column) => Arc::new(column.finish()),
            Column::Number(column) => Arc::new(column.finish()),
            Column::Text(column) => Arc::new(column.finish()),
            Column::Flag(column) => Arc::new(column.finish()),
            Column::Time(column) => Arc::new(column.finish()),
            Column::Texts(column) => Arc::new(column.finish()),
        }
    }
}

// === impl Cells ===

impl Cells {
    pub(super) fn new(topic: Topic) -> Cells {
        let names: Vec<String> = columns(topic).into_iter().map(|(name, _)| name).collect();
        Cells {
            cells: vec![String::new(); names.len()],
            names,
            row: String::new(),
        }
    }

    pub(super) fn head(&self) -> String {
        format!("{}\r\n", self.names.join(","))
    }

    /// A line of CSV, RFC 4180; lists are JSON.
    pub(super) fn row(&mut self, position: Position, at: Timestamp, event: &Event) -> &str {
        let Cells { names, cells, row } = self;
        cells.iter_mut().for_each(String::clear);
        let mut before = 0;
        each_cell(position, at, event, &mut |stem, end, value| {
            let Some(index) = find(names, &mut before, stem, end) else {
                return;
            };
            let cell = &mut cells[index];
            // Writing into memory cannot fail.
            match value {
                Value::Text(text) => quote(cell, text),
                Value::Id(id) => write!(cell, "{id}").unwrap_or_default(),
                Value::Time(at) => write!(cell, "{at}").unwrap_or_default(),
                value => quote(cell, &serde_json::to_string(&value).unwrap_or_default()),
            }
        });
        row.clear();
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                row.push(',');
            }
            row.push_str(cell);
        }
        row.push_str("\r\n");
        row
    }
}

pub(crate) fn quote(cell: &mut String, text: &str) {
    if text.contains(['"', ',', '\r', '\n']) {
        cell.push('"');
        cell.push_str(&text.replace('"', "\"\""));
        cell.push('"');
    } else {
        cell.push_str(text);
    }
}
