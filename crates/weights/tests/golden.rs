//! From a checkpoint file to a package folder and back, through the public functions only.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_weights::{
    Assembler, Bits, Checkpoint, MANIFEST_FILE, Manifest, Placement, StoreDtype, decode_shard,
    parse_manifest, verify_hashes, write_package,
};

fn place(name: &str) -> Placement {
    Placement {
        group: usize::from(!name.starts_with("dino_")),
        bits: Bits::Package,
    }
}

#[test]
fn a_checkpoint_becomes_a_package_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    for variant in ["b", "l"] {
        let checkpoint = Checkpoint::open(mmovseg_test_support::checkpoint(variant)).unwrap();
        let names: Vec<&str> = checkpoint.names_and_shapes().map(|(n, _)| n).collect();
        // The largest error allowed, as a share of the tensor's largest magnitude.
        for (dtype, allowed) in [
            (StoreDtype::F32, 0.0f32),
            (StoreDtype::F16, 1.0 / 2048.0),
            (StoreDtype::Q8, 0.5 / 126.0),
            (StoreDtype::Q4, 0.41),
        ] {
            let dir = root.path().join(format!("{variant}-{dtype:?}"));
            let manifest = Manifest::new(variant, serde_json::Value::Null, dtype, "a {}");
            let tensors = names.iter().map(|name| checkpoint.read(name));
            let written = write_package(&dir, manifest, tensors, b"{}", &place).unwrap();
            // Here q8 saves less than its scales' names take: what bits save is tested where the
            // shards are made.
            let values: usize = checkpoint
                .names_and_shapes()
                .map(|(_, s)| s.iter().product::<usize>())
                .sum();
            let is_f32 = dtype == StoreDtype::F32;
            assert_eq!(
                written.total_bytes() > 4 * values as u64,
                is_f32,
                "{dtype:?}"
            );
            assert!(verify_hashes(&dir).unwrap().is_empty());

            let json = std::fs::read(dir.join(MANIFEST_FILE)).unwrap();
            let mut assembler = Assembler::new();
            let mut count = 0;
            for shard in parse_manifest(&json).unwrap().shards {
                let bytes = std::fs::read(dir.join(&shard.file)).unwrap();
                for part in decode_shard(&bytes, &shard).unwrap() {
                    let Some(got) = assembler.push(part).unwrap() else {
                        continue;
                    };
                    count += 1;
                    let want = checkpoint.read(&got.name).unwrap();
                    assert_eq!(got.shape, want.shape, "{}", got.name);
                    let largest = want.data.iter().fold(0f32, |m, v| m.max(v.abs()));
                    // f16 also has a smallest step.
                    let bound = if allowed == 0.0 {
                        0.0
                    } else {
                        allowed * largest + 6e-8
                    };
                    for (a, b) in got.data.iter().zip(&want.data) {
                        assert!((a - b).abs() <= bound, "{dtype:?} {}: {a} {b}", got.name);
                    }
                }
            }
            assembler.finish().unwrap();
            assert_eq!(count, names.len());
        }
    }
}
