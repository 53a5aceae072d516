//! How a publisher does: what arrives over the last seconds, and what is wrong with it in words.

use std::collections::VecDeque;
use std::time::Duration;

use lemonair_schemas::stream::Figures;
use tokio::time::Instant;

use crate::clock::{Clock, Track};
use crate::packager::Dropped;
use crate::restream::State;

/// Rates are counted over so many whole seconds.
const SECONDS: usize = 10;
/// Farther apart, viewers wait long for their first picture.
const FAR_APART: Duration = Duration::from_secs(4);
/// A publisher that falls behind so far has too slow a line.
const BEHIND: Duration = Duration::from_millis(1500);
/// Seconds of each stretch in which arrivals are compared with the promptest.
const STRETCH: u64 = 30;

/// Measures one publisher.
#[derive(Debug)]
pub struct Meter {
    begun: Instant,
    clock: Clock,
    /// The last seconds, the newest last.
    seconds: VecDeque<Second>,
    /// When the newest key frame is due, and how far it is from the one before it.
    key: Option<i64>,
    key_distance: Option<Duration>,
    promptest: Option<Promptest>,
    behind: Duration,
}

/// The least that a frame's arrival was behind its timestamp in a stretch of time, and in the one before
/// it. No longer: clocks drift apart, and a step back would be held against the line for ever.
#[derive(Debug, Clone, Copy)]
struct Promptest {
    stretch: u64,
    late: i64,
    before: i64,
}

#[derive(Debug, Default)]
struct Second {
    number: u64,
    pictures: u32,
    picture_bytes: usize,
    sound_bytes: usize,
}

/// A frame that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    Picture { key: bool, len: usize },
    Sound { len: usize },
}

/// What the streamer is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub video: Option<Video>,
    pub audio: Option<Audio>,
    /// Since the publisher came.
    pub seconds: u64,
    /// How far behind its timestamps the stream arrives, beside the promptest of the last minute.
    pub behind: Duration,
    pub dropped: Dropped,
    pub encoder: Option<String>,
    /// Servers to which the broadcast is pushed on, and how each does.
    pub restream: Vec<(String, State)>,
    pub warnings: Vec<Warning>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    pub codec: String,
    pub width: u16,
    pub height: u16,
    pub frames_per_second: f64,
    pub kilobits_per_second: u64,
    /// Between key frames.
    pub key_distance: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    pub codec: String,
    pub sample_rate: u32,
    pub channels: u8,
    pub kilobits_per_second: u64,
}

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warning {
    KeyFrames(Duration),
    Behind(Duration),
    NoSound,
    NoPicture,
    Jumps(u64),
}

/// The tracks that a publisher has, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tracks {
    /// Codec, width and height.
    pub video: Option<(String, u16, u16)>,
    /// Codec, sample rate and channels.
    pub audio: Option<(String, u32, u8)>,
    pub encoder: Option<String>,
}

// === impl Meter ===

impl Meter {
    pub fn new(now: Instant) -> Meter {
        Meter {
            begun: now,
            clock: Clock::default(),
            seconds: VecDeque::new(),
            key: None,
            key_distance: None,
            promptest: None,
            behind: Duration::ZERO,
        }
    }

    pub fn arrived(&mut self, frame: Arrived, timestamp: u32, now: Instant) {
        let track = match frame {
            Arrived::Picture { .. } => Track::Picture,
            Arrived::Sound { .. } => Track::Sound,
        };
        let (time, _) = self.clock.unwrap(track, timestamp);
        let since = now - self.begun;
        let number = since.as_secs();
        if self.seconds.back().is_none_or(|last| last.number != number) {
            self.seconds.push_back(Second {
                number,
                ..Second::default()
            });
            // One more than is counted: the newest is not whole yet.
            while self.seconds.len() > SECONDS + 1 {
                self.seconds.pop_front();
            }
        }
        let Some(second) = self.seconds.back_mut() else {
            return;
        };
        match frame {
            Arrived::Picture { key, len } => {
                second.pictures += 1;
                second.picture_bytes += len;
                if key {
                    let distance = self
                        .key
                        .map(|before| (time - before).max(0).cast_unsigned());
                    self.key_distance = distance.map(Duration::from_millis).or(self.key_distance);
                    self.key = Some(time);
                }
            }
            Arrived::Sound { len } => second.sound_bytes += len,
        }
        let late = since.as_millis() as i64 - time;
        let promptest = Promptest::with(self.promptest, since.as_secs() / STRETCH, late);
        self.promptest = Some(promptest);
        self.behind = Duration::from_millis((late - promptest.of_both()).cast_unsigned());
    }

