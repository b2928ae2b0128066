//! The JSON gateway, as far as it is pure: which path calls which method, JSON to protobuf and back, errors as
//! JSON, WebSocket's frames.
//!
//! It follows etcd's own gateway (grpc-gateway's first version over `jsonpb`): field names as in the protobuf files,
//! fields at their default left out, 64-bit integers as strings, bytes in base64, unknown fields ignored. Nothing here
//! knows a socket or a service, and no input may make it panic.

mod error;
mod paths;
mod split;
mod transcode;
mod websocket;

pub use error::{error_body, http_status, stream_error};
pub use paths::{PATHS, method_of};
pub use split::{Splitter, Unfinished};
pub use transcode::{Method, NotJson, Transcoder};
pub use websocket::{Frames, Opcode, Received, Violation, accept_key, push_frame};
