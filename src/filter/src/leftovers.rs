//! Buckets that the head has moved away from. They take memory until they are emptied: when no request can be reading them any more, and
//! some at a time, for no request is served meanwhile. Whoever takes the lease over does not know of them: they lie there until a table
//! is written over them.

use std::ops::Range;

use keygate_wire::bucket::BucketBits;
use keygate_wire::records::Slot;

use crate::host::{self, Level};
use crate::writer::{Incoming, Writer};

/// Longer than any request's callback may take between reading the head and reading a bucket.
const LET_BE_NS: u64 = 2_000_000_000;
/// So many of them are emptied at one tick.
const AT_ONCE: u32 = 1024;

/// See the module.
pub(crate) struct Leftovers {
    slot: Slot,
    /// Those that are not empty yet.
    indexes: Range<u32>,
    since_ns: u64,
}

impl Leftovers {
    /// All buckets of a table that was replaced just now.
    pub(crate) fn of(slot: Slot, bits: BucketBits, now_ns: u64) -> Self {
        Self { slot, indexes: 0..bits.count(), since_ns: now_ns }
    }

    /// Those of them that a snapshot does not overwrite.
    pub(crate) fn beside(mut self, incoming: &Incoming) -> Option<Self> {
        let (slot, overwritten) = incoming.place();
        if slot == self.slot {
            self.indexes.start = self.indexes.start.max(overwritten.end);
        }
        self.unless_empty()
    }

    /// Empties the next of them, if it is time to; gives what is left.
    pub(crate) fn empty_some(mut self, writer: &Writer<'_>, now_ns: u64) -> Option<Self> {
        if now_ns.saturating_sub(self.since_ns) <= LET_BE_NS {
            return Some(self);
        }
        let end = self.indexes.start.saturating_add(AT_ONCE).min(self.indexes.end);
        if let Err(failure) = writer.empty_buckets(self.slot, self.indexes.start..end) {
            host::log(Level::Warn, &format!("keygate: old buckets could not be emptied: {failure:?}"));
            return None;
        }
        self.indexes.start = end;
        self.unless_empty()
    }

    fn unless_empty(self) -> Option<Self> {
        (!self.indexes.is_empty()).then_some(self)
    }
}
