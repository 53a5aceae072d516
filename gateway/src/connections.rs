//! All connections of this gateway: one clock pings them, and one hand sends them away.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::outbox::{Close, Outbox};

/// How often the server pings each connection; one that sends nothing for three times as long is dead.
const PING: u64 = 25;
/// Clients that are sent away come back elsewhere: not all in one instant.
const SLICES: u64 = 10;
const SLICE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(crate) struct Connections {
    outboxes: DashMap<u64, Arc<Outbox>>,
    draining: CancellationToken,
}

impl Connections {
    /// A connection is there; it is sent away at once if the gateway is about to go.
    pub(crate) fn add(&self, number: u64, outbox: &Arc<Outbox>) {
        metrics::gauge!("lemonair_connections").increment(1.0);
        self.outboxes.insert(number, Arc::clone(outbox));
        if self.draining.is_cancelled() {
            outbox.close(Close::Draining);
        }
    }

    pub(crate) fn remove(&self, number: u64) {
        self.outboxes.remove(&number);
        metrics::gauge!("lemonair_connections").decrement(1.0);
    }

    /// Pings everybody in turn, for ever. One clock for all: a timer each would cost more than the
    /// connection does.
    pub(crate) async fn keep_alive(&self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        for turn in 0_u64.. {
            second.tick().await;
            for connection in &self.outboxes {
                if connection.key() % PING == turn % PING {
                    connection.ping();
                }
            }
        }
    }

    /// Tells everybody, slice by slice, to come back elsewhere; returns when all have gone.
    pub(crate) async fn drain(&self) {
        self.draining.cancel();
        for slice in 0..SLICES {
            for connection in &self.outboxes {
                if connection.key() % SLICES == slice {
                    connection.close(Close::Draining);
                }
            }
            if self.outboxes.is_empty() {
                break;
            }
            tokio::time::sleep(SLICE).await;
        }
        while !self.outboxes.is_empty() {
            tokio::time::sleep(SLICE / 10).await;
        }
    }
}
