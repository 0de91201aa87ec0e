//! One shard, read: how tensors and row ranges of tensors lie inside a safetensors file.
//!
//! | stored as | entries |
//! |---|---|
//! | f32, f16 | `NAME`: F32 or F16, shape of the rows held |
//! | q8 | `NAME#q8`: I8 `[rows, cols]`; `NAME#scale`: F16 `[rows, ceil(cols / 32)]` |
//! | q4 | `NAME#q4`: U8 `[rows, ceil(cols / 2)]`, even columns low; `NAME#scale` as above |
//!
//! A q4 value is stored plus 8. `cols` is the product of the extents after the first. Quantised
//! tensors and row ranges have a note with the whole shape and the first row: the header's
//! `__metadata__` has the single key `mmovseg`, a JSON object
//! `{"NAME": {"shape": [..], "start": 0}}`. (A single key, since the safetensors writer does not
//! fix the order of several, and equal content must hash equal.)

use std::collections::{BTreeMap, BTreeSet, HashSet};

use half::f16;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use crate::dequant::{self, BLOCK};
use crate::tensor::Matrix;
use crate::{HostTensorPart, ShardRef, StoreDtype, WeightsError};

/// The one key of the header's `__metadata__`.
pub(crate) const NOTES_KEY: &str = "mmovseg";

/// What the header cannot say about a quantised tensor or a row range.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Shape of the whole tensor.
    pub shape: Vec<usize>,
    /// First row held.
    pub start: usize,
}

/// Checks a shard's size and sha256 and turns its content into f32 rows, by tensor name.
///
/// Meant for bytes from a network: whatever they are, the answer is parts or an error.
///
/// # Errors
/// [`WeightsError::Size`] and [`WeightsError::Hash`] when `bytes` are not the shard that the
/// manifest means, [`WeightsError::Shard`] when the content does not follow the format.
pub fn decode_shard(bytes: &[u8], shard: &ShardRef) -> Result<Vec<HostTensorPart>, WeightsError> {
    shard.check(bytes)?;
    decode(bytes).map_err(|reason| WeightsError::Shard {
        file: shard.file.clone(),
        reason,
    })
}

/// Names of the tensors that a shard holds all or rows of, from its header alone: neither the hash
/// is checked nor a value read.
///
/// # Errors
/// [`WeightsError::Shard`] when the header does not follow the format.
pub fn shard_names(bytes: &[u8], shard: &ShardRef) -> Result<BTreeSet<String>, WeightsError> {
    let (metadata, _) = split(bytes).map_err(|reason| WeightsError::Shard {
        file: shard.file.clone(),
        reason,
    })?;
    let name = |key: String| key.split('#').next().unwrap_or_default().to_owned();
    Ok(metadata.offset_keys().into_iter().map(name).collect())
}

/// Parses a safetensors header that the tensor data of `data_bytes` bytes follow.
///
/// (`SafeTensors::deserialize` would do, but adds lengths from the file without a check.)
pub(crate) fn parse_header(header: &[u8], data_bytes: u64) -> Result<Metadata, String> {
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|e| format!("its header is broken ({e})"))?;
    if metadata.data_len() as u64 != data_bytes {
        return Err(format!(
            "its header describes {} bytes of tensors, {data_bytes} are there",
            metadata.data_len()
        ));
    }
    Ok(metadata)
}

/// A shard's header and the tensor data behind it.
fn split(bytes: &[u8]) -> Result<(Metadata, &[u8]), String> {
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or("it is shorter than a safetensors header")?;
    let (header, data) = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .and_then(|n| rest.split_at_checked(n))
        .ok_or("its header is cut short")?;
    Ok((parse_header(header, data.len() as u64)?, data))
}

