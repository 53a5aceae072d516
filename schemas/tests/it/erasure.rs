//! What is left of a person who was erased.

use lemonair_schemas::erasure::{AccountErased, room_hash};
use lemonair_schemas::{AccountId, Codec, Event, EventId, Records, RoomId, Timestamp};
use lemonair_testkit::fresh_codec;
use uuid::Uuid;

use crate::sample::{Seed, samples};

/// Tells a codec as every reader is told: by reading it.
async fn erase(codec: &Codec, account: AccountId, room: &str) {
    let room: RoomId = room.parse().expect("a room");
    let erasure = Event::from(AccountErased {
        id: EventId::new(),
        at: Timestamp(0),
        account,
        actor: None,
        room_hash: room_hash(&room),
    });
    let bytes = erasure.encode(codec).expect("encode");
    codec.decode::<Event>(&bytes).await.expect("decode");
}

/// All events that the account of the samples has to do with, in its own room, as text.
async fn read(codec: &Codec, seed: &Seed) -> Vec<(&'static str, String)> {
    let mut read = Vec::new();
    for sample in samples(codec, seed) {
        let theirs = !sample.name.ends_with("AccountErased");
        if sample.event.is_some() && theirs {
            let bytes = sample.bytes.expect("encode");
            let event: Event = codec.decode(&bytes).await.expect("decode");
            read.push((sample.name, format!("{event:?}")));
        }
    }
    read
}

#[tokio::test]
async fn no_event_says_their_name_or_what_they_wrote() {
    let codec = fresh_codec().await;
    let seed = Seed::fixed(true);
    let account = AccountId(Uuid::from_u128(seed.ids[1]));
    let personal = ["Größe", "🍋 lemonade", "mint", "SECRET"];
    let named = |read: &[(&str, String)]| {
        let is_named = |text: &String| personal.iter().any(|word| text.contains(word));
        read.iter().filter(|(_, text)| is_named(text)).count()
    };
    let before = read(&codec, &seed).await;
    assert!(named(&before) > 20, "the samples are about them");
    erase(&codec, account, "mint").await;
    for (name, text) in read(&codec, &seed).await {
        for word in personal {
            // A donation's key and an ingest's address are no words of theirs.
            let technical =
                word == "SECRET" && !name.contains("account") && !name.contains("channel");
            assert!(
                technical || !text.contains(word),
                "{name} says {word}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn others_stay_as_they_are() {
    let codec = fresh_codec().await;
    let seed = Seed::fixed(true);
    let before = read(&codec, &seed).await;
    erase(&codec, AccountId::new(), "lime").await;
    assert_eq!(before, read(&codec, &seed).await);
}

#[tokio::test]
async fn who_is_gone_is_found_in_bytes_that_cannot_be_read() {
    let codec = fresh_codec().await;
    let account = AccountId::new();
    let bytes = format!("\0\0\0\0\u{7}broken {account} rest");
    assert!(!codec.erased().concerns(b"", bytes.as_bytes()));
    erase(&codec, account, "mint").await;
    assert!(codec.erased().concerns(b"", bytes.as_bytes()));
    assert!(
        !codec
            .erased()
            .concerns(b"", AccountId::new().to_string().as_bytes())
    );
    assert!(codec.erased().contains(account));
}
