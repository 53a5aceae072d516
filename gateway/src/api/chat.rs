//! What moderators do to what is said: settings, held messages, the pin, deleting, and the log of it
//! all. Doing it twice is doing it once.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lemonair_projections::moderation;
use lemonair_projections::{accounts, messages};
use lemonair_schemas::chat::{
    ChatCleared, ChatSettings, ChatSettingsChanged, HeldMessageApproved, HeldMessageDenied,
    MessageDeleted, MessagePinned, MessageUnpinned,
};
use lemonair_schemas::{Actor, EventId, RoomId};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::channel::find;
use super::history::{Paging, page};
use super::moderation::{Moderator, fact, optional, rank, record, target};
use super::{Body, InRoom, Params, User, Visitor};
use crate::App;
use crate::error::Problem;
use crate::moderation::{LONGEST_SLOW, Rank, folds_to_nothing};

const MOST_WORDS: usize = 500;
const LONGEST_WORD: usize = 50;
/// 90 days, as milliseconds.
const LONGEST_FOLLOW: i64 = 90 * 24 * 3600 * 1000;

// === Settings ===

/// What is to be another way; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    slow_mode_ms: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    followers_only_ms: Option<Option<i64>>,
    unique_messages: Option<bool>,
    emote_only: Option<bool>,
    blocked_words: Option<Vec<String>>,
    links_allowed: Option<bool>,
    hold_for_review: Option<bool>,
}

/// `null` is something else than nothing.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(crate) async fn settings(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Visitor(user): Visitor,
) -> Result<Json<Value>, Problem> {
    find(&app, &room).await?;
    let rank = match user {
        Some(user) => user.rank(&app, &room).await?,
        None => Rank::Viewer,
    };
    let settings = moderation::settings(&app.pool, &room).await?;
    Ok(Json(shown(&settings, rank)))
}

/// What is blocked is nothing to read out to everybody.
fn shown(settings: &ChatSettings, rank: Rank) -> Value {
    let mut shown = json!(settings);
    if rank < Rank::Moderator
        && let Some(shown) = shown.as_object_mut()
    {
        shown.remove("blocked_words");
    }
    shown
}

pub(crate) async fn change_settings(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Body(change): Body<Change>,
) -> Result<Json<Value>, Problem> {
    let Moderator { actor, rank } = user.must_moderate(&app, &room).await?;
    let before = moderation::settings(&app.pool, &room).await?;
    let after = changed(before.clone(), change)?;
    if after != before {
        let ChatSettings {
            slow_mode_ms,
            followers_only_ms,
            unique_messages,
            emote_only,
            blocked_words,
            links_allowed,
            hold_for_review,
        } = after.clone();
        let event = fact!(ChatSettingsChanged in room by actor;
            slow_mode_ms: slow_mode_ms,
            followers_only_ms: followers_only_ms,
            unique_messages: unique_messages,
            emote_only: emote_only,
            blocked_words: blocked_words,
            links_allowed: links_allowed,
            hold_for_review: hold_for_review,
        );
        record(&app, event).await?;
    }
    Ok(Json(shown(&after, rank)))
}

