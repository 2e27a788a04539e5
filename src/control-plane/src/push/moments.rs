//! When the latest revisions were published, to say for how long a proxy has been behind.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many revisions are remembered. Who is further behind is said to be behind since the oldest of them.
const CAPACITY: usize = 4096;

/// See the module. Ascending; never empty.
pub(super) struct Moments(VecDeque<(u64, Instant)>);

impl Moments {
    /// The revision that is there at the start counts as published then.
    pub(super) fn new(revision: u64, now: Instant) -> Self {
        Self([(revision, now)].into())
    }

    /// A revision has been published.
    pub(super) fn published(&mut self, revision: u64, now: Instant) {
        self.0.push_back((revision, now));
        if self.0.len() > CAPACITY {
            self.0.pop_front();
        }
    }

    /// For how long the oldest revision has been published that is not acknowledged; zero if all are.
    pub(super) fn lag(&self, acknowledged: Option<u64>, now: Instant) -> Duration {
        let first = acknowledged.map_or(0, |acknowledged| self.0.partition_point(|(revision, _)| *revision <= acknowledged));
        self.0.get(first).map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_the_oldest_revision_that_is_not_acknowledged() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut moments = Moments::new(5, start);
        moments.published(6, after(10));
        moments.published(9, after(20));
        let lag = |acknowledged| moments.lag(acknowledged, after(60)).as_secs();
        assert_eq!([None, Some(3), Some(5), Some(6), Some(8), Some(9), Some(10)].map(lag), [60, 60, 50, 40, 40, 0, 0]);
    }

    #[test]
    fn who_is_further_behind_than_is_remembered_lags_since_the_oldest() {
        let start = Instant::now();
        let mut moments = Moments::new(0, start);
        for revision in 1..=2 * CAPACITY as u64 {
            moments.published(revision, start + Duration::from_secs(revision));
        }
        assert_eq!(moments.0.len(), CAPACITY);
        assert_eq!(moments.lag(Some(1), start + Duration::from_secs(2 * CAPACITY as u64)).as_secs(), CAPACITY as u64 - 1);
    }
}
