//! What a read model is to the loop: the topics it reads, the tables it owns, and how events change
//! them.

use std::fmt;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::erasure::AccountErased;
use lemonair_schemas::{Event, Position, Topic};
use sqlx::MySqlConnection;

use crate::accounts::Accounts;
use crate::broadcasts::Broadcasts;
use crate::channels::Channels;
use crate::chatters::Chatters;
use crate::donations::Donations;
use crate::erasure::Personal;
use crate::messages::Messages;
use crate::moderation::Moderation;
use crate::stream_keys::StreamKeys;
use crate::viewers::Viewers;
use crate::wallets::Wallets;
use crate::{Error, Result};

/// All read models.
pub const ALL: [&dyn Projection; 10] = [
    &Accounts,
    &Channels,
    &StreamKeys,
    &Broadcasts,
    &Messages,
    &Moderation,
    &Donations,
    &Wallets,
    &Chatters,
    &Viewers,
];

/// A read model. Live, replay and rebuild call the same `apply`, and it cannot tell which it is in:
/// what it does follows from the tables and the facts alone, not from a clock, from chance, or from
/// where one batch ends and the next begins.
pub trait Projection: fmt::Debug + Sync {
    fn name(&self) -> &'static str;

    fn topics(&self) -> &'static [Topic];

    /// What the loop reads: those, and of whom nothing is kept any more.
    fn reads(&self) -> Vec<Topic> {
        let mut topics = self.topics().to_vec();
        topics.push(Topic::Erasures);
        topics
    }

    /// Every table that [`Projection::apply`] touches; no other read model touches them.
    fn tables(&self) -> &'static [Table];

    /// Whether each row belongs to one record (`part` and `record_offset` say which), and what later
    /// records do to it may be done twice. Then a rebuild can keep the rows before a time.
    fn rows_are_records(&self) -> bool {
        false
    }

    /// Changes the tables by `facts`, which come in order within each partition. Table names carry
    /// no database, so that the same statements fill shadow tables in another one.
    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// What of the tables says something of a person, and is erased with them.
    fn personal(&self) -> &'static [Personal];

    /// Erases what [`Projection::personal`] has no words for, before that is erased, in the tables of
    /// `database`, whose name is quoted already.
    fn erase<'a>(
        &'a self,
        _: &'a mut MySqlConnection,
        _database: &'a str,
        _: &'a AccountErased,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        futures::future::ready(Ok(())).boxed()
    }
}

/// A table, and what its rows are compared by.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    /// The column whose values make groups of rows: a room or an account.
    pub by: &'static str,
}

/// An event where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a> {
    pub position: Position,
    pub event: &'a Event,
}

/// Why facts were not applied.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The fact contradicts what came before it.
    #[error("{0}")]
    Unfit(String),
}

pub fn named(name: &str) -> Result<&'static dyn Projection> {
    ALL.into_iter()
        .find(|projection| projection.name() == name)
        .ok_or_else(|| Error::NoSuchProjection {
            name: name.to_owned(),
        })
}

pub(crate) fn names() -> String {
    ALL.map(Projection::name).join(", ")
}

// === impl Fault ===

impl Fault {
    pub(crate) fn unfit<T>(cause: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::Unfit(cause.into()))
    }

    /// Whether the record itself is at fault, so that it would fail for ever. Everything else (a
    /// deadlock, a lost line, a full disk, a missing table) is worth another try, as long as it takes.
    pub fn is_records(&self) -> bool {
        let error = match self {
            Fault::Unfit(_) => return true,
            Fault::Sql(error) => error,
        };
        let Some(error) = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>())
        else {
            return false;
        };
        // Data exceptions and broken constraints by SQLSTATE. Some have a state that says nothing:
        // packet too large, data truncated, incorrect value, check violated (MySQL's number).
        let by_state = error
            .code()
            .is_some_and(|state| state.starts_with("22") || state.starts_with("23"));
        by_state || matches!(error.number(), 1153 | 1265 | 1366 | 3819)
    }
}
