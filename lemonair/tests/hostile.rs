//! Strangers' bytes on the WebSocket: whoever breaks the protocol is told how and loses the
//! connection, and nobody else notices.

mod support;

use serde_json::json;
use support::raw::{MASK, Raw, frame, request};
use support::viewer::Viewer;
use support::{Api, Deployment, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaking_the_protocol_is_answered_with_a_code() {
    let deployment = Deployment::new("hostile");
    let up = deployment.start("up").await;
    let sender = Api::sign_up(&up.http, "husk").await;
    let mut honest = Viewer::join(&up.ws(), "husk", sender.token.as_deref(), None).await;
    for (what, bytes, code) in [
        ("an unmasked frame", vec![0x81, 2, b'{', b'}'], 1002),
        ("a reserved bit", frame(0xc1, b"{}"), 1002),
        ("an unknown kind", frame(0x83, b"{}"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a fragmented ping", frame(0x09, b"?"), 1002),
        ("a stray continuation", frame(0x80, b"{}"), 1002),
        (
            "text in a text",
            [frame(0x01, b"{"), frame(0x81, b"}")].concat(),
            1002,
        ),
        ("a forbidden close code", frame(0x88, &[3, 237]), 1002),
        ("half a close code", frame(0x88, &[3]), 1002),
        ("not UTF-8", frame(0x81, &[b'"', 0xc0, 0xaf, b'"']), 1007),
        (
            "8 EiB",
            [&[0x81, 0xff, 0x7f][..], &[0xff; 7], &MASK].concat(),
            1009,
        ),
        (
            "fragments without end",
            [frame(0x01, b"{"), frame(0x00, b" ").repeat(100)].concat(),
            1009,
        ),
        (
            "fragments that grow too big",
            [frame(0x01, &[b' '; 8000]), frame(0x00, &[b' '; 8000])].concat(),
            1009,
        ),
        ("a goodbye", frame(0x88, &[3, 232]), 1000),
        (
            "a goodbye of the client's own",
            frame(0x88, &[0x0f, 0xa0, b'!']),
            4000,
        ),
    ] {
        let mut raw = Raw::shake(&up.http).await;
        raw.send(&bytes).await;
        assert_eq!(raw.closed().await, Some(code), "{what}");
    }
    assert_eq!(honest.chat("husk", "unharmed").await["type"], "ack");
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_but_lawful_clients_are_served() {
    let deployment = Deployment::new("odd");
    let up = deployment.start("up").await;
    let join = json!({ "type": "join", "id": "jö", "room": "odd" }).to_string();
    let joined = |frame: Option<(u8, Vec<u8>)>| {
        let (opcode, payload) = frame.expect("an answer");
        assert_eq!(opcode, 1);
        assert!(payload.starts_with(r#"{"type":"joined","id":"jö""#.as_bytes()));
    };

    // A byte at a time.
    let mut slow = Raw::shake(&up.http).await;
    for byte in frame(0x81, join.as_bytes()) {
        slow.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    joined(slow.frame().await);

    // In fragments that cut a character, with a ping between them.
    let mut cut = Raw::shake(&up.http).await;
    let (first, second) = join.as_bytes().split_at(join.find('ö').expect("it") + 1);
    cut.send(
        &[
            frame(0x01, first),
            frame(0x89, b"beat"),
            frame(0x80, second),
        ]
        .concat(),
    )
    .await;
    assert_eq!(cut.frame().await, Some((10, b"beat".to_vec())));
    joined(cut.frame().await);

    // The first request together with the handshake.
    let mut eager = Raw::open(&up.http).await;
    let handshake = request("GET", "13", "dGhlIHNhbXBsZSBub25jZQ==");
    eager
        .send(&[handshake.as_bytes(), &frame(0x81, join.as_bytes())].concat())
        .await;
    assert!(eager.head().await.starts_with("HTTP/1.1 101"));
    joined(eager.frame().await);

    for (method, version, key, status) in [
        ("GET", "12", "dGhlIHNhbXBsZSBub25jZQ==", "426"),
        ("GET", "13", "short", "400"),
        ("POST", "13", "dGhlIHNhbXBsZSBub25jZQ==", "400"),
    ] {
        let mut refused = Raw::open(&up.http).await;
        refused.send(request(method, version, key).as_bytes()).await;
        let head = refused.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_ends_only_its_own_connection() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let deployment = Deployment::new("noise");
    let up = deployment.start("up").await;
    let mut honest = Viewer::join(&up.ws(), "noise", None, None).await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..200 {
        let mut raw = Raw::shake(&up.http).await;
        for _ in 0..random.random_range(1..20) {
            // Half of them lawful frames with noise inside, so that some get further.
            let noise: Vec<u8> = (0..random.random_range(0..200))
                .map(|_| random.random())
                .collect();
            let lawful = random.random_bool(0.5);
            let bytes = if lawful {
                frame([0x81, 0x01, 0x80, 0x89][random.random_range(0..4)], &noise)
            } else {
                noise
            };
            raw.send(&bytes).await;
        }
    }
    let pong = honest.ask(json!({ "type": "ping", "id": 1 })).await;
    assert_eq!(pong["type"], "pong");
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_closed_and_costs_the_others_nothing() {
    let deployment = Deployment::new("deaf");
    let up = deployment.start("up").await;
    let token = deployment.run(&["token", "robot"]).await;
    let mut talker = Viewer::join(&up.ws(), "deaf", Some(token.trim()), None).await;
    let mut deaf = Raw::shake(&up.http).await;
    deaf.send(&frame(0x81, br#"{"type":"join","room":"deaf"}"#))
        .await;
    assert!(deaf.frame().await.is_some(), "it is in");
    let text = "🍋".repeat(500);
    for batch in 0..25 {
        for n in 0..40 {
            talker
                .send(json!({ "type": "chat", "id": [batch, n], "room": "deaf", "text": text }))
                .await;
        }
        for n in 0..40 {
            assert_eq!(talker.answer(&json!([batch, n])).await["type"], "ack");
        }
    }
    assert_eq!(talker.closed, None);
    // The talker alone is left: a goodbye that nobody reads is given up too. It was not given up for being
    // silent, or what waits for it could have grown until then.
    let api = Api::new(&up.http);
    eventually("the deaf one is given up as too slow", async || {
        let metrics = api.get("/metrics").await;
        let lines: Vec<&str> = metrics.as_str()?.lines().collect();
        let told = ["lemonair_connections 1", "lemonair_too_slow_total 1"];
        told.iter().all(|line| lines.contains(line)).then_some(())
    })
    .await;
    let code = deaf.closed().await;
    assert!(matches!(code, None | Some(4508)), "{code:?}");
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_takes_no_more_than_its_places() {
    let deployment = Deployment::new("places")
        .with("LEMONAIR_CONNECTIONS_PER_ADDRESS", "3")
        .with("LEMONAIR_BALANCERS", "[]");
    let up = deployment.start("up").await;
    let first = Raw::shake(&up.http).await;
    let mut second = Raw::shake(&up.http).await;
    let idle = Raw::open(&up.http).await;
    // Whatever the fourth wants: a socket, or a page.
    for ask in [
        request("GET", "13", "dGhlIHNhbXBsZSBub25jZQ=="),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let mut refused = Raw::open(&up.http).await;
        refused.send(ask.as_bytes()).await;
        let head = refused.head().await;
        assert!(head.starts_with("HTTP/1.1 429"), "{head}");
        while refused.more().await {}
        assert!(String::from_utf8_lossy(&refused.read).contains("too_many_connections"));
    }
    // Those who are in are served, and who leaves makes room: without a goodbye, and with one.
    second.send(&frame(0x89, b"?")).await;
    assert_eq!(second.frame().await, Some((10, b"?".to_vec())));
    drop((first, idle));
    let api = Api::new(&up.http);
    let metrics = eventually("there is a place again", async || {
        let (status, metrics) = api.send("GET", "/metrics", None, &[]).await;
        (status == 200).then(|| metrics.as_str().unwrap_or_default().to_owned())
    })
    .await;
    let refused = metrics
        .lines()
        .find(|line| line.starts_with("lemonair_connections_refused_total "));
    let count = refused.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    assert!(count.is_some_and(|count| count >= 2), "{refused:?}");
    drop(second);
    assert_eq!(up.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_has_its_limit() {
    let deployment = Deployment::new("head");
    let up = deployment.start("up").await;
    let handshake = |cookie: usize| {
        let ask = request("GET", "13", "dGhlIHNhbXBsZSBub25jZQ==");
        let cookie = format!("Cookie: {}\r\n\r\n", "c".repeat(cookie));
        ask.strip_suffix("\r\n").expect("an end").to_owned() + &cookie
    };
    for (cookie, status) in [(7_000, "101"), (20_000, "431")] {
        let mut raw = Raw::open(&up.http).await;
        raw.send(handshake(cookie).as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }
    assert_eq!(up.stop().await, Some(0));
}
