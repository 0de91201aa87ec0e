//! Which tensor goes into which shard, and with how many bits.

use std::collections::BTreeMap;

use crate::build::ShardBuilder;
use crate::tensor::Matrix;
use crate::{Dtypes, HostTensor, StoreDtype, WeightsError};

/// Where a package keeps a tensor. Which one that is depends on the network, so callers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Tensors of one group share shards; groups follow one another. What checkpoints have in
    /// common belongs into groups of its own, so that their packages share its files.
    pub group: usize,
    /// How many bits it gets.
    pub bits: Bits,
}

/// How many bits a matrix gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Those of the package.
    Package,
    /// Those of the text tower.
    Text,
    /// At least f16: parts that carry more error than their size. The head: a hundredth of a
    /// released model's values, and no later layer averages its error away. What turns pixels into
    /// tokens and tokens into maps: a thirtieth of them, and half of the error of all towers in q8
    /// (docs/performance.md, "What quantising costs").
    Wide,
}

/// Learned tables and masks: few values, added to activations as they are.
const TABLES: [&str; 9] = [
    "cls_token",
    "storage_tokens",
    "mask_token",
    "class_embedding",
    "pos_embed",
    "positional_embedding",
    "padding_tokens",
    "padding_guidance",
    "attn_mask",
];

/// Below this many values, quantising saves nothing worth its error.
const SMALL: usize = 4096;

/// How a tensor is stored in a package of the given dtype; see
/// [`write_package`](crate::write_package).
fn stored_as(name: &str, dims: usize, matrix: Matrix, bits: Bits, dtypes: Dtypes) -> StoreDtype {
    let dtype = match bits {
        Bits::Text => dtypes.text,
        Bits::Package | Bits::Wide => dtypes.all,
    };
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if dims <= 1 {
        return StoreDtype::F32;
    }
    match dtype {
        StoreDtype::F32 | StoreDtype::F16 => dtype,
        StoreDtype::Q8 | StoreDtype::Q4 => {
            let narrow = matrix.cols < crate::dequant::BLOCK;
            let small = matrix.rows * matrix.cols < SMALL;
            if narrow || small || bits == Bits::Wide || TABLES.contains(&leaf) {
                StoreDtype::F16
            } else {
                dtype
            }
        }
    }
}

/// Sorts tensors into shards and hands out each shard's bytes as soon as it is full. Holds at most
/// one open shard for each group.
pub(crate) struct Packer<'a, S> {
    dtypes: Dtypes,
    place: &'a dyn Fn(&str) -> Placement,
    limit: usize,
    /// By group.
    open: BTreeMap<usize, ShardBuilder>,
    names: std::collections::HashSet<String>,
    sink: S,
}

