use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::presence::{RoomViewers, ViewersCounted};
use lemonair_schemas::{Event, EventId, GatewayId, Timestamp};

use super::*;
use crate::channels::{self, Channels};
use crate::chatters::Chatters;
use crate::donations::{self, Donations, Period};
use crate::scratch::{Scratch, accepted, actor, at, opened, room, said};
use crate::viewers::Viewers;

async fn erase_of(db: &Scratch, projection: &dyn Projection, event: &AccountErased) {
    let mut tx = db.pool.begin().await.unwrap();
    apply(&mut tx, projection, event).await.unwrap();
    tx.commit().await.unwrap();
}

fn erased(name: &str, was: &RoomId) -> AccountErased {
    AccountErased::new(actor(name).id, was, Timestamp(1))
}

/// An erasure that was written again names the room by what it goes by since.
#[tokio::test]
async fn who_is_erased_twice_keeps_what_is_left() {
    let db = Scratch::new().await;
    let events: [Event; 1] = [opened("mint").into()];
    db.given(&Channels, &events).await;
    let pseudonym = RoomId::of_erased(actor("mint").id);
    for was in [&room("mint"), &pseudonym, &room("mint")] {
        erase_of(&db, &Channels, &erased("mint", was)).await;
        let left = channels::by_room(&db.pool, &pseudonym).await.unwrap();
        assert_eq!(left.expect("a channel").name, pseudonym.as_str());
    }
}

fn given(to: &RoomId, amount: i64) -> Event {
    let given = DonationAccepted {
        room: to.clone(),
        ..accepted("lime", amount)
    };
    given.into()
}

/// Some of its records were decoded before the erasure was known, and others after.
#[tokio::test]
async fn what_counts_something_of_a_room_is_added_up_under_its_pseudonym() {
    let db = Scratch::new().await;
    let pseudonym = RoomId::of_erased(actor("mint").id);
    let (mint, gateway) = (room("mint"), GatewayId::new());
    let counted = |to: &RoomId, viewers: i64| ViewersCounted {
        id: EventId::new(),
        at: at(5),
        gateway,
        actor: None,
        anew: true,
        rooms: vec![RoomViewers {
            room: to.clone(),
            viewers,
        }],
    };
    for (to, amount) in [(&mint, 100), (&pseudonym, 7), (&mint, 20)] {
        let message = said(to.as_str(), "lime", "hello");
        db.given(&Donations, &[given(to, amount)]).await;
        db.given(&Chatters, &[message.into()]).await;
        db.given(&Viewers, &[counted(to, amount).into()]).await;
    }
    for projection in [&Donations as &dyn Projection, &Chatters, &Viewers] {
        erase_of(&db, projection, &erased("mint", &mint)).await;
    }
    let rank = donations::rank(&db.pool, &pseudonym, Period::All, 5).await;
    let rank = rank.unwrap().named;
    assert_eq!((rank.len(), rank[0].amount, rank[0].donations), (1, 127, 3));
    for (sql, expected) in [
        ("SELECT messages FROM chatters WHERE room = ?", 3_i64),
        ("SELECT viewers FROM viewers WHERE room = ?", 100),
    ] {
        let found: Vec<i64> = sqlx::query_scalar(sql)
            .bind(pseudonym.as_str())
            .fetch_all(&db.pool)
            .await
            .unwrap();
        assert_eq!(found, [expected], "{sql}");
    }
}
