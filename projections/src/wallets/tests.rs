use lemonair_schemas::ledger::Posting;

use super::*;
use crate::scratch::{Scratch, actor, at, room};

fn entry(kind: Kind, of: &str, postings: &[(&str, Book, i64)]) -> EntryPosted {
    let postings = postings.iter().map(|(account, book, amount)| Posting {
        account: match *account {
            "provider" => "provider".to_owned(),
            name => actor(name).id.to_string(),
        },
        book: *book,
        amount: *amount,
    });
    EntryPosted {
        id: EventId::new(),
        at: at(1),
        account: actor(of).id,
        actor: None,
        kind,
        postings: postings.collect(),
        room: (kind == Kind::Donation).then(|| room("mint")),
        donation: (kind == Kind::Donation).then(EventId::new),
        payment: (kind == Kind::TopUp).then(|| "sandbox:pay_1".to_owned()),
    }
}

fn topped_up(name: &str, amount: i64) -> EntryPosted {
    let postings = [
        ("provider", Book::Provider, -amount),
        (name, Book::Wallet, amount),
    ];
    entry(Kind::TopUp, name, &postings)
}

fn donated(donor: &str, amount: i64) -> EntryPosted {
    let postings = [
        (donor, Book::Wallet, -amount),
        ("mint", Book::Earnings, amount),
    ];
    entry(Kind::Donation, donor, &postings)
}

async fn of(db: &Scratch, name: &str) -> (i64, i64) {
    let wallet = wallet(&db.pool, actor(name).id).await.unwrap();
    (wallet.balance, wallet.earnings)
}

#[tokio::test]
async fn points_move_and_none_is_made() {
    let db = Scratch::new().await;
    let events: Vec<Event> = vec![
        topped_up("lime", 100).into(),
        topped_up("kiwi", 50).into(),
        donated("lime", 30).into(),
        donated("kiwi", 50).into(),
    ];
    db.given(&Wallets, &events).await;
    assert_eq!(of(&db, "lime").await, (70, 0));
    assert_eq!(of(&db, "kiwi").await, (0, 0));
    assert_eq!(of(&db, "mint").await, (0, 80));
    assert_eq!(of(&db, "nobody").await, (0, 0));
    assert_eq!(sum(&db.pool).await.unwrap(), 0);
}

fn paid_out(name: &str, amount: i64) -> EntryPosted {
    let postings = [
        (name, Book::Earnings, -amount),
        ("provider", Book::Provider, amount),
    ];
    entry(Kind::Payout, name, &postings)
}

#[tokio::test]
async fn what_was_paid_out_was_earned_all_the_same() {
    let db = Scratch::new().await;
    let mint = actor("mint").id;
    assert_eq!(earned(&db.pool, mint).await.unwrap(), 0);
    let events: Vec<Event> = vec![
        topped_up("lime", 100).into(),
        donated("lime", 80).into(),
        paid_out("mint", 50).into(),
        paid_out("mint", 20).into(),
        paid_out("kiwi", 5).into(),
    ];
    db.given(&Wallets, &events).await;
    assert_eq!(earned(&db.pool, mint).await.unwrap(), 80);
    let wallet = wallet(&db.pool, mint).await.unwrap();
    assert_eq!((wallet.earnings, wallet.debt), (10, 0));
}

#[tokio::test]
async fn a_debt_is_what_was_spent_and_taken_back_or_paid_out_and_refunded() {
    let db = Scratch::new().await;
    let back = [
        ("provider", Book::Provider, 100),
        ("lime", Book::Wallet, -20),
        ("lime", Book::Debt, -80),
    ];
    let refund = [("mint", Book::Earnings, -30), ("lime", Book::Debt, 30)];
    let events: Vec<Event> = vec![
        topped_up("lime", 100).into(),
        donated("lime", 80).into(),
        paid_out("mint", 80).into(),
        entry(Kind::Correction, "lime", &back).into(),
        entry(Kind::Refund, "lime", &refund).into(),
    ];
    db.given(&Wallets, &events).await;
    let lime = wallet(&db.pool, actor("lime").id).await.unwrap();
    assert_eq!((lime.balance, lime.debt), (0, 50));
    let mint = wallet(&db.pool, actor("mint").id).await.unwrap();
    assert_eq!((mint.earnings, mint.debt), (-30, 30));
    assert_eq!(sum(&db.pool).await.unwrap(), 0);
}

