//! What a disk does for a log (`probe`), where a member's commits spend their time (`profile`), and which settings suit
//! both (`tune`).
//!
//! Nothing here touches a member's data: the probe and the tuner write to folders of their own, which they remove, and the
//! profiler only reads pages and `/proc`.

pub mod device;
pub mod flags;
pub mod probe;
pub mod profile;
pub mod settings;
pub mod tune;
