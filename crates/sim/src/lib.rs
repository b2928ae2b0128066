//! windlass-sim
