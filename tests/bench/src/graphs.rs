//! The graphs that are timed: the default model and its towers, CLIP's ViT-B/16 at 384 px, three
//! blocks of a ViT-B/8 with 2305 tokens, and the released variant B.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::features::Embedding;
use mmovseg_model::parameters::{ParameterTable, Part};
use mmovseg_model::{EncoderId, EncoderMaps, MmOvSeg, ModelConfig, Silent};
use safetensors::{Dtype, SafeTensors};

/// A part of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// The CLIP tower of the default model with its projections.
    NanoClip,
    /// The optical DINO tower of the default model with projections and pixel tower.
    NanoOptical,
    /// The SAR DINO tower of the default model with projections and pixel tower.
    NanoSar,
    /// The default model without its text tower, six classes.
    NanoWhole,
    /// The CLIP tower of variant B, a dense ViT-B/16 at 384 px, with its projections.
    VitB16,
    /// Variant B without its text tower, six classes.
    BWhole,
    /// Patch embedding and three blocks of the optical DINO tower of variant B, a ViT-B/8 with 2305
    /// tokens.
    VitB8Blocks,
}

/// Blocks of [`Graph::VitB8Blocks`], each of them tapped.
const BLOCKS: usize = 3;

/// Why a graph cannot run, in one line.
pub type Fault = String;

impl Graph {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NanoClip,
        Self::NanoOptical,
        Self::NanoSar,
        Self::NanoWhole,
        Self::VitB16,
        Self::VitB8Blocks,
        Self::BWhole,
    ];

    /// The name in files and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NanoClip => "nano-clip",
            Self::NanoOptical => "nano-dino-optical",
            Self::NanoSar => "nano-dino-sar",
            Self::NanoWhole => "nano-whole",
            Self::VitB16 => "vit-b16-384",
            Self::VitB8Blocks => "vit-b8-3-blocks",
            Self::BWhole => "b-whole",
        }
    }

    /// The graph with a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|graph| graph.name() == name)
    }

    /// Whether this is a part of the default model.
    #[must_use]
    pub fn is_nano(self) -> bool {
        !matches!(self, Self::VitB16 | Self::VitB8Blocks | Self::BWhole)
    }

    /// The configuration of the network that this is a part of.
    #[must_use]
    pub fn config(self) -> ModelConfig {
        let mut config = if self.is_nano() {
            ModelConfig::nano()
        } else {
            ModelConfig::b()
        };
        if self == Self::VitB8Blocks {
            for encoder in config.encoders.iter_mut().filter(|e| !e.is_clip()) {
                encoder.layers = BLOCKS;
                encoder.taps = vec![0, 1, 2];
            }
        }
        config
    }

    /// Whether the graph uses the parameter with this checkpoint name.
    #[must_use]
    pub fn reads(self, name: &str) -> bool {
        let parameter = ParameterTable::new(&self.config()).of(name);
        let of = |id: &str| matches!(&parameter.part, Part::Encoder(part) if part.as_str() == id);
        match self {
            Self::NanoClip | Self::VitB16 => of(EncoderId::CLIP),
            Self::NanoOptical => of(EncoderId::DINO_OPTICAL),
            Self::NanoSar => of(EncoderId::DINO_SAR),
            Self::VitB8Blocks => of(EncoderId::DINO_OPTICAL) && parameter.in_tower,
            Self::NanoWhole | Self::BWhole => parameter.part != Part::Text,
        }
    }
}

/// A graph with its weights and inputs on a device.
pub struct Runner {
    graph: Graph,
    model: MmOvSeg,
    optical: Tensor<4>,
    sar: Tensor<4>,
    text: Tensor<2>,
}

impl Runner {
    /// Loads a safetensors file with the parameters under their checkpoint names and the inputs
    /// `optical`, `sar` `[1, 3, S, S]` and `text [T, E]`, all in f32.
    ///
    /// # Errors
    /// When the file is no safetensors file, or a parameter or an input is missing.
    pub fn new(graph: Graph, file: &[u8], device: &Device) -> Result<Self, Fault> {
        let config = graph.config();
        let model = MmOvSeg::new(&config, device).map_err(|e| e.to_string())?;
        let file = SafeTensors::deserialize(file).map_err(|e| format!("the weights: {e}"))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(format!("{name}: {:?} where f32 is wanted", view.dtype()));
            }
            let values: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        let mut input = |name: &str| {
            tensors
                .remove(name)
                .ok_or_else(|| format!("the input `{name}` is missing"))
        };
        let (optical, sar, text) = (input("optical")?, input("sar")?, input("text")?);
        let tile = |(shape, values): (Vec<usize>, Vec<f32>)| {
            Tensor::<4>::from_data(TensorData::new(values, shape), device)
        };
        let text = Tensor::<2>::from_data(TensorData::new(text.1, text.0), device);
        let missing = model
            .parameter_shapes()
            .into_keys()
            .find(|name| graph.reads(name) && !tensors.contains_key(name));
        if let Some(name) = missing {
            return Err(format!("the parameter `{name}` is missing"));
        }
        Ok(Self {
            graph,
            model: model.load(&mut tensors),
            optical: tile(optical),
            sar: tile(sar),
            text,
        })
    }

    /// Runs the graph and reads its output back, all tensors flattened into one.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn run(&self) -> Result<Vec<f32>, Fault> {
        let flat = |maps: EncoderMaps| {
            let embedding = match maps.embedding {
                Embedding::Tokens(x) => flatten(x),
                Embedding::Map(x) => flatten(x),
            };
            let mut parts = vec![embedding, flatten(maps.coarse), flatten(maps.fine)];
            parts.extend(maps.pixels.map(flatten));
            Tensor::cat(parts, 0)
        };
        let encode = |id: &str| {
            let is_sar = id == EncoderId::DINO_SAR;
            let pixels = if is_sar { &self.sar } else { &self.optical };
            self.model.encode(id, pixels.clone(), &mut Silent)
        };
        let out = match self.graph {
            Graph::NanoClip | Graph::VitB16 => flat(encode(EncoderId::CLIP)),
            Graph::NanoOptical => flat(encode(EncoderId::DINO_OPTICAL)),
            Graph::NanoSar => flat(encode(EncoderId::DINO_SAR)),
            Graph::NanoWhole | Graph::BWhole => {
                let dense = encode(EncoderId::DINO_OPTICAL).plus(encode(EncoderId::DINO_SAR));
                let clip = encode(EncoderId::CLIP);
                let text = self.text.clone();
                flatten(self.model.head(&clip, Some(&dense), text, &mut Silent))
            }
            Graph::VitB8Blocks => {
                let optical = self.optical.clone();
                let taps = self
                    .model
                    .taps(EncoderId::DINO_OPTICAL, optical, &mut Silent);
                Tensor::cat(taps.map(flatten).to_vec(), 0)
            }
        };
        let data = out
            .into_data_async()
            .await
            .map_err(|e| format!("the device gave no values ({e:?})"))?;
        data.try_into_vec()
            .map_err(|e| format!("the device gave no values ({e:?})"))
    }
}

fn flatten<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count: usize = x.dims().iter().product();
    x.reshape([count])
}
