//! Connections that do not publish yet: how many there may be, in all and from one address. Those on
//! air are counted elsewhere, so that strangers cannot crowd them out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tries::network;

#[derive(Debug)]
pub(crate) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("all {0} places are taken")]
    All(usize),
    #[error("its address has {0} connections already")]
    Address(usize),
}

// === impl Places ===

impl Places {
    pub(crate) fn new(all: usize, each: usize) -> Arc<Places> {
        Arc::new(Places {
            all,
            each,
            taken: Mutex::default(),
        })
    }

    pub(crate) fn take(self: &Arc<Places>, address: IpAddr) -> Result<Place, Full> {
        let address = network(address);
        let mut taken = self.taken();
        if taken.all >= self.all {
            return Err(Full::All(self.all));
        }
        let of_address = taken.each.entry(address).or_default();
        if *of_address >= self.each {
            return Err(Full::Address(self.each));
        }
        *of_address += 1;
        taken.all += 1;
        Ok(Place {
            places: Arc::clone(self),
            address,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(of_address) = taken.each.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.each.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_all_have_theirs() {
        let places = Places::new(3, 2);
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let first = places.take(address(1)).unwrap();
        let _second = places.take(address(1)).unwrap();
        assert_eq!(places.take(address(1)).unwrap_err(), Full::Address(2));
        let _other = places.take(address(2)).unwrap();
        assert_eq!(places.take(address(3)).unwrap_err(), Full::All(3));
        drop(first);
        let _again = places.take(address(1)).unwrap();
        assert_eq!(places.taken().each.len(), 2);
    }
}
