//! The web console in a real browser: what it shows, what it must never run, and how it is used without a mouse.
//!
//! Needs Debian's `chromium` and `chromium-driver`; without them each test says so and passes. With `WINDLASS_SCREENSHOTS`
//! naming a folder the tests leave pictures there.

mod browser;
mod keyboard;
mod keys;
mod overview;
#[path = "../process/mod.rs"]
mod process;
mod readable;
mod users;
