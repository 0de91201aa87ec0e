//! Linear layers. The sums start at the bias or at the residual, and strided views are read without
//! a copy.

use burn::backend::flex::FlexTensor;

use super::activation::activate_slice;
use super::bands::split_bands;
use super::gemm::{MatrixLayout, PackedPanels, depth_block, gemm, panels_per_block};
use super::gemm_few_rows::FewRows;
use super::memory::{
    add_to, forward_strides, into_writable, new_tensor, repeat_row, to_contiguous, values, zeros,
};
use super::parallel::{
    PARALLEL_ELEMENTS, PARALLEL_PRODUCTS, for_each_part, map_indices, map_jobs, threads,
};
use super::simd::register_pair;
use crate::activation::Activation;

/// The rows `[.., width]` of a tensor: `groups` matrices of one shape, one after another in the
/// result.
pub(super) struct Rows {
    tensor: FlexTensor,
    groups: usize,
    first: MatrixLayout,
    group_stride: usize,
}

impl Rows {
    pub fn new(x: &FlexTensor) -> Self {
        let shape: Vec<usize> = x.layout().shape().to_vec();
        let strides = x.layout().strides();
        // Tokens of a map: a view of three axes, the last two in any order.
        if let ([groups, rows, width], [outer, row, column]) = (&shape[..], strides)
            && !x.is_contiguous()
            && *outer >= 0
            && *row >= 0
            && *column >= 0
        {
            return Self {
                groups: *groups,
                first: MatrixLayout {
                    start: x.layout().start_offset(),
                    shape: [*rows, *width],
                    strides: [row.unsigned_abs(), column.unsigned_abs()],
                },
                group_stride: outer.unsigned_abs(),
                tensor: x.clone(),
            };
        }
        let width = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().product::<usize>() / width.max(1);
        let tensor = to_contiguous(x);
        let start = tensor.layout().start_offset();
        Self {
            groups: 1,
            first: MatrixLayout {
                start,
                ..MatrixLayout::row_major(rows, width)
            },
            group_stride: 0,
            tensor,
        }
    }

    pub fn values(&self) -> &[f32] {
        self.tensor.storage::<f32>()
    }

    fn group(&self, index: usize) -> MatrixLayout {
        MatrixLayout {
            start: self.first.start + index * self.group_stride,
            ..self.first
        }
    }

    /// The `rows` rows of one image, whether each image is a group or all are one.
    pub fn of_image(&self, image: usize, rows: usize) -> MatrixLayout {
        if self.rows() == rows {
            self.group(image)
        } else {
            self.first.row_range(image * rows, rows)
        }
    }

    /// Rows of a group.
    fn rows(&self) -> usize {
        self.first.shape[0]
    }

    /// Calls `f(rows, part)` for parts of a result with `width` values per row, with the rows that
    /// they are computed from.
    fn by_parts(&self, out: &mut [f32], width: usize, f: impl Fn(MatrixLayout, &mut [f32]) + Sync) {
        for (i, out) in out
            .chunks_exact_mut((self.rows() * width).max(1))
            .enumerate()
        {
            let from = self.group(i);
            for_each_part(out, width, |first, part| {
                f(from.row_range(first / width, part.len() / width), part);
            });
        }
    }
}

/// The layout of a matrix tensor.
fn matrix(tensor: &FlexTensor) -> (FlexTensor, MatrixLayout) {
    let tensor = forward_strides(tensor.clone());
    let layout = tensor.layout();
    let place = MatrixLayout {
        start: layout.start_offset(),
        shape: [layout.shape()[0], layout.shape()[1]],
        strides: [
            layout.strides()[0].unsigned_abs(),
            layout.strides()[1].unsigned_abs(),
        ],
    };
    (tensor, place)
}

