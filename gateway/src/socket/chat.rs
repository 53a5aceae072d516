//! Saying something in a room.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lemonair_producers::log::Pending;
use lemonair_projections::{channels, messages};
use lemonair_schemas::chat::{MessageHeld, MessagePosted};
use lemonair_schemas::{AccountId, Event, EventId, RoomId, Timestamp};
use serde_json::Value;

use super::Connection;
use crate::App;
use crate::frame::{Form, Tell};
use crate::limit::Limited;
use crate::moderation::{Rank, Speaker, Verdict};

/// Characters of a message.
const LONGEST_TEXT: usize = 500;
/// Characters of a nonce.
const LONGEST_NONCE: usize = 64;
/// Messages of one connection that wait for Kafka.
const MOST_PENDING: usize = 64;
/// How long a message that was acked may be on its way back to this gateway.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// A message as its author asks for it.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) nonce: Option<String>,
    pub(super) reply_to: Option<String>,
}

/// What is left of a message that somebody answers.
enum Parent {
    Stands,
    Deleted,
    /// Never seen by everybody here.
    Missing,
}

impl Connection {
    /// Validates a message, appends it, and answers once Kafka has it.
    pub(super) async fn chat(
        &mut self,
        id: Option<Value>,
        room: &str,
        Said {
            text,
            nonce,
            reply_to,
        }: Said,
    ) {
        let joined = room
            .parse::<RoomId>()
            .ok()
            .and_then(|room| self.rooms.get_key_value(&room));
        let Some((room, member)) = joined else {
            return self.refuse(&id, "not_joined", "join the room first");
        };
        let (Some((mut actor, rank)), Some(standing)) = (member.actor.clone(), member.standing())
        else {
            return self.refuse(&id, "unauthorized", "log in to chat: join with a token");
        };
        let text = text.trim();
        if text.is_empty() {
            return self.refuse(&id, "empty", "there is nothing to say");
        }
        if text.chars().count() > LONGEST_TEXT {
            return self.refuse(
                &id,
                "too_long",
                &format!("a message has at most {LONGEST_TEXT} characters"),
            );
        }
        if nonce
            .as_ref()
            .is_some_and(|nonce| nonce.is_empty() || nonce.chars().count() > LONGEST_NONCE)
        {
            return self.refuse(
                &id,
                "bad_request",
                &format!("a nonce has 1 to {LONGEST_NONCE} characters"),
            );
        }
        let Ok(reply_to) = reply_to.map(|id| id.parse::<EventId>()).transpose() else {
            return self.refuse(&id, "bad_request", "reply_to is the id of a message");
        };
        if self.acks.len() >= MOST_PENDING {
            return self.busy(&id);
        }
        let room = room.clone();
        let unlimited = member.unlimited;
        // Asked before the nonce is looked for: from there on nothing waits.
        let following_since = match self.app.hub.asks_to_follow(&room, &standing) {
            true => match channels::following_since(&self.app.pool, &room, actor.id).await {
                Ok(since) => since,
                Err(error) => {
                    tracing::warn!(%room, %error, "look up follower");
                    return self.refuse(&id, "unavailable", "followers cannot be looked up now");
                }
            },
            false => None,
        };
        let parent = match reply_to {
            None => Parent::Stands,
            Some(message) => match parent(&self.app, &room, message).await {
                Ok(parent) => parent,
                Err(error) => {
                    tracing::warn!(%room, %error, "look up the message that is answered");
                    return self.refuse(&id, "unavailable", "messages cannot be looked up now");
                }
            },
        };
        let form = self.outbox.form;
        let sent = match &nonce {
            Some(nonce) => self.app.nonces.seen(&room, actor.id, nonce, &self.app.hub),
            None => None,
        };
        if let Some(first) = sent {
            self.acks
                .push(Box::pin(async move { ack(&id, first.await, form) }));
            return;
        }
        match parent {
            Parent::Stands => {}
            Parent::Deleted => {
                let why = "the message that is answered was taken away";
                return self.refuse(&id, "message_deleted", why);
            }
            Parent::Missing => {
                let why = "the room has no such message to answer";
                return self.refuse(&id, "no_such_message", why);
            }
        }
        if !unlimited
            && let Err(Limited { retry_after }) = self.app.limits.chat(actor.id, self.peer)
        {
            return self.tell(
                &id,
                "rate_limited",
                "too many messages; slow down",
                Some(retry_after),
            );
        }
        let (event, at) = (EventId::new(), Timestamp::now());
        let speaker = Speaker {
            account: actor.id,
            rank,
            following_since,
        };
        let admitted = match self.app.hub.admit(&room, &speaker, event, text, at) {
            Some(Ok(admitted)) => admitted,
            Some(Err(refusal)) => {
                let (code, why) = (refusal.code(), refusal.to_string());
                return self.tell(&id, code, &why, refusal.retry_after());
            }
            None => return self.refuse(&id, "unavailable", "join the room again"),
        };
        if admitted.rank == Rank::Moderator && !actor.roles.iter().any(|role| role == "moderator") {
            actor.roles.push("moderator".to_owned());
        }
        let account = actor.id;
        let message: Event = match admitted.verdict {
            Verdict::Post => MessagePosted {
                id: event,
                at,
                room: room.clone(),
                actor: Some(actor),
                text: text.to_owned(),
                nonce: nonce.clone(),
                reply_to,
            }
            .into(),
            Verdict::Hold => MessageHeld {
                id: event,
                at,
                room: room.clone(),
                actor: Some(actor),
                text: text.to_owned(),
                nonce: nonce.clone(),
                reply_to,
            }
            .into(),
        };
        match self.app.log.enqueue(&message) {
            Ok(pending) => {
                let by = nonce.clone().map(|nonce| (account, nonce));
                let done = confirm(Arc::clone(&self.app), room.clone(), pending, event, by);
                let done = match nonce {
                    Some(nonce) => self.app.nonces.remember(room, account, nonce, done),
                    None => futures::FutureExt::boxed(done),
                };
                self.acks
                    .push(Box::pin(async move { ack(&id, done.await, form) }));
            }
            Err(error) => {
                self.app.hub.take_back(&room, event);
                self.not_stored(&id, &error);
            }
        }
    }

