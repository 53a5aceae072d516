//! Who is at the other end, and how many connections one address has at a time. Who has too many is
//! refused more, so that nobody alone takes up all there are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;

/// Counts connections by address.
#[derive(Debug)]
pub(crate) struct Places {
    /// Of one address; zero for any number.
    most: u32,
    /// Many people come from these: they are not counted.
    balancers: Vec<IpAddr>,
    taken: Mutex<HashMap<IpAddr, u32>>,
}

/// Who is at the other end, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// It is a balancer's, which does not say for whom it speaks: many people come from it.
    pub(crate) shared: bool,
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

    /// Who sent a request with these headers. A balancer that speaks HTTP adds whom it speaks for to the
    /// end of `X-Forwarded-For`; what others write there is not believed.
    pub(crate) fn peer(&self, address: IpAddr, headers: &HeaderMap) -> Peer {
        let address = address.to_canonical();
        let mut peer = Peer {
            address,
            shared: self.balancers.contains(&address),
        };
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let mut hops = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.rsplit(','));
        while peer.shared
            && let Some(Ok(hop)) = hops.next().map(|hop| hop.trim().parse::<IpAddr>())
        {
            let address = hop.to_canonical();
            peer = Peer {
                address,
                shared: self.balancers.contains(&address),
            };
        }
        peer
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
    fn a_balancer_says_for_whom_it_speaks() {
        let places = places(1);
        let peer = |from: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let Peer { address, shared } = places.peer(from.parse().unwrap(), &headers);
            (address.to_string(), shared)
        };
        let known = |address: &str| (address.to_owned(), false);
        assert_eq!(peer("192.0.2.9", &["192.0.2.1"]), known("192.0.2.9"));
        assert_eq!(peer("10.0.0.1", &["192.0.2.1"]), known("192.0.2.1"));
        // What the client itself wrote stands before what the balancer added.
        let lines = ["203.0.113.5, 203.0.113.6", "192.0.2.1 , 10.0.0.1"];
        assert_eq!(peer("::ffff:10.0.0.1", &lines), known("192.0.2.1"));
        let balancer = ("10.0.0.1".to_owned(), true);
        assert_eq!(peer("10.0.0.1", &[]), balancer);
        assert_eq!(peer("10.0.0.1", &["192.0.2.1, nonsense"]), balancer);
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
