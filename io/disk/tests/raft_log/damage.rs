//! Damage to a log at rest: what was acknowledged is never cut silently.
