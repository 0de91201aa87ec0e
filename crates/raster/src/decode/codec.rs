//! The compressions and predictors of TIFF, on one strip or tile at a time.

use std::io::Read;

/// Compressions that hold plain bytes (JPEG holds pictures and is treated apart).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstandard,
}

/// Decompresses at most `size` bytes; a chunk that holds fewer is an error.
pub(super) fn decompress(
    compression: Compression,
    packed: &[u8],
    size: usize,
) -> Result<Vec<u8>, String> {
    let out = match compression {
        Compression::None => packed[..packed.len().min(size)].to_vec(),
        Compression::Deflate => read_at_most(flate2::read::ZlibDecoder::new(packed), size)?,
        Compression::Zstandard => {
            let decoder =
                ruzstd::decoding::StreamingDecoder::new(packed).map_err(|e| e.to_string())?;
            read_at_most(decoder, size)?
        }
        Compression::Lzw => {
            let mut out = Vec::new();
            let mut decoder =
                weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
            // Grown step by step: `size` is only what the header claims.
            let (mut rest, mut step) = (packed, 1 << 16);
            while out.len() < size {
                let filled = out.len();
                out.resize((filled + step).min(size), 0);
                let result = decoder.decode_bytes(rest, &mut out[filled..]);
                rest = &rest[result.consumed_in..];
                out.truncate(filled + result.consumed_out);
                match result.status.map_err(|e| e.to_string())? {
                    weezl::LzwStatus::Ok if result.consumed_in + result.consumed_out > 0 => {}
                    _ => break,
                }
                step *= 2;
            }
            out
        }
        Compression::PackBits => unpack_packbits(packed, size),
    };
    if out.len() < size {
        return Err(format!(
            "a strip or tile holds {} of {size} bytes",
            out.len()
        ));
    }
    Ok(out)
}

fn read_at_most(reader: impl Read, size: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    reader
        .take(size as u64)
        .read_to_end(&mut out)
        .map_err(|e| e.to_string())?;
    Ok(out)
}

/// TIFF 6.0, section 9.
fn unpack_packbits(packed: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = packed;
    while let (true, [head, tail @ ..]) = (out.len() < size, rest) {
        rest = tail;
        match head.cast_signed() {
            -128 => {}
            n @ 0.. => {
                let (literal, tail) =
                    rest.split_at((usize::from(n.unsigned_abs()) + 1).min(rest.len()));
                out.extend_from_slice(literal);
                rest = tail;
            }
            n => {
                let [byte, tail @ ..] = rest else { break };
                out.resize(out.len() + usize::from(n.unsigned_abs()) + 1, *byte);
                rest = tail;
            }
        }
    }
    out.truncate(size);
    out
}

/// Rows of `row_samples` values of 1, 2 or 4 bits, each row starting on a byte, to one byte a value.
pub(super) fn unpack_bits(packed: &[u8], row_samples: usize, bits: usize) -> Vec<u8> {
    let row_bytes = (row_samples * bits).div_ceil(8).max(1);
    let mask = ((1_u16 << bits) - 1) as u8;
    let mut out = Vec::with_capacity(packed.len() / row_bytes * row_samples);
    for row in packed.chunks_exact(row_bytes) {
        out.extend((0..row_samples).map(|i| {
            let bit = i * bits;
            row[bit / 8] >> (8 - bits - bit % 8) & mask
        }));
    }
    out
}

/// Turns samples of `bytes` bytes from big- to little-endian.
pub(super) fn swap_bytes(data: &mut [u8], bytes: usize) {
    for sample in data.chunks_exact_mut(bytes) {
        sample.reverse();
    }
}

/// Undoes predictor 2 (TIFF 6.0, section 14): each sample is stored as the difference to the one
/// `stride` samples before. Little-endian samples of `bytes` bytes.
pub(super) fn undo_differences(data: &mut [u8], row_bytes: usize, stride: usize, bytes: usize) {
    let back = stride * bytes;
    for row in data.chunks_exact_mut(row_bytes) {
        let mut at = back;
        while at + bytes <= row.len() {
            let mut carry = 0_u16;
            for i in at..at + bytes {
                // Schoolbook addition from the lowest byte on serves every sample width.
                let sum = u16::from(row[i]) + u16::from(row[i - back]) + carry;
                row[i] = sum as u8;
                carry = sum >> 8;
            }
            at += bytes;
        }
    }
}

/// Undoes predictor 3 (Adobe Photoshop TIFF technical note 3): bytes are stored as differences, and a
/// row as all highest bytes, then all second highest, and so on. Leaves little-endian samples.
pub(super) fn undo_float_differences(
    data: &mut [u8],
    row_bytes: usize,
    stride: usize,
    bytes: usize,
) {
    let mut planes = vec![0; row_bytes];
    for row in data.chunks_exact_mut(row_bytes) {
        for i in stride..row.len() {
            row[i] = row[i].wrapping_add(row[i - stride]);
        }
        planes.copy_from_slice(row);
        let samples = row_bytes / bytes;
        for (i, sample) in row.chunks_exact_mut(bytes).enumerate() {
            for (place, byte) in sample.iter_mut().rev().enumerate() {
                *byte = planes[place * samples + i];
            }
        }
    }
}
