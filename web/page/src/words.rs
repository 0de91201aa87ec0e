//! Words and numbers for people: presets, names of stages, bytes, shares.

use mmovseg_protocol::{Modality, Progress, Segmented, Step, Tier};
use mmovseg_raster::{Preset, split_class_names};

use crate::state::Overlay;

/// A class as people read it: a benchmark's spelling for the model beside its plain name, and
/// whether the benchmark's training left it out.
pub fn class_notes(classes: &[String], index: usize) -> Vec<&'static str> {
    let Some(class) = Preset::of(classes).and_then(|preset| preset.classes.get(index)) else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    if class.name != class.prompt {
        notes.push(class.name);
    }
    if class.seen == Some(false) {
        notes.push("unseen");
    }
    notes
}

/// A sentence on class names of which the model's vocabulary does not know every word, if there are
/// any. Takes names with their unknown words.
pub fn unknown<'a>(classes: impl Iterator<Item = (&'a str, &'a [String])>) -> Option<String> {
    let named: Vec<String> = classes
        .filter(|(_, words)| !words.is_empty())
        .map(|(name, words)| match words {
            [word] if word == name => format!("“{name}”"),
            _ => format!("“{}” in “{name}”", words.join("”, “")),
        })
        .collect();
    (!named.is_empty()).then(|| {
        format!(
            "The model's vocabulary does not have {}: labels by such a word are chance.",
            named.join("; ")
        )
    })
}

/// Sensors: value in the page's controls, name, choice.
pub const MODALITIES: &[(&str, &str, Modality)] = &[
    ("fused", "Fused", Modality::Fused),
    ("optical", "Optical only", Modality::Optical),
    ("sar", "SAR only", Modality::Sar),
];

/// Clouds to start from: value in the page's controls, name, opacity, cover.
pub const CLOUDS: &[(&str, &str, f32, f32)] = &[
    ("none", "None", 0.0, 0.7),
    ("thin", "Thin", 0.5, 0.7),
    ("thick", "Thick", 1.0, 0.9),
];

/// A colour in CSS.
pub fn css_colour([r, g, b]: [u8; 3]) -> String {
    format!("rgb({r} {g} {b})")
}

/// A tier's name.
pub fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Gpu => "WebGPU",
        Tier::SoftwareGpu => "WebGPU, software",
        Tier::Cpu => "CPU",
    }
}

/// What the third picture shows: its name.
pub fn overlay(overlay: Overlay) -> &'static str {
    OVERLAYS
        .iter()
        .find(|(.., o)| *o == overlay)
        .map_or("", |(_, name, _)| name)
}

/// What the third picture may show: value in the page's controls, name, choice.
pub const OVERLAYS: &[(&str, &str, Overlay)] = &[
    ("classes", "Classes", Overlay::Classes),
    ("entropy", "Entropy", Overlay::Entropy),
    ("margin", "Margin", Overlay::Margin),
    ("sensors", "Sensors disagree", Overlay::Sensors),
];

/// A modality's name.
pub fn modality(wanted: Modality) -> &'static str {
    MODALITIES
        .iter()
        .find(|(.., m)| *m == wanted)
        .map_or("", |(_, name, _)| name)
}

/// The engine's name of a stage in plain words; an unknown one stays as it is.
pub fn stage(name: &str) -> &str {
    match name {
        "preprocess" => "Preparing the tiles",
        "text" => "Encoding the class names",
        "clip" => "Encoding the optical tile (CLIP)",
        "dino-optical" => "Encoding the optical tile (DINO)",
        "dino-sar" => "Encoding the SAR tile (DINO)",
        "head" => "Matching class names and pixels",
        "labels" => "Drawing the mask",
        "windows" => "Segmenting the scene window by window",
        "compare" => "Comparing the sensors",
        other => other,
    }
}