fn changed(mut settings: ChatSettings, change: Change) -> Result<ChatSettings, Problem> {
    let bad = |detail: String| Err(Problem::unprocessable("bad_setting", detail));
    if let Some(pace) = change.slow_mode_ms {
        let longest = i64::try_from(LONGEST_SLOW.as_millis()).unwrap_or(i64::MAX);
        if !(0..=longest).contains(&pace) {
            return bad(format!("slow_mode_ms is a number from 0 to {longest}"));
        }
        settings.slow_mode_ms = pace;
    }
    if let Some(age) = change.followers_only_ms {
        if age.is_some_and(|age| !(0..=LONGEST_FOLLOW).contains(&age)) {
            return bad(format!(
                "followers_only_ms is null or a number from 0 to {LONGEST_FOLLOW}"
            ));
        }
        settings.followers_only_ms = age;
    }
    if let Some(words) = change.blocked_words {
        settings.blocked_words.clear();
        for word in words {
            let word = word.split_whitespace().collect::<Vec<_>>().join(" ");
            if word.chars().count() > LONGEST_WORD || folds_to_nothing(&word) {
                return bad(format!(
                    "a blocked word has letters or digits, and at most {LONGEST_WORD} characters"
                ));
            }
            if !settings.blocked_words.contains(&word) {
                settings.blocked_words.push(word);
            }
        }
        if settings.blocked_words.len() > MOST_WORDS {
            return bad(format!("a room has at most {MOST_WORDS} blocked words"));
        }
    }
    let ChatSettings {
        unique_messages,
        emote_only,
        links_allowed,
        hold_for_review,
        ..
    } = &mut settings;
    for (switch, wanted) in [
        (unique_messages, change.unique_messages),
        (emote_only, change.emote_only),
        (links_allowed, change.links_allowed),
        (hold_for_review, change.hold_for_review),
    ] {
        *switch = wanted.unwrap_or(*switch);
    }
    Ok(settings)
}

// === Held messages ===

pub(crate) async fn held(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<Json<Value>, Problem> {
    user.must_moderate(&app, &room).await?;
    let held = moderation::held(&app.pool, &room).await?;
    Ok(Json(json!({ "held": held })))
}

pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, message)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(&app, &room).await?;
    let Some(held) = undecided(&app, &room, &message, "chat.approved").await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let approved = fact!(HeldMessageApproved in room by moderator.actor;
        message: held.id, author: held.author, text: held.text, nonce: held.nonce,
        reply_to: held.reply_to);
    record(&app, approved).await
}

pub(crate) async fn deny(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, message)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(&app, &room).await?;
    let Some(held) = undecided(&app, &room, &message, "chat.denied").await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let denied = fact!(HeldMessageDenied in room by moderator.actor;
        message: held.id, account: held.author.id, name: held.author.name);
    record(&app, denied).await
}

/// The message, if it still waits; `None` if what is wanted was decided already.
async fn undecided(
    app: &App,
    room: &RoomId,
    message: &str,
    wanted: &str,
) -> Result<Option<moderation::Held>, Problem> {
    let gone = || Problem::not_found("no such message is held");
    let message: EventId = message.parse().map_err(|_| gone())?;
    let mut held = moderation::held_message(&app.pool, room, message).await?;
    if held.is_none() {
        app.catch_up(room).await;
        held = moderation::held_message(&app.pool, room, message).await?;
    }
    if held.is_some() {
        return Ok(held);
    }
    match moderation::decision(&app.pool, room, message).await? {
        Some(decision) if decision == wanted => Ok(None),
        Some(_) => Err(Problem::new(
            StatusCode::CONFLICT,
            "decided",
            "another moderator has decided otherwise",
        )),
        None => Err(gone()),
    }
}

// === The pin ===

#[derive(Deserialize)]
pub(crate) struct Which {
    message: EventId,
}

pub(crate) async fn pinned(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
) -> Result<Json<Value>, Problem> {
    find(&app, &room).await?;
    let pinned = moderation::pinned(&app.pool, &room).await?;
    Ok(Json(json!({ "pinned": pinned })))
}

pub(crate) async fn pin(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Body(Which { message }): Body<Which>,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(&app, &room).await?;
    let found = find_message(&app, &room, message).await?;
    if found.deleted_at.is_some() {
        return Err(Problem::not_found("the message was taken away"));
    }
    let pinned = moderation::pinned(&app.pool, &room).await?;
    if pinned.is_some_and(|pin| pin.message == message) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let pinned = fact!(MessagePinned in room by moderator.actor;
        message: message, author: found.author, text: found.text);
    record(&app, pinned).await
}

pub(crate) async fn unpin(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(&app, &room).await?;
    let Some(pin) = moderation::pinned(&app.pool, &room).await? else {
        return Ok(StatusCode::NO_CONTENT);
    };
    let unpinned = fact!(MessageUnpinned in room by moderator.actor; message: pin.message);
    record(&app, unpinned).await
}

