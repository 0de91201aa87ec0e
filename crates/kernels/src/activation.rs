//! Elementwise activation functions.

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x · Φ(x)`: the exact, erf-based GELU.
    Gelu,
    /// `x · σ(1.702 x)`: the GELU approximation of CLIP.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `σ(x) = 1 / (1 + e⁻ˣ)`.
    Sigmoid,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gelu, Self::QuickGelu, Self::Relu, Self::Sigmoid];
}
