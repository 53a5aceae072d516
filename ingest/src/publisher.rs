//! A publisher on air: its messages become pieces of its room's feed.

use std::sync::Arc;
use std::time::Duration;

use lemonair_schemas::{RoomId, Timestamp};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::allowance::Allowance;
use crate::broadcast::{Farewell, PublisherId, Reason};
use crate::codec::VideoConfig;
use crate::feed::Feed;
use crate::flv::{self, Unit};
use crate::fmp4;
use crate::health::{Arrived, Meter, Tracks};
use crate::hls::Superseded;
use crate::packager::Packager;
use crate::restream::Relays;
use crate::rtmp::Media;

/// How often a publisher's health is looked at.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Dropping it without [`Publisher::leave`] means that its line dropped.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) id: PublisherId,
    pub(crate) room: RoomId,
    /// Another took over, or the process stops: the connection is to be closed.
    pub(crate) dismissed: CancellationToken,
    feed: Arc<Feed>,
    packager: Packager,
    /// The header of the picture, with the size that its key frames tell.
    video: Option<VideoConfig>,
    allowance: Allowance,
    relays: Relays,
    tracks: Tracks,
    meter: Meter,
    /// When the meter is read next.
    told_at: Instant,
    goodbye: Option<oneshot::Sender<Farewell>>,
    /// A stream that is broken throughout is not logged throughout.
    complained: bool,
}

/// Why a publisher cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} is not supported; set the encoder to H.264 and AAC")]
    Unsupported(String),
    #[error("more than {0} kbit/s; lower the bitrate")]
    TooMuch(u32),
    #[error(transparent)]
    Superseded(#[from] Superseded),
    #[error(transparent)]
    Mp4(#[from] fmp4::Error),
}

// === impl Error ===

impl Error {
    /// Why the broadcast is over, unless the publisher may come back and go on.
    pub(crate) fn ends(&self) -> Option<Reason> {
        match self {
            Error::Unsupported(_) => Some(Reason::Unsupported),
            Error::TooMuch(_) => Some(Reason::TooMuch),
            Error::Superseded(_) | Error::Mp4(_) => None,
        }
    }
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn new(
        id: PublisherId,
        room: RoomId,
        feed: Arc<Feed>,
        config: &Config,
        start: Duration,
        dismissed: CancellationToken,
        goodbye: oneshot::Sender<Farewell>,
    ) -> Publisher {
        let start = i64::try_from(start.as_millis()).unwrap_or(0);
        let packager = Packager::new(config.cut.clone(), start);
        let now = Instant::now();
        let targets = config.restream.get(&room).map_or(&[][..], Vec::as_slice);
        let relays = Relays::start(&room, targets, config.authorities.as_deref());
        metrics::gauge!("lemonair_ingest_publishers").increment(1.0);
        Publisher {
            id,
            room,
            dismissed,
            feed,
            packager,
            video: None,
            allowance: Allowance::new(config.kilobits, now),
            relays,
            tracks: Tracks::default(),
            meter: Meter::new(now),
            told_at: now + TELL_EVERY,
            goodbye: Some(goodbye),
            complained: false,
        }
    }

    pub(crate) fn media(&mut self, media: &Media) -> Result<(), Error> {
        let now = Instant::now();
        if !self.allowance.take(media.payload.len(), now) {
            return Err(Error::TooMuch(self.allowance.kilobits));
        }
        let mut unit = match flv::parse(media) {
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
        self.relays.media(media, &unit);
        if let Some(config) = self.resized(&mut unit) {
            self.package(media.timestamp, Unit::VideoConfig(config), now)?;
        }
        self.package(media.timestamp, unit, now)
    }

    /// Where key frames tell the size, the header is given again before one that has another.
    fn resized(&mut self, unit: &mut Unit) -> Option<VideoConfig> {
        match unit {
            Unit::VideoConfig(config) => {
                let known = self.video.as_ref();
                let known = known.filter(|known| known.codec == config.codec);
                config.size = config.size.or_else(|| known?.size);
                self.video = Some(config.clone());
                None
            }
            Unit::VideoFrame(frame) if frame.key => {
                let config = self.video.as_mut()?;
                config.resize(&frame.data).then(|| config.clone())
            }
            _ => None,
        }
    }

    fn package(&mut self, timestamp: u32, unit: Unit, now: Instant) -> Result<(), Error> {
        self.measure(timestamp, &unit, now);
        let pieces = self.packager.handle(timestamp, unit)?;
        self.feed.push(self.id, pieces, Timestamp::now())?;
        Ok(())
    }

    fn measure(&mut self, timestamp: u32, unit: &Unit, now: Instant) {
        let arrived = match unit {
            Unit::VideoFrame(frame) => Arrived::Picture {
                key: frame.key,
                len: frame.data.len(),
            },
            Unit::AudioFrame(data) => Arrived::Sound { len: data.len() },
            Unit::VideoConfig(config) => {
                let (width, height) = config.size.unwrap_or_default();
                self.tracks.video = Some((config.name(), width, height));
                return;
            }
            Unit::AudioConfig(config) => {
                self.tracks.audio = Some((config.name(), config.sample_rate, config.channels));
                return;
            }
            Unit::Metadata(metadata) => {
                self.tracks.encoder.clone_from(&metadata.encoder);
                return;
            }
            Unit::Unsupported(_) | Unit::Nothing => return,
        };
        self.meter.arrived(arrived, timestamp, now);
        if now < self.told_at {
            return;
        }
        self.told_at = now + TELL_EVERY;
        let mut health = self
            .meter
            .health(&self.tracks, self.packager.dropped(), now);
        health.restream = self.relays.states();
        if let Some(video) = &health.video {
            metrics::histogram!("lemonair_ingest_frames_per_second")
                .record(video.frames_per_second);
            metrics::histogram!("lemonair_ingest_video_kilobits")
                .record(video.kilobits_per_second as f64);
        }
        metrics::histogram!("lemonair_ingest_behind_seconds").record(health.behind.as_secs_f64());
        for warning in &health.warnings {
            metrics::counter!("lemonair_ingest_warnings_total", "code" => warning.code())
                .increment(1);
        }
        self.feed.set_health(Some(health));
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
        // One that took over measures anew within a second.
        self.feed.set_health(None);
        if self.goodbye.is_some() {
            self.finish();
        }
        metrics::gauge!("lemonair_ingest_publishers").decrement(1.0);
    }
}
