//! How many requests of one log are taken: a bucket that fills with time.

use std::time::Duration;

/// What is taken of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second, in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 10, burst: 100 }
    }
}

/// One log's share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// In thousandths of a request.
    left: u64,
    filled: Duration,
}

impl Bucket {
    pub(super) fn full(rate: Rate) -> Self {
        Self { left: u64::from(rate.burst) * 1_000, filled: Duration::ZERO }
    }

    /// Takes one request out, `now` after the start; false if there is none.
    pub(super) fn take(&mut self, rate: Rate, now: Duration) -> bool {
        let since = now.saturating_sub(self.filled).as_millis();
        let gained = u64::try_from(since).unwrap_or(u64::MAX);
        let gained = gained.saturating_mul(u64::from(rate.per_second));
        self.left = self.left.saturating_add(gained).min(u64::from(rate.burst) * 1_000);
        self.filled = self.filled.max(now);
        let enough = self.left >= 1_000;
        if enough {
            self.left -= 1_000;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_burst_and_fills_with_time() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut bucket = Bucket::full(rate);
        let mut taken = |ms: u64| {
            let now = Duration::from_millis(ms);
            (0..10).filter(|_| bucket.take(rate, now)).count()
        };
        // 0.5 of a request is not one, and is not lost.
        assert_eq!([0, 0, 50, 100, 400, 100_000].map(&mut taken), [3, 0, 0, 1, 3, 3]);
        assert_eq!(taken(0), 0, "time that goes back gives nothing");
    }
}
