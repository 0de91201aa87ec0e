//! Networks whose head reads no more than so many classes, as CAT-Seg's: the shipped nano with a
//! limit of two.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_engine::{
    DeviceChoice, EngineError, FolderSource, HashedPair, Modality, PackageSource, PrecisionChoice,
    Preprocess, SegmentRequest, Segmentation, Session, TilePair, Tiling, open_device,
};

/// A package whose head reads so many classes at most.
struct Limited(FolderSource, Option<usize>);

impl PackageSource for Limited {
    async fn read(
        &self,
        file: &str,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, EngineError> {
        let bytes = self.0.read(file, on_bytes).await?;
        let (true, Some(most)) = (file == "model.json", self.1) else {
            return Ok(bytes);
        };
        let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        manifest["architecture"]["head"]["max_classes"] = most.into();
        Ok(serde_json::to_vec(&manifest).unwrap())
    }

    async fn discard(&self, file: &str) -> bool {
        self.0.discard(file).await
    }
}

fn run(most: Option<usize>, classes: &[&str], tiling: Tiling) -> Segmentation {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let folder = FolderSource(std::path::Path::new(&own).join("../../models/nano"));
    let device = pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
    let source = Limited(folder, most);
    let precision = PrecisionChoice::Auto;
    let mut quiet = |_| {};
    let loaded = Session::load(&source, device, precision, &mut quiet);
    let mut session = pollster::block_on(loaded).unwrap();
    let scene = mmovseg_scene::generate(3, 300);
    let pair = HashedPair::new(TilePair::new(scene.rgb, scene.sar));
    let request = SegmentRequest {
        classes: classes.iter().map(ToString::to_string).collect(),
        modality: Modality::Fused,
        preprocess: Preprocess::Aligned,
        tiling,
        rule: None,
    };
    pollster::block_on(session.segment(&pair, &request, &mut |_| {})).unwrap()
}

#[test]
fn classes_beyond_the_limit_are_left_out_and_do_not_act_on_the_others() {
    let classes = ["water", "forest", "city"];
    let limited = run(Some(2), &classes, Tiling::Whole);
    let area = limited.grid_px[0] * limited.grid_px[1];
    let is_out = |logits: &[f32]| logits.iter().all(|&logit| logit <= -100.0);
    let out: Vec<bool> = limited.logits.chunks_exact(area).map(is_out).collect();
    assert_eq!(out.iter().filter(|&&out| out).count(), 1, "{out:?}");
    let pairs = || classes.iter().zip(&out);
    let kept: Vec<&str> = pairs().filter(|(_, out)| !**out).map(|(c, _)| *c).collect();
    let alone = run(None, &kept, Tiling::Whole);
    let maps = limited.logits.chunks_exact(area).zip(&out);
    let of_kept = maps.filter(|(_, out)| !**out).flat_map(|(map, _)| map);
    let largest = of_kept
        .zip(&alone.logits)
        .fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(largest < 1e-4, "off by {largest}");

    let tiling = Tiling::Windows { overlap_px: 64 };
    let limited = run(Some(2), &kept, tiling);
    let alone = run(None, &kept, tiling);
    assert!(limited.windows > 1);
    assert_eq!(limited.labels, alone.labels, "nothing is left out of two");
    let three = run(Some(2), &classes, tiling);
    assert!(three.logits.iter().all(|logit| logit.is_finite()));
}
