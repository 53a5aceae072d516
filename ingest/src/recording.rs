//! Broadcasts kept: the same segments as live, in a folder; once whole, in a store if there is one.
//!
//! A segment's name tells all that its playlist says of it, so the names are the list, and there is
//! no index that a crash could leave behind. A recording that is whole has its playlist beside it.
//!
//! ```text
//! {stream}/{session}-init0.mp4
//! {stream}/{session}-17-1700000000000-2000-0.m4s      number, date, duration, init segment
//! {stream}/index.m3u8                                 when it is whole
//! {stream}/thumbnail.jpg
//! ```

mod folder;
mod journal;
mod keeper;
mod name;
mod playlist;
mod recorder;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use lemonair_schemas::EventId;
use tokio::sync::Notify;

use folder::Folder;
pub(crate) use journal::Journal;
pub(crate) use keeper::Keeper;
pub(crate) use name::Name;
pub(crate) use recorder::Recorder;
pub use store::Store;

/// How long recordings stay.
#[derive(Debug, Clone)]
pub struct Retention {
    /// `None` for ever.
    pub age: Option<Duration>,
    /// Of all recordings of one ingest, or in the store; the oldest go first. `None` for any number.
    pub bytes: Option<u64>,
}

/// All recordings that can be reached from here. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recordings {
    folder: Arc<Folder>,
    store: Option<Store>,
    /// Those that are being made here.
    making: Arc<Mutex<HashMap<EventId, Vec<Segment>>>>,
    /// Wakes the keeper.
    news: Arc<Notify>,
    /// Wakes who brings them to the store.
    whole: Arc<Notify>,
}

/// A segment that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: Name,
    pub(crate) len: u64,
}

const PLAYLIST: &str = "index.m3u8";
pub(crate) const THUMBNAIL: &str = "thumbnail.jpg";
/// Files on their way to the store at once.
const AT_ONCE: usize = 4;

// === impl Recordings ===

impl Recordings {
    /// Fails if the folder cannot be made. A store may be away.
    pub fn open(folder: PathBuf, store: Option<Store>) -> io::Result<Recordings> {
        Ok(Recordings {
            folder: Arc::new(Folder::open(folder)?),
            store,
            making: Arc::default(),
            news: Arc::default(),
            whole: Arc::default(),
        })
    }

    /// `GET /recordings/{stream}/index.m3u8` and what it names.
    pub fn router(&self) -> Router {
        crate::http::recordings::router(self.clone())
    }

    /// Begins or goes on with a recording: it has what an earlier run has left.
    pub(crate) async fn begin(&self, stream: EventId) -> io::Result<()> {
        let segments = self.list(stream).await?;
        self.making().insert(stream, segments);
        Ok(())
    }

    /// Nothing more will be added from here.
    pub(crate) fn end(&self, stream: EventId) {
        self.making().remove(&stream);
        self.news.notify_one();
    }

    pub(crate) fn is_being_made(&self, stream: EventId) -> bool {
        self.making().contains_key(&stream)
    }

