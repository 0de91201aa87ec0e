//! Coordinate reference systems: from the keys of a `GeoTIFF` to a definition that `proj4rs`
//! computes with, and from one system to another.
//!
//! A system whose shift to WGS 84 is not known (NAD27 without its grids, a bare ellipsoid) is
//! refused rather than taken for WGS 84: the error would be tens to hundreds of metres.

use proj4rs::Proj;

use crate::{GeoKeys, GeoRef};

/// A reference system that coordinates can be converted from and to.
pub struct Crs {
    proj: Proj,
    /// In the notation of PROJ 4.
    definition: String,
}

/// Values of keys that mean "described by other keys".
const USER_DEFINED: u16 = 32_767;

/// Numbers of keys: OGC 19-008r4, annex B.
mod key {
    pub const MODEL_TYPE: u16 = 1024;
    pub const GEOGRAPHIC: u16 = 2048;
    pub const DATUM: u16 = 2050;
    pub const PRIME_MERIDIAN: u16 = 2051;
    pub const ANGULAR_UNITS: u16 = 2054;
    pub const ELLIPSOID: u16 = 2056;
    pub const SEMI_MAJOR: u16 = 2057;
    pub const SEMI_MINOR: u16 = 2058;
    pub const INVERSE_FLATTENING: u16 = 2059;
    pub const TO_WGS84: u16 = 2062;
    pub const PROJECTED: u16 = 3072;
    pub const PROJECTION: u16 = 3074;
    pub const METHOD: u16 = 3075;
    pub const LINEAR_UNITS: u16 = 3076;
    pub const LINEAR_UNIT_SIZE: u16 = 3077;
    pub const STD_PARALLEL_1: u16 = 3078;
    pub const STD_PARALLEL_2: u16 = 3079;
    pub const NAT_ORIGIN_LONG: u16 = 3080;
    pub const NAT_ORIGIN_LAT: u16 = 3081;
    pub const FALSE_EASTING: u16 = 3082;
    pub const FALSE_NORTHING: u16 = 3083;
    pub const FALSE_ORIGIN_LONG: u16 = 3084;
    pub const FALSE_ORIGIN_LAT: u16 = 3085;
    pub const FALSE_ORIGIN_EASTING: u16 = 3086;
    pub const FALSE_ORIGIN_NORTHING: u16 = 3087;
    pub const CENTER_LONG: u16 = 3088;
    pub const CENTER_LAT: u16 = 3089;
    pub const SCALE_AT_NAT_ORIGIN: u16 = 3092;
    pub const SCALE_AT_CENTER: u16 = 3093;
    pub const STRAIGHT_VERT_POLE_LONG: u16 = 3095;
}

/// The EPSG code of the reference system that keys describe; `None` for a private one.
pub(crate) fn epsg_code(keys: &GeoKeys) -> Option<u32> {
    let code = |wanted| {
        keys.short(wanted)
            .filter(|&code| code != 0 && code != USER_DEFINED)
    };
    if let Some(projected) = code(key::PROJECTED) {
        return Some(projected.into());
    }
    if is_projected(keys) {
        // UTM by the number of its projection: 160zz north, 161zz south.
        let projection = code(key::PROJECTION)?;
        let (zone, south) = utm_zone(projection)?;
        let base: u32 = match (keys.short(key::GEOGRAPHIC), south) {
            (Some(4326), false) => 32_600,
            (Some(4326), true) => 32_700,
            (Some(4258), false) if (28..=38).contains(&zone) => 25_800,
            (Some(4269), false) if zone <= 23 => 26_900,
            _ => return None,
        };
        return Some(base + u32::from(zone));
    }
    code(key::GEOGRAPHIC).map(u32::from)
}

fn utm_zone(projection: u16) -> Option<(u16, bool)> {
    match projection {
        16_001..=16_060 => Some((projection - 16_000, false)),
        16_101..=16_160 => Some((projection - 16_100, true)),
        _ => None,
    }
}

/// Whether map coordinates are of a projection: then the geographic code is only its base.
fn is_projected(keys: &GeoKeys) -> bool {
    keys.short(key::MODEL_TYPE) == Some(1)
        || [key::PROJECTED, key::PROJECTION, key::METHOD]
            .iter()
            .any(|&wanted| keys.short(wanted).is_some())
}

impl Crs {
    /// WGS 84 in degrees.
    pub fn wgs84() -> Option<Self> {
        Self::parse("+proj=longlat +datum=WGS84 +no_defs").ok()
    }

