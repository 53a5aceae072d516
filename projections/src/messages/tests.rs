use super::*;
use crate::page::Cursor;
use crate::scratch::{Scratch, actor, at, room, said};

fn texts(page: &Page<Message>) -> Vec<&str> {
    page.items.iter().map(|item| item.text.as_str()).collect()
}

#[tokio::test]
async fn a_message_reads_back_as_it_was_said() {
    let db = Scratch::new().await;
    let mut event = said("mint", "lime", "hé 🍋 \u{0}'\"%");
    event.actor.as_mut().unwrap().roles = vec!["streamer".to_owned(), "operator".to_owned()];
    event.nonce = Some("n1".to_owned());
    event.reply_to = Some(EventId::new());
    db.given(&Messages, &[event.clone().into()]).await;
    let found = by_id(&db.pool, event.id).await.unwrap().unwrap();
    let position = Position {
        topic: Topic::Chat,
        partition: 0,
        offset: 0,
    };
    let expected = Message {
        id: event.id,
        room: event.room,
        author: event.actor,
        text: event.text,
        nonce: event.nonce,
        reply_to: event.reply_to,
        sent_at: event.at,
        deleted_at: None,
        position,
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_deleted_message_loses_its_text_in_whatever_batch() {
    let db = Scratch::new().await;
    let first = said("mint", "lime", "oops");
    let gone = MessageDeleted {
        id: EventId::new(),
        at: at(9),
        room: room("mint"),
        actor: Some(actor("mint")),
        message: first.id,
    };
    let id = first.id;
    // Deleting what is not there yet deletes nothing, even if it comes later in the same batch.
    db.given(
        &Messages,
        &[gone.clone().into(), first.clone().into(), first.into()],
    )
    .await;
    assert_eq!(by_id(&db.pool, id).await.unwrap().unwrap().text, "oops");
    let elsewhere = MessageDeleted {
        room: room("lime"),
        ..gone.clone()
    };
    db.given(&Messages, &[elsewhere.into()]).await;
    assert_eq!(by_id(&db.pool, id).await.unwrap().unwrap().deleted_at, None);
    db.given(&Messages, &[gone.into()]).await;
    let found = by_id(&db.pool, id).await.unwrap().unwrap();
    assert_eq!((found.text.as_str(), found.deleted_at), ("", Some(at(9))));
    let page = page(&db.pool, &room("mint"), &Slice::start(10))
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1, "the same event twice is one message");
}

#[tokio::test]
async fn a_nonce_is_one_message_of_its_author_in_its_room_however_batches_fall() {
    let with = |room: &str, by: &str, text: &str, nonce: Option<&str>| {
        let mut event = said(room, by, text);
        event.nonce = nonce.map(str::to_owned);
        event
    };
    let first = with("mint", "lime", "first", Some("n"));
    let events: Vec<Event> = [
        first.clone(),
        with("mint", "lime", "again", Some("n")),
        with("mint", "kiwi", "another author", Some("n")),
        with("lime", "lime", "another room", Some("n")),
        with("mint", "lime", "another nonce", Some("m")),
        with("mint", "lime", "none", None),
        with("mint", "lime", "none again", None),
        with("mint", "lime", "and again", Some("n")),
    ]
    .map(Event::from)
    .to_vec();
    // As a rebuild may cut it, and as it came.
    for size in [8, 1, 3] {
        let db = Scratch::new().await;
        for batch in events.chunks(size) {
            db.given(&Messages, batch).await;
        }
        let page = page(&db.pool, &room("mint"), &Slice::start(10))
            .await
            .unwrap();
        assert_eq!(
            texts(&page),
            [
                "none again",
                "none",
                "another nonce",
                "another author",
                "first"
            ]
        );
        assert_eq!(page.items[4].id, first.id);
        // Taken away, it does not come back by being sent again.
        let gone = MessageDeleted {
            id: EventId::new(),
            at: at(9),
            room: room("mint"),
            actor: None,
            message: first.id,
        };
        let again = with("mint", "lime", "again", Some("n"));
        db.given(&Messages, &[gone.into(), again.into()]).await;
        let found = by_id(&db.pool, first.id).await.unwrap().unwrap();
        assert!(found.deleted_at.is_some());
        let page = super::page(&db.pool, &room("mint"), &Slice::start(10))
            .await
            .unwrap();
        assert_eq!(page.items.len(), 5);
    }
}

#[tokio::test]
async fn a_page_leads_both_ways_without_gap_or_repeat() {
    let db = Scratch::new().await;
    let events: Vec<Event> = (0..337)
        .map(|n| {
            said(
                if n % 2 == 0 { "mint" } else { "lime" },
                "kiwi",
                &n.to_string(),
            )
            .into()
        })
        .collect();
    db.given(&Messages, &events).await;
    let all: Vec<String> = (0..337)
        .rev()
        .filter(|n| n % 2 == 0)
        .map(|n| n.to_string())
        .collect();

    let mut seen = Vec::new();
    let mut slice = Slice::start(20);
    let oldest = loop {
        let page = page(&db.pool, &room("mint"), &slice).await.unwrap();
        seen.extend(texts(&page).into_iter().map(str::to_owned));
        match page.older {
            Some(older) => slice = Slice::before(older, 20),
            None => break Cursor::of("0-0"),
        }
        // What comes in meanwhile does not move the pages.
        db.given(&Messages, &[said("mint", "kiwi", "new").into()])
            .await;
    };
    assert_eq!(seen, all);

    let mut seen = vec!["0".to_owned()];
    let mut slice = Slice::after(oldest, 20);
    loop {
        let page = page(&db.pool, &room("mint"), &slice).await.unwrap();
        if page.items.is_empty() {
            assert_eq!(
                page.newer,
                Some(match slice.edge {
                    crate::page::Edge::After(edge) => edge,
                    other => panic!("{other:?}"),
                })
            );
            break;
        }
        seen.extend(texts(&page).into_iter().rev().map(str::to_owned));
        slice = Slice::after(page.newer.unwrap(), 20);
    }
    seen.retain(|text| text != "new");
    seen.reverse();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let db = Scratch::new().await;
    let slice = Slice::before(Cursor::from("1; DROP TABLE".to_owned()), 5);
    let error = page(&db.pool, &room("mint"), &slice).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#""1; DROP TABLE" is not a cursor of this list"#
    );
}

