//! Networks with other encoders than MM-OVSeg's three: without SAR (as GSNet), without any DINO (as
//! CAT-Seg), and with packages from before encoders were a list.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};
use mmovseg_model::config::Architecture;
use mmovseg_model::parameters::{ParameterTable, Part};
use mmovseg_model::{EncoderId, EncoderMaps, MmOvSeg, ModelConfig, Sensor, Silent};

/// The released B in small: narrow towers of few blocks, nano's grid.
fn tiny() -> ModelConfig {
    let mut config = ModelConfig::nano();
    config.head.pixel_guidance = None;
    config.head.pixel_embed = None;
    config.head.pixel_deep = None;
    for encoder in &mut config.encoders {
        (encoder.width, encoder.heads) = (24, 2);
        (encoder.layers, encoder.taps) = if encoder.is_clip() {
            (3, vec![0, 1])
        } else {
            (3, vec![0, 1, 2])
        };
    }
    config.text.width = 24;
    config.text.layers = 1;
    config.text.vocab = 64;
    config
}

/// [`tiny`] with the encoders that `keep` names.
fn with(keep: &[&str]) -> ModelConfig {
    let mut config = tiny();
    config.encoders.retain(|e| keep.contains(&e.id.as_str()));
    config
}

/// Logits of a random scene and two classes, `[1, 2, 96, 96]`.
fn logits(config: &ModelConfig) -> Vec<f32> {
    let device = Device::flex();
    device.seed(11);
    let model = MmOvSeg::new(config, &device).unwrap();
    let side = config.input_px;
    let tile = || Tensor::<4>::random([1, 3, side, side], Distribution::Normal(0.0, 1.0), &device);
    let (optical, sar) = (tile(), tile());
    let text = model.encode_text(&[vec![62, 1, 63], vec![62, 2, 3, 63]], &mut Silent);
    let mut clip = None;
    let mut dense: Option<EncoderMaps> = None;
    for encoder in &config.encoders {
        let pixels = match encoder.sensor {
            Sensor::Optical => optical.clone(),
            Sensor::Sar => sar.clone(),
        };
        let maps = model.encode(encoder.id.as_str(), pixels, &mut Silent);
        if encoder.is_clip() {
            clip = Some(maps);
        } else {
            dense = Some(match dense.take() {
                Some(sum) => sum.plus(maps),
                None => maps,
            });
        }
    }
    let logits = model.head(&clip.unwrap(), dense.as_ref(), text, &mut Silent);
    assert_eq!(logits.dims(), [1, 2, 96, 96]);
    logits.into_data().try_into_vec().unwrap()
}

fn check_runs(config: &ModelConfig) {
    let logits = logits(config);
    assert!(logits.iter().all(|v| v.is_finite()));
    let mean = logits.iter().sum::<f32>() / logits.len() as f32;
    let spread = logits.iter().map(|v| (v - mean).abs()).fold(0.0, f32::max);
    assert!(spread > 1e-3, "the logits are flat: {spread}");
}

#[test]
fn a_network_without_sar_runs() {
    check_runs(&with(&[EncoderId::CLIP, EncoderId::DINO_OPTICAL]));
}

#[test]
fn a_network_without_dino_runs_and_has_the_names_of_catseg() {
    let config = with(&[EncoderId::CLIP]);
    check_runs(&config);
    let shapes = MmOvSeg::new(&config, &Device::flex())
        .unwrap()
        .parameter_shapes();
    let head = "sem_seg_head.predictor.transformer.";
    for (name, shape) in [
        ("conv1.weight", vec![32, 1, 7, 7]),
        ("guidance_projection.0.weight", vec![32, 128, 3, 3]),
        ("decoder_guidance_projection.0.0.weight", vec![16, 64, 3, 3]),
        ("decoder_guidance_projection.1.0.bias", vec![8]),
        ("decoder1.up.weight", vec![32, 16, 2, 2]),
        ("decoder1.conv.double_conv.0.weight", vec![32, 32, 3, 3]),
        ("decoder2.conv.double_conv.4.bias", vec![16]),
        ("head.weight", vec![1, 16, 3, 3]),
    ] {
        assert_eq!(shapes.get(&format!("{head}{name}")), Some(&shape), "{name}");
    }
    for other in ["conv2", "fusion_corr", "Fusiondecoder", "DINO_", "dino_"] {
        assert!(!shapes.keys().any(|name| name.contains(other)), "{other}");
    }
}

#[test]
fn a_network_of_sar_alone_beside_clip_runs() {
    check_runs(&with(&[EncoderId::CLIP, EncoderId::DINO_SAR]));
}

#[test]
fn the_whole_network_runs_and_a_changed_encoder_changes_its_logits() {
    let config = tiny();
    check_runs(&config);
    assert_ne!(
        logits(&config),
        logits(&with(&[EncoderId::CLIP, EncoderId::DINO_OPTICAL]))
    );
}

