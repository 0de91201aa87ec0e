//! Roads and rivers: curves across the scene.

use crate::dice::Dice;
use crate::noise::value1;
use crate::salt;

/// A curve across the scene: `v = offset + wiggle(u)` in a frame turned by an angle.
pub struct Curve {
    pub cos: f32,
    pub sin: f32,
    pub offset: f32,
    pub seed: u32,
    pub bend_px: f32,
    pub wave_px: f32,
    pub half_px: f32,
    /// 0 asphalt, 1 the brightest highway; of no meaning for a river.
    pub brightness: f32,
}

impl Curve {
    /// A curve through a random point of the scene in a random direction; pairs are ranges.
    pub fn draw(
        dice: &mut Dice,
        side: f32,
        half: (f32, f32),
        bend: (f32, f32),
        wave: (f32, f32),
    ) -> Self {
        let mut curve = Self {
            cos: 1.0,
            sin: 0.0,
            offset: 0.0,
            seed: dice.bits(),
            bend_px: dice.range(bend.0, bend.1),
            wave_px: dice.range(wave.0, wave.1),
            half_px: dice.range(half.0, half.1),
            brightness: 0.0,
        };
        let angle = dice.range(0.0, TURN);
        curve.turn(angle, dice, side);
        curve
    }

    /// Turns the curve and sends it through a new random point.
    pub fn turn(&mut self, angle: f32, dice: &mut Dice, side: f32) {
        (self.cos, self.sin) = direction(angle);
        let (x, y) = (dice.range(0.1, 0.9) * side, dice.range(0.1, 0.9) * side);
        self.offset = y * self.cos - x * self.sin;
    }

    fn wiggle(&self, u: f32) -> f32 {
        self.bend_px
            * (value1(self.seed, u / self.wave_px)
                + 0.3 * value1(self.seed ^ salt::CURVE_DETAIL, u * 2.7 / self.wave_px))
    }

    /// Whether a point is surely further than `reach` px from the curve: a cheap first test.
    pub fn is_beyond(&self, x: f32, y: f32, reach: f32) -> bool {
        let v = y * self.cos - x * self.sin;
        (v - self.offset).abs() > 1.3 * self.bend_px + 2.5 * reach
    }

    /// Distance to the centre line, px (first order).
    pub fn distance(&self, x: f32, y: f32) -> f32 {
        let u = x * self.cos + y * self.sin;
        let v = y * self.cos - x * self.sin;
        let here = self.wiggle(u);
        let bend = self.wiggle(u + 1.0) - here;
        (v - self.offset - here).abs() / (1.0 + bend * bend).sqrt()
    }
}

/// Cosine and sine of an angle.
pub fn direction(angle: f32) -> (f32, f32) {
    (libm::cosf(angle), libm::sinf(angle))
}

/// A full turn, radians.
pub const TURN: f32 = core::f32::consts::TAU;
