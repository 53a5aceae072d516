use super::*;
use crate::scratch::{Scratch, actor, at, room};

fn accepted(donor: &str, amount: i64) -> DonationAccepted {
    DonationAccepted {
        id: EventId::new(),
        at: at(1),
        room: room("mint"),
        actor: Some(actor(donor)),
        streamer: actor("mint").id,
        amount,
        message: "🍋".to_owned(),
        key: "k".to_owned(),
    }
}

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
    }
}

async fn ranks(db: &Scratch) -> String {
    let ranks = rank(&db.pool, &room("mint"), 10).await.unwrap();
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
