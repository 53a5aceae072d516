//! A desk and deciders over one cluster, and the commands that are handed in.

use std::sync::Arc;
use std::time::Duration;

use lemonair_producers::decide::Terms;
use lemonair_producers::{Decider, Desk, Log};
use lemonair_schemas::command::{Answered, Command, Donate, Refund, Register, TopUp};
use lemonair_schemas::{AccountId, Actor, EventId, Timestamp};
use lemonair_testkit::{Cluster, within};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Office {
    pub(crate) cluster: Cluster,
    pub(crate) desk: Desk,
    shutdown: CancellationToken,
    hand_out: JoinHandle<()>,
}

/// A running decider.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Office {
    pub(crate) async fn open() -> Office {
        let cluster = Cluster::start().await;
        let shutdown = CancellationToken::new();
        let (desk, hand_out) = desk(&cluster, &shutdown).await;
        Office {
            cluster,
            desk,
            shutdown,
            hand_out,
        }
    }

    pub(crate) async fn another_desk(&self) -> Desk {
        desk(&self.cluster, &self.shutdown).await.0
    }

    pub(crate) fn decider(&self) -> Running {
        let decider = Decider {
            kafka: self.cluster.kafka.clone(),
            codec: Arc::clone(&self.cluster.codec),
            terms: Terms::default(),
        };
        let shutdown = CancellationToken::new();
        let running = decider.run(shutdown.clone());
        let task = tokio::spawn(async move { running.await.expect("decider") });
        Running { shutdown, task }
    }

    /// Hands a command in, and waits until it is answered.
    pub(crate) async fn ask(&self, command: impl Into<Command>) -> Answered {
        ask(&self.desk, command.into()).await
    }

    pub(crate) async fn close(self) -> Cluster {
        self.shutdown.cancel();
        self.hand_out.await.expect("hand out answers");
        self.cluster
    }
}

async fn desk(cluster: &Cluster, shutdown: &CancellationToken) -> (Desk, JoinHandle<()>) {
    let codec = Arc::clone(&cluster.codec);
    let log = Log::open(&cluster.kafka, Arc::clone(&codec)).expect("open log");
    let (mut desk, hand_out) = Desk::open(&cluster.kafka, codec, log, shutdown.clone())
        .await
        .expect("open desk");
    // Handed in twice, a command is answered twice.
    desk.patience = Duration::MAX;
    let hand_out = tokio::spawn(async move { hand_out.await.expect("hand out answers") });
    (desk, hand_out)
}

pub(crate) async fn ask(desk: &Desk, command: Command) -> Answered {
    within("an answer", desk.ask(command))
        .await
        .expect("an answer")
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        within("the decider's end", self.task)
            .await
            .expect("decider");
    }

    /// As a crash would: no matter where it stands.
    pub(crate) async fn kill(self) {
        self.task.abort();
        within("the decider's end", self.task).await.ok();
    }
}

pub(crate) fn top_up(account: AccountId, key: &str, amount: i64) -> TopUp {
    TopUp {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        key: key.to_owned(),
        amount,
        refunded: 0,
        paid: None,
    }
}

pub(crate) fn donate(account: AccountId, key: &str, streamer: AccountId, amount: i64) -> Donate {
    Donate {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        name: "Donor".to_owned(),
        key: key.to_owned(),
        room: "mint".parse().expect("a room"),
        streamer,
        amount,
        message: "for you".to_owned(),
        anonymous: false,
        held: false,
        minimum: 1,
        maximum: 1_000_000,
        obstacle: None,
    }
}

pub(crate) fn refund(account: AccountId, donation: EventId) -> Refund {
    let by = Actor {
        id: AccountId::new(),
        name: "Mint".to_owned(),
        roles: vec!["streamer".to_owned()],
    };
    Refund {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        donation,
        by,
        amount: None,
        key: None,
    }
}

pub(crate) fn register(name: &str) -> Register {
    Register {
        id: EventId::new(),
        at: Timestamp::now(),
        account: AccountId::new(),
        name: name.to_owned(),
        password_hash: Some("$argon2id$…".to_owned()),
        email: None,
    }
}
