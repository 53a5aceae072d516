use lemonair_consumers::Poison;
use lemonair_schemas::Topic;
use lemonair_schemas::channel::{ChannelFollowed, ChannelOpened};
use lemonair_schemas::{EventId, Timestamp};

use super::*;
use crate::channels::{self, Channels};
use crate::checkpoint::{claim, settle};
use crate::dead_letters::{self, Filter};
use crate::messages::{self, Messages};
use crate::page::Slice;
use crate::scratch::{Scratch, actor, at, opened, room, said};

/// Records of one partition from offset `from`.
fn records(topic: Topic, from: i64, events: Vec<Event>) -> Vec<Consumed<Event>> {
    let record = |(offset, event): (i64, Event)| Consumed {
        position: Position {
            topic,
            partition: 0,
            offset,
        },
        at: event.at(),
        key: event.key().into_bytes(),
        bytes: format!("bytes of {offset}").into_bytes(),
        content: Ok(event),
    };
    (from..).zip(events).map(record).collect()
}

fn chat(from: i64, to: i64) -> Vec<Consumed<Event>> {
    let event = |n: i64| said("mint", "lime", &n.to_string()).into();
    records(Topic::Chat, from, (from..to).map(event).collect())
}

fn end(records: &[Consumed<Event>]) -> Vec<Position> {
    let last = records.last().unwrap().position;
    let offset = last.offset + 1;
    vec![Position { offset, ..last }]
}

async fn commit(
    db: &Scratch,
    projection: &dyn Projection,
    claims: &mut Claims,
    records: &[Consumed<Event>],
) -> Result<Committed> {
    let next = end(records);
    let batch = Batch::new(claims, records, &next);
    let mut connection = db.pool.acquire().await.unwrap();
    let committed = batch
        .commit(&mut connection, projection, &Erased::default())
        .await?;
    settle(&batch.moves, claims);
    Ok(committed)
}

async fn texts(db: &Scratch) -> Vec<String> {
    let page = messages::page(&db.pool, &room("mint"), &Slice::start(200)).await;
    let texts = page.unwrap().items.into_iter().rev();
    texts.map(|message| message.text).collect()
}

