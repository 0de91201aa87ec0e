//! Compressions, bit depths and predictors of TIFF, on the bytes of one strip or tile at a time.
//!
//! Reading is as lenient as libtiff's: a stream may lack its end code or go on after the last
//! pixel. Only a stream that holds fewer bytes than the strip or tile needs is an error.

use std::io::Read;

/// Compressions that hold plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let out = decompress_at_most(compression, packed, size)?;
    if out.len() < size {
        return Err(format!(
            "a strip or tile holds {} of {size} bytes",
            out.len()
        ));
    }
    Ok(out)
}

/// Decompresses at most `size` bytes.
pub(super) fn decompress_at_most(
    compression: Compression,
    packed: &[u8],
    size: usize,
) -> Result<Vec<u8>, String> {
    Ok(match compression {
        Compression::None => packed[..packed.len().min(size)].to_vec(),
        Compression::Deflate => read_at_most(flate2::read::ZlibDecoder::new(packed), size)?,
        Compression::Zstandard => {
            let decoder =
                ruzstd::decoding::StreamingDecoder::new(packed).map_err(|e| e.to_string())?;
            read_at_most(decoder, size)?
        }
        Compression::Lzw => unpack_lzw(packed, size)?,
        Compression::PackBits => unpack_packbits(packed, size),
    })
}

/// Reads until the stream ends, breaks or `size` bytes are there. A stream that breaks after all of
/// its pixels (a wrong checksum, a missing end) is not refused, as in libtiff.
fn read_at_most(reader: impl Read, size: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match reader.take(size as u64).read_to_end(&mut out) {
        Err(error) if out.len() < size => Err(error.to_string()),
        _ => Ok(out),
    }
}

/// LZW of TIFF 6.0, section 13, and the variant of writers before 1988 (least significant bit
/// first), which is told by its first code as in libtiff.
fn unpack_lzw(packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    /// Bytes the output grows by: the size is only what the header claims.
    const STEP: usize = 1 << 16;
    let old_style = matches!(packed, [0, second, ..] if second & 1 == 1);
    let mut decoder = if old_style {
        weezl::decode::Decoder::new(weezl::BitOrder::Lsb, 8)
    } else {
        weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
    };
    let mut out = Vec::new();
    let mut rest = packed;
    while out.len() < size {
        let filled = out.len();
        // A fixed step: the decoder returns at each clear code, of which a strip has any number.
        out.resize(filled.saturating_add(STEP).min(size), 0);
        let result = decoder.decode_bytes(rest, &mut out[filled..]);
        rest = &rest[result.consumed_in..];
        out.truncate(filled + result.consumed_out);
        match result.status.map_err(|e| e.to_string())? {
            weezl::LzwStatus::Ok if result.consumed_in + result.consumed_out > 0 => {}
            _ => break,
        }
    }
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

/// Bytes that a sample of up to 32 bits takes once it is unpacked.
pub(super) fn whole_bytes(bits: usize) -> usize {
    match bits {
        ..=8 => 1,
        9..=16 => 2,
        _ => 4,
    }
}

/// Rows of `row_samples` values of `bits` bits (1 to 32, most significant bit first), each row
/// starting on a byte, to [`whole_bytes`] a value, little-endian.
pub(super) fn unpack_bits(packed: &[u8], row_samples: usize, bits: usize) -> Vec<u8> {
    let row_bytes = (row_samples * bits).div_ceil(8).max(1);
    let bytes = whole_bytes(bits);
    let mask = (1_u64 << bits) - 1;
    let mut out = Vec::with_capacity(packed.len() / row_bytes * row_samples * bytes);
    for row in packed.chunks_exact(row_bytes) {
        for i in 0..row_samples {
            let from = i * bits;
            let (first, end) = (from / 8, (from + bits).div_ceil(8));
            let word = row[first..end]
                .iter()
                .fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
            let value = word >> (end * 8 - from - bits) & mask;
            out.extend_from_slice(&value.to_le_bytes()[..bytes]);
        }
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

/// Undoes predictor 3 (Adobe Photoshop TIFF technical note 3): bytes are stored as differences, and
/// a row as all highest bytes, then all second highest, and so on. Leaves little-endian samples.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::{Compression, decompress, unpack_bits, whole_bytes};

    /// The step of the output buffer doubled at each clear code: 48 of them overflowed a `usize`,
    /// and 16 on a 32-bit machine. GDAL's default COG has more in each of its tiles of 512 px.
    #[test]
    fn lzw_with_many_clear_codes_is_read_to_its_end() {
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..512 * 512 * 3)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as u8
            })
            .collect();
        let packed = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
            .encode(&noise)
            .unwrap();
        // Noise fills the table of 4096 codes after as many bytes: some 200 clear codes.
        assert!(packed.len() > noise.len());
        assert_eq!(
            decompress(Compression::Lzw, &packed, noise.len()).unwrap(),
            noise
        );
    }

    #[test]
    fn streams_without_an_end_and_with_bytes_after_it_are_read() {
        let data: Vec<u8> = (0..4000_u32).map(|i| ((i * i) >> 5) as u8).collect();
        let lzw = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
            .encode(&data)
            .unwrap();
        let mut longer = lzw.clone();
        longer.extend([0xaa; 9]);
        for packed in [&lzw[..lzw.len() - 1], &longer] {
            assert_eq!(
                decompress(Compression::Lzw, packed, data.len()).unwrap(),
                data
            );
        }
        let half = decompress(Compression::Lzw, &lzw[..lzw.len() / 2], data.len());
        assert!(half.unwrap_err().contains("of 4000 bytes"));
    }

    #[test]
    fn lzw_of_writers_before_1988_is_told_by_its_first_code() {
        let data: Vec<u8> = (0..4000_u32).map(|i| (i / 7) as u8).collect();
        let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8)
            .encode(&data)
            .unwrap();
        assert_eq!(
            decompress(Compression::Lzw, &packed, data.len()).unwrap(),
            data
        );
    }

    #[test]
    fn samples_of_any_depth_up_to_32_bits_are_unpacked() {
        for bits in 1..=32_usize {
            let values: Vec<u32> = (0..13_u32)
                .map(|i| i.wrapping_mul(2_654_435_761) >> (32 - bits))
                .collect();
            let mut packed = vec![0_u8; (13 * bits).div_ceil(8)];
            for (i, value) in values.iter().enumerate() {
                for bit in 0..bits {
                    let at = i * bits + bit;
                    packed[at / 8] |= ((value >> (bits - 1 - bit) & 1) as u8) << (7 - at % 8);
                }
            }
            let bytes = unpack_bits(&packed, 13, bits);
            let number = |bytes: &[u8]| {
                let high_first = bytes.iter().rev();
                high_first.fold(0, |value, &byte| value << 8 | u32::from(byte))
            };
            let found: Vec<u32> = bytes.chunks(whole_bytes(bits)).map(number).collect();
            assert_eq!(found, values, "{bits} bits");
        }
    }
}
