//! What waits to be sent to one connection. Bounded in bytes: a connection that does not take its
//! frames is closed with 4508 and comes back with its cursor; nothing is skipped in between.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;

/// Bytes that may wait. A viewer of a busy room reads far more than this in a second.
const LIMIT: usize = 256 * 1024;

#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    /// Frames came, or the limit was passed.
    stirred: Notify,
    overflowed: Notify,
    barred: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    overflowed: bool,
}

impl Outbox {
    pub(crate) fn push(&self, frame: Utf8Bytes) {
        let mut waiting = self.lock();
        if waiting.overflowed {
            return;
        }
        waiting.bytes += frame.len();
        // One frame may be larger than the limit: the history of a room, for instance.
        if waiting.bytes > LIMIT && !waiting.frames.is_empty() {
            waiting.overflowed = true;
            waiting.frames.clear();
            self.overflowed.notify_one();
        } else {
            waiting.frames.push_back(frame);
        }
        drop(waiting);
        self.stirred.notify_one();
    }

    /// Waits until there is something to do.
    pub(crate) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Waits until the connection has fallen too far behind.
    pub(crate) async fn overflowed(&self) {
        self.overflowed.notified().await;
    }

    /// Whose it is was banned from a room.
    pub(crate) fn bar(&self) {
        self.barred.notify_one();
    }

    /// Waits until whose it is was banned.
    pub(crate) async fn barred(&self) {
        self.barred.notified().await;
    }

    /// All that waits, or `None` if it was too much.
    pub(crate) fn take(&self) -> Option<VecDeque<Utf8Bytes>> {
        let mut waiting = self.lock();
        if waiting.overflowed {
            return None;
        }
        waiting.bytes = 0;
        Some(std::mem::take(&mut waiting.frames))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
