//! Cuts one publisher's access units into fragments and segments. No clock and no lock: units in,
//! pieces out.
//!
//! A segment begins with a key frame. It is a row of fragments of about a third of a second, which
//! are what low-latency HLS will publish as parts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::codec::{AudioConfig, VideoConfig};
use crate::flv::{Metadata, Unit, VideoFrame};
use crate::fmp4::{self, AUDIO_TRACK, Run, Sample, VIDEO_TIMESCALE, VIDEO_TRACK};

/// How segments are cut.
#[derive(Debug, Clone)]
pub struct Cut {
    /// A segment ends at the first key frame after this.
    pub target: Duration,
    /// And here at the latest, key frame or not.
    pub longest: Duration,
    /// Likewise at so many bytes.
    pub largest: usize,
    pub fragment: Duration,
}

/// What comes out, in the order in which it is to be published.
#[derive(Debug, Clone)]
pub enum Piece {
    /// How to decode what follows.
    Init {
        bytes: Bytes,
        codecs: String,
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
/// Sound may stray so far from its timestamps before it is moved.
const AUDIO_DRIFT_MS: i64 = 100;
/// Encoders cut a key frame interval a little short.
const TOLERANCE_MS: i64 = 100;
/// The last frame of all lasts as long as the one before it, or this.
const LAST_FRAME_MS: i64 = 33;

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
    sequence: u32,
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

/// Tracks under one init segment.
#[derive(Debug)]
struct Muxer {
    video: Option<Arc<VideoConfig>>,
    audio: Option<AudioConfig>,
    picture: Run,
    /// Its duration is known when the next one comes.
    pending: Option<(i64, Sample)>,
    last_frame_ms: i64,
    sound: Run,
    /// Where the next frame of sound belongs, in samples.
    sound_at: Option<i64>,
    segment_start: i64,
    segment_bytes: usize,
    fragment_start: i64,
    fragment_bytes: usize,
    /// The next fragment begins with a key frame.
    independent: bool,
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
            sequence: 0,
            dropped: Dropped::default(),
        }
    }

    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    pub fn handle(&mut self, timestamp: u32, unit: Unit) -> Result<Vec<Piece>, fmp4::Error> {
        let mut out = Vec::new();
        match unit {
            Unit::Metadata(metadata) => self.metadata = Some(metadata),
            Unit::VideoConfig(config) => {
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
        let (time, jumped) = self.clock.unwrap(timestamp);
        self.dropped.jumps += u64::from(jumped);
        if self.muxer.is_some() {
            return self.place(time, frame, out);
        }
        self.waiting.bytes += frame.len();
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
                muxer.picture(time, frame, &self.cut, &mut self.sequence, out)
            }
            Frame::Audio(data) => {
                let at_place = muxer.audio == self.audio;
                let Some(config) = muxer.audio.as_ref().filter(|_| at_place) else {
                    self.dropped.unusable += 1;
                    return Ok(());
                };
                let config = SoundClock::of(config);
                muxer.sound(
                    time,
                    data,
                    config,
                    &self.cut,
                    (&mut self.sequence, &mut self.dropped),
                    out,
                )
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
        out.push(Piece::Init { bytes, codecs });
        self.muxer = Some(Muxer::new(video, audio, self.start));
        Ok(())
    }

    fn close(&mut self, out: &mut Vec<Piece>) -> Result<(), fmp4::Error> {
        if let Some(mut muxer) = self.muxer.take() {
            self.start = muxer.finish(&mut self.sequence, out)?;
        }
        Ok(())
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

/// What of a sound track matters to timing.
#[derive(Debug, Clone, Copy)]
struct SoundClock {
    rate: i64,
    frame: u32,
}

impl SoundClock {
    fn of(config: &AudioConfig) -> SoundClock {
        SoundClock {
            rate: config.sample_rate.into(),
            frame: config.frame_length,
        }
    }
}

// === impl Muxer ===

impl Muxer {
    fn new(video: Option<Arc<VideoConfig>>, audio: Option<AudioConfig>, start: i64) -> Muxer {
        Muxer {
            video,
            audio,
            picture: Run {
                track: VIDEO_TRACK,
                ..Default::default()
            },
            pending: None,
            last_frame_ms: LAST_FRAME_MS,
            sound: Run {
                track: AUDIO_TRACK,
                ..Default::default()
            },
            sound_at: None,
            segment_start: start,
            segment_bytes: 0,
            fragment_start: start,
            fragment_bytes: 0,
            independent: true,
        }
    }

    fn picture(
        &mut self,
        time: i64,
        frame: VideoFrame,
        cut: &Cut,
        sequence: &mut u32,
        out: &mut Vec<Piece>,
    ) -> Result<(), fmp4::Error> {
        // Decoding times must rise, if only by a millisecond.
        let time = match &self.pending {
            Some((last, _)) => time.max(last + 1),
            None => time.max(self.segment_start),
        };
        self.settle_picture(time);
        let length = time - self.segment_start;
        let due = frame.key && length >= millis(cut.target) - TOLERANCE_MS;
        if due || self.too_long(length, cut) {
            self.end_segment(time, sequence, out)?;
        } else if time - self.fragment_start >= millis(cut.fragment) {
            self.end_fragment(time, sequence, out)?;
        }
        if self.picture.samples.is_empty() && self.sound.samples.is_empty() {
            self.independent = frame.key;
        }
        self.fragment_bytes += frame.data.len();
        let composition = frame
            .composition
            .saturating_mul((VIDEO_TIMESCALE / 1000).cast_signed());
        let sample = Sample {
            duration: 0,
            composition,
            key: frame.key,
            data: frame.data,
        };
        self.pending = Some((time, sample));
        Ok(())
    }

    /// The frame that is waiting to hear how long it lasts, lasts until `time`.
    fn settle_picture(&mut self, time: i64) {
        let Some((start, mut sample)) = self.pending.take() else {
            return;
        };
        self.last_frame_ms = time - start;
        sample.duration = ticks(time - start, VIDEO_TIMESCALE.into()) as u32;
        if self.picture.samples.is_empty() {
            self.picture.start = ticks(start, VIDEO_TIMESCALE.into());
        }
        self.picture.samples.push(sample);
    }

    fn sound(
        &mut self,
        time: i64,
        data: Bytes,
        clock: SoundClock,
        cut: &Cut,
        (sequence, dropped): (&mut u32, &mut Dropped),
        out: &mut Vec<Piece>,
    ) -> Result<(), fmp4::Error> {
        let told = time * clock.rate / 1000;
        let drift = AUDIO_DRIFT_MS * clock.rate / 1000;
        let at = match self.sound_at {
            // Sound that began before the first picture.
            None if time < self.segment_start => {
                dropped.unusable += 1;
                return Ok(());
            }
            None => told,
            Some(at) if told < at - drift => {
                dropped.overlapping += 1;
                return Ok(());
            }
            // A run has no gaps, so another begins behind one.
            Some(at) if told > at + drift => {
                self.end_fragment(time.max(self.fragment_start), sequence, out)?;
                told
            }
            // Timestamps are rounded to milliseconds; counted samples are exact.
            Some(at) => at,
        };
        let length = time - self.segment_start;
        let alone = self.video.is_none();
        if (alone && length >= millis(cut.target)) || self.too_long(length, cut) {
            self.end_segment(time, sequence, out)?;
        } else if time - self.fragment_start >= millis(cut.fragment) * if alone { 1 } else { 2 } {
            // With pictures it is they that end fragments, unless they stall.
            self.end_fragment(time, sequence, out)?;
        }
        if self.sound.samples.is_empty() {
            self.sound.start = at.max(0).cast_unsigned();
        }
        self.fragment_bytes += data.len();
        self.sound.samples.push(Sample {
            duration: clock.frame,
            composition: 0,
            key: true,
            data,
        });
        self.sound_at = Some(at + i64::from(clock.frame));
        Ok(())
    }

    fn too_long(&self, length: i64, cut: &Cut) -> bool {
        length >= millis(cut.longest) || self.segment_bytes + self.fragment_bytes >= cut.largest
    }

    /// Everything before `time` is a fragment, if there is anything.
    fn end_fragment(
        &mut self,
        time: i64,
        sequence: &mut u32,
        out: &mut Vec<Piece>,
    ) -> Result<(), fmp4::Error> {
        if self.picture.samples.is_empty() && self.sound.samples.is_empty() {
            return Ok(());
        }
        *sequence = sequence.wrapping_add(1);
        let picture = Run {
            track: VIDEO_TRACK,
            ..std::mem::take(&mut self.picture)
        };
        let sound = Run {
            track: AUDIO_TRACK,
            ..std::mem::take(&mut self.sound)
        };
        let bytes = fmp4::fragment(*sequence, &[picture, sound])?;
        let length = (time - self.fragment_start).max(0).cast_unsigned();
        self.segment_bytes += bytes.len();
        self.fragment_bytes = self
            .pending
            .as_ref()
            .map_or(0, |(_, sample)| sample.data.len());
        self.fragment_start = time;
        let duration = Duration::from_millis(length);
        out.push(Piece::Fragment(Fragment {
            bytes,
            duration,
            independent: self.independent,
        }));
        self.independent = self.video.is_none();
        Ok(())
    }

    fn end_segment(
        &mut self,
        time: i64,
        sequence: &mut u32,
        out: &mut Vec<Piece>,
    ) -> Result<(), fmp4::Error> {
        self.end_fragment(time, sequence, out)?;
        out.push(Piece::SegmentEnd);
        self.segment_start = time;
        self.segment_bytes = 0;
        Ok(())
    }

    /// Returns where the line has got to.
    fn finish(&mut self, sequence: &mut u32, out: &mut Vec<Piece>) -> Result<i64, fmp4::Error> {
        let picture_end = self
            .pending
            .as_ref()
            .map(|(start, _)| start + self.last_frame_ms);
        let sound_end = match (&self.audio, self.sound_at) {
            // Rounded up, so that what follows does not overlap.
            (Some(config), Some(at)) => Some((at * 1000).div_euclid(config.sample_rate.into()) + 1),
            _ => None,
        };
        let end = picture_end
            .max(sound_end)
            .map_or(self.fragment_start, |end| end.max(self.fragment_start));
        if let Some(picture_end) = picture_end {
            self.settle_picture(picture_end);
        }
        self.end_segment(end, sequence, out)?;
        Ok(end)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn ticks(millis: i64, timescale: i64) -> u64 {
    (millis * timescale / 1000).max(0).cast_unsigned()
}

#[cfg(test)]
mod tests;
