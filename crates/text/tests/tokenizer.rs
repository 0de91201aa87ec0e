//! The tokenizer against the reference's own ids, and against any bytes.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::LazyLock;

use mmovseg_text::{CLIP_BPE_GZ, CLIP_TEMPLATE, TextError, Tokenizer, prompt};
use proptest::prelude::*;
use serde::Deserialize;

static CLIP: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::clip(CLIP_BPE_GZ).unwrap());

#[derive(Deserialize)]
struct Case {
    text: String,
    tokens: Vec<u32>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("data/tokens.json")).unwrap()
}

#[test]
fn matches_the_reference() {
    let cases = cases();
    assert_eq!(cases.len(), 23);
    for case in cases {
        assert_eq!(
            CLIP.encode(&case.text, 77).unwrap(),
            case.tokens,
            "{:?}",
            case.text
        );
    }
    assert_eq!(
        (CLIP.vocab_size(), CLIP.eot_id(), CLIP.context()),
        (49408, 49407, 77)
    );
}

#[test]
fn prompts_match_the_check_values() {
    let city = CLIP
        .encode(&prompt(CLIP_TEMPLATE, "city, town"), 77)
        .unwrap();
    assert_eq!(
        city,
        [49406, 320, 1125, 539, 320, 1305, 530, 518, 3562, 49407]
    );
    let unknown = CLIP
        .encode("backbroad farmland developedspace", 77)
        .unwrap();
    assert_eq!(
        unknown,
        [49406, 1663, 12623, 45258, 1820, 78, 13197, 2138, 49407]
    );
}

#[test]
fn stored_form_gives_the_same_tokenizer() {
    let json = CLIP.to_json();
    let again = Tokenizer::from_json(&json).unwrap();
    for case in cases() {
        assert_eq!(again.encode(&case.text, 77).unwrap(), case.tokens);
    }
    assert_eq!(again.to_json(), json);
}

#[test]
fn too_long_a_text_is_an_error() {
    let seventy_five = "road ".repeat(75);
    assert_eq!(CLIP.encode(&seventy_five, 77).unwrap().len(), 77);
    let error = CLIP.encode(&"road ".repeat(76), 77).unwrap_err();
    assert!(
        matches!(
            error,
            TextError::TooLong {
                tokens: 78,
                context: 77,
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(
        CLIP.encode(&"x".repeat(1 << 20), 77),
        Err(TextError::TooLarge { .. })
    ));
    assert_eq!(CLIP.encode_cut(&"road ".repeat(76), 77).unwrap().len(), 77);
}

#[test]
fn damaged_vocabularies_are_refused() {
    assert!(matches!(Tokenizer::clip(b""), Err(TextError::Table(_))));
    assert!(matches!(
        Tokenizer::clip(&CLIP_BPE_GZ[..1000]),
        Err(TextError::Table(_))
    ));
    assert!(matches!(
        Tokenizer::clip(&[0xff; 64]),
        Err(TextError::Table(_))
    ));
    let small = r#"{"format_version":1,"kind":"clip-bpe","cleaning":"clip","context":32,"start_id":513,"end_id":514,"merges":["a b</w>"]}"#;
    let tokenizer = Tokenizer::from_json(small.as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("AB", 32).unwrap(), [513, 512, 514]);
    for damaged in [
        small.replace("\"format_version\":1", "\"format_version\":2"),
        small.replace("a b</w>", "a bc"),
        small.replace("a b</w>", "ab"),
        small.replace("a b</w>", "a</w> b"),
        small.replace("514", "515"),
        small.replace(":32", ":1"),
        small.replace("\"clip\"", "\"other\""),
        small[..50].to_owned(),
    ] {
        assert!(
            matches!(
                Tokenizer::from_json(damaged.as_bytes()),
                Err(TextError::Format(_))
            ),
            "{damaged}"
        );
    }
}

/// A small WordPiece vocabulary.
fn pieces() -> Vec<String> {
    [
        "[UNK]", "lake", "##s", "forest", "##land", "grass", "a", "##a", "-", "'",
    ]
    .map(String::from)
    .to_vec()
}

#[test]
fn pieces_spell_words_between_the_marks() {
    let tokenizer = Tokenizer::from_pieces(pieces(), 16).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.eot_id()), (12, 11));
    let ids = |text: &str| tokenizer.encode(text, 16).unwrap();
    assert_eq!(ids("Grassland"), [10, 5, 4, 11]);
    assert_eq!(
        ids("lakes, FOREST"),
        [10, 1, 2, 0, 3, 11],
        "the comma has no piece"
    );
    assert_eq!(ids("lâke-a"), [10, 1, 8, 6, 11], "accents fall away");
    assert_eq!(ids(""), [10, 11]);
    let json = tokenizer.to_json();
    let again = Tokenizer::from_json(&json).unwrap();
    assert_eq!(again.to_json(), json);
    assert_eq!(again.encode("grassland", 16).unwrap(), ids("grassland"));
}

