//! What a proxy lacks: nothing, a delta or a snapshot. A delta is computed from the table as it is, not replayed, so that a proxy
//! that lags gets one delta for many revisions; the newest one is kept, for all proxies that lack the same.

use std::sync::Arc;

use keygate_wire::BucketBits;
use keygate_wire::records::Position;
use keygate_wire::sync::{Change, ControlPlaneSays, Delta};

use super::message::Body;
use super::table::{MESSAGE_BYTES, Table};

/// What a change counts towards a part's length beside its bytes: for the filter it is the reading and writing of a bucket.
const CHANGE_COST: usize = 256;

/// What a proxy will hold once it has taken in all that was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Its position.
    pub(super) position: Position,
    /// Its number of buckets.
    pub(super) bits: BucketBits,
}

/// What has to be sent next.
pub(super) enum Lack {
    /// The proxy has, or has been sent, all there is.
    Nothing,
    /// One delta leads to the present.
    Delta(Arc<EncodedDelta>),
    /// The proxy's table cannot be built on, or no longer suits the number of keys.
    Snapshot,
}

/// A delta in parts, none much longer than [`MESSAGE_BYTES`].
pub(super) struct EncodedDelta {
    from: u64,
    /// Where it leads.
    pub(super) to: Position,
    /// To be sent in order; at least one, also if nothing changed.
    pub(super) parts: Vec<Body>,
}

/// The newest delta.
#[derive(Default)]
pub(super) struct Deltas(Option<Arc<EncodedDelta>>);

impl Deltas {
    /// What a proxy lacks that will hold `base`.
    pub(super) fn lack(&mut self, table: &Table, base: Base) -> Lack {
        let (from, to) = (base.position.revision, table.position());
        if !table.reaches_back_to(base.position) || !base.bits.suits(table.keys()) {
            return Lack::Snapshot;
        }
        if base.position == to {
            return Lack::Nothing;
        }
        if let Some(delta) = self.0.as_ref().filter(|delta| delta.from == from && delta.to == to) {
            return Lack::Delta(delta.clone());
        }
        let delta = Arc::new(EncodedDelta { from, to, parts: encode(from, to, table.changes_since(from)) });
        self.0 = Some(delta.clone());
        Lack::Delta(delta)
    }
}

fn encode(from: u64, to: Position, changes: impl Iterator<Item = Change>) -> Vec<Body> {
    let part = |changes, more| Body::new(ControlPlaneSays::Delta(Delta { from, to: Some(to.into()), changes, more }));
    let mut parts = Vec::new();
    let mut pending = Vec::new();
    let mut size = 0;
    for change in changes {
        if size >= MESSAGE_BYTES {
            parts.push(part(std::mem::take(&mut pending), true));
            size = 0;
        }
        size += change.digest.len() + change.grant.as_ref().map_or(0, Vec::len) + CHANGE_COST;
        pending.push(change);
    }
    parts.push(part(pending, false));
    parts
}
