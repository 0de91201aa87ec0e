//! Released checkpoints: PyTorch `.pth`, TorchScript and safetensors files, read one tensor at a
//! time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pytorch_reader::{PytorchError, PytorchReader, Tensor};

use crate::number::Number;
use crate::shard::parse_header;
use crate::torchscript;
use crate::{HostTensor, WeightsError};

/// Keys under which training programs store the weights: detectron2's (docs/network.md §13),
/// Lightning's, those of plain loops, and running means.
const WEIGHT_KEYS: [&str; 6] = [
    "model",
    "state_dict",
    "model_state_dict",
    "module",
    "ema",
    "model_ema",
];

/// What wrappers put before names: data parallelism, Lightning modules, `torch.compile`.
const NAME_PREFIXES: [&str; 4] = ["module.", "model.", "_orig_mod.", "state_dict."];

/// The largest header the safetensors format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// An open checkpoint. Only names and shapes are in memory; [`read`](Self::read) fetches one
/// tensor from the file. Nothing in the file is executed: the pickle is parsed as data.
pub struct Checkpoint {
    path: PathBuf,
    shapes: BTreeMap<String, Vec<usize>>,
    kind: CheckpointKind,
    source: Source,
}

/// What kind of file a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointKind {
    /// What `torch.save` writes.
    Pytorch,
    /// What `torch.jit.save` writes: a program with its weights. `OpenAI` distributes CLIP so.
    TorchScript,
    /// A safetensors file.
    Safetensors,
}

enum Source {
    Pytorch(HashMap<String, Tensor>),
    Ranges {
        file: Mutex<File>,
        ranges: HashMap<String, Range>,
    },
}

/// Where the elements of a tensor lie in its file, one after the other.
struct Range {
    start: u64,
    bytes: usize,
    /// `None` for a type that does not become f32.
    number: Option<Number>,
    /// The type as the file names it.
    dtype: String,
}

impl Checkpoint {
    /// Opens a `.pth`, TorchScript or `.safetensors` file; the content decides which it is.
    ///
    /// Of a PyTorch file that has its weights under a key (`model`, `state_dict`,
    /// `model_state_dict`, `ema`, …), only those are seen, whatever lies beside them
    /// (`iteration`, `optimizer`); otherwise the file itself is taken as the dictionary. The
    /// prefixes of wrappers (`module.`, `model.`, `_orig_mod.`) are taken off names, in either
    /// format.
    ///
    /// # Errors
    /// [`WeightsError::File`] when the file cannot be read, is neither format, is damaged, or
    /// holds no tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let unreadable =
            |e: std::io::Error| WeightsError::file(path, format!("cannot be opened ({e})"));
        let mut file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut start = Vec::new();
        (&mut file)
            .take(9)
            .read_to_end(&mut start)
            .map_err(unreadable)?;
        let (kind, (source, shapes)) = match start.split_first_chunk::<8>() {
            // A length, then JSON: no pickle and no archive looks like that.
            Some((length, b"{")) if u64::from_le_bytes(*length) <= MAX_HEADER_BYTES => {
                let length = u64::from_le_bytes(*length);
                let opened = open_safetensors(path, file, bytes, length)?;
                (CheckpointKind::Safetensors, opened)
            }
            _ => match open_torchscript(path, file, bytes)? {
                Some(opened) => (CheckpointKind::TorchScript, opened),
                None => (CheckpointKind::Pytorch, open_pytorch(path)?),
            },
        };
        if shapes.is_empty() {
            return Err(WeightsError::file(
                path,
                "holds no tensors; give a checkpoint of MM-OVSeg",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            shapes,
            kind,
            source,
        })
    }

    /// What kind of file it is.
    #[must_use]
    pub fn kind(&self) -> CheckpointKind {
        self.kind
    }

