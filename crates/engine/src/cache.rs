//! The result cache of a session: results of stages by what they were computed from.
//!
//! A key is a stage and a hash of everything that its result depends on, so that an entry never
//! becomes wrong and nothing has to be invalidated; [`ResultCache::clear`] is for new weights.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

/// Most memory of all results, in bytes. The features of one window take about 8 MB for nano and
/// 25 MB for the released models.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// What an entry takes beside its value.
const ENTRY_BYTES: usize = 128;

/// Which result, and a hash of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    stage: &'static str,
    inputs: u64,
}

impl Key {
    /// The result of `stage` on `inputs`, which must be all that the result depends on.
    pub fn new(stage: &'static str, inputs: impl Hash) -> Self {
        let mut hasher = Xxh3::new();
        inputs.hash(&mut hasher);
        Self {
            stage,
            inputs: hasher.finish(),
        }
    }
}

/// A value whose memory can be counted.
pub(crate) trait Cached: Any + Clone + Send {
    /// Bytes of its tensors and buffers.
    fn bytes(&self) -> usize;
}

struct Entry {
    value: Box<dyn Any + Send>,
    bytes: usize,
    /// Position in the order of use.
    used: u64,
}

/// Results, at most [`CACHE_BYTES_MAX`] of them.
///
/// The least recently used ones make room for new ones, except those that the current run has used:
/// a run over more windows than fit would otherwise drop each one just before the next run asks for
/// it. Such a run keeps its first windows and computes the others every time.
pub(crate) struct ResultCache {
    entries: HashMap<Key, Entry>,
    /// Keys, least recently used first.
    order: BTreeMap<u64, Key>,
    bytes: usize,
    bytes_max: usize,
    clock: u64,
    /// Entries used from here on belong to the current run.
    run_start: u64,
}

impl Default for ResultCache {
    fn default() -> Self {
        Self::with_limit(CACHE_BYTES_MAX)
    }
}

impl ResultCache {
    fn with_limit(bytes_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            clock: 0,
            run_start: 0,
        }
    }

    /// Starts a run: entries that it does not use may make room for those that it adds.
    pub fn begin_run(&mut self) {
        self.run_start = self.clock;
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::with_limit(self.bytes_max);
    }

    /// Marks an entry as used by the current run.
    pub fn touch(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            self.order.remove(&entry.used);
            entry.used = self.clock;
            self.order.insert(self.clock, key);
            self.clock += 1;
        }
    }

    /// The result, if it is there.
    pub fn get<T: Cached>(&mut self, key: Key) -> Option<T> {
        self.touch(key);
        self.entries.get(&key)?.value.downcast_ref::<T>().cloned()
    }

    /// Adds a result, as far as there is room.
    pub fn insert<T: Cached>(&mut self, key: Key, value: T) {
        self.remove(key);
        let bytes = value.bytes() + ENTRY_BYTES;
        while self.bytes + bytes > self.bytes_max {
            match self.order.first_key_value() {
                Some((&used, &oldest)) if used < self.run_start => self.remove(oldest),
                _ => return,
            }
        }
        let entry = Entry {
            value: Box::new(value),
            bytes,
            used: self.clock,
        };
        self.bytes += bytes;
        self.order.insert(self.clock, key);
        self.entries.insert(key, entry);
        self.clock += 1;
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A hash, such as that of a window's pixels.
impl Cached for u64 {
    fn bytes(&self) -> usize {
        0
    }
}

/// An embedding.
impl Cached for Vec<f32> {
    fn bytes(&self) -> usize {
        size_of_val(self.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRY_BYTES, Key, ResultCache};

    fn key(index: usize) -> Key {
        Key::new("test", index)
    }

    /// An entry of 1024 bytes.
    fn value(index: usize) -> Vec<f32> {
        vec![index as f32; (1024 - ENTRY_BYTES) / 4]
    }

    fn kept(cache: &mut ResultCache, count: usize) -> Vec<usize> {
        (0..count)
            .filter(|&index| cache.get::<Vec<f32>>(key(index)) == Some(value(index)))
            .collect()
    }

    #[test]
    fn keys_differ_by_stage_and_by_inputs() {
        assert_eq!(Key::new("a", (1, "x")), Key::new("a", (1, "x")));
        assert_ne!(Key::new("a", (1, "x")), Key::new("b", (1, "x")));
        assert_ne!(Key::new("a", (1, "x")), Key::new("a", (2, "x")));
    }

    #[test]
    fn the_least_recently_used_of_earlier_runs_make_room() {
        let mut cache = ResultCache::with_limit(4 * 1024);
        for index in 0..4 {
            cache.insert(key(index), value(index));
        }
        cache.begin_run();
        cache.touch(key(0));
        for index in 4..6 {
            cache.insert(key(index), value(index));
        }
        assert_eq!(kept(&mut cache, 6), [0, 3, 4, 5]);
        assert!(cache.bytes <= 4 * 1024);
    }

    #[test]
    fn a_run_over_more_than_fits_keeps_its_first_results_for_the_next_run() {
        let mut cache = ResultCache::with_limit(4 * 1024);
        for _ in 0..3 {
            cache.begin_run();
            let computed: Vec<usize> = (0..10)
                .filter(|&index| {
                    let missing = cache.get::<Vec<f32>>(key(index)).is_none();
                    if missing {
                        cache.insert(key(index), value(index));
                    }
                    missing
                })
                .collect();
            assert!(computed.ends_with(&[4, 5, 6, 7, 8, 9]), "{computed:?}");
        }
        assert_eq!(kept(&mut cache, 10), [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept_and_drops_nothing_of_the_run() {
        let mut cache = ResultCache::with_limit(2 * 1024);
        cache.insert(key(0), value(0));
        cache.insert(key(1), vec![0.0; 1024]);
        assert_eq!(kept(&mut cache, 2), [0]);
        cache.insert(key(0), value(0));
        assert_eq!(cache.bytes, 1024, "the same key counts once");
        cache.clear();
        assert!(cache.is_empty());
        assert_eq!(cache.bytes, 0);
    }
}
