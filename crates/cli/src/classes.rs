//! Class names as people give them: on the command line, in files of several kinds, or as a ready
//! list.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mmovseg_engine::{Session, WordRule};
use mmovseg_raster::{
    ClassListError, Preset, check_class_names, decode_class_file, parse_class_names, printable,
};
use mmovseg_text::synonyms;
use serde::Deserialize;

use crate::inputs::read;

/// Class names.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct ClassArgs {
    /// Class names, separated by commas, semicolons or line ends; in models that compare pixels
    /// with words, synonyms within a name by `|`
    #[arg(long, value_name = "A,B,C")]
    pub classes: Option<String>,
    /// File with class names: a JSON list, or one name a line
    #[arg(long, value_name = "FILE")]
    pub classes_file: Option<PathBuf>,
    /// A ready list, with its colours or its threshold
    #[arg(long, value_name = "NAME", value_parser = preset())]
    pub preset: Option<&'static Preset>,
}

pub fn preset() -> impl TypedValueParser<Value = &'static Preset> {
    let names = Preset::all().map(|preset| PossibleValue::new(preset.id).help(preset.about));
    PossibleValuesParser::new(names)
        .try_map(|id| Preset::by_id(&id).ok_or("there is no such preset"))
}

impl ClassArgs {
    /// The names, trimmed; none of them empty, none given twice.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        if let Some(preset) = self.preset {
            return Ok(preset.prompts());
        }
        let (names, place) = match (&self.classes, &self.classes_file) {
            (Some(list), _) => (parse_class_names(list), "--classes".to_owned()),
            (None, Some(path)) => (from_file(path)?, path.display().to_string()),
            (None, None) => {
                anyhow::bail!("no classes were given; name some with --classes \"water,forest\"")
            }
        };
        names.map_err(|error| anyhow::anyhow!("{place}: {error}"))
    }
}

/// How a model that compares pixels with words decides.
#[derive(clap::Args)]
pub struct RuleArgs {
    /// Models that compare pixels with words (SegEarth-OV): pixels whose most probable class has
    /// less than this become background [default: the preset's, else 0]
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f32>,
    /// The class that they become [default: the preset's, else the first]
    #[arg(long, value_name = "CLASS")]
    background: Option<String>,
    /// How much of a window's own cosine with a word is added to its pixels' [default: the
    /// preset's, else the model's, -0.3]
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    window_weight: Option<f32>,
}

fn probability(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    value.ok_or_else(|| "give a probability from 0 to 1, as in 0.3".into())
}

impl RuleArgs {
    /// What was asked for, over what the preset says; `None` where neither says anything.
    pub fn rule(
        &self,
        preset: Option<&Preset>,
        classes: &[String],
    ) -> anyhow::Result<Option<WordRule>> {
        let of_preset = preset.and_then(|preset| preset.rule).map(|rule| WordRule {
            threshold: rule.threshold,
            background: rule.background,
            window_weight: rule.window_weight,
        });
        let is_asked =
            self.threshold.is_some() || self.background.is_some() || self.window_weight.is_some();
        if !is_asked {
            return Ok(of_preset);
        }
        let mut rule = of_preset.unwrap_or_default();
        rule.threshold = self.threshold.unwrap_or(rule.threshold);
        rule.window_weight = self.window_weight.or(rule.window_weight);
        if let Some(name) = &self.background {
            let is_it = |class: &String| class == name || synonyms(class).contains(&name.as_str());
            rule.background = classes.iter().position(is_it).ok_or_else(|| {
                anyhow::anyhow!(
                    "--background: {} is no class of the list; name one of it",
                    printable(name)
                )
            })?;
        }
        Ok(Some(rule))
    }
}

fn from_file(path: &Path) -> anyhow::Result<Result<Vec<String>, ClassListError>> {
    /// An entry of a JSON list: a name, or an object that has one, as `scene` writes them.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Name(String),
        Object { name: String },
    }
    let text = match decode_class_file(&read(path)?) {
        Ok(text) => text,
        Err(error) => return Ok(Err(error)),
    };
    if !text.trim_start().starts_with(['[', '{']) {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        // One line of several names is a list as on the command line.
        let names: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
        return Ok(match names.as_slice() {
            [only] => parse_class_names(only),
            _ => check_class_names(names),
        });
    }
    let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|error| {
        anyhow::anyhow!(
            "{}: is not a JSON list of class names ({error}); write it as [\"water\", \"forest\"], or one name a line without brackets",
            path.display()
        )
    })?;
    let names = entries.into_iter().map(|entry| match entry {
        Entry::Name(name) | Entry::Object { name } => name,
    });
    Ok(check_class_names(names.collect()))
}

/// One line on the names of which the model's vocabulary does not know every word, if there are
/// any.
pub fn unknown_words(session: &Session, classes: &[String]) -> Option<String> {
    let told: Vec<String> = classes
        .iter()
        .filter_map(|class| {
            let words = session.unknown_words(class).join(", ");
            let named = if words == *class {
                printable(class)
            } else {
                format!("{} ({})", printable(class), printable(&words))
            };
            (!words.is_empty()).then_some(named)
        })
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "the model's vocabulary lacks these words, whose labels mean nothing: {}",
            told.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::from_file;

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
            assert_eq!(
                from_file(&path).unwrap().unwrap(),
                ["wald", "straße"],
                "file {i}"
            );
        }
        std::fs::write(&path, b"stra\xdfe").unwrap();
        assert!(from_file(&path).unwrap().is_err());
    }
}
