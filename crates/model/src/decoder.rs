//! The decoder's two stages, each doubling the resolution with guidance from both kinds of
//! towers (spec §11).

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::layers::{Conv, GroupNorm, Upsample};
use crate::observe::{Observer, see};

/// One stage: upsample, concatenate, two convolutions with group norm.
#[derive(Module, Debug)]
pub(crate) struct DecoderStage {
    pub up: Upsample,
    conv1: Conv,
    norm1: GroupNorm,
    conv2: Conv,
    norm2: GroupNorm,
}

impl DecoderStage {
    /// `input` channels in, `output` out, `guidance` from each of CLIP and DINO. The upsampled
    /// part gives up `guidance` channels so that the concatenation keeps the released widths.
    pub fn new(
        input: usize,
        output: usize,
        guidance: usize,
        groups: usize,
        device: &Device,
    ) -> Self {
        let up = input - guidance;
        Self {
            up: Upsample::new(input, up, 2, device),
            conv1: Conv::new(up + 2 * guidance, output, 3, false, device),
            norm1: GroupNorm::new(output, groups, device),
            conv2: Conv::new(output, output, 3, false, device),
            norm2: GroupNorm::new(output, groups, device),
        }
    }

    /// What guidance `[N, G, 2h, 2w]` each adds to the first convolution, which is the same for every class:
    /// `[N, output, 2h, 2w]`.
    pub fn shared(&self, clip: Tensor<4>, dino: Tensor<4>) -> Tensor<4> {
        let [_, channels, _, _] = self.up.weight.val().dims();
        // The convolution of `[up | clip | dino]`, by parts.
        self.conv1.part(Tensor::cat(vec![clip, dino], 1), channels)
    }

    /// What [`DecoderStage::up`] made of the cells and what [`DecoderStage::shared`] gave, to
    /// `[N·T, output, 2h, 2w]`.
    pub fn forward(
        &self,
        up: Tensor<4>,
        shared: Tensor<4>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        see(observer, &format!("{name}.up"), &up);
        let x = self.conv1.part_onto(up, 0, shared);
        let x = if observer.wants_tensors() {
            let x = self.norm1.forward(x);
            see(observer, &format!("{name}.gn1"), &x);
            relu(x)
        } else {
            self.norm1.rectified(x)
        };
        let x = self.norm2.rectified(self.conv2.forward(x));
        see(observer, &format!("{name}.out"), &x);
        x
    }
}
