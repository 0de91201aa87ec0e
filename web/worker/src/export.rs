//! The last run as files.

use mmovseg_engine::{ENTROPY_BAND, Segmentation, Session, Wanted, pixel_shares};
use mmovseg_protocol::{Activity, Event, Format, Tier};
use mmovseg_raster::{
    GeoJsonOptions, GeoRef, class_colours, colour_png, geojson, indexed_png, label_geotiff,
    share_geotiff,
};
use serde_json::{Value, json};

use crate::link::{part, post_with};
use crate::report::failed;
use crate::state::{LastRun, with};

/// How far polygon outlines may move to become simpler, in pixels.
const SIMPLIFY_PX: f64 = 1.0;

/// Gives the last run as a file.
pub fn last(format: Format) {
    let (last, about) = with(|state| (state.last.clone(), state.about.clone()));
    let Some(last) = last else {
        return failed(
            Activity::Export,
            "there is no mask yet; press Run, then export again",
        );
    };
    match file(&last, &about, format) {
        Ok((suffix, mime, bytes)) => {
            let event = Event::File {
                name: format!("{}{suffix}", stem(&last.tiles.origin)),
                mime: mime.into(),
                notes: notes(format, last.tiles.shown.georef.as_ref()),
            };
            post_with(&event, vec![part(&bytes)]);
        }
        Err(message) => failed(Activity::Export, message),
    }
}

/// Name ending, media type and bytes of a run's file.
///
/// # Errors
/// A sentence, when labels and palette do not make such a file.
pub fn file(
    last: &LastRun,
    about: &Value,
    format: Format,
) -> Result<(&'static str, &'static str, Vec<u8>), String> {
    let Segmentation {
        labels,
        width_px,
        height_px,
        classes,
        logits,
        grid_px,
        temperature,
        ..
    } = &last.found;
    let (w, h) = (*width_px, *height_px);
    let palette = with(|state| class_colours(classes, &state.named_colours));
    let place = last.tiles.shown.georef.as_ref();
    let words = |error: mmovseg_raster::RasterError| error.to_string();
    Ok(match format {
        Format::ColourPng => (
            "-colours.png",
            "image/png",
            colour_png(labels, w, h, &palette).map_err(words)?,
        ),
        Format::IndexedPng => (
            "-labels.png",
            "image/png",
            indexed_png(labels, w, h, &palette).map_err(words)?,
        ),
        Format::GeoTiff => (
            "-labels.tif",
            "image/tiff",
            label_geotiff(labels, w, h, &palette, classes, place).map_err(words)?,
        ),
        Format::GeoJson => (
            ".geojson",
            "application/geo+json",
            geojson(
                labels,
                w,
                h,
                classes,
                &palette,
                &GeoJsonOptions {
                    georef: place,
                    simplify_px: SIMPLIFY_PX,
                    properties: &[("source", last.tiles.origin.clone())],
                    ..GeoJsonOptions::default()
                },
            )
            .map_err(words)?
            .into_bytes(),
        ),
        Format::Probabilities => {
            let wanted = Wanted {
                classes: true,
                ..Wanted::default()
            };
            let shares = pixel_shares(labels, w, (logits, *grid_px), *temperature, wanted);
            (
                "-probabilities.tif",
                "image/tiff",
                share_geotiff(&shares.classes, w, h, classes, place).map_err(words)?,
            )
        }
        Format::Entropy => {
            let wanted = Wanted {
                entropy: true,
                ..Wanted::default()
            };
            let shares = pixel_shares(labels, w, (logits, *grid_px), *temperature, wanted);
            let bands = [ENTROPY_BAND.to_owned()];
            (
                "-entropy.tif",
                "image/tiff",
                share_geotiff(&shares.entropy, w, h, &bands, place).map_err(words)?,
            )
        }
        Format::Report => (
            "-report.json",
            "application/json",
            format!("{:#}\n", report(last, about)).into_bytes(),
        ),
    })
}

fn notes(format: Format, place: Option<&GeoRef>) -> Vec<String> {
    let placed = place.is_some_and(|place| place.epsg.is_some());
    let note = match format {
        Format::GeoTiff | Format::Probabilities | Format::Entropy if !placed => {
            "The tile names no reference system, so the GeoTIFF has none either."
        }
        Format::GeoJson if !placed => {
            "The tile names no reference system, so the polygons are in pixels."
        }
        _ => return Vec::new(),
    };
    vec![note.into()]
}

/// What reports say about model and device.
pub fn about(session: &Session, tier: Tier, device: &str) -> Value {
    let manifest = session.manifest();
    let shards: Vec<Value> = manifest
        .shards
        .iter()
        .map(|shard| json!({ "file": shard.file, "bytes": shard.bytes, "sha256": shard.sha256 }))
        .collect();
    json!({
        "model": {
            "name": manifest.name,
            "format_version": manifest.format_version,
            "dtype": manifest.dtype,
            "prompt_template": manifest.prompt_template,
            "licence": manifest.licence,
            "attribution": manifest.attribution,
            "shards": shards,
        },
        "device": { "tier": tier, "name": device },
    })
}

/// Model, hashes, settings and numbers of a run.
fn report(last: &LastRun, about: &Value) -> Value {
    let tiles = &last.tiles;
    json!({
        "program": { "name": "mmovseg", "version": env!("CARGO_PKG_VERSION") },
        "model": about["model"],
        "device": about["device"],
        "tiles": {
            "origin": tiles.origin,
            "width_px": last.found.width_px,
            "height_px": last.found.height_px,
            "georef": tiles.shown.georef,
            "notes": tiles.shown.notes,
        },
        "settings": {
            "modality": last.told.modality,
            "preprocess": "aligned",
            "windows": last.found.windows,
            "cloud": {
                "opacity": tiles.cloud.opacity,
                "cover": tiles.cloud.cover,
                "seed": tiles.cloud.seed,
                "visible": tiles.cloud.is_visible(),
            },
        },
        "classes": last.told.classes,
        "timings": last.told.timings,
    })
}

/// A file name without what file systems dislike.
pub fn stem(origin: &str) -> String {
    let first = origin.split(" and ").next().unwrap_or(origin);
    let base = first.rsplit_once('.').map_or(first, |(base, _)| base);
    let plain: String = base
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let plain = plain.trim_matches(['-', '.']);
    if plain.is_empty() {
        "mask".into()
    } else {
        plain.to_owned()
    }
}
