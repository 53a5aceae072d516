//! Donors give, and try again through two gateways, while everything that Lemonair is made of and
//! stands on is killed in turn: afterwards each gift that was accepted is there once.
//!
//! `make chaos` plays it at full size; `LEMONAIR_TEST_SEED` repeats a run's choices.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lemonair_gateway::token::{Audience, Claims, Tokens};
use lemonair_schemas::{AccountId, Timestamp};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use support::stack::{Service, Stack};
use support::{Api, Deployment, Lemonair, eventually};
use uuid::Uuid;

const SECRET: &str = "every gateway of this test has this secret";
const DONORS: u64 = 50;

/// What a donor was told of one attempt.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    /// 201: the donation's id and the balance.
    Accepted(String, i64),
    /// 4xx: surely not.
    Refused(String),
    /// Anything else, or nothing.
    Unknown,
}

/// A gift: what is given, and what its attempts were told.
#[derive(Debug)]
struct Gift {
    donor: usize,
    amount: i64,
    told: Vec<Told>,
}

/// Our processes, each with what it is started as.
struct Fleet {
    deployment: Deployment,
    running: Vec<(&'static str, Option<Lemonair>)>,
    /// Where the gateways are now.
    gateways: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// One of the fleet, by its place.
    Ours(usize),
    Stack(Service),
}

const FLEET: [&str; 5] = ["gateway", "gateway", "decide", "decide", "project"];

impl Fleet {
    async fn start(deployment: Deployment) -> Fleet {
        let mut fleet = Fleet {
            deployment,
            running: FLEET.map(|service| (service, None)).into(),
            gateways: Arc::new(Mutex::new(vec![String::new(); 2])),
        };
        for place in 0..FLEET.len() {
            fleet.restart(place).await;
        }
        fleet
    }

    /// Until it is up: what it stands on may be on its way back.
    async fn restart(&mut self, place: usize) {
        let service = self.running[place].0;
        let deployment = &self.deployment;
        let started = eventually(service, async || deployment.try_start(service).await.ok()).await;
        if place < 2 {
            self.gateways.lock().expect("not poisoned")[place].clone_from(&started.http);
        }
        self.running[place].1 = Some(started);
    }

