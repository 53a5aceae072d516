//! Random histories: whatever is asked, in whatever order and however often, the books balance.

use std::collections::HashMap;

use lemonair_schemas::command::{Command, Donate, Order, PayOut, Refund, Register, TopUp};
use lemonair_schemas::decider::{Decision, Memory};
use lemonair_schemas::donation::{DonationAccepted, DonationRefunded};
use lemonair_schemas::ledger::Book;
use lemonair_schemas::{AccountId, Actor, Event, EventId, RoomId, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Decided, Refusal, State, Terms, decide};

/// A decider without Kafka: its state, and every event that it made.
#[derive(Default)]
struct Run {
    state: State,
    events: Vec<Event>,
    minted: u128,
}

impl Run {
    /// The platform keeps `fee` hundredths of a percent.
    fn with_fee(fee: u16) -> Run {
        let terms = Terms {
            fee,
            ..Terms::default()
        };
        Run {
            state: State::new(terms),
            ..Run::default()
        }
    }

    fn book(&self, who: u8, book: Book) -> i64 {
        let key = (account(who).to_string(), book);
        self.books().get(&key).copied().unwrap_or(0)
    }

    fn ask(&mut self, command: &Command) -> Decided {
        let minted = &mut self.minted;
        let mut ids = || {
            *minted += 1;
            EventId(Uuid::from_u128(1 << 64 | *minted))
        };
        let decided = decide(&self.state, command, Timestamp(1_000), &mut ids);
        for (key, memory) in decided.memories.clone() {
            self.state.remember(&key, memory);
        }
        self.events.extend(decided.events.clone());
        decided
    }

    fn books(&self) -> HashMap<(String, Book), i64> {
        let mut books = HashMap::new();
        for event in &self.events {
            let Event::EntryPosted(entry) = event else {
                continue;
            };
            assert!(entry.postings.len() >= 2);
            assert_eq!(
                entry
                    .postings
                    .iter()
                    .map(|posting| posting.amount)
                    .sum::<i64>(),
                0
            );
            for posting in &entry.postings {
                *books
                    .entry((posting.account.clone(), posting.book))
                    .or_default() += posting.amount;
            }
        }
        books
    }
}

fn account(n: u8) -> AccountId {
    AccountId(Uuid::from_u128(u128::from(n)))
}

fn actor(n: u8) -> Actor {
    Actor {
        id: account(n),
        name: format!("user{n}"),
        roles: Vec::new(),
    }
}

fn order(n: u8, key: &str, amount: i64) -> Command {
    Order {
        id: EventId::new(),
        at: Timestamp(0),
        account: account(n),
        key: key.to_owned(),
        amount,
    }
    .into()
}

fn top_up(n: u8, key: &str, amount: i64) -> Command {
    TopUp {
        id: EventId::new(),
        at: Timestamp(0),
        account: account(n),
        key: key.to_owned(),
        amount,
        refunded: 0,
        paid: None,
    }
    .into()
}

/// The payment, of which the provider has taken `refunded` back in all.
fn taken_back(n: u8, key: &str, amount: i64, refunded: i64) -> Command {
    let Command::TopUp(ask) = top_up(n, key, amount) else {
        unreachable!();
    };
    TopUp { refunded, ..ask }.into()
}

fn pay_out(n: u8, key: &str, amount: i64, earned: i64) -> Command {
    PayOut {
        id: EventId::new(),
        at: Timestamp(0),
        account: account(n),
        key: key.to_owned(),
        room: format!("room{n}").parse().unwrap(),
        amount,
        earned,
        by: actor(9),
    }
    .into()
}

fn donate(n: u8, key: &str, streamer: u8, amount: i64) -> Command {
    gift(n, key, streamer, amount).into()
}

fn gift(n: u8, key: &str, streamer: u8, amount: i64) -> Donate {
    Donate {
        id: EventId::new(),
        at: Timestamp(0),
        account: account(n),
        name: format!("user{n}"),
        key: key.to_owned(),
        room: format!("room{streamer}").parse().unwrap(),
        streamer: account(streamer),
        amount,
        message: "for you".to_owned(),
        anonymous: false,
        held: false,
        minimum: 1,
        maximum: super::MOST_POINTS,
        obstacle: None,
    }
}

