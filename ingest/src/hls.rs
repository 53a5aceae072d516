//! A broadcast's window of segments in memory, and the playlist that names them.
//!
//! Names are never used twice, and what a name stands for never changes. Only the playlist does.
//!
//! Bounds: a playlist lists [`Settings::listed`] segments; [`Settings::kept`] more stay for players
//! that are late. When all together pass [`Settings::bytes`], the oldest go first, listed or not, down
//! to the newest. The segment being made is bounded by [`crate::packager::Cut::largest`].

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::{EventId, Timestamp};

use crate::packager::{Fragment, Piece};

#[derive(Debug, Clone)]
pub struct Settings {
    /// Segments in the playlist.
    pub listed: usize,
    /// Segments that have left it and can still be had.
    pub kept: usize,
    /// Of all segments of a broadcast.
    pub bytes: usize,
    /// What `EXT-X-TARGETDURATION` says at least. It grows with the longest segment and never shrinks.
    pub target: Duration,
}

/// The segments of one broadcast.
#[derive(Debug)]
pub struct Window {
    stream: EventId,
    settings: Settings,
    /// Whose pieces are taken; others are those of a publisher that was replaced.
    publisher: u64,
    inits: VecDeque<Init>,
    next_init: u64,
    segments: VecDeque<Segment>,
    next_segment: u64,
    /// How many at the front are no longer listed.
    unlisted: usize,
    bytes: usize,
    open: Vec<Fragment>,
    /// The next segment does not continue the one before it.
    discontinuity: bool,
    discontinuity_sequence: u64,
    target: u64,
    /// How far the broadcast's line of time has got.
    line: Duration,
    /// The wall clock at that point.
    date: Timestamp,
    revision: u64,
    playlist: Option<Playlist>,
    ended: bool,
}

#[derive(Debug)]
struct Init {
    number: u64,
    bytes: Bytes,
    codecs: String,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    init: u64,
    parts: Arc<[Bytes]>,
    len: usize,
    duration: Duration,
    date: Timestamp,
    discontinuity: bool,
    independent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    pub text: Bytes,
    pub etag: String,
}

/// A file that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub parts: Arc<[Bytes]>,
    pub len: usize,
}

/// Another publisher has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another publisher has taken over")]
pub struct Superseded;

// === impl Window ===

impl Window {
    pub fn new(stream: EventId, settings: Settings) -> Window {
        let target = settings.target.as_secs_f64().ceil().max(1.0) as u64;
        Window {
            stream,
            settings,
            publisher: 0,
            inits: VecDeque::new(),
            next_init: 0,
            segments: VecDeque::new(),
            next_segment: 0,
            unlisted: 0,
            bytes: 0,
            open: Vec::new(),
            discontinuity: false,
            discontinuity_sequence: 0,
            target,
            line: Duration::ZERO,
            date: Timestamp(0),
            revision: 0,
            playlist: None,
            ended: false,
        }
    }

    /// A publisher begins or takes over. Its first frame goes to the returned point of the line.
    pub fn begin(&mut self, publisher: u64, now: Timestamp) -> Duration {
        self.end_segment();
        self.publisher = publisher;
        self.date = now;
        self.line
    }

    pub fn push(&mut self, publisher: u64, pieces: Vec<Piece>) -> Result<(), Superseded> {
        if publisher != self.publisher || self.ended {
            return Err(Superseded);
        }
        for piece in pieces {
            match piece {
                Piece::Init { bytes, codecs } => {
                    self.end_segment();
                    self.inits.push_back(Init {
                        number: self.next_init,
                        bytes,
                        codecs,
                    });
                    self.next_init += 1;
                    self.discontinuity = self.next_segment > 0;
                }
                Piece::Fragment(fragment) => self.open.push(fragment),
                Piece::SegmentEnd => self.end_segment(),
                Piece::Still(_) => {}
            }
        }
        Ok(())
    }

    /// The broadcast is over; what is there can be watched to its end.
    pub fn end(&mut self) {
        self.end_segment();
        self.ended = true;
        if self.playlist.is_some() {
            self.write_playlist();
        }
    }

    /// `None` until the first segment is there.
    pub fn playlist(&self) -> Option<&Playlist> {
        self.playlist.as_ref()
    }

