//! Latencies of many million deliveries in a few kilobytes: buckets that grow by a thirty-second.

use std::time::Duration;

const FINE: u32 = 5;

#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies {
            buckets: vec![0; 1 << (FINE + 5)],
            count: 0,
        }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, micros: u32) {
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
    }

    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count as f64 * share) as u64;
        let mut passed = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            passed += count;
            if passed > rank {
                return Duration::from_micros(floor(index));
            }
        }
        Duration::ZERO
    }
}

/// The leading one and the [`FINE`] bits behind it.
fn bucket(micros: u32) -> usize {
    let exponent = (u32::BITS - micros.leading_zeros()).saturating_sub(FINE + 1);
    ((exponent << FINE) + (micros >> exponent)) as usize
}

fn floor(bucket: usize) -> u64 {
    let fine = 1 << FINE;
    let exponent = (bucket / fine).saturating_sub(1);
    ((bucket - exponent * fine) as u64) << exponent
}
