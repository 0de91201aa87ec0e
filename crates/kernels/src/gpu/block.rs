//! A thread's block of results, in registers: what products and convolutions have in common.

use std::fmt::Write;

use burn::tensor::DType;

use super::activation::function;
use super::{CubeTensor, LANES, team_head};
use crate::activation::Activation;

/// Most rows of a block.
const ROWS: usize = 8;
/// Most columns of it.
const COLUMNS: usize = 4;
/// Rows of threads in a workgroup of a large product: they read the same columns.
const TEAMS: usize = 4;
/// Workgroups of one row of threads from which on a product is large: a quarter as many larger ones still are some for
/// each core of a large card.
const LARGE: usize = 1024;

/// `rows × columns` sums of products: of values that the workgroup shares, a row each, with values of a thread's
/// own, a column each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    pub rows: usize,
    pub columns: usize,
    /// Rows of threads of a workgroup, each with rows of its own.
    pub teams: usize,
    /// Whether shared values are read four at a time.
    is_wide: bool,
    /// Whether shared and own values are in half precision; own ones are read two at a time then.
    is_half: bool,
    /// Whether results are.
    gives_half: bool,
    has_bias: bool,
    end: BlockEpilogue,
}

/// What becomes of a sum before it is written: what would else be a launch of its own, with a read and a write of
/// every value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BlockEpilogue {
    /// Nothing.
    None,
    /// Its activation.
    Activation(Activation),
    /// The value of `onto` at the same place is added.
    Add,
}

impl Block {
    /// The block for `height × width` results, each a sum of `depth` products, or of runs of `depth`.
    pub fn new(
        [height, width, depth]: [usize; 3],
        is_half: bool,
        bias: Option<&CubeTensor>,
        end: BlockEpilogue,
    ) -> Self {
        let rows = if height < ROWS {
            height.next_power_of_two()
        } else {
            ROWS
        };
        // The fewest threads have nothing to do.
        let columns = (1..=COLUMNS)
            .rev()
            .filter(|columns| !is_half || columns % 2 == 0)
            .min_by_key(|columns| width.next_multiple_of(columns * LANES))
            .unwrap_or(1);
        let workgroups = height.div_ceil(rows) * width.div_ceil(columns * LANES);
        Self {
            rows,
            columns,
            teams: if workgroups < LARGE { 1 } else { TEAMS },
            is_wide: depth.is_multiple_of(4),
            is_half,
            // What is added up along the network stays in f32.
            gives_half: is_half && end != BlockEpilogue::Add,
            has_bias: bias.is_some(),
            end,
        }
    }

    /// What its results are written in.
    pub fn dtype(self) -> DType {
        if self.gives_half {
            DType::F16
        } else {
            DType::F32
        }
    }

    /// Rows of a workgroup.
    pub fn workgroup_rows(self) -> usize {
        self.teams * self.rows
    }

    /// How far column `j` of a thread lies behind the first one of its workgroup.
    pub fn column(self, j: usize) -> String {
        if self.is_half {
            format!("2u * lane + {}u", j / 2 * 2 * LANES + j % 2)
        } else {
            format!("lane + {}u", j * LANES)
        }
    }

    /// Shared values of one read.
    pub fn wide(self) -> usize {
        if self.is_wide { 4 } else { 1 }
    }

    /// Own values of one read.
    pub fn own_read(self) -> usize {
        if self.is_half { 2 } else { 1 }
    }

    /// Columns of a workgroup.
    pub fn workgroup_columns(self) -> usize {
        LANES * self.columns
    }

    /// The head of a kernel's text: shared values, own values, `bias` and `onto` where there are such, `results`.
    pub fn head(self, shared: &str, own: &str, sizes: usize) -> String {
        let shared_of = match (self.is_wide, self.is_half) {
            (true, false) => "vec4<f32>",
            (false, false) => "f32",
            (true, true) => "vec4<f16>",
            (false, true) => "f16",
        };
        let numbers = |is_half| if is_half { "vec2<f16>" } else { "f32" };
        let mut buffers = vec![(shared, shared_of), (own, numbers(self.is_half))];
        if self.has_bias {
            buffers.push(("bias", "f32"));
        }
        if self.end == BlockEpilogue::Add {
            buffers.push(("onto", "f32"));
        }
        buffers.push(("results", numbers(self.gives_half)));
        let before = match self.end {
            BlockEpilogue::Activation(activation) => function(activation),
            BlockEpilogue::None | BlockEpilogue::Add => String::new(),
        };
        team_head(&before, &buffers, sizes, self.teams)
    }

    /// Declares `row{i}`, where the shared values of a thread's rows begin: `count` rows of `length` reads each.
    pub fn row_starts(self, count: &str, length: &str) -> String {
        (0..self.rows)
            .map(|i| format!("let row{i} = min(first_row + {i}u, {count} - 1u) * {length};\n"))
            .collect()
    }

    /// Declares `sum{i}_{j}`.
    pub fn sums(self) -> String {
        places(self.rows, self.columns)
            .map(|(i, j)| format!("var sum{i}_{j} = 0.0;\n"))
            .collect()
    }

    /// One step of all sums: `shared(i)` reads the values of row `i`, `own(part, j)` one value of column `j`, or in half
    /// precision those of column `j` and the next.
    pub fn step(
        self,
        shared: impl Fn(usize) -> String,
        own: impl Fn(usize, usize) -> String,
    ) -> String {
        let mut text = String::new();
        for (part, j) in places(self.wide(), self.columns) {
            let _ = match (self.is_half, j % 2) {
                (false, _) => writeln!(text, "let b{part}_{j} = {};", own(part, j)),
                (true, 0) => writeln!(
                    text,
                    "let pair{part}_{j} = vec2<f32>({}); let b{part}_{j} = pair{part}_{j}.x;",
                    own(part, j)
                ),
                (true, _) => writeln!(text, "let b{part}_{j} = pair{part}_{}.y;", j - 1),
            };
        }
        let number = if self.is_wide { "vec4<f32>" } else { "f32" };
        for i in 0..self.rows {
            let _ = writeln!(text, "let a{i} = {number}({});", shared(i));
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

    /// Writes `sum{i}_{j}` to `results` at `to`, with the bias found at `bias_at` and what it is added to at `onto`. In
    /// half precision two columns are written at once, with the second.
    pub fn write(self, i: usize, j: usize, bias_at: &str, to: &str, onto: &str) -> String {
        let bias = if self.has_bias {
            format!(" + bias[{bias_at}]")
        } else {
            String::new()
        };
        let sum = format!("sum{i}_{j}{bias}");
        let value = match self.end {
            BlockEpilogue::None => sum,
            BlockEpilogue::Activation(_) => format!("activation({sum})"),
            BlockEpilogue::Add => format!("onto[{onto}] + {sum}"),
        };
        match (self.gives_half, j % 2) {
            (false, _) => format!("results[{to}] = {value};"),
            (true, 0) => format!("sum{i}_{j} = {value};"),
            (true, _) => format!(
                "results[({to}) / 2u] = vec2<f16>(vec2<f32>(sum{i}_{}, {value}));",
                j - 1
            ),
        }
    }
}

/// Places of a block, row by row.
pub(super) fn places(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |i| (0..columns).map(move |j| (i, j)))
}
