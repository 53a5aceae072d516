//! Somebody is erased: no reader finds their name or their words any more, and the sums stay right.

mod support;

use lemonair_schemas::RoomId;
use serde_json::json;
use support::viewer::Viewer;
use support::{Api, Deployment, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_is_read_of_no_more() {
    let deployment = Deployment::new("erase");
    let mut up = deployment.start("up").await;
    let streamer = Api::sign_up(&up.http, "berry").await;
    let leaver = Api::sign_up(&up.http, "Quince").await;
    leaver
        .send(
            "POST",
            "/api/wallet/top-ups",
            Some(json!({ "amount": 100 })),
            &[("Idempotency-Key", "t")],
        )
        .await;
    let (status, donation) = leaver.donate("berry", 40, "d").await;
    assert_eq!(status, 201, "{donation}");
    let mut talker = Viewer::join(&up.ws(), "berry", leaver.token.as_deref(), None).await;
    let mut viewer = Viewer::join(&up.ws(), "berry", streamer.token.as_deref(), None).await;
    let before = viewer.cursor.clone();
    talker.chat("berry", "my secret recipe").await;
    viewer.chat("berry", "that was nice").await;
    viewer
        .until("it", |event| event["text"] == "that was nice")
        .await;
    let own = Viewer::join(&up.ws(), "quince", None, None).await;
    drop(own);

    let refused = deployment.refused(&["account", "erase", "quince"]).await;
    assert!(refused.contains("nothing was erased"), "{refused}");
    let proof = deployment
        .run(&["account", "erase", "quince", "--yes"])
        .await;
    assert!(proof.contains("0 columns still hold"), "{proof}");
    assert!(proof.contains("0 of them still name it"), "{proof}");

    // Run again, by whichever name, it asks nothing, proves the same, and takes no row away.
    let pseudonym = {
        let mut words = proof.split_whitespace();
        words.find(|word| word.starts_with("erased-"))
    };
    for name in ["Quince", pseudonym.expect("what stands in its place")] {
        let again = deployment.run(&["account", "erase", name]).await;
        assert!(again.contains("0 columns still hold"), "{again}");
        assert!(again.contains("0 of them still name it"), "{again}");
    }
    for model in ["channels", "stream_keys"] {
        let said = deployment.run(&["rebuild", model, "--verify-only"]).await;
        assert!(said.contains("equal to the live model"), "{said}");
    }

    // At once, for who is connected and who comes back.
    assert_eq!(talker.until_closed().await, Some(4401));
    let says = |text: &str| {
        let text = text.to_lowercase();
        text.contains("quince") || text.contains("secret recipe")
    };
    let silent = async |since: Option<&str>| {
        eventually("the room has forgotten", async || {
            let back = Viewer::join(&up.ws(), "berry", None, since).await;
            let forgotten = !back.seen.iter().any(|event| says(&event.to_string()));
            (forgotten && back.texts() == ["that was nice"]).then_some(())
        })
        .await;
    };
    silent(None).await;
    silent(Some(&before)).await;

    // Nobody gets in, and the room is gone.
    let (status, _) = leaver.send("GET", "/api/wallet", None, &[]).await;
    assert_eq!(status, 401);
    let login = json!({ "name": "quince", "password": "correct horse battery" });
    let (status, _) = leaver.send("POST", "/api/sessions", Some(login), &[]).await;
    assert_eq!(status, 401);
    let (status, _) = streamer
        .send("GET", "/api/channels/quince", None, &[])
        .await;
    assert_eq!(status, 404);

    // What is left of the room is not listed, and is given nothing.
    let leaver_id = donation["from"]["id"].as_str().expect("an id");
    let left = RoomId::of_erased(leaver_id.parse().expect("an id"));
    let listed = streamer.get("/api/channels").await.to_string();
    assert!(
        listed.contains("berry") && !listed.contains(left.as_str()),
        "{listed}"
    );
    let (status, _) = streamer.donate(left.as_str(), 1, "e").await;
    assert_eq!(status, 404);

    // Read models, now and made anew; the topics, by every reader; sums as before.
    up.kill().await;
    let up = deployment.start("up").await;
    let check = async |when: &str| {
        for path in ["messages", "donations", "donations/rank", "stats"] {
            let found = streamer_at(&streamer, &up.http)
                .get(&format!("/api/channels/berry/{path}"))
                .await;
            assert!(!says(&found.to_string()), "{when}: {path}: {found}");
        }
        let donations = streamer_at(&streamer, &up.http)
            .get("/api/channels/berry/donations")
            .await;
        assert_eq!(donations["donations"][0]["amount"], 40, "{donations}");
    };
    check("live").await;
    deployment.run(&["rebuild", "all", "--fresh"]).await;
    check("rebuilt").await;
    let topics = [
        "chat",
        "donations",
        "streams",
        "channels",
        "accounts",
        "ledger",
        "erasures",
    ];
    let lines = deployment.replay(&topics).await;
    assert!(lines.len() > 10);
    for line in lines {
        assert!(!says(&line.to_string()), "{line}");
    }
    assert_eq!(up.stop().await, Some(0));
}

/// The same person, where the gateway is now.
fn streamer_at(api: &Api, base: &str) -> Api {
    Api {
        base: base.to_owned(),
        ..api.clone()
    }
}