fn refund(donor: u8, donation: EventId) -> Command {
    give_back(donor, donation, None, None)
}

fn give_back(donor: u8, donation: EventId, amount: Option<i64>, key: Option<&str>) -> Command {
    Refund {
        id: EventId::new(),
        at: Timestamp(0),
        account: account(donor),
        donation,
        by: actor(9),
        amount,
        key: key.map(str::to_owned),
    }
    .into()
}

fn register(n: u8, name: &str) -> Command {
    Register {
        id: EventId::new(),
        at: Timestamp(0),
        account: account(n),
        name: name.to_owned(),
        password_hash: None,
        email: None,
    }
    .into()
}

fn refused(refusal: Refusal) -> Result<super::Accepted, String> {
    Err(refusal.to_string())
}

#[test]
fn a_retry_gets_the_first_answer() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    let first = run.ask(&donate(1, "b", 2, 60));
    let again = run.ask(&donate(1, "b", 2, 60));
    assert_eq!(first.outcome, again.outcome);
    assert!(again.events.is_empty() && again.memories.is_empty());
    assert_eq!(run.state.balance(account(1)), 40);
}

#[test]
fn a_refusal_is_remembered_too() {
    let mut run = Run::default();
    assert_eq!(
        run.ask(&donate(1, "k", 2, 60)).outcome,
        refused(Refusal::InsufficientBalance)
    );
    run.ask(&top_up(1, "a", 100));
    assert_eq!(
        run.ask(&donate(1, "k", 2, 60)).outcome,
        refused(Refusal::InsufficientBalance)
    );
    assert!(run.ask(&donate(1, "l", 2, 60)).outcome.is_ok());
}

#[test]
fn a_key_is_for_one_thing() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    run.ask(&donate(1, "b", 2, 60));
    assert_eq!(
        run.ask(&donate(1, "b", 2, 61)).outcome,
        refused(Refusal::KeyReused)
    );
    assert_eq!(
        run.ask(&donate(1, "b", 3, 60)).outcome,
        refused(Refusal::KeyReused)
    );
    run.ask(&top_up(2, "a", 100));
    assert!(
        run.ask(&donate(2, "b", 3, 60)).outcome.is_ok(),
        "another account's keys are its own"
    );
}

#[test]
fn bad_amounts_change_nothing() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    for (key, amount) in [
        ("b", 0),
        ("c", -5),
        ("d", i64::MIN),
        ("e", super::MOST_POINTS + 1),
    ] {
        assert_eq!(
            run.ask(&donate(1, key, 2, amount)).outcome,
            refused(Refusal::BadAmount)
        );
        assert_eq!(
            run.ask(&top_up(2, key, amount)).outcome,
            refused(Refusal::BadAmount)
        );
    }
    assert_eq!(
        run.ask(&donate(1, "f", 1, 5)).outcome,
        refused(Refusal::OwnChannel)
    );
    assert_eq!(run.events.len(), 1);
}

#[test]
fn a_name_belongs_to_whoever_asked_first() {
    let mut run = Run::default();
    assert_eq!(run.ask(&register(1, "Mint")).events.len(), 2);
    assert_eq!(
        run.ask(&register(2, "mINT")).outcome,
        refused(Refusal::NameTaken)
    );
}

#[test]
fn nobody_is_named_like_the_erased() {
    let mut run = Run::default();
    for name in [
        RoomId::of_erased(account(1)).as_str(),
        "Erased-0",
        "eRASED-",
    ] {
        assert_eq!(
            run.ask(&register(2, name)).outcome,
            refused(Refusal::NameTaken),
            "{name}"
        );
    }
    assert!(run.ask(&register(2, "erased")).outcome.is_ok());
}

#[test]
fn a_donation_is_refunded_once() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    let donation = run.ask(&donate(1, "b", 2, 60)).outcome.unwrap().event;
    assert!(run.ask(&refund(1, donation)).outcome.is_ok());
    assert_eq!(
        run.ask(&refund(1, donation)).outcome,
        refused(Refusal::AlreadyRefunded)
    );
    assert_eq!(
        run.ask(&refund(1, EventId::new())).outcome,
        refused(Refusal::NoSuchDonation)
    );
    assert_eq!(run.state.balance(account(1)), 100);
}

