//! Any FLV tags, through to fragments: each is a kind, a time step, a length and as many bytes.
#![no_main]

use std::time::Duration;

use lemonair_ingest::flv;
use lemonair_ingest::packager::{Cut, Packager};
use lemonair_ingest::rtmp::{Media, MediaKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let cut = Cut {
        target: Duration::from_secs(2),
        longest: Duration::from_secs(10),
        largest: 10_000,
        fragment: Duration::from_millis(333),
    };
    let mut packager = Packager::new(cut, 0);
    let mut timestamp = 0u32;
    let mut input = bytes;
    while let [kind, high, low, len, rest @ ..] = input {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        input = rest;
        let step = i16::from_be_bytes([*high, *low]);
        timestamp = timestamp.wrapping_add_signed(i32::from(step));
        let kind = match kind % 3 {
            0 => MediaKind::Video,
            1 => MediaKind::Audio,
            _ => MediaKind::Data,
        };
        let media = Media { kind, timestamp, payload: payload.to_vec().into() };
        if let Ok(unit) = flv::parse(&media) {
            packager.handle(timestamp, unit).expect("what was parsed can be written");
        }
    }
    packager.finish().expect("what was parsed can be written");
});
