use lemonair_schemas::ledger::Posting;
use lemonair_schemas::{Actor, Topic};

use super::*;

fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

fn gift(n: u128) -> EventId {
    EventId(Uuid::from_u128(100 + n))
}

fn at(offset: i64) -> Position {
    Position {
        topic: Topic::Ledger,
        partition: 0,
        offset,
    }
}

fn entry(kind: Kind, postings: Vec<Posting>) -> EntryPosted {
    EntryPosted {
        id: EventId::new(),
        at: Timestamp(0),
        account: account(1),
        actor: None,
        kind,
        postings,
        room: None,
        donation: None,
        payment: None,
    }
}

fn topped_up(payment: &str, amount: i64) -> EntryPosted {
    let wallet = Posting::of(account(1), Book::Wallet, amount);
    EntryPosted {
        payment: Some(payment.to_owned()),
        ..entry(Kind::TopUp, vec![Posting::provider(-amount), wallet])
    }
}

fn taken_back(payment: &str, amount: i64) -> EntryPosted {
    EntryPosted {
        kind: Kind::Correction,
        ..topped_up(payment, -amount)
    }
}

fn moved(n: u128, amount: i64) -> EntryPosted {
    let postings = vec![
        Posting::of(account(1), Book::Wallet, -amount),
        Posting::of(account(2), Book::Earnings, amount),
    ];
    EntryPosted {
        donation: Some(gift(n)),
        ..entry(Kind::Donation, postings)
    }
}

fn returned(n: u128, amount: i64) -> EntryPosted {
    EntryPosted {
        kind: Kind::Refund,
        ..moved(n, -amount)
    }
}

fn paid_out(n: u128, amount: i64) -> EntryPosted {
    let earnings = Posting::of(account(n), Book::Earnings, -amount);
    EntryPosted {
        account: account(2),
        ..entry(Kind::Payout, vec![earnings, Posting::provider(amount)])
    }
}

fn accepted(n: u128, amount: i64, key: &str) -> DonationAccepted {
    DonationAccepted {
        id: gift(n),
        at: Timestamp(0),
        room: "mint".parse().unwrap(),
        actor: Some(Actor {
            id: account(1),
            name: "lime".to_owned(),
            roles: Vec::new(),
        }),
        streamer: account(2),
        amount,
        message: String::new(),
        key: key.to_owned(),
        anonymous: false,
        held: false,
    }
}

fn refunded(n: u128, amount: i64) -> DonationRefunded {
    DonationRefunded {
        id: EventId::new(),
        at: Timestamp(0),
        room: "mint".parse().unwrap(),
        actor: None,
        donation: gift(n),
        donor: account(1),
        streamer: account(2),
        amount,
        left: 0,
        anonymous: false,
    }
}

/// What is told of a ledger, each entry at the next offset.
fn check(
    entries: &[EntryPosted],
    donations: &[DonationAccepted],
    refunds: &[DonationRefunded],
) -> Vec<String> {
    let mut audit = Audit::default();
    for event in donations {
        audit.accepted(at(0), event);
    }
    for event in refunds {
        audit.refunded(event);
    }
    for (offset, entry) in (0..).zip(entries) {
        audit.entry(at(offset), entry, false);
    }
    audit.close();
    assert_eq!(audit.faults, audit.told.len() as u64);
    audit.told
}

fn faults(entries: &[EntryPosted], told: &str) {
    let all = check(entries, &[], &[]);
    assert!(all.iter().any(|line| line.contains(told)), "{all:?}");
}

