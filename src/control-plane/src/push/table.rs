//! The compiled table in memory, and the log of which digests changed lately.
//!
//! It says what the table holds now and whether a position can be built on. It never knows a proxy and never reads a clock.
//! Grants are kept encoded: a million of them have to fit, and they are copied into buckets and deltas as they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter;

use keygate_decision::{Digest, Grant};
use keygate_wire::BucketBits;
use keygate_wire::records::Position;
use keygate_wire::sync::Change;
use keygate_wire::{bucket, entry};

use super::PastEpoch;

/// So many changed digests are remembered; a proxy that lags further behind gets a snapshot.
const LOG_CAPACITY: usize = 200_000;
/// Messages are about this long at most: a worker puts one into its table before it turns to the next request.
pub(super) const MESSAGE_BYTES: usize = 24 * 1024;
/// What a bucket counts towards a chunk's length beside its bytes: even an empty one is a write for the filter.
const BUCKET_COST: usize = 64;

/// See the module.
pub(super) struct Table {
    position: Position,
    past: Vec<PastEpoch>,
    grants: BTreeMap<Digest, EncodedGrant>,
    log: VecDeque<(u64, Digest)>,
    /// The log holds every change after this revision.
    log_floor: u64,
}

/// A grant as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodedGrant(Box<[u8]>);

impl From<&Grant> for EncodedGrant {
    fn from(grant: &Grant) -> Self {
        Self(entry::encode(grant).into_boxed_slice())
    }
}

/// A revision was published twice or out of order, which would leave proxies with a table that matches no revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table is already at revision {0}")]
pub(crate) struct OutOfOrder(u64);

impl Table {
    /// A table and what led to it.
    pub(super) fn new(
        position: Position,
        past: Vec<PastEpoch>,
        changes: Vec<(u64, Digest)>,
        grants: Vec<(Digest, EncodedGrant)>,
    ) -> Self {
        // The oldest revision in the log may itself have been cut, so that only what follows it is known to be complete.
        let log_floor = changes.first().map_or(position.revision, |(revision, _)| *revision);
        let grants = grants.into_iter().collect();
        let mut table = Self { position, past, grants, log: changes.into(), log_floor };
        table.shorten_log();
        table
    }

    /// Takes the next revision in.
    pub(super) fn publish(&mut self, revision: u64, changes: Vec<(Digest, Option<Grant>)>) -> Result<(), OutOfOrder> {
        if revision <= self.position.revision {
            return Err(OutOfOrder(self.position.revision));
        }
        for (digest, grant) in changes {
            match grant {
                Some(grant) => self.grants.insert(digest, EncodedGrant::from(&grant)),
                None => self.grants.remove(&digest),
            };
            self.log.push_back((revision, digest));
        }
        self.position.revision = revision;
        self.shorten_log();
        Ok(())
    }

    /// Where the table is.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// How many digests it holds.
    pub(super) fn keys(&self) -> u64 {
        self.grants.len() as u64
    }

    /// Whether a delta can be built on a position: it lies on the line that led here, and the log reaches back to it.
    pub(super) fn reaches_back_to(&self, position: Position) -> bool {
        let end = if position.epoch == self.position.epoch {
            Some(self.position.revision)
        } else {
            self.past.iter().find(|past| past.epoch == position.epoch).map(|past| past.ended_at)
        };
        end.is_some_and(|end| position.revision <= end) && position.revision >= self.log_floor
    }

    /// Every digest that changed after a revision, with what it has now.
    pub(super) fn changes_since(&self, revision: u64) -> impl Iterator<Item = Change> {
        let first = self.log.partition_point(|(logged, _)| *logged <= revision);
        let digests: BTreeSet<Digest> = self.log.range(first..).map(|(_, digest)| *digest).collect();
        digests.into_iter().map(|digest| Change {
            digest: digest.as_bytes().to_vec(),
            grant: self.grants.get(&digest).map(|grant| grant.0.to_vec()),
        })
    }

