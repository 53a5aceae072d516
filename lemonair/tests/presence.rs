//! How many watch, over several gateways.

mod support;

use support::viewer::Viewer;
use support::{Api, Deployment, Lemonair, eventually};

async fn watch(at: &Lemonair, room: &str, count: usize) -> Vec<Viewer> {
    let mut viewers = Vec::new();
    for _ in 0..count {
        viewers.push(Viewer::join(&at.ws(), room, None, None).await);
    }
    viewers
}

/// As the API says.
async fn counted(at: &Lemonair) -> u64 {
    let channel = Api::new(&at.http).get("/api/channels/mint").await;
    let stats = Api::new(&at.http).get("/api/channels/mint/stats").await;
    assert!(stats["viewers"].is_u64(), "{stats}");
    channel["viewers"].as_u64().expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_gateways_count_together_and_a_dead_one_is_forgotten() {
    let deployment = Deployment::new("presence");
    let up = deployment.start("up").await;
    let mut other = deployment.start("gateway").await;
    Api::sign_up(&up.http, "mint").await;
    let mut here = watch(&up, "mint", 2).await;
    let mut there = watch(&other, "mint", 3).await;
    let elsewhere = watch(&other, "lime", 1).await;
    for viewer in here.iter_mut().chain(&mut there) {
        viewer.until_viewers(5).await;
    }
    assert_eq!((counted(&up).await, counted(&other).await), (5, 5));

    // One that starts later knows at once, or at least soon, and its viewers are counted too.
    let third = deployment.start("gateway").await;
    eventually("the third gateway knows", async || {
        (counted(&third).await == 5).then_some(())
    })
    .await;
    let late = watch(&third, "mint", 1).await;
    assert_eq!(late[0].viewers, 6);
    here[0].until_viewers(6).await;
    // A viewer who leaves is gone everywhere; a gateway that ends takes its viewers with it.
    drop(there.pop());
    here[0].until_viewers(5).await;
    assert_eq!(third.stop().await, Some(0));
    here[0].until_viewers(4).await;

    // A gateway dies as machines do: it cannot say so, and is forgotten all the same.
    other.kill().await;
    here[0].until_viewers(2).await;
    assert_eq!(counted(&up).await, 2);
    // Nor does one that starts now count the dead.
    let fourth = deployment.start("gateway").await;
    eventually("the fourth gateway knows who is alive", async || {
        (counted(&fourth).await == 2).then_some(())
    })
    .await;
    let last = watch(&fourth, "mint", 1).await;
    assert_eq!(last[0].viewers, 3);
    drop((there, elsewhere));

    // What was told can be read later: records of the room, from every gateway, and not one a viewer.
    let told = deployment
        .replay(&["lemonair.presence", "--room", "mint"])
        .await;
    let tells_three = |event: &serde_json::Value| {
        let rooms = event["rooms"].as_array().expect("a list");
        rooms
            .iter()
            .any(|one| one["room"] == "mint" && one["viewers"] == 3)
    };
    assert!(told.iter().any(tells_three), "{told:?}");
    assert!(told.iter().all(|event| event["type"] == "viewers.counted"));
    assert_eq!(fourth.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}
