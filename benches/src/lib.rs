//! Nothing here: the benchmarks are in `rooms/`, `rebuild/` and `history/`, and `cargo bench -p lemonair-bench` runs them.
