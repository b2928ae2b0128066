//! windlass-rpc
