//! How long a run will take, before it begins.

use mmovseg_protocol::Tiles;

/// Longest run that begins by itself, in seconds.
pub const ASK_ABOVE_S: f64 = 10.0;

/// A scene longer than this many model inputs is cut into windows (`mmovseg_engine::Tiling::Auto`).
const WHOLE_UP_TO: f64 = 1.5;

/// Windows that a scene is cut into by a model of input `input_px`: one, or windows that overlap by
/// a half.
#[must_use]
pub fn windows(tiles: &Tiles, input_px: u32) -> u64 {
    let input = f64::from(input_px.max(1));
    if f64::from(tiles.width_px.max(tiles.height_px)) <= WHOLE_UP_TO * input {
        return 1;
    }
    let along = |side_px: u32| {
        let gaps = (f64::from(side_px) - input).max(0.0) / (input / 2.0);
        gaps.ceil() as u64 + 1
    };
    along(tiles.width_px) * along(tiles.height_px)
}

/// Expected seconds of a run.
#[must_use]
pub fn seconds(windows: u64, window_ms: f64) -> f64 {
    windows as f64 * window_ms / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles(width_px: u32, height_px: u32) -> Tiles {
        Tiles {
            width_px,
            height_px,
            step_px: 1,
            shown_width_px: width_px,
            shown_height_px: height_px,
            has_truth: false,
            looks_swapped: false,
            crs: None,
            notes: Vec::new(),
            outlines: None,
        }
    }

    #[test]
    fn scenes_up_to_one_and_a_half_inputs_are_one_window() {
        assert_eq!(windows(&tiles(256, 256), 192), 1);
        assert_eq!(windows(&tiles(288, 100), 192), 1);
        // 400 px: gaps of 96 px after the first 192, three of them.
        assert_eq!(windows(&tiles(400, 400), 192), 16);
        assert_eq!(windows(&tiles(400, 100), 192), 4);
    }

    #[test]
    fn time_grows_with_the_windows() {
        assert!((seconds(16, 700.0) - 11.2).abs() < 1e-9);
    }
}