    /// An init segment or a segment, by the name that the playlist gave it.
    pub fn file(&self, name: &str) -> Option<File> {
        let mut id = uuid::Uuid::encode_buffer();
        let rest = name.strip_prefix(&*self.stream.0.as_hyphenated().encode_lower(&mut id))?;
        let rest = rest.strip_prefix('-')?;
        if let Some(number) = rest.strip_suffix(".m4s") {
            let first = self.segments.front()?.number;
            let index = canonical(number)?.checked_sub(first)?;
            let segment = self.segments.get(usize::try_from(index).ok()?)?;
            return Some(File {
                parts: Arc::clone(&segment.parts),
                len: segment.len,
            });
        }
        let number = canonical(rest.strip_prefix("init")?.strip_suffix(".mp4")?)?;
        let init = self.inits.iter().find(|init| init.number == number)?;
        Some(File {
            parts: Arc::from([init.bytes.clone()]),
            len: init.bytes.len(),
        })
    }

    /// The codecs of the newest tracks, as RFC 6381 writes them.
    pub fn codecs(&self) -> Option<&str> {
        self.inits.back().map(|init| init.codecs.as_str())
    }

    fn end_segment(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let Some(init) = self.inits.back().map(|init| init.number) else {
            return;
        };
        let duration = self.open.iter().map(|fragment| fragment.duration).sum();
        let independent = self
            .open
            .first()
            .is_some_and(|fragment| fragment.independent);
        let parts: Arc<[Bytes]> = self.open.drain(..).map(|fragment| fragment.bytes).collect();
        let len = parts.iter().map(Bytes::len).sum();
        self.segments.push_back(Segment {
            number: self.next_segment,
            init,
            parts,
            len,
            duration,
            date: self.date,
            discontinuity: std::mem::take(&mut self.discontinuity),
            independent,
        });
        self.next_segment += 1;
        self.bytes += len;
        self.line += duration;
        self.date = self.date.plus(duration);
        self.target = self.target.max(duration.as_secs_f64().round() as u64);
        self.evict();
        self.write_playlist();
        metrics::counter!("lemonair_ingest_segments_total").increment(1);
    }

    fn evict(&mut self) {
        while self.segments.len() - self.unlisted > self.settings.listed {
            self.discontinuity_sequence += u64::from(self.segments[self.unlisted].discontinuity);
            self.unlisted += 1;
        }
        while self.unlisted > self.settings.kept
            || (self.bytes > self.settings.bytes && self.segments.len() > 1)
        {
            let Some(gone) = self.segments.pop_front() else {
                break;
            };
            self.bytes -= gone.len;
            match self.unlisted.checked_sub(1) {
                Some(unlisted) => self.unlisted = unlisted,
                None => self.discontinuity_sequence += u64::from(gone.discontinuity),
            }
        }
        let oldest = self.segments.front().map_or(0, |segment| segment.init);
        while self.inits.front().is_some_and(|init| init.number < oldest) {
            self.inits.pop_front();
        }
    }

    fn write_playlist(&mut self) {
        let listed = || self.segments.range(self.unlisted..);
        let first = listed().next().map_or(0, |segment| segment.number);
        let stream = self.stream;
        let mut text = String::with_capacity(256 + 160 * self.settings.listed);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}",
            self.target
        );
        let _ = writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{first}");
        if self.discontinuity_sequence > 0 {
            let _ = writeln!(
                text,
                "#EXT-X-DISCONTINUITY-SEQUENCE:{}",
                self.discontinuity_sequence
            );
        }
        if listed().all(|segment| segment.independent) {
            text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        let mut init = None;
        for segment in listed() {
            if segment.discontinuity {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if init != Some(segment.init) || segment.discontinuity {
                let _ = writeln!(text, "#EXT-X-MAP:URI=\"{stream}-init{}.mp4\"", segment.init);
                let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", segment.date);
                init = Some(segment.init);
            }
            let seconds = segment.duration.as_secs_f64();
            let _ = writeln!(
                text,
                "#EXTINF:{seconds:.3},\n{stream}-{}.m4s",
                segment.number
            );
        }
        if self.ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        self.revision += 1;
        let etag = format!("\"{stream}-{}\"", self.revision);
        self.playlist = Some(Playlist {
            text: text.into(),
            etag,
        });
    }
}

/// A number as we write it: one file has one name.
fn canonical(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0')))
    .then_some(number)
}

#[cfg(test)]
mod tests;
