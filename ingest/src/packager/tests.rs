use std::collections::HashMap;

use mp4_atom::{Any, Decode as _, Moof};
use proptest::prelude::*;

use super::*;

const AVC: &[u8] = &[
    1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFA,
    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xF1, 0x42, 0x99, 0x60, 1, 0,
    6, 0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0,
];

fn cut() -> Cut {
    Cut {
        target: Duration::from_secs(2),
        longest: Duration::from_secs(10),
        largest: 100_000,
        fragment: Duration::from_millis(335),
    }
}

fn video_config() -> Unit {
    Unit::VideoConfig(VideoConfig::avc(AVC).expect("a header"))
}

fn other_video_config() -> Unit {
    let mut config = VideoConfig::avc(AVC).expect("a header");
    config.size = Some((640, 240));
    Unit::VideoConfig(config)
}

fn audio_config() -> Unit {
    Unit::AudioConfig(AudioConfig::aac(Bytes::from_static(&[0x12, 0x10])).expect("a header"))
}

fn picture(key: bool) -> Unit {
    Unit::VideoFrame(VideoFrame {
        key,
        composition: 0,
        data: Bytes::from_static(&[7; 100]),
    })
}

fn sound() -> Unit {
    Unit::AudioFrame(Bytes::from_static(&[8; 10]))
}

/// Frame lengths in turn, of pictures that are shown at an uneven pace or at another one.
#[test]
fn parts_are_as_long_as_they_may_be_and_no_longer() {
    for (frames, shortest) in [
        (&[33, 33, 34][..], 0.85),
        (&[16, 17, 17], 0.85),
        (&[41, 42, 42], 0.85),
        (&[20], 0.85),
        (&[66, 67, 67], 0.85),
        (&[100], 0.85),
        // A part has to end before a picture of unknown length.
        (&[33, 33, 200, 33, 33, 33], 0.0),
    ] {
        let mut packager = with_both();
        let mut pieces = Vec::new();
        let mut time = 0;
        for n in 0..300 {
            pieces.extend(packager.handle(time, picture(n % 60 == 0)).expect("pieces"));
            time += frames[n % frames.len()];
        }
        let longest = cut().fragment;
        for pair in pieces.windows(2) {
            if let [Piece::Fragment(fragment), next] = pair {
                assert!(fragment.duration <= longest, "{frames:?}: {fragment:?}");
                let last = matches!(next, Piece::SegmentEnd);
                let least = longest.mul_f64(shortest);
                assert!(
                    last || fragment.duration >= least,
                    "{frames:?}: {fragment:?}"
                );
            }
        }
    }
}

/// 25 pictures a second with a key frame every `group`, and sound between them.
fn stream(packager: &mut Packager, from: u32, frames: u32, group: u32) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut heard = 0;
    for n in 0..frames {
        let unit = picture(n % group == 0);
        out.extend(
            packager
                .handle(from.wrapping_add(n * 40), unit)
                .expect("pieces"),
        );
        while heard * 10_240 / 441 < (n + 1) * 40 {
            let time = from.wrapping_add(heard * 10_240 / 441);
            out.extend(packager.handle(time, sound()).expect("pieces"));
            heard += 1;
        }
    }
    out
}

fn with_both() -> Packager {
    let mut packager = Packager::new(cut(), 0);
    packager.handle(0, video_config()).expect("pieces");
    packager.handle(0, audio_config()).expect("pieces");
    packager
}

fn fragments(pieces: &[Piece]) -> Vec<&Fragment> {
    pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Fragment(fragment) => Some(fragment),
            _ => None,
        })
        .collect()
}

/// Milliseconds of the segments.
fn segments(pieces: &[Piece]) -> Vec<u128> {
    pieces
        .split_inclusive(|piece| matches!(piece, Piece::SegmentEnd))
        .filter(|segment| matches!(segment.last(), Some(Piece::SegmentEnd)))
        .map(|segment| {
            fragments(segment)
                .iter()
                .map(|fragment| fragment.duration.as_millis())
                .sum()
        })
        .collect()
}

