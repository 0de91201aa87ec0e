//! The phrases that teacher and student read: WordNet's nouns and definitions, land-cover words.

use std::collections::HashSet;
use std::path::Path;

use super::landcover::{EVERYDAY, TEMPLATES, TERMS};
use crate::TrainError;

/// Lexicographer files of WordNet whose compounds and definitions are kept: artifact, food,
/// group, location, object, phenomenon, plant, substance (lexnames(5WN)).
const PHYSICAL: [u8; 8] = [6, 13, 14, 15, 17, 19, 20, 27];
/// Words of a definition that are kept.
const GLOSS_WORDS_MAX: usize = 16;
/// One noun in this many is kept from training.
const HELD_OUT_ONE_IN: u64 = 33;
/// What land cover is made of in speech: "olive grove", "railway land".
const HEADS: [&str; 20] = [
    "field",
    "forest",
    "land",
    "area",
    "lake",
    "river",
    "road",
    "street",
    "town",
    "hill",
    "plain",
    "garden",
    "farm",
    "park",
    "ground",
    "plantation",
    "valley",
    "estate",
    "shore",
    "grove",
];
/// Heads that each short physical noun is put before.
const HEADS_A_NOUN: u64 = 3;
/// Letters of a noun that is put before a head: the common ones are short.
const SHORT_LETTERS: usize = 7;

/// Where a phrase comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A WordNet noun of at most three words.
    Noun,
    /// The start of a definition.
    Gloss,
    /// A land-cover phrase.
    LandCover,
    /// Two or three words that a head noun or WordNet puts together; the teacher knows what they
    /// mean.
    Compound,
    /// A word of the examination that training must not see.
    HeldOut,
}

/// One phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phrase {
    /// Lower-case text.
    pub text: String,
    /// Origin.
    pub kind: Kind,
    /// Whether it is a noun kept for measuring.
    pub held_out: bool,
}

/// Every phrase once, in a fixed order: land cover, examination, WordNet's order.
pub(super) fn build(wordnet: &Path) -> Result<Vec<Phrase>, TrainError> {
    let path = wordnet.join("data.noun");
    let data = std::fs::read_to_string(&path).map_err(TrainError::file(
        &path,
        "give the folder of WordNet 3.0's database files (Debian: wordnet-base)",
    ))?;
    let mut corpus = Builder::default();
    for class in EVERYDAY {
        for word in class.held_out {
            corpus.add(word, Kind::HeldOut);
        }
    }
    for class in EVERYDAY {
        corpus.add(class.class, Kind::LandCover);
        for word in class.known {
            corpus.add(word, Kind::LandCover);
        }
    }
    for class in mmovseg_scene::CLASSES {
        for word in class.synonyms {
            corpus.add(word, Kind::LandCover);
        }
    }
    for template in TEMPLATES {
        for term in TERMS {
            corpus.add(&template.replace("{}", term), Kind::LandCover);
        }
    }
    let before = corpus.phrases.len();
    let synsets = || data.lines().filter(|line| !line.starts_with(' '));
    for line in synsets() {
        corpus.add_synset(line);
    }
    // After everything else, so that a phrase of WordNet's own is counted as that.
    for line in synsets() {
        corpus.add_compounds(line);
    }
    if corpus.phrases.len() == before {
        return Err(TrainError::Content {
            path,
            what: "it holds no WordNet nouns".into(),
        });
    }
    Ok(corpus.phrases)
}

#[derive(Default)]
struct Builder {
    phrases: Vec<Phrase>,
    seen: HashSet<String>,
}

impl Builder {
    fn add(&mut self, text: &str, kind: Kind) {
        if self.seen.insert(text.to_owned()) {
            let held_out =
                kind == Kind::Noun && fnv1a(text.as_bytes()).is_multiple_of(HELD_OUT_ONE_IN);
            self.phrases.push(Phrase {
                text: text.to_owned(),
                kind,
                held_out,
            });
        }
    }

    /// One line of `data.noun` (wndb(5WN)): `offset lexfile n words… | definition; "examples"`.
    fn add_synset(&mut self, line: &str) {
        let Some(synset) = Synset::parse(line) else {
            return;
        };
        let most_spaces = if synset.is_physical() { 2 } else { 0 };
        let mut common = false;
        for word in synset.plain_words() {
            if word.matches(' ').count() <= most_spaces {
                common = true;
                self.add(&word, Kind::Noun);
            }
        }
        if synset.is_physical() && common {
            let definition = synset.gloss.split([';', '(']).next().unwrap_or_default();
            let start: Vec<&str> = definition
                .split_whitespace()
                .take(GLOSS_WORDS_MAX)
                .collect();
            if start.len() >= 2 {
                self.add(&start.join(" ").to_lowercase(), Kind::Gloss);
            }
        }
    }

