//! Products with a weight matrix: the bias is where the sum starts, and views are read where they lie.

use burn::backend::flex::FlexTensor;

use super::activation::activate_slice;
use super::few::Few;
use super::product::{Panels, Place, depth_of, panels_of, product};
use super::{
    PARALLEL_ELEMENTS, PARALLEL_PRODUCTS, add_to, by_bands, contiguous, each, each_of,
    forward_strides, in_parts, own, pair, repeated, tensor, threads, values, with_buffer, zeros,
};
use crate::activation::Activation;

/// The rows `[.., width]` of a tensor: `groups` matrices of the same size, one after the other in the result.
pub(super) struct Rows {
    tensor: FlexTensor,
    groups: usize,
    first: Place,
    step: usize,
}

impl Rows {
    pub fn new(x: &FlexTensor) -> Self {
        let shape: Vec<usize> = x.layout().shape().to_vec();
        let strides = x.layout().strides();
        // Tokens of a map are such a view: three axes, the last two in any order.
        if let ([groups, rows, width], [outer, row, column]) = (&shape[..], strides)
            && !x.is_contiguous()
            && *outer >= 0
            && *row >= 0
            && *column >= 0
        {
            return Self {
                groups: *groups,
                first: Place {
                    start: x.layout().start_offset(),
                    shape: [*rows, *width],
                    step: [row.unsigned_abs(), column.unsigned_abs()],
                },
                step: outer.unsigned_abs(),
                tensor: x.clone(),
            };
        }
        let width = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().product::<usize>() / width.max(1);
        let tensor = contiguous(x);
        let start = tensor.layout().start_offset();
        Self {
            groups: 1,
            first: Place {
                start,
                ..Place::rows(rows, width)
            },
            step: 0,
            tensor,
        }
    }

    pub fn values(&self) -> &[f32] {
        self.tensor.storage::<f32>()
    }

    fn group(&self, index: usize) -> Place {
        Place {
            start: self.first.start + index * self.step,
            ..self.first
        }
    }

    /// The `rows` rows of one image, whether images are groups or not.
    pub fn of_image(&self, image: usize, rows: usize) -> Place {
        if self.rows() == rows {
            self.group(image)
        } else {
            self.first.cut(image * rows, rows)
        }
    }

    /// Rows of one group.
    fn rows(&self) -> usize {
        self.first.shape[0]
    }

    /// `f(rows, part)` for parts of a result of `width` values a row, and the rows that they come from.
    fn by_parts(&self, out: &mut [f32], width: usize, f: impl Fn(Place, &mut [f32]) + Sync) {
        for (i, out) in out
            .chunks_exact_mut((self.rows() * width).max(1))
            .enumerate()
        {
            let from = self.group(i);
            in_parts(out, width, |first, part| {
                f(from.cut(first / width, part.len() / width), part);
            });
        }
    }
}

/// A matrix where it lies.
fn matrix(tensor: &FlexTensor) -> (FlexTensor, Place) {
    let tensor = forward_strides(tensor.clone());
    let layout = tensor.layout();
    let place = Place {
        start: layout.start_offset(),
        shape: [layout.shape()[0], layout.shape()[1]],
        step: [
            layout.strides()[0].unsigned_abs(),
            layout.strides()[1].unsigned_abs(),
        ],
    };
    (tensor, place)
}

/// `x Wᵀ + b` over the last axis of `x`, weight `[out, in]`, and its activation.
pub(crate) fn linear(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    activation: Option<Activation>,
) -> FlexTensor {
    let mut shape = x.layout().shape().to_vec();
    let x = Rows::new(x);
    let bias = bias.map(contiguous);
    let output = weight.layout().shape()[0];
    let count = x.groups * x.rows();
    let mut out = match &bias {
        Some(bias) => repeated(values(bias), count),
        None => zeros(count * output),
    };
    let ends = Ends {
        onto: bias.is_some(),
        bias: None,
        activation,
    };
    products(&x, weight, &mut out, &ends);
    if let Some(last) = shape.last_mut() {
        *last = output;
    }
    tensor(out, shape)
}

/// `onto + x Wᵀ + b` over the last axis of `x`, weight `[out, in]`: in the place of `onto` where nobody else holds
/// it.
pub(crate) fn linear_add(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    onto: FlexTensor,
) -> FlexTensor {
    let bias = bias.map(contiguous);
    let mut onto = own(onto);
    let len = onto.layout().num_elements();
    let ends = Ends {
        onto: true,
        bias: bias.as_ref().map(values),
        activation: None,
    };
    products(
        &Rows::new(x),
        weight,
        &mut onto.storage_mut::<f32>()[..len],
        &ends,
    );
    onto
}

