//! The parts of the helper command that the browser tests use as well: where things lie, the
//! static file server, and how Chromium is started.

pub mod chrome;
pub mod paths;
pub mod server;
