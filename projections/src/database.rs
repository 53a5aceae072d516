//! The pool; the database and its tables are made here.

use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, MySqlPool};

use crate::{Error, Result};

/// How long a process waits while another one brings the tables up to date.
const MIGRATION: Duration = Duration::from_secs(600);

/// Connects, creating the database if it is missing and bringing its tables up to date. Safe when
/// several processes start at once.
pub async fn connect(url: &str, most_connections: u32) -> Result<MySqlPool> {
    let options = options(url)?;
    let unreachable = |source| Error::Unreachable {
        url: plain(&options),
        source,
    };
    let mut connection = match options.connect().await {
        Ok(connection) => connection,
        Err(error) if is_missing_database(&error) => {
            let without = MySqlConnectOptions::from_str(url)?.database("");
            create(without, name(&options))
                .await
                .map_err(&unreachable)?;
            options.connect().await.map_err(&unreachable)?
        }
        Err(error) => return Err(unreachable(error)),
    };
    migrate(&mut connection).await?;
    connection.close().await?;
    Ok(pool(options, most_connections))
}

/// Whether the server answers.
pub async fn ping(pool: &MySqlPool) -> Result<()> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}

/// What the server calls itself.
pub async fn version(pool: &MySqlPool) -> Result<String> {
    Ok(sqlx::query_scalar("SELECT VERSION()")
        .fetch_one(pool)
        .await?)
}

/// A pool that connects when it is used.
pub(crate) fn pool(options: MySqlConnectOptions, most_connections: u32) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(most_connections)
        .acquire_timeout(Duration::from_secs(5))
        // In place of a ping, and as cheap: a connection whose database was dropped has none, even
        // when it was created again meanwhile.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                let database: Option<String> = sqlx::query_scalar("SELECT DATABASE()")
                    .fetch_one(connection)
                    .await?;
                Ok(database.is_some())
            })
        })
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options)
}

/// A connection of its own, whose end frees its locks: in the pool's database or in another.
pub(crate) async fn connect_to(
    pool: &MySqlPool,
    database: Option<&str>,
) -> sqlx::Result<MySqlConnection> {
    let mut options = pool.connect_options().as_ref().clone();
    if let Some(database) = database {
        options = options.database(database);
    }
    let mut connection = options.connect().await?;
    prepare(&mut connection).await?;
    // A rebuild that somebody holds over the weekend still has its locks on Monday.
    sqlx::raw_sql("SET SESSION wait_timeout = 2000000")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// What every connection has, whatever the server's own settings: faulty data is refused instead of
/// bent, and locks are taken on rows only, not on the gaps between them, which two processes that
/// insert side by side would block each other on.
async fn prepare(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'); \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn options(url: &str) -> Result<MySqlConnectOptions> {
    let options = MySqlConnectOptions::from_str(url)?
        .charset("utf8mb4")
        .collation("utf8mb4_bin");
    if name(&options).is_empty() {
        let cause = "database_url names no database: mysql://user:password@host:3306/lemonair";
        return Err(sqlx::Error::Configuration(cause.into()).into());
    }
    Ok(options)
}

fn name(options: &MySqlConnectOptions) -> &str {
    options.get_database().unwrap_or_default()
}

/// The address without the password.
fn plain(options: &MySqlConnectOptions) -> String {
    let (user, host, port) = (
        options.get_username(),
        options.get_host(),
        options.get_port(),
    );
    format!("mysql://{user}@{host}:{port}/{}", name(options))
}

/// Unknown database.
fn is_missing_database(error: &sqlx::Error) -> bool {
    number(error) == Some(1049)
}

/// The server's number of an error.
pub(crate) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(
        error
            .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?
            .number(),
    )
}

async fn create(options: MySqlConnectOptions, database: &str) -> sqlx::Result<()> {
    let mut connection = options.connect().await?;
    create_database(&mut connection, database).await?;
    connection.close().await
}

pub(crate) async fn create_database(
    connection: &mut MySqlConnection,
    database: &str,
) -> sqlx::Result<()> {
    let database = quote(database);
    let sql = format!(
        "CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}

/// sqlx would lock with a negative timeout, which MariaDB does not take and answers with no lock.
async fn migrate(connection: &mut MySqlConnection) -> Result<()> {
    if !lock(connection, "migrate", MIGRATION).await? {
        return Err(Error::Busy("the tables are being brought up to date"));
    }
    let mut migrations = sqlx::migrate!("../migrations");
    migrations.set_locking(false);
    // An older program beside a newer one goes on working with what it knows.
    migrations.set_ignore_missing(true);
    migrations.run_direct(None, connection, false).await?;
    unlock(connection, "migrate").await?;
    Ok(())
}

/// Takes a lock that the server frees when this connection ends, however it ends. It is of this
/// database alone. False if somebody else still has it after `patience`.
pub(crate) async fn lock(
    connection: &mut MySqlConnection,
    name: &str,
    patience: Duration,
) -> sqlx::Result<bool> {
    // Lock names are of the whole server, and at most 64 characters long.
    let locked: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT(LEFT(SHA1(DATABASE()), 16), '.', ?), ?)")
            .bind(name)
            .bind(patience.as_secs())
            .fetch_one(connection)
            .await?;
    Ok(locked == Some(1))
}

/// Whether nobody has it.
pub(crate) async fn is_free(connection: &mut MySqlConnection, name: &str) -> sqlx::Result<bool> {
    let free: Option<i64> =
        sqlx::query_scalar("SELECT IS_FREE_LOCK(CONCAT(LEFT(SHA1(DATABASE()), 16), '.', ?))")
            .bind(name)
            .fetch_one(connection)
            .await?;
    Ok(free == Some(1))
}

pub(crate) async fn unlock(connection: &mut MySqlConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query("DO RELEASE_LOCK(CONCAT(LEFT(SHA1(DATABASE()), 16), '.', ?))")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

/// A name as it stands in SQL.
pub(crate) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests;
