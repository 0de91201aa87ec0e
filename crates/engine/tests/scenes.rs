//! Large scenes in windows, and what the session tells of its inside, on the shipped nano and the
//! CPU.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_engine::{
    DeviceChoice, EncoderId, EngineError, Event, FolderSource, HashedPair, Modality,
    PrecisionChoice, Preprocess, SegmentRequest, Segmentation, Session, Stage, TilePair, Tiling,
    open_device,
};
use mmovseg_raster::Rgb8;

fn session() -> Session {
    let device = pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let source = FolderSource(std::path::Path::new(&own).join("../../models/nano"));
    let precision = PrecisionChoice::Auto;
    pollster::block_on(Session::load(&source, device, precision, &mut |_| {})).unwrap()
}

fn encoder(id: &str) -> Stage {
    Stage::Encoder(id.into())
}

fn pair(rgb: Rgb8, sar: Rgb8) -> HashedPair {
    HashedPair::new(TilePair::new(rgb, sar))
}

fn scene(seed: u64, side_px: usize) -> HashedPair {
    let scene = mmovseg_scene::generate(seed, side_px);
    pair(scene.rgb, scene.sar)
}

/// Twice as wide and high, each half the mirror image of the other.
fn mirrored(picture: &Rgb8) -> Rgb8 {
    let (w, h) = (picture.width_px, picture.height_px);
    let mut out = Rgb8::filled(2 * w, 2 * h, 0);
    for y in 0..2 * h {
        for x in 0..2 * w {
            let to = (y * 2 * w + x) * 3;
            let pixel = picture.pixel(x.min(2 * w - 1 - x), y.min(2 * h - 1 - y));
            out.data[to..to + 3].copy_from_slice(&pixel);
        }
    }
    out
}

const CLASSES: [&str; 5] = ["water", "forest", "city", "farmland", "bare land"];

fn request(tiling: Tiling) -> SegmentRequest {
    SegmentRequest {
        classes: CLASSES.map(String::from).to_vec(),
        modality: Modality::Fused,
        preprocess: Preprocess::Aligned,
        tiling,
        rule: None,
    }
}

fn run(session: &mut Session, pair: &HashedPair, request: &SegmentRequest) -> Segmentation {
    pollster::block_on(session.segment(pair, request, &mut |_| {})).unwrap()
}

fn agreement(pairs: impl Iterator<Item = (u8, u8)>) -> f64 {
    let (mut same, mut all) = (0, 0);
    for (a, b) in pairs {
        same += usize::from(a == b);
        all += 1;
    }
    f64::from(u32::try_from(same).unwrap()) / f64::from(u32::try_from(all).unwrap())
}

#[test]
fn only_large_scenes_are_cut_and_parity_never_by_itself() {
    let mut session = session();
    for (side, preprocess, tiling, windows) in [
        (288, Preprocess::Aligned, Tiling::Auto, 1),
        (300, Preprocess::Parity, Tiling::Auto, 1),
        (300, Preprocess::Aligned, Tiling::Whole, 1),
        (
            192,
            Preprocess::Aligned,
            Tiling::Windows { overlap_px: 64 },
            1,
        ),
        (
            300,
            Preprocess::Aligned,
            Tiling::Windows { overlap_px: 0 },
            4,
        ),
    ] {
        let request = SegmentRequest {
            preprocess,
            ..request(tiling)
        };
        let result = run(&mut session, &scene(3, side), &request);
        assert_eq!(result.windows, windows, "{side} {preprocess:?} {tiling:?}");
        assert_eq!(result.labels.len(), side * side);
        assert_eq!(
            result.logits.len(),
            5 * result.grid_px[0] * result.grid_px[1]
        );
    }
    let long = mmovseg_scene::generate(4, 400);
    let strip = |tile: &Rgb8| tile.crop([0, 0], [397, 90]);
    let strip = pair(strip(&long.rgb), strip(&long.sar));
    let result = run(&mut session, &strip, &request(Tiling::Auto));
    assert_eq!(result.labels.len(), 397 * 90);
    assert!(result.windows > 1);
    assert_eq!(result.grid_px, [96, 199]);
}

