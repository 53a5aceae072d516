//! Any values; what can be read can be written and read again.
#![no_main]

use lemonair_ingest::rtmp::amf::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new(bytes);
    while let Ok(Some(value)) = decoder.next_value() {
        assert!(!format!("{value:?}").is_empty());
    }
});
