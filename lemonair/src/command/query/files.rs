//! An export in Parquet as tables: the same as those of the topics that it was made of.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema};
use futures::StreamExt;
use lemonair_consumers::{Kafka, erasures};
use lemonair_schemas::field::Value;
use lemonair_schemas::{Timestamp, Topic};
use lemonair_sql::{Cell, Column, Condition, Rows, Table, Wanted};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{
    AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::column::{Field, Form, columns};
use super::narrow::Narrow;
use super::tally::Tally;
use crate::command::export::Format;
use crate::command::export::manifest::Manifest;
use crate::command::export::place::Place;

struct FilesTable {
    topic: Topic,
    columns: Vec<Column>,
    fields: Arc<Vec<Field>>,
    place: Arc<Place>,
    files: Vec<File>,
    tally: Arc<Tally>,
    stop: CancellationToken,
    /// Where scans wait for the files.
    runtime: Handle,
}

#[derive(Clone)]
struct File {
    path: String,
    bytes: u64,
    records: u64,
    /// The number of its first row among those of all files.
    first: i64,
    /// What the folder's name says of all records in it.
    day: Option<(i64, i64)>,
    room: Option<String>,
}

/// The rows of the files that a scan reads.
struct FileRows {
    place: Arc<Place>,
    files: std::vec::IntoIter<File>,
    reader: Option<Reader>,
    batch: Option<Batch>,
    row: usize,
    /// Of the next batch's first row, whichever files are read.
    next: i64,
    wanted: Wanted,
    fields: Arc<Vec<Field>>,
    tally: Arc<Tally>,
    stop: CancellationToken,
    runtime: Handle,
}

type Reader = ParquetRecordBatchStream<Box<dyn AsyncFileReader>>;

struct Batch {
    /// The number of its first row.
    first: i64,
    rows: RecordBatch,
    /// Where each column of the table stands, if the file has it.
    places: Vec<Option<usize>>,
}

const DAY: i64 = 86_400_000;

/// An export can be asked where Kafka is not.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tables of the export at `place`. Whether somebody was erased since is known where the topics are.
pub(super) async fn tables(
    place: Place,
    kafka: &Kafka,
    tally: &Arc<Tally>,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<Arc<dyn Table>>> {
    let Some(manifest) = Manifest::read(&place).await? else {
        bail!("{place} holds no export, or not a whole one: it has no manifest.json");
    };
    if manifest.request.format != Format::Parquet {
        bail!("{place} holds no Parquet; export again with --format parquet");
    }
    let place = Arc::new(place);
    let unreadable = manifest.runs.iter().map(|run| run.undecodable.len());
    let unreadable: usize = unreadable.sum();
    if unreadable > 0 {
        eprintln!(
            "{unreadable} records could not be decoded when this was exported; manifest.json lists them"
        );
    }
    match tokio::time::timeout(PATIENCE, erasures::marks(kafka)).await {
        Ok(Ok(marks)) if !manifest.is_before_erasures(&marks) => {}
        Ok(Ok(_)) => eprintln!("somebody was erased who may still stand in {place}; export anew"),
        _ => {
            eprintln!("kafka does not answer: who was erased after this was exported stands in it")
        }
    }
    let mut tables: Vec<Arc<dyn Table>> = Vec::new();
    for topic in &manifest.request.topics {
        let topic: Topic = topic.parse()?;
        let of_topic = format!("lemonair.{topic}/");
        let files = manifest
            .files
            .iter()
            .filter(|file| file.path.starts_with(&of_topic));
        let mut rows = 0;
        let files = files.map(|file| File {
            path: file.path.clone(),
            bytes: file.bytes,
            records: file.records,
            first: {
                rows += file.records;
                i64::try_from(rows - file.records).unwrap_or(i64::MAX)
            },
            day: named(&file.path, "day=").and_then(|day| {
                let start: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
                Some((start.millis(), start.millis() + DAY))
            }),
            room: named(&file.path, "room=").map(str::to_owned),
        });
        let (columns, fields) = columns(topic).into_iter().unzip();
        tables.push(Arc::new(FilesTable {
            topic,
            columns,
            fields: Arc::new(fields),
            place: Arc::clone(&place),
            files: files.collect(),
            tally: Arc::clone(tally),
            stop: stop.clone(),
            runtime: Handle::current(),
        }));
    }
    Ok(tables)
}

fn named<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    path.split('/').find_map(|part| part.strip_prefix(name))
}

// === impl FilesTable ===

impl Table for FilesTable {
    fn name(&self) -> &str {
        self.topic.name()
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn size(&self) -> u64 {
        self.files.iter().map(|file| file.records).sum()
    }

    fn index(&self) -> &[&'static str] {
        &["room", "at", "at_ms"]
    }

    fn scan(&self, conditions: &[Condition], wanted: Wanted) -> Result<Box<dyn Rows>, String> {
        let narrow = Narrow::new(conditions, |column| &self.columns[column].name);
        let (from, to) = narrow.times;
        let mut files = self.files.clone();
        files.retain(|file| {
            let in_time = file.day.is_none_or(|(start, end)| start < to && from < end);
            let in_room = match (&file.room, &narrow.rooms) {
                (Some(room), Some(rooms)) => rooms.contains(room),
                _ => true,
            };
            in_time && in_room
        });
        self.tally.begin(self.size());
        Ok(Box::new(FileRows {
            place: Arc::clone(&self.place),
            files: files.into_iter(),
            reader: None,
            batch: None,
            row: 0,
            next: 0,
            wanted,
            fields: Arc::clone(&self.fields),
            tally: Arc::clone(&self.tally),
            stop: self.stop.clone(),
            runtime: self.runtime.clone(),
        }))
    }
}

// === impl FileRows ===

impl FileRows {
    fn next_batch(&mut self) -> anyhow::Result<Option<Batch>> {
        let (runtime, stop) = (self.runtime.clone(), self.stop.clone());
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => bail!("stopped"),
                batch = self.read_batch() => batch,
            }
        })
    }

    async fn read_batch(&mut self) -> anyhow::Result<Option<Batch>> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(rows) = reader.next().await.transpose()?
            {
                self.tally.read(rows.num_rows() as u64);
                let place = |field: &Field| rows.schema().index_of(&field.name).ok();
                let first = self.next;
                self.next += i64::try_from(rows.num_rows()).unwrap_or(0);
                return Ok(Some(Batch {
                    first,
                    places: self.fields.iter().map(place).collect(),
                    rows,
                }));
            }
            let Some(file) = self.files.next() else {
                return Ok(None);
            };
            self.next = file.first;
            let reader = self.open(&file).await;
            let context = || format!("read {}/{}", self.place, file.path);
            self.reader = Some(reader.with_context(context)?);
        }
    }

    async fn open(&self, file: &File) -> anyhow::Result<Reader> {
        let reader = self.place.open_file(&file.path, file.bytes).await?;
        let reader = ParquetRecordBatchStreamBuilder::new(reader).await?;
        let columns = self.columns_of(reader.schema());
        let columns = ProjectionMask::roots(reader.parquet_schema(), columns);
        let reader = reader.with_projection(columns).with_batch_size(4096);
        Ok(reader.build()?)
    }

    /// Which columns of a file are wanted; others are not read.
    fn columns_of(&self, schema: &Schema) -> Vec<usize> {
        let wanted = self.fields.iter().enumerate();
        let wanted: Vec<&Field> = wanted
            .filter(|(column, _)| self.wanted.contains(*column))
            .map(|(_, field)| field)
            .collect();
        let whole = wanted.iter().any(|field| field.form == Form::Event);
        let is_wanted = |name: &str| whole || wanted.iter().any(|field| field.name == name);
        let columns = schema.fields().iter().enumerate();
        columns
            .filter(|(_, column)| is_wanted(column.name()))
            .map(|(index, _)| index)
            .collect()
    }
}

