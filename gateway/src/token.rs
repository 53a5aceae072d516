//! Access and refresh tokens: JSON Web Tokens signed by the deployment's secret (RFC 7519).

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use lemonair_schemas::{AccountId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

const ISSUER: &str = "lemonair";
/// Clocks may differ by so much.
const LEEWAY: u64 = 30;
/// An access token is renewed by the refresh token long before anybody minds.
pub const ACCESS: Duration = Duration::from_secs(15 * 60);
/// A session ends when it was not renewed for so long.
pub const REFRESH: Duration = Duration::from_secs(30 * 24 * 3600);

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
        }
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
