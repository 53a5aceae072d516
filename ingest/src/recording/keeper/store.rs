//! Brings what is whole to the store, and takes from there what nobody shall have any more.
//!
//! A file is in the folder or in the store, and what is in the folder is still to be sent: so this
//! goes on wherever an earlier run has ended. Each ingest looks after all that is in the store, as
//! those that made it may be gone.

use std::collections::HashSet;

use lemonair_schemas::Timestamp;
use tokio::time::sleep;

use super::{Keeper, SOON, Unready};
use crate::Recorded;
use crate::recording::Store;

impl Keeper {
    pub(super) async fn keep_store(&self) {
        let Some(store) = &self.recordings.store else {
            return;
        };
        let mut is_well = true;
        loop {
            let brought = self.bring(store, Timestamp::now()).await;
            match &brought {
                Ok(_) if is_well => {}
                Ok(_) => tracing::info!("recordings go to their store again"),
                Err(error) => {
                    metrics::counter!("lemonair_recording_store_errors_total").increment(1);
                    if is_well {
                        tracing::error!(
                            "recordings wait on disk, as they cannot be brought to their store: {error:#}"
                        );
                    }
                }
            }
            is_well = brought.is_ok();
            metrics::gauge!("lemonair_recordings_aside_bytes").set(self.recordings.aside() as f64);
            let pause = if brought.unwrap_or(false) {
                SOON.min(self.interval)
            } else {
                self.interval
            };
            tokio::select! {
                () = self.recordings.whole.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// What goes makes room for what comes, and what fails keeps nothing else waiting.
    async fn bring(&self, store: &Store, now: Timestamp) -> anyhow::Result<Unready> {
        let waiting = self.known(&self.recordings.streams().await?).await?;
        let there = self.known(&store.streams().await?).await?;
        let mut done = Ok(());
        for recorded in there.iter().filter(|recorded| recorded.deleted) {
            let deleted = store.delete(recorded.stream).await;
            if deleted.is_ok() {
                tracing::info!(room = %recorded.room, stream = %recorded.stream, "recording deleted from the store");
            }
            done = done.and(deleted);
        }
        let mut kept = [&waiting[..], &there].concat();
        let mut seen = HashSet::new();
        kept.retain(|recorded| !recorded.deleted && seen.insert(recorded.stream));
        let expired = self.expire(kept, now).await;
        // What has expired may be among those that wait; it is known when they are looked at next.
        if !matches!(expired, Ok(true)) {
            let whole = |recorded: &&Recorded| recorded.bytes.is_some() && !recorded.deleted;
            for recorded in waiting.iter().filter(whole) {
                let sent = self.recordings.send(store, recorded.stream).await;
                if sent.is_ok() {
                    tracing::info!(room = %recorded.room, stream = %recorded.stream, "recording is in the store");
                }
                done = done.and(sent);
            }
        }
        done?;
        expired
    }
}
