//! The paper's own stage 2, for converted checkpoints of variants B and L (docs/network.md §14):
//! what is trained, the loss and the schedule are the authors'. One flaw is mended: crop and flip
//! act on the optical tile, the SAR tile and the labels together.

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};
use mmovseg_model::parameters::{ParameterTable, is_fine_tuned};
use mmovseg_model::{EncoderId, MmOvSeg, Silent, enlarge};
use mmovseg_scene::CLASSES;
use mmovseg_text::{Tokenizer, prompt};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::batch::Batch;
use crate::data::sources::{CloudMix, Source, Sources};
use crate::labels::IGNORE;
use crate::learn::{Loss, learn};
use crate::run::{Recipe, Slow, StageOptions};

/// AdamW, half a cosine without warm-up, the norm of all gradients held to 0.01, CLIP a hundred
/// times more slowly than the rest (docs/network.md §14).
const RECIPE: Recipe = Recipe {
    weight_decay: 1e-4,
    beta_2: 0.999,
    warm_up: 0.0,
    last: 0.0,
    clip_norm: Some(0.01),
    slow: Some(Slow {
        is: is_fine_tuned,
        factor: 0.01,
    }),
};

/// What stage 2 trains: the head, the projections, and the queries and values of CLIP's towers.
pub(crate) fn is_trained(table: &ParameterTable, name: &str) -> bool {
    !table.of(name).in_tower || is_fine_tuned(name)
}

/// Classes that training shows, as positions in [`CLASSES`].
fn seen() -> Vec<usize> {
    (0..CLASSES.len()).filter(|&c| CLASSES[c].seen).collect()
}

/// Token ids of the seen classes' prompts.
pub(crate) fn prompts(
    tokenizer: &Tokenizer,
    template: &str,
    context: usize,
) -> Result<Vec<Vec<u32>>, TrainError> {
    seen()
        .into_iter()
        .map(|class| Ok(tokenizer.encode(&prompt(template, CLASSES[class].name), context)?))
        .collect()
}

/// Trains head, projections and CLIP's queries and values on clouded scenes with their ground
/// truth; `prompts` are those of [`prompts`].
pub(crate) fn segment(
    options: &StageOptions,
    model: MmOvSeg,
    prompts: &[Vec<u32>],
) -> Result<(), TrainError> {
    let seen = seen();
    let table = model.parameters();
    let model = model.learn_only(|name| is_trained(&table, name));
    let draw = |sources: &Sources, seed, _: &mut ChaCha8Rng| {
        sources.draw(Source::Scene, seed, CloudMix::CLOUDY)
    };
    learn(
        "segment",
        options,
        &RECIPE,
        model,
        draw,
        |model, batch, _| {
            let encode =
                |id: &str, pixels: &Tensor<4>| model.encode(id, pixels.clone(), &mut Silent);
            let clip = encode(EncoderId::CLIP, &batch.optical);
            let optical = encode(EncoderId::DINO_OPTICAL, &batch.optical);
            let dense = optical.plus(encode(EncoderId::DINO_SAR, &batch.sar));
            // In the graph: the text tower's queries and values learn too.
            let text = model.encode_text(prompts, &mut Silent);
            let logits = model.head(&clip, Some(&dense), text, &mut Silent);
            let target = one_hot(batch, &seen);
            let logits = enlarge(logits, target.dims()[2]);
            let bce =
                relu(logits.clone()) - logits.clone() * target + (-logits.abs()).exp().log1p();
            let bce = bce.mean();
            Loss {
                total: bce.clone(),
                terms: vec![("bce", bce)],
            }
        },
    )
}

