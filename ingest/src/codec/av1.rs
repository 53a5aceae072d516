//! The size of AV1's pictures, from their sequence header (AV1, 5.5).

use super::{Bits, picture_side};

const SEQUENCE_HEADER: u32 = 1;

/// From units one behind the other, as they stand in a configuration record.
pub(super) fn picture_size(mut units: &[u8]) -> Option<(u16, u16)> {
    loop {
        let mut bits = Bits::new(units);
        bits.take(1)?;
        let kind = bits.take(4)?;
        let (extended, sized) = (bits.take(1)? == 1, bits.take(1)? == 1);
        bits.take(1)?;
        let header = 1 + usize::from(extended);
        let body = units.get(header..)?;
        let (len, body) = if sized {
            size(body)?
        } else {
            (body.len(), body)
        };
        if kind == SEQUENCE_HEADER {
            return sequence_header(body.get(..len)?);
        }
        units = body.get(len..)?;
    }
}

/// A number in groups of seven bits, the lowest first.
fn size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[n + 1..]));
        }
    }
    None
}

fn sequence_header(header: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(header);
    bits.take(3)?; // profile
    bits.take(1)?; // a still picture
    let reduced = bits.take(1)? == 1;
    if reduced {
        bits.take(5)?; // level
    } else {
        operating_points(&mut bits)?;
    }
    let (width, height) = (bits.take(4)? + 1, bits.take(4)? + 1);
    let width = bits.take(width as usize)?.checked_add(1)?;
    let height = bits.take(height as usize)?.checked_add(1)?;
    Some((picture_side(width)?, picture_side(height)?))
}

/// Timing and operating points, all that stands before the size.
fn operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut delay = None;
    if bits.take(1)? == 1 {
        bits.skip(64)?; // units in a tick, ticks in a second
        if bits.take(1)? == 1 {
            bits.golomb()?; // ticks a picture
        }
        if bits.take(1)? == 1 {
            delay = Some(bits.take(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let initial_delay = bits.take(1)? == 1;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?;
        let level = bits.take(5)?;
        if level > 7 {
            bits.take(1)?; // tier
        }
        if let Some(delay) = delay
            && bits.take(1)? == 1
        {
            bits.skip(2 * delay + 1)?;
        }
        if initial_delay && bits.take(1)? == 1 {
            bits.take(4)?;
        }
    }
    Some(())
}
