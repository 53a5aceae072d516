//! The ledger as double entry: entries, their postings, and every book's balance.
//!
//! **Invariant:** whatever is committed, the balances of all books sum to zero, each is the sum of
//! its postings, and no wallet is below zero.

mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::ledger::{Book, EntryPosted, Kind};
use lemonair_schemas::{AccountId, Event, EventId, RoomId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use crate::erasure::{Personal, Whose};
use crate::page::{Cursor, Edge, Page, Slice};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, insert, row};

pub use snapshot::{Snapshot, snapshot};

#[derive(Debug)]
pub struct Wallets;

/// What an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Wallet {
    /// What it can spend.
    pub balance: i64,
    /// What it received as a streamer and was not paid out; below zero if refunds took more than is
    /// there.
    pub earnings: i64,
    /// What it owes: for payments taken back whose points were spent, and for earnings below zero.
    pub debt: i64,
}

/// An entry as one account sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub id: EventId,
    /// `top_up`, `donation`, `refund`, `correction` or `payout`.
    pub kind: String,
    pub posted_at: Timestamp,
    /// Points added to the account's wallet; negative where they were taken.
    pub wallet: i64,
    /// Points added to its earnings.
    pub earnings: i64,
    /// Points of its debt that were paid; negative where it was made.
    pub debt: i64,
    pub room: Option<RoomId>,
    pub donation: Option<EventId>,
    /// Who gave what was earned, as spelled then; `None` where the donor wants no name.
    pub donor: Option<String>,
    /// The provider's id.
    pub payment: Option<String>,
}

/// A book: whose it is, and which.
type Key<'a> = (&'a str, &'static str);

// === Writes ===

impl Projection for Wallets {
    fn name(&self) -> &'static str {
        "wallets"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Ledger]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[
            Table {
                name: "entries",
                by: "account",
            },
            Table {
                name: "postings",
                by: "account",
            },
            Table {
                name: "balances",
                by: "account",
            },
        ];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[Personal {
            table: "entries",
            whose: Whose::Room("room"),
            names: &[],
            texts: &[],
            secrets: &[],
        }];
        PERSONAL
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let mut entries = Vec::with_capacity(facts.len());
            for fact in facts {
                if let Event::EntryPosted(entry) = fact.event {
                    check(entry)?;
                    entries.push(entry);
                }
            }
            let books: BTreeSet<Key<'_>> = entries.iter().flat_map(|entry| books(entry)).collect();
            let mut balances = lock(tx, &books).await?;
            for entry in &entries {
                add(&mut balances, entry)?;
            }
            insert_entries(tx, &entries).await?;
            insert_postings(tx, &entries).await?;
            store(tx, &balances).await
        }
        .boxed()
    }
}

fn check(entry: &EntryPosted) -> Result<(), Fault> {
    let sum: i128 = entry
        .postings
        .iter()
        .map(|posting| i128::from(posting.amount))
        .sum();
    if sum != 0 {
        return Fault::unfit(format!("the postings sum to {sum}, not to zero"));
    }
    if entry.postings.len() < 2 {
        return Fault::unfit("an entry of less than two postings");
    }
    Ok(())
}

fn books(entry: &EntryPosted) -> impl Iterator<Item = Key<'_>> {
    entry
        .postings
        .iter()
        .map(|posting| (posting.account.as_str(), book(posting.book)))
}

/// Reads the balances and locks them until the end of the transaction: other processes add to the
/// same earnings, and to the provider's book. Always in the same order, or they would block each other.
async fn lock<'a>(
    tx: &mut MySqlConnection,
    books: &BTreeSet<Key<'a>>,
) -> Result<BTreeMap<Key<'a>, i64>, Fault> {
    const INSERT: &str = "INSERT INTO balances (account, book, amount)";
    const TAIL: &str = "ON DUPLICATE KEY UPDATE account = VALUES(account)";
    let keys: Vec<Key<'a>> = books.iter().copied().collect();
    for chunk in insert::chunks(&keys) {
        let sql = insert::statement(INSERT, "(?, ?, 0)", chunk.len(), TAIL);
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (account, book) in chunk {
            query = query.bind(*account).bind(*book);
        }
        query.execute(&mut *tx).await?;
    }
    let mut balances = BTreeMap::new();
    for chunk in insert::chunks(&keys) {
        let places = vec!["?"; chunk.len()].join(", ");
        let sql = format!(
            "SELECT account, book, amount FROM balances WHERE account IN ({places}) FOR UPDATE"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (account, _) in chunk {
            query = query.bind(*account);
        }
        for row in query.fetch_all(&mut *tx).await? {
            let (account, book): (&str, &str) = (row.try_get("account")?, row.try_get("book")?);
            // An account's other books come too.
            if let Ok(index) = keys.binary_search_by(|key| key.cmp(&(account, book))) {
                balances.insert(keys[index], row.try_get("amount")?);
            }
        }
    }
    Ok(balances)
}

