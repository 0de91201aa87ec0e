//! The sizes of a convolution.

use burn::backend::flex::FlexTensor;

/// The sizes of a convolution of stride 1 with zero padding.
#[derive(Clone, Copy)]
pub(super) struct ConvShape {
    pub images: usize,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    pub height: usize,
    pub width: usize,
    /// Side of the kernel.
    pub kernel: usize,
}

impl ConvShape {
    /// Of `x [N, C, H, W]` and `weight [O, C, k, k]`.
    pub fn new(x: &FlexTensor, weight: &FlexTensor) -> Self {
        let (x, weight) = (x.layout().shape(), weight.layout().shape());
        Self {
            images: x[0],
            input: x[1],
            output: weight[0],
            height: x[2],
            width: x[3],
            kernel: weight[2],
        }
    }

    /// Pixels of a map.
    pub fn area(&self) -> usize {
        self.height * self.width
    }

    /// Values that an output pixel depends on.
    pub fn taps(&self) -> usize {
        self.input * self.kernel * self.kernel
    }
}
