//! The size of H.264's pictures, from their sequence parameter set.

use super::{Bits, picture_side, unescape};

/// Width and height as shown, from a sequence parameter set (H.264, 7.3.2.1.1).
pub(super) fn picture_size(sps: &[u8]) -> Option<(u16, u16)> {
    let plain = unescape(sps);
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
    let [left, right, top, bottom] = bits.margins()?;
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
        picture_side(pixels)
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
