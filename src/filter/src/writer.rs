//! Writing the table, for the elected worker only. Every write presents the CAS of a read that was made before the lease was
//! checked, so that a worker that has lost its lease unawares cannot overwrite its successor.
//!
//! Order, always: the mark, then buckets, then head, then the change detector, then the mark is taken away. Whoever acknowledges comes
//! after all of them. A worker that dies in between leaves the mark: its successor builds nothing on that table and asks for a snapshot,
//! and after two deaths in a row nothing is written for a while, lest one poisonous message take worker after worker along.

use std::collections::BTreeMap;
use std::ops::Range;

use keygate_decision::Digest;
use keygate_wire::bucket::{self, BucketBits, BucketIndex, EntryChange};
use keygate_wire::records::{Clock, Head, Mark, Names, Position, Slot};
use keygate_wire::sync::{Delta, SnapshotBegin, SnapshotChunk};

use crate::host::{self, CAS_MISMATCH, Gauge, HostError, Shared};
use crate::lease::{Claim, Fence};

/// So many workers may die in a row while they write; then the table is let be.
const MAX_DEATHS: u32 = 2;
/// For how long at least.
#[cfg(not(feature = "traps"))]
const QUARANTINE_SECONDS: u64 = 60;
#[cfg(feature = "traps")]
use crate::traps::QUARANTINE_SECONDS;

/// So many buckets are overwritten after one look at the lease.
const BUCKETS_AT_ONCE: usize = 32;

/// Why a message could not be put into the table.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The message, or the table it builds on, is not as it must be. Told to the control plane, which sends a snapshot.
    Refused(String),
    /// The message is not tried, because workers died over it or over its like. Told to the control plane, which offers a snapshot again
    /// later.
    Quarantined(String),
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

/// When a message came, and when it counts as said; both in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) now_ns: u64,
    pub(crate) said_at_ns: u64,
}

/// The table's writer while it holds the lease under one fence.
pub(crate) struct Writer<'a> {
    pub(crate) names: &'a Names,
    pub(crate) claim: &'a Claim,
    pub(crate) fence: Fence,
    pub(crate) detector: Option<Gauge>,
}

/// A delta of which some parts have been applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    to: Position,
    /// When its first part was said.
    said_at_ns: u64,
}

/// A snapshot that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    position: Position,
    /// When it began: the table that it becomes has what was said until then.
    said_at_ns: u64,
    slot: Slot,
    bits: BucketBits,
    next_bucket: u32,
    /// The buckets of the former size, to be emptied when no request can be reading them any more.
    replaces: Option<(Slot, BucketBits)>,
}

impl Incoming {
    /// The buckets that it overwrites.
    pub(crate) fn place(&self) -> (Slot, Range<u32>) {
        (self.slot, 0..self.bits.count())
    }
}