/// `f(x Wᵀ + b)` over the last axis of `x`, weight `[out, in]`.
pub(crate) fn linear(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    activation: Option<Activation>,
) -> FlexTensor {
    let mut shape = x.layout().shape().to_vec();
    let x = Rows::new(x);
    let bias = bias.map(to_contiguous);
    let output = weight.layout().shape()[0];
    let count = x.groups * x.rows();
    let mut out = match &bias {
        Some(bias) => repeat_row(values(bias), count),
        None => zeros(count * output),
    };
    let epilogue = RowEpilogue {
        accumulate: bias.is_some(),
        bias: None,
        activation,
    };
    products(&x, weight, &mut out, &epilogue);
    if let Some(last) = shape.last_mut() {
        *last = output;
    }
    new_tensor(out, shape)
}

/// `residual + x Wᵀ + b` over the last axis of `x`, weight `[out, in]`. The result takes the memory
/// of a residual that nobody else holds.
pub(crate) fn linear_add(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    residual: FlexTensor,
) -> FlexTensor {
    let bias = bias.map(to_contiguous);
    let mut residual = into_writable(residual);
    let len = residual.layout().num_elements();
    let epilogue = RowEpilogue {
        accumulate: true,
        bias: bias.as_ref().map(values),
        activation: None,
    };
    products(
        &Rows::new(x),
        weight,
        &mut residual.storage_mut::<f32>()[..len],
        &epilogue,
    );
    residual
}

/// What the sums start from, and what happens to them afterwards.
struct RowEpilogue<'a> {
    /// Whether the sums are added to the values in the result.
    accumulate: bool,
    /// Added to each row.
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
}

impl RowEpilogue<'_> {
    /// Before the product, for the columns of a row from `first` on.
    fn before(&self, first: usize, row: &mut [f32]) {
        if let Some(bias) = self.bias {
            add_to(row, &bias[first..][..row.len()]);
        }
    }

    /// After the product, for any part of the results.
    fn after(&self, results: &mut [f32]) {
        if let Some(activation) = self.activation {
            activate_slice(results, activation);
        }
    }
}

/// Up to so many rows a weight is not packed; see `gemm_few_rows`.
const FEW_ROWS_MAX: usize = 16;
/// Values of a weight that exceeds a core's L2 cache.
const LARGE_WEIGHT: usize = 1 << 18;

/// `x Wᵀ`. With few rows, or a weight that exceeds the L2 cache, the threads share the columns:
/// each packs some columns of the weight and uses them while they are in its L2 cache. Otherwise
/// the weight is packed once and the threads share the rows.
fn products(x: &Rows, weight: &FlexTensor, out: &mut [f32], epilogue: &RowEpilogue) {
    let (weight, at) = matrix(weight);
    let weight = weight.storage::<f32>();
    let [output, input] = at.shape;
    debug_assert_eq!(x.first.shape[1], input);
    let are_rows = x.first.strides[1] == 1;
    let is_few = are_rows && at.strides[1] == 1 && (1..=FEW_ROWS_MAX * output).contains(&out.len());
    let is_wide = are_rows
        && input * output >= LARGE_WEIGHT
        && output >= threads() * panels_per_block(register_pair()) * register_pair();
    if !is_few && !is_wide {
        PackedPanels::with(weight, at.transposed(), true, |weight| {
            x.by_parts(out, output, |rows, part| {
                for row in part.chunks_exact_mut(output.max(1)) {
                    epilogue.before(0, row);
                }
                let into = MatrixLayout::row_major(rows.shape[0], output);
                weight.gemm(
                    (&mut *part, into),
                    epilogue.accumulate,
                    (x.values(), rows),
                    1.0,
                );
                epilogue.after(part);
            });
        });
        return;
    }
    // With few rows the time is that of reading the weight: all threads read.
    let is_parallel = if is_few {
        input * output >= PARALLEL_ELEMENTS
    } else {
        out.len() * input >= PARALLEL_PRODUCTS
    };
    map_jobs(
        split_columns(out, output),
        is_parallel,
        |(first, mut into)| {
            for row in &mut into {
                epilogue.before(first, row);
            }
            let count = into.first().map_or(0, |row| row.len());
            let at = at.row_range(first, count);
            if is_few {
                few_row_products(x, (weight, at), &mut into, epilogue.accumulate);
            } else {
                products_by_depth(x, (weight, at), &mut into, epilogue.accumulate);
            }
            for row in into {
                epilogue.after(row);
            }
        },
    );
}

