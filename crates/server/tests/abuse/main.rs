//! Clients that mean harm, against a real server process: floods, bombs, slow and silent clients.
//!
//! Each attack is bounded, and of each is demanded: the server ends the connection with the right code or keeps it within
//! its limits; its resident memory grows by no more than a bound; a frame costs it no more CPU than a generous bound; and a
//! client beside, on the same net thread, is served with right answers all the while. The figures are printed; what the
//! limits are stands in `docs/operating/limits.md`.

mod floods;
mod hostile;
mod http1;
#[path = "../process/mod.rs"]
mod process;
#[path = "../surface/raw.rs"]
mod raw;
mod readers;
mod scene;
mod silent;
#[path = "../surface/store.rs"]
mod store;
#[path = "../../../http2/tests/conformance/wire.rs"]
mod wire;
