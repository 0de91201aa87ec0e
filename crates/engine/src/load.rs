//! Loading a package into a session, shard by shard.

use std::collections::BTreeMap;

use burn::tensor::Device;
use mmovseg_model::{Network, NetworkConfig, Precision};
use mmovseg_text::Tokenizer;
use mmovseg_weights::{
    Assembler, HostTensor, MANIFEST_FILE, Manifest, WeightsError, decode_shard, parse_manifest,
    shard_names,
};

use crate::api::Event;
use crate::device::{DeviceInfo, PrecisionChoice};
use crate::error::EngineError;
use crate::package::PackageSource;
use crate::session::Session;

impl Session {
    /// Reads a package: manifest, tokenizer, then shard by shard, each checked against its hash,
    /// dequantised, moved to the device and dropped. A file that arrives damaged is read once more
    /// where that may help. Half precision that was not asked for by name has to pass the
    /// self-test; where it does not, the package is read again, in single precision.
    ///
    /// # Errors
    /// When a file is missing or damaged, the tensors are not those of the architecture, or the
    /// device has no half precision and was asked for it.
    pub async fn load<S: PackageSource>(
        source: &S,
        device: (Device, DeviceInfo),
        precision: PrecisionChoice,
        on: &mut dyn FnMut(Event),
    ) -> Result<Self, EngineError> {
        let mut session = Self::open(source, device, on).await?;
        session.info.precision = session.precision(precision)?;
        let seen = session.fill(source, &|_| true, on).await?;
        session.check(&seen)?;
        if precision == PrecisionChoice::Auto && session.info.precision == Precision::F16 {
            session.prove_half(source, on).await?;
        }
        Ok(session)
    }

    /// A session without weights: manifest and tokenizer only.
    pub(crate) async fn open<S: PackageSource>(
        source: &S,
        (device, info): (Device, DeviceInfo),
        on: &mut dyn FnMut(Event),
    ) -> Result<Self, EngineError> {
        let manifest = parse_manifest(&source.read(MANIFEST_FILE, &mut |_| {}).await?)?;
        let config = network_config(&manifest.architecture)
            .map_err(|error| EngineError::Architecture(error.to_string()))?;
        let file = &manifest.tokenizer;
        let mut arrived = download(0, &manifest, on);
        arrived(0);
        let check = |bytes: &[u8]| file.check(bytes).map(|()| bytes.to_vec());
        let tokenizer = read_checked(source, &file.file, &mut arrived, check).await?;
        drop(arrived);
        let tokenizer = Tokenizer::from_json(&tokenizer)?;
        let network = Network::new(&config, &device)?;
        Ok(Self::of_network(
            manifest,
            config,
            network,
            tokenizer,
            (device, info),
        ))
    }

    /// Replaces the weights by those whose names `wants` accepts, and gives every name and shape
    /// read. Nothing of the old weights is in memory while the new ones arrive.
    pub(crate) async fn fill<S: PackageSource>(
        &mut self,
        source: &S,
        wants: &dyn Fn(&str) -> bool,
        on: &mut dyn FnMut(Event),
    ) -> Result<Vec<(String, Vec<usize>)>, EngineError> {
        let empty = || Network::new(&self.config, &self.device);
        let mut network = empty()?;
        self.network = empty()?;
        let wanted = network.parameter_shapes();
        let mut before = self.manifest.tokenizer.bytes;
        let mut assembler = Assembler::new();
        let mut seen = Vec::new();
        for shard in &self.manifest.shards {
            let decode = |bytes: &[u8]| match shard_names(bytes, shard) {
                // A shard of nothing wanted is neither checked nor decoded.
                Ok(names) if !names.iter().any(|name| wants(name)) => Ok(Vec::new()),
                _ => decode_shard(bytes, shard),
            };
            let mut arrived = download(before, &self.manifest, on);
            let parts = read_checked(source, &shard.file, &mut arrived, decode).await?;
            drop(arrived);
            let mut ready = BTreeMap::new();
            for part in parts.into_iter().filter(|part| wants(&part.name)) {
                if let Some(HostTensor { name, shape, data }) = assembler.push(part)? {
                    seen.push((name.clone(), shape.clone()));
                    if wanted.get(&name) == Some(&shape) {
                        ready.insert(name, (shape, data));
                    }
                }
            }
            network = network.load_as(&mut ready, self.info.precision);
            before += shard.bytes;
            download(before, &self.manifest, on)(0);
        }
        assembler.finish()?;
        self.network = network;
        Ok(seen)
    }

