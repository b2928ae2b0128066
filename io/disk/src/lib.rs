//! windlass-io-disk
