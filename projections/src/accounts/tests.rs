use lemonair_schemas::account::{RoleGranted, SessionClosed, SessionOpened};
use lemonair_schemas::{EventId, SessionId};

use super::*;
use crate::scratch::{Scratch, actor, at, registered};

fn granted(name: &str, role: &str) -> RoleGranted {
    RoleGranted {
        id: EventId::new(),
        at: at(1),
        account: actor(name).id,
        actor: None,
        role: role.to_owned(),
    }
}

#[tokio::test]
async fn an_account_is_found_by_id_and_by_any_spelling() {
    let db = Scratch::new().await;
    db.given(&Accounts, &[registered("Mint").into()]).await;
    let account = by_name(&db.pool, "mINT").await.unwrap().unwrap();
    assert_eq!(account.name, "Mint");
    assert_eq!(account.role, "viewer");
    assert_eq!(account.password_hash.as_deref(), Some("$argon2id$"));
    assert_eq!(account.registered_at, at(0));
    let same = by_id(&db.pool, actor("Mint").id).await.unwrap();
    assert_eq!(same, Some(account));
    assert_eq!(by_name(&db.pool, "lime").await.unwrap(), None);
}

#[tokio::test]
async fn a_role_is_granted_to_who_is_there() {
    let db = Scratch::new().await;
    let events = [
        registered("mint").into(),
        granted("mint", "operator").into(),
    ];
    db.given(&Accounts, &events).await;
    let account = by_name(&db.pool, "mint").await.unwrap().unwrap();
    assert_eq!(account.role, "operator");
    let refusal = db
        .refusal(&Accounts, &[granted("lime", "operator").into()])
        .await;
    assert!(refusal.starts_with("no account"), "{refusal}");
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let db = Scratch::new().await;
    db.given(&Accounts, &[registered("mint").into()]).await;
    let mut other = registered("lime");
    other.name = "MINT".to_owned();
    let refusal = db.refusal(&Accounts, &[other.into()]).await;
    assert!(refusal.contains("Duplicate"), "{refusal}");
}

#[tokio::test]
async fn a_session_ends_by_log_out_or_by_time() {
    let db = Scratch::new().await;
    let session = SessionId::new();
    let opened = SessionOpened {
        id: EventId::new(),
        at: at(0),
        account: actor("mint").id,
        actor: None,
        session,
        expires: at(100),
        agent: Some("Mozilla/5.0".to_owned()),
    };
    db.given(&Accounts, &[opened.into()]).await;
    let listed = open_sessions(&db.pool, actor("mint").id, at(99))
        .await
        .unwrap();
    assert_eq!(listed[0].agent.as_deref(), Some("Mozilla/5.0"));
    let open = async |now| session_is_open(&db.pool, session, now).await.unwrap();
    assert!(open(at(99)).await);
    assert!(!open(at(100)).await);
    let closed = SessionClosed {
        id: EventId::new(),
        at: at(5),
        account: actor("mint").id,
        actor: None,
        session,
    };
    db.given(&Accounts, &[closed.clone().into(), closed.into()])
        .await;
    assert!(!open(at(6)).await);
}
