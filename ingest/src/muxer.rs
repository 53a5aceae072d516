//! Tracks under one init segment: frames are timed, and cut into fragments and segments.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{AudioConfig, VideoConfig};
use crate::flv::VideoFrame;
use crate::fmp4::{self, AUDIO_TRACK, Run, Sample, VIDEO_TIMESCALE, VIDEO_TRACK};
use crate::packager::{Cut, Dropped, Fragment, Piece};

#[derive(Debug)]
pub(crate) struct Muxer {
    pub(crate) video: Option<Arc<VideoConfig>>,
    pub(crate) audio: Option<AudioConfig>,
    pub(crate) dropped: Dropped,
    cut: Cut,
    sequence: u32,
    picture: Run,
    /// The newest picture; how long it lasts is known when the next one comes.
    pending: Option<(i64, Sample)>,
    last_frame_ms: i64,
    sound: Run,
    /// Where the next frame of sound belongs, in samples.
    sound_at: Option<i64>,
    /// No segment has ended yet.
    opening: bool,
    start: i64,
    segment_start: i64,
    /// From where it is counted when a key frame ends the segment.
    due_since: i64,
    segment_bytes: usize,
    fragment_start: i64,
    fragment_bytes: usize,
}

/// Sound may stray so far from its timestamps before it is moved.
const AUDIO_DRIFT_MS: i64 = 100;
/// Encoders cut a key frame interval a little short.
const TOLERANCE_MS: i64 = 100;
/// The last frame of all lasts as long as the one before it, or this.
const LAST_FRAME_MS: i64 = 33;

// === impl Muxer ===

impl Muxer {
    /// All times are milliseconds on the broadcast's line, which has got to `start`.
    pub(crate) fn new(
        video: Option<Arc<VideoConfig>>,
        audio: Option<AudioConfig>,
        cut: Cut,
        start: i64,
    ) -> Muxer {
        Muxer {
            video,
            audio,
            dropped: Dropped::default(),
            cut,
            sequence: 0,
            picture: Run::of(VIDEO_TRACK),
            pending: None,
            last_frame_ms: LAST_FRAME_MS,
            sound: Run::of(AUDIO_TRACK),
            sound_at: None,
            opening: true,
            start,
            segment_start: start,
            due_since: start,
            segment_bytes: 0,
            fragment_start: start,
            fragment_bytes: 0,
        }
    }

    pub(crate) fn picture(
        &mut self,
        time: i64,
        frame: VideoFrame,
        out: &mut Vec<Piece>,
    ) -> Result<(), fmp4::Error> {
        // Decoding times must rise, if only by a millisecond.
        let time = match &self.pending {
            Some((last, _)) => time.max(last + 1),
            None => time.max(self.segment_start),
        };
        // One that lasted longer than expected gets a fragment of its own.
        if let Some((start, _)) = self.pending
            && time - self.fragment_start > millis(self.cut.fragment)
            && start > self.fragment_start
        {
            self.end_fragment(start, out)?;
        }
        self.settle_picture(time);
        if (frame.key && self.is_due(time)) || self.is_too_long(time) {
            self.end_segment(time, out)?;
        } else if time + self.last_frame_ms - self.fragment_start > millis(self.cut.fragment) {
            self.end_part(time, out)?;
        }
        self.fragment_bytes += frame.data.len();
        let units = (VIDEO_TIMESCALE / 1000).cast_signed();
        let sample = Sample {
            duration: 0,
            composition: frame.composition.saturating_mul(units),
            key: frame.key,
            data: frame.data,
        };
        self.pending = Some((time, sample));
        Ok(())
    }

    pub(crate) fn sound(
        &mut self,
        time: i64,
        data: Bytes,
        out: &mut Vec<Piece>,
    ) -> Result<(), fmp4::Error> {
        let Some((rate, frame)) = self.audio.as_ref().and_then(|config| {
            let frame = config.frame_length(&data)?;
            Some((i64::from(config.sample_rate), frame))
        }) else {
            self.dropped.unusable += 1;
            return Ok(());
        };
        let told = time * rate / 1000;
        let drift = AUDIO_DRIFT_MS * rate / 1000;
        let at = match self.sound_at {
            // Sound that began before the first picture. It may arrive segments later than its pictures.
            None if time < self.start => {
                self.dropped.unusable += 1;
                return Ok(());
            }
            None => told,
            Some(at) if told < at - drift => {
                self.dropped.overlapping += 1;
                return Ok(());
            }
            // A run has no gaps, so the frame before one lasts until its end.
            Some(at) if told > at + drift => {
                if let Some(last) = self.sound.samples.last_mut() {
                    last.duration = last.duration.saturating_add((told - at) as u32);
                }
                told
            }
            // Timestamps are rounded to milliseconds; counted samples are exact.
            Some(at) => at,
        };
        let alone = self.video.is_none();
        let longest = millis(self.cut.fragment);
        let length = i64::from(frame) * 1000 / rate + 1;
        if (alone && self.is_due(time)) || self.is_too_long(time) {
            self.end_segment(time, out)?;
        } else if alone && time + length - self.fragment_start > longest {
            self.end_part(time, out)?;
        } else if time - self.fragment_start >= 2 * longest {
            // It is pictures that end fragments, unless they stall.
            self.end_part(self.fragment_start + longest, out)?;
        }
        if self.sound.samples.is_empty() {
            self.sound.start = at.max(0).cast_unsigned();
        }
        self.fragment_bytes += data.len();
        let sample = Sample {
            duration: frame,
            composition: 0,
            key: true,
            data,
        };
        self.sound.samples.push(sample);
        self.sound_at = Some(at + i64::from(frame));
        Ok(())
    }

