//! Cuts one publisher's access units into fragments and segments. No clock and no lock: units in,
//! pieces out.
//!
//! A segment begins with a key frame. It is a row of fragments of about a third of a second, which
//! low-latency HLS publishes as parts. The first segment is one fragment, so that viewers have
//! something to begin with; the one behind it lasts until the next key frame.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Clock, Track};
use crate::codec::{AudioConfig, VideoConfig};
use crate::flv::{Metadata, Unit, VideoFrame};
use crate::fmp4;
use crate::muxer::Muxer;

/// How segments are cut.
#[derive(Debug, Clone)]
pub struct Cut {
    /// A segment ends at the first key frame after this.
    pub target: Duration,
    /// And here at the latest, key frame or not.
    pub longest: Duration,
    /// Likewise at so many bytes.
    pub largest: usize,
    /// A fragment lasts so long at most, unless its pictures are further apart.
    pub fragment: Duration,
}

/// What comes out, in the order in which it is to be published.
#[derive(Debug, Clone)]
pub enum Piece {
    /// How to decode what follows.
    Init {
        bytes: Bytes,
        /// As RFC 6381 writes them.
        codecs: String,
        /// Width and height, if there are pictures.
        size: Option<(u16, u16)>,
    },
    Fragment(Fragment),
    /// The fragments since the last end are a segment.
    SegmentEnd,
    /// A key frame, for a thumbnail.
    Still(Still),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    pub bytes: Bytes,
    pub duration: Duration,
    /// Begins with a key frame, or has no pictures at all.
    pub independent: bool,
}

#[derive(Debug, Clone)]
pub struct Still {
    pub config: Arc<VideoConfig>,
    pub data: Bytes,
}

/// Frames that were left out, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Before the first key frame, or before the tracks were known.
    pub unusable: u64,
    /// Sound that ran ahead of its timestamps.
    pub overlapping: u64,
    /// Timestamps that jumped (the frame is kept).
    pub jumps: u64,
}

/// With one of two tracks there, how long the other is waited for, and with how many bytes.
const WAIT_MS: i64 = 1_000;
const WAIT_BYTES: usize = 4 << 20;
/// What a frame costs beside its bytes, so that many tiny ones are bounded too.
const FRAME_COST: usize = 256;

#[derive(Debug)]
pub struct Packager {
    cut: Cut,
    clock: Clock,
    /// Where on the broadcast's line the next init segment's first frame goes.
    start: i64,
    /// From the publisher's line to the broadcast's.
    offset: i64,
    metadata: Option<Metadata>,
    /// The latest headers; those in use are in `muxer`.
    video: Option<Arc<VideoConfig>>,
    audio: Option<AudioConfig>,
    waiting: Waiting,
    muxer: Option<Muxer>,
    dropped: Dropped,
}

/// Frames that came before it is known which tracks there are.
#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<(i64, Frame)>,
    bytes: usize,
}

#[derive(Debug)]
enum Frame {
    Video(VideoFrame),
    Audio(Bytes),
}

// === impl Packager ===

impl Packager {
    /// `start` is where the broadcast's line has got to, in milliseconds.
    pub fn new(cut: Cut, start: i64) -> Packager {
        Packager {
            cut,
            clock: Clock::default(),
            start,
            offset: 0,
            metadata: None,
            video: None,
            audio: None,
            waiting: Waiting::default(),
            muxer: None,
            dropped: Dropped::default(),
        }
    }

    pub fn dropped(&self) -> Dropped {
        let mut dropped = self.dropped;
        if let Some(muxer) = &self.muxer {
            dropped += muxer.dropped;
        }
        dropped
    }

    pub fn handle(&mut self, timestamp: u32, unit: Unit) -> Result<Vec<Piece>, fmp4::Error> {
        let mut out = Vec::new();
        match unit {
            Unit::Metadata(metadata) => self.metadata = Some(metadata),
            Unit::VideoConfig(mut config) => {
                let told = self.metadata.as_ref().and_then(|metadata| metadata.size);
                config.size = config.size.or(told);
                if self.video.as_deref() != Some(&config) {
                    // What comes next cannot be decoded with the old header.
                    self.close(&mut out)?;
                    self.video = Some(Arc::new(config));
                }
            }
            Unit::AudioConfig(config) => {
                if self.audio.as_ref() != Some(&config) {
                    self.audio = Some(config);
                    // With pictures the new track waits for a key frame, since a segment begins with one.
                    if self
                        .muxer
                        .as_ref()
                        .is_some_and(|muxer| muxer.video.is_none())
                    {
                        self.close(&mut out)?;
                    }
                }
            }
            Unit::VideoFrame(frame) => self.frame(timestamp, Frame::Video(frame), &mut out)?,
            Unit::AudioFrame(data) => self.frame(timestamp, Frame::Audio(data), &mut out)?,
            Unit::Unsupported(_) | Unit::Nothing => {}
        }
        Ok(out)
    }

