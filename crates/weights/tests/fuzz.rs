//! Mutated checkpoints and manifests. Run for longer as CONTRIBUTING.md says.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use mmovseg_test_support::fuzz::Target;
use mmovseg_weights::{Checkpoint, parse_manifest};
use safetensors::tensor::{Dtype, TensorView};

fn here() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
}

fn checkpoints() -> Vec<Vec<u8>> {
    let names = ["name_of_21_characters", "nested", "before_1_6"];
    let fixtures = here().join("tests/fixtures");
    let mut corpus: Vec<Vec<u8>> = names
        .iter()
        .map(|name| std::fs::read(fixtures.join(format!("{name}.pth"))).unwrap())
        .collect();
    let data = [0_u8; 16];
    let views = [
        ("module.a", Dtype::F32, vec![2, 2], &data[..]),
        ("b", Dtype::BF16, vec![8], &data),
        ("c", Dtype::I64, vec![], &data[..8]),
    ]
    .map(|(name, dtype, shape, data)| (name, TensorView::new(dtype, shape, data).unwrap()));
    corpus.push(safetensors::serialize(views, None).unwrap());
    corpus
}

#[test]
fn mutated_checkpoints_neither_panic_nor_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let target = Target {
        name: "checkpoints",
        corpus: &checkpoints(),
        words: &["state_dict", "module.", "FloatStorage", "R.", "4294967295"],
        seconds: 15,
    };
    target.run(|bytes| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(&path) {
            let _ = checkpoint.contents();
            for (name, shape) in checkpoint.names_and_shapes() {
                if let Ok(tensor) = checkpoint.read(name) {
                    assert_eq!(tensor.data.len(), shape.iter().product::<usize>());
                }
            }
        }
    });
}

#[test]
fn mutated_manifests_neither_panic_nor_hang() {
    let model = here().join("../../models/nano/model.json");
    let target = Target {
        name: "manifests",
        corpus: &[std::fs::read(model).unwrap()],
        words: &[
            "null",
            "-1",
            "1e400",
            "18446744073709551615",
            "[",
            "]",
            "{",
            "}",
            "\"\"",
            "\"../x\"",
            "\"q4\"",
            "\\ud800",
            "true",
            ",",
        ],
        seconds: 15,
    };
    target.run(|bytes| {
        if let Ok(manifest) = parse_manifest(bytes) {
            let _ = (
                manifest.total_bytes(),
                manifest.dtypes(),
                manifest.named_colours(),
            );
            assert!(manifest.tokenizer.check(bytes).is_err());
            let again = serde_json::to_vec(&manifest).unwrap();
            assert!(parse_manifest(&again).is_ok());
        }
    });
}
