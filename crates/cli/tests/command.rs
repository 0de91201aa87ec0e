//! The `mmovseg` command as a user meets it: a checkpoint is converted, checked, damaged, run,
//! traced, measured; and everything that cannot work ends in one line and exit status 2.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::SafeTensors;
use serde_json::Value;

const CLASSES: &str = "city, road,water";

fn checkpoint() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
        .join("../../tests/golden/fixtures/b_tiny.safetensors")
}

/// Runs the command in `folder`.
fn mmovseg(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mmovseg"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed; gives its stdout.
fn works(folder: &Path, args: &[&str]) -> String {
    let output = mmovseg(folder, args);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs a command that must fail with one line that holds `words`, and leave the folder as it was.
fn fails(folder: &Path, args: &[&str], words: &[&str]) {
    let before = listing(folder);
    let output = mmovseg(folder, args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert!(stderr.starts_with("mmovseg: "), "{args:?}: {stderr}");
    for word in words {
        assert!(
            stderr.contains(word),
            "{args:?}: {word:?} is not in {stderr}"
        );
    }
    assert_eq!(listing(folder), before, "{args:?} left something behind");
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn convert(folder: &Path, dtype: &str) -> String {
    let name = format!("model-{dtype}");
    let checkpoint = checkpoint();
    works(
        folder,
        &[
            "convert",
            checkpoint.to_str().unwrap(),
            "--out",
            &name,
            "--dtype",
            dtype,
        ],
    );
    name
}

fn scene(folder: &Path, count: &str) {
    works(
        folder,
        &[
            "scene", "--out", "data", "--count", count, "--seed", "5", "--size", "150",
        ],
    );
}

const RGB: &str = "data/rgb/scene-000005.png";
const SAR: &str = "data/sar/scene-000005.png";

/// `segment` on the generated pair, on the CPU.
fn segment<'a>(model: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "segment", "--device", "cpu", "--model", model, "--rgb", RGB, "--sar", SAR, "--out", out,
    ];
    args.extend(more);
    args
}

fn labels(path: &Path) -> mmovseg_raster::Labels {
    mmovseg_raster::read_label_png(&fs::read(path).unwrap(), "labels").unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `logits`, `[3, 96, 96]`, as `segment --logits` wrote them.
fn logits(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    floats(&tensors, "logits")
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.shape(), [3, 96, 96]);
    view.data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// The best class of each cell and how far it is ahead of the second.
fn best(logits: &[f32]) -> Vec<(usize, f32)> {
    let cells = logits.len() / 3;
    (0..cells)
        .map(|cell| {
            let mut scores = [0, 1, 2].map(|class| (class, logits[class * cells + cell]));
            scores.sort_by(|a, b| b.1.total_cmp(&a.1));
            (scores[0].0, scores[0].1 - scores[1].1)
        })
        .collect()
}

#[test]
fn a_checkpoint_becomes_packages_that_verify_and_agree() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "1");
    let (mut runs, mut sizes) = (Vec::new(), Vec::new());
    for dtype in ["f32", "f16", "q8"] {
        let model = convert(root, dtype);
        let verdict = works(root, &["verify", &model, "--device", "cpu"]);
        assert!(
            verdict.contains("hashes     ok") && verdict.contains("self-test  ok"),
            "{verdict}"
        );
        works(
            root,
            &segment(
                &model,
                "l.png",
                &["--classes", CLASSES, "--logits", "l.safetensors"],
            ),
        );
        runs.push(logits(&root.join("l.safetensors")));
        let files = fs::read_dir(root.join(&model)).unwrap();
        sizes.push(
            files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum::<u64>(),
        );
    }
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");

    // The checkpoint runs as it is, too.
    works(
        root,
        &segment(
            checkpoint().to_str().unwrap(),
            "l.png",
            &["--classes", CLASSES, "--logits", "l.safetensors"],
        ),
    );
    assert_eq!(logits(&root.join("l.safetensors")), runs[0]);

    let exact = best(&runs[0]);
    assert!(
        exact.iter().any(|cell| cell.0 != exact[0].0),
        "one class everywhere shows nothing"
    );
    let [_, f16, q8] = [0, 1, 2].map(|i| best(&runs[i]));
    let agree = |other: &[(usize, f32)], margin: f32| {
        let sure: Vec<bool> = exact
            .iter()
            .zip(other)
            .filter(|(cell, _)| cell.1 >= margin)
            .map(|(a, b)| a.0 == b.0)
            .collect();
        assert!(
            2 * sure.len() > exact.len(),
            "too few cells with a margin of {margin}"
        );
        sure.iter().filter(|same| **same).count() as f64 / sure.len() as f64
    };
    assert!(agree(&f16, 0.0) >= 0.995, "f16: {}", agree(&f16, 0.0));
    assert!(agree(&q8, 0.0) >= 0.99, "q8: {}", agree(&q8, 0.0));
}

#[test]
fn a_damaged_package_fails_its_check_by_name() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let model = convert(root, "q8");
    let manifest = root.join(&model).join("model.json");
    let shard = json(&manifest)["shards"][2]["file"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = root.join(&model).join(&shard);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&path, &bad).unwrap();
    let output = mmovseg(root, &["verify", &model]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains(&shard),
        "{}",
        text(&output.stdout)
    );
    scene(root, "1");
    fails(
        root,
        &segment(&model, "l.png", &["--classes", CLASSES]),
        &[&shard],
    );

    // Whole files, but a self-test that this model does not meet.
    fs::write(&path, &good).unwrap();
    let mut changed = json(&manifest);
    let mean = changed["self_test"]["logit_mean"].as_f64().unwrap();
    changed["self_test"]["logit_mean"] = (mean + 0.1).into();
    fs::write(&manifest, changed.to_string()).unwrap();
    let output = mmovseg(root, &["verify", &model, "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(1));
    let verdict = text(&output.stdout);
    assert!(
        verdict.contains("hashes     ok") && verdict.contains("self-test  FAILED"),
        "{verdict}"
    );
}

#[test]
fn segment_writes_labels_tensors_and_a_report_that_agree() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "1");
    let model = convert(root, "f32");
    fs::write(root.join("classes.json"), r#"["city", "road", "water"]"#).unwrap();
    let more = [
        "--classes-file",
        "classes.json",
        "--logits",
        "l.safetensors",
        "--json",
        "r.json",
    ];
    works(root, &segment(&model, "l.png", &more));
    let map = labels(&root.join("l.png"));

    let bytes = fs::read(root.join("l.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (logits, prob) = (floats(&tensors, "logits"), floats(&tensors, "prob"));
    for (logit, prob) in logits.iter().zip(&prob) {
        assert!((1.0 / (1.0 + (-logit).exp()) - prob).abs() < 1e-6);
    }
    assert_eq!(
        mmovseg_engine::labels(&logits, [3, 96, 96], 150, 150),
        map.data
    );

    let report = json(&root.join("r.json"));
    assert_eq!(
        report["classes"],
        serde_json::json!(["city", "road", "water"])
    );
    for (class, share) in report["share"].as_array().unwrap().iter().enumerate() {
        let pixels = map
            .data
            .iter()
            .filter(|&&label| usize::from(label) == class)
            .count();
        assert!((share.as_f64().unwrap() - pixels as f64 / map.data.len() as f64).abs() < 1e-9);
    }
    assert_eq!(report["device"]["tier"], "cpu");
    assert!(report["timings_ms"]["head"].as_f64().unwrap() > 0.0);
    assert_eq!(report["model"]["dtype"], "f32");
    if cfg!(target_os = "linux") {
        assert!(report["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    }

    // One modality at a time skips the other's tower.
    works(
        root,
        &segment(
            &model,
            "o.png",
            &[
                "--classes",
                CLASSES,
                "--modality",
                "optical",
                "--json",
                "o.json",
            ],
        ),
    );
    assert_eq!(
        json(&root.join("o.json"))["timings_ms"]["dino-sar"],
        Value::Null
    );
    let left: Vec<_> = listing(root)
        .into_iter()
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn segment_exports_a_georeferenced_scene_in_windows() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let scene = mmovseg_scene::generate(3, 300);
    let geo = mmovseg_raster::GeoRef {
        transform: [10.0, 0.0, 399_960.0, 0.0, -10.0, 5_000_040.0],
        epsg: Some(32_633),
        keys: mmovseg_raster::GeoKeys::default(),
        control_points: Vec::new(),
    };
    // One band is enough for a tile with a place.
    let grey: Vec<u8> = scene.rgb.data.chunks_exact(3).map(|p| p[1]).collect();
    let rgb = mmovseg_raster::label_geotiff(&grey, 300, 300, &greys(), &[], Some(&geo)).unwrap();
    fs::write(root.join("rgb.tif"), rgb).unwrap();
    fs::write(
        root.join("sar.png"),
        mmovseg_raster::write_rgb_png(&scene.sar).unwrap(),
    )
    .unwrap();
    let nano = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../models/nano");
    let run = |more: &[&str]| {
        let mut args = vec![
            "segment",
            "--device",
            "cpu",
            "--model",
            nano.to_str().unwrap(),
            "--rgb",
            "rgb.tif",
            "--sar",
            "sar.png",
            "--classes",
            "water, forest, city",
        ];
        args.extend(more);
        args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()
    };
    let with = |more: &[&str]| {
        let args = run(more);
        works(root, &args.iter().map(String::as_str).collect::<Vec<_>>());
    };
    with(&[
        "--out",
        "l.tif",
        "--geojson",
        "l.geojson",
        "--simplify",
        "0",
        "--json",
        "r.json",
    ]);
    let report = json(&root.join("r.json"));
    assert!(report["windows"].as_u64().unwrap() > 1, "{report}");
    let bytes = fs::read(root.join("l.tif")).unwrap();
    let raster = mmovseg_raster::decode(&bytes, "l.tif").unwrap();
    let place = raster.georef.unwrap();
    assert_eq!((place.transform, place.epsg), (geo.transform, geo.epsg));
    let polygons = json(&root.join("l.geojson"));
    assert_eq!(polygons.get("coordinates"), None, "in degrees");
    let mut pixels = vec![0.0; report["share"].as_array().unwrap().len()];
    for feature in polygons["features"].as_array().unwrap() {
        let properties = &feature["properties"];
        let area_px = properties["area_px"].as_f64().unwrap();
        pixels[properties["index"].as_u64().unwrap() as usize] += area_px;
        let area_m2 = properties["area_m2"].as_f64().unwrap();
        assert!(area_m2 > 0.0, "{properties}");
        let probability = properties["probability"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&probability), "{properties}");
        assert!(properties["model"].is_string() && properties["time"].is_string());
    }
    let all = report["width_px"].as_f64().unwrap() * report["height_px"].as_f64().unwrap();
    for (pixels, share) in pixels.iter().zip(report["share"].as_array().unwrap()) {
        assert!((pixels / all - share.as_f64().unwrap()).abs() < 1e-9);
    }

    with(&["--out", "w.png", "--tiling", "whole", "--json", "w.json"]);
    assert_eq!(json(&root.join("w.json"))["windows"], 1);
    with(&["--out", "o.png", "--tiling", "96", "--json", "o.json"]);
    let mosaic = labels(&root.join("o.png")).data;
    let first = mmovseg_raster::read_label_png(&bytes, "l.tif")
        .unwrap()
        .data;
    assert_eq!(mosaic.len(), first.len());
    assert_eq!(json(&root.join("o.json"))["windows"], 9);
    for wrong in [
        &["--out", "x.png", "--tiling", "some"][..],
        &["--out", "x.png", "--geojson", "x.json", "--simplify", "-1"],
        &["--out", "x.png", "--geojson", "x.png"],
    ] {
        let args = run(wrong);
        fails(
            root,
            &args.iter().map(String::as_str).collect::<Vec<_>>(),
            &[wrong[wrong.len() - 1]],
        );
    }
}

/// Scenes that are read in blocks were shown to the model at their own pixel size, whatever it was.
#[test]
fn scenes_in_blocks_were_not_resampled_to_the_models_pixels() {
    const SIZE_PX: [usize; 2] = [8200, 96];
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let scene = mmovseg_scene::generate(3, 96);
    let write = |name: &str, picture: &mmovseg_raster::Rgb8, pixel_m: f64| {
        let geo = mmovseg_raster::GeoRef {
            transform: [pixel_m, 0.0, 399_960.0, 0.0, -pixel_m, 5_000_040.0],
            epsg: Some(32_633),
            keys: mmovseg_raster::GeoKeys::default(),
            control_points: Vec::new(),
        };
        let grey: Vec<u8> = (0..SIZE_PX[0] * SIZE_PX[1])
            .map(|i| picture.pixel(i % SIZE_PX[0] % 96, i / SIZE_PX[0])[1].clamp(1, 254))
            .collect();
        let [w, h] = SIZE_PX;
        let file = mmovseg_raster::label_geotiff(&grey, w, h, &greys(), &[], Some(&geo)).unwrap();
        fs::write(root.join(name), file).unwrap();
    };
    let nano = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../models/nano");
    let args = |more: &[&str]| {
        let more = [&["--classes", "water, forest, city"], more].concat();
        let mut args = segment(nano.to_str().unwrap(), "l.tif", &more);
        for (name, file) in [("--rgb", "rgb.tif"), ("--sar", "sar.tif")] {
            let at = args.iter().position(|&arg| arg == name).unwrap();
            args[at + 1] = file;
        }
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let windows = |more: &[&str]| {
        let args = args(&[more, &["--json", "r.json"]].concat());
        works(root, &args.iter().map(String::as_str).collect::<Vec<_>>());
        let report = json(&root.join("r.json"));
        assert_eq!(report["width_px"], SIZE_PX[0]);
        (
            report["windows"].as_u64().unwrap(),
            report["notes"].to_string(),
        )
    };
    write("rgb.tif", &scene.rgb, 2.5);
    write("sar.tif", &scene.sar, 2.5);
    let (few, notes) = windows(&[]);
    assert!(notes.contains("resampled to 10.00 m"), "{notes}");
    assert!(!labels(&root.join("l.tif")).data.contains(&255));
    let (many, notes) = windows(&["--resolution", "native"]);
    assert!(!notes.contains("resampled"), "{notes}");
    assert!(
        few * 2 < many,
        "{few} windows, {many} at the scene's own pixels"
    );

    write("rgb.tif", &scene.rgb, 0.1);
    write("sar.tif", &scene.sar, 0.1);
    let args = args(&[]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    fails(root, &args, &["rgb.tif", "0.1", "--resolution native"]);
}

/// Every byte as itself.
fn greys() -> Vec<[u8; 3]> {
    (0..=255).map(|v| [v; 3]).collect()
}

#[test]
fn trace_gives_stages_under_their_golden_names() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "1");
    let model = convert(root, "f32");
    works(
        root,
        &[
            "trace",
            "--device",
            "cpu",
            "--model",
            &model,
            "--rgb",
            RGB,
            "--sar",
            SAR,
            "--classes",
            CLASSES,
            "--out",
            "stages.safetensors",
        ],
    );
    let bytes = fs::read(root.join("stages.safetensors")).unwrap();
    let stages = SafeTensors::deserialize(&bytes).unwrap();
    let golden = fs::read(checkpoint().with_file_name("b_tiny_golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    for (name, view) in golden.iter() {
        let name = name.split('@').next().unwrap();
        if view.dtype() == safetensors::Dtype::F32 && !name.starts_with("prob") {
            assert!(stages.tensor(name).is_ok(), "{name} is missing");
        }
    }
    assert_eq!(stages.tensor("logits").unwrap().shape(), [1, 3, 96, 96]);
}

#[test]
fn eval_measures_generated_scenes_and_bench_times_stages() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "2");
    let model = convert(root, "q8");
    let eval = |cloud: &str, out: &str| {
        let args = [
            "eval", "--device", "cpu", "--model", &model, "--data", "data", "--cloud", cloud,
            "--json", out,
        ];
        works(root, &args);
        json(&root.join(out))
    };
    let (clear, clouded) = (eval("none", "a.json"), eval("3:1", "b.json"));
    for key in [
        "miou",
        "miou_seen",
        "miou_unseen",
        "hiou",
        "macc",
        "pacc",
        "fwiou",
    ] {
        assert!(clear.get(key).is_some(), "{key} is missing");
    }
    assert_eq!(clear["images"], 2);
    assert_eq!(
        clear["per_class"].as_array().unwrap().len(),
        mmovseg_scene::CLASSES.len()
    );
    assert!(
        clear["pacc"]
            .as_f64()
            .is_some_and(|pacc| (0.0..=1.0).contains(&pacc))
    );
    assert_ne!(
        clear["pacc"], clouded["pacc"],
        "a cloud that hides the ground changes the result"
    );

    works(
        root,
        &[
            "bench",
            "--device",
            "cpu",
            "--model",
            &model,
            "--runs",
            "1",
            "--classes",
            "1,9",
            "--side-px",
            "64",
            "--json",
            "t.json",
        ],
    );
    let bench = json(&root.join("t.json"));
    let cases = bench["cases"].as_array().unwrap();
    assert_eq!(
        cases
            .iter()
            .map(|case| case["classes"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [1, 9]
    );
    assert_eq!(
        (&cases[0]["side_px"], &cases[0]["windows"]),
        (&64.into(), &1.into())
    );
    assert!(cases[1]["changed_word"]["median_ms"].as_f64().unwrap() > 0.0);
    let stages: Vec<&str> = cases[1]["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["stage"].as_str().unwrap())
        .collect();
    assert_eq!(
        stages,
        [
            "preprocess",
            "text",
            "clip",
            "dino-optical",
            "dino-sar",
            "head",
            "labels",
            "total"
        ]
    );

    // A label that no class has is a mistake in the data, not something to leave out quietly.
    fs::write(
        root.join("data/classes.json"),
        r#"[{"name": "water", "seen": true}]"#,
    )
    .unwrap();
    fails(
        root,
        &[
            "eval", "--device", "cpu", "--model", &model, "--data", "data",
        ],
        &["label", "scene-000005.png"],
    );
}

#[test]
fn words_that_were_never_labels_are_measured_apart() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    works(
        root,
        &[
            "scene",
            "--out",
            "data",
            "--count",
            "1",
            "--seed",
            "5",
            "--size",
            "150",
            "--unseen-words",
        ],
    );
    let classes = json(&root.join("data/classes.json"));
    let unseen: Vec<&str> = classes
        .as_array()
        .unwrap()
        .iter()
        .filter(|class| class["seen"] == false)
        .map(|class| class["name"].as_str().unwrap())
        .collect();
    assert_eq!(unseen, ["waterway", "timberland", "badlands"]);
    let model = convert(root, "q8");
    works(
        root,
        &[
            "eval", "--device", "cpu", "--model", &model, "--data", "data", "--json", "e.json",
        ],
    );
    let figures = json(&root.join("e.json"));
    let share = |key: &str| figures[key].as_f64().unwrap();
    let (seen, unseen) = (share("miou_seen"), share("miou_unseen"));
    let expected = if seen + unseen > 0.0 {
        2.0 * seen * unseen / (seen + unseen)
    } else {
        0.0
    };
    assert!((share("hiou") - expected).abs() < 1e-9);
}

#[test]
fn scenes_are_the_same_for_the_same_seed_and_never_overwrite() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "2");
    assert_eq!(
        listing(&root.join("data")),
        ["classes.json", "label", "rgb", "sar"]
    );
    assert_eq!(
        listing(&root.join("data/rgb")),
        ["scene-000005.png", "scene-000006.png"]
    );
    let classes = json(&root.join("data/classes.json"));
    assert_eq!(classes[0]["name"], mmovseg_scene::CLASSES[0].name);
    let truth = mmovseg_scene::generate(5, 150);
    assert_eq!(
        labels(&root.join("data/label/scene-000005.png")).data,
        truth.label
    );
    fails(
        root,
        &["scene", "--out", "data", "--count", "1", "--seed", "1"],
        &["data", "empty"],
    );
    fails(
        root,
        &["scene", "--out", "no/data", "--count", "1", "--seed", "1"],
        &["no/data"],
    );
}

/// Two processes share a table, one of its pairs fails, and a second run does nothing again.
#[test]
fn many_pairs_are_shared_and_gone_on_with() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "1");
    let model = convert(root, "q8");
    let table = format!("optical,sar,name\n{RGB},{SAR},a\nnone.png,{SAR},b\n{RGB},{SAR},c\n");
    fs::write(root.join("pairs.csv"), table).unwrap();
    let run = |share: &str| {
        let args = [
            "segment",
            "--device",
            "cpu",
            "--model",
            &model,
            "--pairs",
            "pairs.csv",
            "--out",
            "done",
            "--classes",
            CLASSES,
            "--share",
            share,
        ];
        let output = mmovseg(root, &args);
        (output.status.code(), text(&output.stdout))
    };
    let (code, out) = run("1/2");
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("2 pairs: 2 done, 0 done before, 0 failed"),
        "{out}"
    );
    let (code, out) = run("2/2");
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("failed  b.tif: ") && out.contains("none.png"),
        "{out}"
    );
    assert_eq!(
        json(&root.join("done/summary-2-of-2.json"))["failed"][0]["name"],
        "b.tif"
    );
    let (code, out) = run("1/2");
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("0 done, 2 done before"), "{out}");
    assert_eq!(
        labels(&root.join("done/a.tif")),
        labels(&root.join("done/c.tif"))
    );
    assert!(
        fs::read_to_string(root.join("done/a.tif.aux.xml"))
            .unwrap()
            .contains("road")
    );
}

