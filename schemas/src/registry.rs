//! The schema registry, with a cache on disk so that known schemas outlive its absence.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dashmap::DashMap;
use futures::future::try_join_all;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SuppliedSchema};
use serde::de::DeserializeOwned;
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
    /// The subjects under which we registered it; deployments may share a registry.
    #[serde(default)]
    subjects: BTreeSet<String>,
    schema: String,
}

/// What the registry has of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    pub name: String,
    pub versions: Vec<u32>,
    /// Of the newest version.
    pub id: u32,
    pub schema: String,
    /// What a new version must be, such as `BACKWARD_TRANSITIVE`.
    pub compatibility: String,
}

#[derive(Deserialize)]
struct Newest {
    id: u32,
    schema: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    compatibility_level: String,
}

/// Subjects that are asked about, or written, at once: a registry on a busy machine takes them one after
/// the other, and the last of many would wait too long.
const AT_ONCE: usize = 8;

/// Asks for all of them in their order, no more than [`AT_ONCE`] at a time.
pub(crate) async fn at_once<'a, T, A, F>(
    all: &'a [T],
    ask: impl Fn(&'a T) -> F,
) -> Result<Vec<A>, Error>
where
    F: Future<Output = Result<A, Error>>,
{
    let mut answers = Vec::with_capacity(all.len());
    for some in all.chunks(AT_ONCE) {
        answers.extend(try_join_all(some.iter().map(&ask)).await?);
    }
    Ok(answers)
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
            .set_timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| unreachable(error.to_string()))?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(15))
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

    /// Whether it has answered before, here or in an earlier process.
    pub(crate) fn is_known(&self) -> bool {
        !self.cache.known.is_empty()
    }

    /// Registers a schema and returns its id. The registry refuses what could not read all older
    /// versions; when it is down, a schema that was registered before is still known.
    pub async fn register(&self, schema: &Schema) -> Result<u32, Error> {
        let subject = self.subject(schema);
        match self.post(&subject, schema.avsc).await {
            Ok(id) => {
                self.cache.keep(id, Some(subject), schema.avsc)?;
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
                Some(status) if status.is_client_error() => {
                    self.refused(subject, &error.to_string())
                }
                _ => self.unreachable(&root(&error)),
            })?;
        match post_schema(&self.settings, subject.to_owned(), supplied).await {
            Ok(registered) => Ok(registered.id),
            Err(error) if is_refusal(&error) => Err(self.refused(subject, &cause(&error))),
            Err(error) => Err(self.unreachable(&cause(&error))),
        }
    }

    /// The schema with this id, or `None` if the registry answers that there is none.
    pub async fn schema(&self, id: u32) -> Result<Option<String>, Error> {
        if let Some(known) = self.cache.known.get(&id) {
            return Ok(Some(known.schema.clone()));
        }
        match get_schema_by_id(id, &self.settings).await {
            Ok(registered) => {
                // Records are readable without it; only a restart while the registry is away is not.
                if let Err(error) = self.cache.keep(id, None, &registered.schema) {
                    tracing::warn!(%error, id, "a schema is not kept for later");
                }
                Ok(Some(registered.schema))
            }
            Err(error) if is_refusal(&error) => {
                self.check_memory().await?;
                Ok(None)
            }
            Err(error) => Err(self.unreachable(&cause(&error))),
        }
    }

    /// A registry that has not yet read its own journal denies every schema; to believe it would be
    /// to take good records for bad ones. So it is asked for one that it must have; where we have
    /// registered none, whoever wrote the records has.
    async fn check_memory(&self) -> Result<(), Error> {
        let Some(id) = self.cache.registered() else {
            let subjects: Vec<String> = self.read("subjects").await?;
            return if subjects.is_empty() {
                Err(self.unreachable("it knows no schema at all"))
            } else {
                Ok(())
            };
        };
        match get_schema_by_id(id, &self.settings).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.unreachable(&format!("it does not know schema id {id} any more"))),
        }
    }

    /// Whether the registry answers.
    pub async fn ping(&self) -> Result<(), Error> {
        let answer = self.http.get(format!("{}/subjects", self.url)).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.unreachable(&root(&error))),
        }
    }

    /// What it has of these subjects. It is not asked which there are: deployments may share it, and
    /// some registries list no more than their first thousand.
    pub async fn subjects(&self, names: &[String]) -> Result<Vec<Subject>, Error> {
        let mut subjects = at_once(names, |name| self.describe(name)).await?;
        subjects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(subjects)
    }

    async fn describe(&self, name: &str) -> Result<Subject, Error> {
        let versions: Vec<u32> = self.read(&format!("subjects/{name}/versions")).await?;
        let newest: Newest = self
            .read(&format!("subjects/{name}/versions/latest"))
            .await?;
        let config: Config = self.read(&format!("config/{name}")).await?;
        Ok(Subject {
            name: name.to_owned(),
            versions,
            id: newest.id,
            schema: newest.schema,
            compatibility: config.compatibility_level,
        })
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.http.get(format!("{}/{path}", self.url)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let unreachable = |error: reqwest::Error| self.unreachable(&root(&error));
        answer
            .map_err(unreachable)?
            .json()
            .await
            .map_err(unreachable)
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
    ["404", "409", "422"].iter().any(|status| {
        error
            .error
            .contains(&format!("failed with status {status}"))
    })
}

/// What the registry said, without the crate's words around it.
fn cause(error: &SRCError) -> String {
    let Some(source) = error.source() else {
        return error.error.clone();
    };
    match source.downcast_ref::<RawError>() {
        Some(said) => said.message.clone(),
        None => root(source),
    }
}

/// The last cause says most: "connection refused", not "error sending request".
fn root(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
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
        let same = |known: &Known| known.subjects.contains(subject) && known.schema == schema;
        self.known
            .iter()
            .find(|known| same(known))
            .map(|known| known.id)
    }

    /// A schema that we registered here or before.
    fn registered(&self) -> Option<u32> {
        self.known
            .iter()
            .filter(|known| !known.subjects.is_empty())
            .map(|known| known.id)
            .max()
    }

    fn keep(&self, id: u32, subject: Option<String>, schema: &str) -> Result<(), Error> {
        let mut known = Known {
            id,
            subjects: BTreeSet::from_iter(subject),
            schema: schema.to_owned(),
        };
        if let Some(before) = self.known.get(&id)
            && before.schema == schema
        {
            known.subjects.extend(before.subjects.iter().cloned());
        }
        self.known.insert(id, known.clone());
        if let Some(folder) = &self.folder {
            let path = folder.join(format!("{id}.json"));
            let fault = |source| Error::Cache {
                path: path.clone(),
                source,
            };
            let json = serde_json::to_vec_pretty(&known).map_err(|error| fault(error.into()))?;
            // Other processes read here too: they see all of it or nothing.
            let new = folder.join(format!("{id}.{}.new", uuid::Uuid::now_v7().simple()));
            std::fs::write(&new, json).map_err(fault)?;
            std::fs::rename(&new, &path).map_err(fault)?;
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
