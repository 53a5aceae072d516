//! What must be true of all entries together, found out without any of the deciders' code: a fold
//! over the ledger and the donations.
//!
//! Memory grows with accounts, donations and payments, not with entries: some dozen bytes each.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use lemonair_schemas::donation::{DonationAccepted, DonationRefunded};
use lemonair_schemas::ledger::{Book, EntryPosted, Kind};
use lemonair_schemas::{AccountId, EventId, Position, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Faults that are told in words, at most; all are counted.
const TOLD: usize = 100;
/// An idempotency key is good for so long.
const KEYS_ARE_GOOD: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Audit {
    /// How long deciders remember a payment that was credited.
    kept: Duration,
    pub(super) entries: u64,
    /// Of these, how many the read model did not have yet.
    pub(super) late: u64,
    pub(super) accepted: u64,
    pub(super) refunded: u64,
    books: HashMap<(Owner, Book), Balance>,
    gifts: HashMap<EventId, Gift>,
    /// Each with when it was used: rooms are read in any order.
    keys: BTreeSet<(Print, Timestamp)>,
    payments: HashMap<Print, Payment>,
    paid_out: HashMap<AccountId, i64>,
    /// Accounts and donations that have moved since this was last cleared.
    pub(super) moved: HashSet<Uuid>,
    pub(super) faults: u64,
    pub(super) told: Vec<String>,
}

/// Whose book it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Account(AccountId),
    Provider,
    Platform,
    Nobody,
}

#[derive(Debug, Clone, Copy, Default)]
struct Balance {
    all: i128,
    /// Of it, what the read model did not have yet.
    late: i128,
}

/// A donation: what its events say, and what its entries moved.
#[derive(Debug, Clone, Copy, Default)]
struct Gift {
    /// As whatever named him first says.
    streamer: Option<AccountId>,
    accepted: i64,
    moved: i64,
    refunded: i64,
    returned: i64,
}

/// A payment that was credited.
#[derive(Debug, Clone, Copy)]
struct Payment {
    at: Timestamp,
    /// Points of it that were not taken back.
    rest: i64,
}

/// The beginning of a SHA-256: enough to tell two keys apart.
type Print = [u8; 16];

/// What the deciders remember of money.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) wallets: HashMap<AccountId, i64>,
    pub(super) debts: HashMap<AccountId, i64>,
    pub(super) paid_out: HashMap<AccountId, i64>,
    /// Points not yet given back.
    pub(super) donations: HashMap<EventId, i64>,
}

impl Audit {
    pub(super) fn new(kept: Duration) -> Audit {
        Audit {
            kept,
            ..Audit::default()
        }
    }

    pub(super) fn entry(&mut self, at: Position, entry: &EntryPosted, late: bool) {
        self.entries += 1;
        self.late += u64::from(late);
        let sum: i128 = entry
            .postings
            .iter()
            .map(|posting| i128::from(posting.amount))
            .sum();
        if sum != 0 || entry.postings.len() < 2 {
            let lines = entry.postings.len();
            self.fault(at, format!("{lines} postings that sum to {sum}"));
        }
        let mut of_account = 0;
        let mut of_provider = 0;
        let mut earned = 0;
        let earner = self.earner(entry);
        for posting in &entry.postings {
            let owner = Owner::named(&posting.account);
            if owner == Owner::Nobody {
                self.fault(
                    at,
                    format!("a posting to {:?}, which is nobody", posting.account),
                );
            }
            let balance = self.books.entry((owner, posting.book)).or_default();
            balance.all += i128::from(posting.amount);
            if late {
                balance.late += i128::from(posting.amount);
            }
            match posting.book {
                Book::Wallet | Book::Debt => {
                    if owner == Owner::Account(entry.account) {
                        of_account += posting.amount;
                    } else {
                        self.fault(
                            at,
                            "the wallet of somebody else than the entry's account".to_owned(),
                        );
                    }
                }
                Book::Provider => of_provider += posting.amount,
                Book::Earnings => {
                    earned += posting.amount;
                    if earner.is_none_or(|earner| owner != Owner::Account(earner)) {
                        let account = &posting.account;
                        let what = format!("earnings of {account}, to whom nothing was given");
                        self.fault(at, what);
                    }
                }
                Book::Platform => {}
            }
        }
        self.moved.insert(entry.account.0);
        self.moved.extend(entry.donation.map(|donation| donation.0));
        // After the whole entry, and in the order of the partition: at any moment.
        let account = Owner::Account(entry.account);
        if self.balance(account, Book::Wallet).all < 0 {
            self.fault(at, format!("the wallet of {} is below zero", entry.account));
        }
        if self.balance(account, Book::Debt).all > 0 {
            self.fault(at, format!("{} owes less than nothing", entry.account));
        }
        if entry.kind == Kind::Payout {
            *self.paid_out.entry(entry.account).or_default() -= earned;
        }
        self.cause(at, entry, of_account, of_provider);
    }

