//! Fewer dimensions for the teacher's embeddings, chosen to keep land-cover phrases apart.

use nalgebra::{DMatrix, SymmetricEigen};

use super::teacher::WIDTH;

/// Takes the mean away, keeps the principal directions, gives unit vectors.
pub(super) struct Projection {
    mean: Vec<f64>,
    /// One row a direction, strongest first, `[width, WIDTH]`.
    rows: Vec<Vec<f64>>,
}

impl Projection {
    /// Fits `width` directions on embeddings `[N, WIDTH]`, each phrase with its weight.
    pub(super) fn fit(embeddings: &[f32], weights: &[f64], width: usize) -> Self {
        let total: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let rows = || embeddings.chunks_exact(WIDTH).zip(weights);
        let mut mean = vec![0.0; WIDTH];
        for (row, weight) in rows() {
            for (m, &x) in mean.iter_mut().zip(row) {
                *m += f64::from(x) * weight / total;
            }
        }
        let mut covariance = DMatrix::<f64>::zeros(WIDTH, WIDTH);
        // In blocks: one matrix product a block is far faster than outer products one by one.
        let all: Vec<_> = rows().collect();
        for block in all.chunks(2048) {
            let centred = DMatrix::from_fn(WIDTH, block.len(), |i, j| {
                (f64::from(block[j].0[i]) - mean[i]) * (block[j].1 / total).sqrt()
            });
            covariance += &centred * centred.transpose();
        }
        let eigen = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..WIDTH).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let rows = order.iter().take(width).map(|&i| eigen.eigenvectors.column(i).iter().copied().collect()).collect();
        Self { mean, rows }
    }

    /// Unit vectors `[N, width]` of embeddings `[N, WIDTH]`.
    pub(super) fn apply(&self, embeddings: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(embeddings.len() / WIDTH * self.rows.len());
        for row in embeddings.chunks_exact(WIDTH) {
            let centred: Vec<f64> = row.iter().zip(&self.mean).map(|(&x, m)| f64::from(x) - m).collect();
            let projected: Vec<f64> =
                self.rows.iter().map(|axis| axis.iter().zip(&centred).map(|(a, x)| a * x).sum()).collect();
            let norm = projected.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            out.extend(projected.iter().map(|x| (x / norm) as f32));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_strong_directions() {
        // Two directions of spread 1 and 0.1, all else constant.
        let mut embeddings = Vec::new();
        for i in 0..40 {
            let mut row = vec![0.5f32; WIDTH];
            row[3] += if i % 2 == 0 { 1.0 } else { -1.0 };
            row[7] += if i % 4 < 2 { 0.1 } else { -0.1 };
            embeddings.extend(row);
        }
        let projection = Projection::fit(&embeddings, &vec![1.0; 40], 1);
        let out = projection.apply(&embeddings);
        assert_eq!(out.len(), 40);
        assert!((out[0] + out[1]).abs() < 1e-5, "opposite sides of the mean");
        assert!((out[0].abs() - 1.0).abs() < 1e-5, "unit length");
        assert!((projection.rows[0][3].abs() - 1.0).abs() < 1e-6);
    }
}
