//! Build helper.

fn main() {}