    fn not_stored(&self, id: &Option<Value>, error: &lemonair_producers::Error) {
        match error {
            lemonair_producers::Error::Busy => self.busy(id),
            error => {
                tracing::error!(%error, "append message");
                self.refuse(id, "unavailable", "the message could not be stored");
            }
        }
    }

    fn busy(&self, id: &Option<Value>) {
        self.tell(
            id,
            "busy",
            "too much at once; try again",
            Some(Duration::from_millis(250)),
        );
    }
}

/// Looked for where the room remembers it; then in the read model, which has what is no longer
/// remembered; and it may have been acked a moment ago.
async fn parent(
    app: &App,
    room: &RoomId,
    message: EventId,
) -> lemonair_projections::Result<Parent> {
    let mut stands = app.hub.says(room, message);
    if stands.is_none() {
        let found = messages::by_id(&app.pool, message).await?;
        let found = found.filter(|message| message.room == *room);
        stands = found.map(|message| message.deleted_at.is_none());
    }
    if stands.is_none() {
        stands = app.hub.will_say(room, message, ON_ITS_WAY).await;
    }
    Ok(match stands {
        Some(true) => Parent::Stands,
        Some(false) => Parent::Deleted,
        None => Parent::Missing,
    })
}

/// The event that stands for the message, once Kafka has it.
async fn confirm(
    app: Arc<App>,
    room: RoomId,
    pending: Pending,
    event: EventId,
    by: Option<(AccountId, String)>,
) -> Option<EventId> {
    match pending.confirmed().await {
        Ok(_) => {
            // Sent through another gateway a moment before, the first one stands. It is known by now
            // unless both came in the same instant.
            let first = by.and_then(|(account, nonce)| app.hub.sent(&room, account, &nonce));
            Some(first.unwrap_or(event))
        }
        Err(error) => {
            tracing::warn!(%error, "message not confirmed");
            // The next try is not to be taken for a repeat.
            app.hub.take_back(&room, event);
            None
        }
    }
}

fn ack(id: &Option<Value>, event: Option<EventId>, form: Form) -> Bytes {
    let tell = match event {
        Some(event) => Tell::Ack { id, event },
        None => Tell::Error {
            id,
            code: "unconfirmed",
            message: "the message may not have been stored; send it again with the same nonce",
            retry_after_ms: Some(1000),
        },
    };
    tell.frame(form)
}
