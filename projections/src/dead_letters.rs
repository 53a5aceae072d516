//! Records that could not be decoded or applied: rows beside the checkpoint that passes them.
//!
//! Nothing waits behind a dead letter: what follows in the same room is applied, and may become a dead
//! letter in its turn. An operator looks at them, and has them tried again or gives them up.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use lemonair_consumers::Consumed;
use lemonair_schemas::codec::unframe;
use lemonair_schemas::erasure::Erased;
use lemonair_schemas::{Codec, DecodeError, Event, Position, Timestamp, Topic};
use serde::{Serialize, Serializer};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, MySqlPool, QueryBuilder, Row};

use crate::{Error, Projection, Result, projection, row};

mod retry;

pub(crate) use retry::again;
pub use retry::{Tried, drop, retry};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    pub id: LetterId,
    /// The room or the account; keys need not be text, though all of ours are.
    pub key: String,
    /// The record's own time.
    pub record_at: Timestamp,
    pub schema_id: Option<u32>,
    pub cause: String,
    /// The record as it stands on the topic.
    #[serde(serialize_with = "base64")]
    pub bytes: Vec<u8>,
    pub tries: i32,
    /// When it failed for the first time, and for the last.
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub state: State,
}

/// Which record, and which read model lacks it: `messages.chat.3.17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    pub projection: &'static str,
    pub position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Still to be looked at.
    #[default]
    Open,
    /// A later try succeeded.
    Applied,
    /// Given up by an operator.
    Dropped,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// If any are named, only these.
    pub ids: Vec<LetterId>,
    pub projection: Option<&'static str>,
    pub topic: Option<Topic>,
    /// A room or an account: the record's key.
    pub key: Option<String>,
    /// A part of the cause, in capitals or not.
    pub cause: Option<String>,
    /// By the records' own times.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub state: State,
    pub limit: u32,
}

/// What an operator did to a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    pub at: Timestamp,
    pub operator: String,
    /// `applied`, `failed` or `dropped`.
    pub outcome: String,
    pub cause: Option<String>,
}

pub(crate) fn table(projection: &dyn Projection) -> String {
    format!("{}_dead_letters", projection.name())
}

/// What is left of a letter that has to do with somebody who was erased.
pub(crate) const OF_ERASED: &str = "of an account that was erased";

/// Keeps a record, in the transaction that moves the checkpoint past it.
pub(crate) async fn keep(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    record: &Consumed<Event>,
    cause: &str,
    erased: &Erased,
) -> sqlx::Result<()> {
    let position = record.position;
    let (key, bytes, cause) = if erased.concerns(&record.key, &record.bytes) {
        (&[][..], &[][..], OF_ERASED)
    } else {
        let key = &record.key[..record.key.len().min(512)];
        (key, &record.bytes[..], cause)
    };
    tracing::warn!(
        projection = projection.name(),
        topic = %position.topic,
        partition = position.partition,
        offset = position.offset,
        cause,
        "record put with the dead letters"
    );
    let now = Timestamp::now().millis();
    let sql = format!(
        "INSERT INTO {} (topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, \
         first_at, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        table(projection)
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(position.topic.name())
        .bind(position.partition)
        .bind(position.offset)
        .bind(key)
        .bind(record.at.millis())
        .bind(unframe(&record.bytes).ok().map(|(id, _)| id))
        .bind(shortened(cause))
        .bind(bytes)
        .bind(now)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

/// Dead letters in the order of their records, read model by read model.
pub async fn list(pool: &MySqlPool, filter: &Filter) -> Result<Vec<DeadLetter>> {
    let mut connection = pool.acquire().await?;
    let mut found = Vec::new();
    for projection in filter.projections() {
        let rest = filter.limit - u32::try_from(found.len()).unwrap_or(filter.limit);
        found.extend(select(&mut connection, projection, filter, rest, "").await?);
    }
    Ok(found)
}

pub async fn find(pool: &MySqlPool, id: LetterId) -> Result<Option<DeadLetter>> {
    for state in State::ALL {
        let filter = Filter {
            state,
            ..Filter::only(id)
        };
        if let Some(letter) = list(pool, &filter).await?.pop() {
            return Ok(Some(letter));
        }
    }
    Ok(None)
}

/// What was done to it so far.
pub async fn actions(pool: &MySqlPool, id: LetterId) -> Result<Vec<Action>> {
    let rows = sqlx::query(
        "SELECT done_at, operator, outcome, cause FROM dead_letter_log \
         WHERE projection = ? AND topic = ? AND part = ? AND record_offset = ? ORDER BY id",
    )
    .bind(id.projection)
    .bind(id.position.topic.name())
    .bind(id.position.partition)
    .bind(id.position.offset)
    .fetch_all(pool)
    .await?;
    let action = |row: &MySqlRow| {
        Ok(Action {
            at: row::time(row, "done_at")?,
            operator: row.try_get("operator")?,
            outcome: row.try_get("outcome")?,
            cause: row.try_get("cause")?,
        })
    };
    Ok(rows.iter().map(action).collect::<sqlx::Result<_>>()?)
}

/// How many are open, by read model.
pub async fn count(pool: &MySqlPool) -> Result<Vec<(&'static str, i64)>> {
    let mut counts = Vec::new();
    for projection in projection::ALL {
        let sql = format!(
            "SELECT COUNT(*) FROM {} WHERE state = 'open'",
            table(projection)
        );
        let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool);
        counts.push((projection.name(), count.await?));
    }
    Ok(counts)
}

async fn select(
    connection: &mut MySqlConnection,
    projection: &'static dyn Projection,
    filter: &Filter,
    limit: u32,
    tail: &str,
) -> sqlx::Result<Vec<DeadLetter>> {
    let start = format!("SELECT * FROM {} WHERE state = ", table(projection));
    let mut query: QueryBuilder<MySql> = QueryBuilder::new(start);
    query.push_bind(filter.state.name());
    if !filter.ids.is_empty() {
        query.push(" AND (FALSE");
        let ours = |id: &&LetterId| id.projection == projection.name();
        for LetterId { position, .. } in filter.ids.iter().filter(ours) {
            query.push(" OR (topic = ").push_bind(position.topic.name());
            query.push(" AND part = ").push_bind(position.partition);
            query.push(" AND record_offset = ");
            query.push_bind(position.offset).push(")");
        }
        query.push(")");
    }
    if let Some(topic) = filter.topic {
        query.push(" AND topic = ").push_bind(topic.name());
    }
    if let Some(key) = &filter.key {
        query.push(" AND record_key = ").push_bind(key.as_bytes());
    }
    if let Some(cause) = &filter.cause {
        query.push(" AND LOCATE(LOWER(").push_bind(cause);
        query.push("), LOWER(cause)) > 0");
    }
    if let Some(since) = filter.since {
        query.push(" AND record_at >= ").push_bind(since.millis());
    }
    if let Some(until) = filter.until {
        query.push(" AND record_at < ").push_bind(until.millis());
    }
    query.push(" ORDER BY topic, part, record_offset LIMIT ");
    query.push_bind(limit).push(tail);
    let rows = query.build().fetch_all(connection).await?;
    let letter = |row| DeadLetter::read(projection.name(), row);
    rows.iter().map(letter).collect()
}

/// Beginnings of what may be longer than its column.
fn shortened(cause: &str) -> String {
    cause.chars().take(4000).collect()
}

fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    serializer.serialize_str(&text)
}

