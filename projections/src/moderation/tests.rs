use lemonair_schemas::chat::{
    ChatCleared, ChatSettingsChanged, HeldMessageApproved, MemberBanned, MemberTimedOut,
    MemberUnbanned, MessageDeleted, MessageHeld, MessagePinned, ModeratorAdded,
};
use serde_json::json;

use super::*;
use crate::messages::{self, Messages};
use crate::page::Slice;
use crate::scratch::{Scratch, actor, at, room, said};

macro_rules! event {
    ($name:ident by $by:literal at $seconds:literal { $($field:ident: $value:expr),* $(,)? }) => {
        $name {
            id: EventId::new(),
            at: at($seconds),
            room: room("mint"),
            actor: Some(actor($by)),
            $($field: $value),*
        }
    };
}

fn name(who: &str) -> (AccountId, String) {
    (actor(who).id, who.to_owned())
}

async fn snapshot_of(db: &Scratch) -> Snapshot {
    let mut connection = db.pool.acquire().await.unwrap();
    let found = snapshots(&mut connection, &[room("mint")], |_| 0).await;
    found.unwrap().remove(&room("mint")).unwrap()
}

#[tokio::test]
async fn a_room_without_history_asks_nothing() {
    let db = Scratch::new().await;
    assert_eq!(snapshot_of(&db).await, Snapshot::default());
    assert_eq!(pinned(&db.pool, &room("mint")).await.unwrap(), None);
}

#[tokio::test]
async fn who_stands_how_follows_the_last_event() {
    let db = Scratch::new().await;
    let (account, called) = name("lime");
    let added = event!(ModeratorAdded by "mint" at 1 { account: account, name: called.clone() });
    let timed_out = event!(MemberTimedOut by "mint" at 2 {
        account: account, name: called.clone(), until: at(600), reason: None,
    });
    db.given(&Moderation, &[added.into(), timed_out.into()])
        .await;
    let found = snapshot_of(&db).await;
    assert_eq!(
        (found.moderators, found.timed_out),
        (vec![account], vec![(account, at(600))])
    );
    let reason = Some("spam".to_owned());
    let banned = event!(MemberBanned by "mint" at 3 {
        account: account, name: called.clone(), reason: reason.clone(),
    });
    db.given(&Moderation, &[banned.clone().into(), banned.into()])
        .await;
    let found = snapshot_of(&db).await;
    assert_eq!((found.moderators, found.banned), (vec![], vec![account]));
    let listed = standings(&db.pool, &room("mint"), Kind::Banned)
        .await
        .unwrap();
    assert_eq!((listed.len(), &listed[0].reason), (1, &reason));
    let unbanned = event!(MemberUnbanned by "mint" at 4 { account: account, name: called });
    db.given(&Moderation, &[unbanned.into()]).await;
    assert_eq!(snapshot_of(&db).await.banned, vec![]);

    let log = log(&db.pool, &room("mint"), &Slice::start(10))
        .await
        .unwrap()
        .items;
    let actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    // The same event twice was done once.
    assert_eq!(
        actions,
        [
            "member.unbanned",
            "member.banned",
            "member.timed_out",
            "moderator.added"
        ]
    );
    assert!(log.iter().all(|entry| {
        entry.actor == Some(actor("mint"))
            && entry.target.as_ref().map(|target| target.id) == Some(account)
    }));
    assert_eq!(log[1].detail.get("reason"), Some(&json!("spam")));
}

#[tokio::test]
async fn settings_are_read_as_they_were_set() {
    let db = Scratch::new().await;
    let changed = event!(ChatSettingsChanged by "mint" at 1 {
        slow_mode_ms: 5000,
        followers_only_ms: Some(0),
        unique_messages: true,
        emote_only: false,
        blocked_words: vec!["hé 🍋".to_owned(), "two words".to_owned()],
        links_allowed: false,
        hold_for_review: true,
    });
    let expected = ChatSettings::from(&changed);
    db.given(&Moderation, &[changed.into()]).await;
    assert_eq!(settings(&db.pool, &room("mint")).await.unwrap(), expected);
    assert_eq!(
        settings(&db.pool, &room("lime")).await.unwrap(),
        ChatSettings::default()
    );
}

