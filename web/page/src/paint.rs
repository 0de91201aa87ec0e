//! Pixels from numbers: masks in class colours, heat maps, differences. RGBA, row-major.

/// Side of a hatching pattern, in pixels.
const HATCH_PX: usize = 6;

/// How far a hatched pixel moves towards black or white, 0 to 1.
const HATCH_STRENGTH: f32 = 0.55;

/// How a mask is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskStyle {
    /// Colour of each class.
    pub colours: Vec<[u8; 3]>,
    /// Whether each class is drawn; a hidden one is transparent.
    pub shown: Vec<bool>,
    /// Whether each class also has a pattern, which needs no colour vision.
    pub hatched: bool,
}

/// Colour of pixels that are "none of these".
const NONE_COLOUR: [u8; 4] = [40, 40, 40, 255];

/// A mask of labels `[h, w]`, in which pixels that are "none of these" (`is_none` of column and
/// row) are a grey grid.
#[must_use]
pub fn mask_or_none(
    labels: &[u8],
    width_px: usize,
    style: &MaskStyle,
    is_none: impl Fn(usize, usize) -> bool,
) -> Vec<u8> {
    let mut out = mask(labels, width_px, style);
    let width_px = width_px.max(1);
    for (index, pixel) in out.chunks_exact_mut(4).enumerate() {
        let (x, y) = (index % width_px, index / width_px);
        if is_none(x, y) {
            let on_line = (x + y).is_multiple_of(4);
            pixel.copy_from_slice(&if on_line {
                [200, 200, 200, 255]
            } else {
                NONE_COLOUR
            });
        }
    }
    out
}

/// A picture of where two masks differ: opaque magenta there, transparent elsewhere.
#[must_use]
pub fn differing(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter()
        .zip(b)
        .flat_map(|(a, b)| if a == b { [0; 4] } else { [230, 0, 150, 255] })
        .collect()
}

/// Label of pixels where no used sensor has data.
const NO_DATA: u8 = 255;

/// Distance of the lines that cover pixels without data, in pixels.
const NO_DATA_LINE_PX: usize = 8;

/// A mask of labels `[h, w]`. Labels without a class are transparent; pixels without data have grey
/// diagonal lines.
#[must_use]
pub fn mask(labels: &[u8], width_px: usize, style: &MaskStyle) -> Vec<u8> {
    let width_px = width_px.max(1);
    let mut out = Vec::with_capacity(labels.len() * 4);
    for (index, &label) in labels.iter().enumerate() {
        let class = usize::from(label);
        let colour = style
            .colours
            .get(class)
            .filter(|_| style.shown.get(class) == Some(&true));
        let Some(&colour) = colour else {
            let (x, y) = (index % width_px, index / width_px);
            let is_line = label == NO_DATA
                && class >= style.colours.len()
                && (x + y) % NO_DATA_LINE_PX == NO_DATA_LINE_PX - 1;
            out.extend(if is_line {
                [128, 128, 128, 255]
            } else {
                [0; 4]
            });
            continue;
        };
        let on = style.hatched && is_hatched(class, index % width_px, index / width_px);
        let [r, g, b] = if on { hatch(colour) } else { colour };
        out.extend([r, g, b, 255]);
    }
    out
}

/// The pattern of a class: six kinds of lines and dots, the first class plain.
fn is_hatched(class: usize, x: usize, y: usize) -> bool {
    let (u, v) = (x % HATCH_PX, y % HATCH_PX);
    match class % 7 {
        0 => false,
        1 => (x + y).is_multiple_of(HATCH_PX),
        2 => (x + HATCH_PX - v).is_multiple_of(HATCH_PX),
        3 => v == 0,
        4 => u == 0,
        5 => u < 2 && v < 2,
        _ => u == 0 || v == 0,
    }
}

/// The colour of a pattern's lines: away from the class's own brightness.
fn hatch(colour: [u8; 3]) -> [u8; 3] {
    let bright = colour.iter().map(|&c| u32::from(c)).sum::<u32>() > 3 * 128;
    let to = if bright { 0.0 } else { 255.0 };
    colour.map(|c| {
        let c = f32::from(c);
        (c + (to - c) * HATCH_STRENGTH).round() as u8
    })
}