    /// The publisher is gone: what is there becomes the last segment.
    pub fn finish(&mut self) -> Result<Vec<Piece>, fmp4::Error> {
        let mut out = Vec::new();
        self.close(&mut out)?;
        Ok(out)
    }

    fn frame(
        &mut self,
        timestamp: u32,
        frame: Frame,
        out: &mut Vec<Piece>,
    ) -> Result<(), fmp4::Error> {
        let track = match &frame {
            Frame::Video(_) => Track::Picture,
            Frame::Audio(_) => Track::Sound,
        };
        let (time, jumped) = self.clock.unwrap(track, timestamp);
        self.dropped.jumps += u64::from(jumped);
        if self.muxer.is_some() {
            return self.place(time, frame, out);
        }
        self.waiting.bytes += frame.len() + FRAME_COST;
        self.waiting.frames.push((time, frame));
        let first = self
            .waiting
            .frames
            .first()
            .map_or(time, |(first, _)| *first);
        let patient = time - first < WAIT_MS && self.waiting.bytes < WAIT_BYTES;
        if patient && !self.knows_its_tracks() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        for (time, frame) in waiting.frames {
            self.place(time, frame, out)?;
        }
        Ok(())
    }

    fn knows_its_tracks(&self) -> bool {
        match (&self.video, &self.audio, &self.metadata) {
            (Some(_), Some(_), _) => true,
            (Some(_), None, Some(metadata)) => !metadata.has_audio,
            (None, Some(_), Some(metadata)) => !metadata.has_video,
            _ => false,
        }
    }

    /// Puts a frame where it belongs, if there is a place for it.
    fn place(&mut self, time: i64, frame: Frame, out: &mut Vec<Piece>) -> Result<(), fmp4::Error> {
        let key = match &frame {
            Frame::Video(frame) => frame.key && self.video.is_some(),
            Frame::Audio(_) => self.audio.is_some() && self.video.is_none(),
        };
        if key
            && self
                .muxer
                .as_ref()
                .is_some_and(|muxer| muxer.audio != self.audio)
        {
            self.close(out)?;
        }
        if self.muxer.is_none() {
            if !key {
                self.dropped.unusable += 1;
                return Ok(());
            }
            self.open(time, out)?;
        }
        let Some(muxer) = &mut self.muxer else {
            return Ok(());
        };
        let time = time + self.offset;
        match frame {
            Frame::Video(frame) => {
                let Some(config) = &muxer.video else {
                    self.dropped.unusable += 1;
                    return Ok(());
                };
                if frame.key {
                    out.push(Piece::Still(Still {
                        config: Arc::clone(config),
                        data: frame.data.clone(),
                    }));
                }
                muxer.picture(time, frame, out)
            }
            Frame::Audio(data) if muxer.audio == self.audio => muxer.sound(time, data, out),
            Frame::Audio(_) => {
                self.dropped.unusable += 1;
                Ok(())
            }
        }
    }

    fn open(&mut self, time: i64, out: &mut Vec<Piece>) -> Result<(), fmp4::Error> {
        self.offset = self.start - time;
        let (video, audio) = (self.video.clone(), self.audio.clone());
        let bytes = fmp4::init(video.as_deref(), audio.as_ref())?;
        let names = [
            video.as_deref().map(VideoConfig::name),
            audio.as_ref().map(AudioConfig::name),
        ];
        let codecs = names.into_iter().flatten().collect::<Vec<_>>().join(",");
        let size = video.as_ref().and_then(|video| video.size);
        out.push(Piece::Init {
            bytes,
            codecs,
            size,
        });
        self.muxer = Some(Muxer::new(video, audio, self.cut.clone(), self.start));
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<Piece>) -> Result<(), fmp4::Error> {
        if let Some(mut muxer) = self.muxer.take() {
            self.dropped += muxer.dropped;
            self.start = muxer.finish(out)?;
        }
        Ok(())
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Dropped) {
        self.unusable += other.unusable;
        self.overlapping += other.overlapping;
        self.jumps += other.jumps;
    }
}

impl Frame {
    fn len(&self) -> usize {
        match self {
            Frame::Video(frame) => frame.data.len(),
            Frame::Audio(data) => data.len(),
        }
    }
}

#[cfg(test)]
mod tests;
