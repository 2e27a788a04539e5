//! The one place that reads the time, and what waits for it. Everything else is handed a [`Clock`], so that tests can turn it.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use keygate_decision::UnixSeconds;
use tokio::time::{Instant, sleep_until};

/// Tells the current second.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> UnixSeconds + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub(crate) fn system() -> Self {
        Self(Arc::new(|| second_of(SystemTime::now())))
    }

    /// The current second, rounded down.
    pub(crate) fn now(&self) -> UnixSeconds {
        (self.0)()
    }

    /// A clock that shows what is stored in `seconds`.
    #[cfg(test)]
    pub(crate) fn manual(seconds: Arc<std::sync::atomic::AtomicU64>) -> Self {
        Self(Arc::new(move || UnixSeconds(seconds.load(std::sync::atomic::Ordering::SeqCst))))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(..)")
    }
}

/// The second of a time, rounded down; the first one for times before 1970.
pub(crate) fn second_of(time: SystemTime) -> UnixSeconds {
    UnixSeconds(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Resolves at a moment; never without one.
pub(crate) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// A second as RFC 3339 in UTC: `2026-11-21T20:00:00Z`.
pub(crate) fn rfc3339(second: UnixSeconds) -> String {
    // The format has four digits for the year.
    const LAST: u64 = 253_402_300_799;
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(second.0.min(LAST))).to_string()
}
