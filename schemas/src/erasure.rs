//! Who was erased, and what that leaves of an event: topic `lemonair.erasures`.
//!
//! The log is never changed. An erasure is one more fact on it, and every reader of ours decodes
//! records through what it says: names become a pseudonym, and what the person wrote is gone.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::event::event;
use crate::record::record;
use crate::{AccountId, Event, EventId, RoomId, Timestamp};

event! {
    /// The account must no longer be read of: neither its name nor anything that it said.
    AccountErased of account {
        /// SHA-256 of the account's room, hexadecimal: the room goes by the account's name, which
        /// must not stand here of all places.
        room_hash: String,
    }
}

record!(Erasures, "erasures": AccountErased);

impl AccountErased {
    /// Of the account whose room this is. Nobody is named as the actor: it may be themselves.
    pub fn new(account: AccountId, room: &RoomId, at: Timestamp) -> AccountErased {
        AccountErased {
            id: EventId::new(),
            at,
            account,
            actor: None,
            room_hash: room_hash(room),
        }
    }
}

/// All who were erased, as far as this process has read.
pub struct Erased {
    /// So that nothing is looked up while nobody is.
    any: AtomicBool,
    gone: RwLock<Gone>,
    news: watch::Sender<Vec<AccountId>>,
}

#[derive(Default)]
struct Gone {
    accounts: HashMap<AccountId, RoomId>,
    /// By the hash of their former names.
    rooms: HashMap<String, RoomId>,
    /// In the order in which this process has read them.
    erasures: Vec<AccountErased>,
}

pub fn room_hash(room: &RoomId) -> String {
    hash(room.as_str().as_bytes())
}

fn hash(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

// === impl Erased ===

impl Erased {
    pub fn contains(&self, account: AccountId) -> bool {
        self.any.load(Ordering::Acquire) && self.read().accounts.contains_key(&account)
    }

    /// Whether a room is that of somebody who was erased, by the name that it goes by since.
    pub fn owned(&self, room: &RoomId) -> bool {
        self.any.load(Ordering::Acquire)
            && self.read().accounts.values().any(|erased| erased == room)
    }

    /// How many erasures this process has read.
    pub fn count(&self) -> usize {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        self.read().erasures.len()
    }

    /// Those that it has read since there were `known`.
    pub fn since(&self, known: usize) -> Vec<AccountErased> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let gone = self.read();
        gone.erasures.get(known..).unwrap_or_default().to_vec()
    }

    /// Takes away what must not be read, of an event that was decoded when less was known.
    pub fn heed(&self, event: &mut Event) {
        erase(event, self);
    }

    /// How somebody was erased.
    pub fn of(&self, account: AccountId) -> Option<AccountErased> {
        self.find(|erasure| erasure.account == account)
    }

    /// How whoever had this name was erased.
    pub fn former(&self, room: &RoomId) -> Option<AccountErased> {
        let hash = room_hash(room);
        self.find(|erasure| erasure.room_hash == hash)
    }

    fn find(&self, is_meant: impl Fn(&AccountErased) -> bool) -> Option<AccountErased> {
        let gone = self.read();
        gone.erasures.iter().find(|one| is_meant(one)).cloned()
    }

    /// Whether a record that cannot be decoded, or applied, has to do with somebody who was erased: its
    /// key is their room, or its bytes name their id.
    pub fn concerns(&self, key: &[u8], bytes: &[u8]) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let gone = self.read();
        gone.rooms.contains_key(&hash(key))
            || gone.accounts.keys().any(|account| {
                let id = account.to_string();
                bytes
                    .windows(id.len())
                    .any(|window| window == id.as_bytes())
            })
    }

    /// Everybody who was erased, told anew with each erasure.
    pub fn news(&self) -> watch::Receiver<Vec<AccountId>> {
        self.news.subscribe()
    }

    /// Decoding does this; whoever wrote an erasure need not wait until it is read.
    pub fn learn(&self, event: &AccountErased) {
        let pseudonym = RoomId::of_erased(event.account);
        let mut gone = self.gone.write().unwrap_or_else(PoisonError::into_inner);
        if gone
            .accounts
            .insert(event.account, pseudonym.clone())
            .is_some()
        {
            return;
        }
        gone.rooms.insert(event.room_hash.clone(), pseudonym);
        gone.erasures.push(event.clone());
        let all = gone.accounts.keys().copied().collect();
        drop(gone);
        self.any.store(true, Ordering::Release);
        self.news.send_replace(all);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Gone> {
        self.gone.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Erased {
    fn default() -> Erased {
        Erased {
            any: AtomicBool::new(false),
            gone: RwLock::default(),
            news: watch::Sender::default(),
        }
    }
}

impl fmt::Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Erased({})", self.read().accounts.len())
    }
}

// === impl Gone ===

impl Gone {
    /// Puts the pseudonym in place of the name, if the account was erased.
    fn rename(&self, account: AccountId, name: &mut String) -> bool {
        let Some(pseudonym) = self.accounts.get(&account) else {
            return false;
        };
        pseudonym.as_str().clone_into(name);
        true
    }

