//! Access and refresh tokens: JSON Web Tokens signed by the deployment's secret (RFC 7519); and the
//! keys of overlays, made of the same secret.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use lemonair_schemas::{AccountId, EventId, RoomId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

const ISSUER: &str = "lemonair";
/// Clocks may differ by so much.
const LEEWAY: u64 = 30;
/// An access token is renewed by the refresh token long before anybody minds.
pub const ACCESS: Duration = Duration::from_secs(15 * 60);
/// A session ends when it was not renewed for so long.
pub const REFRESH: Duration = Duration::from_secs(30 * 24 * 3600);

/// How the keys of overlays begin.
pub const OVERLAY_KEY: &str = "overlay_";
/// 192 bits, as of a stream key.
const OVERLAY_BYTES: usize = 24;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    Access,
    Refresh,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: Audience,
    /// Whose it is.
    pub sub: AccountId,
    pub name: String,
    /// Role for the whole site.
    pub role: String,
    /// The log-in that it belongs to; tokens made on the server's shell have none.
    pub sid: Option<SessionId>,
    /// Not subject to rate limits: for scripts, made on the server's shell.
    #[serde(default)]
    pub unlimited: bool,
    /// Seconds since 1970.
    pub iat: i64,
    pub exp: i64,
}

/// Signs and checks tokens.
pub struct Tokens {
    sign: EncodingKey,
    check: DecodingKey,
    overlays: Hmac<Sha256>,
}

#[derive(Debug, thiserror::Error)]
#[error("the token is not valid ({0}); log in again")]
pub struct BadToken(String);

impl Claims {
    pub fn new(
        aud: Audience,
        sub: AccountId,
        name: &str,
        role: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Claims {
        Claims {
            iss: ISSUER.to_owned(),
            aud,
            sub,
            name: name.to_owned(),
            role: role.to_owned(),
            sid: None,
            unlimited: false,
            iat: now.millis() / 1000,
            exp: now.plus(ttl).millis() / 1000,
        }
    }
}

impl Tokens {
    pub fn new(secret: &[u8]) -> Tokens {
        Tokens {
            sign: EncodingKey::from_secret(secret),
            check: DecodingKey::from_secret(secret),
            overlays: <Hmac<Sha256> as Mac>::new_from_slice(secret)
                .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")),
        }
    }

    /// The key that opens a room's overlay. It can be shown again and stands nowhere: it follows from
    /// the secret and from the event that made it, the first one from none.
    pub fn overlay_key(&self, room: &RoomId, made_by: Option<EventId>) -> String {
        let code = self.overlay_code(room, made_by).finalize().into_bytes();
        format!(
            "{OVERLAY_KEY}{}",
            URL_SAFE_NO_PAD.encode(&code[..OVERLAY_BYTES])
        )
    }

    /// Takes the same time wherever a wrong key is wrong.
    pub fn is_overlay_key(&self, key: &str, room: &RoomId, made_by: Option<EventId>) -> bool {
        let Some(code) = key.strip_prefix(OVERLAY_KEY) else {
            return false;
        };
        let Ok(code) = URL_SAFE_NO_PAD.decode(code) else {
            return false;
        };
        let expected = self.overlay_code(room, made_by);
        code.len() == OVERLAY_BYTES && expected.verify_truncated_left(&code).is_ok()
    }

    fn overlay_code(&self, room: &RoomId, made_by: Option<EventId>) -> Hmac<Sha256> {
        let made_by = made_by.map(|id| id.to_string()).unwrap_or_default();
        let mut code = self.overlays.clone();
        // No token begins like this: theirs begin with JSON in base64.
        code.update(format!("overlay/{room}/{made_by}").as_bytes());
        code
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, BadToken> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.sign)
            .map_err(|error| BadToken(error.to_string()))
    }

    /// Only our own algorithm, issuer and the audience asked for; `none` and the like are refused.
    pub fn check(&self, token: &str, audience: Audience) -> Result<Claims, BadToken> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = LEEWAY;
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[match audience {
            Audience::Access => "access",
            Audience::Refresh => "refresh",
        }]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let token = jsonwebtoken::decode::<Claims>(token, &self.check, &rules)
            .map_err(|error| BadToken(error.to_string()))?;
        Ok(token.claims)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(ttl: Duration) -> Claims {
        Claims::new(
            Audience::Access,
            AccountId::new(),
            "mint",
            "viewer",
            Timestamp::now(),
            ttl,
        )
    }

    #[test]
    fn ours_is_accepted() {
        let tokens = Tokens::new(b"secret");
        let token = tokens.sign(&claims(ACCESS)).unwrap();
        assert_eq!(tokens.check(&token, Audience::Access).unwrap().name, "mint");
    }

    #[test]
    fn an_overlay_has_one_key_at_a_time() {
        let tokens = Tokens::new(b"secret");
        let (mint, lime): (RoomId, RoomId) = ("mint".parse().unwrap(), "lime".parse().unwrap());
        let rotated = Some(EventId::new());
        let key = tokens.overlay_key(&mint, None);
        assert!(tokens.is_overlay_key(&key, &mint, None));
        assert!(!tokens.is_overlay_key(&key, &mint, rotated), "void");
        assert!(!tokens.is_overlay_key(&key, &lime, None), "another room's");
        assert!(!Tokens::new(b"other").is_overlay_key(&key, &mint, None));
        for wrong in [
            "",
            "overlay_",
            "overlay_AAAA",
            &key[..key.len() - 4],
            "mint",
        ] {
            assert!(!tokens.is_overlay_key(wrong, &mint, None), "{wrong}");
        }
    }

    #[test]
    fn strangers_are_refused() {
        let tokens = Tokens::new(b"secret");
        let good = tokens.sign(&claims(ACCESS)).unwrap();
        let expired = Claims {
            exp: 1_000_000,
            ..claims(ACCESS)
        };
        let other_issuer = Claims {
            iss: "somebody".to_owned(),
            ..claims(ACCESS)
        };
        // {"alg":"none","typ":"JWT"}
        let unsigned = format!(
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.",
            good.split('.').nth(1).unwrap()
        );
        for token in [
            Tokens::new(b"other").sign(&claims(ACCESS)).unwrap(),
            tokens.sign(&expired).unwrap(),
            tokens.sign(&other_issuer).unwrap(),
            unsigned,
            String::new(),
            "a.b.c".to_owned(),
        ] {
            assert!(tokens.check(&token, Audience::Access).is_err(), "{token}");
        }
        assert!(
            tokens.check(&good, Audience::Refresh).is_err(),
            "another audience"
        );
    }
}
