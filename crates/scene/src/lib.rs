//! Procedural optical and SAR scenes with ground truth.
