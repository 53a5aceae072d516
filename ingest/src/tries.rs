//! Failed stream keys, counted by address: guessing is slow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered. When more come, the count begins anew for all: a flood from that many
/// addresses is not stopped here.
const MAX_ADDRESSES: usize = 8192;

#[derive(Debug)]
pub(crate) struct Tries {
    allowed: u32,
    failed: HashMap<IpAddr, (u32, Instant)>,
}

// === impl Tries ===

impl Tries {
    /// So many failures a minute from one address.
    pub(crate) fn new(allowed: u32) -> Tries {
        Tries {
            allowed,
            failed: HashMap::new(),
        }
    }

    pub(crate) fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        match self.failed.get(&network(address)) {
            Some((count, since)) => *count < self.allowed || now - *since >= WINDOW,
            None => true,
        }
    }

    pub(crate) fn failed(&mut self, address: IpAddr, now: Instant) {
        if self.failed.len() >= MAX_ADDRESSES {
            self.failed.retain(|_, (_, since)| now - *since < WINDOW);
            if self.failed.len() >= MAX_ADDRESSES {
                self.failed.clear();
            }
        }
        let (count, since) = self.failed.entry(network(address)).or_insert((0, now));
        if now - *since >= WINDOW {
            (*count, *since) = (0, now);
        }
        *count = count.saturating_add(1);
    }
}

/// One customer has a whole /64 of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_waits_and_others_do_not() {
        let now = Instant::now();
        let mut tries = Tries::new(3);
        let guesser = "2001:db8::1".parse().unwrap();
        for _ in 0..3 {
            assert!(tries.may_try(guesser, now));
            tries.failed(guesser, now);
        }
        assert!(!tries.may_try("2001:db8::2".parse().unwrap(), now));
        assert!(tries.may_try("192.0.2.1".parse().unwrap(), now));
        assert!(tries.may_try(guesser, now + WINDOW));
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut tries = Tries::new(3);
        for n in 0..3 * MAX_ADDRESSES as u32 {
            tries.failed(IpAddr::from(n.to_be_bytes()), now);
            assert!(tries.failed.len() <= MAX_ADDRESSES);
        }
    }
}
