//! Memory order of a grid of cells.

/// Memory order of `N` grids of `height × width` cells with `C` channels each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CellLayout {
    /// `[N, height · width, C]`.
    Tokens,
    /// `[N, C, height, width]`.
    Map,
}
