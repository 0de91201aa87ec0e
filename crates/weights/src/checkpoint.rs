//! Released checkpoints: PyTorch `.pth` and safetensors files, read one tensor at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use half::{bf16, f16};
use pytorch_reader::{DType, PytorchError, PytorchReader, Tensor};
use safetensors::tensor::{Dtype, TensorInfo};

use crate::shard::parse_header;
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
    source: Source,
}

enum Source {
    Pytorch(HashMap<String, Tensor>),
    Safetensors {
        file: Mutex<File>,
        data_start: u64,
        infos: HashMap<String, TensorInfo>,
    },
}

impl Checkpoint {
    /// Opens a `.pth` or `.safetensors` file; the content decides which it is.
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
        let (source, shapes) = match start.split_first_chunk::<8>() {
            // A length, then JSON: no pickle and no archive looks like that.
            Some((length, b"{")) if u64::from_le_bytes(*length) <= MAX_HEADER_BYTES => {
                open_safetensors(path, file, bytes, u64::from_le_bytes(*length))?
            }
            _ => open_pytorch(path)?,
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
            source,
        })
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
        let kind = match &self.source {
            Source::Pytorch(tensors) => tensors.get(name).map(Found::Pytorch),
            Source::Safetensors { infos, .. } => infos.get(name).map(Found::Safetensors),
        };
        let missing = || WeightsError::tensor(name, "is not there");
        let (bytes, number) = match (kind.ok_or_else(missing)?, &self.source) {
            (
                Found::Safetensors(info),
                Source::Safetensors {
                    file, data_start, ..
                },
            ) => {
                let (start, end) = info.data_offsets;
                let number = Number::of_safetensors(info.dtype).ok_or_else(|| {
                    WeightsError::tensor(
                        name,
                        format!(
                            "has type {} in {file_name}; save it as a 32-bit float",
                            info.dtype
                        ),
                    )
                })?;
                // Offsets were checked against the file's length, which bounds this buffer.
                let mut bytes = vec![0; end - start];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(data_start + start as u64))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(cut)?;
                (bytes, number)
            }
            (Found::Pytorch(tensor), _) => (
                tensor.read().map_err(cut)?,
                Number::of_pytorch(tensor.dtype()),
            ),
            _ => return Err(missing()),
        };
        Ok(HostTensor {
            name: name.to_owned(),
            shape: shape.clone(),
            data: number.to_f32(&bytes),
        })
    }
}

enum Found<'a> {
    Pytorch(&'a Tensor),
    Safetensors(&'a TensorInfo),
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
    let infos: HashMap<String, TensorInfo> = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| (name, info.clone()))
        .collect();
    let infos = without_prefixes(infos);
    let shapes = infos
        .iter()
        .map(|(name, info)| (name.clone(), info.shape.clone()))
        .collect();
    let source = Source::Safetensors {
        file: Mutex::new(file),
        data_start,
        infos,
    };
    Ok((source, shapes))
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

/// Element types that become f32.
#[derive(Clone, Copy)]
enum Number {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
}

impl Number {
    fn of_pytorch(dtype: DType) -> Self {
        match dtype {
            DType::F64 => Self::F64,
            DType::F32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            DType::I64 => Self::I64,
            DType::I32 => Self::I32,
            DType::I16 => Self::I16,
            DType::I8 => Self::I8,
            DType::U64 => Self::U64,
            DType::U32 => Self::U32,
            DType::U16 => Self::U16,
            DType::U8 | DType::Bool => Self::U8,
        }
    }

    fn of_safetensors(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::I64 => Self::I64,
            Dtype::I32 => Self::I32,
            Dtype::I16 => Self::I16,
            Dtype::I8 => Self::I8,
            Dtype::U64 => Self::U64,
            Dtype::U32 => Self::U32,
            Dtype::U16 => Self::U16,
            Dtype::U8 | Dtype::BOOL => Self::U8,
            _ => return None,
        })
    }

    /// Little-endian elements to f32, rounding to nearest where f32 has fewer bits.
    fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|&b| read(b)).collect()
        }
        match self {
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Self::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
            Self::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
            Self::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            Self::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Self::U16 => each(bytes, |b| u16::from_le_bytes(b).into()),
            Self::U8 => each(bytes, |[b]: [u8; 1]| b.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;
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
