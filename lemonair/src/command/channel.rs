//! `lemonair channel`: channels from a shell.

use anyhow::Context;
use clap::Subcommand;
use lemonair_projections::{Slice, channels, stream_keys};
use lemonair_schemas::RoomId;

use crate::services::Ground;
use crate::settings::Settings;

#[derive(Subcommand)]
pub(crate) enum Channel {
    /// List channels by name
    List {
        /// Only those on air
        #[arg(long)]
        live: bool,
    },
    /// Show a channel
    Show { room: RoomId },
}

impl Channel {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let ground = Ground::lay(settings).await?;
        match self {
            Channel::List { live } => {
                let mut slice = Slice::start(Slice::MOST);
                loop {
                    let page = channels::list(&ground.pool, live, &slice).await?;
                    for listed in &page.items {
                        let state = if listed.live.is_some() { "live" } else { "-" };
                        println!(
                            "{:<24}  {state:<4}  {}",
                            listed.channel.room, listed.channel.title
                        );
                    }
                    match page.older {
                        Some(next) => slice = Slice::before(next, Slice::MOST),
                        None => return Ok(()),
                    }
                }
            }
            Channel::Show { room } => {
                let channel = channels::by_room(&ground.pool, &room).await?;
                let channel = channel.with_context(|| format!("there is no channel {room}"))?;
                println!("room         {}", channel.room);
                println!("owner        {} ({})", channel.name, channel.owner);
                println!("title        {}", channel.title);
                println!("category     {}", channel.category);
                println!("followers    {}", channel.followers);
                let keys = stream_keys::of_room(&ground.pool, &room).await?;
                match keys.len() {
                    0 => println!("stream keys  none; `lemonair key add {room}` makes one"),
                    count => println!("stream keys  {count}; `lemonair key list {room}`"),
                }
            }
        }
        Ok(())
    }
}
