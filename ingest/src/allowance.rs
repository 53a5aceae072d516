//! How much a publisher may send: a bucket that drains at the allowed rate and holds ten seconds of it,
//! so that a key frame or a line that catches up does no harm.

use std::time::Duration;

use tokio::time::Instant;

const HOLDS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Allowance {
    /// A second; zero has no limit.
    pub(crate) kilobits: u32,
    level: f64,
    at: Instant,
}

// === impl Allowance ===

impl Allowance {
    pub(crate) fn new(kilobits: u32, now: Instant) -> Allowance {
        Allowance {
            kilobits,
            level: 0.0,
            at: now,
        }
    }

    /// False: this is too much.
    pub(crate) fn take(&mut self, len: usize, now: Instant) -> bool {
        let bytes_per_second = f64::from(self.kilobits) * 125.0;
        let drained = (now - self.at).as_secs_f64() * bytes_per_second;
        self.at = now;
        self.level = (self.level - drained).max(0.0) + len as f64;
        self.kilobits == 0 || self.level <= bytes_per_second * HOLDS.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For how many tenths of a second this can be sent, of 60 s.
    fn lasts(kilobits: u32, bytes_a_tenth: usize) -> usize {
        let begun = Instant::now();
        let mut allowance = Allowance::new(kilobits, begun);
        (0..600)
            .position(|tenth| {
                let now = begun + Duration::from_millis(100) * tenth;
                !allowance.take(bytes_a_tenth, now)
            })
            .unwrap_or(600)
    }

    #[test]
    fn the_allowed_rate_for_ever_and_more_for_a_while() {
        // 8,000 kbit/s are 100,000 bytes in a tenth of a second.
        assert_eq!(lasts(8000, 100_000), 600);
        assert_eq!(lasts(8000, 200_000), 99);
        assert_eq!(lasts(8000, 10_000_001), 0);
        assert_eq!(lasts(0, 1 << 30), 600);
    }
}
