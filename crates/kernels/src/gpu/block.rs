//! The register block of a thread: what the kernels of products and convolutions have in common.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;

use super::launch::LANES;
use super::template::Template;
use crate::activation::Activation;

/// Most rows of a block.
const ROWS_MAX: usize = 8;
/// Most columns of a block.
const COLUMNS_MAX: usize = 4;
/// Rows of threads of a workgroup of a large product. They read the same columns, which the first
/// cache then holds.
const TEAMS: usize = 4;
/// Workgroups of one row of threads from which on a product is large: a quarter of them still
/// occupies a large GPU.
const LARGE: usize = 1024;

/// `rows × columns` sums of products of values that all threads of a row of the workgroup share
/// (one per row) and values of the thread's own (one per column).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Block {
    rows: usize,
    /// Columns, or pairs of columns in half precision.
    columns: usize,
    /// Rows of threads of a workgroup, each with rows of its own.
    teams: usize,
    /// Whether shared values are read as vectors of four.
    is_vector: bool,
    /// Whether shared and own values are in half precision; own values are then read as pairs.
    is_half: bool,
    has_bias: bool,
    epilogue: BlockEpilogue,
}

/// The part of an [`Epilogue`](crate::Epilogue) that these kernels apply. With
/// [`BlockEpilogue::Add`] a kernel has one more input, the residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BlockEpilogue {
    /// `y`.
    None,
    /// `f(y)`.
    Activation(Activation),
    /// `residual + y`.
    Add,
}

impl Block {
    /// The block for `height × width` results, each a sum of `depth` products, or of several runs
    /// of `depth`.
    pub fn new(
        [height, width, depth]: [usize; 3],
        is_half: bool,
        bias: Option<&CubeTensor>,
        epilogue: BlockEpilogue,
    ) -> Self {
        let rows = if height < ROWS_MAX {
            height.next_power_of_two()
        } else {
            ROWS_MAX
        };
        let per_read = if is_half { 2 } else { 1 };
        // The number of columns that leaves the fewest threads idle; of these the largest.
        let columns = (1..=COLUMNS_MAX / per_read)
            .rev()
            .min_by_key(|columns| width.next_multiple_of(columns * per_read * LANES))
            .unwrap_or(1);
        let workgroups = height.div_ceil(rows) * width.div_ceil(columns * per_read * LANES);
        Self {
            rows,
            columns,
            teams: if workgroups < LARGE { 1 } else { TEAMS },
            is_vector: depth.is_multiple_of(4),
            is_half,
            has_bias: bias.is_some(),
            epilogue,
        }
    }

    /// Rows of threads of a workgroup.
    pub fn teams(self) -> usize {
        self.teams
    }

    /// Whether results are in half precision: not where they are added to a residual, which stays
    /// in f32.
    fn gives_half(self) -> bool {
        self.is_half && self.epilogue != BlockEpilogue::Add
    }

    /// The type of the results.
    pub fn dtype(self) -> DType {
        if self.gives_half() {
            DType::F16
        } else {
            DType::F32
        }
    }

    /// Rows of results of a workgroup.
    pub fn workgroup_rows(self) -> usize {
        self.teams * self.rows
    }

    /// Columns of results of a workgroup.
    pub fn workgroup_columns(self) -> usize {
        LANES * self.columns * if self.is_half { 2 } else { 1 }
    }

    /// The constants and flags of the templates.
    ///
    /// `ROWS`, `COLUMNS`, `TEAMS`; `PARTS`: shared values of a read; `WIDTH`: own values of a read;
    /// `SHARED`, `OWN`, `RESULT`: what the buffers hold; `SHARED_F32`, `SUM`: the types of a shared
    /// read and of a sum in registers. Flags: `VECTOR` where `PARTS` is 4, `F16`, `BIAS`, `ADD`,
    /// and those of an activation.
    pub fn template(self) -> Template {
        let activation = match self.epilogue {
            BlockEpilogue::Activation(activation) => Some(activation),
            BlockEpilogue::None | BlockEpilogue::Add => None,
        };
        let shared = match (self.is_vector, self.is_half) {
            (true, false) => "vec4<f32>",
            (false, false) => "f32",
            (true, true) => "vec4<f16>",
            (false, true) => "f16",
        };
        let number = |is_half| if is_half { "vec2<f16>" } else { "f32" };
        Template::new()
            .constant("ROWS", self.rows)
            .constant("COLUMNS", self.columns)
            .constant("TEAMS", self.teams)
            .constant("PARTS", if self.is_vector { 4 } else { 1 })
            .constant("WIDTH", if self.is_half { 2 } else { 1 })
            .constant("SHARED", shared)
            .constant(
                "SHARED_F32",
                if self.is_vector { "vec4<f32>" } else { "f32" },
            )
            .constant("OWN", number(self.is_half))
            .constant("SUM", if self.is_half { "vec2<f32>" } else { "f32" })
            .constant("RESULT", number(self.gives_half()))
            .flag("VECTOR", self.is_vector)
            .flag("F16", self.is_half)
            .flag("BIAS", self.has_bias)
            .flag("ADD", self.epilogue == BlockEpilogue::Add)
            .activation(activation)
    }
}
