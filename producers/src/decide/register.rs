//! Signing up: a name belongs to whoever asked first.

use lemonair_schemas::account::AccountRegistered;
use lemonair_schemas::channel::ChannelOpened;
use lemonair_schemas::command::Register;
use lemonair_schemas::decider::{Memory, NameTaken};
use lemonair_schemas::{Actor, EventId, RoomId, Timestamp};

use super::state::name_key;
use super::{Acceptance, Refusal, State};

pub(super) fn decide(
    state: &State,
    ask: &Register,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Result<Acceptance, Refusal> {
    // A name that is no room's name could own no channel; the edge refuses it in better words.
    let Ok(room) = ask.name.parse::<RoomId>() else {
        return Err(Refusal::NameTaken);
    };
    if room.is_pseudonym() || state.is_taken(&ask.name) {
        return Err(Refusal::NameTaken);
    }
    let actor = Actor {
        id: ask.account,
        name: ask.name.clone(),
        roles: Vec::new(),
    };
    let registered = AccountRegistered {
        id: ids(),
        at: now,
        account: ask.account,
        actor: Some(actor.clone()),
        name: ask.name.clone(),
        password_hash: ask.password_hash.clone(),
        email: ask.email.clone(),
    };
    let opened = ChannelOpened {
        id: ids(),
        at: now,
        room,
        actor: Some(actor),
        owner: ask.account,
        name: ask.name.clone(),
    };
    let taken = Memory::NameTaken(NameTaken {
        account: ask.account,
    });
    Ok(Acceptance {
        event: registered.id,
        amount: None,
        balance: None,
        events: vec![registered.into(), opened.into()],
        memories: vec![(name_key(&ask.name), Some(taken))],
    })
}
