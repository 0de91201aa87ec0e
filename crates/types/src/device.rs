//! What computes: a choice, the tier that it leads to, and the threads of a browser's CPU.

use serde::{Deserialize, Serialize};

/// What a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// A hardware GPU when there is one, else the CPU: a software GPU is slower than our CPU code.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// Any GPU, a software one included.
    Gpu,
}

/// Capability tiers, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// CPU kernels; in a browser WebAssembly with SIMD, on several threads where the page is
    /// isolated from other origins.
    Cpu,
    /// A GPU interface served by the CPU (SwiftShader, lavapipe): correct, but slower than
    /// [`Tier::Cpu`].
    SoftwareGpu,
    /// A hardware GPU.
    Gpu,
}

/// Processors up to which each gets a thread. Of more, half do: the others are often hyperthreads
/// of the same cores, or efficiency cores that the fast ones would wait for.
const EACH_UP_TO: u32 = 4;

/// The most threads that share the CPU's work in a browser: each is a Worker.
const MAX_THREADS: u32 = 8;

/// Threads for the CPU tier of a browser: one unless the page is isolated from other origins,
/// because only then threads may share memory.
#[must_use]
pub fn browser_threads(is_isolated: bool, processors: u32) -> u32 {
    if !is_isolated {
        return 1;
    }
    let half = processors.div_ceil(2).max(EACH_UP_TO);
    processors.clamp(1, half).min(MAX_THREADS)
}

#[cfg(test)]
mod tests {
    use super::{MAX_THREADS, browser_threads};

    #[test]
    fn threads_are_for_an_isolated_page() {
        let counts = [1, 2, 4, 6, 8, 12].map(|processors| browser_threads(true, processors));
        assert_eq!(counts, [1, 2, 4, 4, 4, 6]);
        assert_eq!(browser_threads(true, 64), MAX_THREADS);
        assert_eq!(browser_threads(true, 0), 1);
        assert_eq!(browser_threads(false, 4), 1);
    }
}
