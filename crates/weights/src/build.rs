//! One shard, written: the layout of `shard`, filled until the file is full.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use half::f16;
use safetensors::tensor::{Dtype, TensorView};

use crate::dequant::{BLOCK, q4_row_bytes};
use crate::quant::{self, OutOfRange};
use crate::shard::{NOTES_KEY, Note};
use crate::tensor::Matrix;
use crate::{HostTensor, StoreDtype, WeightsError};

/// Bytes that one row takes.
pub(crate) fn row_bytes(cols: usize, stored: StoreDtype) -> usize {
    match stored {
        StoreDtype::F32 => 4 * cols,
        StoreDtype::F16 => 2 * cols,
        StoreDtype::Q8 => cols + 2 * cols.div_ceil(BLOCK),
        StoreDtype::Q4 => q4_row_bytes(cols) + 2 * cols.div_ceil(BLOCK),
    }
}

/// An upper bound of the header bytes of one tensor: two entries and a note.
fn header_bytes(name: &str, dims: usize) -> usize {
    3 * name.len() + 3 * 21 * dims + 400
}

struct Entry {
    key: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Collects tensors until a shard is full.
#[derive(Default)]
pub(crate) struct ShardBuilder {
    entries: Vec<Entry>,
    notes: BTreeMap<String, Note>,
    /// Upper bound of the file size so far.
    bytes: usize,
}

impl ShardBuilder {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many more rows of this tensor fit into a file of `limit` bytes.
    pub fn room(
        &self,
        tensor: &HostTensor,
        cols: usize,
        stored: StoreDtype,
        limit: usize,
    ) -> usize {
        // 64: the length prefix, the braces, the key of the notes and the padding.
        let used = self.bytes + 64 + header_bytes(&tensor.name, tensor.shape.len());
        limit.saturating_sub(used) / row_bytes(cols, stored)
    }

    /// Adds rows of a tensor.
    ///
    /// # Errors
    /// A value that `stored` cannot hold, by name and position.
    pub fn push(
        &mut self,
        tensor: &HostTensor,
        matrix: Matrix,
        rows: Range<usize>,
        stored: StoreDtype,
    ) -> Result<(), WeightsError> {
        let (name, cols) = (&tensor.name, matrix.cols);
        let whole = rows.len() == matrix.rows;
        let data = &tensor.data[rows.start * cols..rows.end * cols];
        let mut values = Vec::with_capacity(rows.len() * row_bytes(cols, stored));
        let mut scales = Vec::new();
        let refuse = |row: usize, OutOfRange(value): OutOfRange| {
            WeightsError::tensor(
                name,
                format!(
                    "the value {value} in row {row} does not fit {stored:?}; \
                     convert with --dtype f32, or check the checkpoint"
                ),
            )
        };
        match stored {
            StoreDtype::F32 => values.extend(data.iter().flat_map(|v| v.to_le_bytes())),
            StoreDtype::F16 => {
                for (i, &v) in data.iter().enumerate() {
                    let half = f16::from_f32(v);
                    if !half.is_finite() {
                        return Err(refuse(rows.start + i / cols, OutOfRange(v)));
                    }
                    values.extend(half.to_le_bytes());
                }
            }
            StoreDtype::Q8 | StoreDtype::Q4 => {
                for (row, line) in rows.clone().zip(data.chunks_exact(cols)) {
                    match stored {
                        StoreDtype::Q4 => quant::q4_row(line, &mut values, &mut scales),
                        _ => quant::q8_row(line, &mut values, &mut scales),
                    }
                    .map_err(|e| refuse(row, e))?;
                }
            }
        }
        let mut held = tensor.shape.clone();
        if let Some(first) = held.first_mut() {
            *first = rows.len();
        }
        let (key, dtype, shape) = match stored {
            StoreDtype::F32 => (name.clone(), Dtype::F32, held),
            StoreDtype::F16 => (name.clone(), Dtype::F16, held),
            StoreDtype::Q8 => (format!("{name}#q8"), Dtype::I8, vec![rows.len(), cols]),
            StoreDtype::Q4 => (
                format!("{name}#q4"),
                Dtype::U8,
                vec![rows.len(), q4_row_bytes(cols)],
            ),
        };
        if !scales.is_empty() || !whole {
            let shape = tensor.shape.clone();
            let start = rows.start;
            self.notes.insert(name.clone(), Note { shape, start });
        }
        self.bytes += header_bytes(name, tensor.shape.len()) + values.len() + scales.len();
        if !scales.is_empty() {
            self.entries.push(Entry {
                key: format!("{name}#scale"),
                dtype: Dtype::F16,
                shape: vec![rows.len(), cols.div_ceil(BLOCK)],
                bytes: scales,
            });
        }
        self.entries.push(Entry {
            key,
            dtype,
            shape,
            bytes: values,
        });
        Ok(())
    }

    /// The file's bytes; the builder is empty afterwards.
    pub fn take(&mut self) -> Result<Vec<u8>, WeightsError> {
        let Self { entries, notes, .. } = std::mem::take(self);
        let fault = |reason: String| WeightsError::Shard {
            file: "being written".to_owned(),
            reason,
        };
        let notes = if notes.is_empty() {
            None
        } else {
            let json = serde_json::to_string(&notes).map_err(|e| fault(e.to_string()))?;
            Some(HashMap::from([(NOTES_KEY.to_owned(), json)]))
        };
        let views = entries
            .iter()
            .map(|e| Ok((&e.key, TensorView::new(e.dtype, e.shape.clone(), &e.bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        views
            .and_then(|views| safetensors::serialize(views, notes))
            .map_err(|e| fault(e.to_string()))
    }
}