    async fn kill(&mut self, place: usize) {
        if let Some(mut running) = self.running[place].1.take() {
            running.kill().await;
        }
    }
}

/// Their ids are chance's too: they say which partition decides.
fn donors(chance: &mut StdRng) -> Vec<(AccountId, String)> {
    let tokens = Tokens::new(SECRET.as_bytes());
    let donor = |n| {
        let account = AccountId(Uuid::from_u128(chance.random()));
        let name = format!("donor{n}");
        let day = Duration::from_secs(86_400);
        let now = Timestamp::now();
        let mut claims = Claims::new(Audience::Access, account, &name, "viewer", now, day);
        claims.unlimited = true;
        (account, tokens.sign(&claims).expect("sign a token"))
    };
    (0..DONORS).map(donor).collect()
}

/// One attempt. The message names the gift, as the key is nobody's business on the topics.
async fn attempt(http: &reqwest::Client, base: &str, token: &str, key: &str, amount: i64) -> Told {
    let body = json!({ "amount": amount, "message": key });
    let sent = http
        .post(format!("{base}/api/channels/star/donations"))
        .bearer_auth(token)
        .header("idempotency-key", key)
        .json(&body)
        .send();
    let Ok(answer) = sent.await else {
        return Told::Unknown;
    };
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    match (status, body["id"].as_str(), body["balance"].as_i64()) {
        (201, Some(id), Some(balance)) => Told::Accepted(id.to_owned(), balance),
        (402 | 409 | 422, ..) => Told::Refused(code),
        (400..500, ..) => panic!("{status} {body}"),
        _ => Told::Unknown,
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no Config")]
fn number(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    Some(
        number
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_each_gift_is_there_once_or_not_at_all() {
    let seed = number("LEMONAIR_TEST_SEED").unwrap_or_else(rand::random);
    println!("LEMONAIR_TEST_SEED={seed}");
    let all = number("LEMONAIR_CHAOS_DONATIONS").unwrap_or(1000);
    let kills = number("LEMONAIR_CHAOS_KILLS").unwrap_or(2);
    let mut chance = StdRng::seed_from_u64(seed);
    let stack = Stack::start("chaos");
    let deployment = Deployment::new("chaos")
        .on(stack.addresses())
        .with("LEMONAIR_SECRET", SECRET);
    let mut fleet = Fleet::start(deployment).await;
    let base = fleet.gateways.lock().expect("not poisoned")[0].clone();
    Api::sign_up(&base, "Star").await;
    let people = Arc::new(donors(&mut chance));
    let each = all / DONORS;
    // About as much as they give, so that some gifts are too much.
    let bought = i64::try_from(each).expect("a number") * 9;
    for (_, token) in people.iter() {
        let mut api = Api::new(&base);
        api.token = Some(token.clone());
        api.post("/api/wallet/top-ups", json!({ "amount": bought }))
            .await;
    }

    let done = Arc::new(AtomicU64::new(0));
    let mut giving = tokio::task::JoinSet::new();
    for donor in 0..people.len() {
        let mut chance = StdRng::seed_from_u64(chance.random());
        let (people, done) = (Arc::clone(&people), Arc::clone(&done));
        let gateways = Arc::clone(&fleet.gateways);
        giving.spawn(async move {
            let http = reqwest::Client::builder()
                .timeout(Duration::from_secs(20))
                .build();
            let http = http.expect("a client");
            let mut gifts = Vec::new();
            for n in 0..each {
                let key = format!("{donor}/{n}");
                let amount = chance.random_range(1..=20);
                let mut told = Vec::new();
                for _ in 0..chance.random_range(1..=5) {
                    let gateway = chance.random_range(0..2);
                    let base = gateways.lock().expect("not poisoned")[gateway].clone();
                    told.push(attempt(&http, &base, &people[donor].1, &key, amount).await);
                    if told.last() == Some(&Told::Unknown) {
                        // As a client would, so that an outage does not use up all gifts.
                        tokio::time::sleep(Duration::from_millis(300)).await;
                    }
                }
                gifts.push((
                    key,
                    Gift {
                        donor,
                        amount,
                        told,
                    },
                ));
                done.fetch_add(1, Ordering::Relaxed);
            }
            gifts
        });
    }

    // The donors' progress says when the next one falls, in an order that the seed says.
    let mut victims: Vec<Victim> = (0..FLEET.len()).map(Victim::Ours).collect();
    victims.extend([Service::Kafka, Service::Mariadb].map(Victim::Stack));
    let mut victims: Vec<Victim> = (0..kills).flat_map(|_| victims.clone()).collect();
    victims.shuffle(&mut chance);
    let count = u64::try_from(victims.len()).expect("a number");
    for (n, victim) in (1..).zip(victims) {
        let due = all * n / (count + 1);
        while done.load(Ordering::Relaxed) < due {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("after {due} gifts: kill -9 {victim:?}");
        match victim {
            Victim::Ours(place) => {
                fleet.kill(place).await;
                fleet.restart(place).await;
            }
            Victim::Stack(service) => {
                stack.kill(service);
                tokio::task::block_in_place(|| stack.up());
            }
        }
        // Whoever did not outlive it is started again, as a supervisor would.
        for (place, service) in FLEET.iter().enumerate() {
            let ended = |running: &mut Lemonair| running.has_ended();
            if fleet.running[place].1.as_mut().is_none_or(ended) {
                println!("{service} had ended");
                fleet.restart(place).await;
            }
        }
    }
    let gifts: BTreeMap<String, Gift> = giving.join_all().await.into_iter().flatten().collect();
    assert_eq!(gifts.len() as u64, each * DONORS);
    let oracle = Oracle::new(&gifts);
    println!("{oracle:?}");
    println!("{}", oracle.check(&fleet, &gifts, &people, bought).await);
}

/// What the donors were told, all together.
#[derive(Debug, Default)]
struct Oracle {
    accepted: usize,
    refused: usize,
    unknown: usize,
    attempts: usize,
    attempts_unknown: usize,
}

impl Oracle {
    /// No gift was told two things.
    fn new(gifts: &BTreeMap<String, Gift>) -> Oracle {
        let mut oracle = Oracle::default();
        for (key, gift) in gifts {
            let known: Vec<&Told> = gift
                .told
                .iter()
                .filter(|told| **told != Told::Unknown)
                .collect();
            assert!(
                known.windows(2).all(|two| two[0] == two[1]),
                "{key}: {gift:?}"
            );
            match known.first() {
                Some(Told::Accepted(..)) => oracle.accepted += 1,
                Some(_) => oracle.refused += 1,
                None => oracle.unknown += 1,
            }
            oracle.attempts += gift.told.len();
            oracle.attempts_unknown += gift.told.len() - known.len();
        }
        oracle
    }

    async fn check(
        &self,
        fleet: &Fleet,
        gifts: &BTreeMap<String, Gift>,
        people: &[(AccountId, String)],
        bought: i64,
    ) -> String {
        let deployment = &fleet.deployment;
        let printed = eventually("the read models have everything", async || {
            let printed = deployment.run(&["ledger", "verify"]).await;
            printed.contains(" 0 entries behind").then_some(printed)
        })
        .await;
        let compared = deployment
            .run(&["rebuild", "wallets", "--verify-only"])
            .await;
        assert!(compared.contains("equal to the live model"), "{compared}");
        let compared = deployment
            .run(&["rebuild", "donations", "--verify-only"])
            .await;
        assert!(compared.contains("equal to the live model"), "{compared}");

        let mut there: HashMap<String, (String, i64)> = HashMap::new();
        for event in deployment.replay(&["lemonair.donations"]).await {
            let text = |name: &str| event[name].as_str().expect(name).to_owned();
            let amount = event["amount"].as_i64().expect("an amount");
            let before = there.insert(text("message"), (text("id"), amount));
            assert_eq!(before, None, "{event} is there twice");
        }
        let mut given = vec![0; people.len()];
        for (key, gift) in gifts {
            let found = there.get(key);
            given[gift.donor] += found.map_or(0, |(_, amount)| *amount);
            match gift.told.iter().find(|told| **told != Told::Unknown) {
                Some(Told::Accepted(id, _)) => {
                    assert_eq!(
                        found,
                        Some(&(id.clone(), gift.amount)),
                        "{key} was accepted"
                    );
                }
                Some(_) => assert_eq!(found, None, "{key} was refused: {gift:?}"),
                None => {}
            }
        }
        assert!(there.keys().all(|key| gifts.contains_key(key)));
        let base = fleet.gateways.lock().expect("not poisoned")[1].clone();
        for ((_, token), given) in people.iter().zip(given) {
            let mut api = Api::new(&base);
            api.token = Some(token.clone());
            assert_eq!(api.get("/api/wallet").await["balance"], bought - given);
        }
        assert!(self.accepted > 0 && self.refused > 0, "{self:?}");
        printed
    }
}
