//! Which tier serves, for what the user wishes and what the browser has.

use crate::{DeviceChoice, Tier};

/// What the browser says about its GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The tier to open.
    pub tier: Tier,
    /// A sentence for the user.
    pub note: Option<String>,
}

/// The tier for a wish and an adapter.
#[must_use]
pub fn plan(choice: DeviceChoice, probe: &Probe) -> Plan {
    let cpu = |note: Option<&str>| Plan {
        tier: Tier::Cpu,
        note: note.map(str::to_owned),
    };
    if choice == DeviceChoice::Cpu {
        return cpu(None);
    }
    match probe {
        Probe::NoWebGpu => cpu(Some(
            "This browser has no WebGPU, so the model runs on the CPU, which is slower. A current Chrome, Edge or Safari has it.",
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
            note: Some("This GPU is emulated on the CPU: right, but slow.".into()),
        },
        Probe::Adapter { .. } => Plan {
            tier: Tier::Gpu,
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
        let tier = |choice, probe: Probe| plan(choice, &probe).tier;
        assert_eq!(tier(Auto, adapter(false, true)), Tier::Gpu);
        assert_eq!(tier(Auto, adapter(true, true)), Tier::Cpu);
        assert_eq!(tier(Gpu, adapter(true, true)), Tier::SoftwareGpu);
        assert_eq!(tier(Cpu, adapter(false, true)), Tier::Cpu);
        for missing in [Probe::NoWebGpu, Probe::NoAdapter, adapter(false, false)] {
            let plan = plan(Gpu, &missing);
            assert_eq!(plan.tier, Tier::Cpu, "{missing:?}");
            assert!(plan.note.is_some(), "{missing:?}");
        }
    }
}
