//! How a stream's frames are to be decoded: what the sequence headers of H.264 and AAC say.

use bytes::Bytes;
use mp4_atom::{Atom, Avcc};

/// A picture track. Two that are equal need no new init segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    pub avcc: Avcc,
    pub width: u16,
    pub height: u16,
}

/// A sound track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioConfig {
    /// The AudioSpecificConfig as the encoder sent it.
    pub specific: Bytes,
    pub sample_rate: u32,
    pub channels: u8,
    /// Samples in each frame.
    pub frame_length: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a malformed {0}")]
pub struct Error(&'static str);

/// A larger picture is taken for a broken header.
const MAX_SIDE: u32 = 16_384;
const MAX_SAMPLE_RATE: u32 = 192_000;
/// Longer ones are not made by any encoder.
const MAX_RECORD: usize = 4096;

// === impl VideoConfig ===

impl VideoConfig {
    /// From the AVCDecoderConfigurationRecord.
    pub fn avc(record: &[u8]) -> Result<VideoConfig, Error> {
        const BAD: Error = Error("H.264 header");
        if record.len() > MAX_RECORD {
            return Err(BAD);
        }
        let mut input = record;
        let avcc = Avcc::decode_body(&mut input).map_err(|_| BAD)?;
        if avcc.length_size == 3 {
            return Err(BAD);
        }
        let sps = avcc.sequence_parameter_sets.first().ok_or(BAD)?;
        let (width, height) = picture_size(sps).ok_or(BAD)?;
        Ok(VideoConfig {
            avcc,
            width,
            height,
        })
    }

    /// As RFC 6381 writes it.
    pub fn name(&self) -> String {
        let Avcc {
            avc_profile_indication,
            profile_compatibility,
            avc_level_indication,
            ..
        } = self.avcc;
        format!(
            "avc1.{avc_profile_indication:02x}{profile_compatibility:02x}{avc_level_indication:02x}"
        )
    }
}

/// Width and height as shown, from a sequence parameter set (H.264, 7.3.2.1.1).
fn picture_size(sps: &[u8]) -> Option<(u16, u16)> {
    // An emulation prevention byte stands after each two zeros.
    let mut plain = Vec::with_capacity(sps.len());
    for &byte in sps {
        if byte == 3 && plain.ends_with(&[0, 0]) {
            continue;
        }
        plain.push(byte);
    }
    let mut bits = Bits::new(plain.get(4..)?);
    let profile = *plain.get(1)?;
    bits.golomb()?; // id
    let mut chroma = 1;
    let mut separate_planes = false;
    if matches!(
        profile,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    ) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            separate_planes = bits.take(1)? == 1;
        }
        bits.golomb()?; // bit depth of luma
        bits.golomb()?; // bit depth of chroma
        bits.take(1)?;
        if bits.take(1)? == 1 {
            let lists = if chroma == 3 { 12 } else { 8 };
            for n in 0..lists {
                if bits.take(1)? == 1 {
                    skip_scaling_list(&mut bits, if n < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?; // frame numbers
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.take(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?; // reference frames
    bits.take(1)?;
    let columns = bits.golomb()?.checked_add(1)?;
    let rows = bits.golomb()?.checked_add(1)?;
    let frames_only = bits.take(1)?;
    if frames_only == 0 {
        bits.take(1)?;
    }
    bits.take(1)?;
    let [mut left, mut right, mut top, mut bottom] = [0; 4];
    if bits.take(1)? == 1 {
        [left, right, top, bottom] = [
            bits.golomb()?,
            bits.golomb()?,
            bits.golomb()?,
            bits.golomb()?,
        ];
    }
    let (unit_x, unit_y) = match chroma {
        1 if !separate_planes => (2, 2),
        2 if !separate_planes => (2, 1),
        _ => (1, 1),
    };
    let fields = 2 - frames_only;
    let side = |blocks: u32, cropped: Option<u32>, unit: u32| {
        let pixels = blocks
            .checked_mul(16)?
            .checked_sub(cropped?.checked_mul(unit)?)?;
        (1..=MAX_SIDE)
            .contains(&pixels)
            .then(|| u16::try_from(pixels).ok())?
    };
    let width = side(columns, left.checked_add(right), unit_x)?;
    let height = side(
        rows.checked_mul(fields)?,
        top.checked_add(bottom),
        unit_y * fields,
    )?;
    Some((width, height))
}

fn skip_scaling_list(bits: &mut Bits<'_>, len: usize) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..len {
        if next != 0 {
            let code = bits.golomb()?;
            let step = i32::try_from(code.div_ceil(2)).ok()?;
            let step = if code % 2 == 1 { step } else { -step };
            next = last.wrapping_add(step).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

// === impl AudioConfig ===

impl AudioConfig {
    /// From the AudioSpecificConfig.
    pub fn aac(specific: Bytes) -> Result<AudioConfig, Error> {
        if specific.len() > MAX_RECORD {
            return Err(Error("AAC header"));
        }
        AudioConfig::parse(&specific)
            .map(|(sample_rate, channels, frame_length)| AudioConfig {
                specific,
                sample_rate,
                channels,
                frame_length,
            })
            .ok_or(Error("AAC header"))
    }

    fn parse(specific: &[u8]) -> Option<(u32, u8, u32)> {
        const RATES: [u32; 13] = [
            96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
        ];
        fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
            match bits.take(5)? {
                31 => Some(32 + bits.take(6)?),
                kind => Some(kind),
            }
        }
        fn rate(bits: &mut Bits<'_>) -> Option<u32> {
            match bits.take(4)? {
                15 => bits.take(24),
                index => RATES.get(index as usize).copied(),
            }
        }
        let mut bits = Bits::new(specific);
        let mut kind = object_type(&mut bits)?;
        let sample_rate = rate(&mut bits)?;
        let channels = match bits.take(4)? {
            0 => 2, // told by the stream itself
            7 => 8,
            n @ 1..=6 => n as u8,
            _ => return None,
        };
        if kind == 5 || kind == 29 {
            // High efficiency: frames run at the core's rate, which comes first.
            rate(&mut bits)?;
            kind = object_type(&mut bits)?;
        }
        let short_frames = matches!(kind, 1..=4) && bits.take(1)? == 1;
        let known = matches!(kind, 1..=4) && (1000..=MAX_SAMPLE_RATE).contains(&sample_rate);
        known.then_some((sample_rate, channels, if short_frames { 960 } else { 1024 }))
    }

    /// Samples a second, and in a frame.
    pub fn timing(&self) -> (i64, u32) {
        (self.sample_rate.into(), self.frame_length)
    }

    /// As RFC 6381 writes it.
    pub fn name(&self) -> String {
        format!("mp4a.40.{}", self.object_type())
    }

    pub fn object_type(&self) -> u8 {
        self.specific.first().map_or(2, |byte| byte >> 3)
    }
}

/// Reads bits, most significant first. `None` past the end.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    /// At most 32 bits.
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// An unsigned number in Exp-Golomb code.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVC_320X240: &[u8] = &[
        1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 24, 0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFA,
        0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xF1, 0x42, 0x99, 0x60,
        1, 0, 6, 0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0,
    ];

    #[test]
    fn size_and_name_of_a_picture() {
        let config = VideoConfig::avc(AVC_320X240).unwrap();
        assert_eq!((config.width, config.height), (320, 240));
        assert_eq!(config.name(), "avc1.64000d");
    }

    #[test]
    fn rates_and_channels_of_sound() {
        let aac = |bytes: &'static [u8]| AudioConfig::aac(Bytes::from_static(bytes)).unwrap();
        let lc = aac(&[0x12, 0x10]);
        assert_eq!(
            (lc.sample_rate, lc.channels, lc.frame_length),
            (44100, 2, 1024)
        );
        assert_eq!(lc.name(), "mp4a.40.2");
        // HE-AAC, told openly: 24 kHz core, 48 kHz after it.
        let he = aac(&[0x2B, 0x11, 0x88, 0x00]);
        assert_eq!((he.sample_rate, he.channels), (24000, 2));
    }

    #[test]
    fn cut_headers_are_refused() {
        for cut in 0..AVC_320X240.len() - 1 {
            assert!(VideoConfig::avc(&AVC_320X240[..cut]).is_err());
        }
        assert!(AudioConfig::aac(Bytes::from_static(&[0x12])).is_err());
        assert!(AudioConfig::aac(Bytes::from_static(&[0xFF; 8])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = VideoConfig::avc(&bytes);
            let _ = picture_size(&bytes);
            let _ = AudioConfig::aac(bytes.into());
        }

        #[test]
        fn broken_headers_are_survived(at in 0..AVC_320X240.len(), byte in any::<u8>()) {
            let mut bytes = AVC_320X240.to_vec();
            bytes[at] = byte;
            let _ = VideoConfig::avc(&bytes);
        }
    }
}