// === Deleting ===

/// By the author, or by a moderator who stands above the author; by the streamer or an operator in
/// any case.
pub(crate) async fn delete_message(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    Path((_, message)): Path<(String, String)>,
    user: User,
) -> Result<StatusCode, Problem> {
    let id = message
        .parse()
        .map_err(|_| Problem::not_found("there is no such message"))?;
    let message = find_message(&app, &room, id).await?;
    let own = message
        .author
        .as_ref()
        .is_some_and(|author| author.id == user.0.sub);
    let actor = if own {
        user.actor(Some(&room))
    } else {
        let moderator = user.must_moderate(&app, &room).await?;
        if let Some(author) = &message.author
            && moderator.rank == Rank::Moderator
            && author_rank(&app, &room, author).await? >= Rank::Moderator
        {
            return Err(stands_too_high(&author.name));
        }
        moderator.actor
    };
    if message.deleted_at.is_some() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let deleted = fact!(MessageDeleted in room by actor; message: id);
    record(&app, deleted).await
}

#[derive(Deserialize, Default)]
pub(crate) struct Whose {
    /// An account's id or name; everybody's if it is left out.
    account: Option<String>,
}

pub(crate) async fn delete_messages(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Params(whose): Params<Whose>,
) -> Result<StatusCode, Problem> {
    clear_all(&app, &room, &user, whose).await
}

pub(crate) async fn clear(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    clear_all(&app, &room, &user, optional(&body)?).await
}

async fn clear_all(
    app: &App,
    room: &RoomId,
    user: &User,
    whose: Whose,
) -> Result<StatusCode, Problem> {
    let moderator = user.must_moderate(app, room).await?;
    let author = match &whose.account {
        Some(account) => Some(target(app, account).await?),
        None => None,
    };
    if let Some(author) = &author
        && moderator.rank == Rank::Moderator
        && author.id != moderator.actor.id
        && rank(app, room, author.id, &author.name, &author.role).await? >= Rank::Moderator
    {
        return Err(stands_too_high(&author.name));
    }
    let (account, name) = author.map(|author| (author.id, author.name)).unzip();
    let held = moderation::held(&app.pool, room).await?;
    let waits = held
        .iter()
        .any(|held| account.is_none_or(|account| held.author.id == account));
    if !waits && !messages::any(&app.pool, room, account).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let cleared = fact!(ChatCleared in room by moderator.actor; account: account, name: name);
    record(app, cleared).await
}

pub(super) async fn find_message(
    app: &App,
    room: &RoomId,
    message: EventId,
) -> Result<messages::Message, Problem> {
    let mut found = messages::by_id(&app.pool, message).await?;
    if found.is_none() {
        app.catch_up(room).await;
        found = messages::by_id(&app.pool, message).await?;
    }
    found
        .filter(|message| message.room == *room)
        .ok_or_else(|| Problem::not_found("there is no such message"))
}

/// As they stand now.
async fn author_rank(app: &App, room: &RoomId, author: &Actor) -> Result<Rank, Problem> {
    let account = accounts::by_id(&app.pool, author.id).await?;
    let role = account.as_ref().map_or("viewer", |account| &account.role);
    rank(app, room, author.id, &author.name, role).await
}

fn stands_too_high(name: &str) -> Problem {
    Problem::forbidden(
        "stands_too_high",
        format!("what {name} said is not yours to take away"),
    )
}

// === The log ===

pub(crate) async fn audit(
    State(app): State<Arc<App>>,
    InRoom(room): InRoom,
    user: User,
    Params(paging): Params<Paging>,
) -> Result<Json<Value>, Problem> {
    user.must_moderate(&app, &room).await?;
    let found = moderation::log(&app.pool, &room, &paging.slice()?).await?;
    Ok(page("audit", &found.items, found.older, found.newer))
}
