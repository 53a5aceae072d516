//! All connections of this gateway: one clock pings them, and one hand sends them away.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dashmap::DashMap;
use lemonair_schemas::SessionId;
use tokio_util::sync::CancellationToken;

use crate::hub::lock;
use crate::outbox::{Close, Outbox};

/// How often the server pings each connection; one that sends nothing for three times as long is dead.
const PING: u64 = 25;
/// Clients that are sent away come back elsewhere: not all in one instant.
const SLICES: u64 = 10;
const SLICE: Duration = Duration::from_millis(100);

/// Log-ins that ended lately and are remembered, for whoever comes in by one in that moment: the read
/// model that is asked at the door may not know yet.
const REMEMBERED: usize = 1000;

#[derive(Debug, Default)]
pub struct Connections {
    outboxes: DashMap<u64, Arc<Outbox>>,
    logins: Mutex<Logins>,
    draining: CancellationToken,
}

/// Who came in by which log-in.
#[derive(Debug, Default)]
struct Logins {
    inside: HashMap<SessionId, Vec<u64>>,
    ended: VecDeque<SessionId>,
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

    /// Whether a log-in has ended so lately that the read model may not know yet.
    pub(crate) fn has_ended(&self, session: SessionId) -> bool {
        lock(&self.logins).ended.contains(&session)
    }

    /// A connection came in by a log-in; `false` if that has ended.
    pub(crate) fn log_in(&self, number: u64, session: SessionId) -> bool {
        let mut logins = lock(&self.logins);
        if logins.ended.contains(&session) {
            return false;
        }
        logins.inside.entry(session).or_default().push(number);
        true
    }

    /// The connection that came in by this log-in is gone.
    pub(crate) fn log_out(&self, number: u64, session: SessionId) {
        let mut logins = lock(&self.logins);
        if let Some(numbers) = logins.inside.get_mut(&session) {
            numbers.retain(|inside| *inside != number);
            if numbers.is_empty() {
                logins.inside.remove(&session);
            }
        }
    }

    /// Sends away whoever came in by a log-in that has ended.
    pub(crate) fn end(&self, session: SessionId) {
        let mut logins = lock(&self.logins);
        logins.ended.push_back(session);
        if logins.ended.len() > REMEMBERED {
            logins.ended.pop_front();
        }
        for number in logins.inside.get(&session).into_iter().flatten() {
            if let Some(outbox) = self.outboxes.get(number) {
                outbox.close(Close::Token);
            }
        }
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
