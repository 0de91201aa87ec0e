//! The decoder's two stages, each doubling the resolution with guidance from both kinds of
//! towers (docs/network.md §11).

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use mmovseg_kernels::{self as kernels, Epilogue};

use crate::layers::{Conv, GroupNorm, Upsample};
use crate::observe::{Observer, see};

/// One stage: upsample, concatenate, two convolutions with group norm.
#[derive(Module, Debug)]
pub(crate) struct DecoderStage {
    up: Upsample,
    conv1: Conv,
    norm1: GroupNorm,
    conv2: Conv,
    norm2: GroupNorm,
}

impl DecoderStage {
    /// `input` channels in, `output` out, and `guidance` channels from each of so many `sources`.
    /// The upsampled part gives up `guidance` channels, as in the released models.
    pub fn new(
        input: usize,
        output: usize,
        [guidance, sources]: [usize; 2],
        groups: usize,
        device: &Device,
    ) -> Self {
        let up = input - guidance;
        Self {
            up: Upsample::new(input, up, 2, device),
            conv1: Conv::new(up + sources * guidance, output, 3, false, device),
            norm1: GroupNorm::new(output, groups, device),
            conv2: Conv::new(output, output, 3, false, device),
            norm2: GroupNorm::new(output, groups, device),
        }
    }

    /// What guidance `[N, G, 2h, 2w]` of each source adds to the first convolution, which is the
    /// same for every class: `[N, output, 2h, 2w]`.
    pub fn shared(&self, guidance: Vec<Tensor<4>>) -> Tensor<4> {
        let [_, channels, _, _] = self.up.weight.val().dims();
        // The convolution of `[up | guidance of each source]`, by parts.
        self.conv1.part(Tensor::cat(guidance, 1), channels)
    }

    /// Tokens `[N·T, h·w, input]` and what [`DecoderStage::shared`] gave, to `[N·T, output, 2h,
    /// 2w]`.
    pub fn forward(
        &self,
        x: Tensor<3>,
        [h, w]: [usize; 2],
        shared: Tensor<4>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let x = if observer.wants_tensors() {
            let up = self.up.forward_tokens(x, h, w);
            see(observer, &format!("{name}.up"), &up);
            let x = self.norm1.forward(self.conv1.part_onto(up, 0, shared));
            see(observer, &format!("{name}.gn1"), &x);
            relu(x)
        } else {
            let up = (self.up.weight.val(), self.up.bias.val());
            let weight = self.conv1.weight_part(0, up.1.dims()[0]);
            let epilogue = Epilogue::add_norm(shared, self.norm1.rectified());
            kernels::conv_upsampled(x, [h, w], up, weight, epilogue)
        };
        let x = self.conv2.normed(x, &self.norm2);
        see(observer, &format!("{name}.out"), &x);
        x
    }
}
