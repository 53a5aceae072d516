//! A broadcast's window of segments and their parts in memory, and the playlists that name them.
//!
//! Names are never used twice, and what a name stands for never changes. Only playlists do. A part is
//! a fragment that can be had before its segment is whole; the same bytes then make up the segment.
//!
//! Bounds: the playlist reaches back [`Settings::window`], or [`Settings::dvr`] where a recording has
//! the older part; what leaves it stays for [`Settings::kept`] for players that are late, and for as
//! long as the standard wants where only its name is here. What is older than window and kept together
//! is let go of here. Where it is recorded it is listed all the same; where it is not, the playlist
//! begins behind it. When all together pass [`Settings::bytes`],
//! the oldest go first, listed or not, down to the newest. The segment being made is bounded by
//! [`crate::packager::Cut::largest`].

mod playlist;

pub use playlist::master;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use lemonair_schemas::{EventId, Timestamp};

use crate::packager::{Fragment, Piece};
use crate::recording::Name;

#[derive(Debug, Clone)]
pub struct Settings {
    /// How far the playlist reaches back, from memory.
    pub window: Duration,
    /// The same, as far as there is a recording.
    pub dvr: Duration,
    /// How long segments that have left it can still be had.
    pub kept: Duration,
    /// Of all segments of a broadcast.
    pub bytes: usize,
    /// What `EXT-X-TARGETDURATION` says at least. It grows with the longest segment and never shrinks.
    pub target: Duration,
    /// What a part lasts at most, unless its pictures are further apart.
    pub part: Duration,
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
    /// How many at the front only the recording has.
    elsewhere: usize,
    /// Of the others.
    bytes: usize,
    /// The segment being made, if it has a part.
    open: Option<Segment>,
    /// The next segment does not continue the one before it.
    discontinuity: bool,
    /// Of the newest segment.
    stretch: Stretch,
    /// Stretches are those of another window, as [`Window::skip_to`] tells.
    follows: bool,
    target: u64,
    /// Whether a segment has lasted long enough to count, and the most bits a second of those that
    /// have, or of all until then.
    bandwidth: (bool, u64),
    /// How far the broadcast's line of time has got.
    line: Duration,
    /// The wall clock at that point; unknown until the publisher's first part is there.
    date: Option<Timestamp>,
    /// Counts all changes.
    revision: u64,
    full: Option<Playlist>,
    delta: Option<Playlist>,
    ended: bool,
}

/// How to decode a segment.
#[derive(Debug, Clone)]
pub(crate) struct Init {
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
    pub(crate) codecs: String,
    pub(crate) size: Option<(u16, u16)>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    init: u64,
    /// None any more, if only the recording has it; none at all in a gap.
    parts: Vec<Fragment>,
    gap: bool,
    independent: bool,
    recorded: bool,
    len: usize,
    duration: Duration,
    date: Timestamp,
    /// The date does not follow from that of the segment before it.
    dated: bool,
    discontinuity: bool,
    stretch: Stretch,
}

/// What is between two discontinuities. Players know by its number what belongs together in all
/// pictures of a broadcast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// So many discontinuities are before it.
    pub(crate) number: u64,
    /// Where on the line.
    pub(crate) begins: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    pub text: Bytes,
    pub etag: String,
}

/// A media playlist as the master playlist tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    stream: EventId,
    init: u64,
    bandwidth: u64,
    codecs: String,
    size: Option<(u16, u16)>,
}

/// What a recording or a ladder takes of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) name: Name,
    pub(crate) init: Init,
    pub(crate) stretch: Stretch,
    pub(crate) parts: Vec<Fragment>,
}

/// How far a media playlist has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    stream: EventId,
    segment: u64,
    part: usize,
}

/// A file that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub parts: Vec<Bytes>,
    pub len: usize,
}

/// What a viewer asks for may be there already, be on its way, or never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Here,
    Soon,
    /// So far ahead that nobody can want it.
    Absurd,
    Never,
}

/// Another publisher has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another publisher has taken over")]
pub struct Superseded;

