//! Snapshots for clients: what `Maintenance.Snapshot` sends, and what etcd's own tools and a real etcd make of it.

mod etcd;
#[path = "../process/mod.rs"]
mod process;
mod restore;
mod store;
mod stream;
