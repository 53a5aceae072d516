use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lemonair_consumers::{Watermark, watermarks};
use lemonair_schemas::command::{Answer, Answered, Command};
use lemonair_schemas::{AccountId, EventId, Position, Records, Timestamp, Topic};
use lemonair_testkit::{seed, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use crate::books::Books;
use crate::office::{Office, ask, donate, refund, register, top_up};

/// What the broker may take for any step of a transaction.
const PATIENCE: Duration = Duration::from_secs(30);

fn balance(answered: &Answered) -> i64 {
    answered.balance.expect("a balance")
}

fn refusal(answered: &Answered) -> &str {
    assert!(answered.event.is_none() && answered.positions.is_empty());
    answered.refusal.as_deref().expect("a refusal")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_go_round() {
    let office = Office::open().await;
    let decider = office.decider();
    let (donor, streamer) = (AccountId::new(), AccountId::new());

    let topped_up = office.ask(top_up(donor, "a", 100)).await;
    assert_eq!((balance(&topped_up), topped_up.positions.len()), (100, 1));
    let donated = office.ask(donate(donor, "b", streamer, 60)).await;
    assert_eq!((balance(&donated), donated.positions.len()), (40, 2));
    let too_much = office.ask(donate(donor, "c", streamer, 41)).await;
    assert_eq!(refusal(&too_much), "insufficient_balance");
    let again = office.ask(donate(donor, "b", streamer, 60)).await;
    assert_eq!(
        (again.event, again.decided, again.balance),
        (donated.event, donated.decided, donated.balance)
    );
    let other = office.ask(donate(donor, "b", streamer, 61)).await;
    assert_eq!(refusal(&other), "key_reused");
    let refunded = office.ask(refund(donor, donated.event.unwrap())).await;
    assert_eq!(balance(&refunded), 100);
    let twice = office.ask(refund(donor, donated.event.unwrap())).await;
    assert_eq!(refusal(&twice), "already_refunded");
    let unknown = office.ask(refund(donor, EventId::new())).await;
    assert_eq!(refusal(&unknown), "no_such_donation");

    decider.stop().await;
    let books = Books::read(&office.close().await).await;
    books.check();
    assert_eq!(books.wallet(donor), 100);
    assert_eq!(books.answers.len(), 8);
    let kinds = Vec::from_iter(books.kinds());
    assert_eq!(
        kinds,
        [
            ("donation.accepted", 1),
            ("donation.refunded", 1),
            ("ledger.posted", 3)
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_goes_to_one() {
    let office = Office::open().await;
    let decider = office.decider();
    let other = office.another_desk().await;
    for name in ["Mint", "Sage", "Thyme"] {
        let asked = (0..10).map(|n| {
            let spelled = if n % 2 == 0 {
                name.to_owned()
            } else {
                name.to_uppercase()
            };
            let desk = if n % 3 == 0 { &other } else { &office.desk };
            ask(desk, register(&spelled).into())
        });
        let answers = join_all(asked).await;
        let won = answers.iter().filter(|answer| answer.event.is_some());
        assert_eq!(won.count(), 1, "{name}");
        let lost = answers.iter().filter(|answer| answer.event.is_none());
        assert!(lost.map(refusal).all(|refusal| refusal == "name_taken"));
    }
    decider.stop().await;
    let books = Books::read(&office.close().await).await;
    books.check();
    assert_eq!(
        Vec::from_iter(books.kinds()),
        [("account.registered", 3), ("channel.opened", 3)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_retries_at_once_are_one_donation() {
    let office = Office::open().await;
    let decider = office.decider();
    let (donor, streamer) = (AccountId::new(), AccountId::new());
    office.ask(top_up(donor, "a", 100)).await;
    let asked = (0..50).map(|_| office.ask(donate(donor, "b", streamer, 60)));
    let answers = join_all(asked).await;
    for answer in &answers {
        assert!(answer.event.is_some());
        assert_eq!(answer.event, answers[0].event);
        assert_eq!(answer.decided, answers[0].decided);
        assert_eq!(answer.balance, Some(40));
    }
    decider.stop().await;
    let books = Books::read(&office.close().await).await;
    books.check();
    assert_eq!(books.kinds()["donation.accepted"], 1);
    assert_eq!(books.wallet(donor), 40);
}

/// Each key by fifty at once, through two desks; `LEMONAIR_TEST_KEYS=1000` is the full size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_one_posting_however_many_ask_at_once() {
    #[expect(clippy::disallowed_methods, reason = "tests have no Config")]
    let keys = std::env::var("LEMONAIR_TEST_KEYS").ok();
    let keys = keys.map_or(200, |keys| {
        keys.parse().expect("LEMONAIR_TEST_KEYS is a number")
    });
    let office = Office::open().await;
    let other = office.another_desk().await;
    let deciders = [office.decider(), office.decider()];
    let streamer = AccountId::new();
    let donors: Vec<AccountId> = (0..10).map(|_| AccountId::new()).collect();
    for donor in &donors {
        office.ask(top_up(*donor, "a", 10_000)).await;
    }
    let of_key = async |key: usize| {
        let donor = donors[key % donors.len()];
        let asked = (0..50).map(|n| {
            let desk = if n % 2 == 0 { &office.desk } else { &other };
            ask(desk, donate(donor, &format!("k{key}"), streamer, 60).into())
        });
        join_all(asked).await
    };
    for batch in (0..keys).collect::<Vec<usize>>().chunks(20) {
        for answers in join_all(batch.iter().map(|key| of_key(*key))).await {
            let first = &answers[0];
            assert!(first.event.is_some());
            let same = |answer: &Answered| {
                (answer.event, answer.decided, answer.balance)
                    == (first.event, first.decided, first.balance)
            };
            assert!(answers.iter().all(same));
        }
    }
    for decider in deciders {
        decider.stop().await;
    }
    let books = Books::read(&office.close().await).await;
    books.check();
    assert_eq!(books.kinds()["donation.accepted"], keys);
    assert_eq!(books.kinds()["ledger.posted"], keys + donors.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_outlives_the_decider() {
    let office = Office::open().await;
    let decider = office.decider();
    let (donor, streamer) = (AccountId::new(), AccountId::new());
    office.ask(register("Mint")).await;
    office.ask(top_up(donor, "a", 100)).await;
    let donated = office.ask(donate(donor, "b", streamer, 60)).await;
    let refused = office.ask(donate(donor, "c", streamer, 50)).await;
    decider.stop().await;

    let decider = office.decider();
    let again = office.ask(donate(donor, "b", streamer, 60)).await;
    assert_eq!(
        (again.event, again.decided, again.balance),
        (donated.event, donated.decided, donated.balance)
    );
    assert_eq!(refusal(&office.ask(register("MINT")).await), "name_taken");
    office.ask(top_up(donor, "d", 100)).await;
    let still = office.ask(donate(donor, "c", streamer, 50)).await;
    assert_eq!(refusal(&still), refusal(&refused));
    let refunded = office.ask(refund(donor, donated.event.unwrap())).await;
    assert_eq!(balance(&refunded), 200);
    decider.stop().await;
    let books = Books::read(&office.close().await).await;
    books.check();
    assert_eq!(books.wallet(donor), 200);
}

/// What nobody can read is passed by; the decider does not stumble over it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_command_is_in_nobodys_way() {
    let office = Office::open().await;
    let donor = AccountId::new();
    let writer: FutureProducer = office.cluster.kafka.client().create().unwrap();
    let topic = Topic::Commands.in_kafka(&office.cluster.kafka.prefix);
    for partition in 0..3 {
        let record = FutureRecord::to(&topic)
            .partition(partition)
            .key("x")
            .payload("hello");
        writer.send_result(record).unwrap().await.unwrap().unwrap();
    }
    let decider = office.decider();
    assert_eq!(balance(&office.ask(top_up(donor, "a", 100)).await), 100);
    decider.stop().await;
    // Alone in a batch it moves the progress, too.
    let decider = office.decider();
    assert_eq!(balance(&office.ask(top_up(donor, "b", 1)).await), 101);
    decider.stop().await;
    Books::read(&office.close().await).await.check();
}

/// What donors ask by chance: few of each, so that keys, donations and names meet again.
struct Donors {
    chance: StdRng,
    accounts: Vec<AccountId>,
    streamer: AccountId,
}

impl Donors {
    fn new(seed: u64) -> Donors {
        Donors {
            chance: StdRng::seed_from_u64(seed),
            accounts: (0..6).map(|_| AccountId::new()).collect(),
            streamer: AccountId::new(),
        }
    }

    fn command(&mut self) -> Command {
        let account = self.accounts[self.chance.random_range(0..self.accounts.len())];
        let key = format!("k{}", self.chance.random_range(0..60));
        match self.chance.random_range(0..10) {
            0..4 => top_up(account, &key, 50).into(),
            4..9 => donate(account, &key, self.streamer, 30).into(),
            _ => register(&format!("name{}", self.chance.random_range(0..20))).into(),
        }
    }
}

/// Deciders come, go and are killed at any point, in the midst of transactions too, while commands
/// flow: everybody is answered, nothing is doubled, nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_doubled_or_lost_whatever_becomes_of_deciders() {
    let office = Arc::new(Office::open().await);
    let mut donors = Donors::new(seed());
    let mut chance = StdRng::seed_from_u64(donors.chance.random());
    let mut deciders = vec![office.decider(), office.decider()];
    let mut answers = Vec::new();
    for round in 0..8 {
        let mut waiting = Vec::new();
        for _ in 0..chance.random_range(20..60) {
            let (office, command) = (Arc::clone(&office), donors.command());
            waiting.push(tokio::spawn(async move {
                (command.clone(), office.ask(command).await)
            }));
        }
        // Some of these are decided by now, some are being decided, some wait.
        let decided = chance.random_range(0..waiting.len());
        for task in waiting.drain(..decided) {
            answers.push(task.await.expect("an answer"));
        }
        let who = chance.random_range(0..deciders.len());
        let gone = deciders.swap_remove(who);
        if chance.random() {
            println!("round {round}: killed after {decided} answers");
            gone.kill().await;
        } else {
            println!("round {round}: stopped after {decided} answers");
            gone.stop().await;
        }
        deciders.push(office.decider());
        for task in waiting {
            answers.push(task.await.expect("an answer"));
        }
    }
    for decider in deciders {
        decider.stop().await;
    }
    let Ok(office) = Arc::try_unwrap(office) else {
        panic!("somebody still asks");
    };
    let books = Books::read(&office.close().await).await;
    books.check();
    println!("{} asked: {:?}", answers.len(), books.kinds());
    let mut first = HashMap::new();
    for (command, answer) in &answers {
        assert!(books.answers.contains(answer));
        let asked = match command {
            Command::TopUp(ask) => ("top_up", ask.account, &ask.key),
            Command::Donate(ask) => ("donate", ask.account, &ask.key),
            _ => continue,
        };
        let decision = (
            answer.event,
            answer.decided,
            answer.balance,
            &answer.refusal,
        );
        assert_eq!(
            *first.entry(asked).or_insert(decision),
            decision,
            "{asked:?}"
        );
    }
}

/// In the place of a decider that hangs in the midst of a transaction: it has answered, and not
/// committed.
async fn hung(office: &Office, timeout: Duration) -> (FutureProducer, Position) {
    let stale: FutureProducer = office
        .cluster
        .kafka
        .client()
        .set(
            "transactional.id",
            format!("{}decider-0", office.cluster.kafka.prefix),
        )
        .set("transaction.timeout.ms", timeout.as_millis().to_string())
        .create()
        .expect("a producer");
    stale
        .init_transactions(PATIENCE)
        .expect("init transactions");
    stale.begin_transaction().expect("begin");
    let doubled = Answer::Answered(Answered {
        id: EventId::new(),
        at: Timestamp(0),
        event: None,
        decided: None,
        amount: None,
        balance: None,
        refusal: Some("stale".to_owned()),
        positions: Vec::new(),
    });
    let bytes = doubled.encode(&office.cluster.codec).expect("encode");
    let topic = Topic::Answers.in_kafka(&office.cluster.kafka.prefix);
    let record = FutureRecord::to(&topic).key("x").payload(&bytes);
    let sent = stale.send_result(record).expect("room in the queue").await;
    let delivered = sent.expect("an answer").expect("delivered");
    let position = Position {
        topic: Topic::Answers,
        partition: delivered.partition,
        offset: delivered.offset,
    };
    (stale, position)
}

/// A decider that was away so long that another took its place cannot write any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_replaced_decides_nothing() {
    let office = Office::open().await;
    let donor = AccountId::new();
    let (stale, _) = hung(&office, PATIENCE).await;
    let decider = office.decider();
    // Once for each partition at least: by then all are taken over.
    for n in 0..12 {
        office
            .ask(top_up(AccountId::new(), &n.to_string(), 1))
            .await;
    }
    office.ask(top_up(donor, "a", 100)).await;
    let error = stale.commit_transaction(PATIENCE).unwrap_err();
    assert!(
        error.to_string().to_lowercase().contains("fence"),
        "{error}"
    );
    office.ask(top_up(donor, "b", 1)).await;
    decider.stop().await;
    let books = Books::read(&office.close().await).await;
    books.check();
    assert!(books.answers.iter().all(|answer| answer.refusal.is_none()));
    assert_eq!(books.wallet(donor), 101);
}

/// Nobody takes its place, so readers wait behind its open transaction; not for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_ends_the_brokers_give_up() {
    let office = Office::open().await;
    let (stale, position) = hung(&office, Duration::from_secs(1)).await;
    within("the transaction is given up", async {
        loop {
            let marks = watermarks(&office.cluster.kafka, &[Topic::Answers]).await;
            let passed = |mark: &Watermark| {
                mark.partition == position.partition && mark.high > position.offset
            };
            if marks.expect("watermarks").iter().any(passed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    stale.commit_transaction(PATIENCE).unwrap_err();
    let decider = office.decider();
    assert_eq!(
        balance(&office.ask(top_up(AccountId::new(), "a", 7)).await),
        7
    );
    decider.stop().await;
    let books = Books::read(&office.close().await).await;
    books.check();
    assert!(books.answers.iter().all(|answer| answer.refusal.is_none()));
}

#[tokio::test]
async fn nobody_there_is_said_so_in_time() {
    let mut office = Office::open().await;
    office.desk.patience = Duration::from_secs(1);
    let error = within(
        "an error",
        office.desk.ask(top_up(AccountId::new(), "a", 1)),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, lemonair_producers::Error::Unanswered),
        "{error}"
    );
    office.close().await;
}
