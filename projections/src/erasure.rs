//! A person's erasure, taken into the rows that were there before it. Rows that come later are made
//! of records in which nothing personal is left (see `schemas/src/erasure.rs`); both are the same.

use lemonair_schemas::erasure::{AccountErased, room_hash};
use lemonair_schemas::{AccountId, RoomId};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool};

use crate::database::{is_free, quote};
use crate::place::Place;
use crate::projection::{ALL, Fault};
use crate::rebuild::lock_name;
use crate::{Projection, Result, dead_letters};

/// Columns of a table that say something of a person.
#[derive(Debug, Clone, Copy)]
pub struct Personal {
    pub table: &'static str,
    pub whose: Whose,
    /// Hold the name; a pseudonym takes its place.
    pub names: &'static [&'static str],
    /// Are emptied.
    pub texts: &'static [&'static str],
    /// Become NULL.
    pub secrets: &'static [&'static str],
}

/// The column that tells whose row it is.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    Account(&'static str),
    /// A room goes by its owner's name, so the column itself is renamed too.
    Room(&'static str),
    /// The same, where the rows of a `room` count something for each of two more columns: some may stand
    /// under the pseudonym already, as its records may be decoded by some who know of the erasure and some
    /// who do not. `sums` sets columns of what is `kept` from those of what is `named` too.
    Counts {
        keys: [&'static str; 2],
        sums: &'static str,
    },
}

impl Whose {
    fn column(self) -> &'static str {
        match self {
            Whose::Account(column) | Whose::Room(column) => column,
            Whose::Counts { .. } => "room",
        }
    }

    fn is_room(self) -> bool {
        !matches!(self, Whose::Account(_))
    }
}

/// Where a name can still be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    pub database: String,
    pub table: String,
    pub column: String,
    pub rows: i64,
}

// === Writes ===

pub(crate) async fn apply(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    event: &AccountErased,
) -> Result<(), Fault> {
    let pseudonym = RoomId::of_erased(event.account);
    let live: String = sqlx::query_scalar("SELECT DATABASE()")
        .fetch_one(&mut *tx)
        .await?;
    let letters = dead_letters::table(projection);
    // What a rebuild under way has made so far is its own to erase. It reads of everybody before it swaps,
    // and until then its records are decoded as its rows are.
    let places: &[Place] = match is_free(tx, &lock_name(projection)).await? {
        true => &Place::ALL,
        false => &[Place::Old],
    };
    for database in databases(&live, places) {
        let tables = tables(tx, &database).await?;
        let has = |table: &str| tables.iter().any(|name| name == table);
        let quoted = quote(&database);
        if projection.tables().iter().all(|table| has(table.name)) {
            projection.erase(tx, &quoted, event).await?;
        }
        for personal in projection.personal() {
            if has(personal.table) {
                erase(tx, &quoted, personal, event, &pseudonym).await?;
            }
        }
        if has(&letters) {
            erase_letters(tx, &database, &letters, event).await?;
        }
        // Beside the live tables only.
        if has("dead_letter_log") && has("rebuilds") {
            erase_notes(tx, projection, event, &pseudonym).await?;
        }
    }
    Ok(())
}

/// What is noted of operators' work on this read model, and never made anew: who did it, why a letter of
/// theirs failed again, and which rooms differed.
async fn erase_notes(
    tx: &mut MySqlConnection,
    projection: &dyn Projection,
    event: &AccountErased,
    pseudonym: &RoomId,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE dead_letter_log SET operator = ? \
         WHERE projection = ? AND SHA2(LOWER(operator), 256) = ?",
    )
    .bind(pseudonym.as_str())
    .bind(projection.name())
    .bind(&event.room_hash)
    .execute(&mut *tx)
    .await?;
    let causes = format!(
        "UPDATE dead_letter_log n JOIN {} l ON l.topic = n.topic AND l.part = n.part \
         AND l.record_offset = n.record_offset SET n.cause = l.cause \
         WHERE n.projection = ? AND n.cause IS NOT NULL AND l.cause = ?",
        quote(&dead_letters::table(projection))
    );
    sqlx::query(AssertSqlSafe(causes))
        .bind(projection.name())
        .bind(dead_letters::OF_ERASED)
        .execute(&mut *tx)
        .await?;
    let reports = "UPDATE rebuilds SET report = NULL \
                   WHERE projection = ? AND report LIKE '%\"group\":%'";
    sqlx::query(reports)
        .bind(projection.name())
        .execute(tx)
        .await?;
    Ok(())
}