    fn rehouse(&self, room: &mut RoomId) -> bool {
        let Some(pseudonym) = self.rooms.get(&room_hash(room)) else {
            return false;
        };
        *room = pseudonym.clone();
        true
    }
}

/// Learns of an erasure; of any other event, takes away what must not be read.
pub(crate) fn erase(event: &mut Event, erased: &Erased) {
    if let Event::AccountErased(event) = event {
        return erased.learn(event);
    }
    if !erased.any.load(Ordering::Acquire) {
        return;
    }
    let gone = erased.read();
    let by_them = event
        .actor_mut()
        .is_some_and(|actor| gone.rename(actor.id, &mut actor.name));
    let in_their_room = event.room_mut().is_some_and(|room| gone.rehouse(room));
    match event {
        Event::MessagePosted(event) if by_them => event.text.clear(),
        Event::MessageHeld(event) if by_them => event.text.clear(),
        Event::HeldMessageApproved(event) => {
            if gone.rename(event.author.id, &mut event.author.name) {
                event.text.clear();
            }
        }
        Event::MessagePinned(event) => {
            if let Some(author) = &mut event.author
                && gone.rename(author.id, &mut author.name)
            {
                event.text.clear();
            }
        }
        Event::ChatSettingsChanged(event) if in_their_room => event.blocked_words.clear(),
        Event::ChatCleared(event) => {
            if let (Some(account), Some(name)) = (event.account, &mut event.name) {
                gone.rename(account, name);
            }
        }
        Event::MemberBanned(event) => {
            if gone.rename(event.account, &mut event.name) || by_them {
                event.reason = None;
            }
        }
        Event::MemberTimedOut(event) => {
            if gone.rename(event.account, &mut event.name) || by_them {
                event.reason = None;
            }
        }
        Event::HeldMessageDenied(event) => _ = gone.rename(event.account, &mut event.name),
        Event::MemberUnbanned(event) => _ = gone.rename(event.account, &mut event.name),
        Event::TimeoutLifted(event) => _ = gone.rename(event.account, &mut event.name),
        Event::ModeratorAdded(event) => _ = gone.rename(event.account, &mut event.name),
        Event::ModeratorRemoved(event) => _ = gone.rename(event.account, &mut event.name),
        Event::DonationAccepted(event) if by_them => event.message.clear(),
        Event::DonationMessageApproved(event) if gone.accounts.contains_key(&event.donor) => {
            event.message.clear();
        }
        Event::GoalStarted(event) if in_their_room => event.title.clear(),
        Event::StreamStarted(event) if in_their_room => event.title.clear(),
        Event::ChannelOpened(event) => _ = gone.rename(event.owner, &mut event.name),
        Event::ChannelUpdated(event) if in_their_room => {
            event.title.clear();
            event.category.clear();
            event.description.clear();
        }
        Event::StreamKeyIssued(event) if in_their_room => {
            event.hash.clear();
            event.prefix.clear();
            event.label.clear();
        }
        Event::AccountRegistered(event) => {
            if gone.rename(event.account, &mut event.name) {
                event.password_hash = None;
                event.email = None;
            }
        }
        Event::DisplayNameChosen(event) if gone.accounts.contains_key(&event.account) => {
            event.display_name.clear();
        }
        Event::PasswordChanged(event) if gone.accounts.contains_key(&event.account) => {
            event.password_hash.clear();
        }
        Event::SessionOpened(event) if gone.accounts.contains_key(&event.account) => {
            event.agent = None;
        }
        Event::EntryPosted(event) => {
            if let Some(room) = &mut event.room {
                gone.rehouse(room);
            }
        }
        Event::ViewersCounted(event) => {
            for one in &mut event.rooms {
                gone.rehouse(&mut one.room);
            }
        }
        // Named one by one: a new event must say what in it is personal.
        Event::MessagePosted(_)
        | Event::MessageHeld(_)
        | Event::MessageDeleted(_)
        | Event::MessageUnpinned(_)
        | Event::ChatSettingsChanged(_)
        | Event::DonationAccepted(_)
        | Event::DonationRefunded(_)
        | Event::DonationMessageApproved(_)
        | Event::DonationMessageDenied(_)
        | Event::DonationSettingsChanged(_)
        | Event::GoalStarted(_)
        | Event::GoalClosed(_)
        | Event::AlertShown(_)
        | Event::OverlayCued(_)
        | Event::OverlayKeyRotated(_)
        | Event::StreamStarted(_)
        | Event::StreamInterrupted(_)
        | Event::StreamResumed(_)
        | Event::StreamEnded(_)
        | Event::RecordingBegun(_)
        | Event::RecordingKept(_)
        | Event::RecordingDeleted(_)
        | Event::ChannelUpdated(_)
        | Event::StreamKeyIssued(_)
        | Event::StreamKeyRevoked(_)
        | Event::ChannelFollowed(_)
        | Event::ChannelUnfollowed(_)
        | Event::RoleGranted(_)
        | Event::OperatorActed(_)
        | Event::DisplayNameChosen(_)
        | Event::PasswordChanged(_)
        | Event::SessionOpened(_)
        | Event::SessionClosed(_)
        | Event::AccountErased(_) => {}
    }
}
