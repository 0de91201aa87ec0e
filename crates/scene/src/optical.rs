//! From materials to the optical tile: sunlight, haze, sensor blur and the 8-bit stretch.

use crate::dice::Dice;
use crate::noise::{lerp, uniform};
use crate::plane::{Table, blur, crop, quantile_99};
use crate::surface::{Layout, PAD_PX};

/// The clear optical tile, HWC bytes.
///
/// Reflectance at the top of the atmosphere (surface times transmittance plus path radiance),
/// divided by each band's 99 % quantile as true-colour products are, or by one fixed reflectance
/// for all bands, as other products are.
pub fn render(layout: &Layout, dice: &mut Dice) -> Vec<u8> {
    let side = layout.side_px;
    // Level-2A products carry no haze, level-1C ones do.
    let haze = if dice.chance(0.25) {
        dice.range(0.0, 0.2)
    } else {
        dice.range(0.5, 1.4)
    };
    let path = [0.034 * haze, 0.056 * haze, 0.088 * haze];
    let through = [1.0 - 0.05 * haze, 1.0 - 0.09 * haze, 1.0 - 0.14 * haze];
    let elevation = dice.range(0.48, 1.1);
    let (sin_sun, cos_sun) = (libm::sinf(elevation), libm::cosf(elevation));
    let diffuse = dice.range(0.12, 0.3);
    let ambient = [diffuse, diffuse * 1.05, diffuse * 1.2];
    let sharp = dice.range(0.62, 0.85);
    let taps = [(1.0 - sharp) * 0.5, sharp, (1.0 - sharp) * 0.5];
    let noise = dice.range(0.000_5, 0.003);
    let noise_seed = dice.bits();
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
    let curve = Table::new(0.0, 1.0, 1024, |v| libm::powf(v, gamma));
    let size = side - 2 * PAD_PX;
    let mut bytes = vec![0_u8; size * size * 3];
    for band in 0..3 {
        let lit: Vec<f32> = layout
            .surface
            .iter()
            .zip(&light)
            .map(|(m, &l)| m.rgb[band] * lerp(l, 1.0, ambient[band]))
            .collect();
        let mut plane = crop(&blur(&lit, side, &taps), side);
        for (i, v) in plane.iter_mut().enumerate() {
            let grain = uniform(noise_seed, i as i32, band as i32) - 0.5;
            *v = *v * through[band] + path[band] + noise * 3.4 * grain;
        }
        // A small tile is cut from a larger product, whose brightest percent is seldom darker
        // than bright soil or roofs: hence the floor under the tile's own quantile.
        let white = if stretch < 0.6 {
            quantile_99(&plane).max(floor + 0.6 * path[band])
        } else {
            common_white + 0.5 * path[2] * haze
        };
        let dark = path[band] * black;
        for (i, &v) in plane.iter().enumerate() {
            let scaled = ((v - dark) / (white - dark) * cast[band]).clamp(0.0, 1.0);
            bytes[i * 3 + band] = (curve.at(scaled) * 255.0 + 0.5) as u8;
        }
    }
    bytes
}
