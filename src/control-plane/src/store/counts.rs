//! What storage counts for those who watch it: changes, commits, what was trimmed. It decides nothing and holds no name.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Counted since the process started; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Changes that are durable, whether they altered the table or not.
    pub(crate) changes: Counter,
    /// How long each batch of changes took, its sync to disk included, in seconds.
    pub(crate) commit_seconds: Histogram,
    /// Batches that were not committed.
    pub(crate) failed_commits: Counter,
    /// Rows of the history that were trimmed.
    pub(crate) trimmed_changes: Counter,
    /// Audit records that were trimmed.
    pub(crate) trimmed_audit: Counter,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            changes: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            failed_commits: Counter::default(),
            trimmed_changes: Counter::default(),
            trimmed_audit: Counter::default(),
        }
    }
}
