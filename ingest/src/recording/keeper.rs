//! Looks after all recordings of this ingest: tells of them, finishes those whose broadcast is over,
//! and takes away what somebody has deleted, what is too old, and what is too much.
//!
//! It looks at what there is each time anew, so that it goes on wherever an earlier run has ended.

mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lemonair_schemas::{EventId, Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Recordings, Retention, journal};
use crate::{Backstage, Recorded, RecordingNews};

#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) recordings: Recordings,
    pub(crate) backstage: Arc<dyn Backstage>,
    /// Which ingest this is.
    pub(crate) ingest: String,
    pub(crate) retention: Retention,
    pub(crate) journals: PathBuf,
    /// How often it looks if there is no news.
    pub(crate) interval: Duration,
}

/// Recordings that are asked about at once.
const MOST: usize = 200;
/// Before it looks again at what was not ready.
const SOON: Duration = Duration::from_secs(1);
/// Whether there is something that was not ready yet.
type Unready = bool;

// === impl Keeper ===

impl Keeper {
    /// Takes up what an earlier run was writing when it died, before anything new begins.
    pub(crate) async fn recover(&self) {
        if let Err(error) = journal::recover(&self.journals, &self.recordings).await {
            tracing::error!(
                "failed to take up the end of a recording, it is tried again at the next start: {error:#}"
            );
        }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        // Apart, so that a store that is away keeps nothing else waiting.
        let work = async { tokio::join!(self.keep_folder(), self.keep_store()) };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = work => {}
        }
    }

    async fn keep_folder(&self) {
        loop {
            let pause = match self.sweep(Timestamp::now()).await {
                Ok(false) => self.interval,
                Ok(true) => SOON.min(self.interval),
                Err(error) => {
                    tracing::warn!("failed to look after the recordings: {error:#}");
                    self.interval
                }
            };
            tokio::select! {
                () = self.recordings.news.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn sweep(&self, now: Timestamp) -> anyhow::Result<Unready> {
        let streams = self.recordings.streams().await?;
        let known = self.known(&streams).await?;
        let mut unready = streams.iter().any(|stream| {
            let unknown = !known.iter().any(|recorded| recorded.stream == *stream);
            unknown && self.recordings.is_being_made(*stream)
        });
        let mut whole = Vec::new();
        for recorded in known {
            if recorded.deleted {
                self.recordings.delete(recorded.stream).await?;
                tracing::info!(room = %recorded.room, stream = %recorded.stream, "recording deleted");
            } else if recorded.ingest == self.ingest {
                unready |= self.tell(&recorded).await?;
                whole.push(recorded);
            }
        }
        // With those in a store it is done together.
        if self.recordings.store.is_none() {
            unready |= self.expire(whole, now).await?;
        }
        Ok(unready)
    }

    async fn known(&self, streams: &[EventId]) -> anyhow::Result<Vec<Recorded>> {
        let mut known = Vec::with_capacity(streams.len());
        for some in streams.chunks(MOST) {
            known.extend(self.backstage.recorded(some).await?);
        }
        Ok(known)
    }

    /// Tells of those that have to go; who looks next takes them away.
    async fn expire(&self, kept: Vec<Recorded>, now: Timestamp) -> anyhow::Result<Unready> {
        let whole = kept.into_iter();
        let whole = whole.filter_map(|recorded| recorded.bytes.map(|bytes| (recorded, bytes)));
        let expired = expired(whole.collect(), &self.retention, now);
        for recorded in &expired {
            tracing::info!(room = %recorded.room, stream = %recorded.stream, "recording is too old, or there are too many");
            let news = RecordingNews::Expired;
            self.backstage
                .tell_recording(&recorded.room, recorded.stream, news)
                .await?;
        }
        Ok(!expired.is_empty())
    }

    /// Tells that a recording is being made, and once it is whole, how much it is.
    async fn tell(&self, recorded: &Recorded) -> anyhow::Result<Unready> {
        let stream = recorded.stream;
        let news = match (recorded.ended_at, recorded.bytes) {
            (_, Some(_)) => return Ok(false),
            // Its last segments are under way.
            (Some(_), None) if self.recordings.is_being_made(stream) => return Ok(true),
            (Some(_), None) => match self.finish(stream).await? {
                // Nobody was told of it, so nobody waits for it.
                RecordingNews::Expired if !recorded.begun => {
                    self.recordings.delete(stream).await?;
                    return Ok(false);
                }
                news => news,
            },
            // Made no more, it is about to be known as over.
            (None, None) if recorded.begun => return Ok(!self.recordings.is_being_made(stream)),
            (None, None) => RecordingNews::Begun,
        };
        self.backstage
            .tell_recording(&recorded.room, stream, news)
            .await?;
        if matches!(news, RecordingNews::Whole { .. }) {
            self.recordings.whole.notify_one();
        }
        // One of which nothing is left is taken away when it is known.
        Ok(news == RecordingNews::Expired)
    }

    async fn finish(&self, stream: EventId) -> anyhow::Result<RecordingNews> {
        let segments = self.recordings.finish(stream).await?;
        Ok(match segments.first() {
            Some(first) => RecordingNews::Whole {
                begins: first.name.begins,
                duration: segments.iter().map(|segment| segment.name.duration).sum(),
                bytes: segments.iter().map(|segment| segment.len).sum(),
            },
            // No segment could be written.
            None => {
                tracing::warn!(%stream, "nothing of the recording could be written");
                RecordingNews::Expired
            }
        })
    }
}

/// Which have to go: those that are too old, and then the oldest until the rest is not too much.
pub(super) fn expired(
    mut whole: Vec<(Recorded, u64)>,
    retention: &Retention,
    now: Timestamp,
) -> Vec<Recorded> {
    whole.sort_by_key(|(recorded, _)| (recorded.started_at, recorded.stream));
    let mut bytes: u64 = whole.iter().map(|(_, bytes)| bytes).sum();
    let mut expired = Vec::new();
    for (recorded, len) in whole {
        let age = now.since(recorded.ended_at.unwrap_or(now));
        let is_old = retention.age.is_some_and(|most| age > most);
        let is_much = retention.bytes.is_some_and(|most| bytes > most);
        if is_old || is_much {
            bytes -= len;
            expired.push(recorded);
        }
    }
    expired
}
