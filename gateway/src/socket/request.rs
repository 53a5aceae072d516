//! What a client asks for on its connection, and what it is told when that is refused.

use std::time::Duration;

use lemonair_schemas::frame as avro;
use serde_json::Value;

use super::Connection;
use super::chat::Said;
use crate::frame::{Ask, Form, Tell};
use crate::outbox::Close;
use crate::websocket::Received;

impl Connection {
    pub(super) async fn handle(&mut self, message: Received) -> Result<(), Close> {
        match understand(message, self.outbox.form) {
            Ok(Ask::Ping { id }) => self.answer(&Tell::Pong { id: &id }),
            Ok(Ask::Leave { id, room }) => self.leave(&id, &room),
            Ok(Ask::Join {
                id,
                room,
                token,
                since,
            }) => {
                // Large while it lasts, and it lasts a moment of a connection's life.
                Box::pin(self.join(&id, &room, token.as_deref(), since.as_deref())).await?;
            }
            Ok(Ask::Chat {
                id,
                room,
                text,
                nonce,
                reply_to,
            }) => {
                let said = Said {
                    text,
                    nonce,
                    reply_to,
                };
                self.chat(id, &room, said).await;
            }
            Err((id, why)) => self.refuse(&id, "bad_request", &why),
        }
        Ok(())
    }

    pub(super) fn refuse(&self, id: &Option<Value>, code: &str, message: &str) {
        self.tell(id, code, message, None);
    }

    pub(super) fn tell(
        &self,
        id: &Option<Value>,
        code: &str,
        message: &str,
        retry_after: Option<Duration>,
    ) {
        let retry_after_ms =
            retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1));
        self.answer(&Tell::Error {
            id,
            code,
            message,
            retry_after_ms,
        });
    }

    pub(super) fn answer(&self, tell: &Tell<'_>) {
        self.outbox.push(tell.frame(self.outbox.form));
    }
}

/// What is asked; or else the id to answer to, and why that is not clear.
fn understand(message: Received, form: Form) -> Result<Ask, (Option<Value>, String)> {
    let unclear = |error: &dyn std::fmt::Display| format!("not a request: {error}");
    match (message, form) {
        (Received::Binary(datum), Form::Avro) => {
            let json = avro::request(&datum).map_err(|error| (None, unclear(&error)))?;
            serde_json::from_value(json).map_err(|error| (None, unclear(&error)))
        }
        (_, Form::Avro) => Err((None, "send binary frames with Avro".to_owned())),
        (Received::Text(text), _) => serde_json::from_str(&text).map_err(|error| {
            let json = serde_json::from_str::<Value>(&text).ok();
            let id = json.and_then(|ask| ask.get("id").cloned());
            (id, unclear(&error))
        }),
        _ => Err((None, "send text frames with JSON".to_owned())),
    }
}