/// Tells the rows of an erasure that decoding knows of already, if some of them go by the name: a record
/// that is decoded with it would not find them. All else can wait for its own record, which comes all the
/// same; if that cannot be applied, it becomes a dead letter.
pub(crate) async fn heed(
    connection: &mut MySqlConnection,
    projection: &dyn Projection,
    event: &AccountErased,
) -> Result<()> {
    if !has_name(connection, projection, event).await? {
        return Ok(());
    }
    let mut tx = connection.begin().await?;
    match apply(&mut tx, projection, event).await {
        Err(fault) if fault.is_records() => {
            tracing::warn!(projection = projection.name(), %fault, "an erasure does not fit");
        }
        applied => applied?,
    }
    Ok(tx.commit().await?)
}

async fn has_name(
    connection: &mut MySqlConnection,
    projection: &dyn Projection,
    event: &AccountErased,
) -> sqlx::Result<bool> {
    for personal in projection.personal() {
        let (table, column) = (quote(personal.table), personal.whose.column());
        if personal.whose.is_room() && room_of(connection, &table, column, event).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// None where there is no such database.
async fn tables(tx: &mut MySqlConnection, database: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = ?",
    )
    .bind(database)
    .fetch_all(tx)
    .await
}

/// The live one, and those beside it: what a rebuild put aside, and what one that was cut off has made.
fn databases(live: &str, places: &[Place]) -> Vec<String> {
    let mut all: Vec<String> = places.iter().map(|place| place.beside(live)).collect();
    all.push(live.to_owned());
    all
}

async fn erase_letters(
    tx: &mut MySqlConnection,
    database: &str,
    letters: &str,
    event: &AccountErased,
) -> sqlx::Result<()> {
    let sql = format!(
        "UPDATE {}.{} SET bytes = '', record_key = '', cause = ? \
         WHERE INSTR(bytes, ?) > 0 OR SHA2(record_key, 256) = ?",
        quote(database),
        quote(letters)
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(dead_letters::OF_ERASED)
        .bind(event.account.to_string().into_bytes())
        .bind(&event.room_hash)
        .execute(tx)
        .await?;
    Ok(())
}

async fn exists(tx: &mut MySqlConnection, database: &str, table: &str) -> sqlx::Result<bool> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
    )
    .bind(database)
    .bind(table)
    .fetch_optional(tx)
    .await?;
    Ok(found.is_some())
}

