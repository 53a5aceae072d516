//! What a decider remembers of its partition; rebuilt from the compacted topic.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use lemonair_schemas::decider::{
    Debt, Decision, Donation, Memory, NameTaken, OnAir, PaidOut, Payment, Progress, Wallet,
};
use lemonair_schemas::{AccountId, EventId, RoomId, Timestamp};

/// Idempotency keys are good for a day at least; twice that leaves room for clocks that differ.
const KEYS_ARE_KEPT: Duration = Duration::from_secs(48 * 3600);

/// What the operator of the site has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What the platform keeps of a donation, in hundredths of a percent.
    pub fee: u16,
    /// How long a donation can be given back, and a payment told of anew; then they are forgotten.
    pub kept: Duration,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub(super) terms: Terms,
    next: i64,
    names: HashMap<String, AccountId>,
    wallets: HashMap<String, i64>,
    debts: HashMap<String, i64>,
    paid_out: HashMap<String, i64>,
    payments: HashMap<String, Payment>,
    decisions: HashMap<String, Decision>,
    donations: HashMap<String, Donation>,
    on_air: HashMap<String, OnAir>,
    /// Decisions by age, so that old ones are found without a search.
    ages: VecDeque<(Timestamp, String)>,
    /// Donations and payments by age.
    elders: VecDeque<(Timestamp, String)>,
}

pub(super) fn name_key(name: &str) -> String {
    format!("n:{}", name.to_ascii_lowercase())
}

pub(super) fn wallet_key(account: AccountId) -> String {
    format!("w:{account}")
}

pub(super) fn debt_key(account: AccountId) -> String {
    format!("b:{account}")
}

pub(super) fn paid_out_key(account: AccountId) -> String {
    format!("o:{account}")
}

pub(super) fn payment_key(account: AccountId, payment: &str) -> String {
    format!("t:{account}:{payment}")
}

/// An idempotency key: of an account's donations, orders or payouts, or of a donation's refunds.
pub(super) fn decision_key(of: impl fmt::Display, key: &str) -> String {
    format!("k:{of}:{key}")
}

pub(super) fn donation_key(donation: EventId) -> String {
    format!("d:{donation}")
}

pub(super) fn room_key(room: &RoomId) -> String {
    format!("b:{room}")
}

/// The key of the record that says how far a partition is decided.
pub const PROGRESS: &str = "p";

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            fee: 0,
            kept: Duration::from_secs(180 * 86_400),
        }
    }
}

impl Terms {
    /// Rounded in the streamer's favour.
    pub(super) fn fee_of(self, amount: i64) -> i64 {
        amount * i64::from(self.fee) / 10_000
    }
}

impl State {
    pub fn new(terms: Terms) -> State {
        State {
            terms,
            ..State::default()
        }
    }

    /// Offset of the next command.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Points in a wallet.
    pub fn balance(&self, account: AccountId) -> i64 {
        self.wallets.get(&wallet_key(account)).copied().unwrap_or(0)
    }

    /// Points that an account owes.
    pub(super) fn debt(&self, account: AccountId) -> i64 {
        self.debts.get(&debt_key(account)).copied().unwrap_or(0)
    }

    pub(super) fn paid_out(&self, account: AccountId) -> i64 {
        let paid = self.paid_out.get(&paid_out_key(account));
        paid.copied().unwrap_or(0)
    }

    pub(super) fn payment(&self, key: &str) -> Option<&Payment> {
        self.payments.get(key)
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

    pub fn on_air(&self, room: &RoomId) -> Option<&OnAir> {
        self.on_air.get(&room_key(room))
    }

    pub(super) fn all_on_air(&self) -> impl Iterator<Item = &OnAir> {
        self.on_air.values()
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
            Some(Memory::Debt(Debt { amount })) => {
                self.debts.insert(key.to_owned(), amount);
            }
            Some(Memory::PaidOut(PaidOut { amount })) => {
                self.paid_out.insert(key.to_owned(), amount);
            }
            Some(Memory::Payment(payment)) => {
                let at = payment.at;
                if self.payments.insert(key.to_owned(), payment).is_none() {
                    self.elders.push_back((at, key.to_owned()));
                }
            }
            Some(Memory::Donation(donation)) => {
                if self.donations.insert(key.to_owned(), donation).is_none() {
                    let id = key.strip_prefix("d:").and_then(|id| id.parse().ok());
                    let at = id.map_or(Timestamp(0), EventId::at);
                    self.elders.push_back((at, key.to_owned()));
                }
            }
            Some(Memory::OnAir(on_air)) => {
                self.on_air.insert(key.to_owned(), on_air);
            }
            None if self.on_air.remove(key).is_some() => {}
            // The oldest are forgotten first. Its age goes with it, or a key that is used anew would
            // be forgotten when its first use is old.
            None => {
                self.decisions.remove(key);
                self.donations.remove(key);
                self.payments.remove(key);
                let gone = |age: &(Timestamp, String)| !self.decisions.contains_key(&age.1);
                while self.ages.front().is_some_and(gone) {
                    self.ages.pop_front();
                }
                let gone = |age: &(Timestamp, String)| {
                    !self.donations.contains_key(&age.1) && !self.payments.contains_key(&age.1)
                };
                while self.elders.front().is_some_and(gone) {
                    self.elders.pop_front();
                }
            }
        }
    }

    /// Keys, donations and payments whose time is over, at most `max`; their tombstones are for the caller to write and
    /// remember.
    pub fn expired(&self, now: Timestamp, max: usize) -> Vec<String> {
        let older = |ages: &'_ VecDeque<(Timestamp, String)>, kept| {
            let old = ages.iter().take_while(|(at, _)| now.since(*at) > kept);
            old.map(|(_, key)| key.clone())
                .take(max)
                .collect::<Vec<_>>()
        };
        let mut keys = older(&self.ages, KEYS_ARE_KEPT);
        keys.extend(older(&self.elders, self.terms.kept));
        keys.truncate(max);
        keys
    }
}