/// Pixels without data have no label, no share and no polygon.
#[test]
fn pixels_without_data_have_no_label() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let model = convert(root, "q8");
    let scene = mmovseg_scene::generate(3, 150);
    // Zero in all bands of 16 bits fills a margin.
    let hidden = |i: usize| i % 150 < 30;
    let write = |name: &str, picture: &mmovseg_raster::Rgb8, bands: usize| {
        let values: Vec<u16> = picture
            .data
            .chunks_exact(3)
            .enumerate()
            .flat_map(|(i, pixel)| {
                let value = move |c: usize| {
                    if hidden(i) {
                        0
                    } else {
                        u16::from(pixel[c]) * 9 + 300
                    }
                };
                (0..bands).map(value)
            })
            .collect();
        let mut file = std::io::Cursor::new(Vec::new());
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
        if bands == 3 {
            encoder.write_image::<tiff::encoder::colortype::RGB16>(150, 150, &values)
        } else {
            encoder.write_image::<tiff::encoder::colortype::Gray16>(150, 150, &values)
        }
        .unwrap();
        fs::write(root.join(name), file.into_inner()).unwrap();
    };
    write("rgb.tif", &scene.rgb, 3);
    write("sar.tif", &scene.sar, 1);
    let run = |modality: &str, sar: &str| -> (Vec<u8>, Value) {
        works(
            root,
            &[
                "segment",
                "--device",
                "cpu",
                "--model",
                &model,
                "--rgb",
                "rgb.tif",
                "--sar",
                sar,
                "--classes",
                CLASSES,
                "--modality",
                modality,
                "--out",
                "l.tif",
                "--json",
                "r.json",
                "--geojson",
                "l.json",
                "--probabilities",
                "p.tif",
                "--entropy",
                "e.tif",
            ],
        );
        (labels(&root.join("l.tif")).data, json(&root.join("r.json")))
    };
    for modality in ["fused", "optical"] {
        let (labels, report) = run(modality, "sar.tif");
        for (i, &label) in labels.iter().enumerate() {
            assert_eq!(label == 255, hidden(i), "{modality}: {i}");
        }
        let shares: f64 = report["share"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .sum();
        assert!((shares - 1.0).abs() < 1e-9, "{shares}");
        let polygons = json(&root.join("l.json"));
        let pixels: u64 = polygons["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(|feature| feature["properties"]["area_px"].as_u64().unwrap())
            .sum();
        assert_eq!(pixels, 150 * 120);
        let probabilities = fs::read(root.join("p.tif")).unwrap();
        let raster = mmovseg_raster::decode(&probabilities, "p.tif").unwrap();
        assert_eq!((raster.bands, raster.sample(5, 5, 0)), (3, 255.0));
        assert!(raster.sample(75, 75, 0) < 255.0);
    }
    // A hole of the optical tile alone is labelled from SAR.
    fs::write(
        root.join("sar.png"),
        mmovseg_raster::write_rgb_png(&scene.sar).unwrap(),
    )
    .unwrap();
    assert!(!run("fused", "sar.png").0.contains(&255));
    assert!(run("optical", "sar.png").0.contains(&255));
}

#[test]
fn whatever_cannot_work_ends_in_one_line() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "1");
    let model = convert(root, "q8");
    let model = model.as_str();
    fs::write(root.join("names.json"), r#"{"a": 1}"#).unwrap();
    fs::write(root.join("broken.png"), b"\x89PNG\r\n\x1a\nand no more").unwrap();
    let checkpoint = checkpoint();
    let checkpoint = checkpoint.to_str().unwrap();

    fails(root, &[], &["subcommand"]);
    fails(root, &["segment"], &["--model", "--classes"]);
    fails(root, &["segmemt"], &["segmemt"]);
    fails(
        root,
        &segment(model, "l.png", &["--classes", "a", "--modality", "radar"]),
        &["radar"],
    );
    fails(
        root,
        &segment(model, "l.png", &["--classes", "a,,b"]),
        &["class 2"],
    );
    fails(
        root,
        &segment(model, "l.png", &["--classes-file", "none.json"]),
        &["none.json"],
    );
    fails(
        root,
        &segment(model, "l.png", &["--classes-file", "names.json"]),
        &["names.json", "list"],
    );
    fails(
        root,
        &segment("nowhere", "l.png", &["--classes", "a"]),
        &["nowhere"],
    );
    fails(
        root,
        &segment("data", "l.png", &["--classes", "a"]),
        &["data/model.json"],
    );
    fails(
        root,
        &segment(model, "no/l.png", &["--classes", "a"]),
        &["no/l.png"],
    );
    fails(
        root,
        &segment(model, "l.png", &["--classes", "a", "--json", "l.png"]),
        &["l.png"],
    );
    fails(
        root,
        &segment(model, "l.png", &["--classes", "a", "--bands", "1,2,9"]),
        &["band 9", RGB],
    );
    fails(
        root,
        &segment(model, "l.png", &["--classes", &"lake ".repeat(100)]),
        &["tokens"],
    );
    let pair = |rgb: &'static str, sar: &'static str| {
        vec![
            "segment",
            "--model",
            model,
            "--rgb",
            rgb,
            "--sar",
            sar,
            "--classes",
            "a",
            "--out",
            "l.png",
        ]
    };
    fails(root, &pair("none.png", SAR), &["none.png"]);
    fails(root, &pair(RGB, "broken.png"), &["broken.png", "PNG"]);
    fails(root, &pair("data", SAR), &["data"]);
    fails(root, &["verify", "nowhere"], &["nowhere"]);
    fails(root, &["convert", "none.pth", "--out", "c"], &["none.pth"]);
    fails(
        root,
        &["convert", "broken.png", "--out", "c"],
        &["broken.png"],
    );
    fails(root, &["convert", checkpoint, "--out", "data"], &["data"]);
    fails(
        root,
        &["convert", checkpoint, "--out", "c", "--bpe", "names.json"],
        &["names.json"],
    );
    let golden = checkpoint.replace("b_tiny", "b_tiny_golden");
    fails(
        root,
        &["convert", &golden, "--out", "c"],
        &["b_tiny_golden"],
    );
    fails(
        root,
        &["eval", "--model", model, "--data", "none"],
        &["none"],
    );
    fails(
        root,
        &["eval", "--model", model, "--data", "data", "--cloud", "fog"],
        &["fog"],
    );

    fs::write(root.join("nan.tif"), float_tiff(f32::NAN)).unwrap();
    fails(root, &pair(RGB, "nan.tif"), &["nan.tif", "empty"]);
}

