//! Into a room and out of it.

use lemonair_schemas::{Actor, RoomId, Timestamp};
use serde_json::Value;

use super::{Connection, Member};
use crate::Denied;
use crate::cursor::Cursor;
use crate::frame::Tell;
use crate::hub::{self, Joining};
use crate::moderation::Rank;
use crate::outbox::Close;
use crate::token::{Claims, OVERLAY_KEY};

/// Rooms that one connection may be in.
const MOST_ROOMS: usize = 50;

impl Connection {
    pub(super) fn leave(&mut self, id: &Option<Value>, room: &str) {
        if let Ok(room) = room.parse::<RoomId>()
            && self.rooms.remove(&room).is_some()
        {
            self.app.hub.leave(&room, self.number, Timestamp::now());
        }
        self.answer(&Tell::Left { id, room });
    }

    pub(super) async fn join(
        &mut self,
        id: &Option<Value>,
        room: &str,
        token: Option<&str>,
        since: Option<&str>,
    ) -> Result<(), Close> {
        let room: RoomId = match room.parse() {
            Ok(room) => room,
            Err(error) => {
                self.refuse(id, "no_such_room", &format!("{error}"));
                return Ok(());
            }
        };
        let member = match token {
            None => Member {
                actor: None,
                overlay: false,
                unlimited: false,
            },
            Some(key) if key.starts_with(OVERLAY_KEY) => {
                match self.app.is_overlay_key(&room, key).await {
                    Ok(true) => Member {
                        actor: None,
                        overlay: true,
                        unlimited: false,
                    },
                    Ok(false) => {
                        self.refuse(
                            id,
                            "unauthorized",
                            "the overlay's key is not valid any more",
                        );
                        return Err(Close::Token);
                    }
                    Err(error) => {
                        tracing::warn!(%room, %error, "check overlay key");
                        self.refuse(id, "unavailable", "the key cannot be checked right now");
                        return Ok(());
                    }
                }
            }
            Some(token) => match self.app.claims(token).await {
                Ok(claims) if self.log_in(&claims) => Member {
                    actor: Some((
                        actor(&claims, &room),
                        Rank::of(&claims.name, &claims.role, &room),
                    )),
                    overlay: false,
                    unlimited: claims.unlimited,
                },
                Ok(_) => {
                    self.refuse(id, "unauthorized", &Denied::LoggedOut.to_string());
                    return Err(Close::Token);
                }
                Err(error) if error.is_fault() => {
                    self.refuse(
                        id,
                        "unavailable",
                        "log-in cannot be checked right now; try again",
                    );
                    return Ok(());
                }
                Err(error) => {
                    self.refuse(id, "unauthorized", &error.to_string());
                    return Err(Close::Token);
                }
            },
        };
        if !self.rooms.contains_key(&room) && self.rooms.len() >= MOST_ROOMS {
            self.refuse(
                id,
                "too_many_rooms",
                &format!("a connection can be in {MOST_ROOMS} rooms"),
            );
            return Ok(());
        }
        // A cursor that is not ours is as good as one whose history is gone: the client reloads.
        let since = since.map(|since| since.parse().unwrap_or_else(|_| Cursor::nowhere()));
        // In again: from the new cursor on, never two copies.
        if self.rooms.remove(&room).is_some() {
            self.app.hub.leave(&room, self.number, Timestamp::now());
        }
        let joining = Joining {
            ask: id,
            since,
            connection: self.number,
            outbox: &self.outbox,
            member: member.standing(),
        };
        match self.app.hub.join(&room, joining).await {
            Ok(()) => {
                self.rooms.insert(room, member);
            }
            Err(hub::Error::Banned) => {
                self.refuse(id, "banned", "you are banned from this room");
                return Err(Close::Banned);
            }
            Err(error) => {
                tracing::warn!(%room, %error, "join");
                self.refuse(
                    id,
                    "unavailable",
                    "the room's history cannot be read right now; try again",
                );
            }
        }
        Ok(())
    }

    /// The end of the log-in is the connection's end too, from here on; `false` if it has come already.
    fn log_in(&mut self, claims: &Claims) -> bool {
        let Some(session) = claims.sid else {
            return true;
        };
        if self.logins.contains(&session) {
            return true;
        }
        let open = self.app.connections.log_in(self.number, session);
        if open {
            self.logins.push(session);
        }
        open
    }
}

/// A channel has the name of its owner.
fn actor(claims: &Claims, room: &RoomId) -> Actor {
    let mut roles = Vec::new();
    if claims.name.eq_ignore_ascii_case(room.as_str()) {
        roles.push("streamer".to_owned());
    }
    if claims.role != "viewer" {
        roles.push(claims.role.clone());
    }
    Actor {
        id: claims.sub,
        name: claims.name.clone(),
        roles,
    }
}
