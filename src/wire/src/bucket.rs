//! A bucket: the entries of all digests that share their first bits, packed into one shared-data value.
//!
//! Layout: one byte [`BUCKET_MARK`], then per entry the digest (32 bytes), the length of the grant (LEB128) and the grant
//! ([`crate::entry`]). The mark makes an empty bucket differ from a missing one, which shared data cannot tell apart.

use keygate_decision::{Digest, Grant};

use crate::entry::{self, put_number, take_number};

/// The first byte of every bucket.
pub const BUCKET_MARK: u8 = 0xB1;

/// How many buckets a table has, as a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketBits(u8);

/// A bucket's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketIndex(pub u32);

impl BucketBits {
    /// The fewest: 64 buckets.
    pub const MIN: Self = Self(6);
    /// The most: 2^22 buckets, for 64 million keys.
    pub const MAX: Self = Self(22);
    /// The host keeps all values in one hash map, and whenever that has doubled no request is served until it is laid out anew: the fewer
    /// buckets, the shorter. The more entries, the longer a bucket takes to copy and to search.
    const AVERAGE_ENTRIES: u64 = 16;

    /// A number of bits from a message or from the table; `None` out of range.
    pub fn new(bits: u32) -> Option<Self> {
        let bits = u8::try_from(bits).ok().map(Self)?;
        (Self::MIN.0..=Self::MAX.0).contains(&bits.0).then_some(bits)
    }

    /// The best number for so many keys: eight to sixteen entries a bucket on average.
    pub fn for_keys(keys: u64) -> Self {
        let buckets = keys.div_ceil(Self::AVERAGE_ENTRIES).next_power_of_two();
        let bits = u8::try_from(buckets.trailing_zeros()).unwrap_or(u8::MAX);
        Self(bits.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Whether a table of this size still suits so many keys, or has to be laid out anew: up to four times too small or sixteen
    /// times too large is tolerated, so that growing and shrinking seldom cost a snapshot.
    pub fn suits(self, keys: u64) -> bool {
        let best = Self::for_keys(keys);
        best.0 <= self.0.saturating_add(2) && self.0 <= best.0.saturating_add(4)
    }

    /// The exponent.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// The number of buckets.
    pub fn count(self) -> u32 {
        1 << self.0
    }

    /// The bucket of a digest: its first bits, so that digests in order fill buckets in order.
    pub fn index(self, digest: &Digest) -> BucketIndex {
        let [a, b, c, d, ..] = *digest.as_bytes();
        BucketIndex(u32::from_be_bytes([a, b, c, d]) >> (32 - u32::from(self.0)))
    }
}

/// The bytes are no bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// A change to one digest's entry: its new grant, encoded, or its removal.
pub type EntryChange<'a> = (Digest, Option<&'a [u8]>);

/// Builds a bucket of encoded grants.
pub fn build<'a>(entries: impl IntoIterator<Item = (&'a Digest, &'a [u8])>) -> Vec<u8> {
    let mut out = vec![BUCKET_MARK];
    for (digest, grant) in entries {
        put_entry(&mut out, digest, grant);
    }
    out
}

/// The grant of a digest.
///
/// # Errors
/// [`Corrupt`] if the bytes up to the entry, or the grant itself, cannot be read.
pub fn find(bucket: &[u8], digest: &Digest) -> Result<Option<Grant>, Corrupt> {
    for entry in entries(bucket)? {
        let (found, grant) = entry?;
        if found == digest.as_bytes() {
            return entry::decode(grant).map(Some).ok_or(Corrupt);
        }
    }
    Ok(None)
}