/// Whether the best class of each pixel leads the second by a margin, from logits of two pixels a
/// cell.
fn sure(result: &Segmentation, x: usize, y: usize) -> bool {
    let [h, w] = result.grid_px;
    let mut p: Vec<f32> = (0..result.classes.len())
        .map(|class| result.logits[(class * h + y / 2) * w + x / 2])
        .map(|logit| 1.0 / (1.0 + (-logit).exp()))
        .collect();
    p.sort_by(f32::total_cmp);
    p[p.len() - 1] - p[p.len() - 2] > 0.1
}

#[test]
fn moving_the_windows_moves_no_sure_border() {
    let mut session = session();
    let whole = scene(11, 560);
    // Half of the way from one window to the next: as far off as a grid can be.
    let shift = 48;
    let cut = |tile: &Rgb8| tile.crop([shift; 2], [560 - shift; 2]);
    let moved = pair(cut(&whole.rgb), cut(&whole.sar));
    let a = run(&mut session, &whole, &request(Tiling::Auto));
    let b = run(&mut session, &moved, &request(Tiling::Auto));
    let inner = 560 - shift;
    let place = |i: usize| (i % inner, i / inner);
    let both = |i: usize| {
        let (x, y) = place(i);
        (a.labels[(y + shift) * 560 + x + shift], b.labels[i])
    };
    let sure = |&i: &usize| {
        let (x, y) = place(i);
        sure(&a, x + shift, y + shift) && sure(&b, x, y)
    };
    let all = agreement((0..inner * inner).map(both));
    let known = (0..inner * inner).filter(sure).count();
    let agreement = agreement((0..inner * inner).filter(sure).map(both));
    println!("all {all:.4}; sure {agreement:.4} of {known} pixels");
    // The network itself is not the same everywhere in its square, so undecided pixels may turn.
    assert!(agreement >= 0.98, "{agreement}");
    assert!(all >= 0.9, "{all}");
    assert!(2 * known > inner * inner);
    assert!(a.share.iter().filter(|&&s| s > 0.02).count() > 1);
}

#[test]
fn a_mirrored_scene_is_labelled_like_its_quarter() {
    let mut session = session();
    let small = scene(11, 384);
    let large = pair(mirrored(&small.rgb), mirrored(&small.sar));
    let a = run(&mut session, &small, &request(Tiling::Auto));
    let b = run(&mut session, &large, &request(Tiling::Auto));
    // The quarter itself, away from the edges of the small scene.
    let edge = 48;
    let inner = 384 - 2 * edge;
    let pixels = (0..inner * inner).map(|i| {
        let (x, y) = (edge + i % inner, edge + i / inner);
        (a.labels[y * 384 + x], b.labels[y * 768 + x])
    });
    let agreement = agreement(pixels);
    println!("mirrored: {agreement}");
    assert!(agreement >= 0.95, "{agreement}");
}

#[test]
fn a_changed_word_runs_heads_only_and_progress_is_told_by_window() {
    let mut session = session();
    let pair = scene(5, 300);
    let mut told = Vec::new();
    let first = pollster::block_on(
        session.segment(&pair, &request(Tiling::Auto), &mut |event| {
            if let Event::Stage {
                stage: Stage::Windows,
                done,
                total,
            } = event
            {
                told.push((done, total));
            }
        }),
    )
    .unwrap();
    let all: Vec<_> = (0..=first.windows).map(|i| (i, first.windows)).collect();
    assert_eq!(told, all);
    let mut changed = request(Tiling::Auto);
    changed.classes[1] = "trees".into();
    let second = run(&mut session, &pair, &changed);
    let stages: Vec<_> = second.timings.iter().map(|t| t.stage.clone()).collect();
    assert_eq!(stages, [Stage::Text, Stage::Head, Stage::Labels]);

    // Another optical tile leaves the SAR features as they are.
    let mut clouded = pair.clone();
    clouded.set_rgb(scene(6, 300).rgb.clone());
    let third = run(&mut session, &clouded, &changed);
    let stages: Vec<_> = third.timings.iter().map(|t| t.stage.clone()).collect();
    assert!(
        !stages.contains(&encoder(EncoderId::DINO_SAR))
            && stages.contains(&encoder(EncoderId::DINO_OPTICAL))
    );
    let fresh = {
        session.forget();
        run(&mut session, &clouded, &changed)
    };
    assert_eq!(fresh.labels, third.labels);
}

