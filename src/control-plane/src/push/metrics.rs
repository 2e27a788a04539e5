//! What the push counts for those who watch it. It knows no proxy by name and decides nothing.

use prometheus_client::metrics::counter::Counter;

use super::message::Topic;

/// Counted since the process started; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Streams whose Hello was accepted.
    pub(crate) streams_opened: Counter,
    /// Streams whose Hello was refused.
    pub(crate) streams_refused: Counter,
    /// Snapshots that were begun.
    pub(crate) snapshots: Counter,
    /// The bytes of their messages.
    pub(crate) snapshot_bytes: Counter,
    /// Deltas that were begun.
    pub(crate) deltas: Counter,
    /// The bytes of their messages.
    pub(crate) delta_bytes: Counter,
    /// Messages that filters refused.
    pub(crate) refusals: Counter,
    /// Reports of keys' use that were taken in.
    pub(crate) usage_reports: Counter,
    /// Those that were not.
    pub(crate) usage_reports_refused: Counter,
}

impl Traffic {
    /// A message of so many bytes was sent.
    pub(super) fn sent(&self, topic: Topic, bytes: u64) {
        match topic {
            Topic::Heartbeat => {}
            Topic::Snapshot(_) => {
                self.snapshot_bytes.inc_by(bytes);
            }
            Topic::Delta(_) => {
                self.delta_bytes.inc_by(bytes);
            }
        }
    }
}
