//! The files that a segmentation leaves: labels, polygons, probabilities.

use std::path::{Path, PathBuf};

use mmovseg_engine::{ENTROPY_BAND, PixelShares, Wanted};
use mmovseg_raster::{
    GeoJsonOptions, GeoRef, category_names_xml, class_colours, geojson, indexed_png, label_geotiff,
    share_geotiff,
};
use mmovseg_weights::Manifest;

use crate::output::Outputs;

/// Where the results of one pair go.
#[derive(Clone, Debug, Default)]
pub struct LabelFiles {
    pub labels: PathBuf,
    pub geojson: Option<PathBuf>,
    pub simplify_px: f64,
    pub probabilities: Option<PathBuf>,
    pub entropy: Option<PathBuf>,
}

/// What the files say of the run.
pub struct About<'a> {
    pub names: &'a [String],
    pub palette: &'a [[u8; 3]],
    pub georef: Option<&'a GeoRef>,
    /// The optical file.
    pub source: String,
    pub model: String,
    /// Seconds since 1970.
    pub time_s: u64,
}

impl LabelFiles {
    /// All paths that are written.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let more = [&self.geojson, &self.probabilities, &self.entropy];
        std::iter::once(self.labels.as_path())
            .chain(more.into_iter().flatten().map(PathBuf::as_path))
    }

    /// What has to be computed beside the labels.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            confidence: self.geojson.is_some(),
            classes: self.probabilities.is_some(),
            entropy: self.entropy.is_some(),
        }
    }

    /// Writes all files of a scene that is in memory.
    pub fn add(
        &self,
        outputs: &mut Outputs,
        labels: &[u8],
        [width_px, height_px]: [usize; 2],
        shares: &PixelShares,
        about: &About<'_>,
    ) -> anyhow::Result<()> {
        let (w, h) = (width_px, height_px);
        if is_tiff(&self.labels) {
            let bytes = label_geotiff(labels, w, h, about.palette, about.names, about.georef)?;
            outputs.add(&self.labels, &bytes)?;
            self.add_names(outputs, about)?;
        } else {
            outputs.add(&self.labels, &indexed_png(labels, w, h, about.palette)?)?;
        }
        if let Some(path) = &self.probabilities {
            let bytes = share_geotiff(&shares.classes, w, h, about.names, about.georef)?;
            outputs.add(path, &bytes)?;
        }
        if let Some(path) = &self.entropy {
            let bands = [ENTROPY_BAND.to_owned()];
            let bytes = share_geotiff(&shares.entropy, w, h, &bands, about.georef)?;
            outputs.add(path, &bytes)?;
        }
        self.add_polygons(outputs, labels, [w, h], &shares.confidence, about)
    }

    /// GDAL's side file with the names of the classes.
    pub fn add_names(&self, outputs: &mut Outputs, about: &About<'_>) -> anyhow::Result<()> {
        let mut name = self.labels.clone().into_os_string();
        name.push(".aux.xml");
        outputs.add(Path::new(&name), category_names_xml(about.names).as_bytes())
    }

    /// The polygons.
    pub fn add_polygons(
        &self,
        outputs: &mut Outputs,
        labels: &[u8],
        [w, h]: [usize; 2],
        confidence: &[u8],
        about: &About<'_>,
    ) -> anyhow::Result<()> {
        let Some(path) = &self.geojson else {
            return Ok(());
        };
        let properties = [
            ("source", about.source.clone()),
            ("model", about.model.clone()),
            ("time", utc(about.time_s)),
        ];
        let options = GeoJsonOptions {
            georef: about.georef,
            simplify_px: self.simplify_px,
            confidence: Some(confidence),
            properties: &properties,
        };
        let text = geojson(labels, w, h, about.names, about.palette, &options)?;
        outputs.add(path, text.as_bytes())
    }
}

/// Whether a file's name asks for a TIFF.
pub fn is_tiff(path: &Path) -> bool {
    path.extension().is_some_and(|end| {
        ["tif", "tiff"]
            .iter()
            .any(|known| end.eq_ignore_ascii_case(known))
    })
}

/// The colour of each class: the package's own where it names the class.
pub fn palette(manifest: &Manifest, classes: &[String]) -> Vec<[u8; 3]> {
    class_colours(classes, &manifest.named_colours())
}

/// Seconds since 1970 as a date and time in UTC (RFC 3339).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days from 0000-03-01, in eras of 400 years (Hinnant, "chrono-compatible low-level date
    // algorithms").
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (date, month, year) = (
        day - (153 * month + 2) / 5 + 1,
        if month < 10 { month + 3 } else { month - 9 },
        era * 400 + year + u64::from(month >= 10),
    );
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn seconds_become_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