    /// Whether these are the tensors of the architecture.
    pub(crate) fn check(&self, seen: &[(String, Vec<usize>)]) -> Result<(), EngineError> {
        let seen = seen
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()));
        let mismatch = self.network.compare(seen);
        if !mismatch.is_empty() {
            return Err(EngineError::Mismatch(mismatch.to_string()));
        }
        Ok(())
    }
}

/// The configuration in a manifest, whose `network` tells kinds apart; those with a head name none.
fn network_config(architecture: &serde_json::Value) -> Result<NetworkConfig, serde_json::Error> {
    Ok(if architecture.get("network").is_some() {
        NetworkConfig::SegEarth(serde_json::from_value(architecture.clone())?)
    } else {
        NetworkConfig::MmOvSeg(serde_json::from_value(architecture.clone())?)
    })
}

/// Turns the bytes of the file that is arriving into the progress of the whole package.
fn download<'a>(
    before: u64,
    manifest: &Manifest,
    on: &'a mut dyn FnMut(Event),
) -> impl FnMut(u64) + use<'a> {
    let total_bytes = manifest.total_bytes();
    move |bytes| {
        on(Event::Download {
            done_bytes: before + bytes,
            total_bytes,
        });
    }
}

/// Reads and decodes a file, a second time when it arrived damaged.
async fn read_checked<S: PackageSource, T>(
    source: &S,
    file: &str,
    arrived: &mut dyn FnMut(u64),
    decode: impl Fn(&[u8]) -> Result<T, WeightsError>,
) -> Result<T, EngineError> {
    let damaged = match decode(&source.read(file, arrived).await?) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if !source.discard(file).await {
        return Err(damaged.into());
    }
    let again = decode(&source.read(file, arrived).await?);
    if again.is_err() {
        // A damaged copy must not be what the next attempt finds.
        source.discard(file).await;
    }
    Ok(again?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::cell::{Cell, RefCell};

    use crate::device::{PrecisionChoice, open_device};
    use crate::error::EngineError;
    use crate::package::{FolderSource, PackageSource, nano};
    use crate::session::Session;
    use mmovseg_types::DeviceChoice;

    /// Damages the first `damaged` arrivals of every shard.
    struct BadLine {
        folder: FolderSource,
        damaged: usize,
        reads: RefCell<Vec<String>>,
        discarded: Cell<usize>,
    }

    impl PackageSource for BadLine {
        async fn read(
            &self,
            file: &str,
            on_bytes: &mut dyn FnMut(u64),
        ) -> Result<Vec<u8>, EngineError> {
            let mut bytes = self.folder.read(file, on_bytes).await?;
            let before = self.reads.borrow().iter().filter(|f| *f == file).count();
            if file.ends_with(".safetensors") && before < self.damaged {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
            }
            self.reads.borrow_mut().push(file.to_owned());
            Ok(bytes)
        }

        async fn discard(&self, _file: &str) -> bool {
            self.discarded.set(self.discarded.get() + 1);
            true
        }
    }

    fn load_over(damaged: usize) -> (BadLine, Result<Session, EngineError>) {
        let line = BadLine {
            folder: nano(),
            damaged,
            reads: RefCell::default(),
            discarded: Cell::new(0),
        };
        let device = pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
        let loaded = pollster::block_on(Session::load(
            &line,
            device,
            PrecisionChoice::Auto,
            &mut |_| {},
        ));
        (line, loaded)
    }

    #[test]
    fn a_damaged_shard_is_read_once_more_and_then_refused_by_name() {
        let (line, loaded) = load_over(1);
        let shards = loaded.unwrap().manifest().shards.len();
        assert_eq!(line.reads.borrow().len(), 2 + 2 * shards);
        assert_eq!(line.discarded.get(), shards);

        let (line, loaded) = load_over(2);
        let message = loaded.err().unwrap().to_string();
        let first = line.reads.borrow()[2].clone();
        assert!(message.contains(&first), "{message} does not name {first}");
        assert_eq!(line.reads.borrow().len(), 4);
        assert_eq!(line.discarded.get(), 2, "no damaged copy is left behind");
    }
}
