//! From materials to the optical tile: sunlight, haze, sensor blur and the 8-bit stretch.

use crate::dice::Dice;
use crate::noise::{fbm, lerp, uniform};
use crate::plane::{Table, blur, crop, quantile, quantile_99};
use crate::salt;
use crate::surface::{Layout, PAD_PX};

/// Sun, air and sensor of one picture.
struct Optics {
    /// Amount of path radiance: 0 none, 1 a usual level-1C product.
    haze: f32,
    /// How much haze varies over the tile, 0 to 1.
    haze_variation: f32,
    /// Sun's elevation, radians.
    elevation: f32,
    /// Share of diffuse light.
    diffuse: f32,
    /// Weight of the middle tap of the sensor's blur.
    sharp: f32,
    /// Standard deviation of the sensor's noise, reflectance.
    noise: f32,
    noise_seed: u32,
}

impl Optics {
    /// Level-2A products carry no haze, level-1C ones do.
    fn draw(dice: &mut Dice) -> Self {
        Self {
            haze: if dice.chance(0.25) {
                dice.range(0.0, 0.2)
            } else {
                dice.range(0.5, 1.4)
            },
            haze_variation: 0.0,
            elevation: dice.range(0.48, 1.1),
            diffuse: dice.range(0.12, 0.3),
            sharp: dice.range(0.62, 0.85),
            noise: dice.range(0.000_5, 0.003),
            noise_seed: dice.bits(),
        }
    }

    /// Path radiance of red, green and blue, reflectance.
    fn path(&self) -> [f32; 3] {
        [0.034 * self.haze, 0.056 * self.haze, 0.088 * self.haze]
    }

    /// Reflectance at the top of the atmosphere (surface times transmittance plus path radiance) of
    /// red, green and blue, `[size, size]` each.
    fn reflectance(&self, layout: &Layout) -> [Vec<f32>; 3] {
        let side = layout.side_px;
        let size = side - 2 * PAD_PX;
        let haze = self.haze;
        let path = self.path();
        let through = [1.0 - 0.05 * haze, 1.0 - 0.09 * haze, 1.0 - 0.14 * haze];
        let (sin_sun, cos_sun) = (libm::sinf(self.elevation), libm::cosf(self.elevation));
        let diffuse = self.diffuse;
        let ambient = [diffuse, diffuse * 1.05, diffuse * 1.2];
        let sharp = self.sharp;
        let taps = [(1.0 - sharp) * 0.5, sharp, (1.0 - sharp) * 0.5];
        let light: Vec<f32> = layout
            .slope
            .iter()
            .zip(&layout.surface)
            .map(|(s, m)| {
                let (sx, sy) = (s[0] * m.relief, s[1] * m.relief);
                let facing = sin_sun - cos_sun * (sx * layout.sun[0] + sy * layout.sun[1]);
                (facing / (1.0 + sx * sx + sy * sy).sqrt() / sin_sun).clamp(0.0, 1.9)
            })
            .collect();
        std::array::from_fn(|band| {
            let lit: Vec<f32> = layout
                .surface
                .iter()
                .zip(&light)
                .map(|(m, &l)| m.rgb[band] * lerp(l, 1.0, ambient[band]))
                .collect();
            let mut plane = crop(&blur(&lit, side, &taps), side);
            for (i, v) in plane.iter_mut().enumerate() {
                let grain = uniform(self.noise_seed, i as i32, band as i32) - 0.5;
                let mut air = path[band];
                if self.haze_variation > 0.0 {
                    let (x, y) = ((i % size) as f32 / 70.0, (i / size) as f32 / 70.0);
                    air *= 1.0 + self.haze_variation * fbm(self.noise_seed ^ salt::HAZE, x, y, 3);
                }
                *v = *v * through[band] + air + self.noise * 3.4 * grain;
            }
            plane
        })
    }
}

/// Black and white of a band, reflectance.
#[derive(Clone, Copy)]
struct Range {
    black: f32,
    white: f32,
}

