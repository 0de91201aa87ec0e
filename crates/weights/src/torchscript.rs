//! TorchScript archives, as `OpenAI` distributes CLIP: a zip whose `data.pkl` describes modules and
//! their tensors. The pickle is read as data, by the few operations that PyTorch writes there; the
//! code beside it is not read at all.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use crate::number::Number;

/// Where the elements of a tensor lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorPlace {
    pub shape: Vec<usize>,
    /// First byte in the file.
    pub start: u64,
    pub bytes: usize,
    pub number: Number,
}

/// Largest description of modules that is read; CLIP's has a tenth of a mebibyte.
const MAX_PICKLE_BYTES: u64 = 16 << 20;
/// Modules within modules, and tensors in all, of an archive that is read.
const MAX_DEPTH: usize = 64;
const MAX_TENSORS: usize = 100_000;

/// First byte and length of an entry of the archive.
type Entry = (u64, u64);

/// Every tensor of an archive by its name as PyTorch's `state_dict` has it; `None` for a file that
/// is no TorchScript archive.
///
/// # Errors
/// What is wrong with the archive.
pub(crate) fn tensors<R: Read + Seek>(
    file: &mut R,
    file_bytes: u64,
) -> Result<Option<BTreeMap<String, TensorPlace>>, String> {
    let Ok(mut archive) = ZipArchive::new(&mut *file) else {
        return Ok(None);
    };
    let mut entries: HashMap<String, Entry> = HashMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|e| e.to_string())?;
        let (Ok(name), Some(start)) = (entry.name().map(|n| n.to_string()), entry.data_start())
        else {
            continue;
        };
        if entry.compression() == CompressionMethod::Stored
            && start
                .checked_add(entry.size())
                .is_some_and(|end| end <= file_bytes)
        {
            entries.insert(name, (start, entry.size()));
        }
    }
    // Of the files that PyTorch writes, only programs have constants.
    let is_constants = |name: &&String| name.ends_with("/constants.pkl");
    let Some(root) = entries.keys().find(is_constants) else {
        return Ok(None);
    };
    let root = root.trim_end_matches("constants.pkl").to_owned();
    let &(start, bytes) = entries
        .get(&format!("{root}data.pkl"))
        .ok_or("it has no data.pkl")?;
    if bytes > MAX_PICKLE_BYTES {
        return Err(format!("its data.pkl has {bytes} bytes"));
    }
    let mut pickle = Vec::new();
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.take(bytes).read_to_end(&mut pickle))
        .map_err(|e| e.to_string())?;
    let machine = Machine::run(&pickle, &|key| {
        entries.get(&format!("{root}data/{key}")).copied()
    })?;
    machine.named().map(Some)
}

/// A value of the pickle; others are named by their place in the machine's list.
#[derive(Clone, Debug)]
enum Value {
    /// What plays no part: numbers of other kinds, booleans, `None`.
    Other,
    Number(i64),
    Text(String),
    Global(String),
    Sequence(Vec<usize>),
    /// Attributes of a module, or entries of a dictionary.
    Named(Vec<(String, usize)>),
    Storage {
        entry: Entry,
        number: Number,
    },
    Tensor(TensorPlace),
}

/// What stands on the stack.
#[derive(Clone, Copy)]
enum Item {
    Mark,
    Value(usize),
}

struct Machine {
    values: Vec<Value>,
    stack: Vec<Item>,
    memo: HashMap<u32, usize>,
    result: Option<usize>,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("its data.pkl is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        taken
            .try_into()
            .map_err(|_| "its data.pkl is cut short".to_owned())
    }

    fn line(&mut self) -> Result<String, String> {
        let length = self
            .0
            .iter()
            .position(|&b| b == b'\n')
            .ok_or("its data.pkl is cut short")?;
        let line = self.take(length + 1)?;
        text(&line[..length])
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "its data.pkl holds no text".to_owned())
}