/// `into = [into +] x Wᵀ` for few rows; the weight is not packed.
fn few_row_products(
    x: &Rows,
    (weight, at): (&[f32], MatrixLayout),
    into: &mut [&mut [f32]],
    add: bool,
) {
    let rows: Vec<&[f32]> = (0..x.groups)
        .flat_map(|group| (0..x.rows()).map(move |row| x.group(group).index(row, 0)))
        .map(|start| &x.values()[start..][..at.shape[1]])
        .collect();
    pulp::Arch::new().dispatch(FewRows {
        x: &rows,
        weight,
        at,
        into,
        add,
    });
}

/// `into = [into +] x Wᵀ` for many rows; the weight is packed a block of terms at a time.
fn products_by_depth(
    x: &Rows,
    (weight, at): (&[f32], MatrixLayout),
    into: &mut [&mut [f32]],
    add: bool,
) {
    let (input, max) = (at.shape[1], depth_block(register_pair()));
    for term in (0..input).step_by(max) {
        let depth = max.min(input - term);
        let at = at.transposed().row_range(term, depth);
        PackedPanels::with(weight, at, false, |weight| {
            for (group, rows) in into.chunks_mut(x.rows().max(1)).enumerate() {
                let x_at = x.group(group).column_range(term, depth);
                weight.gemm_rows(rows, add || term > 0, (x.values(), x_at));
            }
        });
    }
}

/// Splits rows of results into parts of columns, as many for each thread, each of
/// [`panels_per_block`] panels at most. Returns the first column and the rows of each part.
fn split_columns(out: &mut [f32], columns: usize) -> Vec<(usize, Vec<&mut [f32]>)> {
    let panels = columns.div_ceil(register_pair());
    let parts = panels
        .div_ceil(panels_per_block(register_pair()))
        .next_multiple_of(threads());
    let firsts: Vec<usize> = (0..=parts)
        .map(|part| (part * panels / parts * register_pair()).min(columns))
        .collect();
    let counts: Vec<usize> = firsts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let rows = out.len() / columns;
    split_bands(out, [rows, columns], &counts)
        .into_iter()
        .map(|(part, rows)| (firsts[part], rows))
        .collect()
}

/// Gradients of `x`, weight and bias.
pub(crate) fn linear_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    grad: &FlexTensor,
) -> [FlexTensor; 3] {
    let shape = x.layout().shape().to_vec();
    let x = Rows::new(x);
    let (weight, at) = matrix(weight);
    let grad = to_contiguous(grad);
    let above = values(&grad);
    let [output, input] = at.shape;
    let rows = x.rows();
    let mut dx = vec![0.0f32; x.groups * rows * input];
    for_each_part(&mut dx, input, |first, part| {
        let count = part.len() / input;
        gemm(
            (part, MatrixLayout::row_major(count, input)),
            false,
            (
                above,
                MatrixLayout::row_major(x.groups * rows, output).row_range(first / input, count),
            ),
            (weight.storage::<f32>(), at),
            1.0,
        );
    });
    // The threads share the outputs: no sums across threads.
    let many = rows * x.groups * input * output >= PARALLEL_PRODUCTS;
    let part = output.div_ceil(4).max(1);
    let parts = map_indices(output.div_ceil(part), many, |job| {
        let (first, count) = (job * part, part.min(output - job * part));
        let mut dweight = vec![0.0f32; count * input];
        for group in 0..x.groups {
            let rows_of = MatrixLayout {
                start: group * rows * output,
                ..MatrixLayout::row_major(rows, output)
            };
            gemm(
                (&mut dweight, MatrixLayout::row_major(count, input)),
                true,
                (above, rows_of.transposed().row_range(first, count)),
                (x.values(), x.group(group)),
                1.0,
            );
        }
        dweight
    });
    let mut dbias = vec![0.0f32; output];
    for row in above.chunks_exact(output.max(1)) {
        add_to(&mut dbias, row);
    }
    [
        new_tensor(dx, shape),
        new_tensor(parts.concat(), [output, input]),
        new_tensor(dbias, [output]),
    ]
}