#[test]
fn a_donation_is_refunded_in_parts() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    let donation = run.ask(&donate(1, "b", 2, 60)).outcome.unwrap().event;
    let mut back = |amount, key| run.ask(&give_back(1, donation, amount, Some(key))).outcome;
    let first = back(Some(25), "r1");
    assert!(first.is_ok());
    assert_eq!(
        back(Some(25), "r1"),
        first,
        "a retry gives nothing back again"
    );
    assert_eq!(back(Some(26), "r1"), refused(Refusal::KeyReused));
    assert_eq!(back(Some(0), "r2"), refused(Refusal::BadAmount));
    assert_eq!(back(Some(-1), "r3"), refused(Refusal::BadAmount));
    assert_eq!(back(Some(36), "r4"), refused(Refusal::RefundTooLarge));
    let rest = back(None, "b");
    let amount = rest.as_ref().ok().and_then(|rest| rest.amount);
    assert_eq!(amount, Some(35), "the donor's keys are other ones");
    assert_eq!(back(None, "b"), rest);
    assert_eq!(back(Some(35), "b"), refused(Refusal::KeyReused));
    assert_eq!(back(Some(1), "r6"), refused(Refusal::AlreadyRefunded));
    assert_eq!(back(Some(25), "r1"), first, "whatever has happened since");
    assert_eq!(run.state.balance(account(1)), 100);
}

#[test]
fn what_a_room_asks_is_decided_after_the_key() {
    let with = |change: fn(&mut Donate)| {
        let mut run = Run::default();
        run.ask(&top_up(1, "a", 100));
        let mut ask = gift(1, "b", 2, 10);
        change(&mut ask);
        let outcome = run.ask(&ask.into()).outcome;
        (outcome.map(|_| ()), run.state.balance(account(1)))
    };
    let no = |refusal: Refusal| (Err(refusal.to_string()), 100);
    assert_eq!(with(|ask| ask.minimum = 11), no(Refusal::BelowMinimum));
    assert_eq!(with(|ask| ask.minimum = 10), (Ok(()), 90));
    assert_eq!(with(|ask| ask.maximum = 9), no(Refusal::AboveMaximum));
    let banned = |ask: &mut Donate| ask.obstacle = Some("banned".to_owned());
    assert_eq!(with(banned), no(Refusal::Banned));
    let offline = |ask: &mut Donate| ask.obstacle = Some("offline".to_owned());
    assert_eq!(with(offline), no(Refusal::Offline));

    // Accepted, but the answer was lost; banned meanwhile: the points have moved all the same.
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    let mut ask = gift(1, "b", 2, 10);
    let first = run.ask(&ask.clone().into()).outcome;
    ask.obstacle = Some("banned".to_owned());
    ask.minimum = 50;
    ask.held = true;
    assert_eq!(run.ask(&ask.clone().into()).outcome, first);
    ask.anonymous = true;
    assert_eq!(run.ask(&ask.into()).outcome, refused(Refusal::KeyReused));
}

/// A gift of "x" without a name, and one of "x", a zero byte and "anonymous", had one fingerprint once.
#[test]
fn what_is_said_is_not_taken_for_what_is_asked() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    let mut nameless = gift(1, "b", 2, 10);
    nameless.message = "x".to_owned();
    let mut spoken = nameless.clone();
    spoken.message = "x\0anonymous".to_owned();
    nameless.anonymous = true;
    assert!(run.ask(&nameless.into()).outcome.is_ok());
    assert_eq!(run.ask(&spoken.into()).outcome, refused(Refusal::KeyReused));
    // What deciders remember from before still matches.
    assert_eq!(
        super::fingerprint(&["donate", "mint", "10", "x"]),
        "2dea0912bd50400245dcc25e26f7130451dd1dd4b7c190139852dec6cc622b21"
    );
}

#[test]
fn what_nobody_expects_any_more_is_not_given() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    let mut ask = gift(1, "b", 2, 10);
    // Everything is decided at 1,000 here.
    ask.at = Timestamp(1_000 - 600_001);
    let decided = run.ask(&ask.clone().into());
    assert_eq!(decided.outcome, refused(Refusal::Expired));
    ask.at = Timestamp(1_000);
    assert_eq!(
        run.ask(&ask.clone().into()).outcome,
        refused(Refusal::Expired),
        "the first answer stands"
    );
    ask.key = "c".to_owned();
    ask.at = Timestamp(1_000 - 600_000);
    let first = run.ask(&ask.clone().into()).outcome;
    assert!(first.is_ok());
    ask.at = Timestamp(-1_000_000);
    assert_eq!(run.ask(&ask.into()).outcome, first, "after the key");
}

