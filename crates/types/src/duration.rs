//! Times as the numbers that state machines count with.

use std::time::Duration;

/// `duration` in nanoseconds; one of more than 584 years is `u64::MAX`.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
