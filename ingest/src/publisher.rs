//! A publisher on air: its messages become pieces of its room's feed.

use std::sync::Arc;
use std::time::Duration;

use lemonair_schemas::{RoomId, Timestamp};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::broadcast::{Farewell, PublisherId};
use crate::feed::Feed;
use crate::flv::{self, Unit};
use crate::fmp4;
use crate::hls::Superseded;
use crate::packager::{Cut, Packager};
use crate::rtmp::Media;

/// Dropping it without [`Publisher::leave`] means that its line dropped.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) id: PublisherId,
    pub(crate) room: RoomId,
    /// Another took over, or the process stops: the connection is to be closed.
    pub(crate) dismissed: CancellationToken,
    feed: Arc<Feed>,
    packager: Packager,
    goodbye: Option<oneshot::Sender<Farewell>>,
    /// A stream that is broken throughout is not logged throughout.
    complained: bool,
}

/// Why a publisher cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} is not supported yet; set the encoder to H.264 and AAC")]
    Unsupported(String),
    #[error(transparent)]
    Superseded(#[from] Superseded),
    #[error(transparent)]
    Mp4(#[from] fmp4::Error),
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn new(
        id: PublisherId,
        room: RoomId,
        feed: Arc<Feed>,
        cut: Cut,
        start: Duration,
        dismissed: CancellationToken,
        goodbye: oneshot::Sender<Farewell>,
    ) -> Publisher {
        let start = i64::try_from(start.as_millis()).unwrap_or(0);
        let packager = Packager::new(cut, start);
        metrics::gauge!("lemonair_ingest_publishers").increment(1.0);
        Publisher {
            id,
            room,
            dismissed,
            feed,
            packager,
            goodbye: Some(goodbye),
            complained: false,
        }
    }

    pub(crate) fn media(&mut self, media: &Media) -> Result<(), Error> {
        let unit = match flv::parse(media) {
            Ok(Unit::Unsupported(codec)) => return Err(Error::Unsupported(codec)),
            Ok(unit) => unit,
            Err(error) => {
                metrics::counter!("lemonair_ingest_dropped_frames_total", "cause" => "malformed")
                    .increment(1);
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(room = %self.room, publisher = self.id, "malformed media dropped: {error}");
                }
                return Ok(());
            }
        };
        let pieces = self.packager.handle(media.timestamp, unit)?;
        self.feed.push(self.id, pieces, Timestamp::now())?;
        Ok(())
    }

    /// A farewell in good order.
    pub(crate) fn leave(mut self, how: Farewell) {
        self.finish();
        if let Some(goodbye) = self.goodbye.take() {
            // The room may have ended before.
            let _ = goodbye.send(how);
        }
    }

    /// Before the farewell, so that the last frames are in the feed when the broadcast ends.
    fn finish(&mut self) {
        match self.packager.finish() {
            // One that was replaced has nothing more to add.
            Ok(pieces) => drop(self.feed.push(self.id, pieces, Timestamp::now())),
            Err(error) => {
                tracing::warn!(room = %self.room, publisher = self.id, "failed to {error}")
            }
        }
        let dropped = self.packager.dropped();
        for (cause, count) in [
            ("unusable", dropped.unusable),
            ("overlapping", dropped.overlapping),
            ("jumps", dropped.jumps),
        ] {
            metrics::counter!("lemonair_ingest_dropped_frames_total", "cause" => cause)
                .increment(count);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.goodbye.is_some() {
            self.finish();
        }
        metrics::gauge!("lemonair_ingest_publishers").decrement(1.0);
    }
}
