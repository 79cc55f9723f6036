//! Time as the registry keeps it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from 1970-01-01, the epoch of Unix, to 2000-01-01, PostgreSQL's.
const POSTGRES_EPOCH_S: i64 = 946_684_800;

/// Now, in PostgreSQL's unit: microseconds since 2000-01-01 UTC. Safe in a signal handler.
pub fn now() -> i64 {
    let since_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    micros(since_unix) - POSTGRES_EPOCH_S * 1_000_000
}

/// A duration in the registry's unit.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Time from `earlier` to `later`, zero if it is negative (the clock was set back).
pub fn between(earlier: i64, later: i64) -> Duration {
    Duration::from_micros(u64::try_from(later.saturating_sub(earlier)).unwrap_or(0))
}