#[tokio::test]
async fn a_held_message_is_a_message_once_it_is_approved() {
    let db = Scratch::new().await;
    let held_back =
        event!(MessageHeld by "lime" at 1 { text: "hm".to_owned(), nonce: None, reply_to: None });
    let approved = event!(HeldMessageApproved by "mint" at 2 {
        message: held_back.id, author: actor("lime"), text: "hm".to_owned(), nonce: None, reply_to: None,
    });
    let first: Event = held_back.clone().into();
    db.given(&Moderation, std::slice::from_ref(&first)).await;
    db.given(&Messages, &[first]).await;
    let waiting = held(&db.pool, &room("mint")).await.unwrap();
    assert_eq!(
        (waiting.len(), waiting[0].text.as_str(), &waiting[0].author),
        (1, "hm", &actor("lime"))
    );
    assert!(!messages::any(&db.pool, &room("mint"), None).await.unwrap());
    let second: Event = approved.into();
    // Two moderators at the same time: it is one message.
    let twice = [second.clone(), second];
    db.given(&Moderation, &twice).await;
    db.given(&Messages, &twice).await;
    assert_eq!(held(&db.pool, &room("mint")).await.unwrap(), vec![]);
    let said = messages::by_id(&db.pool, held_back.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (said.text.as_str(), said.author, said.sent_at),
        ("hm", Some(actor("lime")), at(2))
    );
    let decided = decision(&db.pool, &room("mint"), held_back.id)
        .await
        .unwrap();
    assert_eq!(decided.as_deref(), Some("chat.approved"));
}

#[tokio::test]
async fn what_is_taken_away_leaves_no_text() {
    let db = Scratch::new().await;
    let mine = said("mint", "lime", "secret of lime");
    let yours = said("mint", "kiwi", "secret of kiwi");
    let pin = |message: &lemonair_schemas::chat::MessagePosted| {
        event!(MessagePinned by "mint" at 2 {
            message: message.id, author: message.actor.clone(), text: message.text.clone(),
        })
    };
    let waiting = event!(MessageHeld by "lime" at 3 { text: "secret".to_owned(), nonce: None, reply_to: None });
    let history: Vec<Event> = vec![
        mine.clone().into(),
        yours.clone().into(),
        pin(&mine).into(),
        waiting.into(),
    ];
    db.given(&Messages, &history).await;
    db.given(&Moderation, &history).await;
    let of_lime = event!(ChatCleared by "mint" at 4 {
        account: Some(actor("lime").id), name: Some("lime".to_owned()),
    });
    db.given(&Messages, &[of_lime.clone().into()]).await;
    db.given(&Moderation, &[of_lime.into()]).await;
    assert_eq!(pinned(&db.pool, &room("mint")).await.unwrap(), None);
    assert_eq!(held(&db.pool, &room("mint")).await.unwrap(), vec![]);
    let left: Vec<String> = sqlx::query_scalar("SELECT text FROM messages ORDER BY record_offset")
        .fetch_all(&db.pool)
        .await
        .unwrap();
    assert_eq!(left, ["", "secret of kiwi"]);

    db.given(&Moderation, &[pin(&yours).into()]).await;
    let deleted = event!(MessageDeleted by "mint" at 5 { message: yours.id });
    db.given(&Messages, &[deleted.clone().into()]).await;
    db.given(&Moderation, &[deleted.into()]).await;
    assert_eq!(pinned(&db.pool, &room("mint")).await.unwrap(), None);
    assert!(!messages::any(&db.pool, &room("mint"), None).await.unwrap());
    let log = log(&db.pool, &room("mint"), &Slice::start(1))
        .await
        .unwrap();
    assert_eq!(log.items[0].action, "chat.deleted");
    assert_eq!(
        log.items[0].target.as_ref().map(|target| target.id),
        Some(actor("kiwi").id)
    );
    let details: Vec<String> = sqlx::query_scalar("SELECT detail FROM moderation_log")
        .fetch_all(&db.pool)
        .await
        .unwrap();
    assert!(details.iter().all(|detail| !detail.contains("secret")));
}

/// Many rooms asked about at once get what each would alone.
#[tokio::test]
async fn rooms_do_not_mix() {
    let db = Scratch::new().await;
    let banned = |in_room: &str, who: &str| MemberBanned {
        room: room(in_room),
        ..event!(MemberBanned by "mint" at 1 {
            account: actor(who).id, name: who.to_owned(), reason: None,
        })
    };
    let rooms: Vec<RoomId> = (10..30).map(|n| room(&format!("room{n}"))).collect();
    let bans = rooms
        .iter()
        .map(|room| banned(room.as_str(), room.as_str()));
    let bans: Vec<Event> = bans.map(Event::from).collect();
    db.given(&Moderation, &bans).await;
    let mut connection = db.pool.acquire().await.unwrap();
    let found = snapshots(&mut connection, &rooms[1..], |_| 0)
        .await
        .unwrap();
    assert_eq!(found.len(), rooms.len() - 1);
    for room in &rooms[1..] {
        assert_eq!(found[room].banned, [actor(room.as_str()).id]);
    }
}
