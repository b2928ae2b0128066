//! Protected connections.

mod stream;

pub use stream::Stream;
