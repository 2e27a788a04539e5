//! Fuzz target: whatever the control plane sends and shared data holds. Nothing makes reading panic, and what is read is written and
//! read again as the same.

use std::collections::BTreeMap;

use keygate_decision::{Digest, EnvironmentId, Grant, Holder, KeyId};
use keygate_wire::bucket::{self, BucketBits, BucketIndex, EntryChange};
use keygate_wire::entry;
use keygate_wire::records::{Clock, Head, Lease, Mark};
use keygate_wire::sync::{ControlPlaneSays, Delta, FromControlPlane, FromFilter, decode_control_plane, grpc_service};
use prost::Message as _;

use super::border::OWN;

/// The bytes are a message, a bucket, a grant or a record.
pub fn sync(data: &[u8]) {
    message(data);
    if let Ok(said) = FromFilter::decode(data) {
        assert_eq!(FromFilter::decode(said.encode_to_vec().as_slice()), Ok(said));
    }
    a_bucket(data);
    if let Some(grant) = entry::decode(data) {
        assert_eq!(entry::decode(&entry::encode(&grant)), Some(grant));
    }
    if let Some(head) = Head::decode(data) {
        assert_eq!(Head::decode(&head.encode()), Some(head));
    }
    if let Some(lease) = Lease::decode(data) {
        assert_eq!(Lease::decode(&lease.encode()), Some(lease));
    }
    if let Some(clock) = Clock::decode(data) {
        assert_eq!(Clock::decode(&clock.encode()), Some(clock));
    }
    // What cannot be read as one is a mark, too.
    if let Some(mark) = Mark::decode(data) {
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
    }
    if let Ok(cluster) = std::str::from_utf8(data) {
        let _ = grpc_service(cluster);
    }
}

fn message(data: &[u8]) {
    let Some(said) = decode_control_plane(data) else { return };
    let again = FromControlPlane { serial: said.serial, says: Some(said.says.clone()), heard: said.heard }.encode_to_vec();
    assert_eq!(decode_control_plane(&again).as_ref(), Some(&said));
    match said.says {
        ControlPlaneSays::Delta(delta) => a_delta(&delta),
        ControlPlaneSays::SnapshotChunk(chunk) => chunk.buckets.iter().for_each(|bucket| a_bucket(bucket)),
        _ => {}
    }
}

/// A table of one bucket holds afterwards what the delta says, if it says one thing for each digest.
fn a_delta(delta: &Delta) {
    let digest = |bytes: &[u8]| Some(Digest::from_bytes(bytes.try_into().ok()?));
    let changes: Option<Vec<EntryChange<'_>>> =
        delta.changes.iter().map(|change| Some((digest(&change.digest)?, change.grant.as_deref()))).collect();
    let Some(changes) = changes else { return };
    let said: BTreeMap<Digest, Option<&[u8]>> = changes.iter().copied().collect();
    let Ok(after) = bucket::apply(&bucket::build([]), &changes) else { return };
    if said.len() == changes.len() {
        for (digest, grant) in said {
            assert_eq!(bucket::find(&after, &digest), Ok(grant.and_then(entry::decode)));
        }
    }
}

/// A bucket that is taken into the table can be searched and changed.
fn a_bucket(data: &[u8]) {
    let some = data.get(1..33).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 32]);
    let first = Digest::from_bytes(some);
    let index = BucketBits::MIN.index(&first);
    let valid = bucket::validate(data, BucketBits::MIN, index).is_ok();
    let found = bucket::find(data, &first);
    assert!(!valid || found.is_ok(), "a valid bucket cannot be read");
    let _ = bucket::validate(data, BucketBits::MAX, BucketIndex(0));

    let unchanged = bucket::apply(data, &[]);
    assert!(!valid || unchanged.as_ref().is_ok_and(|same| bucket::find(same, &first) == found), "no change changes a bucket");
    let removed = bucket::apply(data, &[(first, None)]);
    assert!(!valid || removed.is_ok_and(|less| bucket::find(&less, &first) == Ok(None)), "what is removed stays");
    let grant = entry::encode(&Grant { key: KeyId(1), holder: Holder::Environment(id()), expires_at: None });
    let added = bucket::apply(data, &[(first, Some(&grant))]);
    assert!(
        !valid || added.is_ok_and(|more| bucket::find(&more, &first) == Ok(entry::decode(&grant))),
        "what is added is not there"
    );
}

fn id() -> EnvironmentId {
    EnvironmentId::parse(OWN).expect("the border's environment has an id")
}
