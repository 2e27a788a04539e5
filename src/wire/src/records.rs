//! The other values in shared data, their names and their layout: head, mark, lease, clock and instance. All numbers are
//! little-endian and of fixed width; a record of any other length is refused.

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
    /// What the buckets hold. While there is a [`Mark`], every grant in them is an old or a new one.
    pub position: Position,
    /// Where the buckets are.
    pub slot: Slot,
    /// How many there are.
    pub bits: BucketBits,
}

/// A write of the table that was begun and is not complete: no delta may be based on the table. Put down before the first bucket is
/// written, taken away when head has moved. It stands beside head rather than in it: the very first table is marked before there is
/// a head, and what workers remember of head stays true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where the write leads.
    pub to: Position,
    /// How many workers have died while they wrote, in a row; one more while a message is being written, which is set back by whoever
    /// lives to the end of it.
    pub attempts: u32,
    /// When the last attempt began, in nanoseconds of the monotonic clock.
    pub since_ns: u64,
}

/// Who may write, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The root context that holds it: 8 bytes that tell its source and 8 random ones; those are zero when it was given up, all are when it
    /// was released.
    pub owner: [u8; 16],
    /// Grows with every change of owner.
    pub fence: u64,
    /// End of the lease, in nanoseconds of the monotonic clock; where it was given up, until when nobody of that source takes it.
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

    /// The mark's name.
    pub fn mark(&self) -> String {
        format!("{}mark", self.prefix)
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
            Slot::A => "0/",
            Slot::B => "1/",
        };
        // Each credential that is not remembered takes this: what formats everything takes longer.
        let mut name = [self.prefix.as_str(), slot].concat();
        let digits = (u32::BITS - index.0.leading_zeros()).div_ceil(4).max(1);
        let digit = |place| char::from_digit(index.0 >> (4 * place) & 0xF, 16);
        name.extend((0..digits).rev().filter_map(digit));
        name
    }
}

impl Head {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let shape = [u8::from(self.slot == Slot::B), self.bits.get() as u8, 0, 0];
        [LAYOUT.to_le_bytes().as_slice(), &self.position.epoch, &self.position.revision.to_le_bytes(), &shape].concat()
    }

    /// From bytes; `None` if they are no head of this layout.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if u32::from_le_bytes(fields.take()?) != LAYOUT {
            return None;
        }
        let position = fields.take_position()?;
        let [slot, bits, 0, 0] = fields.take()? else { return None };
        let slot = match slot {
            0 => Slot::A,
            1 => Slot::B,
            _ => return None,
        };
        fields.end(Self { position, slot, bits: BucketBits::new(bits.into())? })
    }
}

impl Mark {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { to, attempts, since_ns } = self;
        [to.epoch.as_slice(), &to.revision.to_le_bytes(), &attempts.to_le_bytes(), &since_ns.to_le_bytes()].concat()
    }

    /// From bytes; `None` only if there are none. What cannot be read is a mark, too: of a write that leads nowhere.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let unreadable = Self { to: Position { epoch: [0; 16], revision: 0 }, attempts: 0, since_ns: 0 };
        (!bytes.is_empty()).then(|| Self::decode_whole(bytes).unwrap_or(unreadable))
    }

    fn decode_whole(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mark = Self {
            to: fields.take_position()?,
            attempts: u32::from_le_bytes(fields.take()?),
            since_ns: u64::from_le_bytes(fields.take()?),
        };
        fields.end(mark)
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

    fn take_position(&mut self) -> Option<Position> {
        Some(Position { epoch: self.take()?, revision: u64::from_le_bytes(self.take()?) })
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
            position: Position { epoch: [9; 16], revision: 1 << 40 },
            slot: Slot::B,
            bits: BucketBits::for_keys(1_000_000),
        };
        assert_eq!(Head::decode(&head.encode()), Some(head));
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

    #[test]
    fn a_bucket_is_named_by_its_number_in_hexadecimal_digits() {
        let names = Names::new("orders");
        for index in [0, 1, 0xF, 0x10, 0x1_0000, 0x3F_FFFF, u32::MAX] {
            assert_eq!(names.bucket(Slot::A, BucketIndex(index)), format!("kg/{LAYOUT}/orders/0/{index:x}"));
            assert_eq!(names.bucket(Slot::B, BucketIndex(index)), format!("kg/{LAYOUT}/orders/1/{index:x}"));
        }
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_a_mark_all_the_same() {
        let mark = Mark { to: Position { epoch: [9; 16], revision: 7 }, attempts: 2, since_ns: 1 << 50 };
        let bytes = mark.encode();
        assert_eq!(Mark::decode(&bytes), Some(mark));
        assert_eq!(Mark::decode(&[]), None);
        for len in 1..bytes.len() {
            assert_eq!(Mark::decode(&bytes[..len]).map(|mark| mark.attempts), Some(0));
        }
        assert!(Mark::decode(&[bytes.as_slice(), &[0]].concat()).is_some_and(|read| read != mark));
    }
}
