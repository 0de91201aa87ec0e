//! The `mmovseg` command.

fn main() {}
