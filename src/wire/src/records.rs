//! The other values in shared data, their names and their layout: head, lease, clock and instance. All numbers are little-endian
//! and of fixed width; a record of any other length is refused.

use crate::LAYOUT;
use crate::bucket::{BucketBits, BucketIndex};

/// A point in the control plane's history. Revisions count within an epoch's unbroken line; epochs are 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which start of the control plane.
    pub epoch: [u8; 16],
    /// How many changes.
    pub revision: u64,
}

/// Which of the two sets of bucket names is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Names with `0`.
    A,
    /// Names with `1`.
    B,
}

impl Slot {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The truth about the table in shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the buckets hold, or `None` while a snapshot overwrites them: every grant in them is then an old or a new one, but no
    /// delta may be based on them.
    pub position: Option<Position>,
    /// Where the buckets are.
    pub slot: Slot,
    /// How many there are.
    pub bits: BucketBits,
}

/// Who may write, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// 16 random bytes of the root context that holds it; all zero when released.
    pub owner: [u8; 16],
    /// Grows with every change of owner.
    pub fence: u64,
    /// End of the lease, in nanoseconds of the monotonic clock.
    pub deadline_ns: u64,
}

/// How old the table is, and what time the control plane said it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// When the table was last known to be what the control plane holds, in nanoseconds of the monotonic clock; 0 for never.
    pub current_at_ns: u64,
    /// The highest time accepted, in milliseconds since 1970.
    pub unix_ms: u64,
    /// When that was heard, in nanoseconds of the monotonic clock.
    pub heard_at_ns: u64,
    /// The staleness limit that the control plane was told, in nanoseconds. All readers keep it, whatever their own is.
    pub limit_ns: u64,
}

/// The names of one table's values in shared data.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// The names for a table.
    pub fn new(table: &str) -> Self {
        Self { prefix: format!("kg/{LAYOUT}/{table}/") }
    }

    /// The head's name.
    pub fn head(&self) -> String {
        format!("{}head", self.prefix)
    }

    /// The lease's name.
    pub fn lease(&self) -> String {
        format!("{}lease", self.prefix)
    }

    /// The clock's name.
    pub fn clock(&self) -> String {
        format!("{}clock", self.prefix)
    }

    /// The name of the process's instance, 16 random bytes.
    pub fn instance(&self) -> String {
        format!("{}instance", self.prefix)
    }

    /// A bucket's name.
    pub fn bucket(&self, slot: Slot, index: BucketIndex) -> String {
        let slot = match slot {
            Slot::A => '0',
            Slot::B => '1',
        };
        format!("{}{slot}/{:x}", self.prefix, index.0)
    }
}

const HEAD_LEN: usize = 32;
const FINISHED: u8 = 1;

impl Head {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let position = self.position.unwrap_or(Position { epoch: [0; 16], revision: 0 });
        let mut out = Vec::with_capacity(HEAD_LEN);
        out.extend_from_slice(&LAYOUT.to_le_bytes());
        out.extend_from_slice(&position.epoch);
        out.extend_from_slice(&position.revision.to_le_bytes());
        out.push(u8::from(self.slot == Slot::B));
        out.push(self.bits.get() as u8);
        out.push(if self.position.is_some() { FINISHED } else { 0 });
        out.push(0);
        out
    }

    /// From bytes; `None` if they are no head of this layout.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if u32::from_le_bytes(fields.take()?) != LAYOUT {
            return None;
        }
        let position = Position { epoch: fields.take()?, revision: u64::from_le_bytes(fields.take()?) };
        let [slot, bits, finished, _] = fields.take()?;
        let slot = match slot {
            0 => Slot::A,
            1 => Slot::B,
            _ => return None,
        };
        let head = Self { position: (finished == FINISHED).then_some(position), slot, bits: BucketBits::new(bits.into())? };
        fields.end(head)
    }
}

impl Lease {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.owner.as_slice(), &self.fence.to_le_bytes(), &self.deadline_ns.to_le_bytes()].concat()
    }

    /// From bytes; `None` if they are no lease.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let lease = Self {
            owner: fields.take()?,
            fence: u64::from_le_bytes(fields.take()?),
            deadline_ns: u64::from_le_bytes(fields.take()?),
        };
        fields.end(lease)
    }
}

impl Clock {
    /// The control plane's time at a moment of the monotonic clock, in milliseconds since 1970.
    pub fn time_at(&self, now_ns: u64) -> u64 {
        self.unix_ms.saturating_add(now_ns.saturating_sub(self.heard_at_ns) / 1_000_000)
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.current_at_ns, self.unix_ms, self.heard_at_ns, self.limit_ns].map(u64::to_le_bytes).concat()
    }

    /// From bytes; `None` if they are no clock.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let clock = Self {
            current_at_ns: u64::from_le_bytes(fields.take()?),
            unix_ms: u64::from_le_bytes(fields.take()?),
            heard_at_ns: u64::from_le_bytes(fields.take()?),
            limit_ns: u64::from_le_bytes(fields.take()?),
        };
        fields.end(clock)
    }
}

/// What is left to read of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn end<T>(self, record: T) -> Option<T> {
        self.0.is_empty().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_their_encoding_and_no_other_length_is_read() {
        let head = Head {
            position: Some(Position { epoch: [9; 16], revision: 1 << 40 }),
            slot: Slot::B,
            bits: BucketBits::for_keys(1_000_000),
        };
        let unfinished = Head { position: None, ..head };
        for head in [head, unfinished] {
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
        let lease = Lease { owner: [3; 16], fence: 7, deadline_ns: u64::MAX };
        assert_eq!(Lease::decode(&lease.encode()), Some(lease));
        let clock = Clock { current_at_ns: 4, unix_ms: 5, heard_at_ns: 6, limit_ns: 7 };
        assert_eq!(Clock::decode(&clock.encode()), Some(clock));
        let bytes = head.encode();
        for len in 0..bytes.len() {
            assert_eq!(Head::decode(&bytes[..len]), None);
        }
        assert_eq!(Head::decode(&[bytes.as_slice(), &[0]].concat()), None);
        let mut other_layout = bytes;
        other_layout[0] ^= 1;
        assert_eq!(Head::decode(&other_layout), None);
    }
}
