//! windlass-replica