fn moof(fragment: &Fragment) -> Moof {
    match Any::decode(&mut fragment.bytes.as_ref()) {
        Ok(Any::Moof(moof)) => moof,
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_begin_with_key_frames() {
    let mut packager = with_both();
    let mut pieces = stream(&mut packager, 0, 200, 25);
    pieces.extend(stream(&mut packager, 8000, 1, 25));
    assert!(matches!(&pieces[0], Piece::Init { codecs, .. } if codecs == "avc1.64000d,mp4a.40.2"));
    // The first is one fragment, so that viewers need not wait.
    assert_eq!(segments(&pieces), [320, 1680, 2000, 2000, 2000]);
    let firsts: Vec<bool> = pieces
        .split(|piece| matches!(piece, Piece::SegmentEnd))
        .filter_map(|segment| fragments(segment).first().map(|first| first.independent))
        .collect();
    assert_eq!(firsts, [true, false, true, true, true]);
    let lengths: Vec<u128> = fragments(&pieces)
        .iter()
        .map(|f| f.duration.as_millis())
        .collect();
    assert_eq!(lengths[..8], [320, 320, 320, 320, 320, 320, 80, 320]);
}

#[test]
fn without_key_frames_a_segment_ends_at_its_longest_and_its_largest() {
    let mut packager = with_both();
    let pieces = stream(&mut packager, 0, 600, 1000);
    assert_eq!(segments(&pieces), [320, 10_000, 10_000]);
    let second = pieces
        .iter()
        .position(|piece| matches!(piece, Piece::SegmentEnd))
        .expect("an end");
    assert!(!fragments(&pieces[second..])[0].independent);

    let mut packager = with_both();
    let mut pieces = Vec::new();
    for n in 0..20u32 {
        let data = Bytes::from_static(&[0; 40_000]);
        let unit = Unit::VideoFrame(VideoFrame {
            key: n == 0,
            composition: 0,
            data,
        });
        pieces.extend(packager.handle(n * 40, unit).expect("pieces"));
    }
    assert_eq!(segments(&pieces), [120; 6]);
}

#[test]
fn timestamps_may_begin_anywhere_wrap_and_jump() {
    for from in [0, 12_345, u32::MAX - 3000] {
        let mut packager = with_both();
        let pieces = stream(&mut packager, from, 150, 25);
        assert_eq!(segments(&pieces), [320, 1680, 2000], "{from}");
        let first = moof(fragments(&pieces)[0]);
        assert_eq!(
            first.traf[0]
                .tfdt
                .as_ref()
                .expect("tfdt")
                .base_media_decode_time,
            0
        );
    }
    let mut packager = with_both();
    let mut pieces = stream(&mut packager, 0, 75, 25);
    pieces.extend(stream(&mut packager, 900_000, 75, 25));
    pieces.extend(packager.finish().expect("pieces"));
    let total: u128 = segments(&pieces).iter().sum();
    assert!((5900..=6100).contains(&total), "{total}");
    assert_eq!(packager.dropped().jumps, 1);
}

/// Each track has its own pace: the line does not run after the one that is ahead.
#[test]
fn sound_that_arrives_seconds_late_stays_beside_its_pictures() {
    let mut packager = with_both();
    let mut pieces = Vec::new();
    for n in 0..300 {
        let time = 100_000 + n * 40;
        pieces.extend(packager.handle(time, picture(n % 25 == 0)).expect("pieces"));
        pieces.extend(packager.handle(time - 4_000, sound()).expect("pieces"));
    }
    assert_eq!(segments(&pieces), [320, 1680, 2000, 2000, 2000, 2000]);
    let dropped = Dropped {
        // From before the first picture.
        unusable: 100,
        ..Dropped::default()
    };
    assert_eq!(packager.dropped(), dropped);
    let runs = fragments(&pieces).into_iter().map(moof);
    let mut sounds =
        runs.filter_map(|moof| moof.traf.into_iter().find(|one| one.tfhd.track_id == 2));
    let first = sounds.next().expect("sound").tfdt.expect("tfdt");
    assert_eq!(first.base_media_decode_time, 0);
}

#[test]
fn the_line_goes_on_where_the_last_publisher_left_it() {
    let mut packager = Packager::new(cut(), 7400);
    packager.handle(0, video_config()).expect("pieces");
    packager.handle(0, audio_config()).expect("pieces");
    let pieces = stream(&mut packager, 500, 60, 25);
    let first = moof(fragments(&pieces)[0]);
    let times: Vec<u64> = first
        .traf
        .iter()
        .map(|traf| traf.tfdt.as_ref().expect("tfdt").base_media_decode_time)
        .collect();
    assert_eq!(times, [7400 * 90, 7400 * 44_100 / 1000]);
}

#[test]
fn a_new_header_is_a_new_init_segment() {
    let mut packager = with_both();
    let mut pieces = stream(&mut packager, 0, 60, 25);
    pieces.extend(packager.handle(2400, other_video_config()).expect("pieces"));
    // Pictures under the new header wait for a key frame.
    pieces.extend(packager.handle(2400, picture(false)).expect("pieces"));
    pieces.extend(stream(&mut packager, 2440, 60, 25));
    let inits: Vec<usize> = (0..pieces.len())
        .filter(|&n| matches!(pieces[n], Piece::Init { .. }))
        .collect();
    assert_eq!(inits.len(), 2);
    assert!(matches!(pieces[inits[1] - 1], Piece::SegmentEnd));
    // The same header again is nothing new.
    assert!(
        packager
            .handle(4840, other_video_config())
            .expect("pieces")
            .is_empty()
    );
}

#[test]
fn sound_that_joins_later_waits_for_a_key_frame() {
    let mut packager = Packager::new(cut(), 0);
    packager.handle(0, video_config()).expect("pieces");
    let metadata = Metadata {
        has_video: true,
        ..Metadata::default()
    };
    packager
        .handle(0, Unit::Metadata(metadata))
        .expect("pieces");
    let mut pieces = packager.handle(0, picture(true)).expect("pieces");
    pieces.extend(packager.handle(40, picture(false)).expect("pieces"));
    packager.handle(40, audio_config()).expect("pieces");
    pieces.extend(stream(&mut packager, 1000, 60, 25));
    let codecs: Vec<&str> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Init { codecs, .. } => Some(codecs.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(codecs, ["avc1.64000d", "avc1.64000d,mp4a.40.2"]);
}

#[test]
fn one_track_is_enough_after_a_while() {
    let mut packager = Packager::new(cut(), 0);
    packager.handle(0, audio_config()).expect("pieces");
    let mut pieces = Vec::new();
    for n in 0..200u32 {
        pieces.extend(
            packager
                .handle(n * 1024 * 10 / 441, sound())
                .expect("pieces"),
        );
    }
    assert_eq!(segments(&pieces).len(), 3);
    assert_eq!(packager.dropped(), Dropped::default());
}

#[test]
fn gaps_in_the_sound_stay_gaps() {
    let mut packager = Packager::new(cut(), 0);
    packager.handle(0, audio_config()).expect("pieces");
    packager
        .handle(
            0,
            Unit::Metadata(Metadata {
                has_audio: true,
                ..Metadata::default()
            }),
        )
        .expect("pieces");
    let mut pieces = packager.handle(0, sound()).expect("pieces");
    pieces.extend(packager.handle(23, sound()).expect("pieces"));
    pieces.extend(packager.handle(1000, sound()).expect("pieces"));
    pieces.extend(packager.finish().expect("pieces"));
    let starts: Vec<u64> = fragments(&pieces)
        .iter()
        .map(|fragment| {
            moof(fragment).traf[0]
                .tfdt
                .as_ref()
                .expect("tfdt")
                .base_media_decode_time
        })
        .collect();
    assert_eq!(starts, [0, 44_100]);
}

#[derive(Debug, Clone)]
enum Step {
    Video {
        key: bool,
        composition: i32,
        len: usize,
    },
    Audio,
    VideoConfig(bool),
    AudioConfig,
    Metadata(bool, bool),
}

fn any_step() -> impl Strategy<Value = (u32, Step)> {
    let time = prop_oneof![20 => 0u32..60, 1 => any::<u32>(), 1 => 0u32..12_000, 2 => (1u32..2000).prop_map(|n| 0u32.wrapping_sub(n))];
    let step = prop_oneof![
        8 => (prop::bool::weighted(0.1), -50..200i32, 1usize..30_000).prop_map(|(key, composition, len)| Step::Video { key, composition, len }),
        8 => Just(Step::Audio),
        1 => any::<bool>().prop_map(Step::VideoConfig),
        1 => Just(Step::AudioConfig),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(video, audio)| Step::Metadata(video, audio)),
    ];
    (time, step)
}

proptest! {
    #[test]
    fn any_stream_comes_out_in_order_and_nothing_is_lost_unseen(
        steps in proptest::collection::vec(any_step(), 1..300),
        start in 0i64..100_000,
    ) {
        let mut packager = Packager::new(cut(), start);
        let mut pieces = Vec::new();
        let mut time = 0u32;
        let mut frames = 0;
        for (step, what) in steps {
            time = time.wrapping_add(step);
            let unit = match what {
                Step::Video { key, composition, len } => {
                    frames += 1;
                    Unit::VideoFrame(VideoFrame { key, composition, data: vec![7; len].into() })
                }
                Step::Audio => {
                    frames += 1;
                    sound()
                }
                Step::VideoConfig(true) => video_config(),
                Step::VideoConfig(false) => other_video_config(),
                Step::AudioConfig => audio_config(),
                Step::Metadata(has_video, has_audio) => {
                    Unit::Metadata(Metadata { has_video, has_audio, size: None, encoder: None })
                }
            };
            pieces.extend(packager.handle(time, unit).expect("pieces"));
        }
        pieces.extend(packager.finish().expect("pieces"));

        let mut out = 0;
        let mut ends: HashMap<u32, u64> = HashMap::new();
        let mut open = 0;
        let mut has_init = false;
        for piece in &pieces {
            match piece {
                Piece::Init { .. } => {
                    prop_assert_eq!(open, 0, "an init segment within a segment");
                    has_init = true;
                }
                Piece::Fragment(fragment) => {
                    prop_assert!(has_init);
                    open += fragment.bytes.len();
                    prop_assert!(open <= 100_000 + 40_000, "{open}");
                    for traf in moof(fragment).traf {
                        let start = traf.tfdt.expect("tfdt").base_media_decode_time;
                        let end = ends.entry(traf.tfhd.track_id).or_default();
                        prop_assert!(start >= *end, "track {} goes back to {start} from {end}", traf.tfhd.track_id);
                        *end = start;
                        for entry in traf.trun[0].samples.iter() {
                            *end += u64::from(entry.duration.expect("a duration"));
                            out += 1;
                        }
                    }
                }
                Piece::SegmentEnd => open = 0,
                Piece::Still(_) => {}
            }
        }
        prop_assert_eq!(open, 0);
        let dropped = packager.dropped();
        let waiting = packager.waiting.frames.len() as u64;
        prop_assert_eq!(frames, out + dropped.unusable + dropped.overlapping + waiting);
    }
}