/// Bands to HWC bytes: black to 0, white to 255, times `cast`, to the power of `gamma`.
fn to_bytes(bands: &[Vec<f32>; 3], ranges: [Range; 3], cast: [f32; 3], gamma: f32) -> Vec<u8> {
    let curve = Table::new(0.0, 1.0, 1024, |v| libm::powf(v, gamma));
    let mut bytes = vec![0_u8; bands[0].len() * 3];
    for (band, plane) in bands.iter().enumerate() {
        let Range { black, white } = ranges[band];
        for (i, &v) in plane.iter().enumerate() {
            let scaled = ((v - black) / (white - black) * cast[band]).clamp(0.0, 1.0);
            bytes[i * 3 + band] = (curve.at(scaled) * 255.0 + 0.5) as u8;
        }
    }
    bytes
}

/// The clear optical tile, HWC bytes: each band divided by its 99 % quantile as true-colour
/// products are, or all bands by one fixed reflectance.
pub fn render(layout: &Layout, dice: &mut Dice) -> Vec<u8> {
    let optics = Optics::draw(dice);
    true_colour(layout, &optics, dice)
}

fn true_colour(layout: &Layout, optics: &Optics, dice: &mut Dice) -> Vec<u8> {
    let path = optics.path();
    let stretch = dice.unit();
    let floor = dice.range(0.13, 0.26);
    let common_white = dice.range(0.21, 0.36);
    let gamma = if stretch < 0.5 {
        dice.range(0.92, 1.08)
    } else {
        dice.range(0.78, 1.1)
    };
    let cast = [
        dice.range(0.95, 1.05),
        dice.range(0.97, 1.03),
        dice.range(0.95, 1.05),
    ];
    let black = if dice.chance(0.2) {
        dice.range(0.3, 0.9)
    } else {
        0.0
    };
    let bands = optics.reflectance(layout);
    let ranges = std::array::from_fn(|band| Range {
        black: path[band] * black,
        // A small tile is cut from a larger product, whose brightest percent is seldom darker
        // than bright soil or roofs: hence the floor under the tile's own quantile.
        white: if stretch < 0.6 {
            quantile_99(&bands[band]).max(floor + 0.6 * path[band])
        } else {
            common_white + 0.5 * path[2] * optics.haze
        },
    });
    to_bytes(&bands, ranges, cast, gamma)
}

/// The clear optical tile of any product, HWC bytes: true colour; reflectance over a fixed white
/// without haze; each band, or all together, between two of the tile's own quantiles; a square
/// root.
pub fn render_any_product(layout: &Layout, dice: &mut Dice) -> Vec<u8> {
    let mut optics = Optics::draw(dice);
    optics.sharp = dice.range(0.5, 0.9);
    if dice.chance(0.12) {
        optics.haze = dice.range(1.4, 3.2);
        optics.haze_variation = dice.range(0.1, 0.5);
    }
    let product = dice.pick(&[0.25, 0.27, 0.26, 0.12, 0.1]);
    if product == 0 {
        return true_colour(layout, &optics, dice);
    }
    let low = dice.range(0.002, 0.03);
    let high = dice.range(0.96, 0.998);
    let white = dice.range(0.22, 0.38);
    let least_span = dice.range(0.02, 0.06);
    let gamma = if product == 4 {
        dice.range(0.45, 0.7)
    } else {
        dice.range(0.85, 1.1)
    };
    if product == 1 {
        optics.haze *= 0.3;
    }
    let bands = optics.reflectance(layout);
    let between = |plane: &[f32]| {
        let (black, white) = (quantile(plane, low), quantile(plane, high));
        Range {
            black,
            white: white.max(black + least_span),
        }
    };
    let ranges = match product {
        1 => [Range { black: 0.0, white }; 3],
        2 => std::array::from_fn(|band| between(&bands[band])),
        3 => [between(&bands.concat()); 3],
        _ => {
            [Range {
                black: 0.0,
                white: 1.6 * white,
            }; 3]
        }
    };
    to_bytes(&bands, ranges, [1.0; 3], gamma)
}