/// Hidden values that lie in a core's first cache between the two layers of [`mlp`].
const HIDDEN: usize = 1 << 13;
/// Rows of a tile of products, or two.
const TILE: usize = 12;

/// `onto + W₂ f(W₁ x + b₁) + b₂` over the last axis of `x`, for layers of weight `[out, in]` and bias, in the place of `onto`
/// where nobody else holds it: a few rows at a time, so that what is between the layers stays in a near cache.
pub(crate) fn mlp(
    x: &FlexTensor,
    [weight, bias]: [&FlexTensor; 2],
    activation: Activation,
    [last, last_bias]: [&FlexTensor; 2],
    onto: FlexTensor,
) -> FlexTensor {
    let output = last.layout().shape()[0];
    let len = onto.layout().num_elements();
    let [first_len, last_len] = [weight, last].map(|weight| weight.layout().num_elements());
    if first_len.max(last_len) >= WIDE || len <= FEW * output {
        let hidden = linear(x, weight, Some(bias), Some(activation));
        return linear_add(&hidden, last, Some(last_bias), onto);
    }
    let (bias, last_bias) = (contiguous(bias), contiguous(last_bias));
    let (bias, last_bias) = (values(&bias), values(&last_bias));
    let ((weight, at), (last, last_at)) = (matrix(weight), matrix(last));
    let (weight, last) = (weight.storage::<f32>(), last.storage::<f32>());
    let x = Rows::new(x);
    let mut onto = own(onto);
    let out = &mut onto.storage_mut::<f32>()[..len];
    let width = bias.len();
    let block = (HIDDEN / width.max(1)).next_multiple_of(TILE).max(TILE);
    Panels::with(weight, at.transposed(), true, |weight| {
        Panels::with(last, last_at.transposed(), true, |last| {
            x.by_parts(out, output, |rows, part| {
                with_buffer(block * width, |hidden| {
                    for (i, part) in part.chunks_mut(block * output).enumerate() {
                        let count = part.len() / output;
                        let rows = rows.cut(i * block, count);
                        let hidden = &mut hidden[..count * width];
                        for row in hidden.chunks_exact_mut(width) {
                            row.copy_from_slice(bias);
                        }
                        let between = Place::rows(count, width);
                        weight.product((&mut *hidden, between), true, (x.values(), rows), 1.0);
                        activate_slice(hidden, activation);
                        for row in part.chunks_exact_mut(output) {
                            add_to(row, last_bias);
                        }
                        let into = Place::rows(count, output);
                        last.product((part, into), true, (hidden, between), 1.0);
                    }
                });
            });
        });
    });
    onto
}

/// What a product's results start from and how they end.
struct Ends<'a> {
    /// Whether they are added to what is there.
    onto: bool,
    /// What is added to each row besides.
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
}

impl Ends<'_> {
    /// Before the products, for the columns of a row from `first` on.
    fn start(&self, first: usize, row: &mut [f32]) {
        if let Some(bias) = self.bias {
            add_to(row, &bias[first..][..row.len()]);
        }
    }

    /// After them, for any results.
    fn finish(&self, results: &mut [f32]) {
        if let Some(activation) = self.activation {
            activate_slice(results, activation);
        }
    }
}

/// Rows that are so few that weights stay where they lie.
const FEW: usize = 16;
/// Values of a weight above which a core's second cache does not hold it.
const WIDE: usize = 1 << 18;

/// `x Wᵀ` to rows of results. The cores share the columns where weights are brought for few rows, or are so many that a few of
/// them at a time come into panels and are used up while they are in a core's second cache. Else the cores share the rows.
fn products(x: &Rows, weight: &FlexTensor, out: &mut [f32], ends: &Ends) {
    let (weight, at) = matrix(weight);
    let weight = weight.storage::<f32>();
    let [output, input] = at.shape;
    debug_assert_eq!(x.first.shape[1], input);
    let are_rows = x.first.step[1] == 1;
    let is_few = are_rows && at.step[1] == 1 && (1..=FEW * output).contains(&out.len());
    let is_wide =
        are_rows && input * output >= WIDE && output >= threads() * panels_of(pair()) * pair();
    if !is_few && !is_wide {
        Panels::with(weight, at.transposed(), true, |weight| {
            x.by_parts(out, output, |rows, part| {
                for row in part.chunks_exact_mut(output.max(1)) {
                    ends.start(0, row);
                }
                let into = Place::rows(rows.shape[0], output);
                weight.product((&mut *part, into), ends.onto, (x.values(), rows), 1.0);
                ends.finish(part);
            });
        });
        return;
    }
    // Weights that are used a few times only come from far: all cores bring them.
    let is_much = if is_few {
        input * output >= PARALLEL_ELEMENTS
    } else {
        out.len() * input >= PARALLEL_PRODUCTS
    };
    each_of(by_columns(out, output), is_much, |(first, mut into)| {
        for row in &mut into {
            ends.start(first, row);
        }
        let count = into.first().map_or(0, |row| row.len());
        let at = at.cut(first, count);
        if is_few {
            by_few(x, (weight, at), &mut into, ends.onto);
        } else {
            by_depths(x, (weight, at), &mut into, ends.onto);
        }
        for row in into {
            ends.finish(row);
        }
    });
}