#[test]
fn a_run_can_be_cancelled_between_windows_and_the_session_goes_on() {
    let mut session = session();
    let pair = scene(5, 400);
    let flag = session.cancel_flag();
    let mut last = 0;
    let outcome =
        pollster::block_on(
            session.segment(&pair, &request(Tiling::Auto), &mut |event| {
                if let Event::Stage {
                    stage: Stage::Windows,
                    done,
                    ..
                } = event
                {
                    last = done;
                    if done == 2 {
                        flag.cancel();
                    }
                }
            }),
        );
    assert!(matches!(outcome, Err(EngineError::Cancelled)));
    assert_eq!(last, 2);
    assert!(run(&mut session, &pair, &request(Tiling::Auto)).windows > 3);
}

#[test]
fn stages_are_explained_without_running_towers_again() {
    let mut session = session();
    let pair = scene(8, 192);
    let request = request(Tiling::Auto);
    let result = run(&mut session, &pair, &request);
    let mut towers = 0;
    let maps = pollster::block_on(session.explain(&pair, &request, &mut |event| {
        let Event::Stage { stage, .. } = event else {
            return;
        };
        towers += usize::from(![Stage::Head, Stage::Preprocess].contains(&stage));
    }))
    .unwrap();
    assert_eq!(towers, 0);
    let names: Vec<_> = maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "clip-similarity",
            "dino-similarity",
            "fused-volume",
            "windows-1",
            "layer-1",
            "windows-2",
            "layer-2",
            "decoder-1",
            "decoder-2",
            "probability"
        ]
    );
    let sides: Vec<_> = maps.iter().map(|map| map.side_px[0]).collect();
    assert_eq!(sides, [24, 24, 24, 24, 24, 24, 24, 48, 96, 96]);
    for map in &maps {
        assert_eq!(map.values.len(), 5 * map.side_px[0] * map.side_px[1]);
        let (low, high) = map
            .values
            .iter()
            .fold((f32::MAX, f32::MIN), |(low, high), &v| {
                (low.min(v), high.max(v))
            });
        assert!(low < high, "{} is flat", map.name);
    }
    let probability = &maps[9].values;
    for (p, logit) in probability.iter().zip(&result.logits) {
        assert!((p - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-5);
    }
    assert!(maps[0].values.iter().all(|v| v.abs() <= 1.0 + 1e-5));
    // The last stage before the logits must go along with them.
    let (decoded, logits) = (&maps[8].values, &result.logits);
    let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
    let (md, ml) = (mean(decoded), mean(logits));
    let product = |a: &[f32], ma: f32, b: &[f32], mb: f32| -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum()
    };
    let correlation = product(decoded, md, logits, ml)
        / (product(decoded, md, decoded, md) * product(logits, ml, logits, ml)).sqrt();
    assert!(correlation > 0.5, "{correlation}");
}

#[test]
fn a_patch_is_most_like_itself_and_words_like_themselves() {
    let mut session = session();
    let pair = scene(8, 192);
    let request = request(Tiling::Auto);
    let at = [0.51, 0.26];
    let near =
        pollster::block_on(session.similar_patches(&pair, &request, at, &mut |_| {})).unwrap();
    assert_eq!(near.grid, 24);
    assert_eq!((near.optical.len(), near.sar.len()), (576, 576));
    let here = 6 * 24 + 12;
    assert!((near.optical[here] - 1.0).abs() < 1e-5);
    assert!(near.optical.iter().all(|&v| v <= near.optical[here] + 1e-5));
    assert_ne!(near.optical, near.sar);
    for outside in [[-1.0, 2.0], [f64::NAN, 1.0]] {
        pollster::block_on(session.similar_patches(&pair, &request, outside, &mut |_| {})).unwrap();
    }

    let words = ["forest", "woodland", "water"].map(String::from);
    let table = pollster::block_on(session.vocabulary(&words, &mut |_| {})).unwrap();
    for i in 0..3 {
        assert!((table[4 * i] - 1.0).abs() < 1e-5);
        for j in 0..3 {
            assert!((table[3 * i + j] - table[3 * j + i]).abs() < 1e-6);
        }
    }
    assert!(
        table[1] > table[2],
        "a forest is nearer to woodland than to water: {table:?}"
    );
    assert!(pollster::block_on(session.vocabulary(&[], &mut |_| {})).is_err());
}

