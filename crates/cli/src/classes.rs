//! Class names as people give them: on the command line, in files of several kinds, or as a ready list.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mmovseg_raster::{PRESETS, Preset};
use serde::Deserialize;

use crate::inputs::read;

/// Class names.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct ClassArgs {
    /// Class names, separated by commas, semicolons or line ends
    #[arg(long, value_name = "A,B,C")]
    pub classes: Option<String>,
    /// File with class names: a JSON list, or one name a line
    #[arg(long, value_name = "FILE")]
    pub classes_file: Option<PathBuf>,
    /// A ready list, with its colours
    #[arg(long, value_name = "NAME", value_parser = preset())]
    pub preset: Option<&'static Preset>,
}

fn preset() -> impl TypedValueParser<Value = &'static Preset> {
    let names = PRESETS
        .iter()
        .map(|preset| PossibleValue::new(preset.id).help(preset.about));
    PossibleValuesParser::new(names)
        .try_map(|id| Preset::by_id(&id).ok_or("there is no such preset"))
}

impl ClassArgs {
    /// The names, trimmed; none of them empty, none given twice.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        if let Some(preset) = self.preset {
            return Ok(preset.prompts());
        }
        match (&self.classes, &self.classes_file) {
            (Some(list), _) => check(split(list), "--classes"),
            (None, Some(path)) => check(from_file(path)?, &path.display().to_string()),
            (None, None) => {
                anyhow::bail!("no classes were given; name some with --classes \"water,forest\"")
            }
        }
    }
}

/// Splits at commas and semicolons of Latin, Chinese and Arabic script and at line ends.
fn split(list: &str) -> Vec<String> {
    list.trim_matches(['\r', '\n'])
        .split([',', ';', '\n', '，', '；', '、', '،', '؛'])
        .map(|name| name.trim().to_owned())
        .collect()
}

fn from_file(path: &Path) -> anyhow::Result<Vec<String>> {
    /// An entry of a JSON list: a name, or an object that has one, as `scene` writes them.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Name(String),
        Object { name: String },
    }
    let text = decode(&read(path)?).map_err(|what| {
        anyhow::anyhow!(
            "{}: {what}; save it as UTF-8, one class name a line",
            path.display()
        )
    })?;
    if !text.trim_start().starts_with(['[', '{']) {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        // One line of several names is a list as on the command line.
        let names: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
        return Ok(match names.as_slice() {
            [only] => split(only),
            _ => names,
        });
    }
    let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|error| {
        anyhow::anyhow!(
            "{}: is not a JSON list of class names ({error}); write it as [\"water\", \"forest\"], or one name a line without brackets",
            path.display()
        )
    })?;
    Ok(entries
        .into_iter()
        .map(|entry| match entry {
            Entry::Name(name) | Entry::Object { name } => name.trim().to_owned(),
        })
        .collect())
}

/// Text in UTF-8 or UTF-16, with or without a byte order mark.
fn decode(bytes: &[u8]) -> Result<String, String> {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|&pair| read(pair)).collect();
        String::from_utf16(&units)
            .ok()
            .filter(|_| rest.is_empty())
            .ok_or_else(|| "is neither UTF-8 nor UTF-16 text".to_owned())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        // Every second byte of Latin text is zero in UTF-16.
        [first, 0, ..] if *first != 0 => wide(bytes, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => wide(bytes, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            let text = std::str::from_utf8(bytes);
            text.map(str::to_owned)
                .map_err(|error| format!("is not UTF-8 text (byte {})", error.valid_up_to()))
        }
    }
}

fn check(names: Vec<String>, place: &str) -> anyhow::Result<Vec<String>> {
    anyhow::ensure!(
        (1..=255).contains(&names.len()),
        "{place}: {} classes were given; give between 1 and 255 class names",
        names.len()
    );
    for (i, name) in names.iter().enumerate() {
        let number = i + 1;
        anyhow::ensure!(
            !name.is_empty(),
            "{place}: class {number} has an empty name; give every class a word"
        );
        anyhow::ensure!(
            !name.chars().any(char::is_control),
            "{place}: the name of class {number} has a control character ({}); give it in plain words",
            name.escape_debug()
        );
        let earlier = names[..i]
            .iter()
            .position(|other| other.to_lowercase() == name.to_lowercase());
        if let Some(earlier) = earlier {
            anyhow::bail!(
                "{place}: \"{name}\" is class {} and class {number}; give every class a name of its own",
                earlier + 1
            );
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::{check, decode, from_file, split};

    #[test]
    fn names_are_split_at_separators_of_several_scripts() {
        for list in [
            "a b,c,d",
            "a b; c ;d",
            "a b\nc\r\nd\n",
            "a b，c、d",
            "a b, c؛ d",
        ] {
            assert_eq!(split(list), ["a b", "c", "d"], "{list:?}");
        }
        assert_eq!(split("水, 森林, 城市"), ["水", "森林", "城市"]);
    }

    #[test]
    fn files_of_every_kind_give_the_same_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        let utf16 = |text: &str, big: bool, mark: bool| -> Vec<u8> {
            let text = if mark {
                format!("\u{feff}{text}")
            } else {
                text.into()
            };
            text.encode_utf16()
                .flat_map(|unit| {
                    if big {
                        unit.to_be_bytes()
                    } else {
                        unit.to_le_bytes()
                    }
                })
                .collect()
        };
        let json = r#"["wald", "straße"]"#;
        let files = [
            json.as_bytes().to_vec(),
            format!("\u{feff}{json}").into_bytes(),
            b"wald\nstra\xc3\x9fe\n".to_vec(),
            b"\xef\xbb\xbfwald\r\n\r\nstra\xc3\x9fe".to_vec(),
            "wald; straße".as_bytes().to_vec(),
            br#"[{"name": "wald", "seen": true}, {"name": "stra\u00dfe"}]"#.to_vec(),
            utf16("wald\nstraße", false, true),
            utf16("wald\nstraße", true, true),
            utf16(json, false, false),
            utf16(json, true, false),
        ];
        for (i, bytes) in files.iter().enumerate() {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(from_file(&path).unwrap(), ["wald", "straße"], "file {i}");
        }
        assert!(decode(b"stra\xdfe").unwrap_err().contains("byte 4"));
    }

    #[test]
    fn names_given_twice_and_control_characters_are_refused() {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        let error = |list: &[&str]| check(names(list), "x").unwrap_err().to_string();
        assert!(error(&["a", "b", "A"]).contains("class 1 and class 3"));
        assert!(error(&["a\u{1b}[31m"]).contains("\\u{1b}"));
        assert!(error(&["a", ""]).contains("class 2"));
        assert!(check(names(&["a", "b"]), "x").is_ok());
    }
}
