use std::sync::Arc;

use lemonair_schemas::Position;
use lemonair_schemas::channel::ChannelFollowed;
use lemonair_schemas::ledger::{Book, EntryPosted, Kind, Posting};
use lemonair_schemas::{EventId, Records};

use super::*;
use crate::channels::{self, Channels};
use crate::checkpoint;
use crate::database::{connect_to, lock, unlock};
use crate::rebuild::Options;
use crate::rebuild::tests::rebuild_one;
use crate::run::tests::{Stage, put_poison};
use crate::scratch::{actor, at, opened, room, said};
use crate::wallets::{self, Wallets};

fn followed(in_room: &str, by: &str) -> ChannelFollowed {
    ChannelFollowed {
        id: EventId::new(),
        at: at(4),
        room: room(in_room),
        actor: Some(actor(by)),
    }
}

/// Points given to lime, or taken.
fn moved(amount: i64) -> EntryPosted {
    let posting = |account: String, book, amount| Posting {
        account,
        book,
        amount,
    };
    EntryPosted {
        id: EventId::new(),
        at: at(7),
        account: actor("lime").id,
        actor: None,
        kind: Kind::Correction,
        postings: vec![
            posting("platform".to_owned(), Book::Platform, -amount),
            posting(actor("lime").id.to_string(), Book::Wallet, amount),
        ],
        room: None,
        donation: None,
        payment: None,
    }
}

/// A channel that is followed before it is there: what operators can mend, and what they cannot.
async fn early_followers(stage: &Stage) -> Vec<LetterId> {
    let first = stage.append([followed("mint", "lime").into()]).await;
    let twice: Event = opened("plum").into();
    let twice = stage.append([twice.clone(), twice]).await;
    let second = stage
        .append([followed("mint", "kiwi").into(), opened("mint").into()])
        .await;
    stage.reach(&second).await;
    stage.reach(&twice).await;
    let ids: Vec<LetterId> = stage
        .letters()
        .await
        .iter()
        .map(|letter| letter.id)
        .collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert!(ids.iter().any(|id| id.position == first[0]));
    ids
}

async fn followers(stage: &Stage) -> i64 {
    let mint = channels::by_room(&stage.db.pool, &room("mint")).await;
    mint.unwrap().expect("mint is open").followers
}