    /// Every tensor's name and shape (empty for a scalar), sorted by name, buffers included.
    pub fn names_and_shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.shapes
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()))
    }

    /// How many tensors there are and the names of the first, for an error about another kind of
    /// model.
    #[must_use]
    pub fn contents(&self) -> String {
        const NAMED: usize = 3;
        let first: Vec<&str> = self.shapes.keys().take(NAMED).map(String::as_str).collect();
        let more = if self.shapes.len() > NAMED {
            ", …"
        } else {
            ""
        };
        format!("{} tensors: {}{more}", self.shapes.len(), first.join(", "))
    }

    /// Reads one tensor as f32, from f64, f32, f16, bf16, integers or booleans.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] when there is no such tensor or its type is none of these;
    /// [`WeightsError::File`] when the file cannot be read.
    pub fn read(&self, name: &str) -> Result<HostTensor, WeightsError> {
        let file_name = self.path.display();
        let shape = self.shapes.get(name).ok_or_else(|| {
            WeightsError::tensor(
                name,
                format!("is not in {file_name}; is this a checkpoint of another model?"),
            )
        })?;
        let cut = |e: std::io::Error| {
            WeightsError::file(
                &self.path,
                format!("tensor {name} cannot be read ({e}); copy or download the file again"),
            )
        };
        let missing = || WeightsError::tensor(name, "is not there");
        let (bytes, number) = match &self.source {
            Source::Pytorch(tensors) => {
                let tensor = tensors.get(name).ok_or_else(missing)?;
                let number = Number::of_pytorch(tensor.dtype());
                (tensor.read().map_err(cut)?, number)
            }
            Source::Ranges { file, ranges } => {
                let range = ranges.get(name).ok_or_else(missing)?;
                let number = range.number.ok_or_else(|| {
                    let dtype = &range.dtype;
                    let reason =
                        format!("has type {dtype} in {file_name}; save it as a 32-bit float");
                    WeightsError::tensor(name, reason)
                })?;
                // Ranges were checked against the file's length, which bounds this buffer.
                let mut bytes = vec![0; range.bytes];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(range.start))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(cut)?;
                (bytes, number)
            }
        };
        Ok(HostTensor {
            name: name.to_owned(),
            shape: shape.clone(),
            data: number.to_f32(&bytes),
        })
    }
}

type Opened = (Source, BTreeMap<String, Vec<usize>>);

fn open_pytorch(path: &Path) -> Result<Opened, WeightsError> {
    let under = |key: &&str| match PytorchReader::with_top_level_key(path, key) {
        Err(PytorchError::KeyNotFound(_)) => None,
        other => Some(other),
    };
    let reader = WEIGHT_KEYS.iter().find_map(under);
    let reader = reader.unwrap_or_else(|| PytorchReader::new(path));
    let tensors = reader
        .map_err(|e| {
            WeightsError::file(
                path,
                format!(
                    "is not a readable PyTorch or safetensors checkpoint ({e}); \
                     copy or download it again"
                ),
            )
        })?
        .into_tensors();
    let tensors = without_prefixes(tensors);
    let shapes = tensors
        .iter()
        .map(|(name, t)| (name.clone(), t.shape().to_vec()))
        .collect();
    Ok((Source::Pytorch(tensors), shapes))
}

fn open_safetensors(
    path: &Path,
    mut file: File,
    file_bytes: u64,
    header_bytes: u64,
) -> Result<Opened, WeightsError> {
    let broken = |reason: String| {
        WeightsError::file(
            path,
            format!("is not a readable safetensors file: {reason}; copy or download it again"),
        )
    };
    let data_start = 8 + header_bytes;
    let data_bytes = file_bytes
        .checked_sub(data_start)
        .ok_or_else(|| broken("its header is cut short".to_owned()))?;
    let mut header = Vec::new();
    file.seek(SeekFrom::Start(8))
        .and_then(|_| (&mut file).take(header_bytes).read_to_end(&mut header))
        .map_err(|e| broken(e.to_string()))?;
    let metadata = parse_header(&header, data_bytes).map_err(broken)?;
    let tensors: HashMap<String, (Vec<usize>, Range)> = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let range = Range {
                start: data_start + start as u64,
                bytes: end - start,
                number: Number::of_safetensors(info.dtype),
                dtype: info.dtype.to_string(),
            };
            (name, (info.shape.clone(), range))
        })
        .collect();
    Ok(in_ranges(file, tensors))
}

/// A TorchScript archive; `None` for any other file.
fn open_torchscript(path: &Path, file: File, bytes: u64) -> Result<Option<Opened>, WeightsError> {
    let mut file = file;
    let found = torchscript::tensors(&mut file, bytes).map_err(|reason| {
        WeightsError::file(
            path,
            format!("is not a readable TorchScript archive: {reason}; copy or download it again"),
        )
    })?;
    let Some(found) = found else {
        return Ok(None);
    };
    let tensors = found.into_iter().map(|(name, place)| {
        let range = Range {
            start: place.start,
            bytes: place.bytes,
            number: Some(place.number),
            dtype: format!("{:?}", place.number),
        };
        (name, (place.shape, range))
    });
    Ok(Some(in_ranges(file, tensors.collect())))
}

