//! Accounts and their sessions, and what operators did.

mod operators;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_schemas::account::{AccountRegistered, SessionClosed, SessionOpened};
use lemonair_schemas::{AccountId, Event, SessionId, Timestamp, Topic};
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, MySqlPool, Row};

use crate::erasure::{Personal, Whose};
use crate::projection::{Fault, Table};
use crate::{Fact, Projection, Result, row};

pub use operators::{Act, log};

#[derive(Debug)]
pub struct Accounts;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    pub id: AccountId,
    /// As spelled.
    pub name: String,
    /// What it is called beside its name.
    pub display_name: Option<String>,
    #[serde(skip)]
    pub password_hash: Option<String>,
    #[serde(skip)]
    pub email: Option<String>,
    /// For the whole site: `viewer`, `moderator` or `operator`.
    pub role: String,
    pub registered_at: Timestamp,
}

/// A log-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    pub id: SessionId,
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
    /// What the client calls itself.
    pub agent: Option<String>,
}

/// Accounts of one question after their display names.
const NAMES: usize = 50;

// === Writes ===

const DISPLAY_NAME: &str = "UPDATE accounts SET display_name = NULLIF(?, '') WHERE id = ?";
const PASSWORD: &str = "UPDATE accounts SET password_hash = NULLIF(?, '') WHERE id = ?";
const ROLE: &str = "UPDATE accounts SET role = ? WHERE id = ?";

impl Projection for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Accounts]
    }

    fn tables(&self) -> &'static [Table] {
        const TABLES: &[Table] = &[
            Table {
                name: "accounts",
                by: "id",
            },
            Table {
                name: "sessions",
                by: "account",
            },
            Table {
                name: "operator_log",
                by: "operator",
            },
        ];
        TABLES
    }

    fn personal(&self) -> &'static [Personal] {
        const PERSONAL: &[Personal] = &[
            Personal {
                table: "accounts",
                whose: Whose::Account("id"),
                names: &["name", "lower_name"],
                texts: &[],
                secrets: &["password_hash", "email", "display_name"],
            },
            Personal {
                table: "sessions",
                whose: Whose::Account("account"),
                names: &[],
                texts: &[],
                secrets: &["agent"],
            },
            Personal {
                table: "operator_log",
                whose: Whose::Account("operator"),
                names: &["operator_name"],
                texts: &[],
                secrets: &[],
            },
        ];
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
                    Event::AccountRegistered(event) => register(tx, event).await?,
                    Event::DisplayNameChosen(event) => {
                        change(tx, DISPLAY_NAME, event.account, &event.display_name).await?;
                    }
                    Event::PasswordChanged(event) => {
                        change(tx, PASSWORD, event.account, &event.password_hash).await?;
                    }
                    Event::RoleGranted(event) => {
                        change(tx, ROLE, event.account, &event.role).await?;
                        operators::granted(tx, event).await?;
                    }
                    Event::OperatorActed(event) => operators::acted(tx, event).await?,
                    Event::SessionOpened(event) => open_session(tx, event).await?,
                    Event::SessionClosed(event) => {
                        close_session(tx, event).await?;
                        operators::closed(tx, event).await?;
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }
}

async fn register(tx: &mut MySqlConnection, event: &AccountRegistered) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO accounts (id, name, lower_name, password_hash, email, registered_at) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(event.account.0)
    .bind(&event.name)
    .bind(event.name.to_ascii_lowercase())
    .bind(&event.password_hash)
    .bind(&event.email)
    .bind(event.at.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// Changes something of an account that is there, though it may be so already.
async fn change(
    tx: &mut MySqlConnection,
    sql: &'static str,
    account: AccountId,
    value: &str,
) -> Result<(), Fault> {
    let found = sqlx::query(sql)
        .bind(value)
        .bind(account.0)
        .execute(tx)
        .await?;
    if found.rows_affected() == 0 {
        return Fault::unfit(format!("no account {account}"));
    }
    Ok(())
}

async fn open_session(tx: &mut MySqlConnection, event: &SessionOpened) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO sessions (id, account, opened_at, expires_at, agent) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(event.session.0)
    .bind(event.account.0)
    .bind(event.at.millis())
    .bind(event.expires.millis())
    .bind(&event.agent)
    .execute(tx)
    .await?;
    Ok(())
}

