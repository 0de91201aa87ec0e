//! Vectorisation: loops compiled for the widest registers of the machine, chosen at run time.

use pulp::{Simd, WithSimd};

/// Values of two registers of AVX-512, the widest.
pub(super) const REGISTER_PAIR_MAX: usize = 32;

/// Values of two registers of this machine.
pub(super) fn register_pair() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> usize {
            S::F32_LANES
        }
    }
    2 * pulp::Arch::new().dispatch(Lanes)
}

/// Calls `f(fused)`, compiled for the widest registers of this machine. `fused` says whether
/// `a · b + c` is one instruction, and is a constant in each of the two compiled bodies.
///
/// Callers mark the closure `#[inline(always)]`. The bound is `FnOnce` itself, so that `pulp`
/// inlines the body of the closure; a closure adapted to `FnOnce` is called through a shim that is
/// compiled for narrow registers.
#[inline(always)]
pub(super) fn vectorised<R>(f: impl FnOnce(bool) -> R) -> R {
    let arch = pulp::Arch::new();
    if cfg!(target_arch = "wasm32") || matches!(arch, pulp::Arch::Scalar) {
        return arch.dispatch(
            #[inline(always)]
            || f(false),
        );
    }
    arch.dispatch(
        #[inline(always)]
        || f(true),
    )
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #[test]
    fn machines_without_avx_512_get_avx2_and_not_sse2() {
        // Does not compile without pulp's AVX2 tier, so that a machine with AVX-512 detects that as
        // well.
        let _tier: fn(pulp::x86::V3) -> pulp::Arch = pulp::Arch::V3;
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            assert!(!matches!(pulp::Arch::new(), pulp::Arch::Scalar));
        }
    }
}
