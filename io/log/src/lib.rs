//! Append-only logs over fixed-size segment files, pure: they emit disk operations and take their completions.

pub mod buffer;
pub mod frame;
pub mod ids;
pub mod op;
