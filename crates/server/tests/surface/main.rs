//! What clients meet besides the meaning of requests: HTTP pages, gRPC's own refusals and limits, streams, connections
//! that misbehave, and a server that stops.
//!
//! Where `WINDLASS_ETCD_DIR` names a folder with a real etcd, its answers are the measure too.

mod alarms;
mod calls;
mod clients;
mod compressed;
mod connections;
mod console;
mod deadlines;
mod figures;
mod gateway;
mod gateway_random;
mod health;
mod limits;
mod pages;
#[path = "../process/mod.rs"]
mod process;
mod range_stream;
mod raw;
mod recipes;
mod settings;
mod store;
mod threads;
mod tools;
mod top;
mod websocket;
