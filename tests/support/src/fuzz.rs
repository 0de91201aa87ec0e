//! Mutated files through a reader, for a time: nothing may panic, hang or take gigabytes.
//!
//! Needs no nightly toolchain. Every run sees other inputs; a failure prints the seed of its input,
//! and `MMOVSEG_FUZZ_SEED` repeats it. `MMOVSEG_FUZZ_SECONDS` says for how long each target runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longest that one input may take on a machine that does other things too.
const SLOW: Duration = Duration::from_secs(10);

/// Most memory that the process may have held.
const MOST_BYTES: u64 = 3 << 30;

/// The numbers of Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// One reader and the files that its inputs are made from.
pub struct Target<'a> {
    /// What is read, for the report.
    pub name: &'a str,
    /// Small files of every kind.
    pub corpus: &'a [Vec<u8>],
    /// Pieces of text that mean something in these files.
    pub words: &'a [&'a str],
    /// How long the tests run it.
    pub seconds: u64,
}

impl Target<'_> {
    /// Passes mutated files to `read` until the time is over, and reports how many.
    ///
    /// # Panics
    /// When `read` panics or takes too long, or the process has held too much memory.
    pub fn run(&self, read: impl Fn(&[u8])) {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let seconds = number("MMOVSEG_FUZZ_SECONDS").unwrap_or(self.seconds);
        let one = number("MMOVSEG_FUZZ_SEED");
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let first = one.unwrap_or_else(|| clock.map_or(0, |now| now.as_nanos() as u64));
        let started = Instant::now();
        let (mut inputs, mut slowest) = (0_u64, Duration::ZERO);
        while started.elapsed() < Duration::from_secs(seconds) {
            let seed = first.wrapping_add(inputs);
            let bytes = self.mutated(&mut Random(seed));
            let begun = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
            let took = begun.elapsed();
            let repeat = || format!("repeat it with MMOVSEG_FUZZ_SEED={seed}");
            assert!(result.is_ok(), "a panic: {}", repeat());
            assert!(took < SLOW, "{took:?}: {}", repeat());
            slowest = slowest.max(took);
            inputs += 1;
            if one.is_some() {
                break;
            }
        }
        let peak = peak_memory_bytes();
        eprintln!(
            "{}: {inputs} inputs in {seconds} s, slowest {slowest:?}, peak memory {peak:?} bytes",
            self.name
        );
        assert!(inputs > 0, "no time for a single input");
        assert!(peak.is_none_or(|bytes| bytes < MOST_BYTES), "{peak:?}");
    }

    fn mutated(&self, random: &mut Random) -> Vec<u8> {
        const EDGES: [u32; 9] = [0, 1, 2, 255, 256, 32_767, 65_535, 0x7fff_ffff, u32::MAX];
        let mut bytes = self.corpus[random.below(self.corpus.len())].clone();
        for _ in 0..=random.below(6) {
            let len = bytes.len();
            if len < 16 {
                break;
            }
            // Headers and directories decide more than what they describe does.
            let at = match random.below(3) {
                0 => random.below(len.min(400)),
                1 => len - 1 - random.below(len.min(400)),
                _ => random.below(len),
            };
            match random.below(if self.words.is_empty() { 8 } else { 9 }) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => {
                    let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                    let end = (at + 4).min(len);
                    bytes[at..end].copy_from_slice(&edge[..end - at]);
                }
                3 => {
                    let edge = (EDGES[random.below(EDGES.len())] as u16).to_be_bytes();
                    let end = (at + 2).min(len);
                    bytes[at..end].copy_from_slice(&edge[..end - at]);
                }
                4 => bytes.truncate(at),
                5 => {
                    let from = random.below(len);
                    let count = random.below(64).min(len - from).min(len - at);
                    let part = bytes[from..from + count].to_vec();
                    bytes[at..at + count].copy_from_slice(&part);
                }
                6 => {
                    let other = &self.corpus[random.below(self.corpus.len())];
                    let count = random.below(128).min(other.len()).min(len - at);
                    bytes[at..at + count].copy_from_slice(&other[..count]);
                }
                7 => {
                    let count = random.below(32);
                    bytes.splice(at..at, std::iter::repeat_n(random.next() as u8, count));
                }
                _ => {
                    let word = self.words[random.below(self.words.len())];
                    let end = at + random.below(8).min(len - at);
                    bytes.splice(at..end, word.bytes());
                }
            }
        }
        bytes
    }
}

fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim_end().parse().ok()?;
    Some(kib * 1024)
}