/// A GeoTIFF-less TIFF of 16 × 16 pixels, one band of 32-bit floats, all of this value.
fn float_tiff(value: f32) -> Vec<u8> {
    const SIDE_PX: u32 = 16;
    const BYTES: u32 = SIDE_PX * SIDE_PX * 4;
    // Tag, type (3 = 16 bit, 4 = 32 bit), value; one of each.
    let tags: [(u16, u16, u32); 9] = [
        (256, 4, SIDE_PX),
        (257, 4, SIDE_PX),
        (258, 3, 32),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (279, 4, BYTES),
        (339, 3, 3),
    ];
    let mut file = b"II*\0".to_vec();
    file.extend((8 + BYTES).to_le_bytes());
    file.extend((0..SIDE_PX * SIDE_PX).flat_map(|_| value.to_le_bytes()));
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, kind, value) in tags {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    file
}

/// The README's way from a released checkpoint to a mask, for both variants. The classes follow
/// from the file's name.
#[test]
fn a_released_pth_is_converted_verified_and_segments() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    scene(root, "1");
    for (variant, file, classes) in [("b", "modelOEMthin.pth", 8), ("l", "modelDDSK.pth", 5)] {
        fs::copy(mmovseg_test_support::checkpoint(variant), root.join(file)).unwrap();
        let package = format!("package-{variant}");
        works(
            root,
            &["convert", file, "--out", &package, "--dtype", "f32"],
        );
        let manifest = fs::read(root.join(&package).join("model.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(
            manifest["architecture"]["variant"],
            variant.to_uppercase(),
            "{manifest}"
        );
        let listed = manifest["default_classes"].as_array().unwrap();
        assert_eq!(listed.len(), classes);
        works(root, &["verify", &package]);
        let names = listed
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(", ");
        for (model, out) in [(package.as_str(), "converted.png"), (file, "direct.png")] {
            works(root, &segment(model, out, &["--classes", &names]));
        }
        let [converted, direct] =
            ["converted.png", "direct.png"].map(|out| labels(&root.join(out)));
        assert_eq!(converted.data, direct.data, "{variant}");
        assert_eq!(converted.data.len(), 150 * 150);
    }
}

/// Looking for a GPU printed `error: XDG_RUNTIME_DIR is invalid or not set in the environment` four
/// times where there is no display.
#[test]
fn without_a_display_stderr_carries_our_messages_alone() {
    let package =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../models/nano");
    let output = Command::new(env!("CARGO_BIN_EXE_mmovseg"))
        .args(["verify", package.to_str().unwrap(), "--device", "auto"])
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn without_a_sar_tile_the_optical_one_is_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = convert(folder, "f32");
    scene(folder, "1");
    let more = ["--classes", CLASSES, "--modality", "optical"];
    works(folder, &segment(&model, "both.png", &more));
    let alone = [
        "segment",
        "--device",
        "cpu",
        "--model",
        &model,
        "--rgb",
        RGB,
        "--classes",
        CLASSES,
    ];
    let with = |more: &[&'static str]| [&alone[..], more].concat();
    works(folder, &with(&["--out", "alone.png"]));
    assert_eq!(
        labels(&folder.join("alone.png")).data,
        labels(&folder.join("both.png")).data
    );
    let sar = with(&["--out", "sar.png", "--modality", "sar"]);
    fails(folder, &sar, &["--modality sar", "--sar FILE"]);
}
