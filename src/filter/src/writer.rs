//! Writing the table, for the elected worker only. Every write presents the CAS of a read that was made before the lease was
//! checked, so that a worker that has lost its lease unawares cannot overwrite its successor.
//!
//! Order, always: buckets, then head, then the change detector. Whoever acknowledges comes after all three.

use std::collections::BTreeMap;

use keygate_decision::Digest;
use keygate_wire::bucket::{self, BucketBits, BucketIndex, EntryChange};
use keygate_wire::records::{Clock, Head, Names, Position, Slot};
use keygate_wire::sync::{Delta, SnapshotBegin, SnapshotChunk};

use crate::host::{self, CAS_MISMATCH, Gauge, HostError, Shared};
use crate::lease::{Claim, Fence};

/// Why a message could not be put into the table.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The message, or the table it builds on, is not as it must be. Told to the control plane, which sends a snapshot.
    Refused(String),
    /// Another worker is in charge now.
    LeaseLost,
    /// The host failed.
    Host(HostError),
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        if error == CAS_MISMATCH { Self::LeaseLost } else { Self::Host(error) }
    }
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::Refused(why.into())
}

/// The table's writer while it holds the lease under one fence.
pub(crate) struct Writer<'a> {
    pub(crate) names: &'a Names,
    pub(crate) claim: &'a Claim,
    pub(crate) fence: Fence,
    pub(crate) detector: Option<Gauge>,
}

/// A snapshot that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    position: Position,
    slot: Slot,
    bits: BucketBits,
    next_bucket: u32,
    /// The buckets of the former size, to be emptied when no request can be reading them any more.
    replaces: Option<(Slot, BucketBits)>,
}

