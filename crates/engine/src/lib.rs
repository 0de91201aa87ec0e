//! The session that every shell drives: load, encode, segment, self-test.
