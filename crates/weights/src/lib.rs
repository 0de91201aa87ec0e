//! The package format: manifest, shards, hashes, quantisation, checkpoint readers.
