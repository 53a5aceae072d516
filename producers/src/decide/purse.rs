//! What an account can spend and what it owes: points that come in pay the debt first, points that
//! cannot be taken back make it.

use lemonair_schemas::AccountId;
use lemonair_schemas::decider::{Debt, Memory, Wallet};
use lemonair_schemas::ledger::{Book, Posting};

use super::State;
use super::state::{debt_key, wallet_key};

pub(super) struct Purse {
    account: AccountId,
    pub(super) balance: i64,
    debt: i64,
    /// The debt has changed.
    owes: bool,
}

impl State {
    pub(super) fn purse(&self, account: AccountId) -> Purse {
        Purse {
            account,
            balance: self.balance(account),
            debt: self.debt(account),
            owes: false,
        }
    }
}

impl Purse {
    /// `None` if it would hold too much.
    pub(super) fn credit(&mut self, amount: i64) -> Option<Vec<Posting>> {
        let paid = amount.min(self.debt);
        self.change(amount - paid, -paid)
    }

    pub(super) fn charge(&mut self, amount: i64) -> Option<Vec<Posting>> {
        let taken = amount.min(self.balance);
        self.change(-taken, amount - taken)
    }

    fn change(&mut self, wallet: i64, debt: i64) -> Option<Vec<Posting>> {
        self.balance = self.balance.checked_add(wallet)?;
        self.debt = self.debt.checked_add(debt)?;
        self.owes |= debt != 0;
        let mut postings = vec![
            Posting::of(self.account, Book::Wallet, wallet),
            Posting::of(self.account, Book::Debt, -debt),
        ];
        postings.retain(|posting| posting.amount != 0);
        Some(postings)
    }

    pub(super) fn memories(&self) -> Vec<(String, Option<Memory>)> {
        let wallet = Memory::Wallet(Wallet {
            balance: self.balance,
        });
        let mut memories = vec![(wallet_key(self.account), Some(wallet))];
        if self.owes {
            let debt = Memory::Debt(Debt { amount: self.debt });
            memories.push((debt_key(self.account), Some(debt)));
        }
        memories
    }
}