#[test]
fn an_honest_ledger_has_no_fault() {
    let entries = [
        topped_up("p", 100),
        moved(1, 60),
        returned(1, 20),
        returned(1, 40),
        taken_back("p", 100),
    ];
    let refunds = [refunded(1, 20), refunded(1, 40)];
    let told = check(&entries, &[accepted(1, 60, "k")], &refunds);
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn each_way_to_make_points_is_found() {
    let mut lopsided = topped_up("p", 100);
    lopsided.postings[0].amount = -99;
    faults(&[lopsided], "0@0: 2 postings that sum to 1");
    faults(
        &[topped_up("p", 100), topped_up("p", 100)],
        "0@1: a payment that was credited before",
    );
    faults(
        &[topped_up("p", 9), taken_back("p", 10)],
        "0@1: the wallet of",
    );
    faults(
        &[topped_up("p", 9), topped_up("q", 9), taken_back("p", 10)],
        "0@2: more was taken back",
    );
    faults(&[topped_up("p", 9), moved(1, 10)], "0@1: the wallet of");
    let overdraft_that_is_mended = [moved(1, 10), topped_up("p", 10)];
    faults(&overdraft_that_is_mended, "0@0: the wallet of");
}

#[test]
fn donations_and_entries_go_in_pairs() {
    let entries = [topped_up("p", 100), moved(1, 60)];
    let one =
        |entries: &[EntryPosted], donations: &[DonationAccepted], refunds: &[DonationRefunded]| {
            check(entries, donations, refunds).join("\n")
        };
    assert!(one(&entries, &[], &[]).contains("accepted 0, its entry moved 60"));
    assert!(
        one(&entries[..1], &[accepted(1, 60, "k")], &[]).contains("accepted 60, its entry moved 0")
    );
    assert!(
        one(&entries, &[accepted(1, 61, "k")], &[]).contains("accepted 61, its entry moved 60")
    );
    let told = one(&entries, &[accepted(1, 60, "k")], &[refunded(1, 60)]);
    assert!(told.contains("refunded 60, entries gave back 0"));
    let twice = [
        topped_up("p", 100),
        moved(1, 60),
        returned(1, 60),
        returned(1, 60),
    ];
    let told = one(
        &twice,
        &[accepted(1, 60, "k")],
        &[refunded(1, 60), refunded(1, 60)],
    );
    assert!(told.contains("refunded 120, entries gave back 120"));
    let twice = [topped_up("p", 200), moved(1, 60), moved(1, 60)];
    assert!(one(&twice, &[accepted(1, 60, "k")], &[]).contains("0@2: donation"));
    let keys = [topped_up("p", 200), moved(1, 60), moved(2, 60)];
    let told = one(&keys, &[accepted(1, 60, "k"), accepted(2, 60, "k")], &[]);
    assert!(told.contains("an idempotency key of"));
}

#[test]
fn a_key_is_decided_anew_when_its_time_is_over_whichever_room_is_read_first() {
    let entries = [
        topped_up("p", 180),
        moved(1, 60),
        moved(2, 60),
        moved(3, 60),
    ];
    let told = |hours: [i64; 3]| {
        let used = |n: u128, hours: i64| DonationAccepted {
            at: Timestamp(hours * 3_600_000),
            ..accepted(n, 60, "k")
        };
        let [one, two, three] = hours;
        check(&entries, &[used(1, one), used(2, two), used(3, three)], &[])
    };
    assert_eq!(told([49, 0, 98]), Vec::<String>::new());
    assert!(told([49, 0, 50])[0].contains("an idempotency key of"));
    assert!(told([49, 0, 26])[0].contains("an idempotency key of"));
}

#[test]
fn a_payment_is_credited_anew_only_where_it_was_forgotten() {
    let day = Duration::from_secs(86_400);
    let told = |days: u32| {
        let mut audit = Audit::new(3 * day);
        let again = EntryPosted {
            at: Timestamp(0).plus(days * day),
            ..topped_up("p", 100)
        };
        audit.entry(at(0), &topped_up("p", 100), false);
        audit.entry(at(1), &again, false);
        audit.told
    };
    assert!(told(3)[0].contains("a payment that was credited before"));
    assert_eq!(told(4), Vec::<String>::new());
}

#[test]
fn points_go_to_whom_they_were_given_and_earnings_to_whom_they_are_paid() {
    let astray = |mut entry: EntryPosted, amount: i64| {
        entry.postings[1] = Posting::of(account(3), Book::Earnings, amount);
        entry
    };
    let given = accepted(1, 60, "k");
    let wrong = "to whom nothing was given";
    let bought = topped_up("p", 100);
    let told = check(
        &[bought.clone(), astray(moved(1, 60), 60)],
        std::slice::from_ref(&given),
        &[],
    );
    assert!(told[0].contains(wrong), "{told:?}");
    let back = [bought.clone(), moved(1, 60), astray(returned(1, 60), -60)];
    let told = check(&back, std::slice::from_ref(&given), &[refunded(1, 60)]);
    assert!(told[0].contains(wrong), "{told:?}");
    faults(&[astray(bought.clone(), 100)], wrong);
    faults(&[paid_out(3, 10)], wrong);

    // Written while the topics were read, the event comes after its entry.
    let mut audit = Audit::default();
    audit.entry(at(0), &bought, false);
    audit.entry(at(1), &astray(moved(1, 60), 60), false);
    audit.accepted_late(at(0), &given);
    assert!(
        audit.told[0].contains("the points went to"),
        "{:?}",
        audit.told
    );
}

#[test]
fn the_read_model_is_held_against_the_topics_at_its_position() {
    let audit = || {
        let mut audit = Audit::default();
        audit.entry(at(0), &topped_up("p", 100), false);
        audit.entry(at(1), &topped_up("q", 10), true);
        audit.close();
        audit
    };
    let lime = account(1).to_string();
    let mut equal = audit();
    equal.compare_row(&lime, Book::Wallet, 100);
    equal.compare_row("provider", Book::Provider, -100);
    equal.close_rows(1);
    assert!(equal.told.is_empty(), "{:?}", equal.told);
    let mut lacking = audit();
    lacking.compare_row(&lime, Book::Wallet, 110);
    lacking.close_rows(2);
    let told = lacking.told.join("\n");
    assert!(told.contains("is 110, the topics say 100"));
    assert!(told.contains("lacks Provider"));
    assert!(told.contains("has 2 entries, the topics 1"));
}

#[test]
fn the_deciders_memory_is_held_against_the_topics() {
    let mut audit = Audit::default();
    audit.entry(at(0), &topped_up("p", 100), false);
    audit.entry(at(1), &moved(1, 60), false);
    let mut remembered = Remembered::default();
    remembered.wallets.insert(account(1), 40);
    remembered.donations.insert(gift(1), 60);
    audit.entry(at(2), &paid_out(2, 25), false);
    remembered.paid_out.insert(account(2), 25);
    assert!(audit.differing(&remembered).is_empty());
    remembered.paid_out.insert(account(2), 24);
    remembered.wallets.insert(account(1), 41);
    remembered.debts.insert(account(3), 1);
    remembered.donations.insert(gift(1), 59);
    for id in audit.differing(&remembered) {
        audit.tell_differing(id, &remembered);
    }
    let told = audit.told.join("\n");
    assert_eq!(audit.faults, 4);
    assert!(told.contains("has 0 points, owes 0 and was paid 24, the topics say 0, 0 and 25"));
    assert!(told.contains("has 41 points, owes 0 and was paid 0, the topics say 40, 0 and 0"));
    assert!(told.contains("has 0 points, owes 1 and was paid 0, the topics say 0, 0 and 0"));
    assert!(told.contains("59 points are left of donation"));
}
