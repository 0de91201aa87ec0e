//! Class lists to start from: plain land cover, and the benchmarks that MM-OVSeg was published on
//! (docs/network.md §12.1), with the spelling it was trained on, the colours of their data sets,
//! and which classes training saw.

/// One class of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresetClass {
    /// What the model is asked for, letter by letter: correcting it changes the embedding.
    pub prompt: &'static str,
    /// The same for people.
    pub name: &'static str,
    /// The benchmark's colour, sRGB.
    pub colour: Option<[u8; 3]>,
    /// Whether the benchmark's training set labels it.
    pub seen: Option<bool>,
}

/// A list of classes under a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Name in commands and addresses.
    pub id: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The classes, in the order of the labels.
    pub classes: &'static [PresetClass],
    /// How they are decided, in lists for networks that compare pixels with words.
    pub rule: Option<PresetRule>,
}

/// How a network that compares pixels with words decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PresetRule {
    /// Pixels whose most probable class has less than this become background.
    pub threshold: f32,
    /// Position of the class that they become.
    pub background: usize,
    /// How much of a window's own cosine with a word is added to its pixels'; `None` as the model
    /// has it.
    pub window_weight: Option<f32>,
}

const fn plain(word: &'static str) -> PresetClass {
    PresetClass {
        prompt: word,
        name: word,
        colour: None,
        seen: None,
    }
}

const fn class(
    prompt: &'static str,
    name: &'static str,
    colour: [u8; 3],
    seen: bool,
) -> PresetClass {
    PresetClass {
        prompt,
        name,
        colour: Some(colour),
        seen: Some(seen),
    }
}