#[tokio::test]
async fn many_entries_in_one_batch_or_singly_are_the_same() {
    let (together, singly) = (Scratch::new().await, Scratch::new().await);
    let mut events: Vec<Event> = Vec::new();
    for round in 0..70 {
        for name in ["lime", "kiwi", "plum", "pear"] {
            events.push(topped_up(name, 10 + round).into());
            events.push(donated(name, 5 + round).into());
        }
    }
    together.given(&Wallets, &events).await;
    for event in &events[..80] {
        singly.given(&Wallets, std::slice::from_ref(event)).await;
    }
    singly.given(&Wallets, &events[80..]).await;
    for db in [&together, &singly] {
        assert_eq!(of(db, "lime").await, (350, 0));
        assert_eq!(
            of(db, "mint").await.1,
            4 * (0..70).map(|n| n + 5).sum::<i64>()
        );
        assert_eq!(sum(&db.pool).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_entry_that_does_not_balance_changes_nothing() {
    let db = Scratch::new().await;
    let lopsided = [("lime", Book::Wallet, 5), ("mint", Book::Earnings, -4)];
    let lopsided = entry(Kind::Correction, "lime", &lopsided);
    let refusal = db
        .refusal(&Wallets, &[topped_up("lime", 9).into(), lopsided.into()])
        .await;
    assert_eq!(refusal, "the postings sum to 1, not to zero");
    let single = entry(Kind::Correction, "lime", &[("lime", Book::Wallet, 0)]);
    let refusal = db.refusal(&Wallets, &[single.into()]).await;
    assert_eq!(refusal, "an entry of less than two postings");
    assert_eq!(of(&db, "lime").await, (0, 0));
}

#[tokio::test]
async fn no_wallet_falls_below_zero_not_even_within_a_batch() {
    let db = Scratch::new().await;
    let events = [donated("lime", 5).into(), topped_up("lime", 10).into()];
    let refusal = db.refusal(&Wallets, &events).await;
    assert!(refusal.ends_with("would fall below zero"), "{refusal}");
    // Earnings may: a streamer can owe.
    let back = [("mint", Book::Earnings, -7), ("lime", Book::Wallet, 7)];
    db.given(&Wallets, &[entry(Kind::Refund, "lime", &back).into()])
        .await;
    assert_eq!(of(&db, "mint").await, (0, -7));
    let huge = [
        topped_up("kiwi", i64::MAX).into(),
        topped_up("kiwi", 1).into(),
    ];
    let refusal = db.refusal(&Wallets, &huge).await;
    assert!(refusal.ends_with("would hold too many points"), "{refusal}");
}

#[tokio::test]
async fn entries_are_paged_as_each_account_sees_them() {
    let db = Scratch::new().await;
    let mut events: Vec<EntryPosted> = vec![topped_up("lime", 100)];
    events.extend((1..=8).map(|amount| donated("lime", amount)));
    let events: Vec<Event> = events.into_iter().map(Event::from).collect();
    db.given(&Wallets, &events).await;

    let first = entries(&db.pool, actor("lime").id, &Slice::start(5))
        .await
        .unwrap();
    let slice = Slice::before(first.older.clone().unwrap(), 5);
    let rest = entries(&db.pool, actor("lime").id, &slice).await.unwrap();
    let amounts: Vec<i64> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|e| e.wallet)
        .collect();
    assert_eq!(amounts, [-8, -7, -6, -5, -4, -3, -2, -1, 100]);
    assert_eq!(rest.older, None);
    let slice = Slice::after(rest.newer.clone().unwrap(), 5);
    let back = entries(&db.pool, actor("lime").id, &slice).await.unwrap();
    assert_eq!(back.items, first.items);

    let earned = entries(&db.pool, actor("mint").id, &Slice::start(1))
        .await
        .unwrap();
    let last = &earned.items[0];
    assert_eq!(
        (last.kind.as_str(), last.wallet, last.earnings),
        ("donation", 0, 8)
    );
    assert_eq!(last.room, Some(room("mint")));
    assert!(last.donation.is_some());
}