/// Applies changes to a bucket and returns the new one.
///
/// # Errors
/// [`Corrupt`] if the bucket or a changed grant cannot be read, or if two changes are about one digest.
pub fn apply(bucket: &[u8], changes: &[EntryChange<'_>]) -> Result<Vec<u8>, Corrupt> {
    let mut out = vec![BUCKET_MARK];
    for entry in entries(bucket)? {
        let (digest, grant) = entry?;
        let digest = Digest::from_bytes(*digest);
        if !is_among(changes, &digest) {
            put_entry(&mut out, &digest, grant);
        }
    }
    let mut rest = changes;
    while let Some(((digest, grant), later)) = rest.split_first() {
        rest = later;
        if is_among(later, digest) || grant.is_some_and(|grant| !entry::is_grant(grant)) {
            return Err(Corrupt);
        }
        if let Some(grant) = grant {
            put_entry(&mut out, digest, grant);
        }
    }
    Ok(out)
}

/// Checks that every entry of a bucket can be read and belongs into it.
///
/// # Errors
/// [`Corrupt`] otherwise.
pub fn validate(bucket: &[u8], bits: BucketBits, index: BucketIndex) -> Result<(), Corrupt> {
    for entry in entries(bucket)? {
        let (digest, grant) = entry?;
        if bits.index(&Digest::from_bytes(*digest)) != index || !entry::is_grant(grant) {
            return Err(Corrupt);
        }
    }
    Ok(())
}

/// They are few: a message's changes spread over the buckets.
fn is_among(changes: &[EntryChange<'_>], digest: &Digest) -> bool {
    changes.iter().any(|(changed, _)| changed == digest)
}

fn put_entry(out: &mut Vec<u8>, digest: &Digest, grant: &[u8]) {
    out.extend_from_slice(digest.as_bytes());
    put_number(out, grant.len() as u64);
    out.extend_from_slice(grant);
}

type Entry<'a> = (&'a [u8; 32], &'a [u8]);

fn entries(bucket: &[u8]) -> Result<impl Iterator<Item = Result<Entry<'_>, Corrupt>>, Corrupt> {
    let mut rest = bucket.strip_prefix(&[BUCKET_MARK]).ok_or(Corrupt)?;
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = take_entry(&mut rest).ok_or(Corrupt);
        if entry.is_err() {
            rest = &[];
        }
        Some(entry)
    }))
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let (digest, tail) = rest.split_first_chunk::<32>()?;
    *rest = tail;
    let len = usize::try_from(take_number(rest)?).ok()?;
    let (grant, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some((digest, grant))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::entry::tests::any_grant;

    proptest! {
        #[test]
        fn a_bucket_behaves_like_a_map(
            steps in prop::collection::vec((0_u8..4, prop::option::of(any_grant())), 0..30)
        ) {
            let digest = |n: u8| Digest::from_bytes([n; 32]);
            let mut bucket = build([]);
            let mut model = BTreeMap::new();
            for (n, grant) in steps {
                let encoded = grant.as_ref().map(entry::encode);
                bucket = apply(&bucket, &[(digest(n), encoded.as_deref())]).unwrap();
                match grant {
                    Some(grant) => model.insert(n, grant),
                    None => model.remove(&n),
                };
            }
            for n in 0..4 {
                let found = find(&bucket, &digest(n)).unwrap();
                prop_assert_eq!(found.as_ref(), model.get(&n));
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&bytes, &Digest::from_bytes([0; 32]));
            bytes.insert(0, BUCKET_MARK);
            let _ = find(&bytes, &Digest::from_bytes([0; 32]));
            let _ = validate(&bytes, BucketBits::MIN, BucketIndex(0));
        }
    }

    #[test]
    fn two_changes_of_one_digest_are_refused() {
        let digest = Digest::from_bytes([0; 32]);
        let grant = [1, 1, 1].as_slice();
        assert_eq!(apply(&build([]), &[(digest, Some(grant)), (digest, None)]), Err(Corrupt));
    }

    #[test]
    fn a_missing_bucket_is_not_an_empty_one() {
        let digest = Digest::from_bytes([0; 32]);
        assert_eq!(find(&[], &digest), Err(Corrupt));
        assert_eq!(find(&build([]), &digest), Ok(None));
        assert_eq!(apply(&[], &[]), Err(Corrupt));
    }

    #[test]
    fn buckets_follow_the_order_of_digests() {
        let bits = BucketBits::for_keys(1_000_000);
        assert_eq!(bits.count(), 65_536);
        assert_eq!(bits.index(&Digest::from_bytes([0; 32])), BucketIndex(0));
        assert_eq!(bits.index(&Digest::from_bytes([0xFF; 32])), BucketIndex(65_535));
        assert!(bits.suits(1_000_000) && bits.suits(3_000_000) && !bits.suits(10_000_000) && !bits.suits(1_000));
        assert!(BucketBits::MIN.suits(0));
    }

    #[test]
    fn an_entry_in_the_wrong_bucket_is_corrupt() {
        let digest = Digest::from_bytes([0xFF; 32]);
        let grant = [1, 1, 1];
        let bucket = build([(&digest, grant.as_slice())]);
        assert_eq!(validate(&bucket, BucketBits::MIN, BucketIndex(63)), Ok(()));
        assert_eq!(validate(&bucket, BucketBits::MIN, BucketIndex(0)), Err(Corrupt));
    }
}
