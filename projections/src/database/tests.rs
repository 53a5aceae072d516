use futures::future::join_all;

use super::*;
use crate::scratch::{Scratch, setting};

#[tokio::test]
async fn many_processes_may_start_at_once_on_nothing() {
    let db = Scratch::new().await;
    let drop = format!("DROP DATABASE {}", db.url.rsplit_once('/').unwrap().1);
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&db.pool)
        .await
        .unwrap();
    let pools = join_all((0..6).map(|_| connect(&db.url, 2))).await;
    let all = sqlx::migrate!("../migrations").iter().count();
    for pool in pools {
        let applied: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations WHERE success")
                .fetch_one(&pool.unwrap())
                .await
                .unwrap();
        assert_eq!(usize::try_from(applied).unwrap(), all);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named_without_its_password() {
    let url = "mysql://somebody:secret@127.0.0.1:1/lemonair";
    let error = connect(url, 1).await.unwrap_err().to_string();
    assert!(
        error.starts_with("database mysql://somebody@127.0.0.1:1/lemonair cannot be used"),
        "{error}"
    );
    let (server, _) = setting("DATABASE_URL", "database_url")
        .rsplit_once('/')
        .map(|(server, name)| (server.to_owned(), name.to_owned()))
        .unwrap();
    let error = connect(&server, 1).await.unwrap_err().to_string();
    assert!(error.contains("names no database"), "{error}");
}

#[tokio::test]
async fn a_lock_is_freed_when_its_connection_ends() {
    let db = Scratch::new().await;
    let mut first = db.pool.acquire().await.unwrap().detach();
    let mut second = db.pool.acquire().await.unwrap();
    let soon = Duration::ZERO;
    assert!(lock(&mut first, "x", soon).await.unwrap());
    assert!(!lock(&mut second, "x", soon).await.unwrap());
    assert!(lock(&mut second, "y", soon).await.unwrap());
    drop(first);
    let patience = Duration::from_secs(30);
    assert!(lock(&mut second, "x", patience).await.unwrap());
}
