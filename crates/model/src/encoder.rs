//! One encoder: a tower and what leads from its taps to the head.

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor};
use mmovseg_kernels::{self as kernels, Epilogue};

use crate::clip_visual::ClipVisual;
use crate::config::{EncoderConfig, ModelConfig};
use crate::dino::{Dino, DinoTaps};
use crate::features::{Embedding, EncoderMaps};
use crate::layers::{constant, normal, to_map};
use crate::named::{Named, flat_module};
use crate::names::module_path;
use crate::observe::{Observer, see};
use crate::pixels::{PixelGuidance, PixelTower};
use mmovseg_types::Sensor;

/// A convolution between a tap and the head. Kernel and stride are equal; whether it shrinks or
/// enlarges follows from the encoder's grid (docs/network.md §6, §7).
#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    enlarges: bool,
}

impl Projection {
    fn new(input: usize, output: usize, kernel: usize, enlarges: bool, device: &Device) -> Self {
        let std = (1.0 / (input * if enlarges { 1 } else { kernel * kernel }) as f64).sqrt();
        let shape = if enlarges {
            [input, output, kernel, kernel]
        } else {
            [output, input, kernel, kernel]
        };
        Self {
            weight: normal(shape, std, device),
            bias: constant([output], 0.0, device),
            enlarges,
        }
    }

    /// Row-major tokens `[N, g², W]` to a map `[N, out, g′, g′]`.
    fn forward(&self, x: Tensor<3>, grid: usize) -> Tensor<4> {
        if self.enlarges {
            let (weight, bias) = (self.weight.val(), self.bias.val());
            return kernels::upsample(x, [grid; 2], weight, bias, Epilogue::None);
        }
        let map = to_map(x, grid, grid);
        let bias = Some(self.bias.val());
        kernels::patch_map(map, self.weight.val(), bias, Epilogue::None)
    }
}

#[derive(Clone, Debug)]
enum Tower {
    Clip(ClipVisual),
    Dino(Dino),
}

/// Burn's derive would add the variant's name to the paths of parameters.
impl Module for Tower {
    fn collect_devices(&self, devices: Devices) -> Devices {
        match self {
            Self::Clip(tower) => tower.collect_devices(devices),
            Self::Dino(tower) => tower.collect_devices(devices),
        }
    }

    fn fork(self, device: &Device) -> Self {
        match self {
            Self::Clip(tower) => Self::Clip(tower.fork(device)),
            Self::Dino(tower) => Self::Dino(tower.fork(device)),
        }
    }

    fn to_device(self, device: &Device) -> Self {
        match self {
            Self::Clip(tower) => Self::Clip(tower.to_device(device)),
            Self::Dino(tower) => Self::Dino(tower.to_device(device)),
        }
    }

    fn train(self) -> Self {
        match self {
            Self::Clip(tower) => Self::Clip(tower.train()),
            Self::Dino(tower) => Self::Dino(tower.train()),
        }
    }

    fn valid(&self) -> Self {
        match self {
            Self::Clip(tower) => Self::Clip(tower.valid()),
            Self::Dino(tower) => Self::Dino(tower.valid()),
        }
    }

    fn materialize(self) -> Self {
        match self {
            Self::Clip(tower) => Self::Clip(tower.materialize()),
            Self::Dino(tower) => Self::Dino(tower.materialize()),
        }
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        match self {
            Self::Clip(tower) => tower.visit(visitor),
            Self::Dino(tower) => tower.visit(visitor),
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        match self {
            Self::Clip(tower) => Self::Clip(tower.map(mapper)),
            Self::Dino(tower) => Self::Dino(tower.map(mapper)),
        }
    }
}

/// An encoder as its configuration describes it.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    tower: Named<Tower>,
    /// From the deepest tap to the text's space; a CLIP tower ends there by itself.
    embedding: Option<Named<Projection>>,
    coarse: Named<Projection>,
    fine: Named<Projection>,
    pixel_guidance: Option<Named<PixelGuidance>>,
    pixel_tower: Option<Named<PixelTower>>,
    config: EncoderConfig,
    /// Side of the head's feature grid.
    grid: usize,
}

flat_module!(Encoder { tower, embedding, coarse, fine, pixel_guidance, pixel_tower } { config, grid });

