//! The parts of the helper command that the browser tests use as well: where things lie, the
//! static file server, and how a browser is started.

pub mod browser;
pub mod paths;
pub mod server;
