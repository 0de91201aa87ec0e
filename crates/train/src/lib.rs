//! Training, native only: data sets, the paper's two stages, metrics.
