//! `model.json`: what a package holds and how to know that it arrived whole.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::WeightsError;

/// The package format this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// Largest shard, in bytes: small enough to fetch, check and retry on its own.
pub const MAX_SHARD_BYTES: usize = 16 << 20;

/// Name of the manifest inside a package folder.
pub const MANIFEST_FILE: &str = "model.json";

/// How the matrices of a package are stored. Norms, biases and tables keep more bits in every
/// case: see [`write_package`](crate::write_package) for the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreDtype {
    /// 32-bit floats, bit-exact.
    F32,
    /// 16-bit floats.
    F16,
    /// 8 bits a value, one f16 scale for each block of 32 along the input axis.
    Q8,
    /// 4 bits a value, one f16 scale for each block of 32 along the input axis.
    Q4,
}

/// The tokenizer file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenizerRef {
    /// File name inside the package folder.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Lower-case hexadecimal sha256 of the file.
    pub sha256: String,
}

/// One shard of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRef {
    /// File name inside the package folder.
    pub file: String,
    /// Size in bytes, at most [`MAX_SHARD_BYTES`](crate::MAX_SHARD_BYTES).
    pub bytes: u64,
    /// Lower-case hexadecimal sha256 of the file.
    pub sha256: String,
}

/// One expected logit of the self-test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Position in the flattened head output `[T, h, w]`.
    pub index: usize,
    /// The logit there.
    pub value: f64,
}

/// A package's golden self-test: a generated input and the head's statistics on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// Seed of the generated input pair.
    pub seed: u64,
    /// Class names to segment, in order.
    pub classes: Vec<String>,
    /// Mean of all logits.
    pub logit_mean: f64,
    /// Standard deviation of all logits.
    pub logit_std: f64,
    /// Single logits.
    pub probes: Vec<Probe>,
    /// Largest absolute difference that still passes, for every number above.
    pub tolerance: f64,
}

/// How a package stores matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtypes {
    /// All but those of the text tower.
    pub all: StoreDtype,
    /// Those of the text tower. Words differ by little and each pixel is compared with all of
    /// them: of the labels of six scenes in q8, tiny B and tiny L, 96.7 % and 96.1 % agree
    /// with f32 when the text tower is quantised, 99.2 % and 98.96 % with its token table
    /// alone in f16, 99.4 % and 99.1 % with all of it. Those are random weights; a trained
    /// tower is measured before it is quantised.
    pub text: StoreDtype,
}

/// `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the package format; [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Name of the model, for people.
    pub name: String,
    /// The model's configuration, as the model crate writes it.
    pub architecture: serde_json::Value,
    /// How matrices are stored.
    pub dtype: StoreDtype,
    /// How those of the text tower are; `None`: as the others, but f16 where those are quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_dtype: Option<StoreDtype>,
    /// The tokenizer file.
    pub tokenizer: TokenizerRef,
    /// Prompt with `{}` for the class name.
    pub prompt_template: String,
    /// Prompts of which each word has the mean, in networks that compare pixels with words; empty
    /// in others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt_templates: Vec<String>,
    /// Class names to start with.
    #[serde(default)]
    pub default_classes: Vec<String>,
    /// sRGB colours of the default classes; may be empty.
    #[serde(default)]
    pub palette: Vec<[u8; 3]>,
    /// Licence of the weights.
    #[serde(default)]
    pub licence: String,
    /// Who made the weights and from what.
    #[serde(default)]
    pub attribution: String,
    /// Ground resolution that the model was trained for, metres a pixel; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gsd_m: Option<f32>,
    /// Temperature of calibrated probabilities: logits are divided by it before the softmax over
    /// classes. Fitted on held-out real tiles; `None`: never calibrated, as 1. Labels do not
    /// depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The shards, in the order to read them.
    pub shards: Vec<ShardRef>,
    /// The golden self-test, when the package has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_test: Option<SelfTest>,
}

