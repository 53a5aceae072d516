use lemonair_schemas::{Event, Timestamp};

use super::*;
use crate::channels::{self, Channels};
use crate::scratch::{Scratch, actor, opened, room};

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
