//! The teacher: all-MiniLM-L6-v2, a BERT of 6 layers whose token outputs are averaged
//! (Wang et al. 2020, arXiv:2002.10957; Reimers and Gurevych 2019, arXiv:1908.10084).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use burn::tensor::activation::gelu;
use burn::tensor::module::{attention, layer_norm};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::TrainError;

/// Width of the teacher's embeddings.
pub(super) const WIDTH: usize = 384;
/// The entry of the vocabulary for what no pieces spell.
const UNKNOWN: &str = "[UNK]";
const LAYERS: usize = 6;
const HEADS: usize = 12;
const EPS: f64 = 1e-12;
/// Tokens of one phrase that are read, marks included.
const TOKENS_MAX: usize = 18;
/// Tokens of one forward pass.
const BATCH_TOKENS: usize = 3072;

/// The sentence encoder with its WordPiece tokenizer.
pub(super) struct Teacher {
    tokenizer: tokenizers::Tokenizer,
    path: PathBuf,
    weights: HashMap<String, Tensor<2>>,
    device: Device,
}

impl Teacher {
    /// Reads `tokenizer.json` and `model.safetensors` from `folder`.
    pub(super) fn open(folder: &Path, device: &Device) -> Result<Self, TrainError> {
        const HINT: &str =
            "give the folder of all-MiniLM-L6-v2 (model.safetensors and tokenizer.json)";
        let path = folder.join("tokenizer.json");
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(
            std::fs::read(&path).map_err(TrainError::file(&path, HINT))?,
        )
        .map_err(TrainError::content(&path))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                direction: TruncationDirection::Right,
                max_length: TOKENS_MAX,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            }))
            .map_err(TrainError::content(&path))?;

        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).map_err(TrainError::file(&path, HINT))?;
        let file = SafeTensors::deserialize(&bytes).map_err(TrainError::content(&path))?;
        let mut weights = HashMap::new();
        for (name, view) in file.iter() {
            if view.dtype() != safetensors::Dtype::F32 {
                continue;
            }
            let values: Vec<f32> = floats(view.data());
            // Vectors are kept as one row, so that one map holds all.
            let shape = match *view.shape() {
                [rows, columns] => [rows, columns],
                [columns] => [1, columns],
                _ => continue,
            };
            weights.insert(
                name.to_owned(),
                Tensor::from_data(TensorData::new(values, shape), device),
            );
        }
        let teacher = Self {
            tokenizer,
            path,
            weights,
            device: device.clone(),
        };
        for name in teacher.names() {
            if !teacher.weights.contains_key(&name) {
                return Err(TrainError::Content {
                    path: teacher.path,
                    what: format!("tensor {name} is missing"),
                });
            }
        }
        Ok(teacher)
    }

    /// Unit vectors `[texts, WIDTH]`, row-major. `progress` hears how many texts are done.
    pub(super) fn embed(
        &self,
        texts: &[&str],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<f32>, TrainError> {
        // Phrases of one length go together: no padding, so no mask.
        let mut by_length: BTreeMap<usize, Vec<(usize, Vec<i32>)>> = BTreeMap::new();
        for (i, text) in texts.iter().enumerate() {
            let encoding = self
                .tokenizer
                .encode_fast(*text, true)
                .map_err(TrainError::content(&self.path))?;
            let ids: Vec<i32> = encoding.get_ids().iter().map(|&id| id as i32).collect();
            by_length.entry(ids.len()).or_default().push((i, ids));
        }
        let mut out = vec![0.0; texts.len() * WIDTH];
        let mut done = 0;
        for (length, group) in by_length {
            for batch in group.chunks((BATCH_TOKENS / length.max(1)).max(1)) {
                let ids: Vec<i32> = batch
                    .iter()
                    .flat_map(|(_, ids)| ids.iter().copied())
                    .collect();
                let values = self.values(self.forward(ids, batch.len(), length))?;
                for ((i, _), row) in batch.iter().zip(values.chunks_exact(WIDTH)) {
                    out[i * WIDTH..(i + 1) * WIDTH].copy_from_slice(row);
                }
                done += batch.len();
                progress(done);
            }
        }
        Ok(out)
    }

    /// The `count` entries of the teacher's vocabulary that the student keeps: the unknown entry,
    /// all single letters and digits, then in turn the most used of `texts` and the next in the
    /// vocabulary's own order, which is that of written language at large: people type common words
    /// that the corpus may hold only inside what is kept for measuring.
    pub(super) fn pieces(&self, texts: &[&str], count: usize) -> Result<Vec<String>, TrainError> {
        let mut uses: HashMap<u32, usize> = HashMap::new();
        for text in texts {
            let encoding = self
                .tokenizer
                .encode_fast(*text, false)
                .map_err(TrainError::content(&self.path))?;
            for &id in encoding.get_ids() {
                *uses.entry(id).or_default() += 1;
            }
        }
        let mut entries: Vec<(String, u32)> = self
            .tokenizer
            .get_vocab(false)
            .into_iter()
            .filter(|(piece, _)| {
                // Other scripts are spelled with letters that the corpus does not have.
                piece == UNKNOWN || (piece.is_ascii() && !piece.starts_with('['))
            })
            .collect();
        entries.sort_by_key(|(_, id)| *id);
        let is_letter = |piece: &str| piece.strip_prefix("##").unwrap_or(piece).len() == 1;
        let mut kept: Vec<u32> = Vec::with_capacity(count);
        kept.extend(entries.iter().filter(|(p, _)| p == UNKNOWN).map(|e| e.1));
        kept.extend(entries.iter().filter(|(p, _)| is_letter(p)).map(|e| e.1));
        let mut by_use: Vec<u32> = entries.iter().map(|e| e.1).collect();
        by_use.sort_by_key(|id| std::cmp::Reverse(uses.get(id).copied().unwrap_or(0)));
        let mut seen: HashSet<u32> = kept.iter().copied().collect();
        let mut orders = [
            by_use.into_iter(),
            entries.iter().map(|e| e.1).collect::<Vec<_>>().into_iter(),
        ];
        for turn in 0.. {
            let next = orders[turn % 2].find(|id| seen.insert(*id));
            match next {
                Some(id) if kept.len() < count => kept.push(id),
                _ => break,
            }
        }
        let names: HashMap<u32, String> =
            entries.into_iter().map(|(piece, id)| (id, piece)).collect();
        Ok(kept.iter().map(|id| names[id].clone()).collect())
    }

    /// What the teacher makes of these entries, each alone between its marks, and of its start and
    /// end marks: unit vectors `[pieces + 2, WIDTH]`.
    pub(super) fn piece_vectors(&self, pieces: &[String]) -> Result<Vec<f32>, TrainError> {
        let ids = self.ids(pieces)?;
        let [.., start, end] = *ids else {
            return Ok(Vec::new());
        };
        let mut out = Vec::with_capacity(ids.len() * WIDTH);
        for batch in ids.chunks(BATCH_TOKENS / 3) {
            let framed = batch.iter().flat_map(|&id| [start, id, end]).collect();
            out.extend(self.values(self.forward(framed, batch.len(), 3))?);
        }
        Ok(out)
    }

    /// The teacher's own input vectors of the same, `[pieces + 2, WIDTH]`.
    pub(super) fn input_vectors(&self, pieces: &[String]) -> Result<Vec<f32>, TrainError> {
        let ids = self.ids(pieces)?;
        let count = ids.len();
        let ids: Tensor<1, Int> = Tensor::from_data(TensorData::new(ids, [count]), &self.device);
        self.values(
            self.weight("embeddings.word_embeddings.weight")
                .select(0, ids),
        )
    }

    /// Numbers of these entries and of the start and end mark.
    fn ids(&self, pieces: &[String]) -> Result<Vec<i32>, TrainError> {
        let mut ids = Vec::with_capacity(pieces.len() + 2);
        for piece in pieces.iter().map(String::as_str).chain(["[CLS]", "[SEP]"]) {
            let id = self
                .tokenizer
                .token_to_id(piece)
                .ok_or_else(|| TrainError::Content {
                    path: self.path.clone(),
                    what: format!("its vocabulary has no entry {piece}"),
                })?;
            ids.push(id as i32);
        }
        Ok(ids)
    }

    fn values(&self, tensor: Tensor<2>) -> Result<Vec<f32>, TrainError> {
        tensor
            .into_data()
            .try_into_vec()
            .map_err(TrainError::device(&self.path))
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = [
            "word_embeddings",
            "position_embeddings",
            "token_type_embeddings",
        ]
        .iter()
        .map(|table| format!("embeddings.{table}.weight"))
        .collect();
        let mut add = |prefix: String| {
            names.extend(["weight", "bias"].map(|leaf| format!("{prefix}.{leaf}")))
        };
        add("embeddings.LayerNorm".into());
        for layer in 0..LAYERS {
            for part in [
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
                "attention.output.LayerNorm",
                "intermediate.dense",
                "output.dense",
                "output.LayerNorm",
            ] {
                add(format!("encoder.layer.{layer}.{part}"));
            }
        }
        names
    }

    /// A tensor whose presence [`Teacher::open`] has checked.
    fn weight(&self, name: &str) -> Tensor<2> {
        self.weights[name].clone()
    }

    fn linear(&self, x: Tensor<2>, name: &str) -> Tensor<2> {
        x.matmul(self.weight(&format!("{name}.weight")).transpose())
            + self.weight(&format!("{name}.bias"))
    }

    fn norm(&self, x: Tensor<2>, name: &str) -> Tensor<2> {
        let gamma = self.weight(&format!("{name}.weight")).reshape([WIDTH]);
        let beta = self.weight(&format!("{name}.bias")).reshape([WIDTH]);
        layer_norm(x, gamma, Some(beta), EPS)
    }

    /// `count` phrases of `length` tokens to unit vectors `[count, WIDTH]`.
    fn forward(&self, ids: Vec<i32>, count: usize, length: usize) -> Tensor<2> {
        let rows = count * length;
        let ids: Tensor<1, Int> = Tensor::from_data(TensorData::new(ids, [rows]), &self.device);
        let words = self
            .weight("embeddings.word_embeddings.weight")
            .select(0, ids);
        let places = self
            .weight("embeddings.position_embeddings.weight")
            .narrow(0, 0, length)
            + self
                .weight("embeddings.token_type_embeddings.weight")
                .narrow(0, 0, 1);
        let x = words.reshape([count, length, WIDTH]) + places.unsqueeze::<3>();
        let mut x = self.norm(x.reshape([rows, WIDTH]), "embeddings.LayerNorm");
        let heads = |x: Tensor<2>| {
            x.reshape([count, length, HEADS, WIDTH / HEADS])
                .swap_dims(1, 2)
        };
        for layer in 0..LAYERS {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let [q, k, v] = ["query", "key", "value"].map(|part| {
                heads(self.linear(x.clone(), &name(&format!("attention.self.{part}"))))
            });
            let options = AttentionModuleOptions {
                scale: Some(((WIDTH / HEADS) as f64).powf(-0.5)),
                softcap: None,
                is_causal: false,
            };
            let mixed = attention(q, k, v, None, None, options)
                .swap_dims(1, 2)
                .reshape([rows, WIDTH]);
            let mixed = self.linear(mixed, &name("attention.output.dense"));
            x = self.norm(x + mixed, &name("attention.output.LayerNorm"));
            let inner = gelu(self.linear(x.clone(), &name("intermediate.dense")));
            let inner = self.linear(inner, &name("output.dense"));
            x = self.norm(x + inner, &name("output.LayerNorm"));
        }
        let mean = x
            .reshape([count, length, WIDTH])
            .mean_dim(1)
            .reshape([count, WIDTH]);
        let length = mean.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        mean / length
    }
}

/// Little-endian bytes to floats.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    /// The similarities that the model's own card gives for its example sentences.
    #[test]
    fn agrees_with_the_published_example() {
        let Some(folder) = std::env::var_os("MMOVSEG_TEACHER") else {
            mmovseg_test_support::skip(
                "MMOVSEG_TEACHER does not name the folder of all-MiniLM-L6-v2",
            );
            return;
        };
        let teacher = Teacher::open(Path::new(&folder), &Device::flex()).unwrap();
        let texts = [
            "That is a happy person",
            "That is a happy dog",
            "Today is a sunny day",
        ];
        let vectors = teacher.embed(&texts, &mut |_| ()).unwrap();
        let (person, others) = vectors.split_at(WIDTH);
        for (other, published) in others.chunks_exact(WIDTH).zip([0.695f32, 0.257]) {
            let cosine: f32 = person.iter().zip(other).map(|(a, b)| a * b).sum();
            assert!(
                (cosine - published).abs() < 1e-3,
                "{cosine} instead of {published}"
            );
        }
    }
}
