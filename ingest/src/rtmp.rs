//! RTMP without I/O: bytes from a publisher in, replies and media out; and the other way round.
//!
//! | file | holds |
//! |---|---|
//! | [`handshake`] | the first three exchanges |
//! | [`chunk`] | messages cut into chunks, and put together again |
//! | `aggregate` | several messages in one |
//! | [`amf`] | the values that commands carry |
//! | [`session`] | what a publisher may say, and when |
//! | [`client`] | pushing a broadcast on to another server |

mod aggregate;
pub mod amf;
pub mod chunk;
pub mod client;
pub mod handshake;
pub mod session;

pub use client::Client;
pub use session::{Media, MediaKind, Output, Session, StreamKey};

/// What a publisher did that ends its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("RTMP version {0} instead of 3")]
    Version(u8),
    #[error("a message of {size} bytes, over the limit of {limit}")]
    MessageSize { size: usize, limit: usize },
    #[error("a chunk size of {0} bytes, outside of 128 to 2147483647")]
    ChunkSize(u32),
    #[error("a message that changes its size half-way")]
    SizeChanged,
    #[error("more than {0} chunk streams")]
    ChunkStreams(usize),
    #[error("a chunk that leans on a chunk never sent")]
    NoEarlierChunk,
    #[error("a malformed {0} message")]
    Malformed(&'static str),
    #[error("AMF: {0}")]
    Amf(#[from] amf::Error),
    #[error("media before the stream key was accepted")]
    MediaBeforeAccept,
    #[error("{0} out of turn")]
    OutOfTurn(&'static str),
}
