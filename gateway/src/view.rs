//! What of an event who may see: everybody, its author and the room's moderators, or overlays.

use std::sync::Arc;

use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::{AccountId, Event, EventId};

/// An event as viewers see it, encoded once for all of them.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// What everybody sees; empty if nobody does, or no longer.
    pub open: Arc<str>,
    /// What a few see before it; empty if there is nothing.
    pub aside: Arc<str>,
    pub few: Few,
    /// Whether it says a message to everybody.
    pub says: bool,
    /// The message that it shows, and whose that is.
    pub shows: Option<(EventId, Option<AccountId>)>,
    /// What it takes away of all that came before.
    pub erases: Option<Erased>,
}

/// Who sees what is not for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Few {
    /// Moderators, and its author.
    #[default]
    Moderators,
    /// The same, where the author is this one.
    Donor(AccountId),
    Overlays,
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
                json(&MessagePosted::from(e).into(), &[]),
                json(event, &["author", "text", "nonce", "reply_to"]),
            ),
            Event::DonationAccepted(e) => donation(event, e),
            Event::DonationRefunded(e) if e.anonymous => (json(event, &["donor"]), String::new()),
            // Who decided is for moderators to know; the log tells them.
            Event::DonationMessageApproved(_) | Event::DonationMessageDenied(_) => {
                (json(event, &["from", "donor"]), String::new())
            }
            // What an overlay has shown, it knows; what is kept of a broadcast is for who was not there.
            Event::AlertShown(_)
            | Event::RecordingBegun(_)
            | Event::RecordingKept(_)
            | Event::RecordingDeleted(_) => (String::new(), String::new()),
            Event::OverlayCued(_) => (String::new(), json(event, &["from"])),
            // How the encoder did is for the streamer, who reads it while on air.
            Event::StreamInterrupted(_) | Event::StreamEnded(_) => {
                (json(event, &["figures"]), String::new())
            }
            // What is blocked is nothing to read out to everybody.
            Event::ChatSettingsChanged(_) => (json(event, &["blocked_words"]), String::new()),
            // Its author was erased; nobody says nothing otherwise.
            Event::MessagePosted(e) if e.text.is_empty() => Default::default(),
            _ => (json(event, &[]), String::new()),
        };
        let few = match event {
            Event::OverlayCued(_) => Few::Overlays,
            Event::DonationAccepted(e) => e
                .actor
                .as_ref()
                .map_or(Few::Moderators, |donor| Few::Donor(donor.id)),
            Event::DonationMessageApproved(e) => Few::Donor(e.donor),
            _ => Few::Moderators,
        };
        View {
            open: shared(open),
            aside: shared(aside),
            few,
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

    /// Forgets it all, if it names this account or is of it without naming it.
    pub fn forget(&mut self, account: AccountId, id: &str) {
        let of_theirs = self.few == Few::Donor(account);
        if of_theirs || self.open.contains(id) || self.aside.contains(id) {
            self.open = Arc::default();
            self.aside = Arc::default();
        }
    }

    pub fn len(&self) -> usize {
        self.open.len() + self.aside.len()
    }

    /// The author of what only the author and moderators see.
    pub fn confidant(&self) -> Option<AccountId> {
        match self.few {
            Few::Moderators => self.shows.and_then(|(_, author)| author),
            Few::Donor(donor) => Some(donor),
            Few::Overlays => None,
        }
    }

    /// What somebody sees of it, in order; `close` if they see what is not for everybody.
    pub fn parts(&self, close: bool) -> impl Iterator<Item = &Arc<str>> {
        let aside = close.then_some(&self.aside);
        let parts = aside.into_iter().chain(std::iter::once(&self.open));
        parts.filter(|json| !json.is_empty())
    }
}

/// Who wants no name has none, for moderators neither; and a message that waits is for a few.
fn donation(event: &Event, accepted: &DonationAccepted) -> (String, String) {
    let mut without = Vec::new();
    if accepted.anonymous {
        without.push("from");
    }
    if !accepted.held {
        return (json(event, &without), String::new());
    }
    without.push("message");
    let mut aside = serde_json::json!({
        "type": "donation.held",
        "at": accepted.at,
        "donation": accepted.id,
        "amount": accepted.amount,
        "message": accepted.message,
    });
    if !accepted.anonymous {
        aside["from"] = serde_json::json!(accepted.actor);
    }
    (json(event, &without), aside.to_string())
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

#[cfg(test)]
mod tests {
    use lemonair_schemas::Timestamp;
    use lemonair_schemas::stream::{Figures, StreamEnded};

    use super::*;

    #[test]
    fn viewers_are_not_told_how_the_encoder_did() {
        let figures = Figures {
            codec: None,
            width: None,
            height: None,
            fps: None,
            key_frame_ms: None,
            kbps: 2500,
            dropped: 0,
        };
        let ended = StreamEnded {
            id: EventId::new(),
            at: Timestamp(0),
            room: "mint".parse().expect("a room"),
            actor: None,
            stream: EventId::new(),
            reason: "unpublished".to_owned(),
            figures: Some(figures),
        };
        let View { open, aside, .. } = View::of(&ended.into());
        assert!(open.contains("unpublished"), "{open}");
        assert!(!open.contains("kbps") && aside.is_empty(), "{open} {aside}");
    }
}
