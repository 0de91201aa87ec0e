//! Tensors on the host: whole ones, and the row ranges of them that shards hold.

use std::ops::Range;

/// A whole tensor in host memory, f32, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Name as in the checkpoint (docs/network.md §13).
    pub name: String,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The values, as many as the product of `shape` (1 for a scalar).
    pub data: Vec<f32>,
}

/// Rows `rows` (along axis 0) of a tensor, as one shard holds them.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensorPart {
    /// Name of the tensor.
    pub name: String,
    /// Shape of the whole tensor; empty for a scalar, which counts as one row.
    pub shape: Vec<usize>,
    /// Which rows `data` holds; all of them when the tensor is not split.
    pub rows: Range<usize>,
    /// The values of these rows, f32, row-major.
    pub data: Vec<f32>,
}

/// A tensor seen as a matrix: `[shape[0], product of the rest]`, `[1, 1]` for a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub rows: usize,
    pub cols: usize,
}

impl Matrix {
    /// # Errors
    /// A reason when an extent is 0 or the element count (times four bytes) overflows.
    pub fn of(shape: &[usize]) -> Result<Self, &'static str> {
        let (rows, rest) = shape.split_first().map_or((1, shape), |(&r, s)| (r, s));
        let cols = rest
            .iter()
            .try_fold(1usize, |n, &extent| n.checked_mul(extent))
            .ok_or("its shape overflows")?;
        if rows == 0 || cols == 0 {
            return Err("it has no elements");
        }
        rows.checked_mul(cols)
            .and_then(|n| n.checked_mul(4))
            .ok_or("its shape overflows")?;
        Ok(Self { rows, cols })
    }
}
