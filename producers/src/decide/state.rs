//! What a decider remembers of its partition; rebuilt from the compacted topic.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lemonair_schemas::decider::{Decision, Donation, Memory, NameTaken, Progress, Wallet};
use lemonair_schemas::{AccountId, EventId, Timestamp};

/// Idempotency keys are good for a day at least; twice that leaves room for clocks that differ.
const KEYS_ARE_KEPT: Duration = Duration::from_secs(48 * 3600);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    next: i64,
    names: HashMap<String, AccountId>,
    wallets: HashMap<String, i64>,
    decisions: HashMap<String, Decision>,
    donations: HashMap<String, Donation>,
    /// Decisions by age, so that old ones are found without a search.
    ages: VecDeque<(Timestamp, String)>,
}

pub(super) fn name_key(name: &str) -> String {
    format!("n:{}", name.to_ascii_lowercase())
}

pub(super) fn wallet_key(account: AccountId) -> String {
    format!("w:{account}")
}

pub(super) fn decision_key(account: AccountId, key: &str) -> String {
    format!("k:{account}:{key}")
}

pub(super) fn donation_key(donation: EventId) -> String {
    format!("d:{donation}")
}

/// The key of the record that says how far a partition is decided.
pub const PROGRESS: &str = "p";

impl State {
    /// Offset of the next command.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Points in a wallet.
    pub fn balance(&self, account: AccountId) -> i64 {
        self.wallets.get(&wallet_key(account)).copied().unwrap_or(0)
    }

    pub fn is_taken(&self, name: &str) -> bool {
        self.names.contains_key(&name_key(name))
    }

    pub(super) fn decision(&self, key: &str) -> Option<&Decision> {
        self.decisions.get(key)
    }

    pub fn donation(&self, donation: EventId) -> Option<&Donation> {
        self.donations.get(&donation_key(donation))
    }

    /// Takes in one record of the compacted topic; `None` is a tombstone.
    pub fn remember(&mut self, key: &str, memory: Option<Memory>) {
        match memory {
            Some(Memory::Progress(Progress { next })) => self.next = next,
            Some(Memory::NameTaken(NameTaken { account })) => {
                self.names.insert(key.to_owned(), account);
            }
            Some(Memory::Wallet(Wallet { balance })) => {
                self.wallets.insert(key.to_owned(), balance);
            }
            Some(Memory::Decision(decision)) => {
                self.ages.push_back((decision.at, key.to_owned()));
                self.decisions.insert(key.to_owned(), decision);
            }
            Some(Memory::Donation(donation)) => {
                self.donations.insert(key.to_owned(), donation);
            }
            // Only idempotency keys are ever forgotten, the oldest first. Its age goes with it, or a
            // key that is used anew would be forgotten when its first use is old.
            None => {
                self.decisions.remove(key);
                let gone = |age: &(Timestamp, String)| !self.decisions.contains_key(&age.1);
                while self.ages.front().is_some_and(gone) {
                    self.ages.pop_front();
                }
            }
        }
    }

    /// Keys whose time is over, at most `max`; their tombstones are for the caller to write and
    /// remember.
    pub fn expired(&self, now: Timestamp, max: usize) -> Vec<String> {
        self.ages
            .iter()
            .take_while(|(at, _)| now.since(*at) > KEYS_ARE_KEPT)
            .take(max)
            .map(|(_, key)| key.clone())
            .collect()
    }
}
