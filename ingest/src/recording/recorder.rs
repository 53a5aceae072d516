//! Records one broadcast: takes from its window what is whole, and what is not yet into a journal.
//!
//! The window is the queue: a store that is away for less than the window is caught up with, and one
//! that is away for longer leaves a gap. Viewers never wait for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::{Recordings, THUMBNAIL};
use crate::feed::Feed;
use crate::hls::Kept;

#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) recordings: Recordings,
    pub(crate) feed: Arc<Feed>,
    pub(crate) journal: Journal,
    /// The first segment that is not kept.
    next: u64,
    /// The newest init segment that is kept.
    init: Option<u64>,
    pictured: bool,
    begun: bool,
}

/// Before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// So often after the end of the broadcast; then the rest is given up, as it takes memory.
const TRIES: u32 = 300;

// === impl Recorder ===

impl Recorder {
    pub(crate) fn new(recordings: Recordings, feed: Arc<Feed>, journal: Journal) -> Recorder {
        Recorder {
            recordings,
            feed,
            journal,
            next: 0,
            init: None,
            pictured: false,
            begun: false,
        }
    }

    /// Until the broadcast is over and all of it is kept, or until there is no more time.
    pub(crate) async fn run(mut self, abandon: CancellationToken) {
        let stream = self.feed.stream;
        tokio::select! {
            () = self.record() => {
                self.picture().await;
                self.journal.close().await;
            }
            () = abandon.cancelled() => tracing::warn!(%stream, "the end of the recording was left to the next start"),
        }
        self.recordings.end(stream);
    }

    async fn record(&mut self) {
        let source = Arc::clone(&self.feed.source);
        let mut progress = source.progress();
        let mut tries = 0;
        loop {
            progress.borrow_and_update();
            let (whole, open, ended) = {
                let window = source.window();
                (window.whole(self.next), window.open(), window.has_ended())
            };
            let done = match &whole {
                Some(segment) => self.keep(segment).await,
                None => self.note(open).await,
            };
            match done {
                Ok(()) => self.recover(),
                Err(error) => {
                    self.complain(&error);
                    tries += u32::from(ended);
                    if tries > TRIES {
                        return;
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            }
            if whole.is_some() {
                continue;
            }
            if ended || progress.changed().await.is_err() {
                return;
            }
        }
    }

    async fn keep(&mut self, segment: &Kept) -> io::Result<()> {
        let stream = self.feed.stream;
        let number = segment.name.number;
        self.prepare(segment).await?;
        let parts = segment
            .parts
            .iter()
            .map(|part| part.bytes.clone())
            .collect();
        self.recordings
            .put_segment(stream, segment.name, parts)
            .await?;
        if let lost @ 1.. = number - self.next {
            metrics::counter!("lemonair_recording_lost_segments_total").increment(lost);
            tracing::warn!(%stream, lost, "segments are missing in the recording");
        }
        self.next = number + 1;
        self.feed.source.window().mark_recorded(number);
        if !self.pictured {
            self.picture().await;
        }
        Ok(())
    }

    /// Notes down what there is of a segment that may never become whole.
    async fn note(&mut self, open: Option<Kept>) -> io::Result<()> {
        let Some(open) = open else { return Ok(()) };
        self.prepare(&open).await?;
        self.journal.note(self.feed.stream, &open).await
    }

    /// What must be there before the first byte of a segment.
    async fn prepare(&mut self, segment: &Kept) -> io::Result<()> {
        let stream = self.feed.stream;
        if !self.begun {
            self.recordings.begin(stream).await?;
            self.begun = true;
        }
        if self.init != Some(segment.name.init) {
            let file = segment.name.init_file();
            self.recordings
                .put(stream, &file, segment.init.bytes.clone())
                .await?;
            self.init = Some(segment.name.init);
        }
        Ok(())
    }

    /// Keeps the newest thumbnail. Nobody misses it if that fails.
    async fn picture(&mut self) {
        if let Some(thumbnail) = self.feed.thumbnail() {
            let put = self
                .recordings
                .put(self.feed.stream, THUMBNAIL, thumbnail.jpeg);
            self.pictured = put.await.is_ok();
        }
    }

    fn complain(&self, error: &io::Error) {
        metrics::counter!("lemonair_recording_errors_total").increment(1);
        if self.feed.set_recording_fault(Some(error.to_string())) {
            tracing::error!(stream = %self.feed.stream, "the broadcast goes on, but its recording cannot be written: {error}");
        }
    }

    fn recover(&self) {
        if self.feed.set_recording_fault(None) {
            tracing::info!(stream = %self.feed.stream, "the recording goes on");
        }
    }
}
