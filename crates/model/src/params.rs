//! Parameters by the names of the released checkpoints (docs/network.md §13): loading, exporting,
//! and saying in one go what is missing, unknown or misshapen.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData};
use mmovseg_kernels as kernels;

use crate::names::checkpoint_name;
use crate::network::MmOvSeg;
use crate::parameters::{ParameterTable, Part, Role};

/// Checkpoint entries that inference never reads (docs/network.md §13).
const UNUSED: [&str; 4] = ["logit_scale", "attn_mask", "mask_token", "local_cls_norm"];

/// What a set of tensors lacks or has too much of. Empty lists mean that it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Parameters that no tensor was given for.
    pub missing: Vec<String>,
    /// Tensors that belong to no parameter and are not known to be unused.
    pub unknown: Vec<String>,
    /// Tensors of another shape: name, wanted, found.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// Whether everything fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty() && self.misshapen.is_empty()
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("missing {}", self.missing.join(", ")));
        }
        if !self.unknown.is_empty() {
            parts.push(format!("unknown {}", self.unknown.join(", ")));
        }
        for (name, wanted, found) in &self.misshapen {
            parts.push(format!("{name} has shape {found:?} instead of {wanted:?}"));
        }
        write!(f, "{}", parts.join("; "))
    }
}

/// Names and shapes of all parameters of a module tree, in checkpoint spelling.
struct Shapes {
    path: Vec<String>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for Shapes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = checkpoint_name(&self.path.join("."));
        self.shapes.insert(name, param.lazy_shape().to_vec());
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

/// The numbers in which a network on a graphics card holds what the blocks of its image towers
/// multiply with, which is where nearly all of its time goes. All sums, what is added up along a
/// tower, and every other part are in f32.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout.
    #[default]
    F32,
    /// Half precision: weights of the blocks, and what passes between their operations.
    F16,
}

impl Precision {
    /// What a parameter is held in. The kernels follow the weights: a norm gives the numbers of its
    /// gain, a product those of its matrix.
    fn of(self, name: &str, table: &ParameterTable) -> DType {
        let parameter = table.of(name);
        let is_block = matches!(parameter.part, Part::Encoder(_)) && parameter.role == Role::Block;
        match self {
            Self::F16 if is_block && name.ends_with("weight") => DType::F16,
            Self::F16 | Self::F32 => DType::F32,
        }
    }
}

/// Replaces the parameters it holds a tensor for.
struct Load<'a> {
    path: Vec<String>,
    tensors: &'a mut BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    dtype: &'a dyn Fn(&str) -> DType,
}

impl ModuleMapper for Load<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = checkpoint_name(&self.path.join("."));
        let Some((shape, data)) = self.tensors.remove(&name) else {
            return param;
        };
        let dtype = (self.dtype)(&name);
        let data = TensorData::new(data, shape).convert_dtype(dtype);
        let tensor = Tensor::from_data(data, (&param.lazy_device(), dtype));
        let tensor = if name.ends_with("weight") && !is_table(&self.path) {
            kernels::prepack(tensor)
        } else {
            tensor
        };
        // Asking the parameter anything else would draw its first, random value.
        let id = param.id;
        param.transform_for_load(tensor, id)
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

/// Whether a parameter is a table that rows are taken from, not a weight that inputs are multiplied
/// with.
fn is_table(path: &[String]) -> bool {
    path.iter().any(|part| part == "token_embedding")
}

/// Chooses which parameters learn.
struct Choose<F> {
    path: Vec<String>,
    learns: F,
}

impl<F: Fn(&str) -> bool> ModuleMapper for Choose<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let learns = (self.learns)(&checkpoint_name(&self.path.join(".")));
        param.set_require_grad(learns)
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

/// Collects parameters with their values.
struct Export {
    path: Vec<String>,
    tensors: Vec<(String, Vec<usize>, Tensor<1>)>,
}

impl ModuleVisitor for Export {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let shape = value.dims();
        let len = shape.iter().product::<usize>();
        self.tensors.push((
            checkpoint_name(&self.path.join(".")),
            shape.to_vec(),
            value.reshape([len]),
        ));
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

/// Collects which parameter has which name.
struct Ids {
    path: Vec<String>,
    ids: BTreeMap<String, ParamId>,
}

impl ModuleVisitor for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.ids
            .insert(checkpoint_name(&self.path.join(".")), param.id);
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

impl MmOvSeg {
    /// Every parameter's checkpoint name and the id under which its gradients are found.
    #[must_use]
    pub fn parameter_ids(&self) -> BTreeMap<String, ParamId> {
        let mut visitor = Ids {
            path: Vec::new(),
            ids: BTreeMap::new(),
        };
        self.visit(&mut visitor);
        visitor.ids
    }

