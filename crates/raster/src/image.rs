//! The 8-bit picture that all other crates read.

/// An 8-bit, three-channel picture, row-major, channels interleaved: `[height_px, width_px, 3]`.
///
/// SAR tiles use it too, with three equal channels when the source has one band (docs/network.md
/// §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb8 {
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// `height_px * width_px * 3` bytes.
    pub data: Vec<u8>,
}

impl Rgb8 {
    /// A picture filled with one byte.
    #[must_use]
    pub fn filled(width_px: usize, height_px: usize, byte: u8) -> Self {
        Self {
            width_px,
            height_px,
            data: vec![byte; width_px * height_px * 3],
        }
    }

    /// A grey picture with the same byte in all three channels.
    ///
    /// # Panics
    /// When `grey` does not hold `width_px * height_px` bytes: a bug of the caller, never of input.
    #[must_use]
    pub fn from_grey(width_px: usize, height_px: usize, grey: &[u8]) -> Self {
        assert_eq!(
            grey.len(),
            width_px * height_px,
            "grey plane does not fill the picture"
        );
        Self {
            width_px,
            height_px,
            data: grey.iter().flat_map(|&v| [v, v, v]).collect(),
        }
    }

    /// A part, `size` pixels (width, height) from `at` (column, row) on; past the picture's edge
    /// its last pixels repeat.
    ///
    /// # Panics
    /// When column `at[0]` is not in the picture, or there are no rows: a bug of the caller, never
    /// of input.
    #[must_use]
    pub fn crop(&self, at: [usize; 2], size: [usize; 2]) -> Self {
        let mut data = Vec::with_capacity(3 * size[0] * size[1]);
        let whole = size[0].min(self.width_px.saturating_sub(at[0]));
        for y in at[1]..at[1] + size[1] {
            let start = 3 * y.min(self.height_px - 1) * self.width_px;
            let row = &self.data[start..start + 3 * self.width_px];
            data.extend_from_slice(&row[3 * at[0]..3 * (at[0] + whole)]);
            for _ in whole..size[0] {
                data.extend_from_slice(&row[row.len() - 3..]);
            }
        }
        Self {
            width_px: size[0],
            height_px: size[1],
            data,
        }
    }

    /// The three channels of the pixel at column `x_px`, row `y_px`.
    #[must_use]
    pub fn pixel(&self, x_px: usize, y_px: usize) -> [u8; 3] {
        let i = (y_px * self.width_px + x_px) * 3;
        [self.data[i], self.data[i + 1], self.data[i + 2]]
    }
}