/// Entry by entry, so that one which would overdraw a wallet is found wherever a batch begins.
fn add<'a>(balances: &mut BTreeMap<Key<'a>, i64>, entry: &'a EntryPosted) -> Result<(), Fault> {
    for posting in &entry.postings {
        let balance = balances
            .entry((&posting.account, book(posting.book)))
            .or_default();
        *balance = balance.checked_add(posting.amount).ok_or_else(|| {
            Fault::Unfit(format!("{} would hold too many points", posting.account))
        })?;
    }
    for key in books(entry) {
        if key.1 == book(Book::Wallet) && balances.get(&key).is_some_and(|balance| *balance < 0) {
            return Fault::unfit(format!("the wallet of {} would fall below zero", key.0));
        }
    }
    Ok(())
}

async fn insert_entries(tx: &mut MySqlConnection, entries: &[&EntryPosted]) -> Result<(), Fault> {
    const INSERT: &str =
        "INSERT INTO entries (id, account, kind, room, donation, payment, posted_at)";
    for chunk in insert::chunks(entries) {
        let sql = insert::statement(INSERT, "(?, ?, ?, ?, ?, ?, ?)", chunk.len(), "");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for entry in chunk {
            query = query
                .bind(entry.id.0)
                .bind(entry.account.0)
                .bind(kind(entry.kind))
                .bind(entry.room.as_ref().map(RoomId::as_str))
                .bind(entry.donation.map(|donation| donation.0))
                .bind(entry.payment.as_deref())
                .bind(entry.at.millis());
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

async fn insert_postings(tx: &mut MySqlConnection, entries: &[&EntryPosted]) -> Result<(), Fault> {
    const INSERT: &str = "INSERT INTO postings (entry, line, account, book, amount)";
    let mut lines = Vec::with_capacity(entries.len() * 2);
    for entry in entries {
        for (line, posting) in (0_i32..).zip(&entry.postings) {
            lines.push((entry.id, line, posting));
        }
    }
    for chunk in insert::chunks(&lines) {
        let sql = insert::statement(INSERT, "(?, ?, ?, ?, ?)", chunk.len(), "");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (entry, line, posting) in chunk {
            query = query
                .bind(entry.0)
                .bind(line)
                .bind(&posting.account)
                .bind(book(posting.book))
                .bind(posting.amount);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// The rows are locked since they were read, so what was computed is still so.
async fn store(tx: &mut MySqlConnection, balances: &BTreeMap<Key<'_>, i64>) -> Result<(), Fault> {
    const INSERT: &str = "INSERT INTO balances (account, book, amount)";
    const TAIL: &str = "ON DUPLICATE KEY UPDATE amount = VALUES(amount)";
    let balances: Vec<(&Key<'_>, &i64)> = balances.iter().collect();
    for chunk in insert::chunks(&balances) {
        let sql = insert::statement(INSERT, "(?, ?, ?)", chunk.len(), TAIL);
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((account, book), amount) in chunk {
            query = query.bind(*account).bind(*book).bind(**amount);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::TopUp => "top_up",
        Kind::Donation => "donation",
        Kind::Refund => "refund",
        Kind::Correction => "correction",
        Kind::Payout => "payout",
    }
}

const BOOKS: [Book; 5] = [
    Book::Wallet,
    Book::Earnings,
    Book::Provider,
    Book::Platform,
    Book::Debt,
];

fn book(book: Book) -> &'static str {
    match book {
        Book::Wallet => "wallet",
        Book::Earnings => "earnings",
        Book::Provider => "provider",
        Book::Platform => "platform",
        Book::Debt => "debt",
    }
}

// === Reads ===

/// Nothing, for an account that never had points.
pub async fn wallet(pool: &MySqlPool, account: AccountId) -> Result<Wallet> {
    let books: Vec<(String, i64)> =
        sqlx::query_as("SELECT book, amount FROM balances WHERE account = ?")
            .bind(account.to_string())
            .fetch_all(pool)
            .await?;
    let mut wallet = Wallet::default();
    for (name, amount) in books {
        if name == book(Book::Wallet) {
            wallet.balance = amount;
        } else if name == book(Book::Earnings) {
            wallet.earnings = amount;
            wallet.debt -= amount.min(0);
        } else if name == book(Book::Debt) {
            wallet.debt -= amount;
        }
    }
    Ok(wallet)
}

/// What a streamer ever earned: the earnings, with all payouts added again. One statement, so both
/// are of one moment.
pub async fn earned(pool: &MySqlPool, account: AccountId) -> Result<i64> {
    let earned = sqlx::query_scalar(
        "SELECT CAST(COALESCE((SELECT amount FROM balances WHERE account = ? AND book = 'earnings'), 0) \
         - COALESCE((SELECT SUM(p.amount) FROM entries e JOIN postings p ON p.entry = e.id \
         WHERE e.account = ? AND e.kind = 'payout' AND p.book = 'earnings'), 0) AS SIGNED)",
    )
    .bind(account.to_string())
    .bind(account.0)
    .fetch_one(pool)
    .await?;
    Ok(earned)
}

/// A page of what moved an account's points, by the time in the entries' ids.
pub async fn entries(pool: &MySqlPool, account: AccountId, slice: &Slice) -> Result<Page<Entry>> {
    let (place, order, edge) = match &slice.edge {
        Edge::Start => ("", "DESC", None),
        Edge::Before(edge) => ("AND p.entry < ?", "DESC", Some(edge)),
        Edge::After(edge) => ("AND p.entry > ?", "ASC", Some(edge)),
    };
    let sql = format!(
        "SELECT e.id, e.kind, e.room, e.donation, e.payment, e.posted_at, p.*, \
         IF(p.earnings <> 0, d.donor_name, NULL) AS donor FROM ( \
         SELECT p.entry, CAST(SUM(IF(p.book = 'wallet', p.amount, 0)) AS SIGNED) AS wallet, \
         CAST(SUM(IF(p.book = 'earnings', p.amount, 0)) AS SIGNED) AS earnings, \
         CAST(SUM(IF(p.book = 'debt', p.amount, 0)) AS SIGNED) AS debt \
         FROM postings p WHERE p.account = ? {place} \
         GROUP BY p.entry ORDER BY p.entry {order} LIMIT ?) p \
         JOIN entries e ON e.id = p.entry \
         LEFT JOIN donations d ON d.id = e.donation AND NOT d.anonymous ORDER BY e.id {order}"
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql)).bind(account.to_string());
    if let Some(edge) = edge {
        query = query.bind(edge.place::<Uuid>()?);
    }
    let rows = query.bind(slice.fetch()).fetch_all(pool).await?;
    Ok(slice.page(rows, |entry: &Entry| Cursor::of(entry.id)))
}

/// A payment that was credited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bought {
    pub account: AccountId,
    pub amount: i64,
    /// The provider's name, a colon, and its id.
    pub payment: String,
    pub posted_at: Timestamp,
}

/// The top-up that an entry is, if it is one.
pub async fn top_up(pool: &MySqlPool, entry: EventId) -> Result<Option<Bought>> {
    let row: Option<MySqlRow> = sqlx::query(
        "SELECT e.account, e.payment, e.posted_at, (SELECT CAST(-SUM(p.amount) AS SIGNED) \
         FROM postings p WHERE p.entry = e.id AND p.book = 'provider') AS amount \
         FROM entries e WHERE e.id = ? AND e.kind = 'top_up' AND e.payment IS NOT NULL",
    )
    .bind(entry.0)
    .fetch_optional(pool)
    .await?;
    let Some(row) = &row else {
        return Ok(None);
    };
    Ok(Some(Bought {
        account: row::account(row, "account")?,
        amount: row.try_get("amount")?,
        payment: row.try_get("payment")?,
        posted_at: row::time(row, "posted_at")?,
    }))
}

/// All books together: zero, or something is wrong.
pub async fn sum(pool: &MySqlPool) -> Result<i64> {
    let sum = sqlx::query_scalar("SELECT CAST(COALESCE(SUM(amount), 0) AS SIGNED) FROM balances")
        .fetch_one(pool)
        .await?;
    Ok(sum)
}

impl FromRow<'_, MySqlRow> for Entry {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Entry> {
        let room: Option<&str> = row.try_get("room")?;
        let donation: Option<Uuid> = row.try_get("donation")?;
        Ok(Entry {
            id: row::event(row, "id")?,
            kind: row.try_get("kind")?,
            posted_at: row::time(row, "posted_at")?,
            wallet: row.try_get("wallet")?,
            earnings: row.try_get("earnings")?,
            debt: row.try_get("debt")?,
            room: match room {
                Some(_) => Some(row::room(row, "room")?),
                None => None,
            },
            donation: donation.map(EventId),
            donor: row.try_get("donor")?,
            payment: row.try_get("payment")?,
        })
    }
}

#[cfg(test)]
mod tests;