/// What a stage's map shows: its name and a sentence.
pub fn stage_map(name: &str) -> (String, String) {
    let numbered = |prefix: &str| name.strip_prefix(prefix).filter(|n| !n.is_empty());
    let (title, sentence) = match name {
        "clip-similarity" => (
            "CLIP and words",
            "Cosine of the class name's embedding with CLIP's feature of each patch of the optical tile.",
        ),
        "dino-similarity" => (
            "DINO and words",
            "The same cosine with DINO's features of the chosen sensors, which show texture and edges in more detail.",
        ),
        "fused-volume" => (
            "Fused cost volume",
            "Both cosine maps joined by 7 × 7 convolutions into one cost volume per class; the mean over its channels is shown.",
        ),
        "probability" => (
            "Probability",
            "Probability of the class at each place; a pixel gets the class with the highest.",
        ),
        _ => match (numbered("layer-"), numbered("decoder-")) {
            _ if numbered("windows-").is_some() => {
                return (
                    format!("Windows {}", numbered("windows-").unwrap_or_default()),
                    "Attention within windows of neighbouring patches, each class by itself."
                        .into(),
                );
            }
            (Some(n), _) => {
                return (
                    format!("Aggregator layer {n}"),
                    "Attention across the classes of each patch, after that within windows.".into(),
                );
            }
            (_, Some(n)) => {
                return (
                    format!("Decoder stage {n}"),
                    "Doubles the resolution with the towers' finer features as guidance, which sharpens edges.".into(),
                );
            }
            _ => (name, "A stage of the model's head."),
        },
    };
    (title.into(), sentence.into())
}

/// A finished run as a sentence: how long it took, and what did not have to run again.
pub fn finished(report: &Segmented) -> String {
    let ms = report.timings.iter().map(|timing| timing.ms).sum::<f64>();
    let ran = |names: &[&str]| {
        let mut timings = report.timings.iter();
        timings.any(|timing| names.contains(&timing.stage.name()))
    };
    let saved = if ran(&["clip", "dino-optical", "dino-sar"]) {
        ""
    } else if ran(&["text"]) {
        " Only the new class names and the head ran; the tiles were encoded before."
    } else {
        " Only the head ran; tiles and class names were encoded before."
    };
    let largest = report
        .classes
        .iter()
        .max_by(|a, b| a.share.total_cmp(&b.share))
        .map_or(String::new(), |class| {
            format!(" Largest class: {}, {}.", class.name, percent(class.share))
        });
    format!("Done in {}.{saved}{largest}", milliseconds(ms))
}

/// Progress as a sentence, and as a part of 1 where a total is known. What is left is told of
/// counted work alone, `elapsed_ms` after its first part began.
pub fn progress(progress: &Progress, elapsed_ms: f64) -> (String, Option<f64>) {
    let Progress { step, done, total } = progress;
    let part = (*total > 0).then(|| (*done as f64 / *total as f64).min(1.0));
    let counted = |what: &str| {
        if *total > 1 {
            let left = left(*done, *total, elapsed_ms);
            format!("{what}: {done} of {total}{left}")
        } else {
            format!("{what}…")
        }
    };
    match step {
        Step::Device => (counted("Opening the device"), part),
        Step::Download if *total == 0 => (format!("Loading the model: {}", bytes(*done)), None),
        Step::Download => (
            format!("Loading the model: {} of {}", bytes(*done), bytes(*total)),
            part,
        ),
        // Kernels are compiled on their first use: nobody knows how many there will be.
        Step::SelfTest => (
            "Compiling and testing the model on this device…".into(),
            None,
        ),
        Step::Pair => (counted("Segmenting the pairs"), part),
        Step::Stage(name) => (counted(stage(name)), part),
    }
}

/// How long counted work still takes if it goes on as it did, once that can be judged.
fn left(done: u64, total: u64, elapsed_ms: f64) -> String {
    if done < 3 || done >= total || elapsed_ms < 1000.0 {
        return String::new();
    }
    let left_s = (total - done) as f64 * elapsed_ms / done as f64 / 1000.0;
    if left_s < 1.0 {
        return String::new();
    }
    let about = seconds(left_s);
    format!(", about {about} left")
}

/// A size in decimal units, as download dialogs show it.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.0} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// A number of seconds, roughly.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// A part of 1 in percent.
pub fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A duration.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ..1000.0 => format!("{ms:.0} ms"),
        ..120_000.0 => format!("{:.2} s", ms / 1000.0),
        _ => format!("{:.1} min", ms / 60_000.0),
    }
}

