//! Which part of a tile the panes show: one window for all three.

/// Most enlargement: a 256 px tile then shows four pixels across.
pub const MAX_ZOOM: f64 = 64.0;

/// A window of the tile. Positions are parts of the tile's sides, 0 to 1 from the top left; a frame
/// is what a pane shows of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Enlargement; 1 shows the whole tile.
    pub zoom: f64,
    /// Left edge of the window.
    pub left: f64,
    /// Upper edge of the window.
    pub top: f64,
}

impl View {
    /// The whole tile.
    pub const WHOLE: Self = Self {
        zoom: 1.0,
        left: 0.0,
        top: 0.0,
    };

    /// The nearest window that lies inside the tile.
    #[must_use]
    pub fn inside(self) -> Self {
        let zoom = if self.zoom.is_finite() {
            self.zoom.clamp(1.0, MAX_ZOOM)
        } else {
            1.0
        };
        let most = 1.0 - 1.0 / zoom;
        let within = |at: f64| {
            if at.is_finite() {
                at.clamp(0.0, most)
            } else {
                0.0
            }
        };
        Self {
            zoom,
            left: within(self.left),
            top: within(self.top),
        }
    }

    /// The position in the tile under a position in the frame.
    #[must_use]
    pub fn to_tile(self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.left + x / self.zoom, self.top + y / self.zoom]
    }

    /// The position in the frame of a position in the tile; outside 0 to 1 it is not shown.
    #[must_use]
    pub fn to_frame(self, [x, y]: [f64; 2]) -> [f64; 2] {
        [(x - self.left) * self.zoom, (y - self.top) * self.zoom]
    }

    /// Enlarged by `factor` about a position in the frame, which keeps its place.
    #[must_use]
    pub fn zoomed(self, factor: f64, about: [f64; 2]) -> Self {
        let [x, y] = self.to_tile(about);
        let zoom = (self.zoom * factor).clamp(1.0, MAX_ZOOM);
        Self {
            zoom,
            left: x - about[0] / zoom,
            top: y - about[1] / zoom,
        }
        .inside()
    }

    /// Moved with the content by parts of the frame.
    #[must_use]
    pub fn dragged(self, [x, y]: [f64; 2]) -> Self {
        Self {
            left: self.left - x / self.zoom,
            top: self.top - y / self.zoom,
            ..self
        }
        .inside()
    }

    /// Moved just enough to show a position in the tile.
    #[must_use]
    pub fn showing(self, [x, y]: [f64; 2]) -> Self {
        let side = 1.0 / self.zoom;
        let moved = |edge: f64, at: f64| edge.clamp((at - side).min(at), at.max(at - side));
        Self {
            left: moved(self.left, x),
            top: moved(self.top, y),
            ..self
        }
        .inside()
    }

    /// The CSS transform of a canvas that fills the frame when nothing is enlarged.
    #[must_use]
    pub fn css(self) -> String {
        format!(
            "translate({:.4}%, {:.4}%) scale({:.5})",
            -100.0 * self.left * self.zoom,
            -100.0 * self.top * self.zoom,
            self.zoom
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).abs() < 1e-9 && (a[1] - b[1]).abs() < 1e-9
    }

    #[test]
    fn the_place_under_the_pointer_stays_when_zooming() {
        let view = View::WHOLE.zoomed(2.0, [0.25, 0.75]);
        assert!(near(view.to_tile([0.25, 0.75]), [0.25, 0.75]));
        let view = view.zoomed(3.0, [0.5, 0.5]).zoomed(0.9, [0.5, 0.5]);
        let place = view.to_tile([0.4, 0.6]);
        assert!(near(view.to_frame(place), [0.4, 0.6]));
    }

    #[test]
    fn no_window_leaves_the_tile_whatever_is_asked() {
        let odd = [
            View::WHOLE.zoomed(0.1, [0.0, 0.0]),
            View::WHOLE.zoomed(1e9, [1.0, 1.0]),
            View::WHOLE.zoomed(4.0, [0.5, 0.5]).dragged([5.0, -9.0]),
            View {
                zoom: f64::NAN,
                left: f64::INFINITY,
                top: -3.0,
            }
            .inside(),
        ];
        for view in odd {
            assert!((1.0..=MAX_ZOOM).contains(&view.zoom), "{view:?}");
            let [right, bottom] = view.to_tile([1.0, 1.0]);
            assert!(view.left >= 0.0 && view.top >= 0.0, "{view:?}");
            assert!(right <= 1.0 + 1e-9 && bottom <= 1.0 + 1e-9, "{view:?}");
        }
    }

    #[test]
    fn a_place_outside_is_brought_into_view_and_one_inside_moves_nothing() {
        let view = View::WHOLE.zoomed(4.0, [0.0, 0.0]);
        assert_eq!(view.showing([0.1, 0.1]), view);
        let moved = view.showing([0.9, 0.1]);
        let [x, y] = moved.to_frame([0.9, 0.1]);
        assert!((0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y));
        assert!((moved.top - view.top).abs() < 1e-9);
    }
}
