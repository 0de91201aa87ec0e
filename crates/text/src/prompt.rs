//! Puts a class name into a prompt template.

/// The template that the released models use (docs/network.md §5): no full stop, the tokenizer
/// lower-cases.
pub const CLIP_TEMPLATE: &str = "A photo of a {} in the scene";

/// Fills `template`, which has one `{}`, with `class`.
///
/// Of a class name that lists synonyms ("farmland, crops") only the part before the first
/// comma and space is used (docs/network.md §5). A template without `{}` is returned as it is.
#[must_use]
pub fn prompt(template: &str, class: &str) -> String {
    let name = class.split_once(", ").map_or(class, |(first, _)| first);
    template.replacen("{}", name, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_synonym_is_used() {
        assert_eq!(
            prompt(CLIP_TEMPLATE, "city, town"),
            "A photo of a city in the scene"
        );
        assert_eq!(prompt("{}", "a,b"), "a,b");
        assert_eq!(prompt("{} {}", "{}"), "{} {}");
    }
}