impl Rows for FileRows {
    fn next(&mut self) -> Result<bool, String> {
        self.row += 1;
        while self
            .batch
            .as_ref()
            .is_none_or(|batch| self.row >= batch.rows.num_rows())
        {
            self.batch = self.next_batch().map_err(|error| format!("{error:#}"))?;
            self.row = 0;
            if self.batch.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn id(&self) -> i64 {
        let first = self.batch.as_ref().map_or(0, |batch| batch.first);
        first + i64::try_from(self.row).unwrap_or(0)
    }

    fn cell(&self, column: usize) -> Cell<'_> {
        let (Some(batch), Some(field)) = (&self.batch, self.fields.get(column)) else {
            return Cell::Null;
        };
        if field.form == Form::Event {
            return Cell::Text(batch.json(self.row).into());
        }
        let Some(Some(place)) = batch.places.get(column) else {
            return Cell::Null;
        };
        let column = batch.rows.column(*place);
        match column.data_type() {
            DataType::List(_) if !column.is_null(self.row) => {
                Cell::Text(texts(column, self.row).to_string().into())
            }
            _ => field.cell(value(column, self.row)),
        }
    }
}

// === impl Batch ===

impl Batch {
    /// What a row has, by the columns' names.
    fn json(&self, row: usize) -> String {
        let mut json = serde_json::Map::new();
        for (field, column) in self.rows.schema().fields().iter().zip(self.rows.columns()) {
            let cell = match column.data_type() {
                _ if column.is_null(row) => continue,
                DataType::List(_) => texts(column, row),
                _ => serde_json::json!(value(column, row)),
            };
            json.insert(field.name().clone(), cell);
        }
        serde_json::Value::Object(json).to_string()
    }
}

fn value(column: &dyn Array, row: usize) -> Value<'_> {
    if column.is_null(row) {
        return Value::None;
    }
    match column.data_type() {
        DataType::Int32 => Value::Number(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Number(column.as_primitive::<Int64Type>().value(row)),
        DataType::Boolean => Value::Flag(column.as_boolean().value(row)),
        DataType::Timestamp(..) => {
            let times = column.as_primitive::<TimestampMillisecondType>();
            Value::Time(Timestamp(times.value(row)))
        }
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row)),
        // An export of ours has no other, beside lists.
        _ => Value::None,
    }
}

fn texts(column: &dyn Array, row: usize) -> serde_json::Value {
    let list = column.as_list::<i32>().value(row);
    let texts = list
        .as_string_opt::<i32>()
        .map(|texts| texts.iter().flatten().collect());
    serde_json::json!(texts.unwrap_or_else(Vec::<&str>::new))
}
