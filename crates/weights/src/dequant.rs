//! Block quantisation, the reading half: symmetric, blocks of 32 along a row, one f16 scale for
//! each block. A value is `scale * q`, with q an i8 (q8) or a nibble less 8 (q4).

use half::f16;

/// Values that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Bytes of one q4 row: two values a byte, rows start on whole bytes.
pub(crate) fn q4_row_bytes(cols: usize) -> usize {
    cols.div_ceil(2)
}

/// Scales of one row from little-endian bytes; `None` when one is not finite.
pub(crate) fn read_scales(bytes: &[u8]) -> Option<Vec<f32>> {
    bytes
        .chunks_exact(2)
        .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
        .map(|scale| scale.is_finite().then_some(scale))
        .collect()
}

/// Appends the f32 values of a row of q8 to `out`; `None` when a scale is not finite.
///
/// `values` holds one byte a column and `scales` two bytes a block: the caller has checked that.
pub(crate) fn q8_restore(values: &[u8], scales: &[u8], out: &mut Vec<f32>) -> Option<()> {
    for (block, scale) in values.chunks(BLOCK).zip(read_scales(scales)?) {
        out.extend(block.iter().map(|q| f32::from(q.cast_signed()) * scale));
    }
    Some(())
}

/// Appends the `cols` f32 values of a row of q4 to `out`; `None` when a scale is not finite.
///
/// `values` holds [`q4_row_bytes`] bytes and `scales` two bytes a block: the caller has checked
/// that.
pub(crate) fn q4_restore(
    values: &[u8],
    scales: &[u8],
    cols: usize,
    out: &mut Vec<f32>,
) -> Option<()> {
    let end = out.len() + cols;
    for (block, scale) in values.chunks(BLOCK / 2).zip(read_scales(scales)?) {
        for byte in block {
            out.push((f32::from(byte & 15) - 8.0) * scale);
            out.push((f32::from(byte >> 4) - 8.0) * scale);
        }
    }
    out.truncate(end);
    Some(())
}