fn decode(bytes: &[u8]) -> Result<Vec<HostTensorPart>, String> {
    let (metadata, data) = split(bytes)?;
    let notes: BTreeMap<String, Note> = match metadata.metadata() {
        Some(map) => match map.get(NOTES_KEY) {
            Some(json) => {
                serde_json::from_str(json).map_err(|e| format!("its notes are broken ({e})"))?
            }
            None => BTreeMap::new(),
        },
        None => BTreeMap::new(),
    };
    let file = File {
        metadata: &metadata,
        data,
        notes,
    };
    let mut keys = metadata.offset_keys();
    keys.sort_unstable();
    let mut parts = Vec::with_capacity(keys.len());
    let mut names = HashSet::new();
    for key in &keys {
        let (name, kind) = key.split_once('#').unwrap_or((key, ""));
        if kind == "scale" {
            continue;
        }
        if !names.insert(name) {
            return Err(format!("{name} is there twice"));
        }
        let part = file.part(key, name, kind);
        parts.push(part.map_err(|why| format!("{key}: {why}"))?);
    }
    Ok(parts)
}

struct File<'a> {
    metadata: &'a Metadata,
    data: &'a [u8],
    notes: BTreeMap<String, Note>,
}

impl File<'_> {
    fn bytes(&self, info: &TensorInfo) -> Result<&[u8], &'static str> {
        self.data
            .get(info.data_offsets.0..info.data_offsets.1)
            .ok_or("its data lies outside the file")
    }

    /// The rows under `key`, which is `name`, or `name#kind`.
    fn part(&self, key: &str, name: &str, kind: &str) -> Result<HostTensorPart, &'static str> {
        let info = self.metadata.info(key).ok_or("it is not there")?;
        let values = self.bytes(info)?;
        let quantised = match kind {
            "" => None,
            "q8" => Some(StoreDtype::Q8),
            "q4" => Some(StoreDtype::Q4),
            _ => return Err("unknown kind of entry"),
        };
        let note = self.notes.get(name);
        let shape = match (note, quantised) {
            (Some(note), _) => &note.shape,
            (None, None) => &info.shape,
            (None, Some(_)) => return Err("its shape is not noted"),
        };
        let whole = Matrix::of(shape)?;
        let held = Matrix::of(&info.shape)?;
        let start = note.map_or(0, |note| note.start);
        let end = start
            .checked_add(held.rows)
            .filter(|&end| end <= whole.rows)
            .ok_or("it has more rows than its shape")?;
        let mut data = Vec::new();
        match quantised {
            None => {
                let same_rest = info.shape.get(1..) == shape.get(1..);
                if !same_rest || info.shape.len() != shape.len() {
                    return Err("its rows do not fit its shape");
                }
                data.reserve_exact(held.rows * held.cols);
                match info.dtype {
                    Dtype::F32 => {
                        let (words, _) = values.as_chunks::<4>();
                        data.extend(words.iter().map(|&b| f32::from_le_bytes(b)));
                    }
                    Dtype::F16 => {
                        let (words, _) = values.as_chunks::<2>();
                        data.extend(words.iter().map(|&b| f16::from_le_bytes(b).to_f32()));
                    }
                    _ => return Err("it is neither F32 nor F16"),
                }
            }
            Some(kind) => {
                let (width, dtype) = match kind {
                    StoreDtype::Q4 => (dequant::q4_row_bytes(whole.cols), Dtype::U8),
                    _ => (whole.cols, Dtype::I8),
                };
                let blocks = whole.cols.div_ceil(BLOCK);
                let scale = self
                    .metadata
                    .info(&format!("{name}#scale"))
                    .filter(|s| s.dtype == Dtype::F16 && s.shape == [held.rows, blocks])
                    .ok_or("its scales are missing or do not fit")?;
                if info.dtype != dtype || info.shape != [held.rows, width] {
                    return Err("its rows do not fit its shape");
                }
                let scales = self.bytes(scale)?;
                // Bounded by the file: at most two values a byte. No more than is needed, since a
                // page's memory never shrinks again; q4 writes an odd row's last nibble before it
                // cuts it off.
                data.reserve_exact(held.rows * whole.cols + 1);
                for (values, scales) in values
                    .chunks_exact(width)
                    .zip(scales.chunks_exact(2 * blocks))
                {
                    match kind {
                        StoreDtype::Q4 => {
                            dequant::q4_restore(values, scales, whole.cols, &mut data)
                        }
                        _ => dequant::q8_restore(values, scales, &mut data),
                    }
                    .ok_or("a scale is not finite")?;
                }
            }
        }
        Ok(HostTensorPart {
            name: name.to_owned(),
            shape: shape.clone(),
            rows: start..end,
            data,
        })
    }
}
