//! Nothing here: the benchmarks are in `rooms/` and `rebuild/`, and `cargo bench -p lemonair-bench` runs them.
