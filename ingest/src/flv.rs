//! FLV tags, as RTMP carries them, into access units: headers, frames and metadata.

use bytes::Bytes;

use crate::codec::{self, AudioConfig, VideoConfig};
use crate::rtmp::amf::{self, Decoder, Value};
use crate::rtmp::{Media, MediaKind};

/// What one message holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Unit {
    VideoConfig(VideoConfig),
    VideoFrame(VideoFrame),
    AudioConfig(AudioConfig),
    AudioFrame(Bytes),
    Metadata(Metadata),
    /// The name of a codec that we cannot package.
    Unsupported(String),
    /// Ends of sequences, seeks, further tracks: nothing to package.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFrame {
    pub key: bool,
    /// Milliseconds from decoding to showing, for pictures that wait for others.
    pub composition: i32,
    pub data: Bytes,
}

/// What the encoder says of itself. `None`: it said nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    pub has_video: bool,
    pub has_audio: bool,
    /// Width and height of the picture.
    pub size: Option<(u16, u16)>,
    pub encoder: Option<String>,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("a tag of {0} bytes")]
    Short(usize),
    #[error(transparent)]
    Header(#[from] codec::Error),
    #[error("metadata: {0}")]
    Metadata(#[from] amf::Error),
}

pub fn parse(media: &Media) -> Result<Unit, Error> {
    match media.kind {
        MediaKind::Video => video(&media.payload),
        MediaKind::Audio => audio(&media.payload),
        MediaKind::Data => data(&media.payload),
    }
}

mod frame {
    pub(super) const KEY: u8 = 1;
    pub(super) const COMMAND: u8 = 5;
}

/// Packet types of enhanced RTMP, for pictures and for sound.
mod packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const CODED_FRAMES_X: u8 = 3;
    pub(super) const MOD_EX: u8 = 7;
}

fn video(payload: &Bytes) -> Result<Unit, Error> {
    let Some((&first, rest)) = payload.split_first() else {
        return Ok(Unit::Nothing);
    };
    if first & 0x80 != 0 {
        return enhanced_video(payload, first >> 4 & 7, first & 0x0F);
    }
    let (frame, codec) = (first >> 4, first & 0x0F);
    match codec {
        _ if frame == frame::COMMAND => Ok(Unit::Nothing),
        7 => {
            let [packet, a, b, c, ..] = *rest else {
                return Err(Error::Short(payload.len()));
            };
            match packet {
                0 => Ok(Unit::VideoConfig(VideoConfig::avc(&payload[5..])?)),
                1 => Ok(video_frame(frame, i24([a, b, c]), payload.slice(5..))),
                _ => Ok(Unit::Nothing),
            }
        }
        // Not in any standard, yet sent by many.
        12 => {
            let [packet, a, b, c, ..] = *rest else {
                return Err(Error::Short(payload.len()));
            };
            match packet {
                0 => Ok(Unit::VideoConfig(VideoConfig::hevc(&payload[5..])?)),
                1 => Ok(video_frame(frame, i24([a, b, c]), payload.slice(5..))),
                _ => Ok(Unit::Nothing),
            }
        }
        2 => Ok(unsupported("Sorenson H.263")),
        4 | 5 => Ok(unsupported("VP6")),
        13 => Ok(unsupported("AV1 by an unofficial number")),
        other => Ok(Unit::Unsupported(format!("video codec {other}"))),
    }
}

fn enhanced_video(payload: &Bytes, frame: u8, packet: u8) -> Result<Unit, Error> {
    let Some((packet, body)) = unwrap_mod_ex(packet, &payload[1..]) else {
        return Err(Error::Short(payload.len()));
    };
    if frame == frame::COMMAND
        || !matches!(
            packet,
            packet::SEQUENCE_START | packet::CODED_FRAMES | packet::CODED_FRAMES_X
        )
    {
        return Ok(Unit::Nothing);
    }
    let Some((four_cc, body)) = body.split_first_chunk() else {
        return Err(Error::Short(payload.len()));
    };
    let config = match four_cc {
        b"avc1" => VideoConfig::avc,
        b"hvc1" => VideoConfig::hevc,
        b"av01" => VideoConfig::av1,
        b"vp09" => VideoConfig::vp9,
        other => return Ok(Unit::Unsupported(name(*other))),
    };
    // Those whose pictures may be shown in another order than they are decoded in say so.
    let reordered = matches!(four_cc, b"avc1" | b"hvc1");
    match (packet, body) {
        (packet::SEQUENCE_START, header) => Ok(Unit::VideoConfig(config(header)?)),
        (packet::CODED_FRAMES, [a, b, c, data @ ..]) if reordered => Ok(video_frame(
            frame,
            i24([*a, *b, *c]),
            payload.slice_ref(data),
        )),
        (packet::CODED_FRAMES, _) if reordered => Err(Error::Short(payload.len())),
        (_, data) => Ok(video_frame(frame, 0, payload.slice_ref(data))),
    }
}

