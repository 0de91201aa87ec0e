//! The templates of training-free networks, and words that mean one class.

/// The 80 templates that `OpenAI` published for `ImageNet` with CLIP, in their order; a word's
/// embedding is the mean over them.
pub const CLIP_TEMPLATES: [&str; 80] = [
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
];

/// The words of a class name that lists synonyms, as in `building,roof,house` or
/// `building|roof|house`; the name itself where nothing else is in it.
pub fn synonyms(class: &str) -> Vec<&str> {
    let words = class.split([',', '|']).map(str::trim);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() { vec![class] } else { words }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CLIP_TEMPLATES, synonyms};

    #[test]
    fn templates_are_distinct_and_name_their_word_once() {
        let distinct: BTreeSet<_> = CLIP_TEMPLATES.into_iter().collect();
        assert_eq!(distinct.len(), 80);
        for template in CLIP_TEMPLATES {
            assert_eq!(template.matches("{}").count(), 1, "{template}");
            assert!(template.ends_with('.'), "{template}");
        }
    }

    #[test]
    fn synonyms_are_separated_by_commas_and_bars() {
        assert_eq!(
            synonyms("building,roof, house"),
            ["building", "roof", "house"]
        );
        assert_eq!(synonyms("water|river"), ["water", "river"]);
        assert_eq!(synonyms("bare land"), ["bare land"]);
        assert_eq!(synonyms(","), [","]);
    }
}
