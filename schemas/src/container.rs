//! Avro's object container file: the schema in front, then blocks of records.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::record::Schema;

/// A container of one kind of record, in today's schema. The same records give the same bytes.
#[derive(Debug)]
pub struct Container<W: Write> {
    out: W,
    /// Between blocks. Avro asks for random bytes; a hash of the schema is as unlikely in a block.
    marker: [u8; 16],
    block: Vec<u8>,
    records: i64,
}

/// A block is written when it is so long.
const BLOCK: usize = 64 * 1024;

impl<W: Write> Container<W> {
    pub fn create(mut out: W, schema: &Schema) -> io::Result<Container<W>> {
        let mut marker = [0; 16];
        marker.copy_from_slice(&Sha256::digest(schema.avsc)[..16]);
        // The schema as JSON without the file's white space.
        let avsc: serde_json::Value = serde_json::from_str(schema.avsc)?;
        let mut head = b"Obj\x01".to_vec();
        let entries = [
            ("avro.schema", avsc.to_string()),
            ("avro.codec", "null".to_owned()),
        ];
        long(&mut head, 2);
        for (name, value) in &entries {
            bytes(&mut head, name.as_bytes());
            bytes(&mut head, value.as_bytes());
        }
        long(&mut head, 0);
        head.extend_from_slice(&marker);
        out.write_all(&head)?;
        Ok(Container {
            out,
            marker,
            block: Vec::new(),
            records: 0,
        })
    }

    /// Adds a record, as [`crate::Records::datum`] gives it.
    pub fn push(&mut self, datum: &[u8]) -> io::Result<()> {
        self.block.extend_from_slice(datum);
        self.records += 1;
        if self.block.len() >= BLOCK {
            self.write_block()?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.out)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.records == 0 {
            return Ok(());
        }
        let mut head = Vec::new();
        long(&mut head, self.records);
        long(
            &mut head,
            i64::try_from(self.block.len()).unwrap_or(i64::MAX),
        );
        self.out.write_all(&head)?;
        self.out.write_all(&self.block)?;
        self.out.write_all(&self.marker)?;
        self.block.clear();
        self.records = 0;
        Ok(())
    }
}

/// Avro's `long`: zigzag, seven bits a byte, the least first.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
}
