//! The Worker's thin boundary around the engine.
