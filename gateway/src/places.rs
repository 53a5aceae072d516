//! How many connections one address has at a time. Who has too many is refused more, so that nobody
//! alone takes up all there are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections by address.
#[derive(Debug)]
pub(crate) struct Places {
    /// Of one address; zero for any number.
    most: u32,
    /// Many people come from these: they are not counted.
    balancers: Vec<IpAddr>,
    taken: Mutex<HashMap<IpAddr, u32>>,
}

/// Held by a connection for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// `None` if it is not counted.
    address: Option<IpAddr>,
}

// === impl Places ===

impl Places {
    pub(crate) fn new(most: u32, balancers: &[IpAddr]) -> Arc<Places> {
        Arc::new(Places {
            most,
            balancers: balancers.iter().map(IpAddr::to_canonical).collect(),
            taken: Mutex::default(),
        })
    }

    /// A place for one more, unless the address has as many as it may have.
    pub(crate) fn take(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let place = |address| Place {
            places: Arc::clone(self),
            address,
        };
        if self.most == 0 || self.balancers.contains(&address) {
            return Some(place(None));
        }
        let address = network(address);
        let mut taken = self.lock();
        let count = taken.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(place(Some(address)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has one IPv6 address has the 2^64 beside it.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut count) = self.places.lock().entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: u32) -> Arc<Places> {
        Places::new(most, &["10.0.0.1".parse().unwrap()])
    }

    fn take(places: &Arc<Places>, address: &str) -> Option<Place> {
        places.take(address.parse().unwrap())
    }

    #[test]
    fn who_leaves_makes_room() {
        let places = places(2);
        let first = take(&places, "192.0.2.1");
        let second = take(&places, "::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(take(&places, "192.0.2.1").is_none());
        assert!(take(&places, "192.0.2.2").is_some());
        drop(first);
        assert!(take(&places, "192.0.2.1").is_some());
        drop(second);
        assert_eq!(*places.lock(), HashMap::new());
    }

    #[test]
    fn a_network_counts_as_one() {
        let places = places(1);
        let _first = take(&places, "2001:db8:1:1::1");
        assert!(take(&places, "2001:db8:1:1:ffff::2").is_none());
        assert!(take(&places, "2001:db8:1:2::1").is_some());
    }

    #[test]
    fn some_are_not_counted() {
        let bounded = places(1);
        let held: Vec<_> = (0..3).map(|_| take(&bounded, "10.0.0.1")).collect();
        assert!(held.iter().all(Option::is_some));
        let open = places(0);
        let held: Vec<_> = (0..3).map(|_| take(&open, "192.0.2.1")).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
