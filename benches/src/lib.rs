//! What the benchmarks in `rooms/`, `rebuild/` and `history/` share; `cargo bench -p lemonair-bench` runs them.

use anyhow::Context;

/// How many records the benchmark `name` is to work on: `usual`, or what `name=RECORDS` among the
/// scenarios says. `None` if scenarios are named and this is none of them.
pub fn records(name: &str, scenarios: &[String], usual: u64) -> anyhow::Result<Option<u64>> {
    if scenarios.is_empty() {
        return Ok(Some(usual));
    }
    let mut ours = scenarios
        .iter()
        .filter_map(|scenario| scenario.strip_prefix(name)?.strip_prefix('='));
    let Some(records) = ours.next() else {
        return Ok(None);
    };
    let records = records.parse();
    Ok(Some(records.with_context(|| format!("{name}=RECORDS"))?))
}