    /// The reference system of a place.
    ///
    /// # Errors
    /// A sentence without a subject ("names none", "EPSG:1 is not known") when there is none or it
    /// is not understood.
    pub fn of(georef: &GeoRef) -> Result<Self, String> {
        if let Some(code) = georef.epsg {
            let known = u16::try_from(code)
                .ok()
                .and_then(crs_definitions::from_code);
            let definition = known.ok_or(format!("EPSG:{code} is not known"))?.proj4;
            return Self::parse(definition).map_err(|why| format!("EPSG:{code} {why}"));
        }
        if georef.keys.directory.is_empty() {
            return Err("it names none".into());
        }
        Self::parse(&definition(&georef.keys)?).map_err(|why| format!("its definition {why}"))
    }

    fn parse(definition: &str) -> Result<Self, String> {
        if !has_known_datum(definition) {
            return Err("has a datum whose shift to WGS 84 is not known".into());
        }
        let proj = Proj::from_proj_string(definition)
            .map_err(|error| format!("is of a kind that is not computed ({error})"))?;
        if !proj.has_inverse() || !proj.has_forward() {
            return Err("is of a kind that is not computed".into());
        }
        Ok(Self {
            proj,
            definition: definition.trim().to_owned(),
        })
    }

    /// Coordinates in another system; `None` where they are not defined.
    #[must_use]
    pub fn convert(&self, [x, y]: [f64; 2], to: &Self) -> Option<[f64; 2]> {
        if self.definition == to.definition {
            return Some([x, y]);
        }
        let mut point = if self.proj.is_latlong() {
            (x.to_radians(), y.to_radians(), 0.0)
        } else {
            (x, y, 0.0)
        };
        proj4rs::transform::transform(&self.proj, &to.proj, &mut point).ok()?;
        let [x, y] = if to.proj.is_latlong() {
            [point.0.to_degrees(), point.1.to_degrees()]
        } else {
            [point.0, point.1]
        };
        (x.is_finite() && y.is_finite()).then_some([x, y])
    }
}

/// Whether the shift to WGS 84 is part of a definition, or nothing.
fn has_known_datum(definition: &str) -> bool {
    let value = |name: &str| {
        definition
            .split_whitespace()
            .find_map(|part| part.strip_prefix(name))
    };
    if value("+nadgrids=").is_some_and(|grids| grids != "@null") {
        return false;
    }
    match (value("+datum="), value("+ellps=")) {
        // Its shift is in grids that are not part of the program.
        (Some("NAD27"), _) => false,
        (Some(_), _) => true,
        // Geocentric systems of today lie within a metre of each other.
        (None, Some("GRS80" | "WGS84")) => true,
        (None, _) => value("+towgs84=").is_some() || value("+nadgrids=").is_some(),
    }
}