#[test]
fn pieces_that_cannot_be_are_refused() {
    let with = |change: fn(&mut Vec<String>)| {
        let mut pieces = pieces();
        change(&mut pieces);
        Tokenizer::from_pieces(pieces, 16)
    };
    assert!(with(|pieces| pieces.push("lake".into())).is_err());
    assert!(with(|pieces| pieces.push(String::new())).is_err());
    assert!(with(|pieces| drop(pieces.remove(0))).is_err());
    assert!(Tokenizer::from_pieces(pieces(), 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_framed_by_the_marks(text in any::<String>()) {
        let ids = CLIP.encode(&text, usize::MAX).unwrap();
        prop_assert_eq!((ids[0], *ids.last().unwrap()), (49406, 49407));
        prop_assert!(ids.iter().all(|&id| id < 49408));
    }

    #[test]
    fn broken_encodings_do_not_panic(bytes in proptest::collection::vec(0x20u8..=0xff, 0..60)) {
        // Each byte as one Latin-1 letter: what mojibake looks like.
        let text: String = bytes.into_iter().map(char::from).collect();
        prop_assert!(CLIP.encode(&text, usize::MAX).is_ok());
    }

    #[test]
    fn case_and_spacing_do_not_matter(words in proptest::collection::vec("[a-z]{1,8}", 1..6)) {
        let plain = CLIP.encode(&words.join(" "), 77).unwrap();
        let loud = CLIP.encode(&format!(" {}\n", words.join(" \t").to_uppercase()), 77).unwrap();
        prop_assert_eq!(plain, loud);
    }

    #[test]
    fn any_bytes_as_a_vocabulary_give_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Tokenizer::clip(&bytes).is_err());
        prop_assert!(Tokenizer::from_json(&bytes).is_err());
    }

    #[test]
    fn any_text_is_framed_by_pieces_too(text in any::<String>()) {
        let tokenizer = Tokenizer::from_pieces(pieces(), 16).unwrap();
        let ids = tokenizer.encode(&text, usize::MAX).unwrap();
        prop_assert_eq!((ids[0], *ids.last().unwrap()), (10, 11));
        prop_assert!(ids.iter().all(|&id| id < 12));
    }
}

#[test]
fn unknown_words_are_named() {
    let unknown = |tokenizer: &Tokenizer, text: &str| tokenizer.unknown_words(text).unwrap();
    for known in [
        "water",
        "bare land",
        "city, town",
        "3 lakes",
        "A photo of a farm",
    ] {
        assert!(unknown(&CLIP, known).is_empty(), "{known}");
    }
    assert_eq!(
        unknown(&CLIP, "\u{10400}\u{10401} water"),
        ["\u{10428}\u{10429}"]
    );

    let pieces = [
        "[UNK]", "water", "bare", "land", "x", "##q", "##z", "##s", "l",
    ];
    let small = Tokenizer::from_pieces(pieces.map(str::to_owned).to_vec(), 32).unwrap();
    assert!(unknown(&small, "Water").is_empty());
    assert!(unknown(&small, "waters").is_empty());
    assert_eq!(unknown(&small, "bare xqz land"), ["xqz"]);
    assert_eq!(unknown(&small, "\u{6c34}, water"), ["\u{6c34}", ","]);
    assert_eq!(unknown(&small, "forest"), ["forest"]);
}
