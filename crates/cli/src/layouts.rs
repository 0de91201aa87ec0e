//! Where the parameters of a network lie in a checkpoint: under this project's names, or, for a
//! CLIP alone, under those of `OpenAI` and `open_clip`, or of `transformers`.

use std::collections::BTreeMap;

use mmovseg_weights::{Checkpoint, HostTensor, WeightsError};

/// How the names of CLIP's parameters begin in this project.
const CLIP: &str = "sem_seg_head.predictor.clip_model.";
/// How those of the upsampler begin, here and in lightning checkpoints.
const UPSAMPLER: &str = "upsampler.";

/// Entries of a CLIP that say nothing of its towers.
const NOT_READ: [&str; 6] = [
    "logit_scale",
    "logit_bias",
    "input_resolution",
    "context_length",
    "vocab_size",
    "attn_mask",
];

/// Parts of checkpoints by the names that this project gives to what they make up.
#[derive(Default)]
pub struct Sources(BTreeMap<String, Source>);

#[derive(Default)]
struct Source {
    shape: Vec<usize>,
    /// Joined along the first axis in the order of their numbers.
    parts: BTreeMap<usize, Part>,
}

/// A part of a tensor of a file.
struct Part {
    /// Which file.
    file: usize,
    name: String,
    take: Take,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    All,
    /// One of three equal parts along the first axis.
    Third(usize),
    /// A matrix, transposed.
    Transposed,
}

impl Sources {
    /// Everything under the names it has.
    pub fn as_named(checkpoint: &Checkpoint) -> Self {
        let mut sources = Self::default();
        for (name, shape) in checkpoint.names_and_shapes() {
            sources.add(name.to_owned(), 0, (0, name, shape), Take::All);
        }
        sources
    }

    /// A CLIP as `OpenAI` and `open_clip` name its parts, or as `transformers` does.
    pub fn of_clip(checkpoint: &Checkpoint) -> Self {
        let mut sources = Self::default();
        for (name, shape) in checkpoint.names_and_shapes() {
            let leaf = name.rsplit('.').next().unwrap_or(name);
            if NOT_READ.contains(&leaf) || leaf == "position_ids" {
                continue;
            }
            let from = (0, name, shape);
            if let Some((own, part, take)) = of_transformers(name) {
                sources.add(format!("{CLIP}{own}"), part, from, take);
            } else if let Some(begin) = name.strip_suffix("in_proj_weight") {
                for (third, letter) in ["q", "k", "v"].into_iter().enumerate() {
                    let own = format!("{CLIP}{begin}{letter}_proj_weight");
                    sources.add(own, 0, from, Take::Third(third));
                }
            } else {
                sources.add(format!("{CLIP}{name}"), 0, from, Take::All);
            }
        }
        sources
    }

    /// The upsampler in file number `file`, whose names may lack their beginning.
    pub fn add_upsampler(&mut self, checkpoint: &Checkpoint, file: usize) {
        let is_upsampler = |name: &str| {
            let name = name.strip_prefix(UPSAMPLER).unwrap_or(name);
            name.starts_with("up") || name.starts_with("fixup_proj.")
        };
        for (name, shape) in checkpoint.names_and_shapes() {
            if is_upsampler(name) {
                let rest = name.strip_prefix(UPSAMPLER).unwrap_or(name);
                // Single numbers are vectors of one here.
                let shape = if shape.is_empty() { &[1] } else { shape };
                self.add(
                    format!("{UPSAMPLER}{rest}"),
                    0,
                    (file, name, shape),
                    Take::All,
                );
            }
        }
    }

    fn add(
        &mut self,
        own: String,
        part: usize,
        (file, name, shape): (usize, &str, &[usize]),
        take: Take,
    ) {
        let mut shape = shape.to_vec();
        match take {
            Take::All => {}
            Take::Third(_) => {
                if let Some(first) = shape.first_mut() {
                    *first /= 3;
                }
            }
            Take::Transposed => shape.reverse(),
        }
        let source = self.0.entry(own).or_default();
        match source.shape.first_mut() {
            Some(first) if !source.parts.is_empty() => {
                *first += shape.first().copied().unwrap_or_default();
            }
            _ => source.shape = shape,
        }
        let name = name.to_owned();
        source.parts.insert(part, Part { file, name, take });
    }

