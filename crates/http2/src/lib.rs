//! windlass-http2
