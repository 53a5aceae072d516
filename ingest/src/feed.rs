//! What viewers of one broadcast can get, shared between its publisher and HTTP.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lemonair_schemas::{EventId, Timestamp};
use tokio::sync::watch;

use crate::hls::{Settings, Superseded, Window};
use crate::packager::{Piece, Still};

#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) stream: EventId,
    /// Held for moments only: to add a piece, or to take out shared bytes.
    window: Mutex<Window>,
    /// The newest key frame.
    pub(crate) still: watch::Sender<Option<Still>>,
    thumbnail: Mutex<Option<Thumbnail>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thumbnail {
    pub(crate) jpeg: Bytes,
    pub(crate) at: Timestamp,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new(stream: EventId, settings: Settings) -> Feed {
        Feed {
            stream,
            window: Mutex::new(Window::new(stream, settings)),
            still: watch::Sender::new(None),
            thumbnail: Mutex::new(None),
        }
    }

    pub(crate) fn push(&self, publisher: u64, pieces: Vec<Piece>) -> Result<(), Superseded> {
        if pieces.is_empty() {
            return Ok(());
        }
        let still = pieces.iter().rev().find_map(|piece| match piece {
            Piece::Still(still) => Some(still.clone()),
            _ => None,
        });
        self.window().push(publisher, pieces)?;
        if still.is_some() {
            self.still.send_replace(still);
        }
        Ok(())
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        // A panic elsewhere leaves a window that is whole: nothing in it is left half-done.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
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
