//! Who gets in: every kind of page, token and room together, at two gateways. None gets in who must not.

mod support;

use std::time::Duration;

use futures::{StreamExt, stream};
use lemonair_gateway::token::{Audience, Claims, Tokens};
use lemonair_schemas::{AccountId, SessionId, Timestamp};
use serde_json::json;
use support::viewer::Viewer;
use support::{Api, Deployment};

const SECRET: &str = "a secret of this test, which is long enough";

/// How far somebody gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gets {
    /// No WebSocket.
    Nothing,
    NoRoom,
    /// Closed with 4401.
    NoToken,
    /// Closed with 4403.
    Banned,
    Reads,
    Chats,
}

/// What is presented, and how far that may get.
#[derive(Clone)]
struct Token {
    what: &'static str,
    token: Option<String>,
    gets: Gets,
    /// Is banned from the room `mint`.
    banned: bool,
}

#[derive(Debug, Clone)]
struct Case {
    gateway: String,
    origin: Option<String>,
    welcome: bool,
    room: &'static str,
}

impl Case {
    /// What must come of it: the first that is in the way decides.
    fn expected(&self, token: &Token) -> Gets {
        match token {
            _ if !self.welcome => Gets::Nothing,
            _ if self.room == "no room" => Gets::NoRoom,
            Token { banned: true, .. } if self.room == "mint" => Gets::Banned,
            Token { gets, .. } => *gets,
        }
    }

    async fn attempt(&self, token: &Token) -> Gets {
        let Some(mut viewer) = Viewer::from_page(&self.gateway, self.origin.as_deref()).await
        else {
            return Gets::Nothing;
        };
        let mut join = json!({ "type": "join", "id": 1, "room": self.room });
        if let Some(token) = &token.token {
            join["token"] = token.as_str().into();
        }
        let joined = viewer.ask(join).await;
        match (joined["type"].as_str(), joined["code"].as_str()) {
            (Some("joined"), _) => {}
            (_, Some("no_such_room")) => return Gets::NoRoom,
            (_, Some("unauthorized")) => {
                assert_eq!(viewer.until_closed().await, Some(4401));
                return Gets::NoToken;
            }
            (_, Some("banned")) => {
                assert_eq!(viewer.until_closed().await, Some(4403));
                return Gets::Banned;
            }
            _ => panic!("{joined}"),
        }
        let said = viewer.chat(self.room, "hello").await;
        match (said["type"].as_str(), said["code"].as_str()) {
            (Some("ack"), _) => Gets::Chats,
            (_, Some("unauthorized")) => Gets::Reads,
            _ => panic!("{said}"),
        }
    }
}

/// Another header, payload or signature in a token.
fn swapped(token: &str, with: &str, part: usize) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[part] = with.split('.').nth(part).unwrap_or_default();
    parts.join(".")
}

/// Every kind of token that somebody may come with.
async fn tokens(at: &str) -> Vec<Token> {
    let ours = Tokens::new(SECRET.as_bytes());
    let sign = |tokens: &Tokens, change: &dyn Fn(&mut Claims)| {
        let (id, now, hour) = (
            AccountId::new(),
            Timestamp::now(),
            Duration::from_secs(3600),
        );
        let mut claims = Claims::new(Audience::Access, id, "script", "viewer", now, hour);
        change(&mut claims);
        tokens.sign(&claims).expect("sign")
    };
    let good = sign(&ours, &|_| {});
    let operator = sign(&Tokens::new(b"guessed"), &|claims| {
        "operator".clone_into(&mut claims.role)
    });
    // {"alg":"none","typ":"JWT"} and {"alg":"HS384","typ":"JWT"}
    let none = swapped(&good, "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", 0);
    let other_algorithm = swapped(&good, "eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9", 0);
    let viewer = Api::sign_up(at, "viewer").await;
    let streamer = Api::sign_up(at, "mint").await;
    Api::sign_up(at, "lime").await;
    let gone = Api::sign_up(at, "gone").await;
    assert_eq!(gone.send("DELETE", "/api/sessions", None, &[]).await.0, 204);
    let banned = Api::sign_up(at, "banned").await;
    let ban = "/api/channels/mint/bans/banned";
    assert_eq!(streamer.send("PUT", ban, None, &[]).await.0, 204);

    let token = |what, token: Option<String>, gets| Token {
        what,
        token,
        gets,
        banned: false,
    };
    let some = |what, text: String| token(what, Some(text), Gets::NoToken);
    vec![
        token("none", None, Gets::Reads),
        token("of a viewer", viewer.token, Gets::Chats),
        token("of a streamer", streamer.token, Gets::Chats),
        token("of a script", Some(good.clone()), Gets::Chats),
        Token {
            banned: true,
            ..token("of somebody banned", banned.token, Gets::Chats)
        },
        token("of somebody logged out", gone.token, Gets::NoToken),
        some(
            "of a session that never was",
            sign(&ours, &|claims| claims.sid = Some(SessionId::new())),
        ),
        some(
            "expired",
            sign(&ours, &|claims| claims.exp = claims.iat - 3600),
        ),
        some(
            "for renewing only",
            sign(&ours, &|claims| claims.aud = Audience::Refresh),
        ),
        some(
            "of another service",
            sign(&ours, &|claims| "other".clone_into(&mut claims.iss)),
        ),
        some("signed by another", operator.clone()),
        some("with another payload", swapped(&good, &operator, 1)),
        some("with another signature", swapped(&good, &operator, 2)),
        some("without a signature", swapped(&good, "", 2)),
        some("of no algorithm", none.clone()),
        some(
            "of no algorithm, without a signature",
            swapped(&none, "", 2),
        ),
        some("of another algorithm", other_algorithm),
        some("empty", String::new()),
        some("noise", "a.b.c".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_gets_in_who_must_not() {
    let deployment = Deployment::new("entry")
        .with("LEMONAIR_SECRET", SECRET)
        .with("LEMONAIR_ORIGINS", r#"["https://friend.example"]"#)
        .with("LEMONAIR_CHAT_PER_SECOND", "10000")
        .with("LEMONAIR_CHAT_BURST", "10000");
    let up = deployment.start("up").await;
    let other = deployment.start("gateway").await;
    let tokens = tokens(&up.http).await;
    let mut cases = Vec::new();
    for at in [&up, &other] {
        let origins = [
            (None, true),
            (Some(at.http.clone()), true),
            (Some("https://friend.example".to_owned()), true),
            (
                Some("https://friend.example.evil.example".to_owned()),
                false,
            ),
            (Some("http://friend.example".to_owned()), false),
            (Some("https://stranger.example".to_owned()), false),
            (Some(format!("{}0", at.http)), false),
            (Some("null".to_owned()), false),
        ];
        for (origin, welcome) in origins {
            for room in ["mint", "lime", "no room"] {
                cases.push(Case {
                    gateway: at.ws(),
                    origin: origin.clone(),
                    welcome,
                    room,
                });
            }
        }
    }
    let every = cases
        .iter()
        .flat_map(|case| tokens.iter().map(move |token| (case, token)));
    assert!(every.clone().count() >= 500);
    let wrong = stream::iter(every)
        .map(async |(case, token)| (case, token, case.attempt(token).await))
        .buffer_unordered(8)
        .filter_map(async |(case, token, got)| {
            let expected = case.expected(token);
            (got != expected)
                .then(|| format!("{case:?}, token {}: {got:?}, not {expected:?}", token.what))
        })
        .collect::<Vec<String>>()
        .await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(other.stop().await, Some(0));
    assert_eq!(up.stop().await, Some(0));
}
