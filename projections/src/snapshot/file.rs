//! A snapshot's file: compressed with gzip, so that its checksum is there and `zcat` shows its head.
//!
//! First a line of JSON, the head. Then the rows, each a byte that says which table (from 1 on), and for
//! each column its length (32 bits, little-endian; all ones for NULL) and its bytes. At the end a zero, and
//! the SHA-256 of everything before it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::Head;

/// Longer than any head.
const LONGEST_HEAD: u64 = 1 << 20;

/// Longer than any column: a length beyond it was not written by us.
const LONGEST_COLUMN: usize = 64 << 20;

const NULL: u32 = u32::MAX;

/// A row as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Index of its table in the head.
    pub(super) table: usize,
    pub(super) columns: Vec<Option<Vec<u8>>>,
}

pub(super) struct Writer {
    out: GzEncoder<BufWriter<File>>,
    hash: Sha256,
}

pub(super) struct Reader {
    input: BufReader<GzDecoder<BufReader<File>>>,
    hash: Sha256,
    /// How many columns each table has.
    columns: Vec<usize>,
}

/// Appends a column's value, as [`Writer::write`] takes it.
pub(super) fn push(block: &mut Vec<u8>, value: Option<&[u8]>) {
    let length = value.map_or(NULL, |value| u32::try_from(value.len()).unwrap_or(NULL));
    block.extend(length.to_le_bytes());
    block.extend(value.unwrap_or_default());
}

// === impl Writer ===

impl Writer {
    pub(super) fn create(path: &Path, head: &Head) -> io::Result<Writer> {
        let file = BufWriter::new(File::create(path)?);
        let mut writer = Writer {
            out: GzEncoder::new(file, Compression::fast()),
            hash: Sha256::new(),
        };
        let mut line = serde_json::to_vec(head)?;
        line.push(b'\n');
        writer.write(&line)?;
        Ok(writer)
    }

    pub(super) fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.hash.update(block);
        self.out.write_all(block)
    }

    /// Until this returns, the file is not whole.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.write(&[0])?;
        let hash = self.hash.finalize();
        self.out.write_all(&hash)?;
        let file = self.out.finish()?.into_inner()?;
        file.sync_all()
    }
}

// === impl Reader ===

impl Reader {
    /// Reads the head.
    pub(super) fn open(path: &Path) -> io::Result<(Reader, Head)> {
        let file = BufReader::new(File::open(path)?);
        let mut reader = Reader {
            input: BufReader::new(GzDecoder::new(file)),
            hash: Sha256::new(),
            columns: Vec::new(),
        };
        let mut line = Vec::new();
        let head = (&mut reader.input).take(LONGEST_HEAD);
        { head }.read_until(b'\n', &mut line)?;
        reader.hash.update(&line);
        let head: Head = serde_json::from_slice(&line)?;
        reader.columns = head
            .tables
            .iter()
            .map(|table| table.columns.len())
            .collect();
        Ok((reader, head))
    }

    /// The next row; `None` at the end, if all that was written was read as it was written.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        let [table] = self.bytes()?;
        if table == 0 {
            return self.check_end().map(|()| None);
        }
        let table = usize::from(table) - 1;
        let Some(&count) = self.columns.get(table) else {
            return Err(damaged("a row of a table that it does not have"));
        };
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            columns.push(self.column()?);
        }
        Ok(Some(Row { table, columns }))
    }

    fn column(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = u32::from_le_bytes(self.bytes()?);
        if length == NULL {
            return Ok(None);
        }
        let length = length as usize;
        if length > LONGEST_COLUMN {
            return Err(damaged("a column that is longer than any"));
        }
        let mut value = vec![0; length];
        self.input.read_exact(&mut value)?;
        self.hash.update(&value);
        Ok(Some(value))
    }

    fn check_end(&mut self) -> io::Result<()> {
        let hash = std::mem::take(&mut self.hash).finalize();
        let mut written = [0; 32];
        self.input.read_exact(&mut written)?;
        if <[u8; 32]>::from(hash) != written {
            return Err(damaged("its rows are not those that were written"));
        }
        // The compressed stream has a checksum behind it.
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(damaged("something behind its end")),
        }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
