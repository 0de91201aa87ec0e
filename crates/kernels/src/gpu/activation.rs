//! Elementwise activations.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, launch_each, output, shape, to_f32};
use super::template::Template;
use crate::activation::Activation;

/// `activation.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Activate(Activation);

impl Kernel for Activate {
    fn text(self) -> String {
        let template = Template::new().activation(Some(self.0));
        template.expand(include_str!("activation.wgsl"))
    }
}

/// See [`crate::activate`].
pub(crate) fn activate(x: CubeTensor, activation: Activation) -> CubeTensor {
    let x = to_f32(x);
    let out = output(&x, &shape(&x), x.dtype);
    launch_each(Activate(activation), vec![into_contiguous(x)], &out, &[]);
    out
}