    /// The buckets from `first` on, about one message of them; none if there are no more.
    pub(super) fn buckets(&self, bits: BucketBits, first: u32) -> Vec<Vec<u8>> {
        let mut entries = self.grants.range(first_digest(bits, first)..).map(|(digest, grant)| (digest, &*grant.0)).peekable();
        let mut buckets = Vec::new();
        let mut size = 0;
        for index in first..bits.count() {
            let bucket = bucket::build(iter::from_fn(|| entries.next_if(|(digest, _)| bits.index(digest).0 == index)));
            size += bucket.len() + BUCKET_COST;
            buckets.push(bucket);
            if size >= MESSAGE_BYTES {
                break;
            }
        }
        buckets
    }

    fn shorten_log(&mut self) {
        while self.log.len() > LOG_CAPACITY {
            let Some((revision, _)) = self.log.pop_front() else { return };
            self.log_floor = revision;
        }
    }
}

/// The lowest digest that belongs into a bucket: its first bits are the bucket's number.
fn first_digest(bits: BucketBits, bucket: u32) -> Digest {
    let start = (bucket << (32 - bits.get())).to_be_bytes();
    let mut bytes = [0; 32];
    for (byte, first) in bytes.iter_mut().zip(start) {
        *byte = first;
    }
    Digest::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::tests::{digest, grant};

    const EPOCH: [u8; 16] = [2; 16];
    const FORMER: [u8; 16] = [1; 16];

    fn table(revision: u64, changes: Vec<(u64, Digest)>) -> Table {
        let past = vec![PastEpoch { epoch: FORMER, ended_at: 5 }];
        Table::new(Position { epoch: EPOCH, revision }, past, changes, vec![(digest(1), EncodedGrant::from(&grant(1)))])
    }

    #[test]
    fn a_delta_is_the_union_of_what_changed_with_its_newest_grants() {
        let mut table = table(0, Vec::new());
        table.publish(1, vec![(digest(1), None), (digest(2), Some(grant(2)))]).unwrap();
        table.publish(2, vec![(digest(2), Some(grant(3)))]).unwrap();
        table.publish(4, vec![]).unwrap();
        assert_eq!(table.publish(4, vec![(digest(1), Some(grant(1)))]), Err(OutOfOrder(4)));
        let mut changes: Vec<_> = table.changes_since(0).map(|change| (change.digest, change.grant)).collect();
        changes.sort();
        let mut expected =
            vec![(digest(1).as_bytes().to_vec(), None), (digest(2).as_bytes().to_vec(), Some(entry::encode(&grant(3))))];
        expected.sort();
        assert_eq!(changes, expected);
        assert_eq!(table.changes_since(1).count(), 1);
        assert_eq!(table.changes_since(2).count(), 0);
        assert_eq!((table.position().revision, table.keys()), (4, 1));
    }

    #[test]
    fn only_a_position_on_the_line_that_led_here_is_built_on() {
        let table = table(9, (1..=9).map(|revision| (revision, digest(revision))).collect());
        let reaches = |epoch, revision| table.reaches_back_to(Position { epoch, revision });
        assert!(reaches(EPOCH, 9) && reaches(EPOCH, 1) && reaches(FORMER, 5));
        assert!(!reaches(EPOCH, 10), "ahead: a restored backup");
        assert!(!reaches(FORMER, 6), "what the former epoch did after it was saved is lost");
        assert!(!reaches([3; 16], 5), "another control plane's");
        assert!(!reaches(EPOCH, 0), "older than the log");
    }

    #[test]
    fn without_a_log_only_the_present_is_built_on() {
        let table = table(5, Vec::new());
        assert!(table.reaches_back_to(Position { epoch: FORMER, revision: 5 }));
        assert!(!table.reaches_back_to(Position { epoch: FORMER, revision: 4 }));
    }

    #[test]
    fn the_log_is_bounded_and_says_how_far_it_reaches() {
        let mut table = table(5, Vec::new());
        for revision in 6..=8 {
            table.publish(revision, (0..100_000).map(|n| (digest(n), None)).collect()).unwrap();
        }
        let reaches = |revision| table.reaches_back_to(Position { epoch: EPOCH, revision });
        assert_eq!(table.log.len(), LOG_CAPACITY);
        assert!(!reaches(5) && reaches(6) && reaches(8));
    }
}
