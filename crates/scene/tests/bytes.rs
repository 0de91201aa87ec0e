//! The bytes of scenes that evaluation sets are made of. Published figures depend on them: a change
//! of the generator that alters them needs a new entry point beside `generate`.

use mmovseg_scene::{Scene, generate};

/// Seed, side in pixels, and the FNV-1a hash of optical, SAR and label bytes and the backscatter's
/// bits.
const SCENES: [(u64, usize, u64); 22] = [
    (700001, 64, 0x7ae4_31d8_e599_267a),
    (700003, 64, 0x324e_8a63_e489_687f),
    (700005, 64, 0xd87d_a959_fc50_5f84),
    (700007, 64, 0xbd97_55c0_75f3_350e),
    (700009, 64, 0x72ae_a38c_588c_c72d),
    (700011, 64, 0x50c7_cb89_1371_1f3b),
    (700013, 64, 0x0a73_fe4c_0b17_eecb),
    (700015, 64, 0x18a7_fff0_a4d9_71d7),
    (700017, 64, 0x2472_889c_e973_e6a8),
    (700019, 64, 0x2730_232c_8b6f_966c),
    (700021, 64, 0x53de_469f_81ca_2444),
    (700023, 64, 0x84ff_9914_4e7f_16c7),
    (700025, 64, 0xc487_5a14_204c_8860),
    (700027, 64, 0xc813_bd67_97c9_8631),
    (700029, 64, 0x23a8_d606_09f3_42ba),
    (700031, 64, 0x7b6e_a81e_c4ed_d2c7),
    (0, 97, 0xf530_dd21_6aa7_7f05),
    (1, 97, 0x8746_2d14_bc68_d321),
    (7, 97, 0xc845_0792_9705_844b),
    (11, 97, 0xec50_3176_441b_7a25),
    (42, 97, 0xc7e6_52f5_36b4_68dc),
    (0xDEAD_BEEF_0123_4567, 97, 0x955c_2f06_496e_a655),
];

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn hash(scene: &Scene) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for bytes in [&scene.rgb.data, &scene.sar.data, &scene.label] {
        hash = fnv1a(hash, bytes);
    }
    scene
        .sar_db
        .iter()
        .fold(hash, |hash, db| fnv1a(hash, &db.to_le_bytes()))
}

#[test]
fn scenes_of_evaluation_sets_keep_their_bytes() {
    for (seed, side_px, expected) in SCENES {
        let found = hash(&generate(seed, side_px));
        assert_eq!(
            found, expected,
            "seed {seed} at {side_px} px: 0x{found:016x}"
        );
    }
}