/// Class names from what was typed: split as everywhere, trimmed, without empty ones and without
/// those in `present` (letter case aside).
pub fn new_classes(typed: &str, present: &[String]) -> Vec<String> {
    let mut added: Vec<String> = Vec::new();
    for name in split_class_names(typed)
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let same = |other: &String| other.to_lowercase() == name.to_lowercase();
        if !present.iter().any(same) && !added.iter().any(same) {
            added.push(name.to_owned());
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use mmovseg_protocol::{ClassResult, StageTiming};

    use super::*;

    #[test]
    fn unknown_words_are_named_with_their_class() {
        let none: &[String] = &[];
        let some = ["qzx".to_owned()];
        assert_eq!(unknown([("water", none)].into_iter()), None);
        let text = unknown([("water", none), ("qzx", &some), ("qzx field", &some)].into_iter());
        let text = text.unwrap_or_default();
        assert!(text.contains("“qzx”; “qzx” in “qzx field”"), "{text}");
    }

    #[test]
    fn a_finished_run_says_what_did_not_run_again() {
        let report = |stages: &[&str]| Segmented {
            id: 1,
            width_px: 1,
            height_px: 1,
            grid_px: [1, 1],
            temperature: None,
            resampled: None,
            classes: vec![ClassResult {
                name: "water".into(),
                share: 0.25,
                iou: None,
                unknown_words: Vec::new(),
            }],
            timings: stages
                .iter()
                .map(|&stage| StageTiming {
                    stage: String::from(stage).into(),
                    ms: 600.0,
                })
                .collect(),
            modality: Modality::Fused,
            windows: 1,
        };
        let full = finished(&report(&["clip", "dino-sar", "text", "head"]));
        assert_eq!(full, "Done in 2.40 s. Largest class: water, 25.0 %.");
        assert!(finished(&report(&["text", "head"])).contains("Only the new class names"));
        assert!(finished(&report(&["head"])).contains("Only the head ran"));
    }

    #[test]
    fn benchmark_classes_are_told_in_plain_words_and_only_within_their_list() {
        let pie = Preset::by_id("pie")
            .map(Preset::prompts)
            .unwrap_or_default();
        assert_eq!(class_notes(&pie, 0), ["background"]);
        assert_eq!(class_notes(&pie, 3), ["unseen"]);
        assert!(class_notes(&pie, 4).is_empty());
        assert!(class_notes(&pie[..2], 0).is_empty());
    }

    #[test]
    fn typed_lists_are_split_trimmed_and_freed_of_doubles() {
        let present = ["Water".to_owned()];
        assert_eq!(
            new_classes(" water, forest ,, Forest; rice field", &present),
            ["forest", "rice field"]
        );
        assert!(new_classes(" , ", &present).is_empty());
    }

    #[test]
    fn progress_is_told_in_counts_and_never_past_the_end() {
        let step = Step::Download;
        let half = Progress {
            step: step.clone(),
            done: 1_500_000,
            total: 3_000_000,
        };
        let (text, part) = progress(&half, 5000.0);
        assert_eq!(text, "Loading the model: 1.5 MB of 3.0 MB");
        assert_eq!(part, Some(0.5));
        assert_eq!(
            progress(
                &Progress {
                    step,
                    done: 9,
                    total: 3
                },
                5000.0
            )
            .1,
            Some(1.0)
        );
        let stage = Step::Stage("clip".into());
        let second = Progress {
            step: stage,
            done: 2,
            total: 9,
        };
        let (text, _) = progress(&second, 100.0);
        assert_eq!(text, "Encoding the optical tile (CLIP): 2 of 9");
    }

    #[test]
    fn what_is_left_is_told_in_fitting_units_and_not_before_it_can_be_judged() {
        assert_eq!(left(2, 7225, 2000.0), "");
        assert_eq!(left(9, 9, 9000.0), "");
        assert_eq!(left(4, 16, 3000.0), ", about 9 s left");
        assert_eq!(left(100, 1000, 70_000.0), ", about 10 min left");
        assert_eq!(left(100, 7225, 70_000.0), ", about 83 min left");
        assert_eq!(left(100, 9000, 70_000.0), ", about 1.7 h left");
    }

    #[test]
    fn durations_change_units() {
        assert_eq!(
            [904.2, 1065.0, 6_077_360.0].map(milliseconds),
            ["904 ms", "1.06 s", "101.3 min"]
        );
    }

    #[test]
    fn sizes_change_units() {
        assert_eq!(
            [bytes(999), bytes(12_400), bytes(11_960_000)],
            ["999 B", "12 kB", "12.0 MB"]
        );
    }
}
