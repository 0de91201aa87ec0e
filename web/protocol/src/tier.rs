//! Which tier is used, from the user's choice and what the browser offers.

use mmovseg_types::{DeviceChoice, Tier};
use serde::{Deserialize, Serialize};

/// What the browser says about its GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The site holds no engine for WebGPU. `cargo xtask serve` serves the page before it has built
    /// that one.
    NotBuilt,
    /// It has no `navigator.gpu`.
    NoWebGpu,
    /// It has, but gives no adapter.
    NoAdapter,
    /// An adapter.
    Adapter {
        /// Vendor, architecture and description as far as told; may be empty.
        name: String,
        /// Emulated on the CPU.
        software: bool,
        /// Has the feature `timestamp-query`, without which the runtime panics.
        timestamps: bool,
    },
}

/// What to run on, and why when it is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The tier to open.
    pub tier: Tier,
    /// Threads that share the CPU's work.
    pub threads: u32,
    /// What the browser calls the adapter, if that is what serves and it says so.
    pub adapter: Option<String>,
    /// A sentence for the user.
    pub note: Option<String>,
}

/// The tier for a choice and an adapter, with [`threads`] where that is the CPU.
#[must_use]
pub fn plan(choice: DeviceChoice, probe: &Probe, threads: u32) -> Plan {
    let cpu = |note: Option<&str>| Plan {
        tier: Tier::Cpu,
        threads,
        adapter: None,
        note: note.map(str::to_owned),
    };
    if choice == DeviceChoice::Cpu {
        return cpu(None);
    }
    let adapter = match probe {
        Probe::Adapter { name, .. } if !name.is_empty() => Some(name.clone()),
        _ => None,
    };
    match probe {
        Probe::NotBuilt => cpu(Some(
            "The engine for the GPU is still being built, so the model runs on the CPU. Reload the page when the terminal says that it is there.",
        )),
        Probe::NoWebGpu => cpu(Some(
            "This browser has no WebGPU, so the model runs on the CPU, which is slower. A current Chrome, Edge or Safari has it, and Firefox on Windows and macOS.",
        )),
        Probe::NoAdapter => cpu(Some(
            "The browser offers no GPU, so the model runs on the CPU, which is slower. Hardware acceleration may be switched off in its settings.",
        )),
        Probe::Adapter {
            timestamps: false, ..
        } => cpu(Some(
            "This browser's WebGPU lacks timestamp queries, which the engine needs, so the model runs on the CPU.",
        )),
        Probe::Adapter { software: true, .. } if choice == DeviceChoice::Auto => cpu(Some(
            "Only a software GPU was found; the model runs on the CPU, which is faster than that.",
        )),
        Probe::Adapter { software: true, .. } => Plan {
            tier: Tier::SoftwareGpu,
            threads: 1,
            adapter,
            note: Some("This GPU is emulated on the CPU: correct, but slow.".into()),
        },
        Probe::Adapter { .. } => Plan {
            tier: Tier::Gpu,
            threads: 1,
            adapter,
            note: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(software: bool, timestamps: bool) -> Probe {
        Probe::Adapter {
            name: "x".into(),
            software,
            timestamps,
        }
    }

    #[test]
    fn the_fastest_tier_that_works_is_chosen_and_a_lower_one_explained() {
        use DeviceChoice::{Auto, Cpu, Gpu};
        let tier = |choice, probe: Probe| plan(choice, &probe, 4).tier;
        assert_eq!(tier(Auto, adapter(false, true)), Tier::Gpu);
        assert_eq!(tier(Auto, adapter(true, true)), Tier::Cpu);
        assert_eq!(tier(Gpu, adapter(true, true)), Tier::SoftwareGpu);
        assert_eq!(tier(Cpu, adapter(false, true)), Tier::Cpu);
        for missing in [
            Probe::NotBuilt,
            Probe::NoWebGpu,
            Probe::NoAdapter,
            adapter(false, false),
        ] {
            let plan = plan(Gpu, &missing, 4);
            assert_eq!((plan.tier, plan.adapter), (Tier::Cpu, None), "{missing:?}");
            assert!(plan.note.is_some(), "{missing:?}");
        }
    }

    #[test]
    fn threads_are_for_the_cpu_alone() {
        let of = |probe: Probe| plan(DeviceChoice::Auto, &probe, 4).threads;
        assert_eq!(of(Probe::NoWebGpu), 4);
        assert_eq!(of(adapter(false, true)), 1);
    }
}
