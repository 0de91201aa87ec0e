//! The orientation that cameras and drones store in EXIF data.

use crate::{Raster, Samples};

/// The orientation, 1 to 8, in a block of EXIF data (a TIFF directory, perhaps after `Exif\0\0`); 1
/// when there is none.
pub(super) fn orientation(exif: &[u8]) -> u8 {
    read(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
        .filter(|value| (1..=8).contains(value))
        .unwrap_or(1)
}

fn read(tiff: &[u8]) -> Option<u8> {
    const ORIENTATION: u16 = 274;
    let little = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let bytes = [*tiff.get(at)?, *tiff.get(at + 1)?];
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let (a, b) = (short(4)?, short(6)?);
    let (high, low) = if little { (b, a) } else { (a, b) };
    let directory = usize::from(high) << 16 | usize::from(low);
    let count = short(directory)?;
    (0..usize::from(count))
        .map(|i| directory + 2 + 12 * i)
        .find(|&at| short(at) == Some(ORIENTATION))
        .and_then(|at| u8::try_from(short(at + 8)?).ok())
}

/// Turns or mirrors a picture so that its top is up, with a note.
pub(super) fn apply(raster: Raster, orientation: u8) -> Raster {
    if orientation <= 1 {
        return raster;
    }
    let (w, h) = (raster.width_px, raster.height_px);
    let swaps = orientation >= 5;
    let (width_px, height_px) = if swaps { (h, w) } else { (w, h) };
    let source = |x: usize, y: usize| -> usize {
        let (x, y) = match orientation {
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (y, h - 1 - x),
            7 => (w - 1 - y, h - 1 - x),
            _ => (w - 1 - y, x),
        };
        y * w + x
    };
    let pixels: Vec<usize> = (0..width_px * height_px)
        .map(|i| source(i % width_px, i / width_px))
        .collect();
    let samples: Vec<usize> = pixels
        .iter()
        .flat_map(|&pixel| (0..raster.bands).map(move |band| pixel * raster.bands + band))
        .collect();
    let samples: Samples = raster.samples.permuted(&samples);
    let mask = raster
        .mask
        .as_ref()
        .map(|mask| pixels.iter().map(|&pixel| mask[pixel]).collect());
    let mut notes = raster.notes.clone();
    notes.push(format!(
        "{}: turned or mirrored as its EXIF orientation ({orientation}) says",
        raster.name
    ));
    Raster {
        width_px,
        height_px,
        samples,
        mask,
        notes,
        ..raster
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::{apply, orientation};
    use crate::{Raster, Samples};

    fn block(value: u8, little: bool) -> Vec<u8> {
        let mut out = b"Exif\0\0".to_vec();
        if little {
            out.extend(b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0");
            out.extend([value, 0, 0, 0]);
        } else {
            out.extend(b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01");
            out.extend([0, value, 0, 0]);
        }
        out
    }

    #[test]
    fn orientation_is_read_in_both_byte_orders_and_nonsense_is_upright() {
        for value in 1..=8 {
            assert_eq!(orientation(&block(value, true)), value);
            assert_eq!(orientation(&block(value, false)), value);
        }
        for bad in [
            block(0, true),
            block(9, false),
            vec![],
            b"Exif\0\0II".to_vec(),
        ] {
            assert_eq!(orientation(&bad), 1);
        }
    }

    #[test]
    fn every_orientation_puts_the_first_pixel_where_exif_says() {
        // Row 0 and column 0 of the stored picture: "top, left", "top, right", … (EXIF 2.32, table
        // 6).
        let stored = Raster::plain("t", [3, 2], 1, Samples::U8((1..=6).collect()));
        let upright: [(u8, [usize; 2], [u8; 6]); 8] = [
            (1, [3, 2], [1, 2, 3, 4, 5, 6]),
            (2, [3, 2], [3, 2, 1, 6, 5, 4]),
            (3, [3, 2], [6, 5, 4, 3, 2, 1]),
            (4, [3, 2], [4, 5, 6, 1, 2, 3]),
            (5, [2, 3], [1, 4, 2, 5, 3, 6]),
            (6, [2, 3], [4, 1, 5, 2, 6, 3]),
            (7, [2, 3], [6, 3, 5, 2, 4, 1]),
            (8, [2, 3], [3, 6, 2, 5, 1, 4]),
        ];
        for (orientation, size, pixels) in upright {
            let found = apply(stored.clone(), orientation);
            assert_eq!([found.width_px, found.height_px], size, "{orientation}");
            assert_eq!(found.samples, Samples::U8(pixels.to_vec()), "{orientation}");
        }
    }
}
