//! Any bytes on a connection, accepted as soon as it asks to publish.
#![no_main]

use lemonair_ingest::rtmp::{Output, Session};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut session = Session::new(1 << 20);
    // The handshake is noise; the rest is what matters.
    let handshake = [&[3][..], &[0; 2 * 1536]].concat();
    let _ = session.handle(&handshake);
    for part in bytes.chunks(100) {
        let Ok(outputs) = session.handle(part) else { return };
        for output in outputs {
            if matches!(output, Output::Publish { .. }) && session.accept().is_err() {
                return;
            }
        }
    }
});
