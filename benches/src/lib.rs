//! Nothing here: the benchmarks are in `rooms/`, and `cargo bench -p lemonair-bench` runs them.
