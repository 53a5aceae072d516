//! Commands other than the services, one file each.

pub(crate) mod account;
pub(crate) mod channel;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod key;
pub(crate) mod ledger;
pub(crate) mod progress;
pub(crate) mod query;
pub(crate) mod rebuild;
pub(crate) mod replay;
pub(crate) mod slice;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod token;

use anyhow::bail;
use lemonair_consumers::Bound;
use lemonair_schemas::Timestamp;

/// A time as people name it on a command line.
fn time(text: &str) -> anyhow::Result<Timestamp> {
    match text
        .parse::<slice::Point>()
        .map(|point| point.bound(Timestamp::now()))
    {
        Ok(Some(Bound::Time(time))) => Ok(time),
        _ => bail!("not a time (2026-01-02T03:04:05Z) or a duration ago (90s, 2h, 3 days)"),
    }
}