#[test]
fn who_wants_no_name_keeps_it_through_a_refund() {
    let mut run = Run::default();
    run.ask(&top_up(1, "a", 100));
    let mut ask = gift(1, "b", 2, 10);
    ask.anonymous = true;
    let donation = run.ask(&ask.into()).outcome.unwrap().event;
    run.ask(&give_back(1, donation, Some(4), Some("r")));
    let marks: Vec<(bool, i64)> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::DonationAccepted(event) => Some((event.anonymous, event.amount)),
            Event::DonationRefunded(event) => Some((event.anonymous, event.left)),
            _ => None,
        })
        .collect();
    assert_eq!(marks, [(true, 10), (true, 6)]);
}

fn hours(hours: u64) -> Timestamp {
    Timestamp(1_000).plus(std::time::Duration::from_secs(hours * 3600))
}

#[test]
fn old_keys_are_forgotten_and_young_ones_kept() {
    let mut run = Run::default();
    run.ask(&donate(1, "a", 2, 100));
    run.ask(&donate(1, "b", 2, 100));
    assert!(run.state.expired(hours(24), 10).is_empty());
    assert_eq!(run.state.expired(hours(49), 1).len(), 1);
    assert_eq!(run.state.expired(hours(49), 10).len(), 2);
}

/// The topic holds the first use and the tombstone until it is compacted.
#[test]
fn a_key_that_is_used_anew_is_as_old_as_its_new_use() {
    let mut run = Run::default();
    run.ask(&donate(1, "a", 2, 100));
    for key in run.state.expired(hours(49), 10) {
        run.state.remember(&key, None);
    }
    assert!(run.state.expired(hours(49), 10).is_empty());
    let command = donate(1, "a", 2, 100);
    let again = decide(&run.state, &command, hours(49), &mut EventId::new);
    for (key, memory) in again.memories {
        run.state.remember(&key, memory);
    }
    assert!(run.state.expired(hours(50), 10).is_empty());
    assert_eq!(run.state.expired(hours(98), 10).len(), 1);
}

#[test]
fn an_order_is_one_payment_and_moves_nothing() {
    let mut run = Run::default();
    let first = run.ask(&order(1, "a", 100));
    let ordered = first.outcome.unwrap();
    assert_eq!((ordered.amount, ordered.balance), (Some(100), None));
    assert_eq!(run.ask(&order(1, "a", 100)).outcome, Ok(ordered));
    assert_eq!(
        run.ask(&order(1, "a", 101)).outcome,
        refused(Refusal::KeyReused)
    );
    assert_eq!(
        run.ask(&order(1, "b", 0)).outcome,
        refused(Refusal::BadAmount)
    );
    let another = run.ask(&order(1, "c", 100)).outcome.unwrap();
    assert_ne!(another.event, ordered.event);
    assert!(run.events.is_empty() && run.state.balance(account(1)) == 0);
    run.ask(&top_up(1, "p", 100));
    assert!(
        run.ask(&donate(1, "a", 2, 10)).outcome.is_ok(),
        "a donation's keys are other ones"
    );
}

#[test]
fn a_payment_is_credited_once_however_often_it_is_told() {
    let mut run = Run::default();
    let first = run.ask(&top_up(1, "p", 100));
    run.ask(&donate(1, "a", 2, 60));
    let again = run.ask(&top_up(1, "p", 100));
    assert_eq!(first.outcome, again.outcome);
    assert!(again.events.is_empty() && again.memories.is_empty());
    assert_eq!(
        run.ask(&top_up(1, "p", 101)).outcome,
        refused(Refusal::KeyReused)
    );
    assert_eq!(run.state.balance(account(1)), 40);
}

