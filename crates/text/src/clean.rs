//! Brings any text to the form that the vocabulary was built on.

use plsfix::fix_text;
use serde::{Deserialize, Serialize};

/// How text is cleaned before it is split into words; stored with the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cleaning {
    /// As CLIP does (docs/network.md §5): repair broken Unicode (ftfy), unescape HTML twice,
    /// collapse whitespace, strip, lower-case.
    Clip,
}

/// Cleans `text` the given way.
///
/// One difference from Python's ftfy is known: in text that also holds a `<`, entities nested
/// three deep or more are resolved to the end here and only twice there.
#[must_use]
pub fn clean(text: &str, how: Cleaning) -> String {
    match how {
        Cleaning::Clip => {
            let repaired = fix_text(text, None);
            let unescaped = htmlize::unescape(htmlize::unescape(repaired));
            let words: Vec<&str> = unescaped.split_whitespace().collect();
            words.join(" ").to_lowercase()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_as_clip_does() {
        for (dirty, expected) in [
            ("  A\t photo \n of ", "a photo of"),
            ("x &amp;amp; y", "x & y"),
            ("x &amp y &#233; &eacute;", "x & y é é"),
            ("schÃ¶n", "schön"),
            (
                "it\u{2019}s \u{201c}x\u{201d} ﬁeld Ｆｕｌｌ",
                "it's \"x\" field full",
            ),
            ("a\u{a0}b\u{0}c", "a bc"),
            ("", ""),
        ] {
            assert_eq!(clean(dirty, Cleaning::Clip), expected, "{dirty:?}");
        }
    }
}
