//! What Opus says of itself: RFC 7845, 5.1, and RFC 6716, 3.1.

use mp4_atom::{Dops, OpusChannelMapping};

/// It is always decoded at this rate, whatever went in.
pub(super) const RATE: u32 = 48_000;

pub(super) fn header(header: &[u8]) -> Option<Dops> {
    let body = header.strip_prefix(b"OpusHead")?;
    let [
        version,
        channels,
        a,
        b,
        r0,
        r1,
        r2,
        r3,
        g0,
        g1,
        family,
        table @ ..,
    ] = body
    else {
        return None;
    };
    if version >> 4 != 0 || *channels == 0 {
        return None;
    }
    let channel_mapping = match (family, table) {
        (0, _) if *channels <= 2 => None,
        (0, _) => return None,
        (_, [stream_count, coupled_count, channel_mapping @ ..]) => Some(OpusChannelMapping {
            family: *family,
            stream_count: *stream_count,
            coupled_count: *coupled_count,
            channel_mapping: channel_mapping.get(..usize::from(*channels))?.to_vec(),
        }),
        _ => return None,
    };
    Some(Dops {
        output_channel_count: *channels,
        pre_skip: u16::from_le_bytes([*a, *b]),
        input_sample_rate: u32::from_le_bytes([*r0, *r1, *r2, *r3]),
        output_gain: i16::from_le_bytes([*g0, *g1]),
        channel_mapping,
    })
}

/// Samples in a packet, at [`RATE`]; 120 ms at most.
pub(super) fn frame_length(packet: &[u8]) -> Option<u32> {
    let (toc, rest) = packet.split_first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3F),
    };
    let length = frame * frames;
    (1..=RATE * 120 / 1000).contains(&length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stereo_of_twenty_milliseconds() {
        let dops = header(b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0").unwrap();
        assert_eq!((dops.output_channel_count, dops.pre_skip), (2, 312));
        assert_eq!(dops.input_sample_rate, 48_000);
        assert_eq!(header(b"OpusHead\x01\x02"), None);
        assert_eq!(
            header(b"OpusHead\x01\x08\0\0\0\0\0\0\0\0\x01\x05\x03\0"),
            None
        );
        assert_eq!(frame_length(&[0xFC, 1, 2]), Some(960));
        assert_eq!(frame_length(&[0xFF, 0x03]), Some(2880));
        assert_eq!(frame_length(&[0xFF, 0x3F]), None);
        assert_eq!(frame_length(&[]), None);
    }
}
