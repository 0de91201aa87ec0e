//! Colours of class lists: the one place that decides which colour a class is drawn in, for the
//! command line, the page and every exported file.

use crate::presets::Preset;

/// The colour-blind safe palette of Okabe and Ito ("Color Universal Design", 2008) without black,
/// followed by Paul Tol's "muted" scheme: distinct under deuteranopia and protanopia. Ordered so
/// that the first classes of a land-cover list differ most.
const COLOURS: [[u8; 3]; 16] = [
    [0, 114, 178],
    [0, 158, 115],
    [213, 94, 0],
    [240, 228, 66],
    [204, 121, 167],
    [86, 180, 233],
    [230, 159, 0],
    [136, 34, 85],
    [221, 221, 221],
    [51, 34, 136],
    [153, 153, 51],
    [136, 204, 238],
    [17, 119, 51],
    [204, 102, 119],
    [68, 170, 153],
    [170, 68, 153],
];

/// Below this squared sRGB distance two colours are hard to tell apart: 40 counts in one channel.
const TOO_CLOSE: i32 = 40 * 40;

/// `n` colours to draw classes with: the first 16 are distinct for all kinds of colour vision; from
/// there on the same hues are repeated lighter and darker.
#[must_use]
pub fn default_palette(n: usize) -> Vec<[u8; 3]> {
    (0..n).map(nth).collect()
}

fn nth(index: usize) -> [u8; 3] {
    let colour = COLOURS[index % COLOURS.len()];
    let round = index / COLOURS.len();
    // Odd rounds mix with white, even ones with black, each time further.
    let share = (40 + 25 * (round as u32 / 2)).min(85) * u32::from(round > 0);
    let towards = if round % 2 == 1 { 255 } else { 0 };
    colour.map(|c| ((u32::from(c) * (100 - share) + towards * share) / 100) as u8)
}

/// One colour per class of a list.
///
/// A benchmark's own list has the benchmark's colours. In any other list a class that `named` knows
/// (by its name, letter case aside) has that colour, and each other class has the next colour of
/// [`default_palette`] that is not close to one already taken. `named` is what the model's package
/// says of its own classes.
#[must_use]
pub fn class_colours(classes: &[impl AsRef<str>], named: &[(String, [u8; 3])]) -> Vec<[u8; 3]> {
    let of_benchmark = Preset::of(classes)
        .and_then(|preset| preset.classes.iter().map(|class| class.colour).collect());
    if let Some(colours) = of_benchmark {
        return colours;
    }
    let known: Vec<Option<[u8; 3]>> = classes
        .iter()
        .map(|class| {
            let wanted = class.as_ref().to_lowercase();
            let found = named.iter().find(|(name, _)| name.to_lowercase() == wanted);
            found.map(|(_, colour)| *colour)
        })
        .collect();
    let taken: Vec<[u8; 3]> = known.iter().flatten().copied().collect();
    // Bounded: colours repeat after some rounds, and a package may have taken all of them.
    let mut free = (0..classes.len() + 4 * COLOURS.len())
        .map(nth)
        .filter(move |colour| {
            !taken
                .iter()
                .any(|other| distance(colour, other) < TOO_CLOSE)
        });
    known
        .into_iter()
        .enumerate()
        .map(|(index, colour)| colour.or_else(|| free.next()).unwrap_or_else(|| nth(index)))
        .collect()
}

/// Squared Euclidean distance in sRGB.
fn distance(a: &[u8; 3], b: &[u8; 3]) -> i32 {
    (0..3)
        .map(|c| (i32::from(a[c]) - i32::from(b[c])).pow(2))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> Vec<(String, [u8; 3])> {
        vec![
            ("Water".into(), [0, 114, 178]),
            ("road".into(), [110, 110, 110]),
        ]
    }

    #[test]
    fn a_class_keeps_its_packages_colour_in_any_list() {
        let colours = class_colours(&["airport", "road", "water"], &named());
        assert_eq!(colours[1..], [[110, 110, 110], [0, 114, 178]]);
        // The first free colour is water's own, so the next one is given.
        assert_eq!(colours[0], COLOURS[1]);
        let longer = class_colours(&["water", "pond", "road", "dunes"], &named());
        assert_eq!((longer[0], longer[2]), ([0, 114, 178], [110, 110, 110]));
        let distinct: std::collections::BTreeSet<_> = longer.iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn a_benchmarks_list_has_its_own_colours_and_a_changed_one_has_not() {
        let mut list = Preset::by_id("ddsk")
            .map(Preset::prompts)
            .unwrap_or_default();
        assert_eq!(class_colours(&list, &named())[1], [0, 0, 255]);
        list.push("airport".into());
        assert_eq!(class_colours(&list, &named())[1], [110, 110, 110]);
    }

    #[test]
    fn without_a_package_and_for_very_long_lists_there_are_colours_all_the_same() {
        let none: &[(String, [u8; 3])] = &[];
        assert_eq!(class_colours(&["a", "b"], none), default_palette(2));
        let long: Vec<String> = (0..255).map(|i| format!("class {i}")).collect();
        assert_eq!(class_colours(&long, &named()).len(), 255);
    }
}