impl Machine {
    /// Reads a pickle; `entry` finds a storage by its key.
    fn run(pickle: &[u8], entry: &dyn Fn(&str) -> Option<Entry>) -> Result<Self, String> {
        let mut machine = Self {
            values: Vec::new(),
            stack: Vec::new(),
            memo: HashMap::new(),
            result: None,
        };
        let mut bytes = Bytes(pickle);
        while machine.result.is_none() {
            let [operation] = bytes.array()?;
            machine.step(operation, &mut bytes, entry)?;
        }
        Ok(machine)
    }

    fn step(
        &mut self,
        operation: u8,
        bytes: &mut Bytes<'_>,
        entry: &dyn Fn(&str) -> Option<Entry>,
    ) -> Result<(), String> {
        match operation {
            // Protocol and version.
            0x80 => drop(bytes.take(1)?),
            b'c' => {
                let (module, name) = (bytes.line()?, bytes.line()?);
                self.push(Value::Global(format!("{module}.{name}")));
            }
            b'X' => {
                let length = u32::from_le_bytes(bytes.array()?);
                let text = text(bytes.take(length as usize)?)?;
                self.push(Value::Text(text));
            }
            b'J' => {
                let number = i32::from_le_bytes(bytes.array()?);
                self.push(Value::Number(number.into()));
            }
            b'K' => {
                let [number] = bytes.array()?;
                self.push(Value::Number(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(bytes.array()?);
                self.push(Value::Number(number.into()));
            }
            0x8a => {
                let [length] = bytes.array()?;
                let number = bytes.take(length.into())?;
                self.push(long(number).map_or(Value::Other, Value::Number));
            }
            b'G' => {
                bytes.take(8)?;
                self.push(Value::Other);
            }
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'(' => self.stack.push(Item::Mark),
            b')' | b']' => self.push(Value::Sequence(Vec::new())),
            b'}' => self.push(Value::Named(Vec::new())),
            b't' => {
                let items = self.down_to_mark()?;
                self.push(Value::Sequence(items));
            }
            0x85..=0x87 => {
                let count = usize::from(operation - 0x84);
                let mut items = (0..count)
                    .map(|_| self.pop())
                    .collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.push(Value::Sequence(items));
            }
            b'a' | b'e' => {
                let items = if operation == b'e' {
                    self.down_to_mark()?
                } else {
                    vec![self.pop()?]
                };
                let list = self.top()?;
                match &mut self.values[list] {
                    Value::Sequence(all) => all.extend(items),
                    _ => return Err("its data.pkl adds to what is no list".into()),
                }
            }
            b's' | b'u' => {
                let items = if operation == b'u' {
                    self.down_to_mark()?
                } else {
                    let value = self.pop()?;
                    vec![self.pop()?, value]
                };
                let pairs = items
                    .chunks_exact(2)
                    .filter_map(|pair| match &self.values[pair[0]] {
                        Value::Text(key) => Some((key.clone(), pair[1])),
                        _ => None,
                    });
                let pairs: Vec<_> = pairs.collect();
                let dict = self.top()?;
                match &mut self.values[dict] {
                    Value::Named(all) => all.extend(pairs),
                    _ => return Err("its data.pkl adds to what is no dictionary".into()),
                }
            }
            // An instance: its class and arguments say nothing, its state is set below.
            0x81 => {
                self.pop()?;
                self.pop()?;
                self.push(Value::Named(Vec::new()));
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                // Moved, so that a file cannot ask for the same state again and again.
                if let Value::Named(all) = &mut self.values[state] {
                    self.values[object] = Value::Named(std::mem::take(all));
                }
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let result = self.call(callable, arguments)?;
                self.push(result);
            }
            b'Q' => {
                let identity = self.pop()?;
                let storage = self.storage(identity, entry)?;
                self.push(storage);
            }
            b'q' => {
                let [place] = bytes.array()?;
                let top = self.top()?;
                self.memo.insert(place.into(), top);
            }
            b'r' => {
                let place = u32::from_le_bytes(bytes.array()?);
                let top = self.top()?;
                self.memo.insert(place, top);
            }
            b'h' => {
                let [place] = bytes.array()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(bytes.array()?);
                self.recall(place)?;
            }
            b'0' => drop(self.pop()?),
            b'.' => self.result = Some(self.pop()?),
            other => return Err(format!("its data.pkl has the operation {other:#04x}")),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(Item::Value(self.values.len()));
        self.values.push(value);
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        let value = self
            .memo
            .get(&place)
            .ok_or("its data.pkl recalls what is not there")?;
        self.stack.push(Item::Value(*value));
        Ok(())
    }

    fn pop(&mut self) -> Result<usize, String> {
        match self.stack.pop() {
            Some(Item::Value(value)) => Ok(value),
            _ => Err("its data.pkl takes what is not there".into()),
        }
    }

    fn top(&self) -> Result<usize, String> {
        match self.stack.last() {
            Some(Item::Value(value)) => Ok(*value),
            _ => Err("its data.pkl takes what is not there".into()),
        }
    }

    fn down_to_mark(&mut self) -> Result<Vec<usize>, String> {
        let mut items = Vec::new();
        while let Some(item) = self.stack.pop() {
            match item {
                Item::Mark => {
                    items.reverse();
                    return Ok(items);
                }
                Item::Value(value) => items.push(value),
            }
        }
        Err("its data.pkl takes what is not there".into())
    }

    /// The only call that means something here is the one that makes a tensor.
    fn call(&self, callable: usize, arguments: usize) -> Result<Value, String> {
        let (Value::Global(name), Value::Sequence(arguments)) =
            (&self.values[callable], &self.values[arguments])
        else {
            return Err("its data.pkl calls what is no function".into());
        };
        if !name.starts_with("torch._utils._rebuild_tensor") {
            return Ok(match name.as_str() {
                "collections.OrderedDict" => Value::Named(Vec::new()),
                _ => Value::Other,
            });
        }
        let [storage, offset, shape, strides, ..] = arguments[..] else {
            return Err("a tensor lacks its shape".into());
        };
        let (Value::Storage { entry, number }, Some(offset), Some(shape), Some(strides)) = (
            &self.values[storage],
            self.size(offset),
            self.sizes(shape),
            self.sizes(strides),
        ) else {
            return Err("a tensor lacks its shape".into());
        };
        // Axes of one element may have any stride.
        let mut step = 1usize;
        for (&size, &stride) in shape.iter().zip(&strides).rev() {
            if size != 1 && stride != step {
                return Err("a tensor's elements do not lie one after the other".into());
            }
            step = step.checked_mul(size).ok_or("a tensor is too large")?;
        }
        let size = number.bytes();
        let [start, bytes] = [offset, step].map(|elements| elements.checked_mul(size));
        let (start, bytes) = start.zip(bytes).ok_or("a tensor is too large")?;
        let end = (start as u64)
            .checked_add(bytes as u64)
            .ok_or("a tensor is too large")?;
        if strides.len() != shape.len() || end > entry.1 {
            return Err("a tensor is larger than its storage".into());
        }
        Ok(Value::Tensor(TensorPlace {
            shape,
            start: entry.0 + start as u64,
            bytes,
            number: *number,
        }))
    }

    fn size(&self, value: usize) -> Option<usize> {
        match self.values[value] {
            Value::Number(number) => usize::try_from(number).ok(),
            _ => None,
        }
    }

    fn sizes(&self, value: usize) -> Option<Vec<usize>> {
        match &self.values[value] {
            Value::Sequence(items) => items.iter().map(|&item| self.size(item)).collect(),
            _ => None,
        }
    }

    /// A storage by its identity: `("storage", class, key, device, elements)`.
    fn storage(
        &self,
        identity: usize,
        entry: &dyn Fn(&str) -> Option<Entry>,
    ) -> Result<Value, String> {
        let Value::Sequence(parts) = &self.values[identity] else {
            return Err("a storage has no name".into());
        };
        let parts: Vec<&Value> = parts.iter().map(|&part| &self.values[part]).collect();
        let [_, Value::Global(class), Value::Text(key), ..] = parts[..] else {
            return Err("a storage has no name".into());
        };
        let class = class.strip_prefix("torch.").unwrap_or(class);
        let number =
            Number::of_storage(class).ok_or_else(|| format!("its type {class} is not known"))?;
        let entry = entry(key).ok_or_else(|| format!("its storage {key} is missing"))?;
        Ok(Value::Storage { entry, number })
    }

    /// Tensors by the path of modules that leads to them.
    fn named(&self) -> Result<BTreeMap<String, TensorPlace>, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![(String::new(), self.result.unwrap_or_default(), 0)];
        while let Some((prefix, value, depth)) = open.pop() {
            match self.values.get(value) {
                Some(Value::Tensor(place)) => {
                    found.insert(prefix, place.clone());
                }
                Some(Value::Named(all)) => {
                    for (name, value) in all {
                        let name = match prefix.as_str() {
                            "" => name.clone(),
                            _ => format!("{prefix}.{name}"),
                        };
                        open.push((name, *value, depth + 1));
                    }
                }
                _ => {}
            }
            if depth > MAX_DEPTH || open.len() + found.len() > MAX_TENSORS {
                return Err("it has too many modules".into());
            }
        }
        Ok(found)
    }
}

/// A little-endian whole number of up to eight bytes.
fn long(bytes: &[u8]) -> Option<i64> {
    let sign = bytes
        .last()
        .map_or(0, |last| if last & 0x80 == 0 { 0 } else { 0xff });
    let mut all = [sign; 8];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn clip() -> Vec<u8> {
        std::fs::read(mmovseg_test_support::checkpoint_file("clip.pt")).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Option<BTreeMap<String, TensorPlace>>, String> {
        tensors(&mut std::io::Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn an_archive_is_read_as_data_and_other_archives_are_left() {
        let bytes = clip();
        let found = read(&bytes).unwrap().unwrap();
        let place = &found["visual.transformer.resblocks.1.attn.in_proj_weight"];
        assert_eq!(
            (place.shape.as_slice(), place.number),
            (&[24, 8][..], Number::F16)
        );
        let values = &bytes[place.start as usize..][..place.bytes];
        let first = place.number.to_f32(values)[5];
        let name = "visual.transformer.resblocks.1.attn.in_proj_weight";
        assert_eq!(first, mmovseg_test_support::fixture_value(name, 5));
        assert!(found["context_length"].shape.is_empty());
        assert_eq!(found["context_length"].number, Number::I64);

        let pth = std::fs::read(mmovseg_test_support::checkpoint("b")).unwrap();
        assert_eq!(read(&pth).unwrap(), None);
        assert_eq!(read(b"no archive").unwrap(), None);
    }

    #[test]
    fn whole_numbers_of_any_length_are_read() {
        assert_eq!(long(&[]), Some(0));
        assert_eq!(long(&[0xff, 0x00]), Some(255));
        assert_eq!(long(&[0xfe]), Some(-2));
        assert_eq!(long(&[1; 9]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn mutated_descriptions_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let bytes = clip();
            let start = bytes.windows(8).position(|part| part == b"data.pkl").unwrap() + 8;
            let mut pickle = bytes[start..start + 4000].to_vec();
            for (at, value) in changes {
                let n = pickle.len();
                pickle[at.index(n)] = value;
            }
            let run = Machine::run(&pickle, &|_| Some((0, 1000)));
            if let Ok(machine) = run {
                let _ = machine.named();
            }
        }
    }
}