fn numbers(to: i64) -> Vec<String> {
    (0..to).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_batch_that_comes_again_changes_nothing() {
    let db = Scratch::new().await;
    let mine = [(Topic::Chat, 0)];
    let mut claims = claim(&db.pool, &Messages, &mine).await.unwrap();
    let (first, more) = (chat(0, 10), chat(5, 15));
    commit(&db, &Messages, &mut claims, &first).await.unwrap();
    let again = commit(&db, &Messages, &mut claims, &first).await.unwrap();
    assert_eq!(again.records, 0);
    let overlapping = commit(&db, &Messages, &mut claims, &more).await.unwrap();
    assert_eq!(overlapping.records, 5);
    // Another process that begins with the checkpoint finds the same.
    let mut claims = claim(&db.pool, &Messages, &mine).await.unwrap();
    commit(&db, &Messages, &mut claims, &more).await.unwrap();
    assert_eq!(texts(&db).await, numbers(15));
}

#[tokio::test]
async fn who_was_replaced_can_no_longer_commit() {
    let db = Scratch::new().await;
    let mine = [(Topic::Chat, 0)];
    let mut stale = claim(&db.pool, &Messages, &mine).await.unwrap();
    commit(&db, &Messages, &mut stale, &chat(0, 3))
        .await
        .unwrap();
    let mut owner = claim(&db.pool, &Messages, &mine).await.unwrap();
    let refused = commit(&db, &Messages, &mut stale, &chat(3, 6)).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    commit(&db, &Messages, &mut owner, &chat(3, 6))
        .await
        .unwrap();
    let refused = commit(&db, &Messages, &mut stale, &chat(3, 9)).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(texts(&db).await, numbers(6));
}

#[tokio::test]
async fn of_two_who_commit_at_once_with_the_same_claim_one_does() {
    let db = Scratch::new().await;
    let claims = claim(&db.pool, &Messages, &[(Topic::Chat, 0)])
        .await
        .unwrap();
    let records = chat(0, 50);
    let (mut left, mut right) = (claims.clone(), claims);
    let (left, right) = tokio::join!(
        commit(&db, &Messages, &mut left, &records),
        commit(&db, &Messages, &mut right, &records),
    );
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    assert_eq!(texts(&db).await, numbers(50));
}

#[tokio::test]
async fn faulty_records_are_put_away_and_their_neighbours_applied() {
    let db = Scratch::new().await;
    let mut claims = claim(&db.pool, &Channels, &[(Topic::Channels, 0)])
        .await
        .unwrap();
    let followed = |in_room: &str, by: &str| ChannelFollowed {
        id: EventId::new(),
        at: at(4),
        room: room(in_room),
        actor: Some(actor(by)),
    };
    let mut too_long: ChannelOpened = opened("kiwi");
    too_long.name = "n".repeat(25);
    let mut records = records(
        Topic::Channels,
        0,
        vec![
            opened("mint").into(),
            followed("mint", "lime").into(),
            too_long.into(),
            followed("nowhere", "lime").into(),
            opened("mint").into(),
            followed("mint", "plum").into(),
            opened("plum").into(),
        ],
    );
    records[1].bytes = b"\0\0\0\0\x4dwhatever".to_vec();
    records[1].content = Err(Poison {
        cause: "schema id 77 is unknown".to_owned(),
    });
    let committed = commit(&db, &Channels, &mut claims, &records).await.unwrap();
    let expected = Committed {
        records: 7,
        dead_letters: 4,
    };
    assert_eq!(committed, expected);

    let mint = channels::by_room(&db.pool, &room("mint")).await.unwrap();
    assert_eq!(mint.unwrap().followers, 1, "only plum's came through");
    let plum = channels::by_room(&db.pool, &room("plum")).await.unwrap();
    assert!(plum.is_some());

    let letters = dead_letters::list(&db.pool, &Filter::default())
        .await
        .unwrap();
    let ids: Vec<String> = letters.iter().map(|letter| letter.id.to_string()).collect();
    assert_eq!(
        ids,
        [1, 2, 3, 4].map(|n| format!("channels.channels.0.{n}"))
    );
    let poison = &letters[0];
    assert_eq!((poison.schema_id, poison.key.as_str()), (Some(77), "mint"));
    assert_eq!(poison.bytes, b"\0\0\0\0\x4dwhatever");
    assert_eq!(poison.record_at, at(4));
    assert!(
        letters[1].cause.contains("too long"),
        "{}",
        letters[1].cause
    );
    assert_eq!(letters[2].cause, "no channel nowhere");
    assert!(
        letters[3].cause.contains("Duplicate"),
        "{}",
        letters[3].cause
    );
    assert_eq!(letters[1].bytes, b"bytes of 2", "as it stood on the topic");
}

#[tokio::test]
async fn trouble_that_is_not_the_records_leaves_all_as_it_was() {
    let db = Scratch::new().await;
    let mut claims = claim(&db.pool, &Messages, &[(Topic::Chat, 0)])
        .await
        .unwrap();
    let before = claims.clone();
    sqlx::query("RENAME TABLE messages TO away")
        .execute(&db.pool)
        .await
        .unwrap();
    let error = commit(&db, &Messages, &mut claims, &chat(0, 3)).await;
    assert!(matches!(error, Err(Error::Sql(_))), "{error:?}");
    sqlx::query("RENAME TABLE away TO messages")
        .execute(&db.pool)
        .await
        .unwrap();
    assert_eq!(claims, before);
    commit(&db, &Messages, &mut claims, &chat(0, 3))
        .await
        .unwrap();
    assert_eq!(texts(&db).await, numbers(3));
    assert!(
        dead_letters::list(&db.pool, &Filter::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn markers_move_the_checkpoint_without_a_record() {
    let db = Scratch::new().await;
    let mut claims = claim(&db.pool, &Messages, &[(Topic::Chat, 0)])
        .await
        .unwrap();
    let to = Position {
        topic: Topic::Chat,
        partition: 0,
        offset: 7,
    };
    let foreign = Position { partition: 1, ..to };
    let batch = Batch::new(&claims, [], &[to, foreign]);
    let mut connection = db.pool.acquire().await.unwrap();
    batch
        .commit(&mut connection, &Messages, &Erased::default())
        .await
        .unwrap();
    settle(&batch.moves, &mut claims);
    let found = crate::checkpoint::read(&mut connection, &Messages)
        .await
        .unwrap();
    assert_eq!(found.len(), 1, "what is not ours is left alone");
    assert_eq!(found[0].position, to);
    assert_eq!(found[0].record_at, None::<Timestamp>);
}
