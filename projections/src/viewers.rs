//! How many watched each room, minute by minute, as each gateway told. The sum over the gateways is
//! how many watched at most: their highest counts need not be of the same second.
//!
//! The topic is kept for 90 days, so a rebuild brings back as much; see `docs/read-models.md`.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::{Event, GatewayId, RoomId, Topic};
use sqlx::{AssertSqlSafe, MySqlConnection};

use crate::chatters::minute;
use crate::erasure::{Personal, Whose};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, insert};

#[derive(Debug)]
pub struct Viewers;

impl Projection for Viewers {
    fn name(&self) -> &'static str {
        "viewers"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Presence]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[Table {
            name: "viewers",
            by: "room",
        }];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[Personal {
            table: "viewers",
            whose: Whose::Counts {
                keys: ["minute", "gateway"],
                sums: "kept.viewers = GREATEST(kept.viewers, named.viewers)",
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
            let mut most: BTreeMap<(&RoomId, i64, GatewayId), i64> = BTreeMap::new();
            for fact in facts {
                let Event::ViewersCounted(told) = fact.event else {
                    continue;
                };
                for one in told.rooms.iter().filter(|one| one.viewers > 0) {
                    let key = (&one.room, minute(told.at), told.gateway);
                    let most = most.entry(key).or_default();
                    *most = one.viewers.max(*most);
                }
            }
            let most: Vec<_> = most.into_iter().collect();
            for chunk in insert::chunks(&most) {
                let sql = insert::statement(
                    "INSERT INTO viewers (room, minute, gateway, viewers)",
                    "(?, ?, ?, ?)",
                    chunk.len(),
                    "ON DUPLICATE KEY UPDATE viewers = GREATEST(viewers, VALUES(viewers))",
                );
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for ((room, minute, gateway), viewers) in chunk {
                    query = query.bind(room.as_str()).bind(minute).bind(gateway.0);
                    query = query.bind(viewers);
                }
                query.execute(&mut *tx).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
