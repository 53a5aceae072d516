//! Signatures of webhooks: `t=…,v1=…`, an HMAC-SHA256 over the time, a dot and the body.

use std::time::Duration;

use hmac::{Hmac, Mac};
use lemonair_schemas::Timestamp;
use sha2::Sha256;

/// A webhook is signed anew each time that it is sent; one that is older is a recording.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forged {
    #[error("there is no signature t=…,v1=… in the header")]
    Missing,
    #[error("the signature is not of this body and our secret")]
    Wrong,
    #[error("the signature is more than five minutes off our clock")]
    Stale,
    #[error("the body is signed, but cannot be read")]
    Unreadable,
}

pub(crate) fn sign(secret: &[u8], body: &[u8], at: Timestamp) -> String {
    let seconds = (at.millis() / 1000).to_string();
    let mac = mac(secret, &[seconds.as_bytes(), b".", body]).finalize();
    format!("t={seconds},v1={}", hex(&mac.into_bytes()))
}

/// Any `v1` that fits will do: while a secret is replaced, providers sign with both.
pub(crate) fn check(
    secret: &[u8],
    header: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Forged> {
    let mut signed = None;
    let mut candidates = Vec::new();
    for (name, value) in header
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
    {
        match name {
            "t" => signed = Some(value),
            "v1" => candidates.push(value),
            _ => {}
        }
    }
    let text = signed.ok_or(Forged::Missing)?;
    let seconds: i64 = text.parse().map_err(|_| Forged::Missing)?;
    if candidates.is_empty() {
        return Err(Forged::Missing);
    }
    let fits = |candidate: &&str| {
        let mac = mac(secret, &[text.as_bytes(), b".", body]);
        // In constant time.
        unhex(candidate).is_some_and(|bytes| mac.verify_slice(&bytes).is_ok())
    };
    if !candidates.iter().any(fits) {
        return Err(Forged::Wrong);
    }
    let at = Timestamp(seconds.saturating_mul(1000));
    if now.since(at).max(at.since(now)) > TOLERANCE {
        return Err(Forged::Stale);
    }
    Ok(())
}

pub(crate) fn mac(secret: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    };
    for part in parts {
        mac.update(part);
    }
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pair = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const SECRET: &[u8] = b"a secret of the two";

    fn at(seconds: i64) -> Timestamp {
        Timestamp(NOW.millis() + seconds * 1000)
    }

    #[test]
    fn it_is_what_others_compute() {
        // echo -n '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        let signed = sign(b"key", br#"{"a":1}"#, NOW);
        assert_eq!(
            signed,
            "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
        );
    }

    #[test]
    fn ours_is_taken_and_nothing_else() {
        let signed = sign(SECRET, b"body", NOW);
        assert_eq!(check(SECRET, &signed, b"body", NOW), Ok(()));
        assert_eq!(check(SECRET, &signed, b"Body", NOW), Err(Forged::Wrong));
        assert_eq!(check(b"other", &signed, b"body", NOW), Err(Forged::Wrong));
        let moved = signed.replace("t=1700000000", "t=1700000001");
        assert_eq!(check(SECRET, &moved, b"body", NOW), Err(Forged::Wrong));
        for header in ["", "t=1", "v1=00", "t=x,v1=00", "t=1700000000,v0=00"] {
            assert_eq!(check(SECRET, header, b"body", NOW), Err(Forged::Missing));
        }
        for v1 in ["", "0", "zz", "é", "00"] {
            let header = format!("t=1700000000,v1={v1}");
            assert_eq!(check(SECRET, &header, b"body", NOW), Err(Forged::Wrong));
        }
    }

    #[test]
    fn one_of_several_suffices() {
        let signed = sign(SECRET, b"body", NOW);
        let both = signed.replace(",v1=", ",v1=00,v2=1, v1=");
        assert_eq!(check(SECRET, &both, b"body", NOW), Ok(()));
    }

    #[test]
    fn a_recording_is_stale() {
        let signed = sign(SECRET, b"body", NOW);
        for (seconds, verdict) in [
            (-301, Err(Forged::Stale)),
            (-300, Ok(())),
            (300, Ok(())),
            (301, Err(Forged::Stale)),
        ] {
            assert_eq!(check(SECRET, &signed, b"body", at(seconds)), verdict);
        }
    }

    proptest! {
        #[test]
        fn strangers_headers_are_refused(header in ".{0,200}") {
            prop_assert!(check(SECRET, &header, b"body", NOW).is_err());
        }
    }
}
