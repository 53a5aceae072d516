//! `lemonair key`: stream keys from a shell.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use lemonair_gateway::new_stream_key;
use lemonair_projections::channels;
use lemonair_schemas::RoomId;

use crate::services::Ground;
use crate::settings::Settings;

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Make a new stream key, print it once, and void the old one
    Rotate { room: RoomId },
}

impl Key {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let ground = Ground::lay(settings).await?;
        let Key::Rotate { room } = self;
        let channel = channels::by_room(&ground.pool, &room).await?;
        channel.with_context(|| {
            format!("there is no channel {room}; `lemonair token {room}` makes its account")
        })?;
        let (key, issued) = new_stream_key(room, None);
        let position = ground.log.append(issued).await?;
        println!("{key}");
        if !ground
            .checkpoints
            .wait("channels", position, Duration::from_secs(10))
            .await
        {
            bail!("the key is made, but the read models lag; does `lemonair project` run?");
        }
        Ok(())
    }
}