#[test]
fn a_payment_taken_back_is_owed_where_it_was_spent() {
    let mut run = Run::default();
    run.ask(&top_up(1, "p", 100));
    run.ask(&donate(1, "a", 2, 60));
    run.ask(&taken_back(1, "p", 100, 30));
    assert_eq!(
        (run.book(1, Book::Wallet), run.book(1, Book::Debt)),
        (10, 0)
    );
    run.ask(&taken_back(1, "p", 100, 100));
    run.ask(&taken_back(1, "p", 100, 30));
    run.ask(&top_up(1, "p", 100));
    assert_eq!(
        (run.book(1, Book::Wallet), run.book(1, Book::Debt)),
        (0, -60)
    );
    assert_eq!(
        run.ask(&donate(1, "b", 2, 1)).outcome,
        refused(Refusal::InsufficientBalance)
    );
    run.ask(&top_up(1, "q", 50));
    assert_eq!(
        (run.book(1, Book::Wallet), run.book(1, Book::Debt)),
        (0, -10)
    );
    let credited = run.ask(&top_up(1, "r", 50)).outcome.unwrap();
    assert_eq!(credited.balance, Some(40));
    assert_eq!(
        (run.book(1, Book::Wallet), run.book(1, Book::Debt)),
        (40, 0)
    );
}

#[test]
fn a_payment_taken_back_before_it_was_told_of_moves_both_ways() {
    let mut run = Run::default();
    assert_eq!(run.ask(&taken_back(1, "p", 100, 100)).events.len(), 2);
    assert!(run.ask(&top_up(1, "p", 100)).events.is_empty());
    assert_eq!(run.state.balance(account(1)), 0);
}

#[test]
fn a_payment_of_which_nothing_is_known_any_more_is_not_credited_again() {
    let mut run = Run::default();
    run.ask(&top_up(1, "p", 100));
    let later = hours(181 * 24);
    for key in run.state.expired(later, 10) {
        run.state.remember(&key, None);
    }
    let Command::TopUp(ask) = top_up(1, "p", 100) else {
        unreachable!();
    };
    let late = TopUp {
        paid: Some(Timestamp(900)),
        ..ask
    }
    .into();
    let late = decide(&run.state, &late, later, &mut EventId::new);
    assert_eq!(late.outcome, refused(Refusal::TooOld));
}

#[test]
fn donations_are_forgotten_when_they_cannot_be_given_back() {
    let mut run = Run::default();
    run.ask(&top_up(1, "p", 100));
    let now = Timestamp(1_700_000_000_000);
    let mut command = gift(1, "a", 2, 60);
    command.at = now;
    let command = command.into();
    let mut ids = || EventId(Uuid::from_u128(0x018b_cfe5_6800_7000_8000_0000_0000_0001));
    let decided = decide(&run.state, &command, now, &mut ids);
    for (key, memory) in decided.memories {
        run.state.remember(&key, memory);
    }
    let id = decided.outcome.unwrap().event;
    assert_eq!(id.at(), now);
    let days = |days: u64| now.plus(std::time::Duration::from_secs(days * 86_400));
    let gone = |keys: Vec<String>| keys.iter().any(|key| key.starts_with("d:"));
    assert!(!gone(run.state.expired(days(180), 10)));
    assert!(gone(run.state.expired(days(181), 10)));
    for key in run.state.expired(days(181), 10) {
        run.state.remember(&key, None);
    }
    assert!(run.state.donation(id).is_none());
    assert!(run.state.expired(days(181), 10).is_empty());
}

#[test]
fn earnings_are_paid_out_once() {
    let mut run = Run::default();
    run.ask(&top_up(1, "p", 100));
    let given = run.ask(&donate(1, "a", 2, 60)).outcome.unwrap().event;
    assert_eq!(
        run.ask(&pay_out(2, "x", 61, 60)).outcome,
        refused(Refusal::InsufficientEarnings)
    );
    assert!(run.ask(&pay_out(2, "y", 50, 60)).outcome.is_ok());
    assert!(run.ask(&pay_out(2, "y", 50, 60)).events.is_empty());
    // Asked for at the same moment, when the earnings were still whole.
    assert_eq!(
        run.ask(&pay_out(2, "z", 50, 60)).outcome,
        refused(Refusal::InsufficientEarnings)
    );
    run.ask(&refund(1, given));
    assert_eq!(run.book(2, Book::Earnings), -50);
    run.ask(&donate(1, "b", 2, 70));
    assert_eq!(run.book(2, Book::Earnings), 20);
}

