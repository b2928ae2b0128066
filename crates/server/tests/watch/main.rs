//! Watches over real connections: what is sent, in which shape, to clients fast and slow, across restarts; and the same
//! random scripts to a real etcd, response by response.
//!
//! Where `WINDLASS_ETCD_DIR` names a folder with a real etcd 3.5, its answers are the measure too.

mod ctl;
mod differential;
mod gateway;
mod list;
#[path = "../process/mod.rs"]
mod process;
#[path = "../surface/raw.rs"]
mod raw;
mod shapes;
mod slow;
mod stream;

#[path = "../surface/store.rs"]
#[allow(dead_code, reason = "not all of it is used here")]
mod store;
