//! The schema registry, with a cache on disk so that known schemas outlive its absence.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dashmap::DashMap;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::Schema;

/// A Confluent-compatible registry.
#[derive(Debug)]
pub struct Registry {
    url: String,
    settings: SrSettings,
    http: reqwest::Client,
    /// The topics' prefix in Kafka, which subjects carry too.
    prefix: String,
    cache: Cache,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("schema registry {url} does not answer ({cause}); start it, or set registry_url")]
    Unreachable { url: String, cause: String },
    #[error("schema registry refuses {subject}: {cause}")]
    Refused { subject: String, cause: String },
    #[error("our own schema {name} is not valid: {source}")]
    OwnSchema {
        name: &'static str,
        source: Box<apache_avro::Error>,
    },
    #[error("schema cache {path}: {source}")]
    Cache { path: PathBuf, source: io::Error },
}

/// Schemas by id: in memory, and one file each on disk. A registry never changes the schema of an
/// id, so an entry is good for ever; errors are never kept.
#[derive(Debug)]
struct Cache {
    folder: Option<PathBuf>,
    known: DashMap<u32, Known>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    id: u32,
    /// The subject under which we registered it, if we did.
    subject: Option<String>,
    schema: String,
}

// === impl Registry ===

impl Registry {
    /// `folder` keeps known schemas over restarts; they are told apart by the registry's URL.
    pub fn open(url: &str, prefix: &str, folder: Option<&Path>) -> Result<Registry, Error> {
        let url = url.trim_end_matches('/').to_owned();
        let unreachable = |cause: String| Error::Unreachable {
            url: url.clone(),
            cause,
        };
        let settings = SrSettings::new_builder(url.clone())
            .set_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| unreachable(error.to_string()))?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| unreachable(error.to_string()))?;
        let folder = folder.map(|folder| folder.join(&hex(&Sha256::digest(&url))[..16]));
        Ok(Registry {
            settings,
            http,
            prefix: prefix.to_owned(),
            cache: Cache::open(folder)?,
            url,
        })
    }

    /// The subject of a record: its topic in Kafka and its full name (`TopicRecordNameStrategy`).
    pub fn subject(&self, schema: &Schema) -> String {
        format!("{}-{}", schema.topic.in_kafka(&self.prefix), schema.name)
    }

    /// Registers a schema and returns its id. The registry refuses what could not read all older
    /// versions; when it is down, a schema that was registered before is still known.
    pub async fn register(&self, schema: &Schema) -> Result<u32, Error> {
        let subject = self.subject(schema);
        match self.post(&subject, schema.avsc).await {
            Ok(id) => {
                let known = Known {
                    id,
                    subject: Some(subject),
                    schema: schema.avsc.to_owned(),
                };
                self.cache.keep(known)?;
                Ok(id)
            }
            Err(error @ Error::Unreachable { .. }) => {
                self.cache.id_of(&subject, schema.avsc).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn post(&self, subject: &str, avsc: &str) -> Result<u32, Error> {
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, avsc.to_owned());
        // The level must stand before the first version does, or the first change goes unchecked.
        let level = serde_json::json!({ "compatibility": "BACKWARD_TRANSITIVE" });
        self.http
            .put(format!("{}/config/{subject}", self.url))
            .json(&level)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| match error.status() {
                Some(_) => self.refused(subject, &error.to_string()),
                None => self.unreachable(&error.to_string()),
            })?;
        match post_schema(&self.settings, subject.to_owned(), supplied).await {
            Ok(registered) => Ok(registered.id),
            Err(error) if is_refusal(&error) => Err(self.refused(subject, &error.to_string())),
            Err(error) => Err(self.unreachable(&error.to_string())),
        }
    }

    /// The schema with this id, or `None` if the registry answers that there is none.
    pub async fn schema(&self, id: u32) -> Result<Option<String>, Error> {
        if let Some(known) = self.cache.known.get(&id) {
            return Ok(Some(known.schema.clone()));
        }
        match get_schema_by_id(id, &self.settings).await {
            Ok(registered) => {
                let schema = registered.schema;
                self.cache.keep(Known {
                    id,
                    subject: None,
                    schema: schema.clone(),
                })?;
                Ok(Some(schema))
            }
            Err(error) if is_refusal(&error) => Ok(None),
            Err(error) => Err(self.unreachable(&error.to_string())),
        }
    }

    /// Whether the registry answers.
    pub async fn ping(&self) -> Result<(), Error> {
        let answer = self.http.get(format!("{}/subjects", self.url)).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.unreachable(&error.to_string())),
        }
    }

    fn unreachable(&self, cause: &str) -> Error {
        Error::Unreachable {
            url: self.url.clone(),
            cause: cause.to_owned(),
        }
    }

    fn refused(&self, subject: &str, cause: &str) -> Error {
        Error::Refused {
            subject: subject.to_owned(),
            cause: cause.to_owned(),
        }
    }
}

/// The registry itself said no. The crate tells it from a fault only in words.
fn is_refusal(error: &SRCError) -> bool {
    let text = error.to_string();
    ["404", "409", "422"]
        .iter()
        .any(|status| text.contains(&format!("failed with status {status}")))
}

// === impl Cache ===

impl Cache {
    fn open(folder: Option<PathBuf>) -> Result<Cache, Error> {
        let known = DashMap::new();
        if let Some(folder) = &folder {
            let fault = |source| Error::Cache {
                path: folder.clone(),
                source,
            };
            std::fs::create_dir_all(folder).map_err(fault)?;
            for entry in std::fs::read_dir(folder).map_err(fault)? {
                let path = entry.map_err(fault)?.path();
                // A file that was cut short by a crash is as good as none.
                if let Ok(text) = std::fs::read_to_string(&path)
                    && let Ok(entry) = serde_json::from_str::<Known>(&text)
                {
                    known.insert(entry.id, entry);
                }
            }
        }
        Ok(Cache { folder, known })
    }

    fn id_of(&self, subject: &str, schema: &str) -> Option<u32> {
        let same =
            |known: &Known| known.subject.as_deref() == Some(subject) && known.schema == schema;
        self.known
            .iter()
            .find(|known| same(known))
            .map(|known| known.id)
    }

    fn keep(&self, known: Known) -> Result<(), Error> {
        if let Some(folder) = &self.folder {
            let path = folder.join(format!("{}.json", known.id));
            let fault = |source| Error::Cache {
                path: path.clone(),
                source,
            };
            let json = serde_json::to_vec_pretty(&known).map_err(|error| fault(error.into()))?;
            std::fs::write(&path, json).map_err(fault)?;
        }
        self.known.insert(known.id, known);
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
