//! A publisher's timestamps, which wrap at 32 bits and jump, into one line that only goes on.

/// A step back up to here is the usual shuffle between picture and sound.
const MAX_BACK_MS: i64 = 3_000;
/// A longer step forward is a jump: a publisher silent for so long has been given up anyway.
const MAX_FORWARD_MS: i64 = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Option<(u32, i64)>,
    /// How far the latest timestamp ahead was.
    step: i64,
}

// === impl Clock ===

impl Clock {
    /// Milliseconds on the line, which begins with zero, and whether the timestamp jumped. A jump is
    /// taken for another step like the last.
    pub(crate) fn unwrap(&mut self, timestamp: u32) -> (i64, bool) {
        let Some((raw, time)) = self.last else {
            self.last = Some((timestamp, 0));
            return (0, false);
        };
        // The shorter way around the circle of 2^32.
        let step = i64::from(timestamp.wrapping_sub(raw).cast_signed());
        let jumped = !(-MAX_BACK_MS..=MAX_FORWARD_MS).contains(&step);
        if !jumped && step > 0 {
            self.step = step;
        }
        let time = time + if jumped { self.step } else { step };
        self.last = Some((timestamp, time));
        (time, jumped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_over_the_wrap_and_over_jumps() {
        let mut clock = Clock::default();
        let times =
            [u32::MAX - 9, u32::MAX, 10, 5, 4_000_000, 4_000_020, 0, 20].map(|t| clock.unwrap(t));
        let expected = [0, 9, 20, 15, 26, 46, 66, 86];
        assert_eq!(times.map(|(time, _)| time), expected);
        let jumps = times.map(|(_, jumped)| jumped);
        assert_eq!(
            jumps,
            [false, false, false, false, true, false, true, false]
        );
    }
}