impl Writer<'_> {
    /// The table's head, if there is a table that a delta may be based on: one of which no write was left incomplete.
    pub(crate) fn base(&self) -> Result<Option<Head>, HostError> {
        let (head, mark) = (self.head()?, self.mark()?);
        Ok(head.filter(|_| mark.is_none()))
    }

    fn head(&self) -> Result<Option<Head>, HostError> {
        Ok(Head::decode(&host::shared_data(&self.names.head())?.value))
    }

    fn mark(&self) -> Result<Option<Mark>, HostError> {
        Ok(Mark::decode(&host::shared_data(&self.names.mark())?.value))
    }

    /// Makes every worker forget what it remembers. Without a detector nobody remembers anything.
    pub(crate) fn announce_change(&self) -> Result<(), HostError> {
        let Some(detector) = self.detector else { return Ok(()) };
        // Fresh and random rather than counted: during a hot restart Envoy adds up two processes' gauges. Never zero; 48 bits, so that
        // no statistics sink loses precision.
        let number = u64::from_le_bytes(host::random()?) >> 16;
        detector.set(number | 1)
    }

    /// Notes the staleness limit that the control plane is about to be told. Only a shorter one: as long as it may not know of a longer
    /// one, it counts on the former, in every reader.
    pub(crate) fn tell_limit(&self, limit_ns: u64) -> Result<(), Failure> {
        self.update_clock(|clock| {
            let limit_ns = if clock.limit_ns == 0 { limit_ns } else { limit_ns.min(clock.limit_ns) };
            Clock { limit_ns, ..clock }
        })
    }

    /// Notes the staleness limit that the control plane knows: it has stored it before it says anything.
    pub(crate) fn note_limit(&self, limit_ns: u64) -> Result<(), Failure> {
        self.update_clock(|clock| Clock { limit_ns, ..clock })
    }

    /// Notes what time the control plane said it was; time never goes back.
    pub(crate) fn note_time(&self, now_ns: u64, unix_ms: u64) -> Result<(), Failure> {
        self.update_clock(
            |clock| if unix_ms > clock.time_at(now_ns) { Clock { unix_ms, heard_at_ns: now_ns, ..clock } } else { clock },
        )
    }

    /// Notes that the table has all that was said until then: since then it ages.
    pub(crate) fn note_current(&self, said_at_ns: u64) -> Result<(), Failure> {
        self.update_clock(|clock| Clock { current_at_ns: clock.current_at_ns.max(said_at_ns), ..clock })
    }

    fn update_clock(&self, update: impl FnOnce(Clock) -> Clock) -> Result<(), Failure> {
        self.replace(&self.names.clock(), |shared| Ok(update(Clock::decode(&shared.value).unwrap_or_default()).encode()))
    }

    /// Applies a delta or a part of one; returns what the table then holds. `begun` is the delta of which parts were applied before, on
    /// the same stream.
    pub(crate) fn apply_delta(&self, begun: &mut Option<Begun>, delta: &Delta, arrival: Arrival) -> Result<Position, Failure> {
        let to = delta.to.as_ref().and_then(|to| to.parse()).ok_or_else(|| refused("delta.to is missing or malformed"))?;
        let earlier = begun.take().filter(|begun| begun.to == to);
        if earlier.is_none() && self.mark()?.is_some() {
            return Err(refused("the last write of the table is not complete"));
        }
        let now_begun = earlier.unwrap_or(Begun { to, said_at_ns: arrival.said_at_ns });
        let head = self.head()?.ok_or_else(|| refused("there is no table to build a delta on"))?;
        if head.position.revision != delta.from {
            let held = head.position.revision;
            return Err(refused(format!("the table is at revision {held}, the delta begins at {}", delta.from)));
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
        self.attempt(to, arrival.now_ns, || {
            for (index, changes) in &by_bucket {
                self.replace_bucket(head.slot, *index, |shared| {
                    bucket::apply(&shared.value, changes).map_err(|_| refused(format!("bucket {} is corrupt", index.0)))
                })?;
            }
            if delta.more { Ok(()) } else { self.put_in_force(Head { position: to, ..head }, now_begun.said_at_ns) }
        })?;
        if delta.more {
            *begun = Some(now_begun);
            return Ok(head.position);
        }
        Ok(to)
    }

    /// Prepares for a snapshot. A table of the same size is overwritten in place; one of another size is built beside the present one,
    /// which serves until the new one is complete.
    pub(crate) fn begin_snapshot(&self, begin: &SnapshotBegin, arrival: Arrival) -> Result<Incoming, Failure> {
        let now_ns = arrival.now_ns;
        let position = begin.position.as_ref().and_then(|position| position.parse());
        let position = position.ok_or_else(|| refused("snapshot_begin.position is missing or malformed"))?;
        let bits = BucketBits::new(begin.bucket_bits).ok_or_else(|| refused("snapshot_begin.bucket_bits is out of range"))?;
        let mark = self.mark()?.unwrap_or(Mark { to: position, attempts: 0, since_ns: now_ns });
        let has_rested = now_ns.saturating_sub(mark.since_ns) >= QUARANTINE_SECONDS * 1_000_000_000;
        if mark.attempts >= MAX_DEATHS && !(has_rested && mark.to != position) {
            return Err(Failure::Quarantined(format!(
                "{} workers died over writing revision {}: nothing is written until {QUARANTINE_SECONDS} s have passed and there is \
                 another revision",
                mark.attempts, mark.to.revision
            )));
        }
        let (slot, replaces) = match self.head()? {
            Some(head) if head.bits == bits => (head.slot, None),
            Some(head) => (head.slot.other(), Some((head.slot, head.bits))),
            None => (Slot::A, None),
        };
        self.replace(&self.names.mark(), |_| Ok(mark.encode()))?;
        Ok(Incoming { position, said_at_ns: arrival.said_at_ns, slot, bits, next_bucket: 0, replaces })
    }

    /// Writes some buckets of a snapshot.
    pub(crate) fn put_chunk(&self, incoming: &mut Incoming, chunk: &SnapshotChunk, now_ns: u64) -> Result<(), Failure> {
        if chunk.first_bucket != incoming.next_bucket {
            return Err(refused(format!("expected bucket {}, got {}", incoming.next_bucket, chunk.first_bucket)));
        }
        // Refused as a whole or not at all, as with a delta.
        let buckets = chunk.buckets.iter().map(Vec::as_slice);
        let buckets: Vec<(BucketIndex, &[u8])> = (incoming.next_bucket..).map(BucketIndex).zip(buckets).collect();
        for (index, bytes) in &buckets {
            if index.0 >= incoming.bits.count() {
                return Err(refused("a bucket too many"));
            }
            bucket::validate(bytes, incoming.bits, *index).map_err(|_| refused(format!("bucket {} is corrupt", index.0)))?;
        }
        self.attempt(incoming.position, now_ns, || {
            for some in buckets.chunks(BUCKETS_AT_ONCE) {
                self.overwrite_buckets(incoming.slot, some)?;
                incoming.next_bucket += some.len() as u32;
            }
            Ok(())
        })
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
        let Incoming { position, said_at_ns, slot, bits, replaces, .. } = *incoming;
        self.attempt(position, now_ns, || self.put_in_force(Head { position, slot, bits }, said_at_ns))?;
        Ok((position, replaces))
    }

    /// Gives the memory of some buckets back that nobody reads any more.
    pub(crate) fn empty_buckets(&self, slot: Slot, indexes: Range<u32>) -> Result<(), Failure> {
        let buckets: Vec<(BucketIndex, &[u8])> = indexes.map(|index| (BucketIndex(index), [].as_slice())).collect();
        buckets.chunks(BUCKETS_AT_ONCE).try_for_each(|some| self.overwrite_buckets(slot, some))
    }

    /// Writes what one message says, with the attempt noted in the mark before, and taken back afterwards: whoever dies over it leaves it
    /// there. Must not nest.
    fn attempt<T>(&self, to: Position, now_ns: u64, write: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let before = self.mark()?;
        let attempts = before.map_or(0, |mark| mark.attempts).saturating_add(1);
        let tried = Mark { to, attempts, since_ns: now_ns };
        self.replace(&self.names.mark(), |_| Ok(tried.encode()))?;
        let outcome = write();
        self.take_back(tried, before.unwrap_or(Mark { attempts: 0, ..tried }))?;
        outcome
    }

    /// Takes an attempt back, if the mark is still that of this attempt. That needs no lease: a worker that has lost it unawares is alive
    /// nonetheless, and its successor has put down a mark of its own if it has written anything.
    fn take_back(&self, tried: Mark, before: Mark) -> Result<(), HostError> {
        let shared = host::shared_data(&self.names.mark())?;
        if Mark::decode(&shared.value) != Some(tried) {
            return Ok(());
        }
        match host::replace_shared_data(&self.names.mark(), &shared, &before.encode()) {
            Err(CAS_MISMATCH) => Ok(()),
            done => done,
        }
    }

    /// Makes what was written the table that counts, and complete. It is as old as its first message: what was changed since then it does
    /// not have.
    fn put_in_force(&self, head: Head, said_at_ns: u64) -> Result<(), Failure> {
        self.replace(&self.names.head(), |_| Ok(head.encode()))?;
        self.note_current(said_at_ns)?;
        self.announce_change()?;
        self.replace(&self.names.mark(), |_| Ok(Vec::new()))
    }

    fn replace_bucket(
        &self,
        slot: Slot,
        index: BucketIndex,
        compute: impl FnOnce(&Shared) -> Result<Vec<u8>, Failure>,
    ) -> Result<(), Failure> {
        self.replace(&self.names.bucket(slot, index), compute)?;
        #[cfg(feature = "traps")]
        crate::traps::in_write();
        Ok(())
    }

    /// As [`Self::replace`] for several buckets, whatever was in them: the lease is checked once, after all reads and before all writes.
    fn overwrite_buckets(&self, slot: Slot, buckets: &[(BucketIndex, &[u8])]) -> Result<(), Failure> {
        let read = |(index, _): &(BucketIndex, &[u8])| {
            let name = self.names.bucket(slot, *index);
            let mut shared = host::shared_data(&name)?;
            // What was in it does not matter, only that nobody writes it meanwhile.
            shared.value = Vec::new();
            Ok((name, shared))
        };
        let read: Vec<(String, Shared)> = buckets.iter().map(read).collect::<Result<_, HostError>>()?;
        self.ensure_lease()?;
        for ((name, shared), (_, bytes)) in read.iter().zip(buckets) {
            host::replace_shared_data(name, shared, bytes)?;
            #[cfg(feature = "traps")]
            crate::traps::in_write();
        }
        Ok(())
    }

    fn ensure_lease(&self) -> Result<(), Failure> {
        if self.claim.holds(self.fence)? { Ok(()) } else { Err(Failure::LeaseLost) }
    }

    /// Read, check the lease, compute, write: nothing is written here in any other order.
    fn replace(&self, name: &str, compute: impl FnOnce(&Shared) -> Result<Vec<u8>, Failure>) -> Result<(), Failure> {
        let shared = host::shared_data(name)?;
        self.ensure_lease()?;
        let value = compute(&shared)?;
        Ok(host::replace_shared_data(name, &shared, &value)?)
    }
}