    /// Whose earnings an entry may move.
    fn earner(&mut self, entry: &EntryPosted) -> Option<AccountId> {
        match (entry.kind, entry.donation) {
            (Kind::Payout, _) => Some(entry.account),
            (Kind::Donation | Kind::Refund, Some(donation)) => {
                let gift = self.gifts.entry(donation).or_default();
                if gift.streamer.is_none() {
                    let mut postings = entry.postings.iter();
                    let earnings = postings.find(|posting| posting.book == Book::Earnings);
                    gift.streamer = earnings.and_then(|posting| posting.account.parse().ok());
                }
                gift.streamer
            }
            _ => None,
        }
    }

    /// Every entry has a cause, and none is used twice.
    fn cause(&mut self, at: Position, entry: &EntryPosted, of_account: i64, of_provider: i64) {
        let payment = entry
            .payment
            .as_ref()
            .map(|payment| print(entry.account, payment));
        match (entry.kind, entry.donation, payment) {
            (Kind::Donation, Some(donation), _) => {
                let gift = self.gifts.entry(donation).or_default();
                if gift.moved != 0 {
                    self.fault(at, format!("donation {donation} has moved points before"));
                } else {
                    gift.moved = -of_account;
                }
            }
            (Kind::Refund, Some(donation), _) => {
                self.gifts.entry(donation).or_default().returned += of_account;
            }
            (Kind::TopUp, _, Some(payment)) => {
                let credited = Payment {
                    at: entry.at,
                    rest: -of_provider,
                };
                // One of which nobody knew any more may have been a new one by then: the sandbox once
                // named its payments after the buyer's keys.
                let before = self.payments.insert(payment, credited);
                if before.is_some_and(|before| apart(before.at, entry.at) <= self.kept) {
                    self.fault(at, "a payment that was credited before".to_owned());
                }
            }
            (Kind::Correction, _, Some(payment)) => {
                let known = self.payments.get_mut(&payment);
                let rest = known.map_or(-of_provider, |payment| {
                    payment.rest -= of_provider;
                    payment.rest
                });
                if rest < 0 {
                    self.fault(
                        at,
                        "more was taken back than the payment had credited".to_owned(),
                    );
                }
            }
            (Kind::Donation | Kind::Refund, None, _) => {
                self.fault(at, "a donation or refund of nothing".to_owned());
            }
            // Of the time before entries named their payment.
            (Kind::TopUp | Kind::Correction, _, None) | (Kind::Payout, _, _) => {}
        }
    }

    pub(super) fn accepted(&mut self, at: Position, event: &DonationAccepted) {
        self.accepted += 1;
        let gift = self.gifts.entry(event.id).or_default();
        if gift.accepted != 0 {
            self.fault(at, format!("donation {} stands twice", event.id));
            return;
        }
        gift.accepted = event.amount;
        let streamer = *gift.streamer.get_or_insert(event.streamer);
        if streamer != event.streamer {
            let what = format!("given to {}, the points went to {streamer}", event.streamer);
            self.fault(at, what);
        }
        let Some(donor) = &event.actor else {
            return;
        };
        let key = print(donor.id, &event.key);
        let good = KEYS_ARE_GOOD.as_millis() as i64 - 1;
        let Timestamp(used) = event.at;
        let earliest = Timestamp(used.saturating_sub(good));
        let latest = Timestamp(used.saturating_add(good));
        let near = (key, earliest)..=(key, latest);
        if self.keys.range(near).next().is_some() {
            self.fault(
                at,
                format!("an idempotency key of {} was decided twice", donor.id),
            );
        }
        self.keys.insert((key, event.at));
    }

    pub(super) fn refunded(&mut self, event: &DonationRefunded) {
        self.refunded += 1;
        self.gifts.entry(event.donation).or_default().refunded += event.amount;
    }

    /// Events that were written while the ledger was read: they count where their entry was read.
    pub(super) fn accepted_late(&mut self, at: Position, event: &DonationAccepted) {
        let gift = self.gifts.get(&event.id);
        if gift.is_some_and(|gift| gift.moved != 0 && gift.accepted == 0) {
            self.accepted(at, event);
        }
    }

    pub(super) fn refunded_late(&mut self, event: &DonationRefunded) {
        let gift = self.gifts.get(&event.donation);
        if gift.is_some_and(|gift| gift.refunded < gift.returned) {
            self.refunded(event);
        }
    }

    /// At the end: every donation has its entry, every entry its donation, and no more was given back
    /// than was given.
    pub(super) fn close(&mut self) {
        let wrong: Vec<(EventId, Gift)> = self
            .gifts
            .iter()
            .filter(|(_, gift)| {
                gift.accepted != gift.moved
                    || gift.refunded != gift.returned
                    || gift.returned > gift.moved
            })
            .map(|(id, gift)| (*id, *gift))
            .collect();
        for (id, gift) in wrong {
            let Gift {
                accepted,
                moved,
                refunded,
                returned,
                ..
            } = gift;
            self.tell(format!(
                "donation {id}: accepted {accepted}, its entry moved {moved}; refunded {refunded}, entries gave back {returned}"
            ));
        }
        let sum: i128 = self.books.values().map(|balance| balance.all).sum();
        if sum != 0 {
            self.tell(format!("all books together hold {sum} points, not none"));
        }
    }

