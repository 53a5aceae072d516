//! Confluent's wire format: a zero byte, the schema id as four big-endian bytes, the Avro datum.

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use dashmap::DashMap;
use serde::de::DeserializeOwned;
use serde_avro_fast::de::DeserializerState;

use crate::record::{Read, Schema};
use crate::registry::{self, Registry, at_once};
use crate::{Erased, Record, Records};

/// Encodes with our newest schemas, decodes whatever the registry knows.
pub struct Codec {
    registry: Registry,
    writers: HashMap<&'static str, Writer>,
    readers: DashMap<u32, Arc<Reader>>,
    erased: Erased,
}

struct Writer {
    subject: String,
    /// Once it is registered.
    id: Option<u32>,
    schema: &'static apache_avro::Schema,
    datum: GenericDatumWriter<'static>,
}

struct Reader {
    name: String,
    how: How,
}

enum How {
    /// Written just as we would, or without what is null where it is absent: read straight into our
    /// types.
    Straight(serde_avro_fast::Schema),
    /// Written by an older or newer schema: resolved to ours, which costs several times more.
    Resolved(GenericDatumReader<'static>),
}

/// The schema of the record before, and how it is read: that of the next one is mostly the same.
pub struct Last<R>(Option<(u32, Arc<Reader>, Read<R>)>);

/// A datum that is not read yet.
pub struct Datum<'a> {
    reader: &'a Reader,
    bytes: &'a [u8],
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("{0} is not among the schemas registered at start")]
    Unregistered(&'static str),
    #[error("encode {name}: {source}")]
    Avro {
        name: &'static str,
        source: Box<apache_avro::Error>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The record can never be read, by anybody: a case for the dead letters.
    #[error("no zero byte and schema id in front ({len} bytes)")]
    Unframed { len: usize, first: Option<u8> },
    /// The registry answered that it knows no such id.
    #[error("schema id {0} is unknown to the registry")]
    NoSuchSchema(u32),
    #[error("schema id {id} is {name}, which does not belong here")]
    Foreign { id: u32, name: String },
    #[error("schema id {id}: {source}")]
    BadSchema {
        id: u32,
        source: Box<apache_avro::Error>,
    },
    #[error("{name}: {cause}")]
    Datum { name: String, cause: String },
    #[error("{name}: {left} bytes behind the datum")]
    Trailing { name: String, left: usize },
    /// Not the record's fault; worth another try.
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

impl DecodeError {
    /// Whether the same bytes may be readable a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(self, DecodeError::Registry(_))
    }
}

// === impl Codec ===

impl Codec {
    /// Registers all of `schemas` (or finds them in the registry's cache on disk when it is down).
    pub async fn register(
        registry: Registry,
        schemas: &[Schema],
    ) -> Result<Codec, registry::Error> {
        let ids = at_once(schemas, |schema| registry.register(schema)).await?;
        let mut codec = Codec::new(registry, schemas)?;
        for (schema, id) in schemas.iter().zip(ids) {
            if let Some(writer) = codec.writers.get_mut(schema.name) {
                writer.id = Some(id);
            }
        }
        Ok(codec)
    }

    /// Reads records, and writes none: the registry is told nothing. It must answer, unless
    /// something of it is known from before.
    pub async fn reading(registry: Registry, schemas: &[Schema]) -> Result<Codec, registry::Error> {
        if !registry.is_known() {
            registry.ping().await?;
        }
        Codec::new(registry, schemas)
    }

    fn new(registry: Registry, schemas: &[Schema]) -> Result<Codec, registry::Error> {
        let mut writers = HashMap::new();
        for schema in schemas {
            let parsed = parse_own(schema)?;
            let datum = GenericDatumWriter::builder(parsed)
                .human_readable(false)
                .build()
                .map_err(|source| registry::Error::OwnSchema {
                    name: schema.name,
                    source: Box::new(source),
                })?;
            writers.insert(
                schema.name,
                Writer {
                    subject: registry.subject(schema),
                    id: None,
                    schema: parsed,
                    datum,
                },
            );
        }
        Ok(Codec {
            registry,
            writers,
            readers: DashMap::new(),
            erased: Erased::default(),
        })
    }

    /// Whether the registry answers.
    pub async fn ping(&self) -> Result<(), registry::Error> {
        self.registry.ping().await
    }

    /// What the registry has of the records that we write.
    pub async fn subjects(&self) -> Result<Vec<registry::Subject>, registry::Error> {
        let names: Vec<String> = self
            .writers
            .values()
            .map(|writer| writer.subject.clone())
            .collect();
        self.registry.subjects(&names).await
    }

    pub fn encode<R: Record>(&self, record: &R) -> Result<Vec<u8>, EncodeError> {
        let id = self.writers.get(R::NAME).and_then(|writer| writer.id);
        let id = id.ok_or(EncodeError::Unregistered(R::NAME))?;
        let mut bytes = Vec::with_capacity(256);
        bytes.push(0);
        bytes.extend(id.to_be_bytes());
        self.write(record, bytes)
    }

    /// The record's datum alone, as it stands in files that say the schema themselves.
    pub fn datum<R: Record>(&self, record: &R) -> Result<Vec<u8>, EncodeError> {
        self.write(record, Vec::with_capacity(256))
    }

    /// Puts the record's datum behind `bytes`.
    fn write<R: Record>(&self, record: &R, mut bytes: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
        let writer = self.writers.get(R::NAME);
        writer
            .ok_or(EncodeError::Unregistered(R::NAME))?
            .datum
            .write_ser(&mut bytes, record)
            .map_err(|source| EncodeError::Avro {
                name: R::NAME,
                source: Box::new(source),
            })?;
        Ok(bytes)
    }

    /// Reads a record. Asks the registry only for ids that were never seen, here or on disk.
    pub async fn decode<R: Records>(&self, bytes: &[u8]) -> Result<R, DecodeError> {
        self.decode_next(bytes, &mut Last::default()).await
    }

    /// The same for one of many records; nothing is looked up that was the same for the one before.
    pub async fn decode_next<R: Records>(
        &self,
        bytes: &[u8],
        last: &mut Last<R>,
    ) -> Result<R, DecodeError> {
        let (id, datum) = unframe(bytes)?;
        let (_, reader, read) = match &mut last.0 {
            Some(same) if same.0 == id => same,
            other => {
                let reader = self.reader(id).await?;
                let read = R::reader(&reader.name).ok_or_else(|| DecodeError::Foreign {
                    id,
                    name: reader.name.clone(),
                })?;
                other.insert((id, reader, read))
            }
        };
        let mut record = read(Datum {
            reader,
            bytes: datum,
        })?;
        record.erase(&self.erased);
        Ok(record)
    }

    /// Of whom nothing is decoded any more. Decoding an erasure adds to it.
    pub fn erased(&self) -> &Erased {
        &self.erased
    }

    async fn reader(&self, id: u32) -> Result<Arc<Reader>, DecodeError> {
        if let Some(reader) = self.readers.get(&id) {
            return Ok(Arc::clone(&reader));
        }
        let avsc = self
            .registry
            .schema(id)
            .await?
            .ok_or(DecodeError::NoSuchSchema(id))?;
        let bad = |source| DecodeError::BadSchema {
            id,
            source: Box::new(source),
        };
        let written = apache_avro::Schema::parse_str(&avsc).map_err(bad)?;
        let name = written
            .name()
            .map(|name| name.fullname(None))
            .unwrap_or_default();
        let own = self.writers.get(name.as_str()).map(|writer| writer.schema);
        let straight = own.is_none_or(|own| lacks_only_nulls(&written, own));
        let how = match avsc.parse() {
            Ok(schema) if straight => How::Straight(schema),
            _ => How::Resolved(
                GenericDatumReader::builder(leak(written))
                    .maybe_reader_schema(own)
                    .human_readable(false)
                    .build()
                    .map_err(bad)?,
            ),
        };
        let reader = Arc::new(Reader { name, how });
        self.readers.insert(id, Arc::clone(&reader));
        Ok(reader)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

fn parse_own(schema: &Schema) -> Result<&'static apache_avro::Schema, registry::Error> {
    apache_avro::Schema::parse_str(schema.avsc)
        .map(leak)
        .map_err(|source| registry::Error::OwnSchema {
            name: schema.name,
            source: Box::new(source),
        })
}

/// Whether a record was written as we would write it, but for fields that came later and are null by
/// default: our types take what is absent for the same.
fn lacks_only_nulls(written: &apache_avro::Schema, own: &apache_avro::Schema) -> bool {
    use apache_avro::Schema;
    let known = match (written, own) {
        (Schema::Record(written), Schema::Record(own)) => {
            let mut known = own.clone();
            known.fields.retain(|field| {
                written.lookup.contains_key(&field.name)
                    || field.default != Some(serde_json::Value::Null)
            });
            Schema::Record(known)
        }
        _ => own.clone(),
    };
    known.canonical_form() == written.canonical_form()
}

/// Schemas are few (as many as ids in the registry) and live as long as the process; leaking them
/// lets readers and writers keep them resolved instead of resolving them again at every datum.
fn leak(schema: apache_avro::Schema) -> &'static apache_avro::Schema {
    Box::leak(Box::new(schema))
}

/// Splits off the header.
pub fn unframe(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match bytes {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => Err(DecodeError::Unframed {
            len: bytes.len(),
            first: bytes.first().copied(),
        }),
    }
}

// === impl Last ===

impl<R> Default for Last<R> {
    fn default() -> Last<R> {
        Last(None)
    }
}

impl<R> fmt::Debug for Last<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0.as_ref().map(|(id, ..)| id);
        f.debug_tuple("Last").field(&id).finish()
    }
}

// === impl Datum ===

impl Datum<'_> {
    /// Every reader of every topic comes through here: older schemas have become today's behind it,
    /// and what must not be seen any more is to be taken out here.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        let name = || self.reader.name.clone();
        let bad = |cause: String| DecodeError::Datum {
            name: name(),
            cause,
        };
        let (record, left) = match &self.reader.how {
            How::Straight(schema) => {
                let mut state = DeserializerState::from_slice(self.bytes, schema);
                let record =
                    T::deserialize(state.deserializer()).map_err(|error| bad(error.to_string()))?;
                (record, state.into_reader().bytes().count())
            }
            How::Resolved(datum) => {
                let mut rest = self.bytes;
                let record = datum
                    .read_value(&mut rest)
                    .and_then(|value| apache_avro::from_value(&value))
                    .map_err(|error| bad(error.to_string()))?;
                (record, rest.len())
            }
        };
        if left > 0 {
            return Err(DecodeError::Trailing { name: name(), left });
        }
        Ok(record)
    }
}

impl fmt::Debug for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datum({}, {} bytes)", self.reader.name, self.bytes.len())
    }
}