/// One for the pixel's class among `seen`, zero for all others; a pixel without a label, or with an
/// unseen one, is zero throughout. `[N, T, S, S]`.
fn one_hot(batch: &Batch, seen: &[usize]) -> Tensor<4> {
    let area = batch.side_px * batch.side_px;
    let mut place = [None; IGNORE as usize + 1];
    for (t, &class) in seen.iter().enumerate() {
        place[class] = Some(t);
    }
    let n = batch.labels.len() / area.max(1);
    let mut target = vec![0.0f32; n * seen.len() * area];
    for (i, &label) in batch.labels.iter().enumerate() {
        if let Some(t) = place[usize::from(label)] {
            target[(i / area * seen.len() + t) * area + i % area] = 1.0;
        }
    }
    let shape = [n, seen.len(), batch.side_px, batch.side_px];
    Tensor::from_data(TensorData::new(target, shape), &batch.device)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;
    use std::path::Path;

    use burn::module::Module;
    use burn::tensor::Device;
    use mmovseg_engine::package_layout;
    use mmovseg_model::config::Radiometry;
    use mmovseg_model::{MmOvSeg, ModelConfig};
    use mmovseg_text::{CLIP_BPE_GZ, CLIP_TEMPLATE, Tokenizer};
    use mmovseg_weights::{HostTensor, Manifest, StoreDtype, write_package};

    use super::is_trained;
    use crate::import::start_from;
    use crate::package::write_nano;
    use crate::run::{StageOptions, result};
    use crate::stages::align::{AlignLoss, train_align};
    use crate::stages::segment::train_segment;

    /// The released B in small: its kind of towers and radiometry, CLIP's vocabulary.
    fn small() -> ModelConfig {
        let mut config = ModelConfig::nano();
        config.variant = "B".into();
        config.radiometry = Radiometry::AsIs;
        for encoder in &mut config.encoders {
            encoder.width = 24;
            (encoder.layers, encoder.taps) = if encoder.is_clip() {
                (3, vec![0, 1])
            } else {
                (2, vec![0, 1, 1])
            };
        }
        config.text.width = 24;
        config.text.layers = 2;
        config.text.vocab = 49_408;
        config.text.context = 77;
        config.text.embed = 16;
        config
    }

    fn options(run: &Path, steps: usize) -> StageOptions {
        StageOptions {
            data: run.join("none"),
            run: run.to_owned(),
            steps,
            batch: 2,
            part: 1,
            learning_rate: 2e-3,
            samples: Some(2),
            seed: 3,
            device: Device::flex(),
            progress: |_| {},
        }
    }

    fn values(model: &MmOvSeg) -> BTreeMap<String, Vec<f32>> {
        model
            .export()
            .into_iter()
            .map(|(name, _, flat)| (name, flat.into_data().try_into_vec().unwrap()))
            .collect()
    }

    #[test]
    fn the_papers_stages_move_what_they_should_and_the_loss_falls() {
        let folder = tempfile::tempdir().unwrap();
        let (package, run) = (folder.path().join("package"), folder.path().join("run"));
        let config = small();
        let device = Device::flex();
        device.seed(5);
        let model = MmOvSeg::new(&config, &device).unwrap();
        let mut exported = model.export();
        exported.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let tensors = exported.into_iter().map(|(name, shape, flat)| {
            let data = flat.into_data().try_into_vec().unwrap();
            Ok(HostTensor { name, shape, data })
        });
        let mut manifest = Manifest::new(
            "small",
            serde_json::to_value(&config).unwrap(),
            StoreDtype::F32,
            CLIP_TEMPLATE,
        );
        manifest.default_classes = ["water", "city"].map(str::to_owned).to_vec();
        let tokenizer = Tokenizer::clip(CLIP_BPE_GZ).unwrap().to_json();
        let first = write_package(
            &package,
            manifest,
            tensors,
            &tokenizer,
            &package_layout(&config.encoders),
        )
        .unwrap();
        start_from(&package, &run).unwrap();
        let before = values(&model);

        train_align(&options(&run, 5), AlignLoss::InfoNce).unwrap();
        let aligned = result(&run, "align", MmOvSeg::new(&config, &device).unwrap()).unwrap();
        let after = values(&aligned);
        for (name, old) in &before {
            let moved = old != &after[name];
            assert!(!moved || name.starts_with("dino_sarmodel."), "{name}");
        }
        assert_ne!(
            before["dino_sarmodel.blocks.0.mlp.fc1.weight"],
            after["dino_sarmodel.blocks.0.mlp.fc1.weight"]
        );

        train_segment(&options(&run, 21)).unwrap();
        let trained = MmOvSeg::new(&config, &device).unwrap();
        let trained = trained
            .try_load_file(run.join("segment").join("model.bpk"))
            .unwrap();
        let table = trained.parameters();
        let last = values(&trained);
        for (name, old) in &after {
            // Biases of what a norm follows have no gradient, so what is trained may stand still.
            assert!(old == &last[name] || is_trained(&table, name), "{name}");
        }
        for name in [
            "sem_seg_head.predictor.transformer.head.weight",
            "sem_seg_head.predictor.clip_model.transformer.resblocks.0.attn.q_proj_weight",
            "sem_seg_head.predictor.clip_model.visual.transformer.resblocks.0.attn.v_proj_weight",
            "dino_sardown_sample.weight",
            "upsample2.weight",
        ] {
            assert_ne!(after[name], last[name], "{name}");
        }
        // A package of it shares the shards of what did not move: the optical DINO, CLIP's frozen
        // parts.
        let more = write_nano(&run, &folder.path().join("more"), StoreDtype::F32).unwrap();
        let shared = more
            .shards
            .iter()
            .filter(|shard| first.shards.contains(shard));
        assert!(shared.count() >= 3, "{:?}", more.shards);
        let losses: Vec<f64> = std::fs::read_to_string(run.join("segment").join("losses.jsonl"))
            .unwrap()
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["bce"].as_f64().unwrap()
            })
            .collect();
        assert_eq!(losses.len(), 3, "steps 0, 10 and 20");
        assert!(losses[2] < losses[1] && losses[1] < losses[0], "{losses:?}");
    }
}
