//! `SegEarth-OV` as a user meets it: a CLIP in any of its layouts and an upsampler become a
//! package, which is checked, run, traced and measured, and gives what the authors' network gives.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use mmovseg_raster::{Rgb8, read_label_png, write_rgb_png};
use mmovseg_test_support::checkpoint_file;
use mmovseg_weights::{
    Assembler, Bits, Checkpoint, HostTensor, Manifest, Placement, decode_shard, parse_manifest,
    write_package,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Runs the command in `folder`.
fn mmovseg(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mmovseg"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Runs a command that must succeed; gives what it says, notes included.
fn works(folder: &Path, args: &[&str]) -> String {
    let output = mmovseg(folder, args);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said[1]);
    said.concat()
}

/// Runs a command that must fail with one line that holds `words`.
fn fails(folder: &Path, args: &[&str], words: &[&str]) {
    let output = mmovseg(folder, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{args:?}: {word:?} is not in {stderr}");
    }
}

fn convert(folder: &Path, checkpoint: &Path, more: &[&str]) -> String {
    let checkpoint = checkpoint.to_str().unwrap();
    let mut args = vec!["convert", checkpoint, "--dtype", "f32"];
    args.extend(more);
    works(folder, &args)
}

fn manifest(package: &Path) -> Manifest {
    parse_manifest(&fs::read(package.join("model.json")).unwrap()).unwrap()
}

fn write_safetensors(path: &Path, tensors: &[HostTensor]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
        (tensor.name.as_str(), view.unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A tensor of CLIP's own layout in that of `transformers`.
fn for_transformers(tensor: &HostTensor) -> Vec<HostTensor> {
    let one = |name: String, shape: Vec<usize>, data: Vec<f32>| HostTensor { name, shape, data };
    let HostTensor { name, shape, data } = tensor.clone();
    let (tower, rest) = match name.strip_prefix("visual.") {
        Some(rest) => ("vision_model", rest.to_owned()),
        None => ("text_model", name.clone()),
    };
    if let "proj" | "text_projection" = rest.as_str() {
        let name = match tower {
            "vision_model" => "visual_projection.weight",
            _ => "text_projection.weight",
        };
        let (rows, columns) = (shape[0], shape[1]);
        let turned = (0..rows * columns).map(|i| data[i % rows * columns + i / rows]);
        return vec![one(name.into(), vec![columns, rows], turned.collect())];
    }
    if let Some(rest) = rest.strip_prefix("transformer.resblocks.") {
        let (block, rest) = rest.split_once('.').unwrap();
        let begin = format!("{tower}.encoder.layers.{block}.");
        if let Some(leaf) = rest.strip_prefix("attn.in_proj_") {
            let mut third = shape;
            third[0] /= 3;
            let parts = data.chunks_exact(data.len() / 3).zip(["q", "k", "v"]);
            return parts
                .map(|(data, letter)| {
                    let name = format!("{begin}self_attn.{letter}_proj.{leaf}");
                    one(name, third.clone(), data.to_vec())
                })
                .collect();
        }
        let rest = rest
            .replace("attn.", "self_attn.")
            .replace("ln_", "layer_norm")
            .replace("c_fc", "fc1")
            .replace("c_proj", "fc2");
        return vec![one(format!("{begin}{rest}"), shape, data)];
    }
    let rest = match rest.as_str() {
        "token_embedding.weight" => "embeddings.token_embedding.weight".to_owned(),
        "positional_embedding" => "embeddings.position_embedding.weight".to_owned(),
        "class_embedding" => "embeddings.class_embedding".to_owned(),
        "conv1.weight" => "embeddings.patch_embedding.weight".to_owned(),
        rest => rest
            .replace("ln_pre", "pre_layrnorm")
            .replace("ln_post", "post_layernorm")
            .replace("ln_final", "final_layer_norm"),
    };
    vec![one(format!("{tower}.{rest}"), shape, data)]
}

#[test]
fn a_clip_is_the_same_package_in_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let jbu = checkpoint_file("jbu.ckpt");
    let jbu = jbu.to_str().unwrap();
    let clip = checkpoint_file("clip.pt");
    let said = convert(folder, &clip, &["--upsampler", jbu, "--out", "torchscript"]);
    assert!(
        said.contains("QuickGELU") && said.contains("OpenAI"),
        "{said}"
    );
    let want = manifest(&folder.join("torchscript"));
    assert_eq!(want.prompt_templates.len(), 80);
    assert_eq!(want.architecture["network"], "segearth-ov");
    assert_eq!(want.architecture["upsampler"]["radius"], 2);

    let clip = Checkpoint::open(&clip).unwrap();
    let is_tower = |name: &str| {
        name.contains("embedding")
            || name.contains("proj")
            || name.contains("weight")
            || name.contains("bias")
    };
    let own: Vec<HostTensor> = clip
        .names_and_shapes()
        .filter(|(name, _)| is_tower(name))
        .map(|(name, _)| clip.read(name).unwrap())
        .collect();
    let transformers: Vec<HostTensor> = own.iter().flat_map(for_transformers).collect();
    assert!(transformers.len() > own.len());
    for (name, tensors) in [("open_clip", &own), ("transformers", &transformers)] {
        let path = folder.join(format!("{name}.safetensors"));
        write_safetensors(&path, tensors);
        convert(folder, &path, &["--upsampler", jbu, "--out", name]);
        let found = manifest(&folder.join(name));
        assert_eq!(found.shards, want.shards, "{name}");
        assert_eq!(found.architecture, want.architecture, "{name}");
        assert_eq!(found.self_test, want.self_test, "{name}");
    }

    // AlignEarth: wrapped names, the exact GELU, SAR in one pass.
    let wrapped: Vec<HostTensor> = own
        .into_iter()
        .map(|tensor| HostTensor {
            name: format!("module.{}", tensor.name),
            ..tensor
        })
        .collect();
    let path = folder.join("AlignEarth-SAR-ViT-B-16.safetensors");
    write_safetensors(&path, &wrapped);
    let said = convert(folder, &path, &["--upsampler", jbu, "--out", "sar"]);
    assert!(said.contains("the exact GELU"), "{said}");
    let sar = manifest(&folder.join("sar"));
    assert_eq!(sar.shards, want.shards);
    assert_eq!(sar.architecture["gelu"], "exact");
    assert_eq!(sar.architecture["visual"]["sensor"], "sar");
    assert_ne!(sar.self_test, want.self_test);
    works(folder, &["verify", "sar", "--device", "cpu"]);

    // The configuration beside a file says more than its kind.
    fs::write(
        folder.join("open_clip_config.json"),
        r#"{"model_cfg": {"embed_dim": 8}}"#,
    )
    .unwrap();
    let path = folder.join("open_clip.safetensors");
    let said = convert(folder, &path, &["--upsampler", jbu, "--out", "laion"]);
    assert!(said.contains("the exact GELU"), "{said}");

    // Without the upsampler it is another network.
    let said = convert(folder, &path, &["--out", "plain", "--gelu", "quick"]);
    assert!(said.contains("bilinearly"), "{said}");
    assert!(manifest(&folder.join("plain")).architecture["upsampler"].is_null());
    works(folder, &["verify", "plain", "--device", "cpu"]);

    let b = mmovseg_test_support::checkpoint("b");
    for (args, words) in [
        (
            vec!["convert", jbu, "--out", "no"],
            ["SimFeatUp", "--upsampler"],
        ),
        (
            vec![
                "convert",
                b.to_str().unwrap(),
                "--upsampler",
                jbu,
                "--out",
                "no",
            ],
            ["no CLIP alone", "--upsampler"],
        ),
        (
            vec![
                "convert",
                "open_clip.safetensors",
                "--upsampler",
                "open_clip.safetensors",
                "--out",
                "no",
            ],
            ["SimFeatUp", "holds"],
        ),
    ] {
        fails(folder, &args, &words);
    }
    assert!(!folder.join("no").exists());
}

#[test]
fn a_package_runs_in_every_command_and_refuses_what_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (clip, jbu) = (checkpoint_file("clip.pt"), checkpoint_file("jbu.ckpt"));
    let jbu = jbu.to_str().unwrap();
    convert(folder, &clip, &["--upsampler", jbu, "--out", "model"]);
    let verified = works(folder, &["verify", "model", "--device", "cpu"]);
    assert!(verified.contains("self-test  ok"), "{verified}");
    works(
        folder,
        &[
            "scene", "--out", "data", "--count", "1", "--seed", "5", "--size", "150",
        ],
    );
    let (rgb, sar) = ("data/rgb/scene-000005.png", "data/sar/scene-000005.png");
    let segment = |more: &[&'static str]| {
        let mut args = vec![
            "segment",
            "--device",
            "cpu",
            "--model",
            "model",
            "--rgb",
            rgb,
            "--sar",
            sar,
            "--out",
            "labels.png",
        ];
        args.extend(more);
        args
    };
    works(
        folder,
        &segment(&[
            "--preset",
            "segearth-loveda",
            "--json",
            "run.json",
            "--logits",
            "l.safetensors",
        ]),
    );
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    // The longer side becomes 448 px: three by three windows.
    assert_eq!(report["windows"], 9);
    assert_eq!(report["classes"][1], "building,roof,house");
    let labels = read_label_png(&fs::read(folder.join("labels.png")).unwrap(), "labels").unwrap();
    assert_eq!(labels.data.len(), 150 * 150);
    let bytes = fs::read(folder.join("l.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("prob").unwrap().shape(), [7, 448, 448]);

    // A threshold that nothing reaches makes everything background.
    works(
        folder,
        &segment(&[
            "--classes",
            "city,water|river|lake,forest",
            "--threshold",
            "1",
            "--background",
            "river",
        ]),
    );
    let labels = read_label_png(&fs::read(folder.join("labels.png")).unwrap(), "labels").unwrap();
    assert!(labels.data.iter().all(|&label| label == 1));

    works(
        folder,
        &segment(&[
            "--classes",
            "city,water",
            "--tiling",
            "112",
            "--probabilities",
            "p.tif",
        ]),
    );
    works(
        folder,
        &[
            "eval",
            "--device",
            "cpu",
            "--model",
            "model",
            "--data",
            "data",
            "--threshold",
            "0.1",
        ],
    );
    let timed = works(
        folder,
        &[
            "bench",
            "--device",
            "cpu",
            "--model",
            "model",
            "--runs",
            "1",
            "--classes",
            "2",
            "--side-px",
            "64",
        ],
    );
    assert!(timed.contains("changed word"), "{timed}");
    let traced = works(
        folder,
        &[
            "trace",
            "--device",
            "cpu",
            "--model",
            "model",
            "--rgb",
            rgb,
            "--sar",
            sar,
            "--classes",
            "city,water",
            "--out",
            "stages.safetensors",
        ],
    );
    assert!(traced.contains("stages"), "{traced}");

    for (more, words) in [
        (
            vec!["--classes", "a,b", "--modality", "sar"],
            ["SegEarth-OV", "no encoder for SAR"],
        ),
        (
            vec!["--classes", "a,b", "--background", "c"],
            ["--background", "no class of the list"],
        ),
        (
            vec!["--classes", "a,b", "--threshold", "2"],
            ["--threshold", "from 0 to 1"],
        ),
    ] {
        fails(folder, &segment(&more), &words);
    }
    let clip = clip.to_str().unwrap();
    let mut args = segment(&["--classes", "a,b"]);
    args[4] = clip;
    fails(folder, &args, &["CLIP alone", "mmovseg convert"]);
    // A network with a head decides by itself.
    let nano = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../models/nano");
    let mut args = segment(&["--classes", "a,b", "--threshold", "0.5"]);
    args[4] = nano.to_str().unwrap();
    fails(folder, &args, &["nano", "no threshold"]);
}

/// Values of a golden tensor.
fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap();
    let (words, _) = view.data().as_chunks::<4>();
    words
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}

fn agrees(name: &str, found: &[f32], want: &[f32], stride: usize) {
    let largest = want.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let found: Vec<f32> = found.iter().copied().step_by(stride).collect();
    assert_eq!(found.len(), want.len(), "{name}");
    let pairs = found.iter().zip(want);
    let worst = pairs.fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    println!("{name}: {worst:.1e} of {largest:.2}");
    assert!(worst <= 1e-4 * largest, "{name}: {worst} of {largest}");
}

/// Words that the golden network's vocabulary, a hash, does not tell apart, and one that the
/// tokenizer would cut: each by another that has the same number there.
fn same_id(template: &str) -> String {
    template
        .replace("rendition", "hard")
        .replace("nice", "hard")
        .replace("jpeg", "road")
        .replace("close-up", "closeup")
}

/// A tokenizer with the golden network's numbers: those of the words of each prompt.
fn golden_tokenizer(templates: &[String], words: &[&str], ids: &[i32]) -> Vec<u8> {
    let mut pieces: Vec<String> = (0..510).map(|i| format!("unused{i}")).collect();
    let prompts = words
        .iter()
        .flat_map(|&word| templates.iter().map(move |t| t.replace("{}", word)));
    for (prompt, ids) in prompts.zip(ids.chunks_exact(20)) {
        let spelt = prompt.replace('.', " .");
        for (word, &id) in spelt.split(' ').zip(&ids[1..]) {
            pieces[id as usize] = word.to_owned();
        }
    }
    let unknown = pieces
        .iter()
        .position(|piece| piece.starts_with("unused"))
        .unwrap();
    pieces[unknown] = "[UNK]".into();
    let json = serde_json::json!({
        "format_version": 1, "kind": "word-piece", "pieces": pieces, "cleaning": "clip",
        "context": 77, "start_id": 510, "end_id": 511,
    });
    serde_json::to_vec(&json).unwrap()
}

/// Tensors of a package, whole.
fn tensors(package: &Path, manifest: &Manifest) -> Vec<HostTensor> {
    let mut assembler = Assembler::new();
    let mut whole = Vec::new();
    for shard in &manifest.shards {
        let bytes = fs::read(package.join(&shard.file)).unwrap();
        for part in decode_shard(&bytes, shard).unwrap() {
            whole.extend(assembler.push(part).unwrap());
        }
    }
    whole
}

#[test]
fn the_authors_outputs_come_out_of_the_command() {
    let Some(golden) = mmovseg_test_support::data("golden/peers") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = Checkpoint::open(golden.join("segearth_tiny.safetensors")).unwrap();
    let (mut clip, mut upsampler) = (Vec::new(), Vec::new());
    for (name, _) in weights.names_and_shapes() {
        let mut tensor = weights.read(name).unwrap();
        match name.strip_prefix("clip.") {
            Some(rest) => {
                tensor.name = rest.to_owned();
                clip.push(tensor);
            }
            None => upsampler.push(tensor),
        }
    }
    write_safetensors(&folder.join("clip.safetensors"), &clip);
    write_safetensors(&folder.join("up.safetensors"), &upsampler);
    convert(
        folder,
        &folder.join("clip.safetensors"),
        &["--upsampler", "up.safetensors", "--out", "converted"],
    );

    // The golden pictures are read at their own size, in windows of 64, by words of another table.
    let golden = fs::read(golden.join("segearth_tiny_golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let converted = folder.join("converted");
    let mut model = manifest(&converted);
    let tensors = tensors(&converted, &model);
    model.architecture["windows"] = serde_json::json!({"crop_px": 64, "stride_px": 32});
    model.architecture["long_side_px"] = 112.into();
    model.prompt_templates = model.prompt_templates.iter().map(|t| same_id(t)).collect();
    model.self_test = None;
    let words = [
        "background",
        "bareland",
        "barren",
        "road",
        "water",
        "river",
        "lake",
    ];
    let ids = golden.tensor("text.tokens").unwrap();
    let (ids, _) = ids.data().as_chunks::<4>();
    let ids: Vec<i32> = ids.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect();
    let tokenizer = golden_tokenizer(&model.prompt_templates, &words, &ids);
    let place = |_: &str| Placement {
        group: 0,
        bits: Bits::Package,
    };
    let write = |dir: &str, model: &Manifest| {
        let tensors = tensors.iter().cloned().map(Ok);
        write_package(
            &folder.join(dir),
            model.clone(),
            tensors,
            &tokenizer,
            &place,
        )
        .unwrap();
    };
    write("model", &model);
    model.architecture["long_side_px"] = 64.into();
    write("small", &model);

    for (name, file) in [("input.slide", "slide.png"), ("input.one", "one.png")] {
        let view = golden.tensor(name).unwrap();
        let [_, _, height_px, width_px] = view.shape().try_into().unwrap();
        let values = floats(&golden, name);
        let (mean, deviation) = ([122.771, 116.746, 104.094], [68.501, 66.632, 70.323f32]);
        let area = width_px * height_px;
        let data = (0..3 * area)
            .map(|i| (values[i % 3 * area + i / 3] * deviation[i % 3] + mean[i % 3]).round() as u8)
            .collect();
        let picture = Rgb8 {
            width_px,
            height_px,
            data,
        };
        fs::write(folder.join(file), write_rgb_png(&picture).unwrap()).unwrap();
    }
    fs::write(
        folder.join("words.txt"),
        "background\nbareland,barren\nroad\nwater,river,lake\n",
    )
    .unwrap();
    let run = |command: &'static str,
               model: &'static str,
               picture: &'static str,
               more: &[&'static str]| {
        let mut args = vec![
            command,
            "--device",
            "cpu",
            "--model",
            model,
            "--rgb",
            picture,
            "--sar",
            picture,
            "--classes-file",
            "words.txt",
        ];
        args.extend(more);
        works(folder, &args);
    };
    run(
        "segment",
        "model",
        "slide.png",
        &[
            "--threshold",
            "0.1",
            "--out",
            "slide-labels.png",
            "--logits",
            "out.safetensors",
        ],
    );
    run(
        "segment",
        "model",
        "slide.png",
        &[
            "--threshold",
            "0.472",
            "--background",
            "road",
            "--out",
            "thd-labels.png",
        ],
    );
    run(
        "trace",
        "model",
        "slide.png",
        &["--out", "slide.safetensors"],
    );
    run("trace", "small", "one.png", &["--out", "one.safetensors"]);

    let read = |file: &str| fs::read(folder.join(file)).unwrap();
    let out = read("out.safetensors");
    let out = SafeTensors::deserialize(&out).unwrap();
    agrees(
        "prob.slide",
        &floats(&out, "prob"),
        &floats(&golden, "prob.slide@17"),
        17,
    );
    let slide = read("slide.safetensors");
    let slide = SafeTensors::deserialize(&slide).unwrap();
    for name in ["logits", "text.features"] {
        let want = if name == "logits" {
            "logits.slide"
        } else {
            name
        };
        agrees(want, &floats(&slide, name), &floats(&golden, want), 1);
    }
    for name in ["slide", "thd"] {
        let found = read_label_png(&read(&format!("{name}-labels.png")), "labels").unwrap();
        let want = golden.tensor(&format!("label.{name}")).unwrap();
        let pairs = found.data.iter().zip(want.data());
        let same = pairs.filter(|(a, b)| a == b).count();
        let agreement = same as f64 / want.data().len() as f64;
        println!("label.{name}: {agreement}");
        assert!(agreement >= 0.999, "{name}: {agreement}");
    }
    let one = read("one.safetensors");
    let one = SafeTensors::deserialize(&one).unwrap();
    let stages: BTreeMap<String, Vec<f32>> = one
        .names()
        .into_iter()
        .filter(|name| *name != "label")
        .map(|name| (name.to_owned(), floats(&one, name)))
        .collect();
    let mut compared = 0;
    for name in golden.names() {
        let (stage, stride) = name.split_once('@').unwrap_or((name, "1"));
        let Some(found) = stage.strip_prefix("one.").and_then(|name| stages.get(name)) else {
            continue;
        };
        agrees(
            stage,
            found,
            &floats(&golden, name),
            stride.parse().unwrap(),
        );
        compared += 1;
    }
    assert!(compared >= 15, "{compared} stages");
}
