//! Lists of class names as people type and store them: separators, encodings, duplicates, control
//! characters. Command line and page read class names with this module alone.

/// Most classes of one run: labels are bytes, and 255 means no class.
pub const MAX_CLASSES: usize = 255;

/// What is wrong with a list of class names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassListError {
    /// No name at all.
    #[error("there is no class name in it; give between 1 and {MAX_CLASSES} names")]
    Empty,
    /// More names than labels.
    #[error("it has {0} class names; give between 1 and {MAX_CLASSES}")]
    TooMany(usize),
    /// Two separators with nothing between them.
    #[error("class {0} has an empty name; give every class a word, or remove the separator")]
    EmptyName(usize),
    /// One name twice.
    #[error("class {first} and class {second} have the same name, \"{name}\"; remove one")]
    Duplicate {
        /// The name, printable.
        name: String,
        /// Position of the first, from 1.
        first: usize,
        /// Position of the second, from 1.
        second: usize,
    },
    /// A character that no text holds.
    #[error("class {position}, \"{name}\", has a control character; remove it")]
    ControlCharacter {
        /// The name, with the character escaped.
        name: String,
        /// Position, from 1.
        position: usize,
    },
    /// Bytes that are no text.
    #[error("it is not a text file in UTF-8 or UTF-16; save it as UTF-8")]
    Encoding,
}

/// The text of a class file: UTF-8, or UTF-16 of either byte order; a byte order mark is not part
/// of it.
///
/// # Errors
/// [`ClassListError::Encoding`] when it is neither.
pub fn decode_class_file(bytes: &[u8]) -> Result<String, ClassListError> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        if !rest.len().is_multiple_of(2) {
            return Err(ClassListError::Encoding);
        }
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units)
            .collect::<Result<String, _>>()
            .map_err(|_| ClassListError::Encoding)
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // Without a mark: the first character of a list is ASCII, so one of its two bytes is zero.
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => utf16(bytes, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
            String::from_utf8(bytes.to_vec()).map_err(|_| ClassListError::Encoding)
        }
    }
}

/// The names in a typed list or a text file: separated by `,`, `;`, those of Chinese and Arabic
/// script, or line ends, as [`check_class_names`] returns them. Blank lines and a separator at the
/// end of a line are skipped.
///
/// # Errors
/// Those of [`check_class_names`].
pub fn parse_class_names(text: &str) -> Result<Vec<String>, ClassListError> {
    check_class_names(split_class_names(text).map(str::to_owned).collect())
}

/// The parts of a typed list or a text file between separators, untrimmed; of a line end, or a
/// separator at the end of a line, nothing is left.
pub fn split_class_names(text: &str) -> impl Iterator<Item = &str> {
    let is_separator = |c: char| matches!(c, ',' | ';' | '，' | '；' | '、' | '､' | '،' | '؛');
    text.strip_prefix('\u{FEFF}')
        .unwrap_or(text)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .flat_map(move |line| {
            let line = line.strip_suffix(is_separator).unwrap_or(line);
            line.split(is_separator)
        })
}

/// Names trimmed, with single spaces inside.
///
/// # Errors
/// When there is none or more than [`MAX_CLASSES`], when one is empty, has a control character, or
/// is there twice (letter case aside).
pub fn check_class_names(names: Vec<String>) -> Result<Vec<String>, ClassListError> {
    match names.len() {
        0 => return Err(ClassListError::Empty),
        count @ ..=MAX_CLASSES => count,
        count => return Err(ClassListError::TooMany(count)),
    };
    let mut checked: Vec<String> = Vec::with_capacity(names.len());
    let mut seen: Vec<String> = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let position = i + 1;
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.is_empty() {
            return Err(ClassListError::EmptyName(position));
        }
        if name.contains(is_control) {
            return Err(ClassListError::ControlCharacter {
                name: printable(&name),
                position,
            });
        }
        let folded = name.to_lowercase();
        if let Some(first) = seen.iter().position(|other| *other == folded) {
            return Err(ClassListError::Duplicate {
                name,
                first: first + 1,
                second: position,
            });
        }
        seen.push(folded);
        checked.push(name);
    }
    Ok(checked)
}

/// Control characters, and those that change the direction or hide a part of a line.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// Text with its control characters escaped, for messages.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_usual_separator_splits() {
        for typed in [
            "water,forest,city",
            "water; forest ;city",
            "water，forest、city",
            "water\nforest\r\ncity\n",
            "\u{FEFF}water,\n\nforest,\ncity",
            "water；forest，  city,",
        ] {
            let names = parse_class_names(typed).unwrap();
            assert_eq!(names, ["water", "forest", "city"], "{typed:?}");
        }
        assert_eq!(parse_class_names(" bare   land ").unwrap(), ["bare land"]);
    }

    #[test]
    fn lists_that_cannot_be_meant_are_refused() {
        assert_eq!(parse_class_names(" \n"), Err(ClassListError::Empty));
        assert_eq!(
            parse_class_names("water,,city"),
            Err(ClassListError::EmptyName(2))
        );
        let twice = parse_class_names("Water,city,water").unwrap_err();
        assert!(twice.to_string().contains("class 1 and class 3"), "{twice}");
        let control = parse_class_names("wa\u{1b}[31mter,city").unwrap_err();
        let told = control.to_string();
        assert!(
            told.contains("\\u{1b}") && !told.contains('\u{1b}'),
            "{told}"
        );
        let many = vec![String::from("a"); 256];
        assert_eq!(check_class_names(many), Err(ClassListError::TooMany(256)));
    }

    #[test]
    fn class_files_of_any_usual_encoding_are_read() {
        let text = "eau\nforêt";
        let units = || text.encode_utf16();
        let le: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [&[0xEF, 0xBB, 0xBF], text.as_bytes()].concat(),
            [&[0xFF, 0xFE], le.as_slice()].concat(),
            [&[0xFE, 0xFF], be.as_slice()].concat(),
            le,
            be,
        ] {
            assert_eq!(decode_class_file(&bytes).as_deref(), Ok(text), "{bytes:?}");
        }
        for bytes in [&b"\xFF\xFE\x41"[..], b"\xE9t\xE9", b"\xFF\xFE\x00\xD8"] {
            assert_eq!(decode_class_file(bytes), Err(ClassListError::Encoding));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_printable_names_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(names) = decode_class_file(&bytes).and_then(|text| parse_class_names(&text)) {
                for name in &names {
                    prop_assert_eq!(&printable(name), name);
                    prop_assert_eq!(name.trim(), name);
                    prop_assert!(!name.is_empty());
                }
            }
        }
    }
}
