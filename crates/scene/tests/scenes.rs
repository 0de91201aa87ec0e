//! What every generated scene must keep: its labels and the physics of its classes. That its bytes
//! are the same everywhere is tested beside the golden cases, in the browser too.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_scene::{CLASSES, CloudKind, IGNORE, cloud_for, generate, generate_world};

#[test]
fn every_size_fills_its_tiles() {
    for (i, size) in [0, 1, 2, 16, 17, 31, 64, 100, 192, 333, 512]
        .into_iter()
        .enumerate()
    {
        for seed in 0..4 {
            let scene = generate(seed * 977 + i as u64, size);
            let side = size.max(1);
            assert_eq!(scene.size_px, side);
            assert_eq!(scene.rgb.data.len(), side * side * 3);
            assert_eq!(scene.sar.data.len(), side * side * 3);
            assert_eq!(
                (scene.label.len(), scene.sar_db.len()),
                (side * side, side * side)
            );
            assert!(scene.label.iter().all(|&l| usize::from(l) < CLASSES.len()));
            assert!(
                scene
                    .sar_db
                    .iter()
                    .all(|db| db.is_finite() && (-50.0..20.0).contains(db))
            );
        }
    }
}

#[test]
fn classes_are_frequent_and_ordered_in_radar() {
    let mut count = [0_u64; 7];
    let mut sum_db = [0.0_f64; 7];
    for seed in 0..200 {
        let scene = generate(seed, 128);
        for (&label, &db) in scene.label.iter().zip(&scene.sar_db) {
            count[usize::from(label)] += 1;
            sum_db[usize::from(label)] += f64::from(db);
        }
    }
    let total: u64 = count.iter().sum();
    for (class, &n) in CLASSES.iter().zip(&count) {
        let share = n as f64 / total as f64;
        let least = if class.name == "road" { 0.015 } else { 0.04 };
        assert!(share >= least, "{}: {share}", class.name);
    }
    let mean = |i: usize| sum_db[i] / count[i] as f64;
    for (i, class) in CLASSES.iter().enumerate() {
        println!(
            "{:10} {:5.2} % {:6.2} dB",
            class.name,
            count[i] as f64 * 100.0 / total as f64,
            mean(i)
        );
    }
    // water < road < farmland < forest < city
    for pair in [0, 3, 4, 1, 2].windows(2) {
        let [a, b] = [pair[0], pair[1]];
        assert!(
            mean(a) + 0.5 < mean(b),
            "{} {} dB, {} {} dB",
            CLASSES[a].name,
            mean(a),
            CLASSES[b].name,
            mean(b)
        );
    }
}

#[test]
fn clouds_keep_their_kind() {
    for seed in 0..200 {
        assert!(cloud_for(seed, CloudKind::None).is_none());
        let thin = cloud_for(seed, CloudKind::Thin).unwrap();
        assert!((0.35..=0.6).contains(&thin.opacity) && (0.5..=0.9).contains(&thin.cover));
        let thick = cloud_for(seed, CloudKind::Thick).unwrap();
        assert!((0.95..=1.0).contains(&thick.opacity) && (0.75..=0.98).contains(&thick.cover));
        assert_eq!(cloud_for(seed, CloudKind::Thick), Some(thick));
    }
    assert_ne!(
        cloud_for(1, CloudKind::Thin).unwrap().seed,
        cloud_for(2, CloudKind::Thin).unwrap().seed
    );
}

#[test]
fn world_scenes_fill_their_tiles_with_known_labels() {
    for (i, size) in [0, 1, 2, 16, 31, 64, 100].into_iter().enumerate() {
        for seed in 0..24 {
            let scene = generate_world(seed * 131 + i as u64, size);
            let side = size.max(1);
            assert_eq!(scene.rgb.data.len(), side * side * 3);
            assert_eq!(scene.sar.data.len(), side * side * 3);
            assert_eq!(
                (scene.label.len(), scene.sar_db.len()),
                (side * side, side * side)
            );
            for &label in &scene.label {
                assert!(usize::from(label) < CLASSES.len() || label == IGNORE);
            }
            for db in &scene.sar_db {
                assert!((-50.0..30.0).contains(db), "{db} dB");
            }
        }
    }
}

#[test]
fn world_scenes_repeat_and_hold_every_class() {
    assert_eq!(generate_world(5, 64), generate_world(5, 64));
    assert_ne!(generate_world(5, 64).rgb, generate(5, 64).rgb);
    let mut count = [0_u64; 256];
    for seed in 0..150 {
        for label in generate_world(seed, 96).label {
            count[usize::from(label)] += 1;
        }
    }
    let total: u64 = count.iter().sum();
    for (i, class) in CLASSES.iter().enumerate() {
        let share = count[i] as f64 / total as f64;
        let least = if class.name == "road" { 0.005 } else { 0.03 };
        assert!(share >= least, "{}: {share}", class.name);
    }
    let ignored = count[usize::from(IGNORE)] as f64 / total as f64;
    assert!(ignored < 0.2, "{ignored} of the ground has no label");
}