/// The definition that the parameters of a private reference system make up.
fn definition(keys: &GeoKeys) -> Result<String, String> {
    let base = base(keys)?;
    if !is_projected(keys) {
        return Ok(format!("+proj=longlat {base} +no_defs"));
    }
    let unit = match keys.short(key::LINEAR_UNITS) {
        None | Some(9001) => 1.0,
        Some(9002) => 0.3048,
        Some(9003) => 1200.0 / 3937.0,
        Some(USER_DEFINED) => keys.double(key::LINEAR_UNIT_SIZE).unwrap_or(1.0),
        Some(unit) => return Err(format!("its unit of length (EPSG:{unit}) is not known")),
    };
    if let Some((zone, south)) = keys.short(key::PROJECTION).and_then(utm_zone) {
        let south = if south { " +south" } else { "" };
        return Ok(format!(
            "+proj=utm +zone={zone}{south} {base} +units=m +no_defs"
        ));
    }
    let first = |wanted: &[u16]| wanted.iter().find_map(|&wanted| keys.double(wanted));
    let parallels = [key::STD_PARALLEL_1, key::STD_PARALLEL_2].map(|k| keys.double(k));
    let latitude =
        first(&[key::NAT_ORIGIN_LAT, key::FALSE_ORIGIN_LAT, key::CENTER_LAT]).unwrap_or(0.0);
    let longitude = first(&[
        key::NAT_ORIGIN_LONG,
        key::FALSE_ORIGIN_LONG,
        key::CENTER_LONG,
        key::STRAIGHT_VERT_POLE_LONG,
    ])
    .unwrap_or(0.0);
    let east = unit * first(&[key::FALSE_EASTING, key::FALSE_ORIGIN_EASTING]).unwrap_or(0.0);
    let north = unit * first(&[key::FALSE_NORTHING, key::FALSE_ORIGIN_NORTHING]).unwrap_or(0.0);
    let scale = first(&[key::SCALE_AT_NAT_ORIGIN, key::SCALE_AT_CENTER]).unwrap_or(1.0);
    let parallel = |i: usize| parallels[i].unwrap_or(latitude);
    let shape = match keys.short(key::METHOD) {
        Some(1) => format!("+proj=tmerc +lat_0={latitude} +lon_0={longitude} +k={scale}"),
        Some(7) => match parallels[0] {
            Some(parallel) => format!("+proj=merc +lat_ts={parallel} +lon_0={longitude}"),
            None => format!("+proj=merc +lon_0={longitude} +k={scale}"),
        },
        Some(8) => format!(
            "+proj=lcc +lat_1={} +lat_2={} +lat_0={latitude} +lon_0={longitude}",
            parallel(0),
            parallel(1)
        ),
        Some(9) => {
            format!("+proj=lcc +lat_1={latitude} +lat_0={latitude} +lon_0={longitude} +k_0={scale}")
        }
        Some(10) => format!("+proj=laea +lat_0={latitude} +lon_0={longitude}"),
        Some(11) => format!(
            "+proj=aea +lat_1={} +lat_2={} +lat_0={latitude} +lon_0={longitude}",
            parallel(0),
            parallel(1)
        ),
        Some(15) => {
            let pole = if latitude < 0.0 { -90 } else { 90 };
            format!("+proj=stere +lat_0={pole} +lat_ts={latitude} +lon_0={longitude} +k={scale}")
        }
        Some(16) => format!("+proj=sterea +lat_0={latitude} +lon_0={longitude} +k={scale}"),
        Some(17) => format!("+proj=eqc +lat_ts={} +lon_0={longitude}", parallel(0)),
        Some(24) => format!("+proj=sinu +lon_0={longitude}"),
        Some(28) => format!("+proj=cea +lat_ts={} +lon_0={longitude}", parallel(0)),
        Some(method) => return Err(format!("its projection method ({method}) is not known")),
        None => return Err("it names neither a code nor a projection".into()),
    };
    Ok(format!(
        "{shape} +x_0={east} +y_0={north} {base} +to_meter={unit} +no_defs"
    ))
}

