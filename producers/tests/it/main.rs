//! Appending and deciding, on the real broker and registry.

mod books;
mod decider;
mod log;
mod office;
