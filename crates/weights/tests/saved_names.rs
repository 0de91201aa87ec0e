//! Files as `torch.save` writes them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use mmovseg_weights::Checkpoint;

fn open(name: &str) -> Checkpoint {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    Checkpoint::open(Path::new(&own).join("tests/fixtures").join(name)).unwrap()
}

/// PyTorch names the folder inside the archive after the file. With 21 characters the first entry
/// of the archive's directory was passed over, and the file refused.
#[test]
fn a_file_saved_under_a_name_of_21_characters_was_refused() {
    let checkpoint = open("name_of_21_characters.pth");
    assert_eq!(checkpoint.read("a").unwrap().data, [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn both_formats_of_pytorch_are_read() {
    for name in ["nested.pth", "before_1_6.pth"] {
        let checkpoint = open(name);
        let a = checkpoint.read("a").unwrap();
        assert_eq!(
            (a.shape, a.data),
            (vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        );
        assert_eq!(checkpoint.read("b").unwrap().data, [1.0, 2.0]);
        assert_eq!(checkpoint.read("c").unwrap().data, [1.5]);
    }
}
