//! The workspace held against its own rules. This library reads what the tests compare: the
//! workspace's crates, the imports between the files of a crate, and comments.

pub mod imports;
pub mod workspace;
