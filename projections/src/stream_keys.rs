//! Stream keys in force. Only hashes are kept.

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::channel::{StreamKeyIssued, StreamKeyRevoked};
use lemonair_schemas::{Event, EventId, RoomId, Timestamp, Topic};
use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, MySqlConnection, MySqlPool, Row};

use crate::erasure::{Personal, Whose};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, row};

#[derive(Debug)]
pub struct StreamKeys;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamKey {
    pub room: RoomId,
    /// The event that issued it.
    pub id: EventId,
    pub hash: String,
    pub prefix: String,
    pub label: String,
    pub issued_at: Timestamp,
}

// === Writes ===

impl Projection for StreamKeys {
    fn name(&self) -> &'static str {
        "stream_keys"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Channels]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[Table {
            name: "stream_keys",
            by: "room",
        }];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[Personal {
            table: "stream_keys",
            whose: Whose::Room("room"),
            names: &[],
            texts: &["hash", "prefix", "label"],
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
            for fact in facts {
                match fact.event {
                    Event::StreamKeyIssued(event) => issue(tx, event).await?,
                    Event::StreamKeyRevoked(event) => revoke(tx, event).await?,
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }
}

async fn issue(tx: &mut MySqlConnection, event: &StreamKeyIssued) -> Result<(), Fault> {
    if !event.beside {
        sqlx::query("DELETE FROM stream_keys WHERE room = ?")
            .bind(event.room.as_str())
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "INSERT INTO stream_keys (room, id, hash, prefix, label, issued_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(event.room.as_str())
    .bind(event.id.0)
    .bind(&event.hash)
    .bind(&event.prefix)
    .bind(&event.label)
    .bind(event.at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// Revoking twice is revoking once.
async fn revoke(tx: &mut MySqlConnection, event: &StreamKeyRevoked) -> Result<(), Fault> {
    sqlx::query("DELETE FROM stream_keys WHERE room = ? AND id = ?")
        .bind(event.room.as_str())
        .bind(event.issued.0)
        .execute(tx)
        .await?;
    Ok(())
}

// === Reads ===

/// The room's keys, the oldest first.
pub async fn of_room(pool: &MySqlPool, room: &RoomId) -> Result<Vec<StreamKey>> {
    let found = sqlx::query_as("SELECT * FROM stream_keys WHERE room = ? ORDER BY issued_at, id")
        .bind(room.as_str())
        .fetch_all(pool)
        .await?;
    Ok(found)
}

/// Those that begin with these characters. Whose hash is the right one is for the caller to see, in
/// a time that does not depend on it.
pub async fn beginning_with(pool: &MySqlPool, prefix: &str) -> Result<Vec<StreamKey>> {
    let found = sqlx::query_as("SELECT * FROM stream_keys WHERE prefix = ?")
        .bind(prefix)
        .fetch_all(pool)
        .await?;
    Ok(found)
}

impl FromRow<'_, MySqlRow> for StreamKey {
    fn from_row(row: &MySqlRow) -> sqlx::Result<StreamKey> {
        Ok(StreamKey {
            room: row::room(row, "room")?,
            id: row::event(row, "id")?,
            hash: row.try_get("hash")?,
            prefix: row.try_get("prefix")?,
            label: row.try_get("label")?,
            issued_at: row::time(row, "issued_at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{Scratch, at, room};

    fn issued(hash: &str, label: &str, beside: bool) -> StreamKeyIssued {
        StreamKeyIssued {
            id: EventId::new(),
            at: at(3),
            room: room("mint"),
            actor: None,
            hash: hash.to_owned(),
            prefix: hash[..2].to_owned(),
            label: label.to_owned(),
            beside,
        }
    }

    async fn labels(db: &Scratch) -> Vec<String> {
        let keys = of_room(&db.pool, &room("mint")).await.unwrap();
        keys.into_iter().map(|key| key.label).collect()
    }

    #[tokio::test]
    async fn keys_stand_beside_each_other_until_they_are_void() {
        let db = Scratch::new().await;
        let (first, second) = (issued("aaaa", "a", false), issued("abbb", "b", true));
        let revoked = StreamKeyRevoked {
            id: EventId::new(),
            at: at(4),
            room: room("mint"),
            actor: None,
            issued: first.id,
        };
        db.given(&StreamKeys, &[first.into(), second.clone().into()])
            .await;
        assert_eq!(labels(&db).await, ["a", "b"]);
        db.given(&StreamKeys, &[revoked.into()]).await;
        assert_eq!(labels(&db).await, ["b"]);
        let found = beginning_with(&db.pool, "ab").await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].hash.as_str()), (second.id, "abbb"));
        assert_eq!(beginning_with(&db.pool, "aa").await.unwrap(), []);
        // A key that does not stand beside the others voids them.
        db.given(&StreamKeys, &[issued("cccc", "c", false).into()])
            .await;
        assert_eq!(labels(&db).await, ["c"]);
    }
}
