//! The size of VP9's pictures, which their key frames tell and no header does (VP9, 6.2).

use super::{Bits, picture_side};

const SYNC: u32 = 0x49_8342;
const SRGB: u32 = 7;

pub(super) fn picture_size(key_frame: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(key_frame);
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = bits.take(1)? | bits.take(1)? << 1;
    if profile == 3 {
        bits.take(1)?;
    }
    let (shown_before, not_key) = (bits.take(1)?, bits.take(1)?);
    if (shown_before, not_key) != (0, 0) {
        return None;
    }
    bits.take(2)?; // shown, resilient
    if bits.take(24)? != SYNC {
        return None;
    }
    if profile >= 2 {
        bits.take(1)?; // bit depth
    }
    let subsampled = profile & 1 == 1;
    if bits.take(3)? != SRGB {
        bits.take(1)?; // range
        bits.skip(if subsampled { 3 } else { 0 })?;
    } else {
        bits.skip(if subsampled { 1 } else { 0 })?;
    }
    let (width, height) = (bits.take(16)? + 1, bits.take(16)? + 1);
    Some((picture_side(width)?, picture_side(height)?))
}