/// Stages of a run in order, or those of a run that is cancelled as soon as `until` is done.
fn stages(
    session: &mut Session,
    pair: &HashedPair,
    request: &SegmentRequest,
    until: Option<&Stage>,
) -> Option<Vec<Stage>> {
    let flag = session.cancel_flag();
    let outcome = pollster::block_on(session.segment(pair, request, &mut |event| {
        if let Event::Stage { stage, done, total } = event
            && Some(&stage) == until
            && done == total
        {
            flag.cancel();
        }
    }));
    match outcome {
        Ok(found) => Some(found.timings.iter().map(|t| t.stage.clone()).collect()),
        Err(EngineError::Cancelled) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A cancelled run took the features out of their place and did not put them back.
#[test]
fn a_run_cancelled_at_any_stage_leaves_what_its_stages_have_finished() {
    let request = request(Tiling::Whole);
    let clear = scene(8, 192);
    let all = [
        Stage::Preprocess,
        Stage::Text,
        encoder(EncoderId::CLIP),
        encoder(EncoderId::DINO_OPTICAL),
        encoder(EncoderId::DINO_SAR),
        Stage::Head,
        Stage::Labels,
    ];
    let mut session = session();
    let expected = run(&mut session, &clear, &request);
    for cancelled_at in 0..5 {
        session.forget();
        let cancelled = stages(&mut session, &clear, &request, Some(&all[cancelled_at]));
        assert_eq!(cancelled, None, "cancelled after {:?}", all[cancelled_at]);
        let again = stages(&mut session, &clear, &request, None).unwrap();
        // Pixels are not kept, only their hash: an encoder that runs has them prepared again.
        let again: Vec<_> = again
            .into_iter()
            .filter(|stage| *stage != Stage::Preprocess)
            .collect();
        assert_eq!(again, all[(cancelled_at + 1).max(1)..]);
    }
    assert_eq!(run(&mut session, &clear, &request).labels, expected.labels);
}

/// Dragging the page's cloud cancels one run after the other.
#[test]
fn a_changed_cloud_never_runs_the_sar_encoder_however_its_runs_are_cancelled() {
    let mut session = session();
    for (side, tiling) in [(192, Tiling::Whole), (300, Tiling::Auto)] {
        let request = request(tiling);
        let mut pair = scene(8, side);
        let first = stages(&mut session, &pair, &request, None).unwrap();
        assert!(first.contains(&encoder(EncoderId::DINO_SAR)));
        let mut clouds = 100..;
        let mut changed = |pair: &mut HashedPair| {
            let cloud = mmovseg_scene::generate(clouds.next().unwrap(), side).rgb;
            pair.set_rgb(cloud);
        };
        for until in [
            Stage::Preprocess,
            encoder(EncoderId::CLIP),
            encoder(EncoderId::DINO_OPTICAL),
        ] {
            changed(&mut pair);
            let whole = tiling == Tiling::Whole;
            let cancelled = stages(&mut session, &pair, &request, Some(&until));
            // Windows tell of themselves alone; there only the first stage can be waited for.
            assert_eq!(cancelled.is_none(), whole || until == Stage::Preprocess);
            let again = stages(&mut session, &pair, &request, None).unwrap();
            assert!(!again.contains(&encoder(EncoderId::DINO_SAR)), "{again:?}");
            assert!(!again.contains(&Stage::Text), "{again:?}");
        }
        changed(&mut pair);
        let clouded = run(&mut session, &pair, &request);
        session.forget();
        assert_eq!(run(&mut session, &pair, &request).labels, clouded.labels);
    }
}

#[test]
fn sensors_of_one_pair_share_their_encoders() {
    let mut session = session();
    let pair = scene(9, 192);
    let mut ran = |modality| {
        let request = SegmentRequest {
            modality,
            ..request(Tiling::Whole)
        };
        stages(&mut session, &pair, &request, None).unwrap()
    };
    assert!(ran(Modality::Fused).contains(&encoder(EncoderId::CLIP)));
    assert_eq!(ran(Modality::Optical), [Stage::Head, Stage::Labels]);
    let sar = ran(Modality::Sar);
    assert_eq!(
        sar,
        [encoder(EncoderId::CLIP), Stage::Head, Stage::Labels],
        "blank CLIP"
    );
    assert_eq!(ran(Modality::Sar), [Stage::Head, Stage::Labels]);
    assert_eq!(ran(Modality::Fused), [Stage::Head, Stage::Labels]);
}

/// A part of a scene was cut into windows at other places than the scene, and a tenth of its labels
/// turned.
#[test]
fn a_shifted_part_of_a_placed_scene_had_other_labels() {
    let mut session = session();
    let whole = scene(11, 560);
    let (shift, inner) = ([48, 38], 500);
    let place = |at: [usize; 2]| {
        mmovseg_raster::GeoRef {
            transform: [10.0, 0.0, 399_960.0, 0.0, -10.0, 5_000_040.0],
            epsg: Some(32_633),
            keys: mmovseg_raster::GeoKeys::default(),
            control_points: Vec::new(),
        }
        .shifted(at[0] as f64, at[1] as f64)
    };
    let placed = |rgb, sar, at| {
        let mut pair = TilePair::new(rgb, sar);
        pair.georef = Some(place(at));
        HashedPair::new(pair)
    };
    let cut = |tile: &Rgb8| tile.crop(shift, [inner; 2]);
    let part = placed(cut(&whole.rgb), cut(&whole.sar), shift);
    let whole = placed(whole.rgb.clone(), whole.sar.clone(), [0, 0]);
    let a = run(&mut session, &whole, &request(Tiling::Auto));
    let b = run(&mut session, &part, &request(Tiling::Auto));
    // Away from the part's borders: their windows are not those of the scene.
    let border = 192;
    let pixels =
        (border..inner - border).flat_map(|y| (border..inner - border).map(move |x| (x, y)));
    let agreement = agreement(pixels.map(|(x, y)| {
        let at = (y + shift[1]) * 560 + x + shift[0];
        (a.labels[at], b.labels[y * inner + x])
    }));
    println!("shifted part: {agreement}");
    assert!(agreement >= 0.98, "{agreement}");
}

/// A SAR tile that covers half of a complete optical tile: the half without it was shown to the
/// network as black, which it took for water.
#[test]
fn ground_without_sar_under_a_complete_optical_tile_became_water() {
    let side = 192;
    let missing = |i: usize| i % side >= side / 2;
    let mut inside = Vec::new();
    let mut session = session();
    for seed in [3, 5] {
        let full = scene(seed, side);
        let mut part = TilePair::new(full.rgb.clone(), full.sar.clone());
        for (i, pixel) in part.sar.data.chunks_exact_mut(3).enumerate() {
            if missing(i) {
                pixel.fill(0);
            }
        }
        part.sar_valid = Some((0..side * side).map(|i| !missing(i)).collect());
        let part = HashedPair::new(part);
        let mut labels = |pair: &HashedPair, modality| {
            let request = SegmentRequest {
                modality,
                ..request(Tiling::Whole)
            };
            run(&mut session, pair, &request).labels
        };
        let found = labels(&part, Modality::Fused);
        let alone = labels(&full, Modality::Optical);
        // A cell at the edge of the SAR tile may hold pixels of both.
        let pixels = (0..side * side).filter(|i| i % side >= side / 2 + 4);
        inside.push(agreement(pixels.map(|i| (found[i], alone[i]))));
    }
    println!("without SAR as by the optical tile alone: {inside:?}");
    assert!(inside.iter().all(|&same| same >= 0.98), "{inside:?}");
}
