//! A map cut into windows, and put together again.

use super::{
    CubeTensor, Shader, dims, each_value, full, into_contiguous, launch_each, output, size,
};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Windows {
    /// From the map.
    Cut,
    /// Back, onto another map.
    Join,
}

impl Windows {
    pub fn text(self) -> String {
        let [_, width, grid, shift] = [0, 1, 2, 3].map(size);
        let common = format!(
            "let width = {width}; let grid = {grid}; let shift = {shift}; let side = grid / 2u; let cells = grid * grid;\n\
             let channel = at % width; let place = at / width % cells; let map = at / width / cells;\n"
        );
        match self {
            Self::Cut => each_value(
                &[("values", "f32"), ("results", "f32")],
                4,
                &format!(
                    "{common}\
                     let window = place / (side * side); let inside = place % (side * side);\n\
                     let row = (window / 2u * side + inside / side + shift) % grid;\n\
                     let column = (window % 2u * side + inside % side + shift) % grid;\n\
                     results[at] = values[(map * cells + row * grid + column) * width + channel];"
                ),
            ),
            Self::Join => each_value(
                &[("values", "f32"), ("onto", "f32"), ("results", "f32")],
                4,
                &format!(
                    "{common}\
                     let row = (place / grid + grid - shift) % grid; let column = (place + grid - shift) % grid;\n\
                     let window = row / side * 2u + column / side;\n\
                     let inside = row % side * side + column % side;\n\
                     results[at] = onto[at] + values[((map * 4u + window) * side * side + inside) * width + channel];"
                ),
            ),
        }
    }
}

/// See [`crate::cut_windows`].
pub(crate) fn cut_windows(x: CubeTensor, grid: usize, shift: usize) -> CubeTensor {
    let x = into_contiguous(full(x));
    let [maps, cells, width] = dims(&x);
    let out = output(&x, &[4 * maps, cells / 4, width], x.dtype);
    let sizes = [width, grid, shift];
    launch_each(Shader::Windows(Windows::Cut), vec![x], &out, &sizes);
    out
}

/// See [`crate::join_windows`].
pub(crate) fn join_windows(
    x: CubeTensor,
    onto: CubeTensor,
    grid: usize,
    shift: usize,
) -> CubeTensor {
    let inputs = [x, onto].map(|operand| into_contiguous(full(operand)));
    let [_, _, width] = dims(&inputs[1]);
    let out = output(&inputs[1], &dims::<3>(&inputs[1]), inputs[1].dtype);
    let sizes = [width, grid, shift];
    launch_each(Shader::Windows(Windows::Join), inputs.into(), &out, &sizes);
    out
}
