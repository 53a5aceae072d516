//! How a stream's frames are to be decoded: what the sequence headers of its codecs say.

mod opus;
mod sps;

use bytes::Bytes;
use mp4_atom::{Atom, Av1c, Avcc, Dops, Hvcc, VpcC};

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
        Ok(VideoCodec::Hevc(hvcc).into())
    }

    /// From the AV1CodecConfigurationRecord.
    pub fn av1(record: &[u8]) -> Result<VideoConfig, Error> {
        Ok(VideoCodec::Av1(read(record, Error("AV1 header"))?).into())
    }

    /// From the VPCodecConfigurationRecord, which some encoders put behind its box's version.
    pub fn vp9(record: &[u8]) -> Result<VideoConfig, Error> {
        const VERSION: [u8; 4] = [1, 0, 0, 0];
        let record = record.strip_prefix(&VERSION).unwrap_or(record);
        let record = [&VERSION, record].concat();
        Ok(VideoCodec::Vp9(read(&record, Error("VP9 header"))?).into())
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

impl From<VideoCodec> for VideoConfig {
    fn from(codec: VideoCodec) -> VideoConfig {
        VideoConfig { codec, size: None }
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

/// All of a record.
fn read<A: Atom>(mut record: &[u8], bad: Error) -> Result<A, Error> {
    if record.len() > MAX_RECORD {
        return Err(bad);
    }
    A::decode_body(&mut record).map_err(|_| bad)
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
        let dops = opus::header(header).ok_or(Error("Opus header"))?;
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
            let _ = VideoConfig::vp9(&bytes);
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
