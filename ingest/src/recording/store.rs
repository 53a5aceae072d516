//! Recordings in a bucket: those that are whole, for every process that can reach it.
//!
//! The same files under the same names as in a folder. What has a playlist is there as a whole.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lemonair_schemas::EventId;
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt};
use tokio::time::timeout;

/// Where recordings go once they are whole.
#[derive(Debug, Clone)]
pub struct Store {
    pub bucket: Arc<dyn ObjectStore>,
    /// What stands before every name in it.
    pub within: Key,
    /// Bytes that may lie in our own folder meanwhile, on air or waiting; there are gaps in what is
    /// recorded beyond. `None` for any number.
    pub aside: Option<u64>,
}

/// Viewers are told after so long that it is away.
const PATIENCE: Duration = Duration::from_secs(10);

// === impl Store ===

impl Store {
    pub(super) async fn put(&self, stream: EventId, file: &str, bytes: Bytes) -> io::Result<()> {
        let put = self.bucket.put(&self.key(stream, file), bytes.into()).await;
        put.map(|_| ()).map_err(fault)
    }

    pub(super) async fn get(&self, stream: EventId, file: &str) -> io::Result<Bytes> {
        let key = self.key(stream, file);
        soon(async { self.bucket.get(&key).await?.bytes().await }).await
    }

    pub(super) async fn len(&self, stream: EventId, file: &str) -> io::Result<u64> {
        let key = self.key(stream, file);
        Ok(soon(self.bucket.head(&key)).await?.size)
    }

    /// As it comes, so that no more of it is in memory than a viewer takes at a time.
    pub(super) async fn read(
        &self,
        stream: EventId,
        file: &str,
        range: Range<u64>,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let key = self.key(stream, file);
        let options = GetOptions::new().with_range(Some(range));
        let found = soon(self.bucket.get_opts(&key, options)).await?;
        Ok(found.into_stream().map_err(fault).boxed())
    }

    /// Broadcasts of which there is something.
    pub(super) async fn streams(&self) -> io::Result<Vec<EventId>> {
        let found = self.bucket.list_with_delimiter(Some(&self.within)).await;
        let folders = found.map_err(fault)?.common_prefixes;
        let stream = |folder: Key| folder.filename()?.parse().ok();
        Ok(folders.into_iter().filter_map(stream).collect())
    }

    pub(super) async fn delete(&self, stream: EventId) -> io::Result<()> {
        let folder = self.within.clone().join(stream.to_string());
        let keys = self.bucket.list(Some(&folder));
        let keys = keys.map_ok(|found| found.location).boxed();
        let mut gone = self.bucket.delete_stream(keys);
        while let Some(one) = gone.next().await {
            match one {
                // Another ingest was there first.
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(())
    }

    fn key(&self, stream: EventId, file: &str) -> Key {
        self.within.clone().join(stream.to_string()).join(file)
    }
}

async fn soon<T>(work: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await?.map_err(fault)
}

/// In one line.
fn fault(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    let words = error.to_string();
    let line: Vec<&str> = words.split_whitespace().collect();
    io::Error::new(kind, line.join(" "))
}