impl Writer<'_> {
    /// The table's head, if there is one.
    pub(crate) fn head(&self) -> Result<Option<Head>, HostError> {
        Ok(Head::decode(&host::shared_data(&self.names.head())?.value))
    }

    /// Makes every worker forget what it remembers. Without a detector nobody remembers anything.
    pub(crate) fn announce_change(&self) -> Result<(), HostError> {
        let Some(detector) = self.detector else { return Ok(()) };
        // Fresh and random rather than counted: during a hot restart Envoy adds up two processes' gauges. Never zero; 48 bits, so that
        // no statistics sink loses precision.
        let number = u64::from_le_bytes(host::random()?) >> 16;
        detector.set(number | 1)
    }

    /// Notes the staleness limit, before the control plane is told: it counts on the limit in every reader.
    pub(crate) fn note_limit(&self, limit_ns: u64) -> Result<(), Failure> {
        self.update_clock(|clock| Clock { limit_ns, ..clock })
    }

    /// Notes what time the control plane said it was; time never goes back.
    pub(crate) fn note_time(&self, now_ns: u64, unix_ms: u64) -> Result<(), Failure> {
        self.update_clock(
            |clock| if unix_ms > clock.time_at(now_ns) { Clock { unix_ms, heard_at_ns: now_ns, ..clock } } else { clock },
        )
    }

    /// Notes that the table is what the control plane holds now: from here on it ages.
    pub(crate) fn note_current(&self, now_ns: u64) -> Result<(), Failure> {
        self.update_clock(|clock| Clock { current_at_ns: clock.current_at_ns.max(now_ns), ..clock })
    }

    fn update_clock(&self, update: impl FnOnce(Clock) -> Clock) -> Result<(), Failure> {
        self.replace(&self.names.clock(), |shared| Ok(update(Clock::decode(&shared.value).unwrap_or_default()).encode()))
    }

    /// Applies a delta; returns what the table then holds.
    pub(crate) fn apply_delta(&self, delta: &Delta, now_ns: u64) -> Result<Position, Failure> {
        let to = delta.to.as_ref().and_then(|to| to.parse()).ok_or_else(|| refused("delta.to is missing or malformed"))?;
        let head = self.head()?.ok_or_else(|| refused("there is no table to build a delta on"))?;
        let base = head.position.ok_or_else(|| refused("a snapshot was not finished"))?;
        if base.revision != delta.from {
            return Err(refused(format!("the table is at revision {}, the delta begins at {}", base.revision, delta.from)));
        }
        let mut by_bucket: BTreeMap<BucketIndex, Vec<EntryChange<'_>>> = BTreeMap::new();
        for change in &delta.changes {
            let bytes = change.digest.as_slice().try_into().map_err(|_| refused("a digest has not 32 bytes"))?;
            let digest = Digest::from_bytes(bytes);
            by_bucket.entry(head.bits.index(&digest)).or_default().push((digest, change.grant.as_deref()));
        }
        // Refused as a whole or not at all: nothing is written yet.
        for (index, changes) in &by_bucket {
            bucket::apply(&bucket::build([]), changes)
                .map_err(|_| refused(format!("a change to bucket {} is corrupt", index.0)))?;
        }
        for (index, changes) in &by_bucket {
            self.replace(&self.names.bucket(head.slot, *index), |shared| {
                bucket::apply(&shared.value, changes).map_err(|_| refused(format!("bucket {} is corrupt", index.0)))
            })?;
        }
        if delta.more {
            return Ok(base);
        }
        self.put_head(Head { position: Some(to), ..head })?;
        self.note_current(now_ns)?;
        self.announce_change()?;
        Ok(to)
    }

    /// Prepares for a snapshot. A table of the same size is overwritten in place and marked unfinished; one of another size is built
    /// beside the present one, which serves until the new one is complete.
    pub(crate) fn begin_snapshot(&self, begin: &SnapshotBegin) -> Result<Incoming, Failure> {
        let position = begin.position.as_ref().and_then(|position| position.parse());
        let position = position.ok_or_else(|| refused("snapshot_begin.position is missing or malformed"))?;
        let bits = BucketBits::new(begin.bucket_bits).ok_or_else(|| refused("snapshot_begin.bucket_bits is out of range"))?;
        let (slot, replaces) = match self.head()? {
            Some(head) if head.bits == bits => {
                self.put_head(Head { position: None, ..head })?;
                (head.slot, None)
            }
            Some(head) => (head.slot.other(), Some((head.slot, head.bits))),
            None => (Slot::A, None),
        };
        Ok(Incoming { position, slot, bits, next_bucket: 0, replaces })
    }

    /// Writes some buckets of a snapshot.
    pub(crate) fn put_chunk(&self, incoming: &mut Incoming, chunk: &SnapshotChunk) -> Result<(), Failure> {
        if chunk.first_bucket != incoming.next_bucket {
            return Err(refused(format!("expected bucket {}, got {}", incoming.next_bucket, chunk.first_bucket)));
        }
        // Refused as a whole or not at all, as with a delta.
        let buckets: Vec<(BucketIndex, &Vec<u8>)> = (incoming.next_bucket..).map(BucketIndex).zip(&chunk.buckets).collect();
        for (index, bytes) in &buckets {
            if index.0 >= incoming.bits.count() {
                return Err(refused("a bucket too many"));
            }
            bucket::validate(bytes, incoming.bits, *index).map_err(|_| refused(format!("bucket {} is corrupt", index.0)))?;
        }
        for (index, bytes) in buckets {
            self.replace(&self.names.bucket(incoming.slot, index), |_| Ok(bytes.clone()))?;
            incoming.next_bucket += 1;
        }
        Ok(())
    }

    /// Puts a complete snapshot in force; returns what the table then holds, and the buckets to empty later.
    pub(crate) fn end_snapshot(
        &self,
        incoming: &Incoming,
        now_ns: u64,
    ) -> Result<(Position, Option<(Slot, BucketBits)>), Failure> {
        if incoming.next_bucket != incoming.bits.count() {
            return Err(refused(format!("only {} of {} buckets came", incoming.next_bucket, incoming.bits.count())));
        }
        self.put_head(Head { position: Some(incoming.position), slot: incoming.slot, bits: incoming.bits })?;
        self.note_current(now_ns)?;
        self.announce_change()?;
        Ok((incoming.position, incoming.replaces))
    }

    /// Gives the memory of buckets back that nobody reads any more.
    pub(crate) fn empty_buckets(&self, slot: Slot, bits: BucketBits) -> Result<(), Failure> {
        for index in 0..bits.count() {
            self.replace(&self.names.bucket(slot, BucketIndex(index)), |_| Ok(Vec::new()))?;
        }
        Ok(())
    }

    fn put_head(&self, head: Head) -> Result<(), Failure> {
        self.replace(&self.names.head(), |_| Ok(head.encode()))
    }

    /// Read, check the lease, compute, write: the only way anything is written here.
    fn replace(&self, name: &str, compute: impl FnOnce(&Shared) -> Result<Vec<u8>, Failure>) -> Result<(), Failure> {
        let shared = host::shared_data(name)?;
        if !self.claim.holds(self.fence)? {
            return Err(Failure::LeaseLost);
        }
        let value = compute(&shared)?;
        Ok(host::replace_shared_data(name, &shared, &value)?)
    }
}
