use lemonair_schemas::EventId;
use lemonair_schemas::stream::{StreamEnded, StreamStarted};

use super::*;
use crate::broadcasts::Broadcasts;
use crate::scratch::{Scratch, actor, at, opened, room};

fn followed(in_room: &str, by: &str) -> ChannelFollowed {
    ChannelFollowed {
        id: EventId::new(),
        at: at(1),
        room: room(in_room),
        actor: Some(actor(by)),
    }
}

fn unfollowed(in_room: &str, by: &str) -> ChannelUnfollowed {
    ChannelUnfollowed {
        id: EventId::new(),
        at: at(2),
        room: room(in_room),
        actor: Some(actor(by)),
    }
}

async fn followers(db: &Scratch, name: &str) -> i64 {
    let channel = by_room(&db.pool, &room(name)).await.unwrap().unwrap();
    channel.followers
}

#[tokio::test]
async fn a_channel_is_opened_and_described() {
    let db = Scratch::new().await;
    let updated = ChannelUpdated {
        id: EventId::new(),
        at: at(1),
        room: room("mint"),
        actor: None,
        title: "Tea & 🍋".to_owned(),
        category: "talk".to_owned(),
        description: "long".repeat(500),
    };
    db.given(&Channels, &[opened("Mint").into(), updated.clone().into()])
        .await;
    let channel = by_room(&db.pool, &room("mint")).await.unwrap().unwrap();
    let expected = Channel {
        room: room("mint"),
        owner: actor("Mint").id,
        name: "Mint".to_owned(),
        title: updated.title.clone(),
        category: updated.category.clone(),
        description: updated.description.clone(),
        followers: 0,
        opened_at: at(0),
    };
    assert_eq!(channel, expected);
    let lost = ChannelUpdated {
        room: room("lime"),
        ..updated
    };
    let refusal = db.refusal(&Channels, &[lost.into()]).await;
    assert_eq!(refusal, "no channel lime");
}

#[tokio::test]
async fn following_twice_is_following_once() {
    let db = Scratch::new().await;
    let mint = room("mint");
    db.given(
        &Channels,
        &[
            opened("mint").into(),
            followed("mint", "lime").into(),
            followed("mint", "lime").into(),
            followed("mint", "kiwi").into(),
        ],
    )
    .await;
    assert_eq!(followers(&db, "mint").await, 2);
    assert!(
        is_following(&db.pool, &mint, actor("lime").id)
            .await
            .unwrap()
    );
    let rooms = followed_by(&db.pool, actor("lime").id).await.unwrap();
    assert_eq!(rooms, std::slice::from_ref(&mint));
    db.given(
        &Channels,
        &[
            unfollowed("mint", "lime").into(),
            unfollowed("mint", "lime").into(),
        ],
    )
    .await;
    assert_eq!(followers(&db, "mint").await, 1);
    assert!(
        !is_following(&db.pool, &mint, actor("lime").id)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn the_directory_tells_who_is_on_air() {
    let db = Scratch::new().await;
    let names = ["ann", "bob", "cat", "dan", "erased-0", "eve"];
    let events: Vec<Event> = names.iter().map(|name| opened(name).into()).collect();
    db.given(&Channels, &events).await;
    let started = |name: &str, title: &str| StreamStarted {
        id: EventId::new(),
        at: at(5),
        room: room(name),
        actor: None,
        title: title.to_owned(),
        ingest: "one".to_owned(),
        origin: "http://one".to_owned(),
    };
    let over = started("bob", "over");
    let ended = StreamEnded {
        id: EventId::new(),
        at: at(6),
        room: room("bob"),
        actor: None,
        stream: over.id,
        reason: "unpublished".to_owned(),
        figures: None,
    };
    // A takeover whose end is not written yet: cat is listed once, with what is on now.
    let events = [
        over.into(),
        ended.into(),
        started("cat", "before").into(),
        started("cat", "now").into(),
        started("eve", "hi").into(),
    ];
    db.given(&Broadcasts, &events).await;

    let seen = async |live_only, slice: &Slice| {
        let page = list(&db.pool, live_only, slice).await.unwrap();
        let titles: Vec<String> = page
            .items
            .iter()
            .map(|item| {
                let live = item.live.as_ref();
                let title = live.map_or("-", |live| live.title.as_str());
                format!("{} {title}", item.channel.room)
            })
            .collect();
        (titles.join(", "), page.older, page.newer)
    };
    let (all, _, _) = seen(false, &Slice::start(10)).await;
    assert_eq!(all, "ann -, bob -, cat now, dan -, eve hi");
    let (live, older, _) = seen(true, &Slice::start(10)).await;
    assert_eq!((live.as_str(), older), ("cat now, eve hi", None));

    let (first, older, _) = seen(false, &Slice::start(2)).await;
    assert_eq!(first, "ann -, bob -");
    let (second, older, newer) = seen(false, &Slice::before(older.unwrap(), 2)).await;
    assert_eq!(second, "cat now, dan -");
    let (third, end, _) = seen(false, &Slice::before(older.unwrap(), 2)).await;
    assert_eq!((third.as_str(), end), ("eve hi", None));
    let (back, _, _) = seen(false, &Slice::after(newer.unwrap(), 2)).await;
    assert_eq!(back, first);
}
