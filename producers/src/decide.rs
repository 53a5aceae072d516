//! The rules: what becomes of a command, given what the decider remembers. Pure functions.

mod broadcast;
mod donate;
mod order;
mod pay_out;
mod purse;
mod refund;
mod register;
mod state;
mod top_up;

#[cfg(test)]
mod tests;

use lemonair_schemas::command::Command;
use lemonair_schemas::decider::{Decision, Memory};
use lemonair_schemas::{Event, EventId, Timestamp};
use sha2::{Digest, Sha256};

pub use state::{PROGRESS, State, Terms};

use state::decision_key;

/// Points in one donation or top-up, at most.
pub const MOST_POINTS: i64 = 1_000_000;
/// Characters of a donation's message, at most.
pub const LONGEST_MESSAGE: usize = 500;

/// Why a command was refused. Nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("name_taken")]
    NameTaken,
    #[error("bad_amount")]
    BadAmount,
    #[error("message_too_long")]
    MessageTooLong,
    #[error("insufficient_balance")]
    InsufficientBalance,
    #[error("insufficient_earnings")]
    InsufficientEarnings,
    #[error("too_old")]
    TooOld,
    #[error("own_channel")]
    OwnChannel,
    #[error("below_minimum")]
    BelowMinimum,
    #[error("above_maximum")]
    AboveMaximum,
    #[error("banned")]
    Banned,
    #[error("offline")]
    Offline,
    #[error("key_reused")]
    KeyReused,
    #[error("expired")]
    Expired,
    #[error("no_such_donation")]
    NoSuchDonation,
    #[error("already_refunded")]
    AlreadyRefunded,
    #[error("refund_too_large")]
    RefundTooLarge,
    #[error("off_air")]
    OffAir,
}

/// What a command came to: facts, what to remember of them, and what to tell whoever asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub events: Vec<Event>,
    pub memories: Vec<(String, Option<Memory>)>,
    pub outcome: Result<Accepted, String>,
}

/// A command was accepted, now or the first time that it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub event: EventId,
    pub at: Timestamp,
    /// Points that it was about.
    pub amount: Option<i64>,
    pub balance: Option<i64>,
}

/// What a rule gives when it accepts.
struct Acceptance {
    event: EventId,
    amount: Option<i64>,
    balance: Option<i64>,
    events: Vec<Event>,
    memories: Vec<(String, Option<Memory>)>,
}

/// Decides a command. `now` is the time and `ids` gives new ids: nothing is read from outside.
pub fn decide(
    state: &State,
    command: &Command,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Decided {
    match command {
        Command::Broadcast(ask) => outcome(broadcast::decide(state, ask, now, ids), now),
        Command::Register(ask) => outcome(register::decide(state, ask, now, ids), now),
        Command::Refund(ask) => {
            let mut rule = |state: &State| refund::decide(state, ask, now, ids);
            let Some(key) = &ask.key else {
                return outcome(rule(state), now);
            };
            let amount = ask.amount.map(|amount| amount.to_string());
            let print = fingerprint(&["refund", amount.as_deref().unwrap_or("all")]);
            // The streamer's keys must not meet the donor's, whose wallet decides.
            once(state, decision_key(ask.donation, key), print, now, rule)
        }
        Command::Order(ask) => {
            let print = fingerprint(&["order", &ask.amount.to_string()]);
            let memory = decision_key(format_args!("order/{}", ask.account), &ask.key);
            once(state, memory, print, now, |_| order::decide(ask, ids))
        }
        Command::TopUp(ask) => top_up::decide(state, ask, now, ids)
            .unwrap_or_else(|refusal| outcome(Err(refusal), now)),
        Command::PayOut(ask) => {
            let print = fingerprint(&["pay_out", &ask.amount.to_string()]);
            // An operator's keys must not meet the streamer's own. They did once, and for two days
            // there may be an answer under the old name.
            let old = decision_key(ask.account, &ask.key);
            let memory = match state.decision(&old) {
                Some(first) if first.fingerprint == print => old,
                _ => decision_key(format_args!("payout/{}", ask.account), &ask.key),
            };
            once(state, memory, print, now, |state| {
                pay_out::decide(state, ask, now, ids)
            })
        }
        Command::Donate(ask) => {
            let amount = ask.amount.to_string();
            let mut asked = vec!["donate", ask.room.as_str(), &amount, &ask.message];
            if ask.anonymous {
                asked.push("anonymous");
            }
            let print = fingerprint(&asked);
            once(
                state,
                decision_key(ask.account, &ask.key),
                print,
                now,
                |state| donate::decide(state, ask, now, ids),
            )
        }
    }
}

/// The ends of broadcasts that nobody holds any more. Whoever decides only `since` then has not heard
/// everybody yet, so a lease is counted from there at the earliest; and what was asked after `heard`
/// is not known yet.
pub fn lapsed(
    state: &State,
    since: Timestamp,
    heard: Timestamp,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Vec<Decided> {
    let over = state.all_on_air().filter(|on_air| {
        let first = Timestamp(since.0.saturating_add(on_air.lease_ms));
        on_air.until.max(first) < heard
    });
    over.map(|on_air| outcome(Ok(broadcast::lapse(on_air, now, ids)), now))
        .collect()
}

/// The first answer to an idempotency key is the answer for ever, refusals included; the same key
/// for something else is refused.
fn once(
    state: &State,
    memory: String,
    fingerprint: String,
    now: Timestamp,
    rule: impl FnOnce(&State) -> Result<Acceptance, Refusal>,
) -> Decided {
    if let Some(first) = state.decision(&memory) {
        return again(first, &fingerprint);
    }
    let mut decided = outcome(rule(state), now);
    let accepted = decided.outcome.as_ref().ok();
    let decision = Decision {
        at: now,
        fingerprint,
        event: accepted.map(|accepted| accepted.event),
        amount: accepted.and_then(|accepted| accepted.amount),
        balance: accepted.and_then(|accepted| accepted.balance),
        refusal: decided.outcome.as_ref().err().cloned(),
    };
    decided
        .memories
        .push((memory, Some(Memory::Decision(decision))));
    decided
}

fn again(first: &Decision, fingerprint: &str) -> Decided {
    let outcome = match (first.event, &first.refusal) {
        _ if first.fingerprint != fingerprint => Err(Refusal::KeyReused.to_string()),
        (Some(event), None) => Ok(Accepted {
            event,
            at: first.at,
            amount: first.amount,
            balance: first.balance,
        }),
        (_, refusal) => Err(refusal.clone().unwrap_or_default()),
    };
    Decided {
        events: Vec::new(),
        memories: Vec::new(),
        outcome,
    }
}

fn outcome(result: Result<Acceptance, Refusal>, now: Timestamp) -> Decided {
    match result {
        Ok(Acceptance {
            event,
            amount,
            balance,
            events,
            memories,
        }) => Decided {
            events,
            memories,
            outcome: Ok(Accepted {
                event,
                at: now,
                amount,
                balance,
            }),
        },
        Err(refusal) => Decided {
            events: Vec::new(),
            memories: Vec::new(),
            outcome: Err(refusal.to_string()),
        },
    }
}

/// SHA-256 over the parts, each closed by a zero byte and its own ones doubled, so that they cannot run
/// into each other.
fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.replace('\0', "\0\0"));
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