/// The class of each list of words; synonyms are separated by commas.
const fn words<const N: usize>(words: [&'static str; N]) -> [PresetClass; N] {
    let mut classes = [plain(""); N];
    let mut i = 0;
    while i < N {
        classes[i] = plain(words[i]);
        i += 1;
    }
    classes
}

const fn rule(threshold: f32, background: usize) -> Option<PresetRule> {
    Some(PresetRule {
        threshold,
        background,
        window_weight: None,
    })
}

/// Every list of the page, plain ones first.
pub const PRESETS: &[Preset] = &[
    Preset {
        id: "land-cover",
        title: "Land cover",
        about: "Seven kinds of land cover in plain words",
        classes: &[
            plain("water"),
            plain("forest"),
            plain("city"),
            plain("road"),
            plain("farmland"),
            plain("grassland"),
            plain("bare land"),
        ],
        rule: None,
    },
    Preset {
        id: "short",
        title: "Short",
        about: "Water, vegetation, buildings",
        classes: &[plain("water"), plain("vegetation"), plain("built-up area")],
        rule: None,
    },
    Preset {
        id: "pie",
        title: "PIE-RGB-SAR",
        about: "The benchmark PIE-RGB-SAR, clean and clouded",
        classes: &[
            class("backbroad", "background", [128, 128, 128], true),
            class("city", "city", [235, 51, 36], true),
            class("road", "road", [255, 253, 85], false),
            class("water", "water", [66, 236, 245], false),
            class("forest", "forest", [56, 168, 0], true),
            class("farmland", "farmland", [168, 112, 0], true),
        ],
        rule: None,
    },
    Preset {
        id: "oem",
        title: "OpenEarthMap",
        about: "The benchmarks OEM-thin and OEM-thick",
        classes: &[
            class("bareland", "bare land", [128, 0, 0], true),
            class("rangeland", "rangeland", [0, 255, 36], true),
            class("developedspace", "developed space", [148, 148, 148], true),
            class("road", "road", [255, 255, 255], false),
            class("tree", "tree", [34, 97, 38], true),
            class("water", "water", [0, 69, 255], false),
            class("agricultureland", "agricultural land", [75, 181, 73], true),
            class("building", "building", [222, 31, 7], false),
        ],
        rule: None,
    },
    Preset {
        id: "ddsk",
        title: "DDHR-SK",
        about: "The benchmark DDHR-SK",
        classes: &[
            class("city", "city", [255, 0, 0], true),
            class("road", "road", [0, 0, 255], false),
            class("forest", "forest", [255, 255, 0], true),
            class("water", "water", [255, 0, 255], false),
            class("farmland", "farmland", [0, 255, 0], true),
        ],
        rule: None,
    },
    Preset {
        id: "ddch",
        title: "DDHR-CH",
        about: "The benchmark DDHR-CH, for models trained on DDHR-SK",
        classes: &[
            class("city", "city", [255, 0, 0], true),
            class("road", "road", [0, 0, 255], false),
            class("farmland", "farmland", [0, 255, 0], true),
            class("forest", "forest", [255, 255, 0], true),
            class("water", "water", [255, 0, 255], false),
        ],
        rule: None,
    },
];

/// Lists for networks that compare pixels with words, as their authors evaluate them
/// (docs/network.md §16).
pub const WORD_PRESETS: &[Preset] = &[
    Preset {
        id: "segearth-oem",
        title: "OpenEarthMap",
        about: "SegEarth-OV's words and threshold for OpenEarthMap",
        classes: &words([
            "background",
            "bareland,barren",
            "grass",
            "pavement",
            "road",
            "tree,forest",
            "water,river",
            "cropland",
            "building,roof,house",
        ]),
        rule: rule(0.1, 0),
    },
    Preset {
        id: "segearth-loveda",
        title: "LoveDA",
        about: "SegEarth-OV's words and threshold for LoveDA",
        classes: &words([
            "background",
            "building,roof,house",
            "road",
            "water",
            "barren",
            "forest",
            "agricultural",
        ]),
        rule: rule(0.3, 0),
    },
    Preset {
        id: "segearth-potsdam",
        title: "Potsdam",
        about: "SegEarth-OV's words and threshold for Potsdam",
        classes: &words([
            "road,parking lot",
            "building",
            "low vegetation",
            "tree",
            "car",
            "clutter,background",
        ]),
        rule: rule(0.1, 5),
    },
    Preset {
        id: "segearth-vaihingen",
        title: "Vaihingen",
        about: "SegEarth-OV's words and threshold for Vaihingen",
        classes: &words([
            "impervious surface",
            "building",
            "low vegetation",
            "tree",
            "car",
            "clutter",
        ]),
        rule: rule(0.1, 5),
    },
    Preset {
        id: "segearth-isaid",
        title: "iSAID",
        about: "SegEarth-OV's words and threshold for iSAID",
        classes: &words([
            "background",
            "ship",
            "store tank",
            "baseball diamond",
            "tennis court",
            "basketball court",
            "ground track field",
            "bridge",
            "large vehicle",
            "small vehicle",
            "helicopter",
            "swimming pool",
            "roundabout",
            "soccer ball field",
            "plane",
            "harbor",
        ]),
        rule: rule(0.4, 0),
    },
    Preset {
        id: "segearth-uavid",
        title: "UAVid",
        about: "SegEarth-OV's words and threshold for UAVid",
        classes: &words([
            "background",
            "building",
            "road",
            "car",
            "tree",
            "vegetation",
            "human",
        ]),
        rule: rule(0.3, 0),
    },
    Preset {
        id: "segearth-udd5",
        title: "UDD5",
        about: "SegEarth-OV's words and threshold for UDD5",
        classes: &words(["vegetation", "building", "road", "vehicle", "background"]),
        rule: rule(0.4, 4),
    },
    Preset {
        id: "segearth-vdd",
        title: "VDD",
        about: "SegEarth-OV's words and threshold for VDD",
        classes: &words([
            "background",
            "facade",
            "road",
            "vegetation",
            "vehicle",
            "roof",
            "water",
        ]),
        rule: rule(0.3, 0),
    },
    Preset {
        id: "segearth-whu-aerial",
        title: "WHU aerial",
        about: "SegEarth-OV's words and threshold for WHU's aerial buildings",
        classes: &words(["background", "building"]),
        rule: rule(0.6, 0),
    },
    Preset {
        id: "segearth-whu-satellite",
        title: "WHU satellite",
        about: "SegEarth-OV's words and threshold for WHU's satellite buildings",
        classes: &words(["background", "building"]),
        rule: rule(0.7, 0),
    },
    Preset {
        id: "segearth-inria",
        title: "Inria",
        about: "SegEarth-OV's words and threshold for Inria's buildings",
        classes: &words(["background", "building"]),
        rule: rule(0.6, 0),
    },
    Preset {
        id: "segearth-xbd",
        title: "xBD",
        about: "SegEarth-OV's words for xBD's buildings, without the bias of windows taken off",
        classes: &words(["background", "building"]),
        rule: Some(PresetRule {
            threshold: 0.0,
            background: 0,
            window_weight: Some(0.0),
        }),
    },
    Preset {
        id: "segearth-chn6-cug",
        title: "CHN6-CUG",
        about: "SegEarth-OV's words and threshold for CHN6-CUG's roads",
        classes: &words(["background", "road"]),
        rule: rule(0.8, 0),
    },
    Preset {
        id: "segearth-road",
        title: "Roads",
        about: "SegEarth-OV's words and threshold for the roads of DeepGlobe, Massachusetts and SpaceNet",
        classes: &words(["background", "road"]),
        rule: rule(0.7, 0),
    },
    Preset {
        id: "segearth-wbs-si",
        title: "WBS-SI",
        about: "SegEarth-OV's words and threshold for WBS-SI's water",
        classes: &words(["background", "water"]),
        rule: rule(0.6, 0),
    },
    Preset {
        id: "alignearth-pie",
        title: "PIE-SAR",
        about: "AlignEarth's words for the SAR tiles of PIE-RGB-SAR",
        classes: &words([
            "background",
            "city",
            "road",
            "water,river",
            "forest",
            "cropland",
        ]),
        rule: rule(0.0, 0),
    },
    Preset {
        id: "alignearth-ddhr",
        title: "DDHR",
        about: "AlignEarth's words for the SAR tiles of DDHR-Korea",
        classes: &words(["building", "road", "greenery", "water", "farmland,grass"]),
        rule: rule(0.0, 0),
    },
];

impl Preset {
    /// What the model is asked for, in order.
    #[must_use]
    pub fn prompts(&self) -> Vec<String> {
        self.classes.iter().map(|c| c.prompt.to_owned()).collect()
    }

    /// Every list.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        PRESETS.iter().chain(WORD_PRESETS)
    }

    /// The list called `id`.
    #[must_use]
    pub fn by_id(id: &str) -> Option<&'static Self> {
        Self::all().find(|preset| preset.id == id)
    }

    /// The list of the page whose prompts are exactly `classes`, in that order.
    #[must_use]
    pub fn of(classes: &[impl AsRef<str>]) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| {
            let wanted = preset.classes.iter().map(|c| c.prompt);
            wanted.eq(classes.iter().map(AsRef::as_ref))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{PRESETS, Preset, WORD_PRESETS};
    use crate::class_colours;

    #[test]
    fn lists_of_words_are_found_and_their_background_is_one_of_them() {
        let names: std::collections::BTreeSet<_> = Preset::all().map(|preset| preset.id).collect();
        assert_eq!(names.len(), PRESETS.len() + WORD_PRESETS.len());
        for preset in WORD_PRESETS {
            assert_eq!(Preset::by_id(preset.id), Some(preset));
            let rule = preset
                .rule
                .unwrap_or_else(|| panic!("{} has a rule", preset.id));
            assert!(rule.background < preset.classes.len(), "{}", preset.id);
            assert!((0.0..1.0).contains(&rule.threshold), "{}", preset.id);
        }
        assert!(PRESETS.iter().all(|preset| preset.rule.is_none()));
    }

    #[test]
    fn every_list_is_found_by_its_prompts_and_has_distinct_colours() {
        for preset in PRESETS {
            assert_eq!(Preset::of(&preset.prompts()), Some(preset));
            assert_eq!(Preset::by_id(preset.id), Some(preset));
            let colours = class_colours(&preset.prompts(), &[]);
            let distinct: std::collections::BTreeSet<_> = colours.iter().collect();
            assert_eq!(distinct.len(), preset.classes.len(), "{}", preset.id);
            // A benchmark says of every class whether it was seen; a plain list of none.
            let told = preset.classes.iter().filter(|c| c.seen.is_some()).count();
            assert!(told == 0 || told == preset.classes.len(), "{}", preset.id);
        }
    }

    #[test]
    fn another_order_is_another_list() {
        let [mut sk, ch] =
            ["ddsk", "ddch"].map(|id| Preset::by_id(id).map(Preset::prompts).unwrap_or_default());
        assert_ne!(sk, ch);
        assert_eq!(class_colours(&ch, &[])[2], [0, 255, 0]);
        sk.push("airport".into());
        assert_eq!(Preset::of(&sk), None);
    }
}