#[tokio::test]
async fn what_does_not_fit_its_column_is_the_records_fault() {
    let db = Scratch::new().await;
    let mut event = said("mint", "lime", "x");
    event.nonce = Some("n".repeat(300));
    let refusal = db.refusal(&Messages, &[event.into()]).await;
    assert!(refusal.contains("too long"), "{refusal}");
}

/// Many rooms asked about at once get what each would alone, however the question is filled up.
#[tokio::test]
async fn the_newest_of_many_rooms() {
    let db = Scratch::new().await;
    let rooms: Vec<RoomId> = (10..19).map(|n| room(&format!("room{n}"))).collect();
    let said = |n: usize| said(rooms[n % 9].as_str(), "kiwi", &n.to_string()).into();
    let events: Vec<Event> = (0..90).map(said).collect();
    db.given(&Messages, &events).await;
    let mut connection = db.pool.acquire().await.unwrap();
    for asked in [&rooms[..1], &rooms[1..8], &rooms[..]] {
        let found = newest(&mut connection, asked, 4).await.unwrap();
        assert_eq!(found.len(), asked.len());
        for room in asked {
            let slice = Slice::start(4);
            let alone = page(&db.pool, room, &slice).await.unwrap().items;
            assert_eq!((found[room].len(), &found[room]), (4, &alone));
        }
    }
    assert_eq!(
        newest(&mut connection, &[room("empty")], 4).await.unwrap(),
        HashMap::new()
    );
}
