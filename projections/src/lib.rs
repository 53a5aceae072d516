//! Read models: events folded into MySQL rows, with their offsets in the same transaction.
//!
//! | file | holds |
//! |---|---|
//! | [`accounts`], [`channels`], [`broadcasts`], [`messages`], [`donations`], [`wallets`] | one read model each: its writes, its reads, its tests |
//! | [`stats`] | what a room amounts to, over several read models |
//! | [`projection`] | what a read model is to the loop |
//! | [`page`] | lists read in pages, both ways |
//! | [`database`] | the pool; the database and its tables are made here |
//! | [`checkpoint`] | how far a read model has come, and who may move it on |
//! | [`commit`] | one batch, one transaction |
//! | [`dead_letters`] | records that could not be decoded or applied |
//! | [`run`] | the loops, one a read model |
//! | [`wait`] | waiting until a write can be read |
//! | [`lag`] | how far the read models are behind the topics |
//! | [`rebuild`] | a read model made anew beside the live one, compared, and swapped in |

pub mod accounts;
pub mod broadcasts;
pub mod channels;
pub mod database;
pub mod donations;
pub mod messages;
pub mod page;
pub mod projection;
pub mod stats;
pub mod wallets;

mod insert;
mod row;

#[cfg(test)]
mod scratch;

pub use database::connect;
pub use page::{Cursor, Page, Slice};
pub use projection::{ALL, Fact, Projection};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("database {url} cannot be used ({source}); start it, or set database_url")]
    Unreachable { url: String, source: sqlx::Error },
    #[error("bring the tables up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("{0} by another process; try again when it is done")]
    Busy(&'static str),
    #[error("no read model {name:?}; there are {}", projection::names())]
    NoSuchProjection { name: String },
    #[error("{0:?} is not a cursor of this list")]
    BadCursor(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