// === impl DeadLetter ===

impl DeadLetter {
    /// With today's schemas.
    pub async fn decode(&self, codec: &Codec) -> Result<Event, DecodeError> {
        codec.decode(&self.bytes).await
    }

    fn read(projection: &'static str, row: &MySqlRow) -> sqlx::Result<DeadLetter> {
        let schema_id: Option<i64> = row.try_get("schema_id")?;
        let position = row::position(row, row::parse(row, "topic")?)?;
        let key: &[u8] = row.try_get("record_key")?;
        Ok(DeadLetter {
            id: LetterId {
                projection,
                position,
            },
            key: String::from_utf8_lossy(key).into_owned(),
            record_at: row::time(row, "record_at")?,
            schema_id: schema_id.and_then(|id| u32::try_from(id).ok()),
            cause: row.try_get("cause")?,
            bytes: row.try_get("bytes")?,
            tries: row.try_get("tries")?,
            first_at: row::time(row, "first_at")?,
            last_at: row::time(row, "last_at")?,
            state: row::parse(row, "state")?,
        })
    }
}

// === impl LetterId ===

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position {
            topic,
            partition,
            offset,
        } = self.position;
        write!(f, "{}.{topic}.{partition}.{offset}", self.projection)
    }
}

impl FromStr for LetterId {
    type Err = Error;

    fn from_str(text: &str) -> Result<LetterId> {
        let parse = || {
            let mut parts = text.split('.');
            let projection = projection::named(parts.next()?).ok()?.name();
            let position = Position {
                topic: parts.next()?.parse().ok()?,
                partition: parts.next()?.parse().ok()?,
                offset: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(LetterId {
                projection,
                position,
            })
        };
        parse().ok_or_else(|| Error::BadLetter(text.to_owned()))
    }
}

impl Serialize for LetterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl State ===

impl State {
    pub const ALL: [State; 3] = [State::Open, State::Applied, State::Dropped];

    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Applied => "applied",
            State::Dropped => "dropped",
        }
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<State> {
        let named = |state: &State| state.name() == text;
        let found = State::ALL.into_iter().find(named);
        found.ok_or_else(|| Error::BadState(text.to_owned()))
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

// === impl Filter ===

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            ids: Vec::new(),
            projection: None,
            topic: None,
            key: None,
            cause: None,
            since: None,
            until: None,
            state: State::Open,
            limit: 100,
        }
    }
}

impl Filter {
    pub fn only(id: LetterId) -> Filter {
        Filter {
            ids: vec![id],
            ..Filter::default()
        }
    }

    /// Read models that may have some.
    fn projections(&self) -> impl Iterator<Item = &'static dyn Projection> {
        projection::ALL.into_iter().filter(|projection| {
            let name = projection.name();
            let named = self.ids.is_empty() || self.ids.iter().any(|id| id.projection == name);
            named && self.projection.is_none_or(|wanted| wanted == name)
        })
    }
}

#[cfg(test)]
mod tests;
