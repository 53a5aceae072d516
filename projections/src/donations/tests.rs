use lemonair_schemas::donation::{
    DonationMessageApproved, DonationMessageDenied, GoalClosed, GoalStarted,
};

use super::*;
use crate::scratch::{Scratch, accepted, actor, at, room};

fn refunded(donation: &DonationAccepted) -> DonationRefunded {
    DonationRefunded {
        id: EventId::new(),
        at: at(2),
        room: donation.room.clone(),
        actor: Some(actor("mint")),
        donation: donation.id,
        donor: donation.actor.as_ref().unwrap().id,
        streamer: donation.streamer,
        amount: donation.amount,
        left: 0,
        anonymous: donation.anonymous,
    }
}

async fn ranks(db: &Scratch) -> String {
    ranks_of(db, Period::All).await
}

async fn ranks_of(db: &Scratch, period: Period) -> String {
    let ranks = rank(&db.pool, &room("mint"), period, 10)
        .await
        .unwrap()
        .named;
    let line = |r: &Ranked| format!("{}. {} {} in {}", r.place, r.name, r.amount, r.donations);
    ranks.iter().map(line).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn donations_add_up_and_refunds_take_off() {
    let db = Scratch::new().await;
    let (a, b) = (accepted("lime", 30), accepted("lime", 5));
    let events = [
        a.clone().into(),
        accepted("kiwi", 35).into(),
        b.into(),
        accepted("plum", 2).into(),
    ];
    db.given(&Donations, &events).await;
    assert_eq!(
        ranks(&db).await,
        "1. lime 35 in 2, 1. kiwi 35 in 1, 3. plum 2 in 1"
    );
    db.given(&Donations, &[refunded(&a).into()]).await;
    assert_eq!(
        ranks(&db).await,
        "1. kiwi 35 in 1, 2. lime 5 in 1, 3. plum 2 in 1"
    );
    let donation = by_id(&db.pool, a.id).await.unwrap().unwrap();
    assert_eq!(donation.refunded_at, Some(at(2)));
    assert_eq!((donation.amount, donation.message.as_str()), (30, "🍋"));
}

#[tokio::test]
async fn who_got_everything_back_is_not_ranked() {
    let db = Scratch::new().await;
    let a = accepted("lime", 30);
    db.given(&Donations, &[a.clone().into(), refunded(&a).into()])
        .await;
    assert_eq!(ranks(&db).await, "");
    let page = page(&db.pool, &room("mint"), &Slice::start(5))
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1, "but the donation is still told of");
}

#[tokio::test]
async fn what_contradicts_the_topic_is_refused() {
    let db = Scratch::new().await;
    let a = accepted("lime", 30);
    db.given(&Donations, &[a.clone().into()]).await;
    let twice = db.refusal(&Donations, &[a.clone().into()]).await;
    assert!(twice.contains("Duplicate"), "{twice}");
    let mut less = refunded(&a);
    less.amount = 29;
    let refusal = db.refusal(&Donations, &[less.into()]).await;
    assert!(refusal.starts_with("no donation"), "{refusal}");
    let both = [refunded(&a).into(), refunded(&a).into()];
    let refusal = db.refusal(&Donations, &both).await;
    assert!(refusal.starts_with("no donation"), "{refusal}");
    let refusal = db.refusal(&Donations, &[accepted("lime", -5).into()]).await;
    assert_eq!(refusal, "a donation of -5 points");
    assert_eq!(ranks(&db).await, "1. lime 30 in 1");
}

macro_rules! fact {
    ($name:ident { $($field:ident: $value:expr),* $(,)? }) => {
        Event::from($name {
            id: EventId::new(),
            at: at(3),
            room: room("mint"),
            actor: Some(actor("mint")),
            $($field: $value),*
        })
    };
}

fn part(donation: &DonationAccepted, amount: i64, left: i64) -> Event {
    let mut part = refunded(donation);
    (part.amount, part.left) = (amount, left);
    part.into()
}

async fn told(db: &Scratch) -> Option<(String, i64)> {
    let goal = goal(&db.pool, &room("mint")).await.unwrap();
    goal.map(|goal| (goal.title, goal.amount))
}

#[tokio::test]
async fn refunds_in_parts_take_off_exactly_as_much() {
    let db = Scratch::new().await;
    let a = accepted("lime", 30);
    db.given(&Donations, &[a.clone().into(), part(&a, 12, 18)])
        .await;
    assert_eq!(ranks(&db).await, "1. lime 18 in 1");
    for (amount, left) in [(19, 0), (12, 18), (18, 1), (0, 18), (-5, 23)] {
        let refusal = db.refusal(&Donations, &[part(&a, amount, left)]).await;
        assert!(refusal.starts_with("no donation"), "{refusal}");
    }
    assert_eq!(
        by_id(&db.pool, a.id).await.unwrap().unwrap().refunded_at,
        None
    );
    db.given(&Donations, &[part(&a, 18, 0)]).await;
    assert_eq!(ranks(&db).await, "");
    let donation = by_id(&db.pool, a.id).await.unwrap().unwrap();
    assert_eq!((donation.refunded, donation.refunded_at), (30, Some(at(2))));
}