impl<'a, S> Packer<'a, S>
where
    S: FnMut(usize, Vec<u8>) -> Result<(), WeightsError>,
{
    /// `sink` gets the group and the shard's bytes, at most `limit`.
    pub fn new(
        dtypes: Dtypes,
        place: &'a dyn Fn(&str) -> Placement,
        limit: usize,
        sink: S,
    ) -> Self {
        Self {
            dtypes,
            place,
            limit,
            open: BTreeMap::new(),
            names: std::collections::HashSet::new(),
            sink,
        }
    }

    /// Adds a tensor, split by rows when it is larger than a shard.
    pub fn push(&mut self, tensor: &HostTensor) -> Result<(), WeightsError> {
        let name = &tensor.name;
        let fault = |reason: &str| WeightsError::tensor(name, reason);
        let plain = |b: u8| b.is_ascii_graphic() && !b"#\"\\".contains(&b);
        if name.is_empty() || name.starts_with("__") || !name.bytes().all(plain) {
            return Err(fault("its name has characters that a package cannot hold"));
        }
        if !self.names.insert(name.clone()) {
            return Err(fault("it is there twice; give each tensor once"));
        }
        let matrix = Matrix::of(&tensor.shape).map_err(fault)?;
        let (needed, found) = (matrix.rows * matrix.cols, tensor.data.len());
        if needed != found {
            return Err(fault(&format!(
                "its shape {:?} needs {needed} values, it has {found}",
                tensor.shape
            )));
        }
        let (dims, cols) = (tensor.shape.len(), matrix.cols);
        let Placement { group: at, bits } = (self.place)(name);
        let stored = stored_as(name, dims, matrix, bits, self.dtypes);
        let open = self.open.entry(at).or_default();

        let fits = open.room(tensor, cols, stored, self.limit) >= matrix.rows;
        let fits_alone =
            ShardBuilder::default().room(tensor, cols, stored, self.limit) >= matrix.rows;
        if !fits && fits_alone && !open.is_empty() {
            (self.sink)(at, open.take()?)?;
        }
        let mut start = 0;
        while start < matrix.rows {
            let room = open.room(tensor, cols, stored, self.limit);
            if room == 0 {
                if open.is_empty() {
                    return Err(fault("one row is larger than a shard"));
                }
                (self.sink)(at, open.take()?)?;
                continue;
            }
            let end = matrix.rows.min(start + room);
            open.push(tensor, matrix, start..end, stored)?;
            if end < matrix.rows {
                (self.sink)(at, open.take()?)?;
            }
            start = end;
        }
        Ok(())
    }

    /// Hands out the shards that are still open.
    pub fn finish(mut self) -> Result<(), WeightsError> {
        for (&at, open) in &mut self.open {
            if !open.is_empty() {
                (self.sink)(at, open.take()?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::manifest::sha256_hex;
    use crate::{Assembler, ShardRef, decode_shard};
    use proptest::prelude::*;

    fn tensor(name: &str, shape: &[usize], seed: u32) -> HostTensor {
        let mut state = seed;
        let n = shape.iter().product();
        let data = (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        HostTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            data,
        }
    }

    /// Two towers, a head, CLIP; a large matrix, a scalar, a conv, a table, an odd width.
    fn model() -> Vec<HostTensor> {
        vec![
            tensor("dino_model.blocks.0.attn.qkv.weight", &[96, 96], 1),
            tensor("sem_seg_head.predictor.clip_model.logit_scale", &[], 2),
            tensor("dino_model.norm.weight", &[96], 3),
            tensor("dino_sarmodel.blocks.0.attn.qkv.weight", &[96, 96], 4),
            tensor(
                "sem_seg_head.predictor.clip_model.token_embedding.weight",
                &[3000, 33],
                5,
            ),
            tensor(
                "sem_seg_head.predictor.clip_model.visual.transformer.resblocks.0.attn.q_proj_weight",
                &[96, 96],
                6,
            ),
            tensor(
                "sem_seg_head.predictor.clip_model.visual.conv1.weight",
                &[96, 3, 7, 7],
                7,
            ),
            tensor(
                "sem_seg_head.predictor.clip_model.visual.positional_embedding",
                &[50, 96],
                8,
            ),
            tensor("upsample1.weight", &[96, 32, 2, 2], 9),
            tensor(
                "sem_seg_head.predictor.transformer.head.weight",
                &[1, 32, 3, 3],
                10,
            ),
            tensor("dino_sarmodel.pos_embed", &[1, 7, 3], 11),
        ]
    }

    /// Groups and bits as those of the released networks.
    pub(crate) fn place(name: &str) -> Placement {
        let wide = [
            "predictor.transformer.",
            "visual.conv1.",
            "visual.proj",
            "patch_embed.",
            "down_sample.",
            "decod_proj",
            "upsample",
        ];
        let is_text = name.contains("clip_model.") && !name.contains(".visual.");
        Placement {
            group: match name {
                _ if name.starts_with("dino_model.") => 0,
                _ if name.starts_with("dino_sarmodel.") => 1,
                _ if name.ends_with("q_proj_weight") || name.ends_with("v_proj_weight") => 4,
                _ if name.contains("clip_model.visual.") => 2,
                _ if is_text => 3,
                _ => 5,
            },
            bits: match name {
                _ if is_text => Bits::Text,
                _ if wide.iter().any(|part| name.contains(part)) => Bits::Wide,
                _ => Bits::Package,
            },
        }
    }

    /// The text tower as everything else.
    fn both(dtype: StoreDtype) -> Dtypes {
        Dtypes {
            all: dtype,
            text: dtype,
        }
    }

    fn pack(tensors: &[HostTensor], dtype: StoreDtype, limit: usize) -> Vec<(usize, Vec<u8>)> {
        let mut shards = Vec::new();
        let mut packer = Packer::new(both(dtype), &place, limit, |at, bytes| {
            shards.push((at, bytes));
            Ok(())
        });
        for t in tensors {
            packer.push(t).unwrap();
        }
        packer.finish().unwrap();
        shards
    }

    fn reference(bytes: &[u8]) -> ShardRef {
        ShardRef {
            file: "x.safetensors".into(),
            bytes: bytes.len() as u64,
            sha256: sha256_hex(bytes),
        }
    }

    fn unpack(shards: &[(usize, Vec<u8>)]) -> Vec<HostTensor> {
        let mut assembler = Assembler::new();
        let mut whole = Vec::new();
        for (_, bytes) in shards {
            for part in decode_shard(bytes, &reference(bytes)).unwrap() {
                whole.extend(assembler.push(part).unwrap());
            }
        }
        assembler.finish().unwrap();
        whole.sort_by(|a: &HostTensor, b| a.name.cmp(&b.name));
        whole
    }

    #[test]
    fn every_dtype_survives_in_one_shard_or_many() {
        for (dtype, allowed) in [
            (StoreDtype::F32, 0.0f32),
            (StoreDtype::F16, 1.0 / 2048.0),
            // Half a scale, and a scale up to a fortieth above the smallest.
            (StoreDtype::Q8, 0.5 / 124.0),
            // One value may be clipped for the sake of its block, by no more than the whole
            // block's error at the plain scale: 1/7 / 2 * sqrt(32).
            (StoreDtype::Q4, 0.41),
        ] {
            let mut want = model();
            want.sort_by(|a, b| a.name.cmp(&b.name));
            let single = pack(&model(), dtype, MAX);
            let split = pack(&model(), dtype, 20_000);
            assert_eq!(single.len(), 6, "one shard for each group");
            assert!(split.len() > single.len() + 2, "{dtype:?}: {}", split.len());
            assert!(split.iter().all(|(_, b)| b.len() <= 20_000));
            let got = unpack(&single);
            assert_eq!(got, unpack(&split), "{dtype:?}: splitting changes nothing");
            assert_eq!(got.len(), want.len());
            for (g, w) in got.iter().zip(&want) {
                assert_eq!((&g.name, &g.shape), (&w.name, &w.shape));
                let table = w.name.ends_with("positional_embedding");
                let allowed = match w.shape.len() {
                    0 | 1 => 0.0,
                    _ if table => allowed.min(1.0 / 2048.0),
                    _ => allowed,
                };
                let squares = g.data.iter().zip(&w.data).map(|(a, b)| (a - b) * (a - b));
                let rms = (squares.sum::<f32>() / w.data.len() as f32).sqrt();
                // An even spread over -1..1 rounded to steps of 1/7 has 1/7 / sqrt(12) = 0.0412.
                assert!(rms <= 0.0412, "{dtype:?} {}: {rms}", w.name);
                for (a, b) in g.data.iter().zip(&w.data) {
                    assert!((a - b).abs() <= allowed, "{dtype:?} {}: {a} {b}", w.name);
                }
            }
        }
    }

    const MAX: usize = crate::MAX_SHARD_BYTES;

    #[test]
    fn bits_shrink_the_package() {
        // As in a released model, what is quantised outweighs the text tower, which is not.
        let mut model = model();
        model[0] = tensor("dino_model.blocks.0.attn.qkv.weight", &[9600, 96], 1);
        let size = |d| {
            pack(&model, d, MAX)
                .iter()
                .map(|(_, b)| b.len())
                .sum::<usize>()
        };
        let [f32, f16, q8, q4] = [
            StoreDtype::F32,
            StoreDtype::F16,
            StoreDtype::Q8,
            StoreDtype::Q4,
        ]
        .map(size);
        assert!(f32 > f16 * 18 / 10 && f16 > q8 * 15 / 10 && q8 > q4 * 14 / 10);
    }

    #[test]
    fn groups_depend_on_their_own_tensors_only() {
        let before = pack(&model(), StoreDtype::Q8, MAX);
        assert_eq!(before, pack(&model(), StoreDtype::Q8, MAX), "deterministic");
        let mut tuned = model();
        // What training touches: a q matrix of CLIP and the head.
        tuned[5].data[0] = 0.123;
        tuned[8].data[0] = 0.123;
        let after = pack(&tuned, StoreDtype::Q8, MAX);
        let changed: Vec<usize> = before
            .iter()
            .zip(&after)
            .filter(|(a, b)| a != b)
            .map(|(a, _)| a.0)
            .collect();
        let (tuned_at, rest_at) = (4, 5);
        assert_eq!(changed, [tuned_at, rest_at]);
    }

    #[test]
    fn a_name_and_a_shape_decide_the_bits() {
        use StoreDtype::{F16, F32, Q4, Q8};
        let stored = |name: &str, shape: &[usize], dtype| {
            let matrix = Matrix::of(shape).unwrap();
            stored_as(name, shape.len(), matrix, place(name).bits, both(dtype))
        };
        for dtype in [F16, Q8, Q4] {
            assert_eq!(stored("dino_model.norm.weight", &[768], dtype), F32);
            assert_eq!(stored("clip_model.logit_scale", &[], dtype), F32);
            assert_eq!(stored("dino_model.pos_embed", &[1, 785, 768], dtype), F16);
            assert_eq!(stored("x.attn_mask", &[4, 144, 144], dtype), F16);
            assert_eq!(stored("x.head.weight", &[1, 32, 3, 3], dtype), F16);
            assert_eq!(stored("x.weight", &[4096, 31], dtype), F16);
            assert_eq!(
                stored("token_embedding.weight", &[49408, 512], dtype),
                dtype
            );
            assert_eq!(stored("x.conv1.weight", &[128, 1, 7, 7], dtype), dtype);
        }
        assert_eq!(stored("dino_model.pos_embed", &[1, 785, 768], F32), F32);
        let apart = |name: &str| {
            let dtypes = Dtypes { all: Q8, text: F16 };
            let matrix = Matrix::of(&[768, 768]).unwrap();
            stored_as(name, 2, matrix, place(name).bits, dtypes)
        };
        assert_eq!(apart("p.clip_model.token_embedding.weight"), F16);
        let block = "p.clip_model.visual.transformer.resblocks.0.";
        assert_eq!(apart(&format!("{block}mlp.c_proj.weight")), Q8);
        assert_eq!(apart(&format!("{block}attn.q_proj_weight")), Q8);
        assert_eq!(apart("dino_model.blocks.0.attn.proj.weight"), Q8);
        for wide in [
            "p.clip_model.visual.proj",
            "p.clip_model.visual.conv1.weight",
            "dino_sarmodel.patch_embed.proj.weight",
            "dino_sardown_sample.weight",
            "dino_decod_proj1.weight",
            "upsample2.weight",
        ] {
            assert_eq!(apart(wide), F16, "{wide}");
        }
    }

    #[test]
    fn refuses_by_name() {
        let refused = |t: HostTensor, dtype| {
            let mut packer = Packer::new(both(dtype), &place, 20_000, |_, _| Ok(()));
            packer.push(&t).unwrap_err().to_string()
        };
        let mut huge = tensor("head.weight", &[64, 64], 1);
        huge.data[65] = 70_000.0;
        let line = refused(huge.clone(), StoreDtype::F16);
        assert!(line.contains("head.weight") && line.contains("70000") && line.contains("row 1"));
        huge.data[65] = f32::NAN;
        assert!(refused(huge.clone(), StoreDtype::Q4).contains("NaN"));
        assert!(refused(tensor("a#b", &[2], 1), StoreDtype::F32).contains("name"));
        assert!(refused(tensor("a", &[0, 2], 1), StoreDtype::F32).contains("no elements"));
        assert!(refused(tensor("a", &[2, 9000], 1), StoreDtype::F32).contains("larger than"));
        huge.data.pop();
        assert!(refused(huge, StoreDtype::F32).contains("4096"));
        let mut packer = Packer::new(both(StoreDtype::F32), &place, 20_000, |_, _| Ok(()));
        packer.push(&tensor("a", &[2], 1)).unwrap();
        assert!(packer.push(&tensor("a", &[2], 1)).is_err());
    }

    #[test]
    fn f32_keeps_infinities_and_scalars() {
        let mut t = tensor("m", &[2, 2], 1);
        t.data = vec![f32::NEG_INFINITY, 0.0, -0.0, 1e-40];
        let back = unpack(&pack(
            &[t.clone(), tensor("s", &[], 1)],
            StoreDtype::F32,
            MAX,
        ));
        assert_eq!(back[0], t);
        assert_eq!(back[1].shape, Vec::<usize>::new());
    }

    #[test]
    fn a_damaged_shard_is_named() {
        let (_, mut bytes) = pack(&model(), StoreDtype::Q8, MAX).remove(0);
        let reference = reference(&bytes);
        assert!(decode_shard(&bytes[1..], &reference).is_err_and(|e| {
            matches!(e, WeightsError::Size { ref file, .. } if file == "x.safetensors")
        }));
        bytes[1000] ^= 1;
        assert!(decode_shard(&bytes, &reference).is_err_and(|e| {
            matches!(e, WeightsError::Hash { ref file } if file == "x.safetensors")
        }));
    }

    fn change() -> impl Strategy<Value = (prop::sample::Index, u8)> {
        (any::<prop::sample::Index>(), any::<u8>())
    }

    /// Header text with its own length, then data: hostile in content, not in framing.
    fn framed(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0x55);
        bytes
    }

    /// Decodes and assembles any bytes; fails by panicking only.
    fn survive(bytes: &[u8]) -> bool {
        let Ok(parts) = decode_shard(bytes, &reference(bytes)) else {
            return false;
        };
        let mut assembler = Assembler::new();
        for part in parts {
            let _ = assembler.push(part);
        }
        let _ = assembler.finish();
        true
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn mutated_shards_never_panic(
            which in any::<prop::sample::Index>(),
            dtype in prop::sample::select(vec![StoreDtype::F32, StoreDtype::Q8, StoreDtype::Q4]),
            in_header in prop::collection::vec(change(), 0..6),
            anywhere in prop::collection::vec(change(), 0..6),
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let shards = pack(&model()[..4], dtype, 12_000);
            let mut bytes = which.get(&shards).1.clone();
            let header = 8 + bytes[0] as usize + 256 * bytes[1] as usize;
            for (at, value) in in_header {
                bytes[at.index(header)] = value;
            }
            for (at, value) in anywhere {
                let n = bytes.len();
                bytes[at.index(n)] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            survive(&bytes);
        }

        #[test]
        fn hostile_headers_never_panic(
            rows in prop::sample::select(vec![0usize, 1, 2, 3, usize::MAX]),
            cols in prop::sample::select(vec![0usize, 1, 3, 40, 1 << 62, usize::MAX]),
            start in prop::sample::select(vec![0usize, 1, usize::MAX]),
            held in 0usize..4, width in 0usize..50, blocks in 0usize..3,
        ) {
            let values = held * width;
            let end = values + held * blocks * 2;
            let header = format!(
                r#"{{"__metadata__":{{"mmovseg":"{{\"a\":{{\"shape\":[{rows},{cols}],\"start\":{start}}}}}"}},"a#q8":{{"dtype":"I8","shape":[{held},{width}],"data_offsets":[0,{values}]}},"a#scale":{{"dtype":"F16","shape":[{held},{blocks}],"data_offsets":[{values},{end}]}}}}"#
            );
            let accepted = survive(&framed(&header, end));
            let right = start.checked_add(held).is_some_and(|e| e <= rows)
                && held > 0 && width > 0 && width == cols && blocks == cols.div_ceil(32)
                && rows < 4;
            if accepted {
                prop_assert!(held > 0 && width == cols && blocks == cols.div_ceil(32));
            }
            prop_assert!(accepted || !right);
        }
    }

    #[test]
    fn lengths_that_overflow_are_refused() {
        let max = u64::MAX;
        for header in [
            format!(r#"{{"a":{{"dtype":"U8","shape":[{max}],"data_offsets":[0,{max}]}}}}"#),
            r#"{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a#q8":{"dtype":"I8","shape":[1,1],"data_offsets":[1,2]}}"#.to_owned(),
            r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#.to_owned(),
            r#"{"a#q2":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.to_owned(),
        ] {
            let data = if header.contains("[0,4]") { 4 } else { 2 };
            assert!(!survive(&framed(&header, data)), "{header}");
        }
        assert!(!survive(&[0xff; 8]));
        assert!(!survive(&[]));
    }
}
