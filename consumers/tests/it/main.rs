//! Reading, on the real broker and registry.

mod feed;
mod group;
mod replay;
mod topics;
mod write;
