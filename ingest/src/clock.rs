//! A publisher's timestamps, which wrap at 32 bits and jump, into one line that only goes on.

/// A step back up to here is a usual shuffle.
const MAX_BACK_MS: i64 = 3_000;
/// A longer step forward is a jump: a publisher silent for so long has been given up anyway. The tracks
/// may be so far apart.
const MAX_FORWARD_MS: i64 = 10_000;
/// A longer step is a pause, and none to take again.
const LONGEST_STEP_MS: i64 = 1_000;

/// Each has its own pace: they may arrive seconds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    Picture,
    Sound,
}

#[derive(Debug, Default)]
pub(crate) struct Clock {
    picture: Option<Point>,
    sound: Option<Point>,
}

/// The latest of a track.
#[derive(Debug, Clone, Copy)]
struct Point {
    timestamp: u32,
    /// Where on the line.
    time: i64,
    /// How far the latest that went ahead did.
    step: i64,
}

// === impl Clock ===

impl Clock {
    /// Milliseconds on the line, which begins with zero, and whether the timestamp jumped. A jump is
    /// taken for another step like the last of its track, and the other track follows it.
    pub(crate) fn unwrap(&mut self, track: Track, timestamp: u32) -> (i64, bool) {
        let (own, other) = match track {
            Track::Picture => (&mut self.picture, self.sound),
            Track::Sound => (&mut self.sound, self.picture),
        };
        let last = *own;
        let next = last
            .and_then(|last| last.next(timestamp))
            .or_else(|| beside(other?, last, timestamp));
        let jumped = next.is_none() && (last.is_some() || other.is_some());
        let point = next.unwrap_or_else(|| jump(last, other, timestamp));
        *own = Some(point);
        (point.time, jumped)
    }
}

// === impl Point ===

impl Point {
    /// The shorter way around the circle of 2^32.
    fn step_to(self, timestamp: u32) -> i64 {
        i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed())
    }

    /// The next of its track, unless that is a jump.
    fn next(self, timestamp: u32) -> Option<Point> {
        let step = self.step_to(timestamp);
        (-MAX_BACK_MS..=MAX_FORWARD_MS)
            .contains(&step)
            .then_some(Point {
                timestamp,
                time: self.time + step,
                step: match step {
                    1..=LONGEST_STEP_MS => step,
                    _ => self.step,
                },
            })
    }
}

/// Where it is by the other track, if it is near to that and does not go back too far on its own.
fn beside(other: Point, last: Option<Point>, timestamp: u32) -> Option<Point> {
    let step = other.step_to(timestamp);
    let time = other.time + step;
    let goes_on = last.is_none_or(|last| time - last.time >= -MAX_BACK_MS);
    (goes_on && step.abs() <= MAX_FORWARD_MS).then_some(Point {
        timestamp,
        time,
        step: last.map_or(0, |last| last.step),
    })
}

/// One step on from its own track, or from the other if its own was away for long.
fn jump(last: Option<Point>, other: Option<Point>, timestamp: u32) -> Point {
    let fresh = |last: &Point| other.is_none_or(|other| other.time - last.time <= MAX_FORWARD_MS);
    let (time, step) = match last.filter(fresh).or(other) {
        Some(from) => (from.time + from.step, from.step),
        None => (0, 0),
    };
    Point {
        timestamp,
        time,
        step,
    }
}

#[cfg(test)]
mod tests {
    use super::Track::{Picture, Sound};
    use super::*;

    #[test]
    fn goes_on_over_the_wrap_and_over_jumps() {
        for track in [Picture, Sound] {
            let mut clock = Clock::default();
            let times = [u32::MAX - 9, u32::MAX, 10, 5, 4_000_000, 4_000_020, 0, 20]
                .map(|t| clock.unwrap(track, t));
            let expected = [0, 9, 20, 15, 26, 46, 66, 86];
            assert_eq!(times.map(|(time, _)| time), expected);
            let jumps = times.map(|(_, jumped)| jumped);
            assert_eq!(
                jumps,
                [false, false, false, false, true, false, true, false]
            );
        }
    }

    #[test]
    fn tracks_keep_their_distance() {
        for apart in [-9_000i32, -4_000, -20, 0, 20, 4_000, 9_000] {
            for first in [100_000, u32::MAX - 1_000] {
                let mut clock = Clock::default();
                for n in 0..100u32 {
                    let (at, timestamp) = (i64::from(n) * 40, first.wrapping_add(n * 40));
                    assert_eq!(clock.unwrap(Picture, timestamp), (at, false));
                    let timestamp = timestamp.wrapping_add_signed(apart);
                    let time = at + i64::from(apart);
                    assert_eq!(clock.unwrap(Sound, timestamp), (time, false));
                }
            }
        }
    }

    #[test]
    fn tracks_jump_together() {
        let mut clock = Clock::default();
        let times = [
            (Picture, 0),
            (Sound, 10),
            (Picture, 40),
            (Sound, 33),
            (Picture, 900_000),
            // A late one from before the jump.
            (Sound, 56),
            (Sound, 899_999),
            (Picture, 900_040),
            // Back again, the sound first.
            (Sound, 100),
            (Picture, 100),
        ]
        .map(|(track, timestamp)| clock.unwrap(track, timestamp));
        let expected = [
            (0, false),
            (10, false),
            (40, false),
            (33, false),
            (80, true),
            (56, false),
            (79, false),
            (120, false),
            (102, true),
            (102, false),
        ];
        assert_eq!(times, expected);
    }

    #[test]
    fn a_pause_is_no_step_to_take_again() {
        let mut clock = Clock::default();
        let times = [0, 40, 8_040, 4_000_000, 0].map(|t| clock.unwrap(Picture, t).0);
        assert_eq!(times, [0, 40, 8_040, 8_080, 8_120]);
    }

    #[test]
    fn a_track_that_was_away_comes_back_beside_the_other() {
        let mut clock = Clock::default();
        clock.unwrap(Sound, 0);
        for second in 0..=60 {
            clock.unwrap(Picture, second * 1000);
        }
        assert_eq!(clock.unwrap(Sound, 60_010), (60_010, false));
        for second in 61..=120 {
            clock.unwrap(Picture, second * 1000);
        }
        // Also when it comes back with a jump.
        assert_eq!(clock.unwrap(Sound, 9_000_000), (121_000, true));
    }
}
