//! Where an export is put: a folder, or a bucket of a store that speaks S3.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use object_store::aws::AmazonS3;
use object_store::buffered::BufWriter;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use parquet::arrow::async_reader::AsyncFileReader;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::bucket::{Bucket, Object, SCHEME, line, say};
use crate::settings::Settings;

pub(crate) struct Place {
    name: String,
    /// Where files are made before they are put here.
    pub(super) aside: PathBuf,
    kind: Kind,
}

enum Kind {
    Folder(PathBuf),
    Bucket { store: Arc<AmazonS3>, within: Key },
}

/// What is sent at a time; a store takes 10,000 such parts of a file.
const PART: usize = 8 * 1024 * 1024;

/// A store that is away for longer ends the export.
const PATIENCE: Duration = Duration::from_secs(60);

impl Place {
    /// `s3://BUCKET/WITHIN`, `file:///FOLDER` or a folder.
    pub(crate) fn open(settings: &Settings, name: &str) -> anyhow::Result<Place> {
        if !name.starts_with(SCHEME) {
            return Ok(Place::folder(name.strip_prefix("file://").unwrap_or(name)));
        }
        let retry = RetryConfig {
            retry_timeout: PATIENCE,
            ..RetryConfig::default()
        };
        let Bucket { store, within } = Bucket::open(settings, name, retry)?;
        let hash = Sha256::digest(name);
        let aside: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Place {
            name: name.to_owned(),
            aside: settings.data_dir.join("exports").join(aside),
            kind: Kind::Bucket { store, within },
        })
    }

    pub(super) fn folder(path: &str) -> Place {
        Place {
            name: path.to_owned(),
            aside: Path::new(path).join(".partial"),
            kind: Kind::Folder(path.into()),
        }
    }

    /// Keeps other exports away from here, for as long as it is held.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        let lock = match &self.kind {
            // The folder itself: a file of ours would lie among what it holds.
            Kind::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("make {}", folder.display()))?;
                File::open(folder)
            }
            Kind::Bucket { .. } => {
                let path = self.aside.with_extension("lock");
                make_folder_of(&path)?;
                File::create(path)
            }
        };
        let lock = lock.with_context(|| format!("lock {self}"))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                bail!("another export into {self} is under way; wait until it has ended")
            }
            // Some file systems of other machines lock no folders: there nobody is kept away.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(lock),
        }
    }

    /// What the file holds, if it is there.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match &self.kind {
            Kind::Folder(folder) => {
                let path = folder.join(name);
                match std::fs::read(&path) {
                    Ok(content) => Ok(Some(content)),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
                }
            }
            Kind::Bucket { store, within } => {
                let read = async { store.get(&key(within, name)).await?.bytes().await };
                match read.await {
                    Ok(content) => Ok(Some(content.into())),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(say(error, &self.name)),
                }
            }
        }
    }

    /// A Parquet file that lies here, of so many bytes; no more of it is read than is asked for.
    pub(crate) async fn open_file(
        &self,
        name: &str,
        size: u64,
    ) -> anyhow::Result<Box<dyn AsyncFileReader>> {
        Ok(match &self.kind {
            Kind::Folder(folder) => Box::new(tokio::fs::File::open(folder.join(name)).await?),
            Kind::Bucket { store, within } => Box::new(Object {
                store: Arc::clone(store),
                key: key(within, name),
                size,
            }),
        })
    }

    /// Puts a file here as a whole: at no time is there a part of it.
    pub(super) async fn write(&self, name: &str, content: Vec<u8>) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Folder(_) => {
                let made = self.make(name)?;
                write(&made, &content).with_context(|| format!("write {}", made.display()))?;
                self.put(name, &AtomicU64::new(0)).await
            }
            Kind::Bucket { store, within } => {
                let put = store.put(&key(within, name), content.into()).await;
                put.map(|_| ()).map_err(|error| say(error, &self.name))
            }
        }
    }

    /// The path at which a file is made that will be put here by this name.
    pub(super) fn make(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.aside.join(name);
        make_folder_of(&path)?;
        Ok(path)
    }

    /// Puts a file here that was made aside; adds to `sent` what of it is on its way.
    pub(super) async fn put(&self, name: &str, sent: &AtomicU64) -> anyhow::Result<()> {
        let made = self.aside.join(name);
        match &self.kind {
            Kind::Folder(folder) => {
                let path = folder.join(name);
                make_folder_of(&path)?;
                std::fs::rename(&made, &path).with_context(|| format!("write {}", path.display()))
            }
            Kind::Bucket { store, within } => {
                let file = tokio::fs::File::open(&made)
                    .await
                    .with_context(|| format!("read {}", made.display()))?;
                let mut file = tokio::io::BufReader::with_capacity(PART, file);
                let store: Arc<dyn ObjectStore> = Arc::<AmazonS3>::clone(store);
                let mut object = BufWriter::with_capacity(store, key(within, name), PART)
                    .with_max_concurrency(1);
                let copy = async {
                    loop {
                        let part = file.fill_buf().await?;
                        if part.is_empty() {
                            return std::io::Result::Ok(());
                        }
                        let length = part.len();
                        object.write_all(part).await?;
                        file.consume(length);
                        sent.fetch_add(length as u64, Ordering::Relaxed);
                    }
                };
                let put = match copy.await {
                    // It takes back what it began if this fails.
                    Ok(()) => object.shutdown().await,
                    Err(error) => {
                        object.abort().await.ok();
                        Err(error)
                    }
                };
                let Err(error) = put else {
                    return Ok(());
                };
                let name = format!("{}/{name}", self.name);
                Err(match error.downcast() {
                    Ok(error) => say(error, &name),
                    Err(error) => anyhow!("write {name}: {}", line(&error)),
                })
            }
        }
    }

    /// Removes a file, if it is there.
    pub(super) async fn remove(&self, name: &str) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Folder(folder) => {
                let path = folder.join(name);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        Err(error).with_context(|| format!("remove {}", path.display()))
                    }
                    _ => Ok(()),
                }
            }
            Kind::Bucket { store, within } => match store.delete(&key(within, name)).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(say(error, &self.name)),
            },
        }
    }

    /// Leaves nothing aside.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.aside.display()))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn key(within: &Key, name: &str) -> Key {
    Key::from(format!("{within}/{name}"))
}

fn make_folder_of(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn one_export_at_a_time_is_let_in() {
        let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
        let place = || Place::folder(folder.to_str().unwrap());
        let lock = place().lock().unwrap();
        let refused = place().lock().unwrap_err().to_string();
        assert!(refused.contains("is under way"), "{refused}");
        drop(lock);
        place().lock().unwrap();
        // It leaves nothing there.
        std::fs::remove_dir(folder).unwrap();
    }
}