fn video_frame(frame: u8, composition: i32, data: Bytes) -> Unit {
    if data.is_empty() {
        return Unit::Nothing;
    }
    Unit::VideoFrame(VideoFrame {
        key: frame == frame::KEY,
        composition,
        data,
    })
}

fn audio(payload: &Bytes) -> Result<Unit, Error> {
    let Some((&first, rest)) = payload.split_first() else {
        return Ok(Unit::Nothing);
    };
    match first >> 4 {
        9 => enhanced_audio(payload, first & 0x0F),
        10 => match rest.first() {
            Some(0) => Ok(Unit::AudioConfig(AudioConfig::aac(payload.slice(2..))?)),
            Some(1) => Ok(audio_frame(payload.slice(2..))),
            Some(_) => Ok(Unit::Nothing),
            None => Err(Error::Short(payload.len())),
        },
        2 | 14 => Ok(unsupported("MP3")),
        11 => Ok(unsupported("Speex")),
        other => Ok(Unit::Unsupported(format!("sound format {other}"))),
    }
}

fn enhanced_audio(payload: &Bytes, packet: u8) -> Result<Unit, Error> {
    let Some((packet, body)) = unwrap_mod_ex(packet, &payload[1..]) else {
        return Err(Error::Short(payload.len()));
    };
    if !matches!(packet, packet::SEQUENCE_START | packet::CODED_FRAMES) {
        return Ok(Unit::Nothing);
    }
    let Some((four_cc, body)) = body.split_first_chunk() else {
        return Err(Error::Short(payload.len()));
    };
    let body = payload.slice_ref(body);
    match four_cc {
        b"mp4a" if packet == packet::SEQUENCE_START => {
            Ok(Unit::AudioConfig(AudioConfig::aac(body)?))
        }
        b"Opus" if packet == packet::SEQUENCE_START => {
            Ok(Unit::AudioConfig(AudioConfig::opus(&body)?))
        }
        b"mp4a" | b"Opus" => Ok(audio_frame(body)),
        b"fLaC" => Ok(unsupported("FLAC")),
        b".mp3" => Ok(unsupported("MP3")),
        other => Ok(Unit::Unsupported(name(*other))),
    }
}

fn audio_frame(data: Bytes) -> Unit {
    if data.is_empty() {
        Unit::Nothing
    } else {
        Unit::AudioFrame(data)
    }
}

/// Takes off the prefixes that modify a packet (nanosecond offsets and what may come), down to the
/// packet's own type.
fn unwrap_mod_ex(mut packet: u8, mut body: &[u8]) -> Option<(u8, &[u8])> {
    while packet == packet::MOD_EX {
        let (&size, rest) = body.split_first()?;
        let (size, rest) = match (size, rest) {
            (255, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])) + 1, rest),
            (255, _) => return None,
            (size, rest) => (usize::from(size) + 1, rest),
        };
        let (&next, rest) = rest.get(size..)?.split_first()?;
        (packet, body) = (next & 0x0F, rest);
    }
    Some((packet, body))
}