async fn try_again(stage: &Stage, filter: &Filter, dry_run: bool) -> Vec<Tried> {
    let codec = &stage.cluster.codec;
    retry(&stage.db.pool, codec, filter, "ann", dry_run)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_applies_what_it_can_once_and_keeps_the_rest() {
    let stage = Stage::set().await;
    let running = stage.run();
    early_followers(&stage).await;
    assert_eq!(followers(&stage).await, 0);
    let all = Filter::default();

    let tried = try_again(&stage, &all, true).await;
    assert_eq!(tried.len(), 3);
    assert_eq!(followers(&stage).await, 0, "a dry run changes nothing");
    assert!(stage.letters().await.iter().all(|letter| letter.tries == 1));

    let one = Filter {
        limit: 1,
        key: Some("mint".to_owned()),
        ..Filter::default()
    };
    let tried = try_again(&stage, &one, false).await;
    assert_eq!((tried.len(), tried[0].cause.clone()), (1, None));
    assert_eq!(followers(&stage).await, 1);
    let applied = find(&stage.db.pool, tried[0].id).await.unwrap().unwrap();
    assert_eq!((applied.state, applied.tries), (State::Applied, 2));

    for _ in 0..2 {
        try_again(&stage, &all, false).await;
    }
    assert_eq!(followers(&stage).await, 2, "each counts once");
    let left = stage.letters().await;
    assert_eq!((left.len(), left[0].tries), (1, 3), "{left:?}");
    assert!(left[0].last_at >= left[0].first_at);
    let done = actions(&stage.db.pool, left[0].id).await.unwrap();
    assert_eq!(done.len(), 2, "a dry run is not noted");
    assert_eq!(
        (done[0].operator.as_str(), done[0].outcome.as_str()),
        ("ann", "failed")
    );

    let none = Filter {
        cause: Some("no such cause".to_owned()),
        ..Filter::default()
    };
    assert_eq!(drop(&stage.db.pool, &none, "ann").await.unwrap(), []);
    let duplicate = Filter {
        cause: Some("DUPLICATE".to_owned()),
        ..Filter::default()
    };
    let dropped = drop(&stage.db.pool, &duplicate, "ann").await.unwrap();
    assert_eq!(dropped, [left[0].id]);
    assert_eq!(stage.letters().await, []);
    assert_eq!(try_again(&stage, &all, false).await, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_keeps_what_operators_did() {
    let stage = Stage::set().await;
    let running = stage.run();
    let ids = early_followers(&stage).await;
    let mint = Filter {
        key: Some("mint".to_owned()),
        ..Filter::default()
    };
    try_again(&stage, &mint, false).await;
    let plum = Filter {
        key: Some("plum".to_owned()),
        ..Filter::default()
    };
    drop(&stage.db.pool, &plum, "ann").await.unwrap();

    let report = rebuild_one(&stage, &Channels, Options::default());
    let comparison = report.await.unwrap().comparison.unwrap();
    assert_eq!(comparison.differences, []);
    assert_eq!(followers(&stage).await, 2);
    assert_eq!(stage.letters().await, [], "nothing is open again");
    let mut states = Vec::new();
    for id in ids {
        let letter = find(&stage.db.pool, id).await.unwrap().unwrap();
        states.push((letter.key, letter.state));
    }
    states.sort_by_key(|(key, _)| key.clone());
    let applied = ("mint".to_owned(), State::Applied);
    let dropped = ("plum".to_owned(), State::Dropped);
    assert_eq!(states, [applied.clone(), applied, dropped]);
    running.stop().await;
}

/// What is given up in tables that are on their way out would be open again.
#[tokio::test]
async fn nothing_is_given_up_while_tables_are_swapped() {
    let stage = Stage::set().await;
    let mut swap = connect_to(&stage.db.pool, None).await.unwrap();
    let lock_name = checkpoint::swap_lock(&Channels);
    assert!(lock(&mut swap, &lock_name, checkpoint::SWAP).await.unwrap());
    let channels = Filter {
        projection: Some("channels"),
        ..Filter::default()
    };
    let refused = drop(&stage.db.pool, &channels, "ann").await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    unlock(&mut swap, &lock_name).await.unwrap();
    drop(&stage.db.pool, &channels, "ann").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_beside_the_live_loop_loses_nothing() {
    let stage = Stage::set().await;
    let running = stage.run();
    // Taken before they were given.
    let early = (0..20).map(|_| moved(-1).into());
    let early: Vec<Event> = early.collect();
    stage.reach(&stage.append(early).await).await;
    assert_eq!(stage.letters().await.len(), 20);
    stage.reach(&stage.append([moved(20).into()]).await).await;
    let write = async {
        let given: Vec<Event> = (0..300).map(|_| moved(1).into()).collect();
        stage.append(given).await
    };
    let again = async {
        let one = Filter {
            projection: Some("wallets"),
            limit: 1,
            ..Filter::default()
        };
        for _ in 0..20 {
            let (left, right) = tokio::join!(
                try_again(&stage, &one, false),
                try_again(&stage, &one, false)
            );
            assert!(left.iter().chain(&right).all(|tried| tried.cause.is_none()));
        }
    };
    let (last, ()) = tokio::join!(write, again);
    stage.reach(&last).await;
    let wallet = wallets::wallet(&stage.db.pool, actor("lime").id).await;
    assert_eq!(wallet.unwrap().balance, 300);
    assert_eq!(wallets::sum(&stage.db.pool).await.unwrap(), 0);
    let report = rebuild_one(&stage, &Wallets, Options::default());
    assert_eq!(report.await.unwrap().comparison.unwrap().differences, []);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_of_every_kind_is_kept_as_it_stood_and_its_neighbours_go_on() {
    let stage = Stage::set().await;
    let running = stage.run();
    let codec = Arc::clone(&stage.cluster.codec);
    let whole = Event::from(said("mint", "lime", "whole"));
    let whole = whole.encode(&codec).unwrap();
    let mut foreign = whole.clone();
    foreign[1..5].copy_from_slice(&0x7fff_fff0_u32.to_be_bytes());
    let cut = whole[..whole.len() - 3].to_vec();
    let mut long = whole.clone();
    long.extend(b"more");
    let mut kept: Vec<(Position, Vec<u8>)> = Vec::new();
    let poisons: [Vec<u8>; 4] = [b"no record".to_vec(), foreign, cut, long];
    for (n, bytes) in poisons.into_iter().enumerate() {
        stage
            .append([said("mint", "lime", &n.to_string()).into()])
            .await;
        let kafka = &stage.cluster.kafka;
        let position = put_poison(kafka, Topic::Chat, "mint", &bytes).await;
        kept.push((position, bytes));
    }
    // Readable, but of a channel that is not there.
    let unfit: Event = followed("nowhere", "lime").into();
    let stands = stage.append([unfit.clone()]).await;
    kept.push((stands[0], unfit.encode(&codec).unwrap()));
    let last = stage.append([said("mint", "lime", "last").into()]).await;
    stage.reach(&last).await;
    stage.reach(&stands).await;

    assert_eq!(stage.texts("mint").await, ["0", "1", "2", "3", "last"]);
    let letters: Vec<DeadLetter> = stage
        .letters()
        .await
        .into_iter()
        .filter(|letter| !matches!(letter.id.projection, "moderation" | "chatters"))
        .collect();
    assert_eq!(letters.len(), kept.len(), "{letters:?}");
    for (position, bytes) in &kept {
        let letter = letters
            .iter()
            .find(|letter| letter.id.position == *position);
        let letter = letter.expect("each is kept at its position");
        assert_eq!(&letter.bytes, bytes);
        let again: LetterId = letter.id.to_string().parse().unwrap();
        assert_eq!(again, letter.id);
    }
    // What cannot be read stays, however often it is tried.
    assert!(
        try_again(&stage, &Filter::default(), false)
            .await
            .iter()
            .all(|tried| tried.cause.is_some())
    );
    assert_eq!(stage.letters().await.len(), kept.len() + 2 * 4);
    running.stop().await;
}