    /// Everything becomes the last segment. Returns where the line has got to.
    pub(crate) fn finish(&mut self, out: &mut Vec<Piece>) -> Result<i64, fmp4::Error> {
        let picture_end = self
            .pending
            .as_ref()
            .map(|(start, _)| start + self.last_frame_ms);
        let sound_end = match (&self.audio, self.sound_at) {
            // Rounded up, so that what follows does not overlap.
            (Some(config), Some(at)) => Some(at * 1000 / i64::from(config.sample_rate) + 1),
            _ => None,
        };
        let end = picture_end
            .max(sound_end)
            .unwrap_or(self.fragment_start)
            .max(self.fragment_start);
        if let Some(picture_end) = picture_end {
            self.settle_picture(picture_end);
        }
        self.end_segment(end, out)?;
        Ok(end)
    }

    /// The newest picture lasts until `time`.
    fn settle_picture(&mut self, time: i64) {
        let Some((start, mut sample)) = self.pending.take() else {
            return;
        };
        self.last_frame_ms = time - start;
        sample.duration = ticks(time - start) as u32;
        if self.picture.samples.is_empty() {
            self.picture.start = ticks(start);
        }
        self.picture.samples.push(sample);
    }

    fn is_due(&self, time: i64) -> bool {
        time - self.due_since >= millis(self.cut.target) - TOLERANCE_MS
    }

    fn is_too_long(&self, time: i64) -> bool {
        time - self.segment_start >= millis(self.cut.longest)
            || self.segment_bytes + self.fragment_bytes >= self.cut.largest
    }

    /// What came before `time` is a fragment, if anything did.
    fn end_fragment(&mut self, time: i64, out: &mut Vec<Piece>) -> Result<(), fmp4::Error> {
        if self.picture.samples.is_empty() && self.sound.samples.is_empty() {
            return Ok(());
        }
        // Sound may have run ahead of a late picture.
        let time = time.max(self.fragment_start);
        let independent = match self.picture.samples.first() {
            Some(picture) => picture.key,
            None => self.video.is_none(),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let picture = std::mem::replace(&mut self.picture, Run::of(VIDEO_TRACK));
        let sound = std::mem::replace(&mut self.sound, Run::of(AUDIO_TRACK));
        let bytes = fmp4::fragment(self.sequence, &[picture, sound])?;
        let length = (time - self.fragment_start).cast_unsigned();
        self.segment_bytes += bytes.len();
        self.fragment_bytes = self
            .pending
            .as_ref()
            .map_or(0, |(_, sample)| sample.data.len());
        self.fragment_start = time;
        out.push(Piece::Fragment(Fragment {
            bytes,
            duration: Duration::from_millis(length),
            independent,
        }));
        Ok(())
    }

    /// The first part is a segment too, since players want one to begin with.
    fn end_part(&mut self, time: i64, out: &mut Vec<Piece>) -> Result<(), fmp4::Error> {
        if !self.opening {
            return self.end_fragment(time, out);
        }
        let since = self.due_since;
        self.end_segment(time, out)?;
        self.due_since = since;
        Ok(())
    }

    fn end_segment(&mut self, time: i64, out: &mut Vec<Piece>) -> Result<(), fmp4::Error> {
        self.end_fragment(time, out)?;
        out.push(Piece::SegmentEnd);
        self.opening = false;
        self.segment_start = time;
        self.due_since = time;
        self.segment_bytes = 0;
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds in units of the picture track.
fn ticks(millis: i64) -> u64 {
    (millis * i64::from(VIDEO_TIMESCALE / 1000))
        .max(0)
        .cast_unsigned()
}
