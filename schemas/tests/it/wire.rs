//! The wire format, against strangers' bytes.

use lemonair_schemas::codec::{Last, unframe};
use lemonair_schemas::{Codec, DecodeError, Event};
use lemonair_testkit::{codec, fresh_codec};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::sample::{Any, Seed, samples};

/// The codec, outside of async.
fn with_codec(check: impl FnOnce(&Runtime, &Codec)) {
    let runtime = Runtime::new().expect("a runtime");
    let codec = runtime.block_on(codec());
    check(&runtime, &codec);
}

proptest! {
    #[test]
    fn unframe_takes_anything(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        match unframe(&bytes) {
            Ok((id, datum)) => {
                prop_assert_eq!(bytes[0], 0);
                prop_assert_eq!(&bytes[1..5], id.to_be_bytes());
                prop_assert_eq!(&bytes[5..], datum);
            }
            Err(DecodeError::Unframed { len, first }) => {
                prop_assert_eq!((len, first), (bytes.len(), bytes.first().copied()));
                prop_assert!(bytes.len() < 5 || bytes[0] != 0);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn every_record_comes_back() {
    with_codec(|runtime, codec| {
        proptest!(|(seed in Seed::any(), more in prop::collection::vec(any::<u8>(), 1..9))| {
            for sample in samples(codec, &seed) {
                let mut bytes = sample.bytes.expect("encode");
                let Any(read) = runtime.block_on(codec.decode(&bytes)).expect("decode");
                prop_assert_eq!(read, sample.json);
                if let Some(event) = sample.event {
                    prop_assert_eq!(runtime.block_on(codec.decode::<Event>(&bytes)).expect("decode"), event);
                }
                bytes.extend(&more);
                let error = runtime.block_on(codec.decode::<Any>(&bytes)).unwrap_err();
                let trailing = matches!(error, DecodeError::Trailing { left, .. } if left == more.len());
                prop_assert!(trailing, "{error}");
            }
        });
    });
}

#[test]
fn strangers_bytes_are_errors_and_no_panic() {
    with_codec(|runtime, codec| {
        let headers = samples(codec, &Seed::fixed(true));
        let headers = headers
            .into_iter()
            .map(|sample| sample.bytes.expect("encode"));
        let headers = Vec::from_iter(headers.map(|bytes| bytes[..5].to_vec()));
        proptest!(|(datum in prop::collection::vec(any::<u8>(), 0..200))| {
            for header in &headers {
                let bytes = [header.as_slice(), &datum].concat();
                if let Err(error) = runtime.block_on(codec.decode::<Any>(&bytes)) {
                    prop_assert!(!error.is_transient(), "{error}");
                }
            }
        });
    });
}

#[tokio::test]
async fn a_record_that_was_cut_anywhere_is_an_error() {
    let codec = codec().await;
    for sample in samples(&codec, &Seed::fixed(true)) {
        let bytes = sample.bytes.expect("encode");
        for length in 0..bytes.len() {
            let error = codec.decode::<Any>(&bytes[..length]).await.unwrap_err();
            assert!(!error.is_transient(), "{} cut at {length}", sample.name);
        }
    }
}

#[tokio::test]
async fn what_the_record_before_was_changes_nothing() {
    let codec = codec().await;
    let mut last = Last::default();
    for sample in samples(&codec, &Seed::fixed(true)) {
        let bytes = sample.bytes.expect("encode");
        for _ in 0..2 {
            let Any(read) = codec.decode_next(&bytes, &mut last).await.expect("decode");
            assert_eq!(read, sample.json);
        }
    }
}

#[tokio::test]
async fn a_command_is_no_event() {
    let codec = fresh_codec().await;
    let mut last = Last::default();
    for sample in samples(&codec, &Seed::fixed(true)) {
        let bytes = sample.bytes.expect("encode");
        let read = codec.decode_next::<Event>(&bytes, &mut last).await;
        match sample.event {
            Some(event) => assert_eq!(read.expect("decode"), event),
            None => assert!(matches!(read, Err(DecodeError::Foreign { .. })), "{read:?}"),
        }
    }
}