impl Manifest {
    /// A manifest with the fields that have no default; [`write_package`](crate::write_package)
    /// fills in the tokenizer and the shards, the caller sets the rest.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        architecture: serde_json::Value,
        dtype: StoreDtype,
        prompt_template: impl Into<String>,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            name: name.into(),
            architecture,
            dtype,
            text_dtype: None,
            tokenizer: TokenizerRef::default(),
            prompt_template: prompt_template.into(),
            prompt_templates: Vec::new(),
            default_classes: Vec::new(),
            palette: Vec::new(),
            licence: String::new(),
            attribution: String::new(),
            gsd_m: None,
            temperature: None,
            shards: Vec::new(),
            self_test: None,
        }
    }

    /// The default classes with their colours; empty when the package names no colours.
    #[must_use]
    pub fn named_colours(&self) -> Vec<(String, [u8; 3])> {
        let names = self.default_classes.iter().cloned();
        names.zip(self.palette.iter().copied()).collect()
    }

    /// How matrices and those of the text tower are stored.
    #[must_use]
    pub fn dtypes(&self) -> Dtypes {
        let text = match self.dtype {
            wide @ (StoreDtype::F32 | StoreDtype::F16) => wide,
            StoreDtype::Q8 | StoreDtype::Q4 => StoreDtype::F16,
        };
        Dtypes {
            all: self.dtype,
            text: self.text_dtype.unwrap_or(text),
        }
    }

    /// Bytes of all files that a load reads: tokenizer and shards, without `model.json`.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.shards
            .iter()
            .fold(self.tokenizer.bytes, |sum, s| sum.saturating_add(s.bytes))
    }
}

impl ShardRef {
    /// Whether `bytes` are this shard.
    ///
    /// # Errors
    /// [`WeightsError::Size`] or [`WeightsError::Hash`], naming the file.
    pub fn check(&self, bytes: &[u8]) -> Result<(), WeightsError> {
        check(&self.file, self.bytes, &self.sha256, bytes)
    }
}

impl TokenizerRef {
    /// Whether `bytes` are this tokenizer file.
    ///
    /// # Errors
    /// [`WeightsError::Size`] or [`WeightsError::Hash`], naming the file.
    pub fn check(&self, bytes: &[u8]) -> Result<(), WeightsError> {
        check(&self.file, self.bytes, &self.sha256, bytes)
    }
}

fn check(file: &str, expected: u64, sha256: &str, bytes: &[u8]) -> Result<(), WeightsError> {
    let found = bytes.len() as u64;
    if found != expected {
        return Err(WeightsError::Size {
            file: file.to_owned(),
            expected,
            found,
        });
    }
    if sha256_hex(bytes) != sha256 {
        return Err(WeightsError::Hash {
            file: file.to_owned(),
        });
    }
    Ok(())
}

/// Lower-case hexadecimal sha256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Reads `model.json`.
///
/// # Errors
/// [`WeightsError::UnknownVersion`] for another format version; [`WeightsError::Manifest`] for
/// broken JSON, missing fields, file names that are not plain names, hashes that are not sha256,
/// and shards that are empty, repeated or larger than [`MAX_SHARD_BYTES`](crate::MAX_SHARD_BYTES).
pub fn parse_manifest(json: &[u8]) -> Result<Manifest, WeightsError> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    let broken = |e: serde_json::Error| WeightsError::Manifest {
        reason: e.to_string(),
    };
    // The version first: a later format may well lack fields that this one needs.
    let Version { format_version } = serde_json::from_slice(json).map_err(broken)?;
    if format_version != u64::from(FORMAT_VERSION) {
        return Err(WeightsError::UnknownVersion {
            found: format_version,
            known: FORMAT_VERSION,
        });
    }
    let manifest: Manifest = serde_json::from_slice(json).map_err(broken)?;
    let tokenizer = &manifest.tokenizer;
    check_ref(&tokenizer.file, &tokenizer.sha256)?;
    for (name, value) in [
        ("gsd_m", manifest.gsd_m),
        ("temperature", manifest.temperature),
    ] {
        if value.is_some_and(|v| !(v.is_finite() && v > 0.0)) {
            return Err(WeightsError::Manifest {
                reason: format!("{name} must be a number above 0"),
            });
        }
    }
    let mut seen = std::collections::HashSet::from([tokenizer.file.as_str(), MANIFEST_FILE]);
    for shard in &manifest.shards {
        check_ref(&shard.file, &shard.sha256)?;
        if shard.bytes == 0 || shard.bytes > MAX_SHARD_BYTES as u64 {
            return Err(WeightsError::Manifest {
                reason: format!(
                    "shard {} has {} bytes, allowed are 1 to {MAX_SHARD_BYTES}",
                    shard.file, shard.bytes
                ),
            });
        }
        if !seen.insert(&shard.file) {
            return Err(WeightsError::Manifest {
                reason: format!("the file {} is named twice", shard.file),
            });
        }
    }
    Ok(manifest)
}

