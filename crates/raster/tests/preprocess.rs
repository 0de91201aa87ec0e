//! Fitting to the model's square against the authors' loader, byte for byte (docs/network.md §3.1).

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_raster::{Preprocess, RasterError, Rgb8, fit, resize_bilinear};
use safetensors::SafeTensors;

const SIDE_PX: usize = 384;

/// `[3, h, w]` from `[h, w, 3]`.
fn planes(picture: &Rgb8) -> Vec<u8> {
    (0..3)
        .flat_map(|c| picture.data.iter().skip(c).step_by(3).copied())
        .collect()
}

fn check(file: &[u8], least_cases: usize) {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let mut cases = 0;
    for name in tensors.names() {
        let Some(case) = name.strip_suffix(".image") else {
            continue;
        };
        cases += 1;
        let get = |part: &str| tensors.tensor(&format!("{case}.{part}")).unwrap();
        let (rgb, sar) = (get("rgb_u8_hwc"), get("sar_u8_hw"));
        let (h, w) = (rgb.shape()[0], rgb.shape()[1]);
        let rgb = Rgb8 {
            width_px: w,
            height_px: h,
            data: rgb.data().to_vec(),
        };
        let sar = Rgb8::from_grey(w, h, sar.data());
        let tiles = fit(&rgb, &sar, Preprocess::Parity, SIDE_PX).unwrap();
        assert!(
            planes(&tiles.rgb) == get("image").data(),
            "{case}: optical differs"
        );
        assert!(
            planes(&tiles.sar) == get("sarimage").data(),
            "{case}: SAR differs"
        );
    }
    assert!(cases >= least_cases, "only {cases} cases");
}

#[test]
fn parity_matches_every_golden_size() {
    if let Some(path) = mmovseg_test_support::data("golden/preprocess_golden.safetensors") {
        check(&std::fs::read(path).unwrap(), 6);
    }
}

/// Checksums of the loader's own output on a picture made by arithmetic, for machines without the
/// golden file.
#[test]
fn parity_matches_recorded_checksums() {
    for (w, h, rgb_sum, sar_sum) in RECORDED {
        let (rgb, sar) = made(w, h);
        let tiles = fit(&rgb, &sar, Preprocess::Parity, SIDE_PX).unwrap();
        assert_eq!(
            (fnv(&tiles.rgb.data), fnv(&tiles.sar.data)),
            (rgb_sum, sar_sum),
            "{w} x {h}"
        );
    }
}

/// Width, height, FNV-1a of the optical and of the SAR square. Made with Pillow 12 by the loader's
/// rule.
const RECORDED: [(usize, usize, u64, u64); 4] = [
    (256, 256, 0xf90e38b5579ac58a, 0xd92c7882587faad8),
    (512, 512, 0xd61e26aa77a3a1bd, 0xa54c97f7b9eed67b),
    (333, 250, 0xce8e7d325d912c36, 0xb6da68d905a63594),
    (97, 640, 0x65b6b989e2fa3fba, 0x325a59a983da3393),
];

#[test]
fn resize_matches_recorded_checksums() {
    for ([w, h], [to_w, to_h], sum) in [
        ([64, 64], [192, 192], 0xf4554a65c954d971),
        ([1000, 30], [192, 192], 0xf6e77bf623d317f4),
        ([7, 5], [3, 11], 0x97348fd2f9209a53),
    ] {
        let resized = resize_bilinear(&made(w, h).0, to_w, to_h);
        assert_eq!((resized.width_px, resized.height_px), (to_w, to_h));
        assert_eq!(fnv(&resized.data), sum, "{w} x {h} to {to_w} x {to_h}");
    }
}

#[test]
fn aligned_squashes_both_and_parity_wants_one_size() {
    let (rgb, _) = made(60, 40);
    let (_, sar) = made(30, 90);
    let tiles = fit(&rgb, &sar, Preprocess::Aligned, 48).unwrap();
    assert_eq!(tiles.rgb, resize_bilinear(&rgb, 48, 48));
    assert_eq!(tiles.sar, resize_bilinear(&sar, 48, 48));
    let error = fit(&rgb, &sar, Preprocess::Parity, 48).unwrap_err();
    assert_eq!(
        error,
        RasterError::SizeMismatch {
            rgb: [60, 40],
            sar: [30, 90]
        }
    );
    assert!(fit(&rgb, &Rgb8::filled(0, 4, 0), Preprocess::Aligned, 48).is_err());
    assert!(fit(&rgb, &sar, Preprocess::Aligned, 0).is_err());
    // So thin that the capped size would round to nothing.
    let strip = Rgb8::filled(9000, 1, 7);
    assert!(fit(&strip, &strip, Preprocess::Parity, 48).is_ok());
    assert_eq!(
        serde_json::to_string(&Preprocess::default()).unwrap(),
        "\"aligned\""
    );
}

/// Random bytes of a linear congruential generator: an optical and a SAR tile.
fn made(w: usize, h: usize) -> (Rgb8, Rgb8) {
    let mut state = w as u64 * 65_537 + h as u64;
    let mut bytes = |n: usize| -> Vec<u8> {
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..n).map(|_| next()).collect()
    };
    let rgb = Rgb8 {
        width_px: w,
        height_px: h,
        data: bytes(w * h * 3),
    };
    let sar = Rgb8::from_grey(w, h, &bytes(w * h));
    (rgb, sar)
}

fn fnv(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