/// Closing twice is closing once; the first time counts.
async fn close_session(tx: &mut MySqlConnection, event: &SessionClosed) -> Result<(), Fault> {
    let changed = sqlx::query(
        "UPDATE sessions SET closed_at = COALESCE(closed_at, ?) WHERE id = ? AND account = ?",
    )
    .bind(event.at.millis())
    .bind(event.session.0)
    .bind(event.account.0)
    .execute(tx)
    .await?;
    if changed.rows_affected() == 0 {
        return Fault::unfit(format!("no session {}", event.session));
    }
    Ok(())
}

// === Reads ===

pub async fn by_id(pool: &MySqlPool, account: AccountId) -> Result<Option<Account>> {
    let found = sqlx::query_as("SELECT * FROM accounts WHERE id = ?")
        .bind(account.0)
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

/// Any spelling of the name.
pub async fn by_name(pool: &MySqlPool, name: &str) -> Result<Option<Account>> {
    let found = sqlx::query_as("SELECT * FROM accounts WHERE lower_name = ?")
        .bind(name.to_ascii_lowercase())
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

/// Accounts whose names begin so, by name; of one role, if that is asked for.
pub async fn search(
    pool: &MySqlPool,
    begin: &str,
    role: Option<&str>,
    limit: u32,
) -> Result<Vec<Account>> {
    // `~` stands behind every character that a name may have.
    let found = sqlx::query_as(
        "SELECT * FROM accounts WHERE lower_name >= ? AND lower_name < CONCAT(?, '~') \
         AND (? OR role = ?) ORDER BY lower_name LIMIT ?",
    )
    .bind(begin.to_ascii_lowercase())
    .bind(begin.to_ascii_lowercase())
    .bind(role.is_none())
    .bind(role.unwrap_or_default())
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(found)
}

/// What these accounts are called beside their names, those who have such a name.
pub async fn display_names(
    pool: &MySqlPool,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, String)>> {
    let mut names = Vec::new();
    for some in accounts.chunks(NAMES) {
        // In one size, as each is a prepared statement.
        let places = vec!["?"; NAMES].join(", ");
        let sql = format!(
            "SELECT id, display_name FROM accounts WHERE display_name IS NOT NULL AND id IN ({places})"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for place in 0..NAMES {
            query = query.bind(some.get(place).unwrap_or(&some[0]).0);
        }
        for row in query.fetch_all(pool).await? {
            names.push((row::account(&row, "id")?, row.try_get("display_name")?));
        }
    }
    Ok(names)
}

/// Where an account is logged in now, the latest first.
pub async fn open_sessions(
    pool: &MySqlPool,
    account: AccountId,
    now: Timestamp,
) -> Result<Vec<Session>> {
    let found = sqlx::query_as(
        "SELECT * FROM sessions WHERE account = ? AND closed_at IS NULL AND expires_at > ? \
         ORDER BY opened_at DESC, id DESC LIMIT 100",
    )
    .bind(account.0)
    .bind(now.millis())
    .fetch_all(pool)
    .await?;
    Ok(found)
}

/// Whether the account logged in with this session and neither it nor time has ended it.
pub async fn session_is_open(pool: &MySqlPool, session: SessionId, now: Timestamp) -> Result<bool> {
    let open: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM sessions WHERE id = ? AND closed_at IS NULL AND expires_at > ?",
    )
    .bind(session.0)
    .bind(now.millis())
    .fetch_optional(pool)
    .await?;
    Ok(open.is_some())
}

impl FromRow<'_, MySqlRow> for Session {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Session> {
        Ok(Session {
            id: SessionId(row.try_get("id")?),
            opened_at: row::time(row, "opened_at")?,
            expires_at: row::time(row, "expires_at")?,
            agent: row.try_get("agent")?,
        })
    }
}

impl FromRow<'_, MySqlRow> for Account {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Account> {
        Ok(Account {
            id: row::account(row, "id")?,
            name: row.try_get("name")?,
            display_name: row.try_get("display_name")?,
            password_hash: row.try_get("password_hash")?,
            email: row.try_get("email")?,
            role: row.try_get("role")?,
            registered_at: row::time(row, "registered_at")?,
        })
    }
}

#[cfg(test)]
mod tests;