/// When the line is so far behind the clock, it lost time on the way, and is dated anew.
const MAX_LAG: Duration = Duration::from_secs(5);
/// Playlists may be asked for so far ahead, in time and in segments.
const ADVANCE: Duration = Duration::from_secs(3);
const ADVANCE_SEGMENTS: u64 = 1;

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
            elsewhere: 0,
            bytes: 0,
            open: None,
            discontinuity: false,
            stretch: Stretch::default(),
            follows: false,
            target,
            bandwidth: (false, 0),
            line: Duration::ZERO,
            date: None,
            revision: 0,
            full: None,
            delta: None,
            ended: false,
        }
    }

    /// A publisher begins or takes over. Its first frame goes to the returned point of the line.
    pub fn begin(&mut self, publisher: u64) -> Duration {
        self.end_segment();
        self.publisher = publisher;
        self.date = None;
        self.line
    }

    pub fn push(
        &mut self,
        publisher: u64,
        pieces: Vec<Piece>,
        now: Timestamp,
    ) -> Result<(), Superseded> {
        if publisher != self.publisher || self.ended {
            return Err(Superseded);
        }
        for piece in pieces {
            match piece {
                Piece::Init {
                    bytes,
                    codecs,
                    size,
                } => {
                    self.end_segment();
                    self.inits.push_back(Init {
                        number: self.next_init,
                        bytes,
                        codecs,
                        size,
                    });
                    self.next_init += 1;
                    self.discontinuity |= !self.follows && self.next_segment > 0;
                }
                Piece::Fragment(fragment) => self.add_part(fragment, now),
                Piece::SegmentEnd => self.end_segment(),
                Piece::Still(_) => {}
            }
        }
        Ok(())
    }

    /// What comes next belongs to this point of the line, and to this stretch of another window. What
    /// is missing before it is listed as a gap, so that all times and stretches stay true and players
    /// get it from another rendition.
    pub(crate) fn skip_to(&mut self, line: Duration, stretch: Stretch) {
        self.end_segment();
        self.follows = true;
        if self.next_segment == 0 {
            self.stretch = stretch;
        }
        self.add_gap(stretch.begins.min(line), stretch.number.saturating_sub(1));
        self.add_gap(line, stretch.number);
        self.discontinuity = self.stretch.number < stretch.number;
        self.line = line;
    }

    /// Up to this point, and with as many discontinuities as there is room for.
    fn add_gap(&mut self, line: Duration, stretch: u64) {
        let longest = Duration::from_secs(self.target);
        while let Some(last) = self.segments.back()
            && let Some(missing) = line.checked_sub(self.line)
            && missing > self.settings.part
        {
            let discontinuity = self.stretch.number < stretch;
            if discontinuity {
                self.stretch = self.stretch.next(self.line);
            }
            self.open = Some(Segment {
                number: self.next_segment,
                init: last.init,
                parts: Vec::new(),
                gap: true,
                independent: true,
                recorded: false,
                len: 0,
                duration: missing.min(longest),
                date: last.date.plus(last.duration),
                dated: false,
                discontinuity,
                stretch: self.stretch,
            });
            self.end_segment();
        }
    }

    /// The broadcast is over; what is there can be watched to its end.
    pub fn end(&mut self) {
        self.end_segment();
        self.ended = true;
        self.changed();
    }

    /// Nothing is to be watched before the first segment is there.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How long what is on its way may be waited for.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(3 * self.target)
    }

    /// Whether the playlist has got to this segment, or to this part of it.
    pub fn reach(&self, segment: u64, part: Option<usize>) -> Reach {
        let made = self.open.as_ref().map_or(0, |open| open.parts.len());
        let ahead = (ADVANCE.as_secs_f64() / self.settings.part.as_secs_f64()).ceil() as usize;
        // A part behind a segment's last is the first of the next.
        let behind_last = self
            .find(segment)
            .zip(part)
            .is_some_and(|(segment, part)| part >= segment.parts.len());
        let (segment, part) = if behind_last {
            (segment + 1, Some(0))
        } else {
            (segment, part)
        };
        if self.ended || segment < self.next_segment {
            return Reach::Here;
        }
        match part {
            _ if segment > self.next_segment + ADVANCE_SEGMENTS => Reach::Absurd,
            Some(part) if part > made + ahead => Reach::Absurd,
            Some(part) if segment == self.next_segment && part < made => Reach::Here,
            _ => Reach::Soon,
        }
    }

    /// What the master playlist tells of this one: `None` until the first segment is there.
    pub fn variant(&self) -> Option<Variant> {
        let init = self.inits.back()?;
        (!self.is_empty()).then(|| Variant {
            stream: self.stream,
            init: init.number,
            bandwidth: self.bandwidth.1.max(1),
            codecs: init.codecs.clone(),
            size: init.size,
        })
    }

    /// For the playlists of the same broadcast's other renditions.
    pub fn report(&self) -> Option<Report> {
        let newest = self.open.as_ref().or_else(|| self.segments.back())?;
        (!self.ended).then(|| Report {
            stream: self.stream,
            segment: newest.number,
            part: newest.parts.len().saturating_sub(1),
        })
    }

    /// What is to be had, without the old part of it if that is known. `None` until the first
    /// segment is there.
    pub fn playlist(&mut self, skip: bool) -> Option<Playlist> {
        if self.is_empty() {
            return None;
        }
        let made = if skip { &self.delta } else { &self.full };
        let playlist = match made {
            Some(playlist) => playlist.clone(),
            None => self.write(skip),
        };
        let made = if skip {
            &mut self.delta
        } else {
            &mut self.full
        };
        *made = Some(playlist.clone());
        Some(playlist)
    }

    /// An init segment, a segment or a part, by the name that the playlist gave it.
    pub fn file(&self, name: &str) -> Result<File, Reach> {
        self.find_file(name).unwrap_or(Err(Reach::Never))
    }

    /// What a recording calls a segment that only it has, by the name that the playlist gave it.
    pub(crate) fn in_recording(&self, name: &str) -> Option<Name> {
        let number = name
            .strip_prefix(&format!("{}-", self.stream))?
            .strip_suffix(".m4s")?;
        let segment = self.find(canonical(number)?)?;
        segment.parts.is_empty().then(|| self.name(segment))
    }

    /// The first segment from this number on that is here, for a recording.
    pub(crate) fn whole(&self, from: u64) -> Option<Kept> {
        let mut here = self.segments.range(self.elsewhere..);
        self.kept(here.find(|segment| segment.number >= from)?)
    }

    /// The segment that is being made, likewise.
    pub(crate) fn open(&self) -> Option<Kept> {
        self.kept(self.open.as_ref()?)
    }

    /// The parts of a segment from this place on. Where there are none or no more, those of the next
    /// segment that is here.
    pub(crate) fn parts_from(&self, number: u64, part: usize) -> Option<Kept> {
        let mut here = self.segments.range(self.elsewhere..).chain(&self.open);
        let segment = here.find(|segment| {
            segment.number > number || segment.number == number && segment.parts.len() > part
        })?;
        let mut kept = self.kept(segment)?;
        if segment.number == number {
            kept.parts.drain(..part);
        }
        Some(kept)
    }

    /// The number of the segment that is being made or comes next.
    pub(crate) fn next_segment(&self) -> u64 {
        self.next_segment
    }

    fn kept(&self, segment: &Segment) -> Option<Kept> {
        let init = self.inits.iter().find(|init| init.number == segment.init)?;
        Some(Kept {
            name: self.name(segment),
            init: init.clone(),
            stretch: segment.stretch,
            parts: segment.parts.clone(),
        })
    }

    fn name(&self, segment: &Segment) -> Name {
        Name {
            session: self.stream,
            number: segment.number,
            begins: segment.date,
            duration: segment.duration,
            init: segment.init,
        }
    }

    /// A recording has this segment.
    pub(crate) fn mark_recorded(&mut self, number: u64) {
        if let Some(first) = self.segments.front().map(|segment| segment.number)
            && let Some(index) = number.checked_sub(first)
            && let Ok(index) = usize::try_from(index)
            && let Some(segment) = self.segments.get_mut(index)
        {
            segment.recorded = true;
        }
    }

    fn find_file(&self, name: &str) -> Option<Result<File, Reach>> {
        let mut id = uuid::Uuid::encode_buffer();
        let rest = name.strip_prefix(&*self.stream.0.as_hyphenated().encode_lower(&mut id))?;
        let rest = rest.strip_prefix('-')?;
        if let Some(number) = rest.strip_suffix(".m4s") {
            let Some((number, part)) = number.split_once('.') else {
                let segment = self.find(canonical(number)?)?;
                let here = !segment.parts.is_empty();
                return here.then(|| Ok(File::of(&segment.parts)));
            };
            let (number, part) = (canonical(number)?, usize::try_from(canonical(part)?).ok()?);
            return Some(self.part(number, part));
        }
        let number = canonical(rest.strip_prefix("init")?.strip_suffix(".mp4")?)?;
        let init = self.inits.iter().find(|init| init.number == number)?;
        Some(Ok(File {
            parts: vec![init.bytes.clone()],
            len: init.bytes.len(),
        }))
    }

    /// The part that comes next is told to viewers ahead of time, who may ask for it already.
    fn part(&self, number: u64, part: usize) -> Result<File, Reach> {
        let open = self.open.as_ref().filter(|open| open.number == number);
        if let Some(parts) = open
            .or_else(|| self.find(number))
            .map(|segment| &segment.parts)
            && let Some(part) = parts.get(part)
        {
            return Ok(File::of(std::slice::from_ref(part)));
        }
        let made = open.map_or(0, |open| open.parts.len());
        if !self.ended && number == self.next_segment && part == made {
            Err(Reach::Soon)
        } else {
            Err(Reach::Never)
        }
    }

    fn find(&self, number: u64) -> Option<&Segment> {
        let first = self.segments.front()?.number;
        let index = number.checked_sub(first)?;
        self.segments.get(usize::try_from(index).ok()?)
    }

    fn add_part(&mut self, part: Fragment, now: Timestamp) {
        let Some(init) = self.inits.back().map(|init| init.number) else {
            return;
        };
        let begun = Timestamp(now.0.saturating_sub(part.duration.as_millis() as i64));
        let open = self.open.get_or_insert_with(|| {
            let lag = MAX_LAG.as_millis() as i64;
            let date = self.date.filter(|date| begun.0 - date.0 < lag);
            let discontinuity = std::mem::take(&mut self.discontinuity);
            if discontinuity {
                self.stretch = self.stretch.next(self.line);
            }
            Segment {
                number: self.next_segment,
                init,
                parts: Vec::new(),
                gap: false,
                independent: part.independent,
                recorded: false,
                len: 0,
                duration: Duration::ZERO,
                date: date.unwrap_or(begun),
                dated: date.is_none(),
                discontinuity,
                stretch: self.stretch,
            }
        });
        open.len += part.bytes.len();
        open.duration += part.duration;
        open.parts.push(part);
        self.changed();
    }

    fn end_segment(&mut self) {
        let Some(segment) = self.open.take() else {
            return;
        };
        self.next_segment += 1;
        self.bytes += segment.len;
        self.line += segment.duration;
        self.date = Some(segment.date.plus(segment.duration));
        self.target = self
            .target
            .max(segment.duration.as_secs_f64().round() as u64);
        // As the standard has it: a key frame alone would tell many times of what follows.
        let counts = 2 * segment.duration >= Duration::from_secs(self.target);
        self.bandwidth = self.bandwidth.max((counts, segment.bits_a_second()));
        self.segments.push_back(segment);
        self.evict();
        self.changed();
        metrics::counter!("lemonair_ingest_segments_total").increment(1);
    }

    fn changed(&mut self) {
        self.revision += 1;
        self.full = None;
        self.delta = None;
    }

    fn evict(&mut self) {
        let Settings {
            window,
            dvr,
            kept,
            bytes,
            ..
        } = self.settings;
        let mut listed: Duration = self.listed().map(|segment| segment.duration).sum();
        while let Some(oldest) = self.segments.get(self.unlisted)
            && listed - oldest.duration >= window.max(dvr)
        {
            listed -= oldest.duration;
            self.unlisted += 1;
        }
        let unlisted = self.segments.range(..self.unlisted);
        let mut late: Duration = unlisted.map(|segment| segment.duration).sum();
        while let Some(oldest) = self.segments.front() {
            let kept = match self.elsewhere {
                0 => kept,
                // For its own duration and that of the longest playlist that named it.
                _ => window.max(dvr) + 3 * oldest.duration,
            };
            if late <= kept {
                break;
            }
            late -= oldest.duration;
            self.forget();
        }
        let here = self.segments.range(self.elsewhere..);
        let mut here: Duration = here.map(|segment| segment.duration).sum();
        loop {
            let count = self.segments.len() - self.elsewhere;
            let Some(oldest) = self.segments.get_mut(self.elsewhere) else {
                break;
            };
            let is_old = here - oldest.duration >= window + kept;
            let is_much = self.bytes > bytes && count > 1;
            if !is_old && !is_much {
                break;
            }
            here -= oldest.duration;
            if oldest.recorded {
                oldest.parts = Vec::new();
                self.bytes -= oldest.len;
                self.elsewhere += 1;
            } else {
                // A playlist has no holes: it begins behind this one.
                for _ in 0..=self.elsewhere {
                    self.forget();
                }
            }
        }
        let oldest = self.segments.front().map_or(0, |segment| segment.init);
        while self.inits.front().is_some_and(|init| init.number < oldest) {
            self.inits.pop_front();
        }
    }

    /// Lets go of the oldest.
    fn forget(&mut self) {
        let Some(gone) = self.segments.pop_front() else {
            return;
        };
        match self.elsewhere.checked_sub(1) {
            Some(elsewhere) => self.elsewhere = elsewhere,
            None => self.bytes -= gone.len,
        }
        self.unlisted = self.unlisted.saturating_sub(1);
    }

    fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.range(self.unlisted..)
    }
}

// === impl Stretch ===

impl Stretch {
    fn next(self, begins: Duration) -> Stretch {
        Stretch {
            number: self.number + 1,
            begins,
        }
    }
}

// === impl Segment ===

impl Segment {
    fn bits_a_second(&self) -> u64 {
        let millis = self.duration.as_millis().max(1) as u64;
        self.len as u64 * 8 * 1000 / millis
    }
}

// === impl File ===

impl File {
    fn of(parts: &[Fragment]) -> File {
        File {
            parts: parts.iter().map(|part| part.bytes.clone()).collect(),
            len: parts.iter().map(|part| part.bytes.len()).sum(),
        }
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
