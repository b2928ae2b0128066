//! The etcd v3 API as Rust types: messages of `etcdserverpb`, `mvccpb`, `authpb`, `v3lockpb` and `v3electionpb`, the
//! gRPC health messages, and the names of the methods.
//!
//! Messages only. Nothing here may decide, check or default anything: what a request means, and which requests are
//! wrong, is the business of the crates that serve them.

/// Made by `cargo xtask gen` from `proto/*.proto`.
#[allow(missing_docs, clippy::all)]
mod generated {
    #[rustfmt::skip]
    #[path = "authpb.rs"]
    pub mod authpb;
    #[rustfmt::skip]
    #[path = "etcdserverpb.rs"]
    pub mod etcdserverpb;
    #[rustfmt::skip]
    #[path = "grpc.health.v1.rs"]
    pub mod health;
    #[rustfmt::skip]
    #[path = "mvccpb.rs"]
    pub mod mvccpb;
    #[rustfmt::skip]
    #[path = "v3electionpb.rs"]
    pub mod v3electionpb;
    #[rustfmt::skip]
    #[path = "v3lockpb.rs"]
    pub mod v3lockpb;
}

pub use generated::{authpb, etcdserverpb, health, mvccpb, v3electionpb, v3lockpb};

/// The descriptors of all of it: an encoded `google.protobuf.FileDescriptorSet`. Made by `cargo xtask gen` too.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

pub mod method;