    pub(crate) async fn put_segment(
        &self,
        stream: EventId,
        name: Name,
        parts: Vec<Bytes>,
    ) -> io::Result<()> {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        if let Some(most) = self.store.as_ref().and_then(|store| store.aside)
            && self.aside() + len > most
        {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "{} MiB of recordings are on disk for their store, as many as may be",
                    most >> 20
                ),
            ));
        }
        self.folder.put(stream, &name.to_string(), parts).await?;
        let mut making = self.making();
        if let Some(segments) = making.get_mut(&stream) {
            segments.push(Segment { name, len });
            if segments.len() == 1 {
                self.news.notify_one();
            }
        }
        Ok(())
    }

    pub(crate) async fn put(&self, stream: EventId, file: &str, bytes: Bytes) -> io::Result<()> {
        self.folder.put(stream, file, vec![bytes]).await
    }

    /// A file of a recording; `NotFound` if there is none.
    pub(crate) async fn get(&self, stream: EventId, file: &str) -> io::Result<Bytes> {
        let found = self.folder.get(stream, file).await;
        match self.elsewhere(&found) {
            Some(store) => store.get(stream, file).await,
            None => found,
        }
    }

    pub(crate) async fn len(&self, stream: EventId, file: &str) -> io::Result<u64> {
        let found = self.folder.len(stream, file).await;
        match self.elsewhere(&found) {
            Some(store) => store.len(stream, file).await,
            None => found,
        }
    }

    pub(crate) async fn read(
        &self,
        stream: EventId,
        file: &str,
        range: Range<u64>,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let found = self.folder.read(stream, file, range.clone()).await;
        match self.elsewhere(&found) {
            Some(store) => store.read(stream, file, range).await,
            None => Ok(stream::iter([Ok(found?)]).boxed()),
        }
    }

    /// What is kept of a broadcast, in order.
    pub(crate) async fn segments(&self, stream: EventId) -> io::Result<Vec<Segment>> {
        if let Some(segments) = self.making().get(&stream) {
            return Ok(segments.clone());
        }
        self.list(stream).await
    }

    async fn list(&self, stream: EventId) -> io::Result<Vec<Segment>> {
        let files = self.folder.files(stream).await?;
        let segment = |(name, len): (String, u64)| {
            Some(Segment {
                name: name.parse().ok()?,
                len,
            })
        };
        let mut segments: Vec<Segment> = files.into_iter().filter_map(segment).collect();
        segments.sort_by_key(|segment| (segment.name.session, segment.name.number));
        Ok(segments)
    }

    /// The playlist as it stands, and whether it will stay so. `None` if nothing is kept.
    pub(crate) async fn playlist(&self, stream: EventId) -> io::Result<Option<(Bytes, bool)>> {
        match self.folder.get(stream, PLAYLIST).await {
            Ok(text) => return Ok(Some((text, true))),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
        let segments = self.segments(stream).await?;
        if !segments.is_empty() {
            return Ok(Some((playlist::write(&segments, false).into(), false)));
        }
        let Some(store) = &self.store else {
            return Ok(None);
        };
        match store.get(stream, PLAYLIST).await {
            Ok(text) => Ok(Some((text, true))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the playlist that will stay; what it lists.
    async fn finish(&self, stream: EventId) -> io::Result<Vec<Segment>> {
        let segments = self.list(stream).await?;
        if !segments.is_empty() {
            let text = playlist::write(&segments, true);
            self.put(stream, PLAYLIST, text.into()).await?;
        }
        Ok(segments)
    }

    /// All broadcasts of which there is something.
    async fn streams(&self) -> io::Result<Vec<EventId>> {
        self.folder.streams().await
    }

    async fn delete(&self, stream: EventId) -> io::Result<()> {
        self.folder.delete(stream).await
    }

    /// Brings one that is whole to the store, its playlist last.
    async fn send(&self, store: &Store, stream: EventId) -> io::Result<()> {
        let files = self.folder.files(stream).await?;
        let files = files.into_iter().filter(|(name, _)| name != PLAYLIST);
        stream::iter(files.map(Ok))
            .try_for_each_concurrent(AT_ONCE, async |(name, len)| {
                self.send_file(store, stream, &name).await?;
                self.folder.remove(stream, &name, len).await
            })
            .await?;
        self.send_file(store, stream, PLAYLIST).await?;
        self.folder.delete(stream).await
    }

    async fn send_file(&self, store: &Store, stream: EventId, file: &str) -> io::Result<()> {
        match self.folder.get(stream, file).await {
            Ok(bytes) => store.put(stream, file, bytes).await,
            // Somebody has deleted it meanwhile.
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The store, if there is one and the folder has no such file.
    fn elsewhere<T>(&self, found: &io::Result<T>) -> Option<&Store> {
        let error = found.as_ref().err()?;
        self.store.as_ref().filter(|_| is_absent(error))
    }

    /// Bytes that are in the folder.
    fn aside(&self) -> u64 {
        self.folder.bytes()
    }

    fn making(&self) -> MutexGuard<'_, HashMap<EventId, Vec<Segment>>> {
        // Nothing in it is ever left half-done.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