/// A heat map of `values`, `low` dark blue to `high` pale yellow, with evenly rising lightness, so
/// that it also works in grey.
#[must_use]
pub fn heat(values: &[f32], low: f32, high: f32) -> Vec<u8> {
    let span = (high - low).max(f32::EPSILON);
    values
        .iter()
        .flat_map(|&value| {
            let [r, g, b] = heat_colour((value - low) / span);
            [r, g, b, 255]
        })
        .collect()
}

/// A colour of the heat scale for 0 to 1.
#[must_use]
pub fn heat_colour(at: f32) -> [u8; 3] {
    /// Corners of a scale whose lightness rises evenly.
    const CORNERS: [[f32; 3]; 5] = [
        [15.0, 20.0, 60.0],
        [60.0, 50.0, 130.0],
        [170.0, 60.0, 110.0],
        [240.0, 130.0, 60.0],
        [252.0, 240.0, 170.0],
    ];
    let at = if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) };
    let place = at * (CORNERS.len() - 1) as f32;
    let first = (place as usize).min(CORNERS.len() - 2);
    let part = place - first as f32;
    let (a, b) = (CORNERS[first], CORNERS[first + 1]);
    [0, 1, 2].map(|c| (a[c] + (b[c] - a[c]) * part).round() as u8)
}

/// Least and greatest finite value; 0 and 1 without any.
#[must_use]
pub fn range(values: &[f32]) -> (f32, f32) {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high { (0.0, 1.0) } else { (low, high) }
}

/// Share of the pixels on which two masks differ, 0 to 1.
#[must_use]
pub fn difference(a: &[u8], b: &[u8]) -> f64 {
    let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
    differing as f64 / a.len().min(b.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(shown: [bool; 2], hatched: bool) -> MaskStyle {
        MaskStyle {
            colours: vec![[10, 20, 30], [200, 220, 240]],
            shown: shown.to_vec(),
            hatched,
        }
    }

    #[test]
    fn hidden_classes_and_unknown_labels_are_transparent() {
        let rgba = mask(&[0, 1, 255], 3, &style([true, false], false));
        assert_eq!(rgba, [10, 20, 30, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn pixels_without_data_are_hatched() {
        let rgba = mask(&[255; 64], 8, &style([true, true], false));
        let lines = rgba.chunks_exact(4).filter(|pixel| pixel[3] == 255).count();
        assert_eq!(lines, 8);
    }

    #[test]
    fn hatching_gives_classes_of_one_colour_different_patterns() {
        let labels = |class: u8| vec![class; 144];
        let colours = vec![[90, 90, 90]; 7];
        let style = MaskStyle {
            shown: vec![true; colours.len()],
            colours,
            hatched: true,
        };
        let drawn: Vec<_> = (0..7).map(|c| mask(&labels(c), 12, &style)).collect();
        for (i, a) in drawn.iter().enumerate() {
            for b in &drawn[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn the_heat_scale_rises_in_lightness() {
        let light = |at: f32| heat_colour(at).iter().map(|&c| u32::from(c)).sum::<u32>();
        let steps: Vec<u32> = (0..=20).map(|i| light(i as f32 / 20.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!(heat_colour(f32::NAN), heat_colour(-3.0));
    }

    #[test]
    fn none_of_these_covers_the_class_and_differences_are_opaque() {
        let rgba = mask_or_none(&[0, 0], 2, &style([true, true], false), |x, _| x == 1);
        assert_eq!(rgba[..4], [10, 20, 30, 255]);
        assert_ne!(rgba[4..], [10, 20, 30, 255]);
        assert_eq!(differing(&[0, 1], &[0, 0])[..4], [0; 4]);
        assert_eq!(differing(&[0, 1], &[0, 0])[7], 255);
    }

    #[test]
    fn differences_are_shares_of_pixels() {
        assert!((difference(&[0, 1, 2, 3], &[0, 1, 0, 0]) - 0.5).abs() < 1e-12);
        assert!(difference(&[], &[]).abs() < 1e-12);
    }
}