/// `into = [into +] x Wᵀ` for few rows, of the rows of the weight at a place.
fn by_few(x: &Rows, (weight, at): (&[f32], Place), into: &mut [&mut [f32]], add: bool) {
    let rows: Vec<&[f32]> = (0..x.groups)
        .flat_map(|group| (0..x.rows()).map(move |row| x.group(group).at(row, 0)))
        .map(|start| &x.values()[start..][..at.shape[1]])
        .collect();
    pulp::Arch::new().dispatch(Few {
        x: &rows,
        weight,
        at,
        into,
        add,
    });
}

/// The same for many rows: the weights come into panels a depth of terms at a time.
fn by_depths(x: &Rows, (weight, at): (&[f32], Place), into: &mut [&mut [f32]], add: bool) {
    let (input, most) = (at.shape[1], depth_of(pair()));
    for term in (0..input).step_by(most) {
        let depth = most.min(input - term);
        let at = at.transposed().cut(term, depth);
        Panels::with(weight, at, false, |weight| {
            for (group, rows) in into.chunks_mut(x.rows().max(1)).enumerate() {
                let x_at = x.group(group).cut_columns(term, depth);
                weight.product_of_rows(rows, add || term > 0, (x.values(), x_at));
            }
        });
    }
}

/// Rows of so many columns cut into as many parts for each core, of [`panels_of`] panels at most: the first column of each
/// and its rows.
fn by_columns(out: &mut [f32], columns: usize) -> Vec<(usize, Vec<&mut [f32]>)> {
    let panels = columns.div_ceil(pair());
    let parts = panels
        .div_ceil(panels_of(pair()))
        .next_multiple_of(threads());
    let firsts: Vec<usize> = (0..=parts)
        .map(|part| (part * panels / parts * pair()).min(columns))
        .collect();
    let counts: Vec<usize> = firsts.windows(2).map(|ends| ends[1] - ends[0]).collect();
    let rows = out.len() / columns;
    by_bands(out, [rows, columns], &counts)
        .into_iter()
        .map(|(part, rows)| (firsts[part], rows))
        .collect()
}

/// Gradients of x, weight and bias, in that order.
pub(crate) fn linear_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    grad: &FlexTensor,
) -> [FlexTensor; 3] {
    let shape = x.layout().shape().to_vec();
    let x = Rows::new(x);
    let (weight, at) = matrix(weight);
    let grad = contiguous(grad);
    let above = values(&grad);
    let [output, input] = at.shape;
    let rows = x.rows();
    let mut dx = vec![0.0f32; x.groups * rows * input];
    in_parts(&mut dx, input, |first, part| {
        let count = part.len() / input;
        product(
            (part, Place::rows(count, input)),
            false,
            (
                above,
                Place::rows(x.groups * rows, output).cut(first / input, count),
            ),
            (weight.storage::<f32>(), at),
            1.0,
        );
    });
    // Parts of the outputs side by side: nothing is to be summed between them.
    let many = rows * x.groups * input * output >= PARALLEL_PRODUCTS;
    let part = output.div_ceil(4).max(1);
    let parts = each(output.div_ceil(part), many, |job| {
        let (first, count) = (job * part, part.min(output - job * part));
        let mut dweight = vec![0.0f32; count * input];
        for group in 0..x.groups {
            let rows_of = Place {
                start: group * rows * output,
                ..Place::rows(rows, output)
            };
            product(
                (&mut dweight, Place::rows(count, input)),
                true,
                (above, rows_of.transposed().cut(first, count)),
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
        tensor(dx, shape),
        tensor(parts.concat(), [output, input]),
        tensor(dbias, [output]),
    ]
}