    pub fn health(&self, tracks: &Tracks, dropped: Dropped, now: Instant) -> Health {
        let age = (now - self.begun).as_secs();
        let counted = self
            .seconds
            .iter()
            .filter(|second| second.number < age && second.number + SECONDS as u64 >= age);
        let (mut pictures, mut picture_bytes, mut sound_bytes) = (0, 0, 0);
        for second in counted {
            pictures += second.pictures;
            picture_bytes += second.picture_bytes;
            sound_bytes += second.sound_bytes;
        }
        let span = age.clamp(1, SECONDS as u64);
        let kilobits = |bytes: usize| bytes as u64 * 8 / 1000 / span;
        let video = tracks.video.clone().map(|(codec, width, height)| Video {
            codec,
            width,
            height,
            frames_per_second: f64::from(pictures) / span as f64,
            kilobits_per_second: kilobits(picture_bytes),
            key_distance: self.key_distance,
        });
        let audio = tracks
            .audio
            .clone()
            .map(|(codec, sample_rate, channels)| Audio {
                codec,
                sample_rate,
                channels,
                kilobits_per_second: kilobits(sound_bytes),
            });
        let mut health = Health {
            video,
            audio,
            seconds: age,
            behind: self.behind,
            dropped,
            encoder: tracks.encoder.clone(),
            restream: Vec::new(),
            warnings: Vec::new(),
        };
        health.warnings = self.warnings(&health, pictures, now);
        health
    }

    fn warnings(&self, health: &Health, pictures: u32, now: Instant) -> Vec<Warning> {
        let mut warnings = Vec::new();
        // The one that has not come yet may be late already.
        let waited = (now - self.begun).saturating_sub(self.behind).as_millis() as i64
            - self.promptest.map_or(0, Promptest::of_both);
        let open = self.key.map(|key| (waited - key).max(0).cast_unsigned());
        let distance = self
            .key_distance
            .max(open.map(Duration::from_millis))
            .unwrap_or_default();
        if health.video.is_some() && pictures > 0 && distance > FAR_APART {
            warnings.push(Warning::KeyFrames(distance));
        }
        if self.behind > BEHIND {
            warnings.push(Warning::Behind(self.behind));
        }
        if health.dropped.jumps > 0 {
            warnings.push(Warning::Jumps(health.dropped.jumps));
        }
        if health.seconds >= 3 {
            match (&health.video, &health.audio) {
                (Some(_), None) => warnings.push(Warning::NoSound),
                (None, Some(_)) => warnings.push(Warning::NoPicture),
                _ => {}
            }
        }
        warnings
    }
}

// === impl Promptest ===

impl Promptest {
    fn with(known: Option<Promptest>, stretch: u64, late: i64) -> Promptest {
        match known {
            Some(known) if known.stretch == stretch => Promptest {
                late: known.late.min(late),
                ..known
            },
            known => Promptest {
                stretch,
                late,
                before: known.map_or(late, |known| known.late),
            },
        }
    }

    fn of_both(self) -> i64 {
        self.late.min(self.before)
    }
}

// === impl Health ===

impl Health {
    /// What the topic keeps of it.
    pub fn figures(&self) -> Figures {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (video, audio) = (self.video.as_ref(), self.audio.as_ref());
        let distance = video.and_then(|video| video.key_distance);
        let kilobits = video.map_or(0, |video| video.kilobits_per_second)
            + audio.map_or(0, |audio| audio.kilobits_per_second);
        Figures {
            codec: video.map(|video| video.codec.clone()),
            width: video.map(|video| video.width.into()),
            height: video.map(|video| video.height.into()),
            fps: video.map(|video| video.frames_per_second.round() as i64),
            key_frame_ms: distance.map(|distance| number(distance.as_millis() as u64)),
            kbps: number(kilobits),
            dropped: number(self.dropped.unusable + self.dropped.overlapping),
        }
    }
}

// === impl Warning ===

