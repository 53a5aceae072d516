//! Commands other than the services, one file each.

pub(crate) mod account;
pub(crate) mod channel;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod key;
pub(crate) mod ledger;
pub(crate) mod rebuild;
pub(crate) mod replay;
pub(crate) mod token;
