//! The wall clock. `proofs` has none; everything here that needs the time asks this module.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 on a clock before that.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The current minute in UTC, as entries write it: `2024-02-14T07:05Z`.
pub fn now_minute() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%MZ").to_string()
}
