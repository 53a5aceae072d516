//! The directory, and one channel.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lemonair_projections::accounts;
use lemonair_projections::broadcasts::{self, Broadcast};
use lemonair_projections::channels::{self, Channel};
use lemonair_schemas::channel::ChannelUpdated;
use lemonair_schemas::{AccountId, EventId, RoomId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::{Paging, page};
use super::{Body, InRoom, Params, User, Visitor};
use crate::App;
use crate::error::Problem;
use crate::moderation::Rank;

/// Characters, at most.
const TITLE: usize = 140;
const CATEGORY: usize = 40;
const DESCRIPTION: usize = 2000;

/// A channel as everybody sees it.
#[derive(Serialize)]
pub(crate) struct Shown {
    room: RoomId,
    #[serde(skip)]
    owner: AccountId,
    name: String,
    /// What its owner is called beside that.
    display_name: Option<String>,
    title: String,
    category: String,
    description: String,
    live: bool,
    /// Live, but the publisher's line is down.
    interrupted: bool,
    viewers: usize,
    followers: i64,
    started_at: Option<Timestamp>,
    thumbnail: Option<String>,
    hls: Option<String>,
    stream: Option<EventId>,
    /// What the channel is to whoever asks, if they said who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    you: Option<You>,
}

#[derive(Serialize)]
struct You {
    following: bool,
    owner: bool,
    /// May do what moderators may.
    moderator: bool,
}

#[derive(Deserialize)]
pub(crate) struct Wanted {
    live: Option<bool>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize)]
pub(crate) struct Update {
    title: Option<String>,
    category: Option<String>,
    description: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(Wanted { live, paging }): Params<Wanted>,
) -> Result<Json<Value>, Problem> {
    let listed = channels::list(&app.pool, live == Some(true), &paging.slice()?).await?;
    let shown = listed
        .items
        .iter()
        .filter(|listed| live != Some(false) || listed.live.is_none());
    let mut shown: Vec<Shown> = shown
        .map(|listed| Shown::new(&app, listed.channel.clone(), listed.live.as_ref(), None))
        .collect();
    let owners: Vec<AccountId> = listed.items.iter().map(|one| one.channel.owner).collect();
    let names = accounts::display_names(&app.pool, &owners).await?;
    for shown in &mut shown {
        shown.call(&names);
    }
    Ok(page("channels", &shown, listed.older, listed.newer))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Visitor(user): Visitor,
) -> Result<Json<Shown>, Problem> {
    let channel = find(&app, &room).await?;
    let live = broadcasts::live(&app.pool, &room).await?;
    let you = match user {
        Some(user) => Some(You {
            following: channels::is_following(&app.pool, &room, user.0.sub).await?,
            owner: user.owns(&room),
            moderator: user.rank(&app, &room).await? > Rank::Viewer,
        }),
        None => None,
    };
    let names = accounts::display_names(&app.pool, &[channel.owner]).await?;
    let mut shown = Shown::new(&app, channel, live.as_ref(), you);
    shown.call(&names);
    Ok(Json(shown))
}

pub(crate) async fn update(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Body(update): Body<Update>,
) -> Result<Json<Shown>, Problem> {
    user.must_run(&room)?;
    let channel = find(&app, &room).await?;
    let updated = ChannelUpdated {
        id: EventId::new(),
        at: Timestamp::now(),
        room: room.clone(),
        actor: Some(user.actor(Some(&room))),
        title: bounded("title", update.title.unwrap_or(channel.title), TITLE)?,
        category: bounded(
            "category",
            update.category.unwrap_or(channel.category),
            CATEGORY,
        )?,
        description: bounded(
            "description",
            update.description.unwrap_or(channel.description),
            DESCRIPTION,
        )?,
    };
    let position = app.log.append(updated).await?;
    app.settle(&[position]).await;
    show(State(app), InRoom(room), Visitor(Some(user))).await
}

pub(super) async fn find(app: &App, room: &RoomId) -> Result<Channel, Problem> {
    let channel = channels::by_room(&app.pool, room).await?;
    channel.ok_or_else(|| Problem::not_found(format!("there is no channel {room}")))
}

pub(super) fn bounded(field: &str, text: String, most: usize) -> Result<String, Problem> {
    let text = text.trim().to_owned();
    if text.chars().count() > most {
        return Err(Problem::unprocessable(
            "too_long",
            format!("the {field} has at most {most} characters"),
        ));
    }
    Ok(text)
}

impl Shown {
    fn new(app: &App, channel: Channel, live: Option<&Broadcast>, you: Option<You>) -> Shown {
        let room = channel.room;
        Shown {
            owner: channel.owner,
            name: channel.name,
            display_name: None,
            title: channel.title,
            category: channel.category,
            description: channel.description,
            live: live.is_some(),
            interrupted: live.is_some_and(|live| live.interrupted_at.is_some()),
            viewers: app.hub.viewers(&room),
            followers: channel.followers,
            started_at: live.map(|live| live.started_at),
            thumbnail: live.map(|_| format!("/thumbnails/{room}.jpg")),
            hls: live.map(|_| format!("/hls/{room}/index.m3u8")),
            stream: live.map(|live| live.id),
            you,
            room,
        }
    }

    /// By the owner's display name, if it is among these.
    fn call(&mut self, names: &[(AccountId, String)]) {
        let own = names.iter().find(|(account, _)| *account == self.owner);
        self.display_name = own.map(|(_, name)| name.clone());
    }
}
