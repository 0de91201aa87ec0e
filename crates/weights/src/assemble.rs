//! Joins the row ranges that shards hold to whole tensors.

use std::collections::BTreeMap;

use crate::tensor::Matrix;
use crate::{HostTensor, HostTensorPart, WeightsError};

/// A tensor of which some rows have arrived.
struct Pending {
    shape: Vec<usize>,
    matrix: Matrix,
    /// Rows 0.. without a gap.
    data: Vec<f32>,
    /// Later rows, by first row, until the gap before them closes.
    ahead: BTreeMap<usize, Vec<f32>>,
    ahead_rows: usize,
}

/// Collects [`HostTensorPart`]s, in any order, and gives out each tensor once it is whole, so that
/// only the tensors in progress are in memory.
#[derive(Default)]
pub struct Assembler {
    pending: BTreeMap<String, Pending>,
}

impl Assembler {
    /// An assembler without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a part; gives the tensor when this part makes it whole.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] when the part contradicts itself or an earlier part of the same
    /// tensor (another shape, rows twice), or when the tensor does not fit in memory.
    pub fn push(&mut self, part: HostTensorPart) -> Result<Option<HostTensor>, WeightsError> {
        let HostTensorPart {
            name,
            shape,
            rows,
            data,
        } = part;
        let matrix = Matrix::of(&shape).map_err(|why| WeightsError::tensor(&name, why))?;
        let wrong =
            |reason| WeightsError::tensor(&name, format!("{reason}; fetch the package again"));
        if rows.is_empty()
            || rows.end > matrix.rows
            || rows.len().checked_mul(matrix.cols) != Some(data.len())
        {
            return Err(wrong("a part of it does not fit its shape"));
        }
        if rows.len() == matrix.rows && !self.pending.contains_key(&name) {
            return Ok(Some(HostTensor { name, shape, data }));
        }
        let pending = self.pending.entry(name.clone()).or_insert_with(|| Pending {
            shape: shape.clone(),
            matrix,
            data: Vec::new(),
            ahead: BTreeMap::new(),
            ahead_rows: 0,
        });
        if pending.shape != shape {
            return Err(wrong("two shards give it different shapes"));
        }
        let next = pending.data.len() / matrix.cols;
        let before = pending.ahead.range(..rows.end).next_back();
        let overlaps = before.is_some_and(|(start, d)| start + d.len() / matrix.cols > rows.start);
        if rows.start < next || overlaps {
            return Err(wrong("two shards hold the same rows of it"));
        }
        pending.ahead_rows += rows.len();
        pending.ahead.insert(rows.start, data);
        while let Some(data) = pending.ahead.remove(&(pending.data.len() / matrix.cols)) {
            if pending.data.is_empty() {
                // Once and exactly: growing by doubling would need up to three times the memory.
                pending
                    .data
                    .try_reserve_exact(matrix.rows * matrix.cols)
                    .map_err(|_| WeightsError::tensor(&name, "not enough memory to hold it"))?;
            }
            pending.ahead_rows -= data.len() / matrix.cols;
            pending.data.extend(data);
        }
        if pending.data.len() < matrix.rows * matrix.cols {
            return Ok(None);
        }
        Ok(self.pending.remove(&name).map(|pending| HostTensor {
            name,
            shape: pending.shape,
            data: pending.data,
        }))
    }

    /// To call after the last shard.
    ///
    /// # Errors
    /// [`WeightsError::Incomplete`] when a tensor still lacks rows.
    pub fn finish(self) -> Result<(), WeightsError> {
        match self.pending.first_key_value() {
            None => Ok(()),
            Some((name, first)) => Err(WeightsError::Incomplete {
                count: self.pending.len(),
                first: name.clone(),
                have: first.data.len() / first.matrix.cols + first.ahead_rows,
                want: first.matrix.rows,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn part(rows: std::ops::Range<usize>) -> HostTensorPart {
        HostTensorPart {
            name: "t".into(),
            shape: vec![10, 2],
            data: (rows.start * 2..rows.end * 2).map(|v| v as f32).collect(),
            rows,
        }
    }

    proptest! {
        #[test]
        fn joins_in_any_order(mut cuts in prop::collection::btree_set(1usize..10, 0..6), seed in any::<u64>()) {
            cuts.extend([0, 10]);
            let cuts: Vec<usize> = cuts.into_iter().collect();
            let mut parts: Vec<_> = cuts.windows(2).map(|w| part(w[0]..w[1])).collect();
            let n = parts.len();
            for i in 0..n {
                parts.swap(i, (seed >> i) as usize % n);
            }
            let mut assembler = Assembler::new();
            for (i, p) in parts.into_iter().enumerate() {
                let whole = assembler.push(p).unwrap();
                prop_assert_eq!(whole.is_some(), i + 1 == n);
                if let Some(whole) = whole {
                    prop_assert_eq!(whole.data, (0..20).map(|v| v as f32).collect::<Vec<_>>());
                }
            }
            prop_assert!(assembler.finish().is_ok());
        }
    }

    #[test]
    fn says_what_is_missing() {
        let mut assembler = Assembler::new();
        assert!(assembler.push(part(0..3)).unwrap().is_none());
        assert!(assembler.push(part(5..9)).unwrap().is_none());
        let error = assembler.finish().unwrap_err();
        assert!(error.to_string().contains("t with 7 of 10 rows"), "{error}");
    }

    #[test]
    fn refuses_contradictions() {
        let mut assembler = Assembler::new();
        assembler.push(part(0..3)).unwrap();
        assembler.push(part(5..7)).unwrap();
        assert!(assembler.push(part(2..4)).is_err());
        assert!(assembler.push(part(4..6)).is_err());
        assert!(assembler.push(part(6..8)).is_err());
        assert!(assembler.push(part(3..10)).is_err());
        assert!(assembler.push(part(0..10)).is_err());
        let mut other = part(3..5);
        other.shape = vec![11, 2];
        assert!(assembler.push(other).is_err());
        let mut short = part(3..5);
        short.data.pop();
        assert!(assembler.push(short).is_err());
        assert!(assembler.push(part(3..5)).unwrap().is_none());
        assert!(assembler.push(part(7..10)).unwrap().is_some());
    }
}