    /// Every parameter's checkpoint name and shape.
    #[must_use]
    pub fn parameter_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        shapes(self)
    }

    /// Compares the names and shapes of a checkpoint with what this network reads. Entries that
    /// inference never reads are passed over.
    #[must_use]
    pub fn compare<'a>(&self, given: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Mismatch {
        let clip_layers = self.config().clip().map_or(0, |clip| clip.layers);
        compare(self.parameter_shapes(), given, clip_layers)
    }

    /// Puts tensors in place by checkpoint name, each on the device of its parameter; names without
    /// a parameter are left in the map. Call [`MmOvSeg::compare`] first: shapes are taken on trust.
    #[must_use]
    pub fn load(self, tensors: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Self {
        load(self, tensors)
    }

    /// [`MmOvSeg::load`] with the blocks of image towers held in these numbers. For a graphics card
    /// that has them; nothing is trained so.
    #[must_use]
    pub fn load_as(
        self,
        tensors: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>,
        precision: Precision,
    ) -> Self {
        let table = self.parameters();
        load_as(self, tensors, &|name| precision.of(name, &table))
    }

    /// Which part of the network each parameter belongs to.
    #[must_use]
    pub fn parameters(&self) -> ParameterTable {
        ParameterTable::new(self.config())
    }

    /// Lets the parameters learn whose checkpoint name passes, and freezes the others.
    #[must_use]
    pub fn learn_only(self, learns: impl Fn(&str) -> bool) -> Self {
        self.map(&mut Choose {
            path: Vec::new(),
            learns,
        })
    }

    /// Every parameter as checkpoint name, shape and flat values, still on the device.
    #[must_use]
    pub fn export(&self) -> Vec<(String, Vec<usize>, Tensor<1>)> {
        export(self)
    }
}

/// Compares the names and shapes of a checkpoint with those that a network reads, see
/// [`MmOvSeg::compare`]; `clip_layers` is the number of visual blocks of a CLIP whose last block
/// has values only.
pub(crate) fn compare<'a>(
    wanted: BTreeMap<String, Vec<usize>>,
    given: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    clip_layers: usize,
) -> Mismatch {
    let mut seen = BTreeSet::new();
    let mut mismatch = Mismatch::default();
    for (name, shape) in given {
        match wanted.get(name) {
            Some(expected) if expected != shape => {
                mismatch
                    .misshapen
                    .push((name.to_owned(), expected.clone(), shape.to_vec()));
            }
            Some(_) => {}
            None if is_unused(name, clip_layers) => {}
            None => mismatch.unknown.push(name.to_owned()),
        }
        seen.insert(name.to_owned());
    }
    mismatch.missing = wanted
        .into_keys()
        .filter(|name| !seen.contains(name))
        .collect();
    mismatch
}

/// Every parameter of a module: its checkpoint name, relative to the module's root, and its shape.
#[must_use]
pub fn shapes<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    let mut visitor = Shapes {
        path: Vec::new(),
        shapes: BTreeMap::new(),
    };
    module.visit(&mut visitor);
    visitor.shapes
}

/// [`MmOvSeg::load`] for any module, in f32; names follow the same rules relative to its own root.
#[must_use]
pub fn load<M: Module>(module: M, tensors: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> M {
    load_as(module, tensors, &|_| DType::F32)
}

pub(crate) fn load_as<M: Module>(
    module: M,
    tensors: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    dtype: &dyn Fn(&str) -> DType,
) -> M {
    module.map(&mut Load {
        path: Vec::new(),
        tensors,
        dtype,
    })
}

/// [`MmOvSeg::export`] for any module; names follow the same rules relative to its own root.
#[must_use]
pub fn export<M: Module>(module: &M) -> Vec<(String, Vec<usize>, Tensor<1>)> {
    let mut visitor = Export {
        path: Vec::new(),
        tensors: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.tensors
}

/// Whether a checkpoint entry is one that inference never reads: known leftovers, and queries and
/// keys of the last visual CLIP block (docs/network.md §13).
#[must_use]
pub fn is_unused(name: &str, clip_layers: usize) -> bool {
    let leaf = |part: &str| name.split('.').any(|piece| piece == part);
    let last = format!(
        "visual.transformer.resblocks.{}.attn.",
        clip_layers.saturating_sub(1)
    );
    UNUSED.iter().any(|part| leaf(part))
        || name
            .split_once(last.as_str())
            .is_some_and(|(_, rest)| rest == "q_proj_weight" || rest == "k_proj_weight")
}
