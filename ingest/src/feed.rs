//! What viewers of one broadcast can get, shared between its publisher and HTTP.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::{EventId, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::health::Health;
use crate::hls::{Settings, Superseded, Window};
use crate::packager::{Piece, Still};

#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) stream: EventId,
    /// In the names of all its files. Not the broadcast's id: after a crash a broadcast goes on with
    /// another feed, and its names must be others.
    pub(crate) id: EventId,
    /// Held for moments only: to add a piece, or to take out shared bytes.
    window: Mutex<Window>,
    /// Wakes those who wait for what comes next.
    progress: watch::Sender<()>,
    /// The newest key frame.
    pub(crate) still: watch::Sender<Option<Still>>,
    thumbnail: Mutex<Option<Thumbnail>>,
    /// How the publisher does, while there is one.
    health: Mutex<Option<Health>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thumbnail {
    pub(crate) jpeg: Bytes,
    /// None, where ffmpeg cannot make it.
    pub(crate) webp: Option<Bytes>,
    pub(crate) at: Timestamp,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new(stream: EventId, settings: Settings) -> Feed {
        let id = EventId::new();
        Feed {
            stream,
            id,
            window: Mutex::new(Window::new(id, settings)),
            progress: watch::Sender::new(()),
            still: watch::Sender::new(None),
            thumbnail: Mutex::new(None),
            health: Mutex::new(None),
        }
    }

    pub(crate) fn push(
        &self,
        publisher: u64,
        pieces: Vec<Piece>,
        now: Timestamp,
    ) -> Result<(), Superseded> {
        if pieces.is_empty() {
            return Ok(());
        }
        let still = pieces.iter().rev().find_map(|piece| match piece {
            Piece::Still(still) => Some(still.clone()),
            _ => None,
        });
        self.window().push(publisher, pieces, now)?;
        self.progress.send_replace(());
        if still.is_some() {
            self.still.send_replace(still);
        }
        Ok(())
    }

    /// A publisher begins; where on the line its first frame goes.
    pub(crate) fn begin(&self, publisher: u64) -> Duration {
        let start = self.window().begin(publisher);
        self.progress.send_replace(());
        start
    }

    pub(crate) fn end(&self) {
        self.window().end();
        self.progress.send_replace(());
    }

    /// Looks at the window each time that it changes, until there is an answer. `None`: not in time.
    pub(crate) async fn wait<T>(
        &self,
        mut look: impl FnMut(&mut Window) -> ControlFlow<T>,
    ) -> Option<T> {
        let mut progress = self.progress.subscribe();
        let patience = self.window().patience();
        let answer = async {
            loop {
                if let ControlFlow::Break(answer) = look(&mut self.window()) {
                    return Some(answer);
                }
                progress.changed().await.ok()?;
            }
        };
        timeout(patience, answer).await.ok().flatten()
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        // A panic elsewhere leaves a window that is whole: nothing in it is left half-done.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn health(&self) -> Option<Health> {
        self.health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_health(&self, health: Option<Health>) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    pub(crate) fn thumbnail(&self) -> Option<Thumbnail> {
        self.thumbnail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_thumbnail(&self, thumbnail: Thumbnail) {
        *self
            .thumbnail
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(thumbnail);
    }
}
