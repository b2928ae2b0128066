//! The JSON gateway.
