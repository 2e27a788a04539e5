//! One snapshot on its way to one proxy. Its chunks are read from the live table one by one, under a short lock each, so that they
//! may be newer than its position but never older; the delta that follows levels that out.

use keygate_wire::BucketBits;
use keygate_wire::sync::{ControlPlaneSays, SnapshotBegin, SnapshotChunk, SnapshotEnd};
use tokio::sync::OwnedSemaphorePermit;

use super::delta::Base;
use super::message::Body;
use super::table::Table;

/// See the module.
pub(super) struct Snapshot {
    base: Base,
    next_bucket: u32,
    /// Given back once all has been sent.
    _permit: OwnedSemaphorePermit,
}

impl Snapshot {
    /// A snapshot of the table from its present position on, and the message that begins it.
    pub(super) fn begin(table: &Table, permit: OwnedSemaphorePermit) -> (Self, Body) {
        let base = Base { position: table.position(), bits: BucketBits::for_keys(table.keys()) };
        let begin = SnapshotBegin { position: Some(base.position.into()), bucket_bits: base.bits.get() };
        (Self { base, next_bucket: 0, _permit: permit }, Body::new(ControlPlaneSays::SnapshotBegin(begin)))
    }

    /// The next buckets, or nothing if all have been sent.
    pub(super) fn next_chunk(&mut self, table: &Table) -> Option<Body> {
        let first_bucket = self.next_bucket;
        let buckets = table.buckets(self.base.bits, first_bucket);
        self.next_bucket = first_bucket.saturating_add(u32::try_from(buckets.len()).unwrap_or(u32::MAX));
        let chunk = SnapshotChunk { first_bucket, buckets };
        (!chunk.buckets.is_empty()).then(|| Body::new(ControlPlaneSays::SnapshotChunk(chunk)))
    }

    /// What the proxy holds after it, and the message that ends it.
    pub(super) fn end(&self) -> (Base, Body) {
        (self.base, Body::new(ControlPlaneSays::SnapshotEnd(SnapshotEnd {})))
    }
}