#[tokio::test]
async fn a_goal_counts_what_came_after_it_was_set() {
    let db = Scratch::new().await;
    let (early, counted, late) = (
        accepted("lime", 5),
        accepted("lime", 30),
        accepted("kiwi", 7),
    );
    let started = |title: &str| {
        fact!(GoalStarted {
            title: title.to_owned(),
            target: 100
        })
    };
    let first = started("microphone");
    db.given(
        &Donations,
        &[early.clone().into(), first.clone(), counted.clone().into()],
    )
    .await;
    assert_eq!(told(&db).await, Some(("microphone".to_owned(), 30)));
    db.given(
        &Donations,
        &[part(&counted, 10, 20), refunded(&early).into()],
    )
    .await;
    assert_eq!(told(&db).await, Some(("microphone".to_owned(), 20)));
    let second = started("camera");
    db.given(
        &Donations,
        &[second.clone(), late.into(), part(&counted, 20, 0)],
    )
    .await;
    assert_eq!(
        told(&db).await,
        Some(("camera".to_owned(), 7)),
        "a refund is of its own goal"
    );
    db.given(&Donations, &[fact!(GoalClosed { goal: first.id() })])
        .await;
    assert!(told(&db).await.is_some(), "that one was over already");
    db.given(&Donations, &[fact!(GoalClosed { goal: second.id() })])
        .await;
    assert_eq!(told(&db).await, None);
}

#[tokio::test]
async fn ranks_are_of_all_time_a_month_or_a_broadcast() {
    let db = Scratch::new().await;
    let day = 24 * 3600;
    let given = |donor: &str, amount, seconds| DonationAccepted {
        at: at(seconds),
        ..accepted(donor, amount)
    };
    // `at(0)` is the 14th of November 2023, 22:13 UTC.
    let (old, new) = (given("lime", 50, 0), given("lime", 10, 17 * day));
    let mut nameless = given("plum", 99, 17 * day);
    nameless.anonymous = true;
    let events = [
        old.clone(),
        new,
        given("kiwi", 30, 17 * day + 60),
        nameless.clone(),
    ];
    db.given(&Donations, &events.map(Event::from)).await;
    assert_eq!(ranks(&db).await, "1. lime 60 in 2, 2. kiwi 30 in 1");
    let december = Period::Month(at(20 * day));
    assert_eq!(
        ranks_of(&db, december).await,
        "1. kiwi 30 in 1, 2. lime 10 in 1"
    );
    assert_eq!(ranks_of(&db, Period::Month(at(0))).await, "1. lime 50 in 1");
    assert_eq!(ranks_of(&db, Period::Broadcast).await, "", "there was none");
    let started = lemonair_schemas::stream::StreamStarted {
        id: EventId::new(),
        at: at(17 * day + 30),
        room: room("mint"),
        actor: None,
        title: String::new(),
        ingest: "a".to_owned(),
        origin: "http://127.0.0.1".to_owned(),
    };
    db.given(&crate::broadcasts::Broadcasts, &[started.into()])
        .await;
    assert_eq!(ranks_of(&db, Period::Broadcast).await, "1. kiwi 30 in 1");
    // Undone in the month in which it was given.
    db.given(&Donations, &[part(&old, 20, 30)]).await;
    assert_eq!(ranks_of(&db, Period::Month(at(0))).await, "1. lime 30 in 1");
    assert_eq!(
        ranks_of(&db, december).await,
        "1. kiwi 30 in 1, 2. lime 10 in 1"
    );
    let sum = async || {
        rank(&db.pool, &room("mint"), december, 5)
            .await
            .unwrap()
            .anonymous
    };
    assert_eq!(
        sum().await,
        Sum {
            amount: 99,
            donations: 1
        }
    );
    db.given(&Donations, &[part(&nameless, 99, 0)]).await;
    assert_eq!(sum().await, Sum::default());
}

#[tokio::test]
async fn an_alert_waits_for_its_message_and_is_shown_once() {
    let db = Scratch::new().await;
    let mut held = accepted("lime", 5);
    held.held = true;
    let (plain, small, back) = (
        accepted("kiwi", 9),
        accepted("kiwi", 1),
        accepted("kiwi", 4),
    );
    let events = [held.clone(), plain.clone(), small, back.clone()];
    db.given(&Donations, &events.map(Event::from)).await;
    db.given(&Donations, &[refunded(&back).into()]).await;
    let waiting = async || {
        let found = unshown(&db.pool, &room("mint"), 2, at(0), 10)
            .await
            .unwrap();
        found.iter().map(|donation| donation.id).collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [plain.id]);
    let review = async || super::held(&db.pool, &room("mint")).await.unwrap().len();
    assert_eq!(review().await, 1);
    db.given(&Donations, &[fact!(AlertShown { donation: plain.id })])
        .await;
    db.given(
        &Donations,
        &[fact!(DonationMessageDenied { donation: held.id })],
    )
    .await;
    let late = fact!(DonationMessageApproved {
        donation: held.id,
        donor: actor("lime").id,
        message: String::new()
    });
    db.given(&Donations, &[late]).await;
    let row = by_id(&db.pool, held.id).await.unwrap().unwrap();
    assert_eq!(
        (row.held, row.denied),
        (false, true),
        "the first decision counts"
    );
    assert_eq!((waiting().await, review().await), (vec![held.id], 0));
}

/// A message that waited is announced after what came later.
#[tokio::test]
async fn what_was_announced_last_is_announced_again() {
    let db = Scratch::new().await;
    let (waited, quick) = (accepted("lime", 5), accepted("kiwi", 9));
    let shown = |donation: &DonationAccepted, seconds| {
        Event::from(AlertShown {
            id: EventId::new(),
            at: at(seconds),
            room: room("mint"),
            actor: None,
            donation: donation.id,
        })
    };
    let events = [
        waited.clone().into(),
        quick.clone().into(),
        shown(&quick, 5),
        shown(&waited, 60),
    ];
    db.given(&Donations, &events).await;
    let last = last_shown(&db.pool, &room("mint")).await.unwrap();
    assert_eq!(last, Some(waited.id));
}