impl Warning {
    /// Stable, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Warning::KeyFrames(_) => "key_frames",
            Warning::Behind(_) => "behind",
            Warning::NoSound => "no_sound",
            Warning::NoPicture => "no_picture",
            Warning::Jumps(_) => "jumps",
        }
    }

    /// What the words are about: seconds, or how many.
    pub fn value(self) -> Option<f64> {
        match self {
            Warning::KeyFrames(time) | Warning::Behind(time) => {
                Some((time.as_secs_f64() * 10.0).round() / 10.0)
            }
            Warning::Jumps(count) => Some(count as f64),
            Warning::NoSound | Warning::NoPicture => None,
        }
    }

    pub fn words(self) -> String {
        let value = self.value().unwrap_or_default();
        match self {
            Warning::KeyFrames(_) => format!(
                "key frames every {value} s: viewers wait long; set the keyframe interval to 2 s"
            ),
            Warning::Behind(_) => format!(
                "the stream arrives {value} s late: the line is too slow; lower the bitrate"
            ),
            Warning::NoSound => "there is no sound; add an audio track".to_owned(),
            Warning::NoPicture => "there is no picture; add a video track".to_owned(),
            Warning::Jumps(_) => format!(
                "timestamps jumped {value} times: the picture stutters; restart the encoder"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracks() -> Tracks {
        Tracks {
            video: Some(("avc1.64001f".to_owned(), 1280, 720)),
            audio: Some(("mp4a.40.2".to_owned(), 48_000, 2)),
            encoder: None,
        }
    }

    /// 25 pictures a second with a key frame every `group` seconds, each frame `slow` times later
    /// than it should be.
    fn publish(seconds: u32, group: u32, slow: f64) -> (Meter, Instant) {
        let begun = Instant::now();
        let mut meter = Meter::new(begun);
        let mut now = begun;
        for n in 0..seconds * 25 {
            let time = n * 40;
            now = begun + Duration::from_millis(time.into()).mul_f64(slow);
            let key = n % (group * 25) == 0;
            meter.arrived(Arrived::Picture { key, len: 10_000 }, time, now);
            meter.arrived(Arrived::Sound { len: 640 }, time, now);
        }
        (meter, now + Duration::from_millis(40))
    }

    #[test]
    fn a_good_stream_has_rates_and_no_warnings() {
        let (meter, now) = publish(30, 2, 1.0);
        let health = meter.health(&tracks(), Dropped::default(), now);
        let video = health.video.clone().expect("a picture");
        assert_eq!(video.frames_per_second, 25.0);
        assert_eq!(video.kilobits_per_second, 2000);
        assert_eq!(video.key_distance, Some(Duration::from_secs(2)));
        assert_eq!((health.seconds, health.behind), (30, Duration::ZERO));
        assert_eq!(health.warnings, []);
        assert_eq!(
            health.figures(),
            Figures {
                codec: Some("avc1.64001f".to_owned()),
                width: Some(1280),
                height: Some(720),
                fps: Some(25),
                key_frame_ms: Some(2000),
                kbps: 2128,
                dropped: 0,
            }
        );
        assert_eq!(health.audio.expect("sound").kilobits_per_second, 128);
    }

    /// Its clock is set back by a little.
    #[test]
    fn a_step_back_is_forgotten_after_a_minute() {
        let begun = Instant::now();
        let mut meter = Meter::new(begun);
        let mut behind = Vec::new();
        for n in 0..75 * 25 {
            let now = begun + Duration::from_millis(n * 40);
            let back = if n < 250 { 0 } else { 2500 };
            let frame = Arrived::Picture { key: true, len: 1 };
            meter.arrived(frame, (n * 40) as u32 - back, now);
            if n % (15 * 25) == 14 * 25 {
                behind.push(meter.behind.as_millis());
            }
        }
        // Every fifteen seconds, at the fourteenth.
        assert_eq!(behind, [2500, 2500, 2500, 2500, 0]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let warnings = |seconds, group, slow, tracks: &Tracks| {
            let (meter, now) = publish(seconds, group, slow);
            meter.health(tracks, Dropped::default(), now).warnings
        };
        let far = Warning::KeyFrames(Duration::from_secs(10));
        assert_eq!(warnings(25, 10, 1.0, &tracks()), [far]);
        assert_eq!(
            far.words(),
            "key frames every 10 s: viewers wait long; set the keyframe interval to 2 s"
        );
        // Also before the second one has come.
        let codes: Vec<&str> = warnings(6, 60, 1.0, &tracks())
            .iter()
            .map(|w| w.code())
            .collect();
        assert_eq!(codes, ["key_frames"]);
        let slow = warnings(30, 2, 1.1, &tracks());
        assert!(matches!(slow[..], [Warning::Behind(by)] if by > Duration::from_millis(2900)));
        let silent = Tracks {
            audio: None,
            ..tracks()
        };
        assert_eq!(warnings(5, 2, 1.0, &silent), [Warning::NoSound]);
    }
}
