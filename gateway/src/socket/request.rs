//! What a client asks for on its connection, and what it is told when that is refused.

use std::time::Duration;

use serde_json::Value;

use super::Connection;
use crate::frame::{Ask, Tell};
use crate::outbox::Close;

impl Connection {
    pub(super) async fn handle(&mut self, text: &str) -> Result<(), Close> {
        match serde_json::from_str(text) {
            Ok(Ask::Ping { id }) => self.outbox.push(Tell::Pong { id: &id }.frame()),
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
            }) => self.chat(id, &room, text, nonce).await,
            Err(error) => {
                let id = serde_json::from_str::<Value>(text)
                    .ok()
                    .and_then(|ask| ask.get("id").cloned());
                self.refuse(&id, "bad_request", &format!("not a request: {error}"));
            }
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
        self.outbox.push(
            Tell::Error {
                id,
                code,
                message,
                retry_after_ms,
            }
            .frame(),
        );
    }
}