fn data(payload: &[u8]) -> Result<Unit, Error> {
    let mut values = Decoder::new(payload);
    let mut name = values.next_value()?;
    if name.as_ref().and_then(Value::text) == Some("@setDataFrame") {
        name = values.next_value()?;
    }
    if name.as_ref().and_then(Value::text) != Some("onMetaData") {
        return Ok(Unit::Nothing);
    }
    let Some(about) = values.next_value()? else {
        return Ok(Unit::Nothing);
    };
    let side = |name: &str| {
        let pixels = about.get(name).and_then(Value::number)?;
        (1.0..=f64::from(codec::MAX_SIDE))
            .contains(&pixels)
            .then_some(pixels as u16)
    };
    Ok(Unit::Metadata(Metadata {
        size: side("width").zip(side("height")),
        has_video: about.get("videocodecid").is_some(),
        has_audio: about.get("audiocodecid").is_some(),
        encoder: about
            .get("encoder")
            .and_then(Value::text)
            .map(str::to_owned),
    }))
}

fn unsupported(codec: &str) -> Unit {
    Unit::Unsupported(codec.to_owned())
}

fn name(four_cc: [u8; 4]) -> String {
    four_cc.escape_ascii().to_string()
}

fn i24([a, b, c]: [u8; 3]) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(kind: MediaKind, payload: &'static [u8], expected: Unit) {
        let media = Media {
            kind,
            timestamp: 0,
            payload: Bytes::from_static(payload),
        };
        assert_eq!(parse(&media).unwrap(), expected);
    }

    fn frame(key: bool, composition: i32, data: &'static [u8]) -> Unit {
        Unit::VideoFrame(VideoFrame {
            key,
            composition,
            data: Bytes::from_static(data),
        })
    }

    #[test]
    fn pictures() {
        check(
            MediaKind::Video,
            b"\x17\x01\0\0\x42data",
            frame(true, 66, b"data"),
        );
        check(
            MediaKind::Video,
            b"\x27\x01\xFF\xFF\xFFdata",
            frame(false, -1, b"data"),
        );
        check(MediaKind::Video, b"\x17\x02\0\0\0", Unit::Nothing);
        check(MediaKind::Video, b"", Unit::Nothing);
        check(MediaKind::Video, b"\x57\x00", Unit::Nothing);
    }

    #[test]
    fn pictures_of_enhanced_rtmp() {
        check(
            MediaKind::Video,
            b"\x91avc1\0\0\x42data",
            frame(true, 66, b"data"),
        );
        check(MediaKind::Video, b"\xA3avc1data", frame(false, 0, b"data"));
        check(
            MediaKind::Video,
            b"\x97\x02nan\x03avc1data",
            frame(true, 0, b"data"),
        );
        check(
            MediaKind::Video,
            b"\x91hvc1\0\0\x42data",
            frame(true, 66, b"data"),
        );
        check(MediaKind::Video, b"\x91av01data", frame(true, 0, b"data"));
        check(MediaKind::Video, b"\xA1vp09data", frame(false, 0, b"data"));
        check(MediaKind::Video, b"\x90abcdheader", unsupported("abcd"));
        check(MediaKind::Video, b"\x96\x00av01", Unit::Nothing);
    }

    #[test]
    fn sound() {
        check(
            MediaKind::Audio,
            b"\xAF\x01data",
            Unit::AudioFrame(Bytes::from_static(b"data")),
        );
        check(
            MediaKind::Audio,
            b"\x91mp4adata",
            Unit::AudioFrame(Bytes::from_static(b"data")),
        );
        check(
            MediaKind::Audio,
            b"\x91Opusdata",
            Unit::AudioFrame(Bytes::from_static(b"data")),
        );
        check(MediaKind::Audio, b"\x90fLaCheader", unsupported("FLAC"));
        check(MediaKind::Audio, b"\x95\x01mp4a", Unit::Nothing);
        check(MediaKind::Audio, b"\x2Fdata", unsupported("MP3"));
    }

    #[test]
    fn metadata_tells_the_tracks() {
        let payload = b"\x02\0\x0D@setDataFrame\x02\0\x0AonMetaData\x08\0\0\0\x01\0\x0Caudiocodecid\0\x40\x24\0\0\0\0\0\0\0\0\x09";
        let expected = Metadata {
            has_video: false,
            has_audio: true,
            size: None,
            encoder: None,
        };
        check(MediaKind::Data, payload, Unit::Metadata(expected));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            kind in prop_oneof![Just(MediaKind::Video), Just(MediaKind::Audio), Just(MediaKind::Data)],
            first in any::<u8>(),
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let payload = [&[first][..], &rest].concat().into();
            let _ = parse(&Media { kind, timestamp: 0, payload });
        }
    }
}
