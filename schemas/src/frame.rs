//! What goes over a viewer's connection in Avro instead of JSON. A frame is a union of records, of
//! which each has the JSON's `type` for its full name, and the JSON's fields; the JSON itself stays
//! what decides who sees what.

use std::collections::HashMap;
use std::sync::LazyLock;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{ArraySchema, RecordSchema, UnionSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Map, Value as Json};

use crate::Timestamp;

/// The schema of what clients are told.
pub const FRAMES: &str = include_str!("../avro/frames/Frames.avsc");
/// The schema of what clients ask.
pub const REQUESTS: &str = include_str!("../avro/frames/Requests.avsc");

static OURS: LazyLock<Result<Dialect, Error>> = LazyLock::new(|| Dialect::parse(FRAMES));
static THEIRS: LazyLock<Result<Dialect, Error>> = LazyLock::new(|| Dialect::parse(REQUESTS));

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a schema of frames: {0}")]
    Schema(String),
    #[error("the schema has no place for {0}")]
    Foreign(String),
    #[error("{0}")]
    Datum(Box<apache_avro::Error>),
    #[error("the datum is not whole, or not all there is")]
    Length,
}

/// Frames that a schema describes.
pub struct Dialect {
    schema: &'static apache_avro::Schema,
    named: HashMap<String, &'static apache_avro::Schema>,
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
}

/// A frame up to its list of events, which is its last field.
pub fn head(frame: &Json) -> Result<Vec<u8>, Error> {
    let mut datum = ours()?.write(frame)?;
    // The end of an empty list.
    match datum.pop() {
        Some(0) => Ok(datum),
        _ => Err(foreign(frame)),
    }
}

/// The list of events that a frame ends with.
pub fn list(events: &[Json]) -> Result<Vec<u8>, Error> {
    // The same bytes as in any frame with such a list.
    let none = serde_json::json!({ "type": "events", "room": "", "cursor": "", "events": [] });
    let some = serde_json::json!({ "type": "events", "room": "", "cursor": "", "events": events });
    let head = head(&none)?.len();
    Ok(ours()?.write(&some)?.split_off(head))
}

/// A frame without a list.
pub fn whole(frame: &Json) -> Result<Vec<u8>, Error> {
    ours()?.write(frame)
}

/// What a client asks.
pub fn request(datum: &[u8]) -> Result<Json, Error> {
    let theirs = THEIRS
        .as_ref()
        .map_err(|error| Error::Schema(error.to_string()));
    theirs?.read(datum)
}

fn ours() -> Result<&'static Dialect, Error> {
    let ours = OURS.as_ref();
    ours.map_err(|error| Error::Schema(error.to_string()))
}

fn foreign(json: &Json) -> Error {
    let kind = json["type"].as_str().unwrap_or("what is written");
    Error::Foreign(kind.to_owned())
}

// === impl Dialect ===

impl Dialect {
    pub fn parse(avsc: &str) -> Result<Dialect, Error> {
        let bad = |error: apache_avro::Error| Error::Schema(error.to_string());
        let schema = apache_avro::Schema::parse_str(avsc).map_err(bad)?;
        // One for each side, and it lives as long as the process.
        let schema: &'static apache_avro::Schema = Box::leak(Box::new(schema));
        let mut named = HashMap::new();
        name(schema, &mut named);
        Ok(Dialect {
            schema,
            named,
            writer: GenericDatumWriter::builder(schema).build().map_err(bad)?,
            reader: GenericDatumReader::builder(schema).build().map_err(bad)?,
        })
    }

    pub fn write(&self, json: &Json) -> Result<Vec<u8>, Error> {
        let value = self.value(json, self.schema).ok_or_else(|| foreign(json))?;
        let mut datum = Vec::with_capacity(256);
        let written = self.writer.write_value_ref(&mut datum, &value);
        written.map_err(|error| Error::Datum(Box::new(error)))?;
        Ok(datum)
    }

    pub fn read(&self, datum: &[u8]) -> Result<Json, Error> {
        let datum_error = |error| Error::Datum(Box::new(error));
        let value = self.reader.read_value(&mut &*datum).map_err(datum_error)?;
        // Where a datum is cut off, the reader takes the rest for null.
        let whole = self.writer.write_value_to_vec(value.clone());
        match self.json(value, self.schema) {
            Some(json) if whole.map_err(datum_error)? == datum => Ok(json),
            _ => Err(Error::Length),
        }
    }

    fn resolve<'s>(&'s self, schema: &'s apache_avro::Schema) -> &'s apache_avro::Schema {
        match schema {
            apache_avro::Schema::Ref { name } => self
                .named
                .get(&name.fullname(None))
                .copied()
                .unwrap_or(schema),
            schema => schema,
        }
    }

