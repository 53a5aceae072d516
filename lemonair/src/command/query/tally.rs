//! What a query has read, and what of it could not be decoded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lemonair_schemas::Position;

#[derive(Default)]
pub(super) struct Tally {
    read: AtomicU64,
    of: AtomicU64,
    /// By place, as a statement may read a topic twice.
    unreadable: Mutex<BTreeMap<Position, String>>,
    more: AtomicU64,
}

/// So many are listed; others are counted.
const LISTED: usize = 1000;

impl Tally {
    pub(super) fn begin(&self, of: u64) {
        self.of.fetch_add(of, Ordering::Relaxed);
    }

    pub(super) fn read(&self, records: u64) {
        self.read.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn unreadable(&self, position: Position, cause: String) {
        let mut unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if unreadable.len() < LISTED || unreadable.contains_key(&position) {
            unreadable.insert(position, cause);
        } else {
            self.more.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many records were read, and how many there are.
    pub(super) fn records(&self) -> (u64, u64) {
        (
            self.read.load(Ordering::Relaxed),
            self.of.load(Ordering::Relaxed),
        )
    }

    /// Says what could not be decoded.
    pub(super) fn report(&self) {
        let unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (position, cause) in &*unreadable {
            eprintln!(
                "cannot be decoded: lemonair.{} partition {} offset {}: {cause}",
                position.topic, position.partition, position.offset
            );
        }
        let count = unreadable.len() as u64 + self.more.load(Ordering::Relaxed);
        if count > 0 {
            eprintln!("{count} records could not be decoded");
        }
    }
}
