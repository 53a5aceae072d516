//! The size of HEVC's pictures, from their sequence parameter set (H.265, 7.3.2.2).

use super::{Bits, picture_side, unescape};

/// The kind of unit that is a sequence parameter set.
pub(super) const SPS: u8 = 33;
/// Profile, compatibility and constraints, as they stand before each level.
const PROFILE: usize = 88;

pub(super) fn picture_size(sps: &[u8]) -> Option<(u16, u16)> {
    let plain = unescape(sps);
    // Behind the unit's header of two bytes.
    let mut bits = Bits::new(plain.get(2..)?);
    bits.take(4)?; // the video parameter set's id
    let layers = bits.take(3)?;
    bits.take(1)?;
    bits.skip(PROFILE + 8)?;
    let mut told = Vec::new();
    for _ in 0..layers {
        told.push((bits.take(1)? == 1, bits.take(1)? == 1));
    }
    if layers > 0 {
        // Room for eight layers.
        bits.skip(2 * (8 - layers as usize))?;
    }
    for (profile, level) in told {
        bits.skip(if profile { PROFILE } else { 0 })?;
        bits.skip(if level { 8 } else { 0 })?;
    }
    bits.golomb()?; // id
    let chroma = bits.golomb()?;
    if chroma == 3 {
        bits.take(1)?; // separate planes
    }
    let (width, height) = (bits.golomb()?, bits.golomb()?);
    let [left, right, top, bottom] = bits.margins()?;
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let side = |pixels: u32, cropped: Option<u32>, unit: u32| {
        picture_side(pixels.checked_sub(cropped?.checked_mul(unit)?)?)
    };
    Some((
        side(width, left.checked_add(right), unit_x)?,
        side(height, top.checked_add(bottom), unit_y)?,
    ))
}
