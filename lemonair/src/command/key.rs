//! `lemonair key`: stream keys from a shell.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use lemonair_gateway::new_stream_key;
use lemonair_projections::{channels, stream_keys};
use lemonair_schemas::channel::{StreamKeyIssued, StreamKeyRevoked};
use lemonair_schemas::{Event, EventId, RoomId, Timestamp};

use crate::services::Ground;
use crate::settings::Settings;

#[derive(Subcommand)]
pub(crate) enum Key {
    /// List the stream keys in force, without the keys themselves
    List { room: RoomId },
    /// Make one more stream key, and print it once
    Add {
        room: RoomId,
        /// What to call it
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Void a stream key, and end the broadcast of who is on air with it
    Revoke {
        room: RoomId,
        /// As `lemonair key list` shows it
        id: EventId,
    },
    /// Make a new stream key, print it once, and void all others
    Rotate { room: RoomId },
}

impl Key {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let ground = Ground::lay(settings).await?;
        match self {
            Key::List { room } => {
                known(&ground, &room).await?;
                for key in stream_keys::of_room(&ground.pool, &room).await? {
                    let (id, prefix, issued, label) =
                        (key.id, key.prefix, key.issued_at, key.label);
                    println!("{id}  {prefix}…  {issued}  {label}");
                }
                Ok(())
            }
            Key::Add { room, label } => {
                known(&ground, &room).await?;
                let (key, issued) = new_stream_key(room, None);
                let issued = StreamKeyIssued {
                    label,
                    beside: true,
                    ..issued
                };
                append(&ground, issued, Some(&key)).await
            }
            Key::Rotate { room } => {
                known(&ground, &room).await?;
                let (key, issued) = new_stream_key(room, None);
                append(&ground, issued, Some(&key)).await
            }
            Key::Revoke { room, id } => {
                let keys = stream_keys::of_room(&ground.pool, &room).await?;
                if !keys.iter().any(|key| key.id == id) {
                    bail!("{room} has no stream key {id}; see `lemonair key list {room}`");
                }
                let revoked = StreamKeyRevoked {
                    id: EventId::new(),
                    at: Timestamp::now(),
                    room,
                    actor: None,
                    issued: id,
                };
                append(&ground, revoked, None).await
            }
        }
    }
}

async fn known(ground: &Ground, room: &RoomId) -> anyhow::Result<()> {
    let channel = channels::by_room(&ground.pool, room).await?;
    channel.with_context(|| {
        format!("there is no channel {room}; `lemonair token {room}` makes its account")
    })?;
    Ok(())
}

async fn append(ground: &Ground, event: impl Into<Event>, key: Option<&str>) -> anyhow::Result<()> {
    let position = ground.log.append(event).await?;
    if let Some(key) = key {
        println!("{key}");
    }
    let patience = Duration::from_secs(10);
    if !ground
        .checkpoints
        .wait("stream_keys", position, patience)
        .await
    {
        bail!("it is done, but the read models lag; does `lemonair project` run?");
    }
    Ok(())
}