/// They stood under one name once.
#[test]
fn an_operators_keys_do_not_meet_the_streamers() {
    let mut run = Run::default();
    run.ask(&top_up(1, "p", 100));
    run.ask(&donate(1, "a", 2, 60));
    run.ask(&top_up(2, "q", 100));
    assert!(run.ask(&donate(2, "2026-01", 3, 10)).outcome.is_ok());
    let paid = run.ask(&pay_out(2, "2026-01", 20, 60)).outcome;
    assert!(paid.is_ok());
    assert_eq!(run.ask(&pay_out(2, "2026-01", 20, 60)).outcome, paid);
    assert_eq!(
        run.ask(&pay_out(2, "2026-01", 21, 60)).outcome,
        refused(Refusal::KeyReused)
    );

    // A payout that was decided under the old name is not made a second time.
    let event = EventId::new();
    let first = Decision {
        at: Timestamp(900),
        fingerprint: super::fingerprint(&["pay_out", "30"]),
        event: Some(event),
        amount: None,
        balance: None,
        refusal: None,
    };
    let old = super::decision_key(account(2), "2025-12");
    run.state.remember(&old, Some(Memory::Decision(first)));
    let again = run.ask(&pay_out(2, "2025-12", 30, 60));
    assert_eq!(again.outcome.unwrap().event, event);
    assert!(again.events.is_empty());
}

#[test]
fn the_platform_keeps_its_fee_and_gives_it_back() {
    let mut run = Run::with_fee(500);
    run.ask(&top_up(1, "p", 1000));
    let given = run.ask(&donate(1, "a", 2, 39)).outcome.unwrap().event;
    run.ask(&donate(1, "b", 2, 19));
    assert_eq!(run.book(2, Book::Earnings), 38 + 19);
    run.ask(&refund(1, given));
    assert_eq!(run.book(2, Book::Earnings), 19);
    assert_eq!(run.state.balance(account(1)), 981);
}

/// What a history is made of; small numbers, so that keys and donations meet again.
fn step() -> impl Strategy<Value = (u8, u8, u8, u8, i64)> {
    (0..5_u8, 1..4_u8, 0..12_u8, 1..4_u8, -5..120_i64)
}

/// A donation, and what was asked of it since.
struct Given {
    donor: u8,
    accepted: DonationAccepted,
    returned: i64,
}

/// What is asked of a history with refunds: kind, who, key, which donation or streamer, amount, and
/// what the room asks at that moment.
fn ask() -> impl Strategy<Value = (u8, u8, u8, u8, i64, u8)> {
    (0..6_u8, 1..4_u8, 0..8_u8, 0..8_u8, -2..60_i64, 0..8_u8)
}

