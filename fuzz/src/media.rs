//! What a publisher sends: codecs' headers and FLV tags, through to MP4 that can be read back.

use bytes::Buf;
use lemonair_ingest::codec::{AudioConfig, VideoConfig};
use lemonair_ingest::packager::{Packager, Piece};
use lemonair_ingest::rtmp::{Media, MediaKind};
use lemonair_ingest::{Config, flv, fmp4};
use mp4_atom::{Any, Decode};

/// Behind a byte that says which codec it is of.
pub(crate) fn codec(bytes: &[u8]) {
    let Some((which, header)) = bytes.split_first() else {
        return;
    };
    let video = match which % 6 {
        0 => VideoConfig::avc(header),
        1 => VideoConfig::hevc(header),
        2 => VideoConfig::av1(header),
        3 => VideoConfig::vp9(header),
        other => {
            let audio = match other {
                4 => AudioConfig::aac(header.to_vec().into()),
                _ => AudioConfig::opus(header),
            };
            if let Ok(audio) = audio {
                let _ = (audio.name(), audio.frame_length(header));
                check(&fmp4::init(None, Some(&audio)).expect("what was read can be written"));
            }
            return;
        }
    };
    if let Ok(mut video) = video {
        video.resize(header);
        let _ = video.name();
        check(&fmp4::init(Some(&video), None).expect("what was read can be written"));
    }
}

pub(crate) fn headers() -> Vec<Vec<u8>> {
    let header = |which: u8, header: &[u8]| [&[which], header].concat();
    vec![
        header(0, AVC),
        header(1, HEVC),
        header(2, AV1),
        header(3, &[0, 10, 0x80, 1, 1, 1, 0, 0]),
        header(4, &[0x12, 0x10]),
        header(4, &[0x2B, 0x11, 0x88, 0]),
        header(5, b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0"),
    ]
}

/// Each message is a kind, a time step, a length and as many bytes.
pub(crate) fn media(bytes: &[u8]) {
    let cut = lemonair_ingest::packager::Cut {
        largest: 10_000,
        ..Config::default().cut
    };
    let mut packager = Packager::new(cut, 0);
    let mut pieces = Vec::new();
    let (mut timestamp, mut input) = (0u32, bytes);
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
        let payload = payload.to_vec().into();
        let media = Media {
            kind,
            timestamp,
            payload,
        };
        if let Ok(unit) = flv::parse(&media) {
            pieces.extend(
                packager
                    .handle(timestamp, unit)
                    .expect("what was parsed can be written"),
            );
        }
    }
    pieces.extend(packager.finish().expect("what was parsed can be written"));
    for piece in pieces {
        match piece {
            Piece::Init { bytes, .. } => check(&bytes),
            Piece::Fragment(fragment) => check(&fragment.bytes),
            Piece::SegmentEnd | Piece::Still(_) => {}
        }
    }
}

/// What we have written can be read back: whole boxes, and samples that are all there.
fn check(mut mp4: &[u8]) {
    let (mut told, mut held) = (0, 0);
    while mp4.has_remaining() {
        match Any::decode(&mut mp4).expect("a box of ours") {
            Any::Moof(moof) => {
                let runs = moof.traf.iter().flat_map(|traf| &traf.trun);
                let sizes = runs.flat_map(|run| run.samples.iter());
                told = sizes.map(|sample| sample.size.unwrap_or(0) as usize).sum();
            }
            Any::Mdat(mdat) => held += mdat.data.len(),
            _ => {}
        }
    }
    assert_eq!(told, held, "bytes of samples");
}

pub(crate) fn broadcasts() -> Vec<Vec<u8>> {
    let mut both = Vec::new();
    message(&mut both, 0, 0, &[&b"\x17\0\0\0\0"[..], AVC].concat());
    message(&mut both, 1, 0, b"\xAF\0\x12\x10");
    let mut enhanced = Vec::new();
    message(&mut enhanced, 0, 0, &[&b"\x90hvc1"[..], HEVC].concat());
    message(
        &mut enhanced,
        1,
        0,
        b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0",
    );
    for n in 0..20 {
        let (head, enhanced_head) = if n % 5 == 0 {
            (0x17, 0x91)
        } else {
            (0x27, 0xA1)
        };
        message(
            &mut both,
            0,
            200,
            &[&[head, 1, 0, 0, 0][..], &[7; 30]].concat(),
        );
        message(&mut both, 1, 0, b"\xAF\x01sound");
        let frame = [&[enhanced_head][..], b"hvc1\0\0\x28", &[7; 30]].concat();
        message(&mut enhanced, 0, 200, &frame);
        message(&mut enhanced, 1, 0, b"\x91Opus\xFCsound");
    }
    vec![both, enhanced]
}

fn message(out: &mut Vec<u8>, kind: u8, step: i16, payload: &[u8]) {
    out.push(kind);
    out.extend(step.to_be_bytes());
    out.push(payload.len() as u8);
    out.extend(payload);
}

/// 320x240.
const AVC: &[u8] = &[
    1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFA,
    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xF1, 0x42, 0x99, 0x60, 1, 0,
    6, 0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0,
];

/// 320x180.
const HEVC: &[u8] = &[
    0x01, 0x01, 0x60, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3C, 0xF0, 0x00, 0xFC,
    0xFD, 0xF8, 0xF8, 0x00, 0x00, 0x0F, 0x03, 0xA0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01, 0x0C, 0x01,
    0xFF, 0xFF, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
    0x3C, 0x95, 0x94, 0x09, 0xA1, 0x00, 0x01, 0x00, 0x2B, 0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00,
    0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3C, 0xA0, 0x0A, 0x08, 0x0C, 0x1F,
    0x3E, 0x59, 0x59, 0x52, 0x93, 0x0B, 0xC0, 0x5A, 0x02, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00,
    0x03, 0x00, 0x32, 0x10, 0xA2, 0x00, 0x01, 0x00, 0x06, 0x44, 0x01, 0xC0, 0x73, 0xC0, 0x89,
];

/// 320x180.
const AV1: &[u8] = &[
    0x81, 0x00, 0x0C, 0x00, 0x0A, 0x0B, 0x00, 0x00, 0x00, 0x04, 0x3C, 0xFE, 0xCC, 0xDA, 0xF9, 0x00,
    0x40,
];
