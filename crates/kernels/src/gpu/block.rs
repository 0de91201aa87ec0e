//! A thread's block of results, in registers: what products and convolutions have in common.

use std::fmt::Write;

use super::activation::formula;
use super::{CubeTensor, LANES, head};
use crate::Activation;

/// Most rows of a block.
const ROWS: usize = 8;
/// Most columns of it, [`LANES`] apart.
const COLUMNS: usize = 4;

/// `rows × columns` sums of products: of values that the workgroup shares, a row each, with values of a thread's
/// own, a column each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    pub rows: usize,
    pub columns: usize,
    /// Whether shared values are read four at a time.
    is_wide: bool,
    has_bias: bool,
    end: End,
}

/// What becomes of a sum before it is written: what would else be a launch of its own, with a read and a write of
/// every value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// Nothing.
    Plain,
    /// Its activation.
    Activated(Activation),
    /// It is added to what `onto` has at the same place.
    Onto,
}

impl Block {
    /// The block for `height × width` results, each a sum of `depth` products, or of runs of `depth`.
    pub fn new(
        height: usize,
        width: usize,
        depth: usize,
        bias: Option<&CubeTensor>,
        end: End,
    ) -> Self {
        Self {
            rows: if height < ROWS {
                height.next_power_of_two()
            } else {
                ROWS
            },
            // The fewest threads have nothing to do.
            columns: (1..=COLUMNS)
                .rev()
                .min_by_key(|columns| width.next_multiple_of(columns * LANES))
                .unwrap_or(1),
            is_wide: depth.is_multiple_of(4),
            has_bias: bias.is_some(),
            end,
        }
    }

    /// Shared values of one read.
    pub fn wide(self) -> usize {
        if self.is_wide { 4 } else { 1 }
    }

    /// Columns of a workgroup.
    pub fn workgroup_columns(self) -> usize {
        LANES * self.columns
    }

    /// The head of a kernel's text: shared values, own values, `bias` and `onto` where there are such, `results`.
    pub fn head(self, shared: &str, own: &str, sizes: usize) -> String {
        let of = if self.is_wide { "vec4<f32>" } else { "f32" };
        let mut buffers = vec![(shared, of), (own, "f32")];
        if self.has_bias {
            buffers.push(("bias", "f32"));
        }
        if self.end == End::Onto {
            buffers.push(("onto", "f32"));
        }
        buffers.push(("results", "f32"));
        head(&buffers, sizes)
    }

    /// Declares `sum{i}_{j}`.
    pub fn sums(self) -> String {
        places(self.rows, self.columns)
            .map(|(i, j)| format!("var sum{i}_{j} = 0.0;\n"))
            .collect()
    }

    /// One step of all sums: `shared(i)` reads the values of row `i`, `own(part, j)` one value of column `j`.
    pub fn step(
        self,
        shared: impl Fn(usize) -> String,
        own: impl Fn(usize, usize) -> String,
    ) -> String {
        let mut text = String::new();
        for (part, j) in places(self.wide(), self.columns) {
            let _ = writeln!(text, "let b{part}_{j} = {};", own(part, j));
        }
        for i in 0..self.rows {
            let _ = writeln!(text, "let a{i} = {};", shared(i));
        }
        let parts: &[&str] = if self.is_wide {
            &[".x", ".y", ".z", ".w"]
        } else {
            &[""]
        };
        for (i, j) in places(self.rows, self.columns) {
            for (part, name) in parts.iter().enumerate() {
                let _ = writeln!(text, "sum{i}_{j} += a{i}{name} * b{part}_{j};");
            }
        }
        text
    }

    /// Writes `sum{i}_{j}` to `results` at `to`, with the bias found at `bias_at` and what it is added to at `onto`.
    pub fn write(self, i: usize, j: usize, bias_at: &str, to: &str, onto: &str) -> String {
        let bias = if self.has_bias {
            format!(" + bias[{bias_at}]")
        } else {
            String::new()
        };
        let sum = format!("sum{i}_{j}{bias}");
        match self.end {
            End::Plain => format!("results[{to}] = {sum};"),
            End::Activated(activation) => {
                format!("let x = {sum}; {} results[{to}] = y;", formula(activation))
            }
            End::Onto => format!("results[{to}] = onto[{onto}] + {sum};"),
        }
    }
}

/// Places of a block, row by row.
pub(super) fn places(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |i| (0..columns).map(move |j| (i, j)))
}
