use lemonair_schemas::Erased;
use lemonair_testkit::within;

use super::*;
use crate::chatters::Chatters;
use crate::checkpoint::claim;
use crate::commit::Batch;
use crate::messages::Messages;
use crate::moderation::Moderation;
use crate::scratch::Scratch;

const LONG: Duration = Duration::from_secs(30);

fn at(offset: i64) -> Position {
    Position {
        topic: Topic::Chat,
        partition: 0,
        offset,
    }
}

async fn advance(db: &Scratch, to: i64) {
    advance_one(db, &Messages, to).await;
}

async fn advance_one(db: &Scratch, projection: &dyn Projection, to: i64) {
    let claims = claim(&db.pool, projection, &[(Topic::Chat, 0)])
        .await
        .unwrap();
    let batch = Batch::new(&claims, [], &[at(to)]);
    let mut connection = db.pool.acquire().await.unwrap();
    batch
        .commit(&mut connection, projection, &Erased::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn who_waits_is_told_when_the_record_is_behind_the_checkpoint() {
    let db = Scratch::new().await;
    let checkpoints = Checkpoints::start(db.pool.clone());
    advance(&db, 5).await;
    assert!(checkpoints.wait("messages", at(4), LONG).await);
    let soon = Duration::from_millis(30);
    assert!(!checkpoints.wait("messages", at(5), soon).await);
    assert!(!checkpoints.wait("nothing", at(0), LONG).await);

    let many = (5..300).map(|offset| checkpoints.wait("messages", at(offset), LONG));
    let (reached, ()) = within("the waiters", async {
        tokio::join!(join_all(many), advance(&db, 300))
    })
    .await;
    assert!(reached.into_iter().all(|reached| reached));
    assert!(checkpoints.waiters.lock().is_empty());
    assert!(!checkpoints.wait_all(&[at(299), at(0)], soon).await);
    for projection in [&Moderation as &dyn Projection, &Chatters] {
        advance_one(&db, projection, 300).await;
    }
    assert!(checkpoints.wait_all(&[at(299), at(0)], LONG).await);
}

#[tokio::test]
async fn nobody_waits_for_ever_for_a_database_that_is_gone() {
    let db = Scratch::new().await;
    let checkpoints = Checkpoints::start(db.pool.clone());
    sqlx::query("DROP TABLE messages_checkpoint")
        .execute(&db.pool)
        .await
        .unwrap();
    assert!(
        !checkpoints
            .wait("messages", at(0), Duration::from_millis(50))
            .await
    );
}
