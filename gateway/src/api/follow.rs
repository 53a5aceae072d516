//! Following a channel. Doing it twice is the same as doing it once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lemonair_projections::channels;
use lemonair_schemas::channel::{ChannelFollowed, ChannelUnfollowed};
use lemonair_schemas::{Event, EventId, Timestamp};

use super::channel::find;
use super::{InRoom, User};
use crate::App;
use crate::error::Problem;

pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<StatusCode, Problem> {
    find(&app, &room).await?;
    if user.owns(&room) {
        return Err(Problem::unprocessable(
            "own_channel",
            "you cannot follow your own channel",
        ));
    }
    let actor = Some(user.actor(Some(&room)));
    let followed = ChannelFollowed {
        id: EventId::new(),
        at: Timestamp::now(),
        room,
        actor,
    };
    change(&app, &user, followed.into(), true).await
}

pub(crate) async fn unfollow(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<StatusCode, Problem> {
    find(&app, &room).await?;
    let actor = Some(user.actor(Some(&room)));
    let unfollowed = ChannelUnfollowed {
        id: EventId::new(),
        at: Timestamp::now(),
        room,
        actor,
    };
    change(&app, &user, unfollowed.into(), false).await
}

/// Appends the event unless things are so already: what changes nothing is no fact.
async fn change(app: &App, user: &User, event: Event, wanted: bool) -> Result<StatusCode, Problem> {
    if let Some(room) = event.room()
        && channels::is_following(&app.pool, &room, user.0.sub).await? != wanted
    {
        let position = app.log.append(event).await?;
        app.settle(&[position]).await;
    }
    Ok(StatusCode::NO_CONTENT)
}