/// A manifest comes from the network: its file names must not lead out of the package folder.
fn check_ref(file: &str, sha256: &str) -> Result<(), WeightsError> {
    let plain = !file.is_empty()
        && file.len() <= 128
        && !file.starts_with('.')
        && file
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !plain {
        return Err(WeightsError::Manifest {
            reason: format!("{file:?} is not a plain file name"),
        });
    }
    let hex = sha256.len() == 64
        && sha256
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hex {
        return Err(WeightsError::Manifest {
            reason: format!("the sha256 of {file} is not 64 lower-case hexadecimal digits"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn sample() -> Manifest {
        let mut m = Manifest::new(
            "nano",
            serde_json::json!({"side_px": 192}),
            StoreDtype::Q8,
            "A photo of a {} in the scene",
        );
        m.tokenizer = TokenizerRef {
            file: "tokenizer-00.json".into(),
            bytes: 3,
            sha256: sha256_hex(b"abc"),
        };
        m.shards = vec![ShardRef {
            file: "00.safetensors".into(),
            bytes: 10,
            sha256: sha256_hex(b""),
        }];
        m.self_test = Some(SelfTest {
            seed: u64::MAX,
            classes: vec!["water".into()],
            logit_mean: -0.5,
            logit_std: 2.0,
            probes: vec![Probe {
                index: 7,
                value: 1.25,
            }],
            tolerance: 0.01,
        });
        m
    }

    fn with(key: &str, value: serde_json::Value) -> Vec<u8> {
        let mut json = serde_json::to_value(sample()).unwrap();
        *json.pointer_mut(key).unwrap() = value;
        serde_json::to_vec(&json).unwrap()
    }

    #[test]
    fn survives_json() {
        let json = serde_json::to_vec(&sample()).unwrap();
        assert_eq!(parse_manifest(&json).unwrap(), sample());
        assert_eq!(sample().total_bytes(), 13);
        let text = String::from_utf8(json).unwrap();
        assert!(text.contains("\"dtype\":\"q8\""), "{text}");
    }

    #[test]
    fn names_an_unknown_version_even_when_fields_are_missing() {
        let error = parse_manifest(br#"{"format_version": 7}"#).unwrap_err();
        assert!(matches!(
            error,
            WeightsError::UnknownVersion { found: 7, known: 1 }
        ));
        assert!(error.to_string().contains("format_version 7"), "{error}");
    }

    #[test]
    fn refuses_what_cannot_be_right() {
        let bad = [
            with("/shards/0/file", "../secret".into()),
            with("/shards/0/file", ".hidden".into()),
            with("/shards/0/file", "".into()),
            with("/shards/0/file", "tokenizer-00.json".into()),
            with("/shards/0/file", "model.json".into()),
            with("/shards/0/sha256", "12".into()),
            with("/shards/0/bytes", 0.into()),
            with("/shards/0/bytes", (MAX_SHARD_BYTES + 1).into()),
            with("/tokenizer/file", "a/b.json".into()),
            with("/dtype", "q5".into()),
            b"[]".to_vec(),
            b"".to_vec(),
        ];
        for json in bad {
            let error = parse_manifest(&json).unwrap_err();
            assert!(matches!(error, WeightsError::Manifest { .. }), "{error}");
        }
    }

    #[test]
    fn resolution_and_temperature_are_optional_and_positive() {
        let mut manifest = sample();
        let older = String::from_utf8(serde_json::to_vec(&manifest).unwrap()).unwrap();
        assert!(!older.contains("gsd_m") && !older.contains("temperature"));
        manifest.gsd_m = Some(10.0);
        manifest.temperature = Some(1.5);
        let json = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(parse_manifest(&json).unwrap(), manifest);
        manifest.temperature = Some(0.0);
        let json = serde_json::to_vec(&manifest).unwrap();
        let error = parse_manifest(&json).unwrap_err().to_string();
        assert!(error.contains("temperature"), "{error}");
    }

    #[test]
    fn checks_size_before_hash() {
        let tokenizer = sample().tokenizer;
        tokenizer.check(b"abc").unwrap();
        assert!(matches!(
            tokenizer.check(b"abcd"),
            Err(WeightsError::Size { found: 4, .. })
        ));
        assert!(matches!(
            tokenizer.check(b"abd"),
            Err(WeightsError::Hash { .. })
        ));
    }
}
