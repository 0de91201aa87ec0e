//! The package format: manifest, shards, hashes, quantisation, checkpoint readers.
//!
//! A package is a folder with `model.json` (the [`Manifest`]), a tokenizer file and shards.
//! Each shard is a plain safetensors file of at most [`MAX_SHARD_BYTES`], named by its sha256, so
//! that two packages that share a tower share the files that hold it.
//!
//! Reading works everywhere, browser included, and touches no file: [`parse_manifest`], then
//! [`decode_shard`] on each shard's bytes, then [`Assembler`] to join row parts into whole tensors.
//! Writing ([`write_package`]), checking a folder ([`verify_hashes`]) and opening released
//! checkpoints ([`Checkpoint`]) exist only where there is a file system.

mod assemble;
mod dequant;
mod error;
mod manifest;
mod shard;
mod tensor;

#[cfg(not(target_arch = "wasm32"))]
mod build;
#[cfg(not(target_arch = "wasm32"))]
mod checkpoint;
#[cfg(not(target_arch = "wasm32"))]
mod number;
#[cfg(not(target_arch = "wasm32"))]
mod pack;
#[cfg(not(target_arch = "wasm32"))]
mod package;
#[cfg(not(target_arch = "wasm32"))]
mod quant;
#[cfg(not(target_arch = "wasm32"))]
mod torchscript;

pub use assemble::Assembler;
pub use error::WeightsError;
pub use manifest::{
    Dtypes, FORMAT_VERSION, MANIFEST_FILE, MAX_SHARD_BYTES, Manifest, Probe, SelfTest, ShardRef,
    StoreDtype, TokenizerRef, parse_manifest,
};
pub use shard::{decode_shard, shard_names};
pub use tensor::{HostTensor, HostTensorPart};

#[cfg(not(target_arch = "wasm32"))]
pub use checkpoint::{Checkpoint, CheckpointKind};
#[cfg(not(target_arch = "wasm32"))]
pub use pack::{Bits, Placement};
#[cfg(not(target_arch = "wasm32"))]
pub use package::{verify_hashes, write_package, write_package_then};
