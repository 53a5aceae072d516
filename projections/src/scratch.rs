//! What tests stand on: a fresh database each, gone afterwards, and events made short.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};

use lemonair_schemas::account::AccountRegistered;
use lemonair_schemas::channel::ChannelOpened;
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::{AccountId, Actor, Event, EventId, Position, RoomId, Timestamp};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlPool};
use uuid::Uuid;

use crate::place::Place;
use crate::projection::Fault;
use crate::{Fact, Projection};

/// A database of its own.
pub(crate) struct Scratch {
    pub(crate) pool: MySqlPool,
    pub(crate) url: String,
    next: AtomicI64,
}

impl Scratch {
    pub(crate) async fn new() -> Scratch {
        let base = setting("DATABASE_URL", "database_url");
        let (server, _) = base.rsplit_once('/').expect("a database in the URL");
        let url = format!("{server}/lemonair_test_{}", Uuid::now_v7().simple());
        let pool = crate::connect(&url, 8).await.expect("connect");
        Scratch {
            pool,
            url,
            next: AtomicI64::new(0),
        }
    }

    /// Applies events in one transaction, one after the other on partition 0.
    pub(crate) async fn try_given(
        &self,
        projection: &dyn Projection,
        events: &[Event],
    ) -> Result<(), Fault> {
        let facts: Vec<Fact<'_>> = events
            .iter()
            .map(|event| Fact {
                position: Position {
                    topic: projection.topics()[0],
                    partition: 0,
                    offset: self.next.fetch_add(1, Ordering::Relaxed),
                },
                event,
            })
            .collect();
        let mut tx = self.pool.begin().await?;
        projection.apply(&mut tx, &facts).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(crate) async fn given(&self, projection: &dyn Projection, events: &[Event]) {
        self.try_given(projection, events).await.expect("apply");
    }

    /// Why the events were refused.
    pub(crate) async fn refusal(&self, projection: &dyn Projection, events: &[Event]) -> String {
        let fault = self
            .try_given(projection, events)
            .await
            .expect_err("must be refused");
        assert!(fault.is_records(), "{fault}");
        fault.to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let url = self.url.clone();
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async {
                let options = MySqlConnectOptions::from_str(&url).expect("url");
                let name = options.get_database().expect("database").to_owned();
                let mut connection = options.connect().await?;
                // A transaction that a failed step left open would keep the tables from being dropped.
                let others: Vec<i64> = sqlx::query_scalar(
                    "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                     WHERE db = DATABASE() AND id <> CONNECTION_ID()",
                )
                .fetch_all(&mut connection)
                .await?;
                for id in others {
                    let kill = AssertSqlSafe(format!("KILL {id}"));
                    let _ = sqlx::raw_sql(kill).execute(&mut connection).await;
                }
                let beside = Place::ALL.map(|place| place.beside(&name));
                for name in beside.iter().chain([&name]) {
                    let sql = format!("DROP DATABASE IF EXISTS `{name}`");
                    sqlx::raw_sql(AssertSqlSafe(sql))
                        .execute(&mut connection)
                        .await?;
                }
                Ok::<(), sqlx::Error>(())
            })
        });
        // A test may have dropped the database itself.
        let _ = cleaning.join();
    }
}

/// A folder of its own, gone afterwards.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let name = format!("lemonair-{}", Uuid::now_v7().simple());
        Folder {
            path: std::env::temp_dir().join(name),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).ok();
    }
}

/// From the environment, or from the services that run for tests or for this checkout.
#[expect(clippy::disallowed_methods, reason = "tests have no Config")]
pub(crate) fn setting(variable: &str, name: &str) -> String {
    if let Ok(value) = std::env::var(variable) {
        return value;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in [".lemonair/test/stack.toml", ".lemonair/stack.toml"] {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            continue;
        };
        let found = text.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.trim().strip_prefix('=')?.trim();
            Some(value.trim_matches('"').to_owned())
        });
        if let Some(found) = found {
            return found;
        }
    }
    panic!("{variable} is not set, and no services run for tests; `make test` starts them");
}

// === Events ===

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + seconds * 1000)
}

pub(crate) fn room(name: &str) -> RoomId {
    name.parse().expect("a room's name")
}

/// Somebody: the same for the same name.
pub(crate) fn actor(name: &str) -> Actor {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Actor {
        id: AccountId(Uuid::from_bytes(bytes)),
        name: name.to_owned(),
        roles: Vec::new(),
    }
}

pub(crate) fn registered(name: &str) -> AccountRegistered {
    AccountRegistered {
        id: EventId::new(),
        at: at(0),
        account: actor(name).id,
        actor: None,
        name: name.to_owned(),
        password_hash: Some("$argon2id$".to_owned()),
        email: None,
    }
}

pub(crate) fn opened(name: &str) -> ChannelOpened {
    ChannelOpened {
        id: EventId::new(),
        at: at(0),
        room: room(name),
        actor: Some(actor(name)),
        owner: actor(name).id,
        name: name.to_owned(),
    }
}

pub(crate) fn said(in_room: &str, by: &str, text: &str) -> MessagePosted {
    MessagePosted {
        id: EventId::new(),
        at: at(1),
        room: room(in_room),
        actor: Some(actor(by)),
        text: text.to_owned(),
        nonce: None,
        reply_to: None,
    }
}

pub(crate) fn accepted(donor: &str, amount: i64) -> DonationAccepted {
    DonationAccepted {
        id: EventId::new(),
        at: at(1),
        room: room("mint"),
        actor: Some(actor(donor)),
        streamer: actor("mint").id,
        amount,
        message: "🍋".to_owned(),
        key: "k".to_owned(),
        anonymous: false,
        held: false,
    }
}
