//! windlass-mvcc
