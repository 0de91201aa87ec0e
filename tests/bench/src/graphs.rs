//! The graphs: the default model's towers and whole, CLIP's ViT-B/16 at 384 px, three blocks of a
//! ViT-B/8 at 2305 tokens, and the released B as a whole.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::network::DinoMaps;
use mmovseg_model::{MmOvSeg, ModelConfig, Silent};
use safetensors::{Dtype, SafeTensors};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// The default model's CLIP tower with its projections.
    NanoClip,
    /// Its optical DINO tower with projections and pixel tower.
    NanoOptical,
    /// The same for SAR.
    NanoSar,
    /// All of it but the text tower, six classes.
    NanoWhole,
    /// The released B's CLIP tower, ViT-B/16 at 384 px, dense, with its projections.
    VitB16,
    /// All of the released B but its text tower, six classes.
    BWhole,
    /// Patch embedding and three blocks of the released B's DINO, ViT-B/8 at 2305 tokens.
    VitB8Blocks,
}

/// Blocks of [`Graph::VitB8Blocks`]: as many as there are taps.
const BLOCKS: usize = 3;

/// What keeps a graph from running: one line for the person who runs the bench.
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

    /// Its name in files and tables.
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

    /// The graph of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|graph| graph.name() == name)
    }

    /// Whether it is a part of the default model.
    #[must_use]
    pub fn is_nano(self) -> bool {
        !matches!(self, Self::VitB16 | Self::VitB8Blocks | Self::BWhole)
    }

    /// The sizes of the network that it is a part of.
    #[must_use]
    pub fn config(self) -> ModelConfig {
        let mut config = if self.is_nano() {
            ModelConfig::nano()
        } else {
            ModelConfig::b()
        };
        if self == Self::VitB8Blocks {
            config.dino.layers = BLOCKS;
            config.dino.taps = [0, 1, 2];
        }
        config
    }

    /// Whether it reads the parameter of this checkpoint name.
    #[must_use]
    pub fn reads(self, name: &str) -> bool {
        let clip = name.contains("clip_model.visual.") || name.starts_with("upsample");
        let optical = name.starts_with("dino_") && !name.starts_with("dino_sar");
        match self {
            Self::NanoClip | Self::VitB16 => clip,
            Self::NanoOptical => optical,
            Self::NanoSar => name.starts_with("dino_sar"),
            Self::VitB8Blocks => name.starts_with("dino_model."),
            Self::NanoWhole | Self::BWhole => {
                let text = name.contains("clip_model.") && !name.contains("clip_model.visual.");
                !text
            }
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
    /// Puts weights `[name → tensor]` and the inputs `optical`, `sar` `[1, 3, S, S]` and `text [T, E]` of
    /// one safetensors file on the device.
    ///
    /// # Errors
    /// When the file is not one, or a parameter or an input is missing.
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

    /// Runs the graph and reads its whole output back.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn run(&self) -> Result<Vec<f32>, Fault> {
        let flat = |maps: &DinoMaps| {
            let mut parts = vec![
                flatten(maps.down.clone()),
                flatten(maps.coarse.clone()),
                flatten(maps.fine.clone()),
            ];
            parts.extend(maps.pixels.clone().map(flatten));
            Tensor::cat(parts, 0)
        };
        let dino = |sar: bool| {
            let pixels = if sar { &self.sar } else { &self.optical };
            self.model.encode_dino(pixels.clone(), sar, &mut Silent)
        };
        let clip = || self.model.encode_clip(self.optical.clone(), &mut Silent);
        let out = match self.graph {
            Graph::NanoClip | Graph::VitB16 => {
                let maps = clip();
                Tensor::cat(
                    vec![
                        flatten(maps.dense),
                        flatten(maps.coarse),
                        flatten(maps.fine),
                    ],
                    0,
                )
            }
            Graph::NanoOptical => flat(&dino(false)),
            Graph::NanoSar => flat(&dino(true)),
            Graph::NanoWhole | Graph::BWhole => {
                let maps = dino(false).plus(dino(true));
                flatten(
                    self.model
                        .head(&clip(), &maps, self.text.clone(), &mut Silent),
                )
            }
            Graph::VitB8Blocks => {
                let taps = self
                    .model
                    .dino_taps(self.optical.clone(), false, &mut Silent);
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