fn in_ranges(file: File, tensors: HashMap<String, (Vec<usize>, Range)>) -> Opened {
    let mut shapes = BTreeMap::new();
    let mut ranges = HashMap::new();
    for (name, (shape, range)) in without_prefixes(tensors) {
        shapes.insert(name.clone(), shape);
        ranges.insert(name, range);
    }
    let file = Mutex::new(file);
    (Source::Ranges { file, ranges }, shapes)
}

/// Names without what wrappers put before them; as they are when two would become one.
fn without_prefixes<T>(named: HashMap<String, T>) -> HashMap<String, T> {
    fn plain(name: &str) -> &str {
        let stripped = NAME_PREFIXES
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix));
        stripped.map_or(name, plain)
    }
    let names: HashSet<&str> = named.keys().map(|name| plain(name)).collect();
    if names.len() < named.len() {
        return named;
    }
    named
        .into_iter()
        .map(|(name, value)| (plain(&name).to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use half::{bf16, f16};
    use proptest::prelude::*;
    use safetensors::tensor::{Dtype, TensorView};
    use std::fs;

    /// Files that `tests/checkpoints/make.py` wrote, value by value; what training left beside the
    /// weights is not seen.
    #[test]
    fn a_released_file_is_read_to_the_bit() {
        for (variant, tensors) in [("b", 550), ("l", 964)] {
            let path = mmovseg_test_support::checkpoint(variant);
            let checkpoint = Checkpoint::open(&path).unwrap();
            let names: Vec<_> = checkpoint.names_and_shapes().collect();
            assert_eq!(names.len(), tensors);
            assert!(names.is_sorted());
            for (name, shape) in names {
                let tensor = checkpoint.read(name).unwrap();
                assert_eq!(tensor.shape, shape, "{name}");
                assert_eq!(tensor.data.len(), shape.iter().product::<usize>());
                for (i, value) in tensor.data.iter().enumerate() {
                    let want = mmovseg_test_support::fixture_value(name, i);
                    assert_eq!(value.to_bits(), want.to_bits(), "{name}[{i}]");
                }
            }
            let scale = "sem_seg_head.predictor.clip_model.logit_scale";
            assert!(checkpoint.read(scale).unwrap().shape.is_empty());
            let missing = checkpoint.read("nope").unwrap_err().to_string();
            assert!(
                missing.contains("nope") && missing.contains(&format!("{variant}.pth")),
                "{missing}"
            );
        }
    }

    #[test]
    fn prefixes_of_wrappers_are_taken_off_unless_names_would_meet() {
        let data = 1.5_f32.to_le_bytes();
        let write = |names: &[&str]| {
            let views = names
                .iter()
                .map(|&name| (name, TensorView::new(Dtype::F32, vec![1], &data).unwrap()));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("w.safetensors");
            fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
            let checkpoint = Checkpoint::open(&path).unwrap();
            let found: Vec<String> = checkpoint
                .names_and_shapes()
                .map(|(name, _)| name.to_owned())
                .collect();
            for name in &found {
                assert_eq!(checkpoint.read(name).unwrap().data, [1.5]);
            }
            (found, checkpoint.contents())
        };
        let (names, contents) = write(&["module.model.a.w", "_orig_mod.b.w", "c.module.w", "d"]);
        assert_eq!(names, ["a.w", "b.w", "c.module.w", "d"]);
        assert_eq!(contents, "4 tensors: a.w, b.w, c.module.w, …");
        let (names, _) = write(&["model.a", "module.a"]);
        assert_eq!(names, ["model.a", "module.a"]);
    }

    /// Files that PyTorch itself wrote.
    #[test]
    fn both_formats_give_the_same_tensors() {
        for variant in ["b_tiny", "l_tiny"] {
            let golden =
                |kind: &str| mmovseg_test_support::data(&format!("golden/{variant}.{kind}"));
            let files = (golden("pth"), golden("safetensors"));
            let (Some(pth), Some(safe)) = files else {
                return;
            };
            let (pth, safe) = (
                Checkpoint::open(pth).unwrap(),
                Checkpoint::open(safe).unwrap(),
            );
            let names: Vec<_> = pth.names_and_shapes().collect();
            assert!(names.len() > 500);
            assert!(names.is_sorted());
            assert!(
                names
                    .iter()
                    .eq(safe.names_and_shapes().collect::<Vec<_>>().iter())
            );
            for (name, shape) in names {
                let (a, b) = (pth.read(name).unwrap(), safe.read(name).unwrap());
                assert_eq!(a.shape, shape);
                assert_eq!(a.data.len(), shape.iter().product::<usize>());
                let bits = |t: &HostTensor| t.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&a), bits(&b), "{name}");
            }
            let scale = pth
                .read("sem_seg_head.predictor.clip_model.logit_scale")
                .unwrap();
            assert!(scale.shape.is_empty() && scale.data[0].is_finite());
            let mask = pth
                .read("sem_seg_head.predictor.transformer.layers.1.swin_block.block_2.attn_mask")
                .unwrap();
            assert_eq!(mask.shape, [4, 144, 144]);
            assert!(mask.data.iter().all(|&v| v == 0.0 || v == -100.0));
            assert!(mask.data.contains(&-100.0) && mask.data.contains(&0.0));
            if variant == "l_tiny" {
                let buffers = ["rope_embed.periods", "blocks.3.attn.qkv.bias_mask"];
                for buffer in buffers {
                    assert!(pth.read(&format!("dino_sarmodel.{buffer}")).is_ok());
                }
            }
            let missing = pth.read("nope").unwrap_err().to_string();
            assert!(
                missing.contains("nope") && missing.contains(variant),
                "{missing}"
            );
        }
    }

    fn file_with(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    fn mixed() -> Vec<u8> {
        let half: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|&v| f16::from_f32(v).to_le_bytes())
            .collect();
        let brain: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
            .collect();
        let double: Vec<u8> = [1.5f64, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let long = (-7i64).to_le_bytes();
        let data = [
            ("half", Dtype::F16, vec![2], half.as_slice()),
            ("brain", Dtype::BF16, vec![2, 1], &brain),
            ("double", Dtype::F64, vec![2], &double),
            ("long", Dtype::I64, vec![], &long),
            ("byte", Dtype::U8, vec![1], &[200]),
            ("flag", Dtype::BOOL, vec![2], &[0, 1]),
            ("odd", Dtype::F8_E4M3, vec![1], &[0]),
        ]
        .map(|(n, d, s, b)| (n, TensorView::new(d, s, b).unwrap()));
        safetensors::serialize(data, None).unwrap()
    }

    #[test]
    fn other_types_become_f32() {
        let file = file_with(&mixed());
        let checkpoint = Checkpoint::open(file.path()).unwrap();
        for (name, want) in [
            ("half", &[1.5, -2.0][..]),
            ("brain", &[1.5, -2.0]),
            ("double", &[1.5, -2.0]),
            ("long", &[-7.0]),
            ("byte", &[200.0]),
            ("flag", &[0.0, 1.0]),
        ] {
            assert_eq!(checkpoint.read(name).unwrap().data, want, "{name}");
        }
        let refused = checkpoint.read("odd").unwrap_err().to_string();
        assert!(
            refused.contains("odd") && refused.contains("F8_E4M3"),
            "{refused}"
        );
    }

    #[test]
    fn a_file_that_is_no_checkpoint_is_named() {
        let empty = safetensors::serialize(Vec::<(String, TensorView)>::new(), None).unwrap();
        let cut = mixed();
        for bytes in [
            b"".as_slice(),
            b"PK\x03\x04",
            b"hello world",
            &empty,
            &cut[..cut.len() - 1],
        ] {
            let file = file_with(bytes);
            let line = Checkpoint::open(file.path()).err().unwrap().to_string();
            assert!(line.contains(file.path().to_str().unwrap()), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
        assert!(Checkpoint::open("/nonexistent.pth").is_err());
        let bytes = fs::read(mmovseg_test_support::checkpoint("b")).unwrap();
        let file = file_with(&bytes[..bytes.len() / 2]);
        let line = Checkpoint::open(file.path()).err().unwrap().to_string();
        assert!(line.contains("again"), "{line}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn mutated_files_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = mixed();
            for (at, value) in changes {
                let n = bytes.len();
                bytes[at.index(n)] = value;
            }
            let file = file_with(&bytes);
            if let Ok(checkpoint) = Checkpoint::open(file.path()) {
                for (name, shape) in checkpoint.names_and_shapes() {
                    if let Ok(tensor) = checkpoint.read(name) {
                        prop_assert_eq!(tensor.data.len(), shape.iter().product::<usize>());
                    }
                }
            }
        }
    }
}