async fn erase(
    tx: &mut MySqlConnection,
    database: &str,
    personal: &Personal,
    event: &AccountErased,
    pseudonym: &RoomId,
) -> sqlx::Result<()> {
    let table = format!("{database}.{}", quote(personal.table));
    let mut names = personal.names.to_vec();
    let column = personal.whose.column();
    let room = if personal.whose.is_room() {
        names.push(column);
        let Some(room) = room_of(tx, &table, column, event).await? else {
            return Ok(());
        };
        Some(room)
    } else {
        None
    };
    if let (Whose::Counts { keys, sums }, Some(room)) = (personal.whose, &room) {
        add_up(tx, &table, keys, sums, [room, pseudonym.as_str()]).await?;
    }
    let changes: Vec<String> = [
        (&names[..], "?"),
        (personal.texts, "''"),
        (personal.secrets, "NULL"),
    ]
    .iter()
    .flat_map(|(columns, value)| {
        columns
            .iter()
            .map(move |column| format!("{column} = {value}"))
    })
    .collect();
    let sql = format!(
        "UPDATE IGNORE {table} SET {} WHERE {column} = ?",
        changes.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for _ in &names {
        query = query.bind(pseudonym.as_str());
    }
    let query = match &room {
        Some(room) => query.bind(room),
        None => query.bind(event.account.0),
    };
    query.execute(&mut *tx).await?;
    // Where the same row stands under the pseudonym already, because its record was decoded by somebody
    // who knew before, the name must go all the same. What counts something was added to it.
    if let Some(room) = room {
        let sql = format!("DELETE FROM {table} WHERE {column} = ?");
        sqlx::query(AssertSqlSafe(sql))
            .bind(room)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Before the rows under the name are renamed, and find their places taken.
async fn add_up(
    tx: &mut MySqlConnection,
    table: &str,
    [one, other]: [&str; 2],
    sums: &str,
    [name, pseudonym]: [&str; 2],
) -> sqlx::Result<()> {
    let sql = format!(
        "UPDATE {table} kept JOIN {table} named ON named.{one} = kept.{one} \
         AND named.{other} = kept.{other} SET {sums} WHERE kept.room = ? AND named.room = ?"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(pseudonym)
        .bind(name)
        .execute(tx)
        .await?;
    Ok(())
}

/// The erasure does not name the room. The rooms of a table are read off its index. One that goes by the
/// pseudonym has nothing to be renamed, whatever an erasure says that was written again.
pub(crate) async fn room_of(
    tx: &mut MySqlConnection,
    table: &str,
    column: &str,
    event: &AccountErased,
) -> sqlx::Result<Option<String>> {
    let sql = format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL");
    let rooms: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(tx).await?;
    let pseudonym = RoomId::of_erased(event.account);
    let is_theirs = |room: &String| {
        room.parse::<RoomId>()
            .is_ok_and(|room| room_hash(&room) == event.room_hash && room != pseudonym)
    };
    Ok(rooms.into_iter().find(is_theirs))
}

// === Reads ===

/// Where something of them can still be read, in the live tables and those beside them: the name as all
/// of a column, what they wrote, and dead letters that have to do with them. What others wrote about
/// them does not count. The name is told by its hash, as afterwards nobody has to know it any more.
pub async fn traces(pool: &MySqlPool, room_hash: &str, account: AccountId) -> Result<Vec<Trace>> {
    let mut connection = pool.acquire().await?;
    let live: String = sqlx::query_scalar("SELECT DATABASE()")
        .fetch_one(&mut *connection)
        .await?;
    let mut search = Search {
        connection: &mut connection,
        traces: Vec::new(),
    };
    for database in databases(&live, &Place::ALL) {
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) \
             FROM information_schema.columns WHERE table_schema = ? \
             AND data_type IN ('varchar', 'char', 'text', 'mediumtext') ORDER BY 1, 2",
        )
        .bind(&database)
        .fetch_all(&mut *search.connection)
        .await?;
        for (table, column) in columns {
            if is_words(&table, &column) {
                continue;
            }
            let is_name = format!("SHA2(LOWER({}), 256) = ?", quote(&column));
            let hash = room_hash.as_bytes().to_vec();
            search
                .rows(&database, &table, &column, &is_name, vec![hash])
                .await?;
        }
        for projection in ALL {
            search
                .words(&database, projection.personal(), account)
                .await?;
            let letters = dead_letters::table(projection);
            if exists(search.connection, &database, &letters).await? {
                let theirs = "INSTR(bytes, ?) > 0 OR SHA2(record_key, 256) = ?";
                let values = vec![
                    account.to_string().into_bytes(),
                    room_hash.as_bytes().to_vec(),
                ];
                search
                    .rows(&database, &letters, "bytes", theirs, values)
                    .await?;
            }
        }
    }
    Ok(search.traces)
}

/// Whether a column holds what people wrote, which may be anything.
fn is_words(table: &str, column: &str) -> bool {
    let mut personal = ALL.iter().flat_map(|projection| projection.personal());
    personal.any(|one| {
        one.table == table && (one.texts.contains(&column) || one.secrets.contains(&column))
    })
}

struct Search<'a> {
    connection: &'a mut MySqlConnection,
    traces: Vec<Trace>,
}

// === impl Search ===

impl Search<'_> {
    /// What they wrote, whatever it says. Their room goes by their pseudonym since.
    async fn words(
        &mut self,
        database: &str,
        personal: &[Personal],
        account: AccountId,
    ) -> Result<()> {
        for personal in personal {
            if !exists(self.connection, database, personal.table).await? {
                continue;
            }
            let whose = personal.whose.column();
            let value = match personal.whose.is_room() {
                true => RoomId::of_erased(account).as_str().as_bytes().to_vec(),
                false => account.0.as_bytes().to_vec(),
            };
            let columns = personal.texts.iter().map(|column| (column, "<> ''"));
            let secrets = personal
                .secrets
                .iter()
                .map(|column| (column, "IS NOT NULL"));
            for (column, is_left) in columns.chain(secrets) {
                let theirs = format!("{whose} = ? AND {column} {is_left}");
                self.rows(
                    database,
                    personal.table,
                    column,
                    &theirs,
                    vec![value.clone()],
                )
                .await?;
            }
        }
        Ok(())
    }

    async fn rows(
        &mut self,
        database: &str,
        table: &str,
        column: &str,
        condition: &str,
        values: Vec<Vec<u8>>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT COUNT(*) FROM {}.{} WHERE {condition}",
            quote(database),
            quote(table)
        );
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let query = values
            .into_iter()
            .fold(query, |query, value| query.bind(value));
        let rows: i64 = query.fetch_one(&mut *self.connection).await?;
        if rows > 0 {
            self.traces.push(Trace {
                database: database.to_owned(),
                table: table.to_owned(),
                column: column.to_owned(),
                rows,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