#[test]
fn what_no_network_can_have_is_refused_with_the_encoders_name() {
    let refused = |change: &dyn Fn(&mut ModelConfig)| {
        let mut config = tiny();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    let line = refused(&|c| c.encoders.retain(|e| !e.is_clip()));
    assert!(line.contains("CLIP"), "{line}");
    let line = refused(&|c| c.encoders[2].id = EncoderId::DINO_OPTICAL.into());
    assert!(line.contains("one name"), "{line}");
    type Change = fn(&mut ModelConfig);
    let changes: [(Change, &str); 4] = [
        (|c| c.encoders[2].taps = vec![0, 9, 1], "taps"),
        (|c| c.encoders[2].projections.embedding = None, "projection"),
        (|c| c.encoders[2].patch_px = 0, "positive"),
        (|c| c.encoders[2].patch_px = 5, "grid"),
    ];
    for (change, word) in changes {
        let line = refused(&change);
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn every_parameter_belongs_to_a_part_and_every_part_has_parameters() {
    for config in [ModelConfig::nano(), tiny(), with(&[EncoderId::CLIP])] {
        let table = ParameterTable::new(&config);
        let model = MmOvSeg::new(&config, &Device::flex()).unwrap();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in model.parameter_shapes().keys() {
            let part = match table.of(name).part {
                Part::Text => "text".to_owned(),
                Part::Encoder(id) => id.as_str().to_owned(),
                Part::Head => "head".to_owned(),
            };
            *counts.entry(part).or_default() += 1;
        }
        let ids = config.encoders.iter().map(|e| e.id.as_str());
        let mut parts: Vec<&str> = ids.chain(["text", "head"]).collect();
        parts.sort_unstable();
        assert!(counts.keys().map(String::as_str).eq(parts), "{counts:?}");
    }
}

/// `architecture` of a package from before encoders were a list.
const OLDER: &str = r#"{"variant": "nano", "input_px": 192, "radiometry": "robust",
    "clip": {"width": 96, "layers": 5, "heads": 3, "patch_px": 8, "input_px": 192, "table_grid": 24,
        "taps": [1, 3], "embed": 128},
    "text": {"width": 192, "layers": 4, "heads": 3, "vocab": 22528, "context": 32, "embed": 128},
    "dino": {"kind": "v1", "width": 96, "layers": 5, "heads": 3, "patch_px": 8, "table_grid": 24,
        "taps": [1, 3, 4]},
    "head": {"hidden": 32, "layers": 2, "heads": 4, "appearance_guidance": 32, "text_guidance": 32,
        "decoder_guidance": [64, 32], "projected_guidance": [16, 8], "pixel_guidance": 16,
        "pixel_embed": 32, "pixel_deep": 128, "decoder": [32, 16], "groups": [2, 1],
        "class_pad": 256, "grid": 24, "window": 12}}"#;

#[test]
fn packages_from_before_encoders_were_a_list_mean_three_of_them() {
    let config: ModelConfig = serde_json::from_str(OLDER).unwrap();
    assert_eq!(config, ModelConfig::nano());
    for config in [ModelConfig::nano(), ModelConfig::b(), ModelConfig::l()] {
        config.validate().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert!(!text.contains("\"dino\""), "{text}");
        assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    }
    assert_eq!(
        ModelConfig::l().encoders[1].architecture,
        Architecture::DinoV3
    );
    let neither = OLDER.replace("\"dino\"", "\"other\"");
    let line = serde_json::from_str::<ModelConfig>(&neither).unwrap_err();
    assert!(line.to_string().contains("encoders"), "{line}");
}

/// Collects module paths, by which Burn's record files name parameters.
#[derive(Default)]
struct Paths {
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Paths {
    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        self.found.push(self.path.join("."));
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

/// Training goes on from record files that were written before encoders were a list.
#[test]
fn module_paths_are_those_of_earlier_record_files() {
    let model = MmOvSeg::new(&ModelConfig::nano(), &Device::flex()).unwrap();
    let mut paths = Paths::default();
    model.visit(&mut paths);
    for path in [
        "clip.text.token_embedding.weight",
        "clip.visual.resblocks.0.attn.q_proj_weight",
        "clip.visual.proj",
        "upsample1.weight",
        "upsample2_pixels.pairs.weight",
        "dino_model.blocks.0.attn.qkv.weight",
        "dino_decod_proj1.weight",
        "dino_pixel_tower.deep.rounds.0.conv.weight",
        "dino_sarmodel.pos_embed",
        "dino_sardown_sample.bias",
        "dino_sarpixel_tower.out.weight",
        "fusion.decoder1.up.weight",
        "fusion.layers.1.swin_block.block_2.attn.q.weight",
        "pixel_head.text.weight",
    ] {
        assert!(paths.found.iter().any(|found| found == path), "{path}");
    }
    let first = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
    assert!(paths.found.iter().all(|path| first(path) != "encoders"));
    assert_eq!(paths.found.len(), model.parameter_shapes().len());
}
