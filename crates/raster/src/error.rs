//! What can go wrong with a tile, in sentences a person can act on.

use thiserror::Error;

/// Every failure of this crate. Each message says what is wrong, with which file, and what to do.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RasterError {
    /// The bytes are of none of the formats read here.
    #[error("{name}: not a PNG, JPEG or TIFF file; convert it to one of these")]
    UnknownFormat {
        /// File name as the caller gave it.
        name: String,
    },
    /// The file breaks its own format: cut short, overwritten, or never complete.
    #[error("{name}: the {format} is damaged or incomplete ({what}); fetch or export it again")]
    Damaged {
        /// File name as the caller gave it.
        name: String,
        /// `PNG`, `JPEG` or `TIFF`.
        format: &'static str,
        /// Where reading stopped.
        what: String,
    },
    /// A valid file in an encoding that is not read.
    #[error("{name}: {what} cannot be read; {advice}")]
    Unsupported {
        /// File name as the caller gave it.
        name: String,
        /// The encoding met.
        what: String,
        /// How to make the file readable.
        advice: String,
    },
    /// Larger than [`crate::MAX_SIDE_PX`] or [`crate::MAX_DECODED_BYTES`].
    #[error(
        "{name}: {width_px} x {height_px} px with {bands} bands is over the limit of {} x {} px and {} MiB decoded; cut it into smaller tiles or keep fewer bands",
        crate::MAX_SIDE_PX, crate::MAX_SIDE_PX, crate::MAX_DECODED_BYTES >> 20
    )]
    TooLarge {
        /// File name as the caller gave it.
        name: String,
        /// Columns the file claims.
        width_px: u64,
        /// Rows the file claims.
        height_px: u64,
        /// Bands the file claims.
        bands: u64,
    },
    /// No pixel of the wanted bands holds a measurement.
    #[error(
        "{name}: every pixel is empty (no-data, NaN or zero fill); choose another tile or band"
    )]
    Empty {
        /// File name as the caller gave it.
        name: String,
    },
    /// A band was asked for that the file does not have.
    #[error("{name}: band {} was asked for but the file has {bands}; choose from 1 to {bands}", band + 1)]
    NoSuchBand {
        /// File name as the caller gave it.
        name: String,
        /// The band asked for, 0-based.
        band: usize,
        /// Bands in the file.
        bands: usize,
    },
    /// Two tiles whose places on the ground have nothing in common.
    #[error(
        "{rgb} and {sar} show different places: {rgb_extent} and {sar_extent}; choose two tiles of the same ground"
    )]
    NoOverlap {
        /// The optical file.
        rgb: String,
        /// The SAR file.
        sar: String,
        /// Where the optical file lies.
        rgb_extent: String,
        /// Where the SAR file lies.
        sar_extent: String,
        /// Outlines of both as WGS 84 longitudes and latitudes, where they are known.
        outlines: Box<[Option<Vec<[f64; 2]>>; 2]>,
    },
    /// Two pictures that must have one size do not.
    #[error(
        "the optical tile is {} x {} px but the SAR tile is {} x {} px; bring both to one grid first",
        rgb[0], rgb[1], sar[0], sar[1]
    )]
    SizeMismatch {
        /// Optical width and height in pixels.
        rgb: [usize; 2],
        /// SAR width and height in pixels.
        sar: [usize; 2],
    },
    /// A value handed in by the program makes no sense.
    #[error("{0}")]
    Argument(String),
}
