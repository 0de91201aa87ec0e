//! The messages that page and Worker exchange.
