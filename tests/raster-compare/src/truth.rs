//! What GDAL read from a file, and how a reader's answer differs from it.

use std::path::Path;

use serde::Deserialize;

/// What a reader found.
#[derive(Default)]
pub struct Found {
    pub size: [usize; 2],
    pub bands: usize,
    /// Pixel-interleaved.
    pub samples: Vec<f64>,
    pub nodata: Option<f64>,
    /// Whether each pixel is valid by mask or alpha; `None` when all are.
    pub valid: Option<Vec<bool>>,
    pub transform: Option<[f64; 6]>,
    pub epsg: Option<u32>,
    pub control_points: usize,
    /// Name, scale and offset of each band; `None` when the reader leaves the XML to its caller.
    pub names_and_scales: Option<Vec<(Option<String>, f64, f64)>>,
}

#[derive(Deserialize)]
struct Info {
    size: [usize; 2],
    bands: usize,
    complex: bool,
    bits: u32,
    dtype: String,
    kind: String,
    white_is_zero: bool,
    tolerance: f64,
    transform: Option<[f64; 6]>,
    epsg: Option<u32>,
    by_parameters: bool,
    gcps: usize,
    nodata: Option<String>,
    scales: Vec<f64>,
    offsets: Vec<f64>,
    names: Vec<Option<String>>,
}

/// What GDAL read.
pub struct Truth {
    info: Info,
    samples: Vec<f64>,
    valid: Vec<bool>,
}

impl Truth {
    pub fn open(json: &Path) -> Self {
        let text = std::fs::read(json).expect("the description");
        let info: Info = serde_json::from_slice(&text).expect("a description of generate.py");
        let raw = std::fs::read(json.with_extension("raw")).expect("the samples");
        let area = info.size[0] * info.size[1];
        let (samples, mask) = raw.split_at(area * info.bands * 8);
        Self {
            samples: samples
                .as_chunks::<8>()
                .0
                .iter()
                .map(|&bytes| f64::from_le_bytes(bytes))
                .collect(),
            valid: mask.iter().map(|&value| value != 0).collect(),
            info,
        }
    }

    /// Which part of `generate.py` wrote the file.
    pub fn kind(&self) -> &str {
        &self.info.kind
    }

    /// One sentence for each thing that the reader got wrong.
    pub fn differences(&self, found: &Found) -> Vec<String> {
        let info = &self.info;
        let mut wrong = Vec::new();
        if found.size != info.size || found.bands != info.bands {
            return vec![format!(
                "{:?} x {} bands for {:?} x {}",
                found.size, found.bands, info.size, info.bands
            )];
        }
        if info.complex {
            return vec!["complex numbers read as real ones".into()];
        }
        // Black may be made zero where the file says that white is.
        let most = ((1_u64 << info.bits.min(32)) - 1) as f64;
        let inverted = |value: f64| if value <= most { most - value } else { value };
        let straight = self.worst(found, |value| value);
        let worst = if info.white_is_zero {
            straight.min(self.worst(found, inverted))
        } else {
            straight
        };
        if worst > info.tolerance {
            wrong.push(format!("samples differ by {worst}"));
        }
        let nodata = info.nodata.as_ref().map(|text| {
            let text = text.trim_start_matches("np.float64(").trim_end_matches(')');
            text.parse::<f64>().expect("a number")
        });
        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || a as f32 == b as f32;
        // A value that no sample can have means nothing; GDAL passes over it.
        let possible = |value: &f64| match info.dtype.as_str() {
            "uint8" => (0.0..=255.0).contains(value),
            _ => true,
        };
        let alike = match (nodata, found.nodata.filter(possible)) {
            (None, None) => true,
            (Some(a), Some(b)) => same(a, b) || (info.white_is_zero && same(a, most - b)),
            _ => false,
        };
        if !alike {
            wrong.push(format!("no-data {:?} for {nodata:?}", found.nodata));
        }
        let masked = |valid: &[bool]| valid.iter().filter(|&&valid| !valid).count();
        let same_mask = match &found.valid {
            Some(valid) => *valid == self.valid,
            None => masked(&self.valid) == 0,
        };
        if !same_mask {
            wrong.push(format!(
                "{} pixels masked for {}",
                found.valid.as_deref().map_or(0, masked),
                masked(&self.valid)
            ));
        }
        if found.control_points != info.gcps {
            wrong.push(format!(
                "{} control points for {}",
                found.control_points, info.gcps
            ));
        }
        let near = |a: &f64, b: &f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        let placed = match (&found.transform, &info.transform) {
            (Some(a), Some(b)) => a.iter().zip(b).all(|(a, b)| near(a, b)),
            // An affine transform nearest to control points is the reader's own.
            (found, None) => found.is_none() || info.gcps > 0,
            (None, Some(_)) => false,
        };
        if !placed {
            wrong.push(format!(
                "transform {:?} for {:?}",
                found.transform, info.transform
            ));
        }
        let no_place = info.transform.is_none() && info.gcps == 0;
        let by_parameters = info.by_parameters && found.epsg.is_none();
        if found.epsg != info.epsg && !by_parameters && !no_place {
            wrong.push(format!("EPSG {:?} for {:?}", found.epsg, info.epsg));
        }
        if let Some(bands) = &found.names_and_scales {
            let wanted = info.names.iter().zip(&info.scales).zip(&info.offsets);
            for (found, ((name, scale), offset)) in bands.iter().zip(wanted) {
                if found != &(name.clone(), *scale, *offset) {
                    wrong.push(format!("{found:?} for {name:?} {scale} {offset}"));
                }
            }
        }
        wrong
    }

    /// The largest difference of a sample; infinite where one of two is no number.
    fn worst(&self, found: &Found, map: impl Fn(f64) -> f64) -> f64 {
        if found.samples.len() != self.samples.len() {
            return f64::INFINITY;
        }
        let difference = |(&a, &b): (&f64, &f64)| {
            let b = map(b);
            if a == b || (a.is_nan() && b.is_nan()) {
                0.0
            } else if (a - b).is_finite() {
                (a - b).abs()
            } else {
                f64::INFINITY
            }
        };
        let pairs = found.samples.iter().zip(&self.samples);
        pairs.map(difference).fold(0.0, f64::max)
    }
}
