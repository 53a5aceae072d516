//! One picture of a broadcast: the publisher's own, or one that is made of it. Its window, and those
//! who wait for what comes next.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lemonair_schemas::{EventId, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::hls::{Settings, Superseded, Window};
use crate::packager::Piece;

#[derive(Debug)]
pub(crate) struct Rendition {
    /// In the names of all its files. Not the broadcast's id: after a crash a broadcast goes on with
    /// other renditions, and their names must be others.
    pub(crate) id: EventId,
    /// Held for moments only: to add a piece, or to take out shared bytes.
    window: Mutex<Window>,
    /// Wakes those who wait for what comes next.
    progress: watch::Sender<()>,
}

// === impl Rendition ===

impl Rendition {
    pub(crate) fn new(settings: Settings) -> Rendition {
        let id = EventId::new();
        Rendition {
            id,
            window: Mutex::new(Window::new(id, settings)),
            progress: watch::Sender::new(()),
        }
    }

    /// A publisher begins; where on the line its first frame goes.
    pub(crate) fn begin(&self, publisher: u64) -> Duration {
        let start = self.window().begin(publisher);
        self.progress.send_replace(());
        start
    }

    pub(crate) fn push(
        &self,
        publisher: u64,
        pieces: Vec<Piece>,
        now: Timestamp,
    ) -> Result<(), Superseded> {
        self.window().push(publisher, pieces, now)?;
        self.progress.send_replace(());
        Ok(())
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

    /// Changes whenever the window does.
    pub(crate) fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        // A panic elsewhere leaves a window that is whole: nothing in it is left half-done.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
