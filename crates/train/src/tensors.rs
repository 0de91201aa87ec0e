//! Tensors by checkpoint name, on disk: what stages and trainers hand to one another.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use mmovseg_model::params;
use mmovseg_weights::Checkpoint;
use safetensors::tensor::{Dtype, TensorView};

use crate::TrainError;

/// What to do about a file that cannot be written.
pub(crate) const NO_ROOM: &str = "give a folder that can be written and has room";

/// Shape and values of each tensor by name.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Everything a module holds.
///
/// # Errors
/// When the device gives no values.
pub(crate) fn values<M: Module>(module: &M) -> Result<Tensors, TrainError> {
    params::export(module)
        .into_iter()
        .map(|(name, shape, flat)| {
            let data = flat
                .into_data()
                .try_into_vec()
                .map_err(TrainError::device(Path::new(&name)))?;
            Ok((name, (shape, data)))
        })
        .collect()
}

/// Reads a safetensors file.
///
/// # Errors
/// When it is missing or damaged.
pub(crate) fn read(path: &Path) -> Result<Tensors, TrainError> {
    let checkpoint = Checkpoint::open(path).map_err(TrainError::content(path))?;
    let names: Vec<String> = checkpoint
        .names_and_shapes()
        .map(|(name, _)| name.to_owned())
        .collect();
    names
        .into_iter()
        .map(|name| {
            let tensor = checkpoint.read(&name).map_err(TrainError::content(path))?;
            Ok((tensor.name, (tensor.shape, tensor.data)))
        })
        .collect()
}

/// Writes a safetensors file.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, tensors: &Tensors) -> Result<(), TrainError> {
    let bytes: Vec<Vec<u8>> = tensors
        .values()
        .map(|(_, data)| data.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, (shape, _)), bytes)| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(TrainError::content(path))?;
    let file = safetensors::serialize(views, None).map_err(TrainError::content(path))?;
    std::fs::write(path, file).map_err(TrainError::file(path, NO_ROOM))
}

/// Reads a file of all tensors of a module into it.
///
/// # Errors
/// When it is missing or damaged, or holds the tensors of another network.
pub(crate) fn read_into<M: Module>(module: M, path: &Path) -> Result<M, TrainError> {
    let mut tensors = read(path)?;
    for (name, shape, _) in params::export(&module) {
        if tensors.get(&name).map(|tensor| &tensor.0) != Some(&shape) {
            let what = format!("it has no {name} {shape:?}: it belongs to another network");
            return Err(TrainError::content(path)(what));
        }
    }
    Ok(params::load(module, &mut tensors))
}
