//! windlass-raft
