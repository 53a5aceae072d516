//! How a stream's frames are to be decoded: what the sequence headers of its codecs say.

mod av1;
mod hevc;
mod opus;
mod sps;
mod vp9;

use bytes::Bytes;
use mp4_atom::{Atom, Av1c, Avcc, Dops, Encode, Hvcc, VpcC};

/// A picture track. Two that are equal need no new init segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    pub codec: VideoCodec,
    /// Width and height, if the header tells; else the encoder's metadata does.
    pub size: Option<(u16, u16)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoCodec {
    Avc(Avcc),
    Hevc(Hvcc),
    Av1(Av1c),
    Vp9(VpcC),
}

/// A sound track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioConfig {
    pub codec: AudioCodec,
    pub sample_rate: u32,
    pub channels: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioCodec {
    Aac {
        /// The AudioSpecificConfig as the encoder sent it.
        specific: Bytes,
        /// Samples in each frame.
        frame_length: u32,
    },
    Opus(Dops),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a malformed {0}")]
pub struct Error(&'static str);

/// A larger picture is taken for a broken header.
pub(crate) const MAX_SIDE: u32 = 16_384;
const MAX_SAMPLE_RATE: u32 = 192_000;
/// Longer ones are not made by any encoder.
const MAX_RECORD: usize = 4096;

// === impl VideoConfig ===

impl VideoConfig {
    /// From the AVCDecoderConfigurationRecord.
    pub fn avc(record: &[u8]) -> Result<VideoConfig, Error> {
        const BAD: Error = Error("H.264 header");
        let avcc: Avcc = read(record, BAD)?;
        if avcc.length_size == 3 {
            return Err(BAD);
        }
        let sps = avcc.sequence_parameter_sets.first().ok_or(BAD)?;
        let size = sps::picture_size(sps).ok_or(BAD)?;
        Ok(VideoConfig {
            codec: VideoCodec::Avc(avcc),
            size: Some(size),
        })
    }

    /// From the HEVCDecoderConfigurationRecord.
    pub fn hevc(record: &[u8]) -> Result<VideoConfig, Error> {
        const BAD: Error = Error("HEVC header");
        let hvcc: Hvcc = read(record, BAD)?;
        // Of lengths of three bytes nobody knows, and without parameters nothing can be decoded.
        if hvcc.length_size_minus_one == 2 || hvcc.arrays.is_empty() {
            return Err(BAD);
        }
        let mut units = hvcc
            .arrays
            .iter()
            .filter(|units| units.nal_unit_type == hevc::SPS);
        let sps = units.find_map(|units| units.nalus.first());
        let size = sps.and_then(|sps| hevc::picture_size(sps));
        Ok(VideoConfig {
            codec: VideoCodec::Hevc(hvcc),
            size,
        })
    }

    /// From the AV1CodecConfigurationRecord.
    pub fn av1(record: &[u8]) -> Result<VideoConfig, Error> {
        let av1c: Av1c = read(record, Error("AV1 header"))?;
        let size = av1::picture_size(&av1c.config_obus);
        Ok(VideoConfig {
            codec: VideoCodec::Av1(av1c),
            size,
        })
    }

    /// From the VPCodecConfigurationRecord, which some encoders put behind its box's version.
    pub fn vp9(record: &[u8]) -> Result<VideoConfig, Error> {
        const VERSION: [u8; 4] = [1, 0, 0, 0];
        let record = record.strip_prefix(&VERSION).unwrap_or(record);
        let record = [&VERSION, record].concat();
        Ok(VideoConfig {
            codec: VideoCodec::Vp9(read(&record, Error("VP9 header"))?),
            size: None,
        })
    }

    /// Takes the size from a key frame, where that is what tells it. True if it was another.
    pub fn resize(&mut self, key_frame: &[u8]) -> bool {
        let size = match self.codec {
            VideoCodec::Vp9(_) => vp9::picture_size(key_frame),
            VideoCodec::Avc(_) | VideoCodec::Hevc(_) | VideoCodec::Av1(_) => None,
        };
        let other = size.is_some() && size != self.size;
        self.size = size.or(self.size);
        other
    }

    /// As RFC 6381 and the codecs' own bindings write it.
    pub fn name(&self) -> String {
        match &self.codec {
            VideoCodec::Avc(Avcc {
                avc_profile_indication: profile,
                profile_compatibility: compatibility,
                avc_level_indication: level,
                ..
            }) => format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"),
            VideoCodec::Hevc(hvcc) => hevc_name(hvcc),
            VideoCodec::Av1(av1c) => {
                let tier = if av1c.seq_tier_0 { 'H' } else { 'M' };
                let depth = match (av1c.high_bitdepth, av1c.twelve_bit) {
                    (false, _) => 8,
                    (true, false) => 10,
                    (true, true) => 12,
                };
                let (profile, level) = (av1c.seq_profile, av1c.seq_level_idx_0);
                format!("av01.{profile}.{level:02}{tier}.{depth:02}")
            }
            VideoCodec::Vp9(vpcc) => format!(
                "vp09.{:02}.{:02}.{:02}",
                vpcc.profile, vpcc.level, vpcc.bit_depth
            ),
        }
    }
}

/// ISO/IEC 14496-15, annex E.3.
fn hevc_name(hvcc: &Hvcc) -> String {
    let space = match hvcc.general_profile_space {
        1 => "A",
        2 => "B",
        3 => "C",
        _ => "",
    };
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let mut name = format!(
        "hvc1.{space}{}.{compatibility:X}.{tier}{}",
        hvcc.general_profile_idc, hvcc.general_level_idc
    );
    let constraints = &hvcc.general_constraint_indicator_flags;
    let used = constraints.iter().rposition(|byte| *byte != 0);
    for byte in constraints.iter().take(used.map_or(0, |last| last + 1)) {
        name += &format!(".{byte:X}");
    }
    name
}

/// What contradicts itself can be read, but not written.
fn is_coherent(atom: &impl Atom) -> bool {
    atom.encode(&mut Vec::new()).is_ok()
}

/// All of a record.
fn read<A: Atom>(mut record: &[u8], bad: Error) -> Result<A, Error> {
    if record.len() > MAX_RECORD {
        return Err(bad);
    }
    A::decode_body(&mut record)
        .ok()
        .filter(is_coherent)
        .ok_or(bad)
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
                codec: AudioCodec::Aac {
                    specific,
                    frame_length,
                },
                sample_rate,
                channels,
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

    /// From the identification header of Ogg, which enhanced RTMP uses too.
    pub fn opus(header: &[u8]) -> Result<AudioConfig, Error> {
        let dops = opus::header(header).filter(is_coherent);
        let dops = dops.ok_or(Error("Opus header"))?;
        Ok(AudioConfig {
            sample_rate: opus::RATE,
            channels: dops.output_channel_count,
            codec: AudioCodec::Opus(dops),
        })
    }

    /// Samples in a frame. `None` if it is no frame at all.
    pub fn frame_length(&self, frame: &[u8]) -> Option<u32> {
        match &self.codec {
            AudioCodec::Aac { frame_length, .. } => Some(*frame_length),
            AudioCodec::Opus(_) => opus::frame_length(frame),
        }
    }

    /// As RFC 6381 writes it.
    pub fn name(&self) -> String {
        match &self.codec {
            AudioCodec::Aac { specific, .. } => {
                format!("mp4a.40.{}", specific.first().map_or(2, |byte| byte >> 3))
            }
            AudioCodec::Opus(_) => "opus".to_owned(),
        }
    }
}

/// Without the byte that stands after each two zeros, so that no unit seems to begin there.
fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(unit.len());
    for &byte in unit {
        if byte == 3 && plain.ends_with(&[0, 0]) {
            continue;
        }
        plain.push(byte);
    }
    plain
}

fn picture_side(pixels: u32) -> Option<u16> {
    let sane = (1..=MAX_SIDE).contains(&pixels);
    sane.then(|| u16::try_from(pixels).ok())?
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

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= 8 * self.bytes.len()).then_some(())
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

    /// What is not shown of the picture: left, right, top and bottom; zeros where nothing is said.
    fn margins(&mut self) -> Option<[u32; 4]> {
        let mut margins = [0; 4];
        if self.take(1)? == 1 {
            for margin in &mut margins {
                *margin = self.golomb()?;
            }
        }
        Some(margins)
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

    const HEVC_320X180: &[u8] = &[
        0x01, 0x01, 0x60, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3C, 0xF0, 0x00,
        0xFC, 0xFD, 0xF8, 0xF8, 0x00, 0x00, 0x0F, 0x03, 0xA0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01,
        0x0C, 0x01, 0xFF, 0xFF, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
        0x00, 0x03, 0x00, 0x3C, 0x95, 0x94, 0x09, 0xA1, 0x00, 0x01, 0x00, 0x2B, 0x42, 0x01, 0x01,
        0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3C,
        0xA0, 0x0A, 0x08, 0x0C, 0x1F, 0x3E, 0x59, 0x59, 0x52, 0x93, 0x0B, 0xC0, 0x5A, 0x02, 0x00,
        0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x32, 0x10, 0xA2, 0x00, 0x01, 0x00, 0x06,
        0x44, 0x01, 0xC0, 0x73, 0xC0, 0x89,
    ];

    const AV1_320X180: &[u8] = &[
        0x81, 0x00, 0x0C, 0x00, 0x0A, 0x0B, 0x00, 0x00, 0x00, 0x04, 0x3C, 0xFE, 0xCC, 0xDA, 0xF9,
        0x00, 0x40,
    ];

    #[test]
    fn headers_of_other_codecs_tell_the_size_too() {
        let hevc = VideoConfig::hevc(HEVC_320X180).unwrap();
        assert_eq!(hevc.size, Some((320, 180)));
        let av1 = VideoConfig::av1(AV1_320X180).unwrap();
        assert_eq!(av1.size, Some((320, 180)));
    }

    #[test]
    fn vp9_tells_the_size_in_its_key_frames() {
        let mut vp9 = VideoConfig::vp9(&[0, 10, 0x80, 1, 1, 1, 0, 0]).unwrap();
        let key_frame = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xF0, 0x0B, 0x36, 0x06];
        assert!(vp9.resize(&key_frame));
        assert_eq!(vp9.size, Some((320, 180)));
        assert!(!vp9.resize(&key_frame));
        assert!(!vp9.resize(&[0x86, 0x00, 0x40]));
        assert_eq!(vp9.size, Some((320, 180)));
        // RGB, and yet with half the colours.
        assert!(VideoConfig::vp9(&[0, 10, 0x80, 1, 1, 0, 0, 0]).is_err());
    }

    #[test]
    fn size_and_name_of_a_picture() {
        let config = VideoConfig::avc(AVC_320X240).unwrap();
        assert_eq!(config.size, Some((320, 240)));
        assert_eq!(config.name(), "avc1.64000d");
    }

    #[test]
    fn rates_and_channels_of_sound() {
        let aac = |bytes: &'static [u8]| AudioConfig::aac(Bytes::from_static(bytes)).unwrap();
        let lc = aac(&[0x12, 0x10]);
        assert_eq!((lc.sample_rate, lc.channels), (44100, 2));
        assert_eq!(lc.frame_length(b"frame"), Some(1024));
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
            let _ = sps::picture_size(&bytes);
            let _ = VideoConfig::hevc(&bytes);
            let _ = VideoConfig::av1(&bytes);
            if let Ok(mut vp9) = VideoConfig::vp9(&bytes) {
                vp9.resize(&bytes);
            }
            let _ = (av1::picture_size(&bytes), hevc::picture_size(&bytes), vp9::picture_size(&bytes));
            if let Ok(opus) = AudioConfig::opus(&bytes) {
                let _ = opus.frame_length(&bytes);
            }
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
