//! Read models: events folded into MySQL rows, with their offsets in the same transaction.
//!
//! | file | holds |
//! |---|---|
//! | [`accounts`], [`channels`], [`stream_keys`], [`broadcasts`], [`messages`], [`moderation`], [`donations`], [`wallets`], [`chatters`], [`viewers`] | one read model each: its writes, its reads, its tests |
//! | [`stats`] | what a room or a broadcast amounts to, over several read models |
//! | [`projection`] | what a read model is to the loop |
//! | [`page`] | lists read in pages, both ways |
//! | [`many`] | the same question about many rooms at once |
//! | [`database`] | the pool; the database and its tables are made here |
//! | `checkpoint` | how far a read model has come, and who may move it on |
//! | `commit` | one batch, one transaction |
//! | [`dead_letters`] | records that could not be decoded or applied |
//! | [`erasure`] | a person's erasure, taken into the rows that were there before |
//! | [`run`] | the loops, one a read model |
//! | [`wait`] | waiting until a write can be read |
//! | [`lag`], [`mod@status`] | how far the read models are behind the topics; all that can be told of them |
//! | [`processes`] | who is up |
//! | `health` | what the loops tell of themselves |
//! | `fault` | where the tests kill a process |
//! | [`rebuild`] | a read model made anew beside the live one, compared, and swapped in |
//! | [`snapshot`] | a read model in a file, for when the topics do not hold everything any more |
//! | `place` | the databases beside the live one |

pub mod accounts;
pub mod broadcasts;
pub mod channels;
pub mod chatters;
pub mod database;
pub mod dead_letters;
pub mod donations;
pub mod erasure;
pub mod lag;
pub mod many;
pub mod messages;
pub mod moderation;
pub mod page;
pub mod processes;
pub mod projection;
pub mod rebuild;
pub mod run;
pub mod snapshot;
pub mod stats;
pub mod status;
pub mod stream_keys;
pub mod viewers;
pub mod wait;
pub mod wallets;

mod checkpoint;
mod commit;
mod fault;
mod health;
mod insert;
mod place;
mod row;

#[cfg(test)]
mod dialect;
#[cfg(test)]
mod scratch;

pub use database::connect;
pub use page::{Cursor, Page, Slice};
pub use projection::{ALL, Fact, Projection};
pub use run::Projector;
pub use status::{Status, status};
pub use wait::Checkpoints;

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
    #[error("{0} is not being rebuilt")]
    NotRebuilding(&'static str),
    #[error(
        "{projection} is kept by {by}, not by room; rebuild all of it: lemonair rebuild {projection}"
    )]
    NotByRoom {
        projection: &'static str,
        by: &'static str,
    },
    #[error(
        "nothing is kept of {0} from before its last rebuild, or its tables were changed since: rebuild it instead"
    )]
    NothingKept(&'static str),
    #[error(
        "no record on the topics is of room {0}, though there are rows of it; they are left alone"
    )]
    NoRecords(lemonair_schemas::RoomId),
    #[error(
        "{topic} was trimmed, so it cannot tell all of {projection} any more, and there is no snapshot to begin with; keep the live rows, and take one of them: lemonair snapshot {projection}"
    )]
    Trimmed {
        projection: &'static str,
        topic: String,
    },
    #[error(
        "rows of {0} sum up or replace what was before any time, and there is no snapshot of it from before this one; rebuild all of it: lemonair rebuild {0}"
    )]
    NoSnapshot(&'static str),
    #[error("{0} has read nothing yet, so there is nothing to take a snapshot of")]
    NothingToTake(&'static str),
    #[error("snapshots in {} cannot be used: {source}", path.display())]
    Snapshots {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the snapshot {} is damaged ({source}); remove it, and an older one will be used", path.display()
    )]
    DamagedSnapshot {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("no read model {name:?}; there are {}", projection::names())]
    NoSuchProjection { name: String },
    #[error(transparent)]
    Kafka(#[from] lemonair_consumers::Error),
    /// Somebody else has taken over the partition, or other tables were swapped in.
    #[error("{projection} at {position:?} was taken over")]
    Fenced {
        projection: &'static str,
        position: lemonair_schemas::Position,
    },
    #[error("{0} panicked; the log says where")]
    Panicked(&'static str),
    /// The record contradicts what came before it.
    #[error("{0}")]
    Unfit(String),
    #[error(
        "{0}: the topics do not go on; a producer's transaction may be open. Run it again to go on"
    )]
    Standstill(&'static str),
    #[error(
        "{projection} is at {position:?}, past the end of the topic: is this the right cluster?"
    )]
    Foreign {
        projection: &'static str,
        position: lemonair_schemas::Position,
    },
    #[error("{0:?} is not a cursor of this list")]
    BadCursor(String),
    #[error("{0:?} is not a dead letter's id, such as messages.chat.3.17")]
    BadLetter(String),
    #[error("{0:?} is not a dead letter's state; there are open, applied, dropped")]
    BadState(String),
    #[error(transparent)]
    Registry(#[from] lemonair_schemas::registry::Error),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
