//! What of an event who may see: everybody, or only its author and the room's moderators.

use std::sync::Arc;

use lemonair_schemas::chat::{HeldMessageApproved, MessagePosted};
use lemonair_schemas::{AccountId, Event, EventId};

/// An event as viewers see it, encoded once for all of them.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// What everybody sees; empty if nobody does, or no longer.
    pub open: Arc<str>,
    /// What the author and moderators see before it; empty if there is nothing.
    pub aside: Arc<str>,
    /// Whether it says a message to everybody.
    pub says: bool,
    /// The message that it shows, and whose that is.
    pub shows: Option<(EventId, Option<AccountId>)>,
    /// What it takes away of all that came before.
    pub erases: Option<Erased>,
}

/// Messages whose text is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    Message(EventId),
    AllOf(AccountId),
    All,
}

// === impl View ===

impl View {
    pub fn of(event: &Event) -> View {
        let erases = match event {
            Event::MessageDeleted(e) => Some(Erased::Message(e.message)),
            Event::ChatCleared(e) => Some(e.account.map_or(Erased::All, Erased::AllOf)),
            _ => None,
        };
        let (open, aside) = match event {
            Event::MessageHeld(_) | Event::HeldMessageDenied(_) => {
                (String::new(), json(event, &[]))
            }
            Event::HeldMessageApproved(e) if e.text.is_empty() => Default::default(),
            Event::HeldMessageApproved(e) => (
                json(&approved(e).into(), &[]),
                json(event, &["author", "text", "nonce"]),
            ),
            // What is blocked is nothing to read out to everybody.
            Event::ChatSettingsChanged(_) => (json(event, &["blocked_words"]), String::new()),
            // Its author was erased; nobody says nothing otherwise.
            Event::MessagePosted(e) if e.text.is_empty() => Default::default(),
            _ => (json(event, &[]), String::new()),
        };
        View {
            open: shared(open),
            aside: shared(aside),
            says: matches!(
                event,
                Event::MessagePosted(_) | Event::HeldMessageApproved(_)
            ),
            shows: shows(event),
            erases,
        }
    }

    /// Forgets what was said, if that is among what was taken away.
    pub fn erase(&mut self, erased: Erased) {
        let gone = self.shows.is_some_and(|(message, author)| match erased {
            Erased::Message(id) => id == message,
            Erased::AllOf(account) => author == Some(account),
            Erased::All => true,
        });
        if gone {
            self.open = Arc::default();
            self.aside = Arc::default();
        }
    }

    /// Forgets it all, if it names this id.
    pub fn forget(&mut self, id: &str) {
        if self.open.contains(id) || self.aside.contains(id) {
            self.open = Arc::default();
            self.aside = Arc::default();
        }
    }

    pub fn len(&self) -> usize {
        self.open.len() + self.aside.len()
    }

    /// The author of what only the author and moderators see.
    pub fn confidant(&self) -> Option<AccountId> {
        self.shows.and_then(|(_, author)| author)
    }

    /// What somebody sees of it, in order; `close` if they see what is not for everybody.
    pub fn parts(&self, close: bool) -> impl Iterator<Item = &Arc<str>> {
        let aside = close.then_some(&self.aside);
        let parts = aside.into_iter().chain(std::iter::once(&self.open));
        parts.filter(|json| !json.is_empty())
    }
}

/// A message that was held until now, as everybody sees it: said where it was let through.
fn approved(event: &HeldMessageApproved) -> MessagePosted {
    MessagePosted {
        id: event.message,
        at: event.at,
        room: event.room.clone(),
        actor: Some(event.author.clone()),
        text: event.text.clone(),
        nonce: event.nonce.clone(),
    }
}

/// Nothing takes no memory.
fn shared(json: String) -> Arc<str> {
    match json.is_empty() {
        true => Arc::default(),
        false => json.into(),
    }
}

fn shows(event: &Event) -> Option<(EventId, Option<AccountId>)> {
    let author = |event: &Event| event.actor().map(|actor| actor.id);
    match event {
        Event::MessagePosted(e) => Some((e.id, author(event))),
        Event::MessageHeld(e) => Some((e.id, author(event))),
        Event::HeldMessageApproved(e) => Some((e.message, Some(e.author.id))),
        Event::HeldMessageDenied(e) => Some((e.message, Some(e.account))),
        Event::MessagePinned(e) => Some((e.message, e.author.as_ref().map(|author| author.id))),
        _ => None,
    }
}

/// An event without some of its fields. The room is named by the frame around it.
fn json(event: &Event, without: &[&str]) -> String {
    let mut json = event.json();
    json.remove("room");
    for field in without {
        json.remove(*field);
    }
    serde_json::Value::Object(json).to_string()
}