/// Datum and ellipsoid of the geographic base.
fn base(keys: &GeoKeys) -> Result<String, String> {
    let known = |wanted| keys.short(wanted).filter(|&code| code != USER_DEFINED);
    if let Some(code) = known(key::GEOGRAPHIC).filter(|&code| code != 0) {
        let found = crs_definitions::from_code(code)
            .ok_or(format!("its geographic base (EPSG:{code}) is not known"))?;
        let parts = found.proj4.split_whitespace();
        let parts: Vec<&str> = parts
            .filter(|part| !part.starts_with("+proj=") && *part != "+no_defs")
            .collect();
        return Ok(parts.join(" "));
    }
    if known(key::PRIME_MERIDIAN).is_some_and(|code| code != 8901) {
        return Err("its prime meridian is not Greenwich".into());
    }
    if known(key::ANGULAR_UNITS).is_some_and(|code| code != 9102) {
        return Err("its angles are not in degrees".into());
    }
    let shift = keys
        .double_list(key::TO_WGS84)
        .filter(|values| [3, 7].contains(&values.len()));
    let shift = shift.map(|values| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        format!(" +towgs84={}", values.join(","))
    });
    let datum = match known(key::DATUM) {
        Some(6326) => Some("+datum=WGS84"),
        Some(6269) => Some("+datum=NAD83"),
        Some(6258) => Some("+ellps=GRS80"),
        _ => None,
    };
    if let Some(datum) = datum {
        return Ok(datum.into());
    }
    let axis = keys.double(key::SEMI_MAJOR);
    let flattening = keys.double(key::INVERSE_FLATTENING).or_else(|| {
        let (a, b) = (axis?, keys.double(key::SEMI_MINOR)?);
        Some(a / (a - b))
    });
    let ellipsoid = match (known(key::ELLIPSOID), axis, flattening) {
        (Some(7019), ..) => "+ellps=GRS80".into(),
        (Some(7030), ..) => "+ellps=WGS84".into(),
        // Those two by their numbers: they differ by a tenth of a millimetre.
        (_, Some(a), Some(f))
            if (a - 6_378_137.0).abs() < 0.01 && (f - 298.257_222).abs() < 1e-4 =>
        {
            "+ellps=GRS80".into()
        }
        (_, Some(a), Some(f)) if f.is_finite() => format!("+a={a} +rf={f}"),
        (_, Some(a), _) => format!("+a={a} +b={a}"),
        _ => return Err("it names neither datum nor ellipsoid".into()),
    };
    Ok(ellipsoid + &shift.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::Crs;
    use crate::{GeoKeys, GeoRef};

    fn place(epsg: u32) -> GeoRef {
        GeoRef {
            transform: [1.0, 0.0, 0.0, 0.0, -1.0, 0.0],
            epsg: Some(epsg),
            keys: GeoKeys::default(),
            control_points: Vec::new(),
        }
    }

    /// Points and their degrees by PROJ 9. The last column is the error allowed in metres: PROJ
    /// knows better shifts of national datums than seven parameters.
    #[test]
    fn points_lie_where_proj_puts_them() {
        let points = [
            (2154, [700_000.0, 6_600_000.0], [3.0, 46.5], 0.01),
            (
                5070,
                [-1_000_000.0, 2_000_000.0],
                [-107.922_667_369, 40.448_180_122],
                0.01,
            ),
            (
                3031,
                [1_000_000.0, 1_000_000.0],
                [45.0, -77.037_400_635],
                0.01,
            ),
            (
                3413,
                [-1_000_000.0, -1_000_000.0],
                [-90.0, 76.998_815_532],
                0.01,
            ),
            (
                2193,
                [1_600_000.0, 5_500_000.0],
                [173.0, -40.650_856_517],
                0.01,
            ),
            (
                26_911,
                [500_000.0, 3_700_000.0],
                [-117.0, 33.439_394_673],
                0.01,
            ),
            (
                25_832,
                [500_000.0, 5_500_000.0],
                [9.0, 49.652_542_924],
                0.01,
            ),
            (3006, [500_000.0, 6_500_000.0], [15.0, 58.640_296_941], 0.01),
            (
                3035,
                [4_714_496.012_694, 2_462_247.138_092],
                [15.0, 45.153_477_183],
                0.01,
            ),
            (
                3857,
                [1_669_792.361_899, 5_645_715.775_437],
                [15.0, 45.153_477_183],
                0.01,
            ),
            (
                32_633,
                [500_000.0, 5_000_000.0],
                [15.0, 45.153_477_183],
                0.01,
            ),
            (
                6933,
                [1_000_000.0, 4_000_000.0],
                [10.364_167_811, 33.127_907_385],
                0.01,
            ),
            (
                2056,
                [2_600_000.0, 1_200_000.0],
                [7.438_632_421, 46.951_082_772],
                2.0,
            ),
            (
                27_700,
                [400_000.0, 300_000.0],
                [-2.001_433_116, 52.597_792_431],
                10.0,
            ),
            (
                28_992,
                [155_000.0, 463_000.0],
                [5.387_203_508, 52.155_172_301],
                2.0,
            ),
            (
                31_370,
                [150_000.0, 170_000.0],
                [4.368_752_141, 50.840_411_283],
                10.0,
            ),
        ];
        let degrees = Crs::wgs84().unwrap();
        for (code, map, wanted, metres) in points {
            let crs = Crs::of(&place(code)).unwrap();
            let found = crs.convert(map, &degrees).unwrap();
            let back = degrees.convert(found, &crs).unwrap();
            let east = (found[0] - wanted[0]) * 111_320.0 * wanted[1].to_radians().cos();
            let north = (found[1] - wanted[1]) * 111_320.0;
            assert!(
                east.hypot(north) < metres,
                "EPSG:{code}: {found:?} for {wanted:?}"
            );
            let apart = (back[0] - map[0]).hypot(back[1] - map[1]);
            assert!(apart < 0.01, "EPSG:{code}: {apart} m after both ways");
        }
    }

    #[test]
    fn systems_without_a_known_shift_and_unknown_codes_are_refused() {
        for (code, why) in [
            (4267, "datum"),
            (26_711, "datum"),
            (1, "not known"),
            (70_000, "not known"),
        ] {
            let error = Crs::of(&place(code)).err().unwrap();
            assert!(
                error.contains(why) && error.contains(&code.to_string()),
                "{error}"
            );
        }
    }
}