    pub(super) fn accounts(&self) -> usize {
        self.books
            .keys()
            .filter(|(_, book)| *book == Book::Wallet)
            .count()
    }

    /// A balance as the read model has it; each book may be named once.
    pub(super) fn compare_row(&mut self, account: &str, book: Book, amount: i64) {
        let owner = Owner::named(account);
        let ours = self.balance(owner, book);
        if ours.all - ours.late != i128::from(amount) {
            let expected = ours.all - ours.late;
            self.tell(format!(
                "mysql: {book:?} of {account} is {amount}, the topics say {expected}"
            ));
        }
        // What remains afterwards, the read model lacks.
        if let Some(balance) = self.books.get_mut(&(owner, book)) {
            balance.late = balance.all;
        }
    }

    pub(super) fn close_rows(&mut self, entries: i64) {
        let lacking: Vec<_> = self
            .books
            .iter()
            .filter(|(_, balance)| balance.all != balance.late)
            .map(|((owner, book), balance)| (*owner, *book, balance.all - balance.late))
            .collect();
        for (owner, book, amount) in lacking {
            self.tell(format!(
                "mysql: lacks {book:?} of {owner:?}, {amount} in the topics"
            ));
        }
        let expected = self.entries - self.late;
        if u64::try_from(entries) != Ok(expected) {
            self.tell(format!(
                "mysql: has {entries} entries, the topics {expected}"
            ));
        }
    }

    /// Accounts and donations of which the deciders remember something else.
    pub(super) fn differing(&self, remembered: &Remembered) -> Vec<Uuid> {
        let mut accounts: HashSet<AccountId> = remembered.wallets.keys().copied().collect();
        accounts.extend(remembered.debts.keys());
        accounts.extend(remembered.paid_out.keys());
        accounts.extend(self.books.keys().filter_map(|(owner, _)| match owner {
            Owner::Account(account) => Some(*account),
            _ => None,
        }));
        let differs = |account: &AccountId| self.owned(*account) != remembered.owned(*account);
        let accounts = accounts.into_iter().filter(differs).map(|id| id.0);
        let donations = remembered.donations.iter();
        let donations = donations.filter(|(id, rest)| self.rest_of(**id) != **rest);
        accounts.chain(donations.map(|(id, _)| id.0)).collect()
    }

    pub(super) fn tell_differing(&mut self, id: Uuid, remembered: &Remembered) {
        if let Some(rest) = remembered.donations.get(&EventId(id)) {
            let ours = self.rest_of(EventId(id));
            self.tell(format!(
                "decider: {rest} points are left of donation {id}, the topics say {ours}"
            ));
            return;
        }
        let (wallet, debt, paid) = self.owned(AccountId(id));
        let (their_wallet, their_debt, their_paid) = remembered.owned(AccountId(id));
        self.tell(format!(
            "decider: {id} has {their_wallet} points, owes {their_debt} and was paid {their_paid}, the topics say {wallet}, {debt} and {paid}"
        ));
    }

    /// An account's points, its debt, and what it was paid out.
    fn owned(&self, account: AccountId) -> (i128, i128, i128) {
        let owner = Owner::Account(account);
        let debt = self.balance(owner, Book::Debt).all;
        let paid = self.paid_out.get(&account).copied().unwrap_or(0);
        (
            self.balance(owner, Book::Wallet).all,
            -debt,
            i128::from(paid),
        )
    }

    /// What can still be given back of a donation.
    fn rest_of(&self, donation: EventId) -> i64 {
        let gift = self.gifts.get(&donation).copied().unwrap_or_default();
        gift.moved - gift.returned
    }

    fn balance(&self, owner: Owner, book: Book) -> Balance {
        self.books.get(&(owner, book)).copied().unwrap_or_default()
    }

    pub(super) fn fault(&mut self, at: Position, what: String) {
        let Position {
            topic,
            partition,
            offset,
        } = at;
        self.tell(format!("lemonair.{topic} {partition}@{offset}: {what}"));
    }

    fn tell(&mut self, what: String) {
        self.faults += 1;
        if self.told.len() < TOLD {
            self.told.push(what);
        }
    }
}

impl Remembered {
    fn owned(&self, account: AccountId) -> (i128, i128, i128) {
        let of = |map: &HashMap<AccountId, i64>| map.get(&account).copied().unwrap_or(0).into();
        (of(&self.wallets), of(&self.debts), of(&self.paid_out))
    }
}

impl Owner {
    fn named(account: &str) -> Owner {
        match account {
            "provider" => Owner::Provider,
            "platform" => Owner::Platform,
            id => id.parse().map_or(Owner::Nobody, Owner::Account),
        }
    }
}

/// Time between two moments, whichever was first.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

fn print(account: AccountId, key: &str) -> Print {
    let mut hash = Sha256::new();
    hash.update(account.0.as_bytes());
    hash.update(key.as_bytes());
    let hash = hash.finalize();
    let mut print = Print::default();
    print.copy_from_slice(&hash[..16]);
    print
}

#[cfg(test)]
mod tests;
