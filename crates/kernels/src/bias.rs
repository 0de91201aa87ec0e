//! The constant bias of attention scores: window masks and the causal mask.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};

/// A constant bias `[period, L, L]` (window, query, key) on attention scores. Sequence `n` of a
/// batch uses entry `n mod period`.
#[derive(Clone, Debug)]
pub struct WindowBias {
    /// `[period, query, key]`.
    values: Vec<f32>,
    /// `[period, key, query]`, computed on first use.
    by_key: OnceLock<Vec<f32>>,
    period: usize,
    length: usize,
}

impl WindowBias {
    /// From `[period, L, L]` values in the order window, query, key.
    ///
    /// # Panics
    /// When `values.len()` is not `period · length²`.
    #[must_use]
    pub fn new(values: Vec<f32>, period: usize, length: usize) -> Self {
        assert_eq!(
            values.len(),
            period * length * length,
            "values of a window bias [{period}, {length}, {length}]"
        );
        Self {
            values,
            by_key: OnceLock::new(),
            period,
            length,
        }
    }

    /// The causal mask for sequences of one length: hides the keys after each query.
    #[must_use]
    pub fn causal(length: usize) -> Self {
        // Its exponential is 0, and sums of it stay finite.
        const MASKED: f32 = -1e30;
        let values = (0..length * length)
            .map(|i| if i % length > i / length { MASKED } else { 0.0 })
            .collect();
        Self::new(values, 1, length)
    }

    /// Number of entries.
    #[must_use]
    pub fn period(&self) -> usize {
        self.period
    }

    /// `[query, key]` of a sequence.
    pub(crate) fn of(&self, sequence: usize) -> &[f32] {
        let size = self.length * self.length;
        &self.values[sequence % self.period * size..][..size]
    }

    /// `[period, key, query]`.
    fn by_key(&self) -> &[f32] {
        self.by_key.get_or_init(|| {
            let length = self.length;
            (0..self.values.len())
                .map(|i| {
                    let (window, key, query) =
                        (i / length / length, i / length % length, i % length);
                    self.values[(window * length + query) * length + key]
                })
                .collect()
        })
    }

    /// `[key, query]` of a sequence.
    pub(crate) fn of_by_key(&self, sequence: usize) -> &[f32] {
        let size = self.length * self.length;
        &self.by_key()[sequence % self.period * size..][..size]
    }

    /// `[period, key, query]`, to upload.
    #[cfg(feature = "gpu")]
    pub(crate) fn by_key_data(&self) -> TensorData {
        TensorData::new(
            self.by_key().to_vec(),
            [self.period, self.length, self.length],
        )
    }

    /// `[period, 1, L, L]` on a device.
    #[must_use]
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let shape = [self.period, 1, self.length, self.length];
        Tensor::from_data(TensorData::new(self.values.clone(), shape), device)
    }
}
