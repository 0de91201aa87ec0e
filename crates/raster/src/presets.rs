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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Name in commands and addresses.
    pub id: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The classes, in the order of the labels.
    pub classes: &'static [PresetClass],
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

/// Every list, plain ones first.
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
    },
    Preset {
        id: "short",
        title: "Short",
        about: "Water, vegetation, buildings",
        classes: &[plain("water"), plain("vegetation"), plain("built-up area")],
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
    },
];

impl Preset {
    /// What the model is asked for, in order.
    #[must_use]
    pub fn prompts(&self) -> Vec<String> {
        self.classes.iter().map(|c| c.prompt.to_owned()).collect()
    }

    /// The list called `id`.
    #[must_use]
    pub fn by_id(id: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.id == id)
    }

    /// The list whose prompts are exactly `classes`, in that order.
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
    use super::{PRESETS, Preset};
    use crate::class_colours;

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
