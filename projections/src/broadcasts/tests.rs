use lemonair_schemas::stream::{StreamInterrupted, StreamResumed};

use super::*;
use crate::scratch::{Scratch, at, room};

fn started(name: &str, ingest: &str) -> StreamStarted {
    StreamStarted {
        id: EventId::new(),
        at: at(0),
        room: room(name),
        actor: None,
        title: "hello".to_owned(),
        ingest: ingest.to_owned(),
        origin: "http://one".to_owned(),
    }
}

fn interrupted(stream: &StreamStarted) -> StreamInterrupted {
    StreamInterrupted {
        id: EventId::new(),
        at: at(1),
        room: stream.room.clone(),
        actor: None,
        stream: stream.id,
        figures: None,
    }
}

fn resumed(stream: &StreamStarted) -> StreamResumed {
    StreamResumed {
        id: EventId::new(),
        at: at(2),
        room: stream.room.clone(),
        actor: None,
        stream: stream.id,
    }
}

fn ended(stream: &StreamStarted, seconds: i64, reason: &str) -> StreamEnded {
    StreamEnded {
        id: EventId::new(),
        at: at(seconds),
        room: stream.room.clone(),
        actor: None,
        stream: stream.id,
        reason: reason.to_owned(),
        figures: None,
    }
}

#[tokio::test]
async fn a_broadcast_is_interrupted_resumed_and_over_once() {
    let db = Scratch::new().await;
    let stream = started("mint", "one");
    db.given(&Broadcasts, &[stream.clone().into()]).await;
    let on_air = live(&db.pool, &stream.room).await.unwrap().unwrap();
    assert_eq!((on_air.id, on_air.started_at), (stream.id, at(0)));
    assert_eq!(on_air.interrupted_at, None);

    db.given(&Broadcasts, &[interrupted(&stream).into()]).await;
    let waiting = live(&db.pool, &stream.room).await.unwrap().unwrap();
    assert_eq!(waiting.interrupted_at, Some(at(1)));

    db.given(&Broadcasts, &[resumed(&stream).into()]).await;
    let again = live(&db.pool, &stream.room).await.unwrap().unwrap();
    assert_eq!(again, on_air);

    let ends = [
        ended(&stream, 3, "unpublished").into(),
        ended(&stream, 4, "restarted").into(),
        resumed(&stream).into(),
    ];
    db.given(&Broadcasts, &ends).await;
    assert_eq!(live(&db.pool, &stream.room).await.unwrap(), None);
    let over = by_id(&db.pool, stream.id).await.unwrap().unwrap();
    assert_eq!(over.ended_at, Some(at(3)));
    assert_eq!(over.reason.as_deref(), Some("unpublished"));
    let newest = async || newest(&db.pool, &stream.room).await.unwrap();
    assert_eq!(newest().await, Some(over));
    let next = started("mint", "two");
    db.given(&Broadcasts, &[next.clone().into()]).await;
    assert_eq!(newest().await.map(|newest| newest.id), Some(next.id));
}

#[tokio::test]
async fn an_ingest_finds_what_it_left_open() {
    let db = Scratch::new().await;
    let (a, b, c) = (
        started("mint", "one"),
        started("lime", "one"),
        started("kiwi", "two"),
    );
    let events = [
        a.clone().into(),
        b.clone().into(),
        c.clone().into(),
        ended(&a, 1, "unpublished").into(),
    ];
    db.given(&Broadcasts, &events).await;
    let ids = |found: Vec<Broadcast>| found.iter().map(|one| one.id).collect::<Vec<_>>();
    let left = left_open(&db.pool, "one").await.unwrap();
    assert_eq!(ids(left), [b.id]);
    let all = all_live(&db.pool).await.unwrap();
    assert_eq!(ids(all), [c.id, b.id], "by room");
}

#[tokio::test]
async fn what_ends_must_have_begun_in_that_room() {
    let db = Scratch::new().await;
    let stream = started("mint", "one");
    db.given(&Broadcasts, &[stream.clone().into()]).await;
    let mut elsewhere = ended(&stream, 1, "unpublished");
    elsewhere.room = room("lime");
    let refusal = db.refusal(&Broadcasts, &[elsewhere.into()]).await;
    assert_eq!(refusal, format!("no broadcast {} in lime", stream.id));
    assert!(live(&db.pool, &stream.room).await.unwrap().is_some());
}

#[tokio::test]
async fn the_last_broadcast_comes_first() {
    let db = Scratch::new().await;
    let streams: Vec<StreamStarted> = (0..5).map(|_| started("mint", "one")).collect();
    let events: Vec<Event> = streams.iter().cloned().map(Event::from).collect();
    db.given(&Broadcasts, &events).await;
    let first = page(&db.pool, &room("mint"), &Slice::start(3))
        .await
        .unwrap();
    let rest = Slice::before(first.older.clone().unwrap(), 3);
    let rest = page(&db.pool, &room("mint"), &rest).await.unwrap();
    let ids: Vec<EventId> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|one| one.id)
        .collect();
    let expected: Vec<EventId> = streams.iter().rev().map(|one| one.id).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn what_is_kept_of_a_broadcast() {
    let db = Scratch::new().await;
    let (a, b) = (started("mint", "one"), started("mint", "one"));
    let begun = |stream: &StreamStarted| RecordingBegun {
        id: EventId::new(),
        at: at(1),
        room: stream.room.clone(),
        actor: None,
        stream: stream.id,
    };
    let events = [
        a.clone().into(),
        begun(&a).into(),
        ended(&a, 9, "unpublished").into(),
        b.clone().into(),
    ];
    db.given(&Broadcasts, &events).await;
    let all = || async {
        let page = recordings(&db.pool, &room("mint"), &Slice::start(9)).await;
        let page = page.unwrap().items.into_iter();
        page.map(|one| (one.id, one.recording)).collect::<Vec<_>>()
    };
    let mut kept = Recording {
        whole: None,
        deleted_at: None,
    };
    assert_eq!(all().await, [(a.id, Some(kept))]);

    let whole = RecordingKept {
        id: EventId::new(),
        at: at(10),
        room: a.room.clone(),
        actor: None,
        stream: a.id,
        begins: at(1),
        duration_ms: 8000,
        bytes: 5_000_000_000,
    };
    db.given(&Broadcasts, &[begun(&b).into(), whole.into()])
        .await;
    kept.whole = Some(Whole {
        begins: at(1),
        duration_ms: 8000,
        bytes: 5_000_000_000,
    });
    let growing = Recording {
        whole: None,
        deleted_at: None,
    };
    assert_eq!(all().await, [(b.id, Some(growing)), (a.id, Some(kept))]);

    let deleted = |seconds| RecordingDeleted {
        id: EventId::new(),
        at: at(seconds),
        room: a.room.clone(),
        actor: None,
        stream: a.id,
        reason: "asked".to_owned(),
    };
    db.given(&Broadcasts, &[deleted(20).into(), deleted(30).into()])
        .await;
    assert_eq!(all().await, [(b.id, Some(growing))]);
    let known = among(&db.pool, &[a.id, EventId::new(), b.id])
        .await
        .unwrap();
    let known = known.iter().find(|one| one.id == a.id).unwrap();
    let deleted_at = known.recording.and_then(|recording| recording.deleted_at);
    assert_eq!((known.id, deleted_at), (a.id, Some(at(20))));

    let mut elsewhere = begun(&a);
    elsewhere.room = room("lime");
    let refusal = db.refusal(&Broadcasts, &[elsewhere.into()]).await;
    assert_eq!(refusal, format!("no broadcast {} in lime", a.id));
}