    /// `None` if the schema has no place for it, or for a part of it.
    fn value(&self, json: &Json, schema: &apache_avro::Schema) -> Option<Value> {
        use apache_avro::Schema;
        Some(match (self.resolve(schema), json) {
            (Schema::Null, Json::Null) => Value::Null,
            (Schema::Boolean, Json::Bool(value)) => Value::Boolean(*value),
            (Schema::Long, Json::Number(value)) => Value::Long(value.as_i64()?),
            (Schema::String, Json::String(value)) => Value::String(value.clone()),
            (Schema::TimestampMillis, Json::String(value)) => {
                Value::TimestampMillis(value.parse::<Timestamp>().ok()?.millis())
            }
            (Schema::Array(ArraySchema { items, .. }), Json::Array(values)) => {
                let values = values.iter().map(|value| self.value(value, items));
                Value::Array(values.collect::<Option<_>>()?)
            }
            (Schema::Record(record), Json::Object(object)) => self.record(object, record)?,
            (Schema::Union(union), json) => {
                let mut variants = union.variants().iter().enumerate();
                variants.find_map(|(index, variant)| {
                    if self.is_tagged(union) && self.tag(variant)? != json["type"].as_str()? {
                        return None;
                    }
                    let value = self.value(json, variant)?;
                    Some(Value::Union(u32::try_from(index).ok()?, Box::new(value)))
                })?
            }
            _ => return None,
        })
    }

    fn record(&self, object: &Map<String, Json>, record: &RecordSchema) -> Option<Value> {
        let known = |name: &String| name == "type" || record.lookup.contains_key(name);
        if !object.keys().all(known) {
            return None;
        }
        let field = |field: &apache_avro::schema::RecordField| {
            let value = object.get(&field.name).unwrap_or(&Json::Null);
            Some((field.name.clone(), self.value(value, &field.schema)?))
        };
        Some(Value::Record(
            record.fields.iter().map(field).collect::<Option<_>>()?,
        ))
    }

    /// `None` if the value is not of the schema, as where a string was cut off.
    fn json(&self, value: Value, schema: &apache_avro::Schema) -> Option<Json> {
        use apache_avro::Schema;
        Some(match (self.resolve(schema), value) {
            (Schema::Null, Value::Null) => Json::Null,
            (Schema::Boolean, Value::Boolean(value)) => value.into(),
            (Schema::Long, Value::Long(value)) => value.into(),
            (Schema::String, Value::String(value)) => value.into(),
            (Schema::TimestampMillis, Value::TimestampMillis(millis)) => {
                Timestamp(millis).to_string().into()
            }
            (Schema::Array(ArraySchema { items, .. }), Value::Array(values)) => {
                let values = values.into_iter().map(|value| self.json(value, items));
                values.collect::<Option<Vec<Json>>>()?.into()
            }
            (Schema::Record(record), Value::Record(fields)) => {
                let mut object = Map::new();
                for (field, (name, value)) in record.fields.iter().zip(fields) {
                    match self.json(value, &field.schema)? {
                        // Absent fields are left out, as everywhere.
                        Json::Null => {}
                        json => drop(object.insert(name, json)),
                    }
                }
                object.into()
            }
            (Schema::Union(union), Value::Union(index, value)) => {
                let variant = union.variants().get(usize::try_from(index).ok()?)?;
                let mut json = self.json(*value, variant)?;
                if self.is_tagged(union) {
                    json["type"] = self.tag(variant)?.into();
                }
                json
            }
            _ => return None,
        })
    }

    /// Whether the variants are told apart by their names.
    fn is_tagged(&self, union: &UnionSchema) -> bool {
        let mut variants = union.variants().iter();
        variants.all(|variant| self.tag(variant).is_some())
    }

    fn tag<'s>(&'s self, schema: &'s apache_avro::Schema) -> Option<&'s str> {
        let apache_avro::Schema::Record(record) = self.resolve(schema) else {
            return None;
        };
        let (name, _) = self.named.get_key_value(&record.name.fullname(None))?;
        Some(name)
    }
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialect").finish_non_exhaustive()
    }
}

/// Finds what is defined anywhere in a schema, by its full name.
fn name(
    schema: &'static apache_avro::Schema,
    named: &mut HashMap<String, &'static apache_avro::Schema>,
) {
    match schema {
        apache_avro::Schema::Record(record) => {
            named.insert(record.name.fullname(None), schema);
            for field in &record.fields {
                name(&field.schema, named);
            }
        }
        apache_avro::Schema::Array(array) => name(&array.items, named),
        apache_avro::Schema::Union(union) => {
            union
                .variants()
                .iter()
                .for_each(|schema| name(schema, named));
        }
        _ => {}
    }
}
