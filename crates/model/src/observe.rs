//! How a caller watches the stages of a forward pass: tensors by their golden names
//! (docs/network.md §13.1) and blocks as they are done.

use burn::tensor::Tensor;

/// Receives what happens inside the network. Both methods default to doing nothing.
pub trait Observer {
    /// Whether [`Observer::tensor`] wants to be called at all; flattening costs memory.
    fn wants_tensors(&self) -> bool {
        false
    }

    /// An intermediate tensor, flattened row-major, with its shape.
    fn tensor(&mut self, name: &str, shape: &[usize], flat: Tensor<1>) {
        let _ = (name, shape, flat);
    }

    /// Block `done` of `total` of the running tower is submitted.
    fn block(&mut self, done: usize, total: usize) {
        let _ = (done, total);
    }
}

/// Watches nothing.
pub struct Silent;

impl Observer for Silent {}

/// One traced stage.
pub struct TracedTensor {
    /// Golden name, such as `clip.block03`.
    pub name: String,
    /// Shape before flattening.
    pub shape: Vec<usize>,
    /// Values, row-major, still on the device.
    pub flat: Tensor<1>,
}

/// Keeps every stage.
#[derive(Default)]
pub struct Trace {
    /// In the order of computation.
    pub stages: Vec<TracedTensor>,
}

impl Observer for Trace {
    fn wants_tensors(&self) -> bool {
        true
    }

    fn tensor(&mut self, name: &str, shape: &[usize], flat: Tensor<1>) {
        self.stages.push(TracedTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            flat,
        });
    }
}

/// Reports `tensor` when the observer wants it.
pub(crate) fn see<const D: usize>(observer: &mut dyn Observer, name: &str, tensor: &Tensor<D>) {
    if observer.wants_tensors() {
        let shape = tensor.dims();
        let len = shape.iter().product::<usize>();
        observer.tensor(name, &shape, tensor.clone().reshape([len]));
    }
}
