//! Passwords: argon2id, off the runtime's threads, and only a few at a time.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use tokio::sync::Semaphore;

/// Characters (NIST SP 800-63B, section 5.1.1.2: at least 8, and at least 64 permitted).
const SHORTEST: usize = 8;
const LONGEST: usize = 128;
/// The commonest of those that are long enough.
const COMMON: [&str; 24] = [
    "password",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyui",
    "qwertyuiop",
    "password1",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "11111111",
    "00000000",
    "abcd1234",
    "1q2w3e4r",
    "1qaz2wsx",
    "letmein1",
    "passw0rd",
    "qwerty123",
    "asdfghjk",
    "lemonair",
];

/// Hashes at once: each takes 19 MiB and some tens of milliseconds of a core.
const AT_ONCE: usize = 2;

#[derive(Debug, Clone)]
pub struct Passwords {
    room: Arc<Semaphore>,
    /// Checked against when the account is unknown, so that the answer takes as long.
    dummy: Arc<str>,
}

#[derive(Debug, thiserror::Error)]
pub enum Weak {
    #[error("a password has {SHORTEST} to {LONGEST} characters")]
    Length,
    #[error("this password is among the first that anybody would try")]
    Common,
}

impl Passwords {
    pub fn new() -> Passwords {
        Passwords {
            room: Arc::new(Semaphore::new(AT_ONCE)),
            dummy: hash("an account that does not exist").into(),
        }
    }

    pub fn check_strength(password: &str) -> Result<(), Weak> {
        if !(SHORTEST..=LONGEST).contains(&password.chars().count()) {
            return Err(Weak::Length);
        }
        if COMMON.contains(&password.to_lowercase().as_str()) {
            return Err(Weak::Common);
        }
        Ok(())
    }

    pub async fn hash(&self, password: String) -> String {
        self.run(move || hash(&password)).await
    }

    /// Whether the password is the one of `stored`; as slow for no account as for any.
    pub async fn verify(&self, password: String, stored: Option<String>) -> bool {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.to_string());
        let same = self.run(move || verify(&password, &stored)).await;
        same && known
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // Never fails: the semaphore is never closed.
        let _permit = self.room.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords::new()
    }
}

fn hash(password: &str) -> String {
    let salt = SaltString::generate(&mut OsRng);
    // Fails only for parameters out of range, and these are the crate's own.
    Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .unwrap_or_default()
}

fn verify(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|stored| {
        Argon2::default()
            .verify_password(password.as_bytes(), &stored)
            .is_ok()
    })
}