    /// What [`Builder::add_synset`] leaves out: its other nouns of several words, and its short
    /// ones before a few of [`HEADS`]. Nouns that are kept from training are kept out here too.
    fn add_compounds(&mut self, line: &str) {
        let Some(synset) = Synset::parse(line) else {
            return;
        };
        for word in synset.plain_words() {
            let hash = fnv1a(word.as_bytes());
            if hash.is_multiple_of(HELD_OUT_ONE_IN) {
                continue;
            }
            match word.matches(' ').count() {
                0 if synset.is_physical() && word.len() <= SHORT_LETTERS => {
                    for i in 0..HEADS_A_NOUN {
                        let head = HEADS[((hash >> (8 * i)) % HEADS.len() as u64) as usize];
                        self.add(&format!("{word} {head}"), Kind::Compound);
                    }
                }
                1 if !synset.is_physical() => self.add(&word, Kind::Compound),
                _ => {}
            }
        }
    }
}

/// What is read of a line of `data.noun`.
struct Synset<'a> {
    lexfile: u8,
    words: Vec<&'a str>,
    gloss: &'a str,
}

impl<'a> Synset<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (head, gloss) = line.split_once(" | ")?;
        let mut fields = head.split(' ').skip(1);
        let lexfile = fields.next()?.parse().ok()?;
        let count = usize::from_str_radix(fields.nth(1)?, 16).ok()?;
        Some(Self {
            lexfile,
            words: fields.step_by(2).take(count).collect(),
            gloss,
        })
    }

    fn is_physical(&self) -> bool {
        PHYSICAL.contains(&self.lexfile)
    }

    /// Its words in plain lower-case letters, with spaces.
    fn plain_words(&self) -> impl Iterator<Item = String> {
        self.words
            .iter()
            .filter(|word| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '-' | '\''))
            })
            .map(|word| word.replace('_', " "))
    }
}

/// The FNV-1a hash: small, and the same everywhere and for ever.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn reads_a_synset() {
        let mut corpus = Builder::default();
        corpus.add_synset("09328904 17 n 02 lake 0 Lake_X 0 001 @ 09225146 n 0000 | a body of (usually fresh) water; \"x\"");
        corpus.add_synset("10285313 18 n 01 truck_driver 0 000 | someone who drives a truck");
        corpus.add_synset("damaged");
        let texts: Vec<_> = corpus
            .phrases
            .iter()
            .map(|p| (p.text.as_str(), p.kind))
            .collect();
        assert_eq!(texts, [("lake", Kind::Noun), ("a body of", Kind::Gloss)]);
    }

    #[test]
    fn compounds_leave_out_what_is_kept_from_training() {
        let line = "09328904 17 n 02 lake 0 Lake_X 0 001 @ 09225146 n 0000 | a body of water";
        let mut corpus = Builder::default();
        corpus.add_compounds(line);
        assert!(!corpus.phrases.is_empty() && corpus.phrases.len() <= 3);
        for phrase in &corpus.phrases {
            assert_eq!(phrase.kind, Kind::Compound);
            assert!(phrase.text.starts_with("lake "), "{}", phrase.text);
        }
        let kept = (0..)
            .map(|i| format!("w{}", letters(i)))
            .find(|word| fnv1a(word.as_bytes()).is_multiple_of(HELD_OUT_ONE_IN))
            .unwrap();
        let mut corpus = Builder::default();
        corpus.add_compounds(&format!("09328904 17 n 01 {kept} 0 000 | something"));
        assert!(corpus.phrases.is_empty(), "{kept}");
    }

    /// A number in letters.
    fn letters(mut i: usize) -> String {
        let mut out = String::new();
        while i > 0 {
            out.push(char::from(b'a' + (i % 26) as u8));
            i /= 26;
        }
        out
    }

    #[test]
    fn examined_words_are_not_trained_on() {
        let held_out: Vec<_> = EVERYDAY.iter().flat_map(|class| class.held_out).collect();
        assert!(
            EVERYDAY
                .iter()
                .map(|c| c.known.len() + c.held_out.len())
                .sum::<usize>()
                >= 60
        );
        for word in held_out {
            assert!(!TERMS.contains(word), "{word}");
            assert!(
                !EVERYDAY.iter().any(|class| class.known.contains(word)),
                "{word}"
            );
            for set in crate::labels::LabelSet::ALL {
                assert!(!set.words().concat().contains(word), "{word}");
            }
        }
    }
}