proptest! {
    /// Refunds in parts, retries of everything in every order, and rooms that change their mind.
    #[test]
    fn refunds_undo_exactly_what_was_given(asks in prop::collection::vec(ask(), 1..150)) {
        let mut run = Run::with_fee(333);
        let mut given: Vec<Given> = Vec::new();
        let mut first: HashMap<String, (String, Result<super::Accepted, String>)> = HashMap::new();
        for (n, who) in (1..4).enumerate() {
            run.ask(&top_up(who, &format!("start{n}"), 500));
        }
        for (kind, who, key, other, amount, room) in asks {
            let key = format!("k{key}");
            let (command, scope, body) = if kind < 3 {
                let mut ask = gift(who, &key, 1 + other % 3, amount);
                ask.minimum = if room & 1 == 0 { 1 } else { 20 };
                ask.maximum = if room & 2 == 0 { super::MOST_POINTS } else { 40 };
                ask.obstacle = (room == 7).then(|| "banned".to_owned());
                ask.anonymous = room & 4 == 0;
                let body = format!("{} {amount} {}", ask.room, ask.anonymous);
                (Command::from(ask), format!("{who}/{key}"), body)
            } else {
                let Some(it) = given.get(usize::from(other)) else { continue };
                let wanted = (kind < 5).then_some(amount);
                let command = give_back(it.donor, it.accepted.id, wanted, Some(&key));
                (command, format!("{}/{key}", it.accepted.id), format!("{wanted:?}"))
            };
            let decided = run.ask(&command);
            if let Some((asked, answer)) = first.get(&scope) {
                prop_assert!(decided.events.is_empty());
                match *asked == body {
                    true => prop_assert_eq!(answer, &decided.outcome),
                    false => prop_assert_eq!(&decided.outcome, &refused(Refusal::KeyReused)),
                }
                continue;
            }
            first.insert(scope, (body, decided.outcome.clone()));
            match (&command, decided.events.first()) {
                (Command::Donate(ask), Some(Event::DonationAccepted(accepted))) => {
                    prop_assert!(ask.obstacle.is_none());
                    prop_assert!((ask.minimum..=ask.maximum).contains(&accepted.amount));
                    let accepted = accepted.clone();
                    given.push(Given { donor: who, accepted, returned: 0 });
                }
                (Command::Refund(ask), Some(Event::DonationRefunded(refunded))) => {
                    let it = given.iter_mut().find(|it| it.accepted.id == ask.donation).unwrap();
                    it.returned += refunded.amount;
                    let DonationRefunded { left, amount, anonymous, .. } = refunded;
                    prop_assert!(*amount > 0);
                    prop_assert!(it.returned <= it.accepted.amount);
                    prop_assert_eq!(it.returned + left, it.accepted.amount);
                    prop_assert_eq!(*anonymous, it.accepted.anonymous);
                }
                (_, event) => prop_assert!(event.is_none() && decided.outcome.is_err()),
            }
        }
        let books = run.books();
        prop_assert_eq!(books.values().sum::<i64>(), 0);
        let of = |who: u8, book| books.get(&(account(who).to_string(), book)).copied().unwrap_or(0);
        let mut earned = 0;
        for who in 1..4_u8 {
            prop_assert!(run.state.balance(account(who)) >= 0);
            earned += of(who, Book::Earnings);
        }
        let fees = books.get(&("platform".to_owned(), Book::Platform)).copied().unwrap_or(0);
        let kept: i64 = given.iter().map(|it| it.accepted.amount - it.returned).sum();
        prop_assert_eq!(earned + fees, kept);
        for it in &given {
            let left = run.state.donation(it.accepted.id).unwrap();
            prop_assert_eq!(left.amount, it.accepted.amount - it.returned);
            prop_assert!((0..=left.amount).contains(&left.fee));
        }
    }

    #[test]
    fn the_books_balance_in_every_history(steps in prop::collection::vec(step(), 1..120)) {
        let mut run = Run::with_fee(333);
        let mut donations = Vec::new();
        let mut answers: HashMap<(u8, String), (String, Decided)> = HashMap::new();
        for (kind, who, key, other, amount) in steps {
            let name = format!("k{key}");
            let command = match kind {
                0 => top_up(who, &name, amount),
                1 => donate(who, &name, other, amount),
                3 => taken_back(who, &name, amount.max(1), i64::from(other) * amount.max(1) / 3),
                4 => pay_out(who, &name, amount, {
                    run.book(who, Book::Earnings) + run.state.paid_out(account(who))
                }),
                _ => match donations.get(usize::from(key)) {
                    Some((donor, donation)) => refund(*donor, *donation),
                    None => continue,
                },
            };
            let decided = run.ask(&command);
            if kind != 1 { continue; }
            if let (1, Ok(accepted), false) = (kind, &decided.outcome, decided.events.is_empty()) {
                donations.push((who, accepted.event));
            }
            let asked = format!("{kind} {other} {amount}");
            match answers.get(&(who, name.clone())) {
                Some((first, answer)) if *first == asked => prop_assert_eq!(&answer.outcome, &decided.outcome),
                Some(_) => prop_assert!(decided.events.is_empty()),
                None => { answers.insert((who, name), (asked, decided)); }
            }
        }
        let books = run.books();
        prop_assert_eq!(books.values().sum::<i64>(), 0);
        for who in 1..4 {
            let wallet = run.book(who, Book::Wallet);
            prop_assert!(wallet >= 0);
            prop_assert!(run.book(who, Book::Debt) <= 0);
            prop_assert!(wallet == 0 || run.book(who, Book::Debt) == 0);
            prop_assert_eq!(-run.book(who, Book::Debt), run.state.debt(account(who)));
            prop_assert_eq!(wallet, run.state.balance(account(who)));
        }
    }
}
