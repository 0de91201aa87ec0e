//! From map coordinates to WGS 84 longitude and latitude, for the systems that satellite tiles come in.
//!
//! A projection library was tried; it would add 160 kB to the page for the two formulas below.

/// Semi-major axis of WGS 84, in metres.
const A: f64 = 6_378_137.0;

/// Third flattening of WGS 84. That of GRS 80 (ETRS89) differs by 1e-10: nothing on the ground.
const N: f64 = 0.001_679_220_386_383_704_7;

/// Scale on the central meridian of UTM.
const UTM_SCALE: f64 = 0.9996;

/// How to get to degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum System {
    /// Degrees already.
    Geographic,
    /// Spherical Mercator of web maps, EPSG:3857.
    WebMercator,
    /// Universal Transverse Mercator.
    Utm { zone: u32, south: bool },
}

impl System {
    /// WGS 84 (4326), its web Mercator (3857) and UTM zones (326xx, 327xx), and ETRS89 (4258) with its
    /// UTM zones (25828 to 25838), which is WGS 84 within a metre. `None` for any other.
    pub fn of(epsg: u32) -> Option<Self> {
        let utm = |zone, south| Self::Utm { zone, south };
        match epsg {
            4326 | 4258 => Some(Self::Geographic),
            3857 => Some(Self::WebMercator),
            32_601..=32_660 => Some(utm(epsg - 32_600, false)),
            32_701..=32_760 => Some(utm(epsg - 32_700, true)),
            25_828..=25_838 => Some(utm(epsg - 25_800, false)),
            _ => None,
        }
    }

    /// Longitude and latitude in degrees. Longitudes go on past ±180 rather than jump.
    pub fn degrees(self, [x, y]: [f64; 2]) -> [f64; 2] {
        match self {
            Self::Geographic => [x, y],
            Self::WebMercator => {
                let latitude = libm::atan(libm::sinh(y / A));
                [(x / A).to_degrees(), latitude.to_degrees()]
            }
            Self::Utm { zone, south } => {
                let north = if south { y - 10_000_000.0 } else { y };
                let [longitude, latitude] = transverse(x - 500_000.0, north);
                let meridian = 6.0 * f64::from(zone) - 183.0;
                [longitude.to_degrees() + meridian, latitude.to_degrees()]
            }
        }
    }
}

/// Krüger's series of 1912 for the transverse Mercator projection, inverse, to the fourth order in
/// the third flattening: better than a millimetre in a zone and its neighbours. Longitude from the
/// central meridian and latitude, in radians.
fn transverse(east: f64, north: f64) -> [f64; 2] {
    const N2: f64 = N * N;
    const N3: f64 = N2 * N;
    const N4: f64 = N3 * N;
    // Radius of the rectifying sphere.
    const RADIUS: f64 = A / (1.0 + N) * (1.0 + N2 / 4.0 + N4 / 64.0);
    const BETA: [f64; 4] = [
        N / 2.0 - 2.0 / 3.0 * N2 + 37.0 / 96.0 * N3 - N4 / 360.0,
        N2 / 48.0 + N3 / 15.0 - 437.0 / 1440.0 * N4,
        17.0 / 480.0 * N3 - 37.0 / 840.0 * N4,
        4397.0 / 161_280.0 * N4,
    ];
    const DELTA: [f64; 4] = [
        2.0 * N - 2.0 / 3.0 * N2 - 2.0 * N3 + 116.0 / 45.0 * N4,
        7.0 / 3.0 * N2 - 8.0 / 5.0 * N3 - 227.0 / 45.0 * N4,
        56.0 / 15.0 * N3 - 136.0 / 35.0 * N4,
        4279.0 / 630.0 * N4,
    ];
    let (xi, eta) = (north / (UTM_SCALE * RADIUS), east / (UTM_SCALE * RADIUS));
    let (mut xi_sphere, mut eta_sphere) = (xi, eta);
    for (j, beta) in (1..).zip(BETA) {
        let k = 2.0 * f64::from(j);
        xi_sphere -= beta * libm::sin(k * xi) * libm::cosh(k * eta);
        eta_sphere -= beta * libm::cos(k * xi) * libm::sinh(k * eta);
    }
    let conformal = libm::asin(libm::sin(xi_sphere) / libm::cosh(eta_sphere));
    let longitude = libm::atan2(libm::sinh(eta_sphere), libm::cos(xi_sphere));
    let latitude = (1..)
        .zip(DELTA)
        .map(|(j, delta)| delta * libm::sin(2.0 * f64::from(j) * conformal))
        .sum::<f64>()
        + conformal;
    [longitude, latitude]
}

#[cfg(test)]
mod tests {
    use super::System;

    fn near(epsg: u32, at: [f64; 2], want: [f64; 2], tolerance_deg: f64) {
        let got = System::of(epsg).map(|system| system.degrees(at));
        let near = |got: [f64; 2]| {
            (got[0] - want[0]).abs() < tolerance_deg && (got[1] - want[1]).abs() < tolerance_deg
        };
        assert!(got.is_some_and(near), "EPSG:{epsg} {at:?}: {got:?}");
    }

    #[test]
    fn published_points_are_met() {
        // PROJ's own tests of utm (zone 30): 2° E is five degrees off the central meridian.
        let (east, west) = (1_057_002.405_491_298, 611_263.812_278_954);
        near(32_630, [east, 110_955.141_175_949], [2.0, 1.0], 1e-9);
        near(32_630, [west, 110_547.105_695_167], [-2.0, 1.0], 1e-9);
        near(
            32_730,
            [west, 10e6 - 110_547.105_695_167],
            [-2.0, -1.0],
            1e-9,
        );
        near(25_830, [west, 110_547.105_695_167], [-2.0, 1.0], 1e-9);
        // IOGP guidance note 7-2, section on Popular Visualisation Pseudo-Mercator.
        let degrees = [-(100.0 + 20.0 / 60.0), 24.0 + 22.0 / 60.0 + 54.433 / 3600.0];
        near(3857, [-11_169_055.58, 2_800_000.0], degrees, 1e-7);
        near(4326, [7.5, -3.25], [7.5, -3.25], 1e-15);
    }

    #[test]
    fn other_systems_are_left_alone() {
        for epsg in [0, 2154, 27_700, 32_600, 32_661, 32_761, 25_827] {
            assert_eq!(System::of(epsg), None, "{epsg}");
        }
    }
}