    /// Names and shapes, as this project has them.
    pub fn shapes(&self) -> BTreeMap<&str, &[usize]> {
        self.0
            .iter()
            .map(|(name, source)| (name.as_str(), source.shape.as_slice()))
            .collect()
    }

    /// Reads a tensor out of the files.
    pub fn read(&self, files: &[Checkpoint], name: &str) -> Result<HostTensor, WeightsError> {
        let missing = || WeightsError::Tensor {
            name: name.to_owned(),
            reason: "is not in the checkpoint".to_owned(),
        };
        let source = self.0.get(name).ok_or_else(missing)?;
        let mut data = Vec::new();
        for part in source.parts.values() {
            let file = files.get(part.file).ok_or_else(missing)?;
            let tensor = file.read(&part.name)?;
            match part.take {
                Take::All if data.is_empty() => data = tensor.data,
                Take::All => data.extend(tensor.data),
                Take::Third(third) => {
                    let length = tensor.data.len() / 3;
                    data.extend_from_slice(&tensor.data[third * length..][..length]);
                }
                Take::Transposed => {
                    let columns = tensor.shape.last().copied().unwrap_or(1).max(1);
                    for column in 0..columns {
                        data.extend(tensor.data.iter().skip(column).step_by(columns));
                    }
                }
            }
        }
        Ok(HostTensor {
            name: name.to_owned(),
            shape: source.shape.clone(),
            data,
        })
    }
}

/// What `transformers` calls a parameter of CLIP: its name in CLIP's own words, its place among the
/// parts that make it up, and how it is taken.
fn of_transformers(name: &str) -> Option<(String, usize, Take)> {
    match name {
        "text_projection.weight" => return Some(("text_projection".into(), 0, Take::Transposed)),
        "visual_projection.weight" => return Some(("visual.proj".into(), 0, Take::Transposed)),
        _ => {}
    }
    let (tower, rest) = match name.strip_prefix("vision_model.") {
        Some(rest) => ("visual.", rest),
        None => ("", name.strip_prefix("text_model.")?),
    };
    if let Some(rest) = rest.strip_prefix("encoder.layers.") {
        let (block, rest) = rest.split_once('.')?;
        let (module, leaf) = rest.rsplit_once('.')?;
        let block = format!("{tower}transformer.resblocks.{block}.");
        let matrices = ["q", "k", "v"];
        let letter = matrices
            .iter()
            .position(|letter| module == format!("self_attn.{letter}_proj"));
        if let Some(place) = letter {
            return Some(match leaf {
                "bias" => (format!("{block}attn.in_proj_bias"), place, Take::All),
                _ => {
                    let letter = matrices[place];
                    (format!("{block}attn.{letter}_proj_weight"), 0, Take::All)
                }
            });
        }
        let own = match module {
            "self_attn.out_proj" => "attn.out_proj",
            "layer_norm1" => "ln_1",
            "layer_norm2" => "ln_2",
            "mlp.fc1" => "mlp.c_fc",
            "mlp.fc2" => "mlp.c_proj",
            _ => return None,
        };
        return Some((format!("{block}{own}.{leaf}"), 0, Take::All));
    }
    let own = match rest {
        "embeddings.token_embedding.weight" => "token_embedding.weight".to_owned(),
        "embeddings.position_embedding.weight" => "positional_embedding".to_owned(),
        "embeddings.class_embedding" => "class_embedding".to_owned(),
        "embeddings.patch_embedding.weight" => "conv1.weight".to_owned(),
        _ => {
            let (module, leaf) = rest.rsplit_once('.')?;
            let norm = match module {
                // Misspelt there.
                "pre_layrnorm" | "pre_layernorm" => "ln_pre",
                "post_layernorm" => "ln_post",
                "final_layer_norm" => "ln_final",
                _ => return None,
            };
            format!("{norm}.{leaf}")
        }
    };
    Some((format!("{tower}{own}"), 0, Take::All))
}
