//! How much each account said in each room, minute by minute: for what a broadcast's chat was like.
//! What was taken away later was said all the same.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::{AccountId, Event, RoomId, Timestamp, Topic};
use sqlx::{AssertSqlSafe, MySqlConnection};

use crate::erasure::{Personal, Whose};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, insert};

#[derive(Debug)]
pub struct Chatters;

impl Projection for Chatters {
    fn name(&self) -> &'static str {
        "chatters"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Chat]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[Table {
            name: "chatters",
            by: "room",
        }];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[Personal {
            table: "chatters",
            whose: Whose::Counts {
                keys: ["minute", "account"],
                sums: "kept.messages = kept.messages + named.messages",
            },
            names: &[],
            texts: &[],
            secrets: &[],
        }];
        PERSONAL
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut MySqlConnection,
        facts: &'a [Fact<'a>],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            // In the order of the key, so that two who write do not block each other.
            let mut said: BTreeMap<(&RoomId, i64, AccountId), i64> = BTreeMap::new();
            for fact in facts {
                let (room, at, author) = match fact.event {
                    Event::MessagePosted(event) => (&event.room, event.at, event.actor.as_ref()),
                    Event::HeldMessageApproved(e) => (&e.room, e.at, Some(&e.author)),
                    _ => continue,
                };
                if let Some(author) = author {
                    *said.entry((room, minute(at), author.id)).or_default() += 1;
                }
            }
            let said: Vec<_> = said.into_iter().collect();
            for chunk in insert::chunks(&said) {
                let sql = insert::statement(
                    "INSERT INTO chatters (room, minute, account, messages)",
                    "(?, ?, ?, ?)",
                    chunk.len(),
                    "ON DUPLICATE KEY UPDATE messages = messages + VALUES(messages)",
                );
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for ((room, minute, account), messages) in chunk {
                    query = query.bind(room.as_str()).bind(minute).bind(account.0);
                    query = query.bind(messages);
                }
                query.execute(&mut *tx).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// Minutes since 1970.
pub(crate) fn minute(at: Timestamp) -> i64 {
    at.millis().div_euclid(60_000)
}