impl Encoder {
    pub fn new(encoder: &EncoderConfig, model: &ModelConfig, device: &Device) -> Self {
        let (head, embed) = (&model.head, model.text.embed);
        let [coarse, fine] = head.decoder_guidance;
        let (width, names) = (encoder.width, &encoder.projections);
        // An encoder's grid is once (CLIP, the DINOs of L and nano) or twice (those of B) the
        // feature grid; the maps that the head wants are g, 2g and 4g wide, so each projection
        // shrinks, keeps or enlarges accordingly.
        let ratio = encoder.grid() / head.grid;
        let named = |name: &String, module| Named::new(name.clone(), module);
        let tower = if encoder.is_clip() {
            Tower::Clip(ClipVisual::new(encoder, embed, device))
        } else {
            Tower::Dino(Dino::new(encoder, device))
        };
        Self {
            tower: Named::new(module_path(&encoder.prefix), tower),
            embedding: names
                .embedding
                .as_ref()
                .map(|name| named(name, Projection::new(width, embed, ratio, false, device))),
            coarse: named(
                &names.coarse,
                Projection::new(width, coarse, 2 / ratio, ratio == 1, device),
            ),
            fine: named(
                &names.fine,
                Projection::new(width, fine, 4 / ratio, true, device),
            ),
            pixel_guidance: names.pixel_guidance.as_ref().and_then(|name| {
                let guidance = PixelGuidance::new(head.pixel_guidance?, fine, device);
                Some(Named::new(name.clone(), guidance))
            }),
            pixel_tower: names.pixel_tower.as_ref().and_then(|name| {
                let width = head.pixel_embed?;
                let tower = PixelTower::new(fine, width, head.pixel_deep, embed, device);
                Some(Named::new(name.clone(), tower))
            }),
            config: encoder.clone(),
            grid: head.grid,
        }
    }

    /// What it is.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// How the observer's names of this tower's stages begin.
    fn stage_name(&self) -> &'static str {
        match self.config.sensor {
            Sensor::Optical => "dino_rgb",
            Sensor::Sar => "dino_sar",
        }
    }

    /// Normalised pixels `[N, 3, S, S]` to what the head reads.
    pub fn forward(&self, pixels: Tensor<4>, observer: &mut dyn Observer) -> EncoderMaps {
        let grid = self.config.grid();
        let names = &self.config.projections;
        let (embedding, [first, second]) = match &*self.tower {
            Tower::Clip(tower) => {
                let features = tower.forward(pixels.clone(), None, observer);
                (Embedding::Tokens(features.dense), features.taps)
            }
            Tower::Dino(tower) => {
                let name = self.stage_name();
                let [first, second, third] = tower.forward(pixels.clone(), None, name, observer);
                (self.project(third, grid), [first, second])
            }
        };
        if let (Embedding::Map(map), Some(name)) = (&embedding, &names.embedding) {
            see(observer, &format!("proj.{name}"), map);
        }
        let coarse = self.coarse.forward(first, grid);
        see(observer, &format!("proj.{}", names.coarse), &coarse);
        let fine = self.fine.forward(second, grid);
        see(observer, &format!("proj.{}", names.fine), &fine);
        let guidance = self.pixel_guidance.as_deref();
        let fine = PixelGuidance::add(guidance, fine, pixels.clone());
        let tower = self.pixel_tower.as_deref();
        let pixels =
            tower.map(|tower| tower.forward(pixels, fine.clone(), embedding.map(self.grid)));
        EncoderMaps {
            embedding,
            coarse,
            fine,
            pixels,
        }
    }

    /// The taps of a DINO, see [`Dino::forward`]; of a CLIP tower, whose deepest tap is its dense
    /// features.
    pub fn taps(&self, pixels: Tensor<4>, observer: &mut dyn Observer) -> DinoTaps {
        match &*self.tower {
            Tower::Clip(tower) => {
                let features = tower.forward(pixels, None, observer);
                let [first, second] = features.taps;
                [first, second, features.dense]
            }
            Tower::Dino(tower) => tower.forward(pixels, None, self.stage_name(), observer),
        }
    }

    /// What is compared with text, `[N, k², E]`, where the tower reads these patches alone: `keep`
    /// names a square of `k × k` of them row by row.
    pub fn thinned(
        &self,
        pixels: Tensor<4>,
        keep: Tensor<1, Int>,
        observer: &mut dyn Observer,
    ) -> Tensor<3> {
        let side = keep.dims()[0].isqrt();
        match &*self.tower {
            Tower::Clip(tower) => tower.forward(pixels, Some(keep), observer).dense,
            Tower::Dino(tower) => {
                let [_, _, deepest] =
                    tower.forward(pixels, Some(keep), self.stage_name(), observer);
                self.project(deepest, side).tokens()
            }
        }
    }

    /// The deepest tap `[N, k², W]` as what is compared with text.
    pub fn project(&self, deepest: Tensor<3>, side: usize) -> Embedding {
        match &self.embedding {
            Some(projection) => Embedding::Map(projection.forward(deepest, side)),
            None => Embedding::Tokens(deepest),
        }
    }
}
