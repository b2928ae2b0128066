//! The name of one call.

use windlass_http2::StreamRef;

/// Names one call on one connection of one [`crate::Net`].
///
/// It is a plain value to be kept in the service's own tables, and stays safe to use after the call or its connection
/// is gone: an answer to it is then dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    /// The connection's place in the table.
    pub(crate) connection: u32,
    /// The connection's number among all that had this place.
    pub(crate) serial: u32,
    pub(crate) stream: StreamRef,
}
