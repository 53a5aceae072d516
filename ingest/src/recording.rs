//! Broadcasts kept: the same segments as live, in a folder.
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
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::EventId;
use tokio::sync::Notify;

use folder::Folder;
pub(crate) use journal::Journal;
pub(crate) use keeper::Keeper;
pub(crate) use name::Name;
pub(crate) use recorder::Recorder;

/// How long recordings stay.
#[derive(Debug, Clone)]
pub struct Retention {
    /// `None` for ever.
    pub age: Option<Duration>,
    /// Of all recordings of one ingest; the oldest go first. `None` for any number.
    pub bytes: Option<u64>,
}

/// All recordings that can be reached from here. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recordings {
    folder: Arc<Folder>,
    /// Those that are being made here.
    making: Arc<Mutex<HashMap<EventId, Vec<Segment>>>>,
    /// Wakes the keeper.
    news: Arc<Notify>,
}

/// A segment that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: Name,
    pub(crate) len: u64,
}

const PLAYLIST: &str = "index.m3u8";
pub(crate) const THUMBNAIL: &str = "thumbnail.jpg";

// === impl Recordings ===

impl Recordings {
    /// Fails if the folder cannot be made.
    pub fn open(folder: PathBuf) -> io::Result<Recordings> {
        Ok(Recordings {
            folder: Arc::new(Folder::open(folder)?),
            making: Arc::default(),
            news: Arc::default(),
        })
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
        self.folder.get(stream, file).await
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
        match self.get(stream, PLAYLIST).await {
            Ok(text) => return Ok(Some((text, true))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let segments = self.segments(stream).await?;
        let text = (!segments.is_empty()).then(|| playlist::write(&segments, false));
        Ok(text.map(|text| (text.into(), false)))
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

    fn making(&self) -> MutexGuard<'_, HashMap<EventId, Vec<Segment>>> {
        // Nothing in it is ever left half-done.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
