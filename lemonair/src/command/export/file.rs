//! One file of an export, in any of the formats.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use lemonair_schemas::container::Container;
use lemonair_schemas::{Codec, Event, Position, Records, Timestamp, Topic};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::Format;
use super::table::{self, Cells, Table};
use crate::command::replay::write_line;

pub(super) struct Writer {
    kind: Kind,
    records: u64,
}

enum Kind {
    Parquet {
        writer: Box<ArrowWriter<Hashed>>,
        table: Table,
        /// Bytes of the row group that has begun.
        encoded: usize,
    },
    Avro(Container<Hashed>),
    Jsonl(Hashed),
    Csv(Hashed, Cells),
}

/// What was written.
pub(super) struct Written {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Counts and hashes what goes into a file. That is open only while it is written to: rooms take turns,
/// and there may be more of them than a process may have open files.
struct Hashed {
    path: PathBuf,
    waiting: Vec<u8>,
    hash: Sha256,
    bytes: u64,
}

/// Bytes that are gathered before a file gets them.
const PIECE: usize = 16 * 1024;

/// Rows that are gathered before Parquet gets them.
const ROWS: usize = 4096;

/// A row group ends when it holds either.
const GROUP_ROWS: usize = 256 * 1024;
const GROUP_BYTES: usize = 32 * 1024 * 1024;

impl Writer {
    pub(super) fn new(
        format: Format,
        path: PathBuf,
        topic: Topic,
        event: &Event,
    ) -> anyhow::Result<Writer> {
        let mut out = Hashed {
            path,
            waiting: Vec::new(),
            hash: Sha256::new(),
            bytes: 0,
        };
        let kind = match format {
            Format::Jsonl => Kind::Jsonl(out),
            Format::Csv => {
                let cells = Cells::new(topic);
                out.write_all(cells.head().as_bytes())?;
                Kind::Csv(out, cells)
            }
            Format::Avro => Kind::Avro(Container::create(out, &event.schema())?),
            Format::Parquet => {
                let table = Table::new(topic);
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .set_max_row_group_bytes(Some(GROUP_BYTES))
                    .set_created_by("lemonair".to_owned())
                    .build();
                let schema = Arc::clone(table.schema());
                let writer = ArrowWriter::try_new(out, schema, Some(properties))?;
                Kind::Parquet {
                    writer: Box::new(writer),
                    table,
                    encoded: 0,
                }
            }
        };
        Ok(Writer { kind, records: 0 })
    }

    pub(super) fn add(
        &mut self,
        position: Position,
        at: Timestamp,
        event: &Event,
        codec: &Codec,
    ) -> anyhow::Result<()> {
        self.records += 1;
        match &mut self.kind {
            Kind::Parquet {
                writer,
                table,
                encoded,
            } => {
                table.push(position, at, event);
                if table.rows() >= ROWS {
                    writer.write(&table.take()?)?;
                    *encoded = writer.memory_size();
                }
            }
            Kind::Avro(container) => {
                let mut event = event.clone();
                event.mask(&table::Private);
                container.push(&event.datum(codec)?)?;
            }
            Kind::Jsonl(out) => {
                let mut line = Vec::with_capacity(512);
                write_line(&mut line, position, event);
                out.write_all(&line)?;
            }
            Kind::Csv(out, cells) => out.write_all(cells.row(position, at, event).as_bytes())?,
        }
        Ok(())
    }

    /// Bytes of rows that wait for the end of their row group.
    pub(super) fn held(&self) -> usize {
        match &self.kind {
            Kind::Parquet { table, encoded, .. } => table.bytes() + encoded,
            _ => 0,
        }
    }

    /// Ends the row group.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        if let Kind::Parquet {
            writer,
            table,
            encoded,
        } = &mut self.kind
        {
            writer.write(&table.take()?)?;
            writer.flush()?;
            *encoded = writer.memory_size();
        }
        Ok(())
    }

    pub(super) fn finish(self) -> anyhow::Result<Written> {
        let mut out = match self.kind {
            Kind::Parquet {
                mut writer,
                mut table,
                ..
            } => {
                writer.write(&table.take()?)?;
                writer.into_inner()?
            }
            Kind::Avro(container) => container.finish()?,
            Kind::Jsonl(out) | Kind::Csv(out, _) => out,
        };
        out.settle()?.sync_all()?;
        Ok(Written {
            records: self.records,
            bytes: out.bytes,
            sha256: out
                .hash
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        })
    }
}

// === impl Hashed ===

impl Hashed {
    /// The file, with all that waited in it.
    fn settle(&mut self) -> io::Result<std::fs::File> {
        let mut open = OpenOptions::new();
        let mut file = open.create(true).append(true).open(&self.path)?;
        file.write_all(&self.waiting)?;
        // Its memory too: there may be no more for long.
        self.waiting = Vec::new();
        Ok(file)
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        if self.waiting.len() >= PIECE {
            self.settle()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.settle().map(drop)
    }
}
