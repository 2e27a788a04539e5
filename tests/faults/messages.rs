//! What a control plane never says, from one that says what it is told to: whatever comes, the filter refuses it or gives the stream up,
//! nothing passes that its last good table does not hold, and a good snapshot mends everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::faults::ensure_sound;
use harness::hostile::Random;
use harness::{Config, Envoy, FakeControlPlane, FakeStream, FakeTable, Heard, Load, Protocol, Upstream, Verdict, until};
use keygate_decision::key::KeyPair;
use keygate_decision::{Access, AccountId, Digest, EnvironmentId, EnvironmentRef, Grant, Holder, KeyId, Reach};
use keygate_wire::records::Position;
use keygate_wire::sync::{
    Change, ControlPlaneSays, Delta, FromControlPlane, Heartbeat, Position as SaidPosition, SnapshotBegin, SnapshotChunk,
    SnapshotEnd,
};
use keygate_wire::{BucketBits, bucket, entry};
use prost::Message as _;

use crate::world::{as_created, invented_pair};

pub(super) const EPOCH: [u8; 16] = [7; 16];
pub(super) const INSIDE: &str = "/v1/projects/1a5/containers";
/// What the messages are made from at random is the same at every run.
const SEED: u64 = 1;

/// An Envoy, and a control plane that says what it is told to.
struct Stage {
    control_plane: FakeControlPlane,
    envoy: Envoy,
    load: Load,
    _upstream: Upstream,
    /// What the filter last took.
    table: FakeTable,
    /// In the table; not in the table; not in it either, but in every bad message that can carry a grant.
    held: KeyPair,
    unknown: KeyPair,
    smuggled: KeyPair,
}

impl Stage {
    /// The filter has a table with one key, and an open stream.
    async fn set() -> Result<(Self, FakeStream)> {
        let [held, unknown, smuggled] = [1, 2, 3].map(invented_pair);
        let mut control_plane = FakeControlPlane::start().await?;
        let upstream = Upstream::start()?;
        let envoy = Envoy::start(&Config::new(upstream.port(), control_plane.port())?).await?;
        let load = Load::start([&envoy]).await?;
        for (number, pair, verdict) in
            [("1", &held, Verdict::Pass), ("2", &unknown, Verdict::Refuse), ("3", &smuggled, Verdict::Refuse)]
        {
            load.ledger().expect(&as_created(number, pair), verdict);
        }
        let table = FakeTable {
            position: Position { epoch: EPOCH, revision: 10 },
            bits: BucketBits::MIN,
            grants: BTreeMap::from([(held.digest(), grant(1)?)]),
        };
        let mut stream = control_plane.next_stream().await?;
        ensure!(stream.hello().position.is_none(), "a fresh filter claims to hold something");
        stream.beat(None).await?;
        stream.send_snapshot(&table).await?;
        Ok((Self { control_plane, envoy, load, _upstream: upstream, table, held, unknown, smuggled }, stream))
    }

    /// Exactly these of the three keys pass on every worker.
    async fn expect_passing(&self, passing: &[&KeyPair]) -> Result<()> {
        for mut connection in self.envoy.connections_on_every_worker(Protocol::Http1).await? {
            for pair in [&self.held, &self.unknown, &self.smuggled] {
                let answer = connection.get(INSIDE, &[("x-api-key", &pair.token())]).await?;
                let expected = if passing.iter().any(|other| other.digest() == pair.digest()) { 200 } else { 401 };
                ensure!(answer.status == expected, "expected {expected}, got {}", answer.status);
            }
        }
        Ok(())
    }

    /// A good change is taken, which makes the unknown key known; gives it.
    async fn make_known(&mut self, stream: &mut FakeStream) -> Result<Delta> {
        self.load.ledger().expect(&as_created("2", &self.unknown), Verdict::Either);
        let good = self.table.change(self.unknown.digest(), Some(grant(2)?));
        stream.say_well(ControlPlaneSays::Delta(good.clone())).await?;
        self.expect_passing(&[&self.held, &self.unknown]).await?;
        Ok(good)
    }

    /// The next stream of the filter, greeted; and whether what it claims to hold is what it holds.
    async fn next_stream(&mut self) -> Result<FakeStream> {
        let mut stream = self.control_plane.next_stream().await?;
        stream.beat(Some(self.table.position)).await?;
        Ok(stream)
    }

    async fn end(mut self) -> Result<()> {
        ensure_sound(&mut self.envoy).await?;
        let tally = self.load.stop().await?;
        ensure!(tally.broken == 0, "traffic did not go on: {tally:?}");
        Ok(())
    }
}

/// The grant of a key of environment `1a5`, as messages carry it.
pub(super) fn grant(key: u64) -> Result<Vec<u8>> {
    let environment = EnvironmentId::parse("1a5").ok().context("no environment")?;
    Ok(entry::encode(&Grant { key: KeyId(key), holder: Holder::Environment(environment), expires_at: None }))
}

fn delta(from: u64, to: Option<SaidPosition>, changes: Vec<Change>) -> ControlPlaneSays {
    ControlPlaneSays::Delta(Delta { from, to, changes, more: false })
}

fn change(digest: &[u8], grant: &[u8]) -> Change {
    Change { digest: digest.to_vec(), grant: Some(grant.to_vec()) }
}

fn begin(revision: u64, bucket_bits: u32) -> ControlPlaneSays {
    let position = Some(Position { epoch: EPOCH, revision }.into());
    ControlPlaneSays::SnapshotBegin(SnapshotBegin { position, bucket_bits })
}

fn chunk(first_bucket: u32, buckets: Vec<Vec<u8>>) -> ControlPlaneSays {
    ControlPlaneSays::SnapshotChunk(SnapshotChunk { first_bucket, buckets })
}

fn environment_ref(number: u32) -> EnvironmentRef {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    EnvironmentRef::from_bytes(bytes)
}

/// A digest that lies in the last bucket, whatever their number.
const LAST: [u8; 32] = [0xFF; 32];

/// Every bad thing that can be said about a table at revision 10, as the messages to say in a row. Only the last of a row is bad.
fn bad_rows(stage: &Stage) -> Result<Vec<(&'static str, Vec<ControlPlaneSays>)>> {
    let (digest, good) = (stage.smuggled.digest(), grant(3)?);
    let digest = digest.as_bytes().as_slice();
    let to = |revision: u64| Some(SaidPosition::from(Position { epoch: EPOCH, revision }));
    let smuggle = || change(digest, &good);
    let mut smuggling = stage.table.clone();
    smuggling.grants.insert(stage.smuggled.digest(), good.clone());
    let buckets = smuggling.buckets();
    // A whole table in one chunk, whose last bucket is spoilt.
    let last = buckets.len() - 1;
    let spoilt = |bytes: Vec<u8>| {
        let mut buckets = buckets.clone();
        buckets[last] = bytes;
        buckets
    };
    let rows = vec![
        ("a delta for an older base", vec![delta(9, to(11), vec![smuggle()])]),
        ("a delta for a later base", vec![delta(11, to(12), vec![smuggle()])]),
        ("a delta that leads nowhere", vec![delta(10, None, vec![smuggle()])]),
        ("an epoch of 15 bytes", vec![delta(10, Some(SaidPosition { epoch: vec![7; 15], revision: 11 }), vec![smuggle()])]),
        ("a digest of no bytes", vec![delta(10, to(11), vec![smuggle(), change(&[], &good)])]),
        ("a digest of 31 bytes", vec![delta(10, to(11), vec![smuggle(), change(&[1; 31], &good)])]),
        ("a digest of 33 bytes", vec![delta(10, to(11), vec![smuggle(), change(&[1; 33], &good)])]),
        ("a grant of no bytes", vec![delta(10, to(11), vec![smuggle(), change(&LAST, &[])])]),
        ("a grant with unknown flags", vec![delta(10, to(11), vec![smuggle(), change(&LAST, &[0xFF; 9])])]),
        ("a grant that is cut off", vec![delta(10, to(11), vec![smuggle(), change(&LAST, &good[..1])])]),
        ("two changes of one digest", vec![delta(10, to(11), vec![smuggle(), change(&LAST, &good), change(&LAST, &good)])]),
        ("a chunk without a beginning", vec![chunk(0, buckets.clone())]),
        ("an end without a beginning", vec![ControlPlaneSays::SnapshotEnd(SnapshotEnd {})]),
        (
            "a beginning without a position",
            vec![ControlPlaneSays::SnapshotBegin(SnapshotBegin { position: None, bucket_bits: 6 })],
        ),
        ("too few buckets", vec![begin(11, 5)]),
        ("too many buckets", vec![begin(11, 23)]),
        ("absurdly many buckets", vec![begin(11, u32::MAX)]),
        ("a chunk out of order", vec![begin(11, 6), chunk(1, buckets.clone())]),
        ("a chunk at no place", vec![begin(11, 6), chunk(u32::MAX, buckets.clone())]),
        ("a bucket too many", vec![begin(11, 6), chunk(0, [buckets.clone(), vec![bucket::build([])]].concat())]),
        ("an end before the end", vec![begin(11, 6), ControlPlaneSays::SnapshotEnd(SnapshotEnd {})]),
        ("a delta within a snapshot", vec![begin(11, 6), delta(10, to(11), vec![smuggle()])]),
        ("a bucket of no bytes", vec![begin(11, 6), chunk(0, spoilt(Vec::new()))]),
        ("a bucket without its mark", vec![begin(11, 6), chunk(0, spoilt(vec![0]))]),
        ("a bucket that is cut off", vec![begin(11, 6), chunk(0, spoilt(vec![bucket::BUCKET_MARK, 0xFF]))]),
        (
            "an entry in the wrong bucket",
            vec![begin(11, 6), chunk(0, spoilt(bucket::build([(&Digest::from_bytes([0; 32]), good.as_slice())])))],
        ),
        (
            "an entry whose grant is none",
            vec![begin(11, 6), chunk(0, spoilt(bucket::build([(&Digest::from_bytes(LAST), [0xFF].as_slice())])))],
        ),
    ];
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_right_is_refused_and_changes_nothing() -> Result<()> {
    let (mut stage, mut stream) = Stage::set().await?;
    for (what, mut row) in bad_rows(&stage)? {
        let bad = row.pop().context("an empty row")?;
        for good in row {
            stream.say_well(good).await.context(what)?;
        }
        let heard = stream.say(bad).await.context(what)?;
        ensure!(matches!(heard, Heard::Nack(_)), "{what}: {heard:?}");
        stage.expect_passing(&[&stage.held]).await.context(what)?;
        // What the real one does: it sends the whole table.
        stream.send_snapshot(&stage.table).await.context(what)?;
    }
    // Of the same stream, after all that, a good change is taken.
    let good = stage.make_known(&mut stream).await?;
    let digest = stage.unknown.digest();

    // The same again is for another base by now; so is what comes in the wrong order.
    let withdrawal = stage.table.change(digest, None);
    let next = stage.table.change(digest, None);
    for wrong in [&good, &next] {
        let heard = stream.say(ControlPlaneSays::Delta(wrong.clone())).await?;
        ensure!(matches!(heard, Heard::Nack(_)), "repeated or reordered: {heard:?}");
    }
    for right in [withdrawal, next] {
        stream.say_well(ControlPlaneSays::Delta(right)).await?;
    }
    stage.load.ledger().expect(&as_created("2", &stage.unknown), Verdict::Refuse);
    stage.expect_passing(&[&stage.held]).await?;
    ensure!(stage.load.tally().passed > 0, "nothing was asked meanwhile");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_delta_does_not_count_for_the_whole_of_it() -> Result<()> {
    let (mut stage, mut stream) = Stage::set().await?;
    let to = Some(Position { epoch: EPOCH, revision: 11 }.into());
    let part = |changes, more| ControlPlaneSays::Delta(Delta { from: 10, to: to.clone(), changes, more });
    // Nothing of the first part is written. What follows was sent before its refusal was heard.
    let parts = [
        part(vec![change(&[1; 31], &grant(2)?)], true),
        part(vec![change(stage.smuggled.digest().as_bytes(), &grant(3)?)], true),
        part(Vec::new(), false),
    ];
    for says in parts {
        let heard = stream.say(says).await?;
        ensure!(matches!(heard, Heard::Nack(_)), "{heard:?}");
    }
    stream.beat(Some(stage.table.position)).await?;
    stage.expect_passing(&[&stage.held]).await?;
    drop(stream);
    let mut stream = stage.next_stream().await?;
    let claimed = stream.hello().position.as_ref().and_then(SaidPosition::parse);
    ensure!(claimed == Some(stage.table.position), "it claims {claimed:?}");
    stage.make_known(&mut stream).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_ends_the_stream_and_the_next_one_begins_where_the_table_is() -> Result<()> {
    let (mut stage, mut stream) = Stage::set().await?;
    let smuggle = delta(
        10,
        Some(Position { epoch: EPOCH, revision: 11 }.into()),
        vec![change(stage.smuggled.digest().as_bytes(), &grant(3)?)],
    );
    let whole = FromControlPlane { serial: 1_000, says: Some(smuggle), heard: 0 }.encode_to_vec();
    let mut random = Random::new(SEED);
    let mut messages = vec![
        ("nothing", Vec::new()),
        ("a serial and nothing", FromControlPlane { serial: 5, says: None, heard: 0 }.encode_to_vec()),
        ("of a kind to come", vec![8, 5, 0x42, 2, 8, 1]),
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("followed by something", [whole.as_slice(), &[0xFF]].concat()),
    ];
    messages.extend((0..10).map(|_| {
        let len = 1 + random.below(2_000);
        ("random", random.bytes(len))
    }));
    for (what, message) in messages {
        stream.send_message(&message).await.context(what)?;
        let heard = stream.hear().await.context(what)?;
        ensure!(heard == Heard::End, "{what}: {heard:?}");
        stage.expect_passing(&[&stage.held]).await.context(what)?;
        stream = stage.next_stream().await.context(what)?;
        let claimed = stream.hello().position.as_ref().and_then(SaidPosition::parse);
        ensure!(claimed == Some(stage.table.position), "{what}: the filter now claims {claimed:?}");
    }
    // Not even gRPC.
    let flagged = [&[1, 0, 0, 0, 4][..], &[0; 4]].concat();
    for (what, bytes) in [("compressed, which it is not", flagged), ("no gRPC", vec![0x7F; 64])] {
        stream.send_bytes(bytes).await.context(what)?;
        let heard = stream.hear().await.context(what)?;
        ensure!(heard == Heard::End, "{what}: {heard:?}");
        stream = stage.next_stream().await.context(what)?;
    }
    stage.expect_passing(&[&stage.held]).await?;
    stage.make_known(&mut stream).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_far_too_long_ends_the_stream_and_nothing_else() -> Result<()> {
    let (mut stage, mut stream) = Stage::set().await?;
    for mebibytes in [65, 600] {
        // It says nothing that could not be read, so that its length is all that is wrong.
        let padding = Change { digest: vec![1; 32], grant: Some(vec![0; mebibytes << 20]) };
        let message = delta(10, Some(Position { epoch: EPOCH, revision: 11 }.into()), vec![padding]);
        // The filter may end the stream before it was all sent.
        let _ = stream.send(message).await;
        let heard = stream.hear().await?;
        ensure!(heard == Heard::End, "{mebibytes} MiB: {heard:?}");
        stage.expect_passing(&[&stage.held]).await?;
        stream = stage.next_stream().await?;
    }
    // A long one may come: a single grant can list a great many environments.
    let environments: Vec<_> = (0..200_000_u32).map(|number| (environment_ref(number), Access::Read)).collect();
    let holder = Holder::Account { account: AccountId(1), limited: false, reach: Reach::only(environments) };
    let long = entry::encode(&Grant { key: KeyId(9), holder, expires_at: None });
    ensure!(long.len() > 3 << 20, "that was not long: {}", long.len());
    let (held, unknown) = (stage.held.digest(), stage.unknown.digest());
    stream.say_well(ControlPlaneSays::Delta(stage.table.change(unknown, Some(long)))).await?;
    stream.say_well(ControlPlaneSays::Delta(stage.table.change(held, Some(grant(1)?)))).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_far_off_is_refused_and_nothing_else_is_taken_with_it() -> Result<()> {
    let (mut stage, mut stream) = Stage::set().await?;
    for unix_ms in [0, u64::MAX] {
        let wrong = Heartbeat { unix_ms, position: Some(stage.table.position.into()), keys: 1 };
        let heard = stream.say(ControlPlaneSays::Heartbeat(wrong)).await?;
        ensure!(matches!(heard, Heard::Nack(_)), "{heard:?}");
        let (smuggled, grant) = (stage.smuggled.digest(), grant(3)?);
        let heard = stream.say(ControlPlaneSays::Delta(stage.table.clone().change(smuggled, Some(grant)))).await?;
        ensure!(matches!(heard, Heard::Nack(_)), "{heard:?}");
        stage.expect_passing(&[&stage.held]).await?;
    }
    stream.beat(Some(stage.table.position)).await?;
    stage.make_known(&mut stream).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_never_finished_is_asked_for_again_and_serves_meanwhile() -> Result<()> {
    let (mut stage, mut stream) = Stage::set().await?;
    for bits in [BucketBits::MIN, BucketBits::for_keys(20_000)] {
        let mut next = stage.table.clone();
        next.position.revision += 1;
        next.bits = bits;
        let mut messages = next.snapshot();
        messages.truncate(messages.len() / 2);
        for says in messages {
            stream.say_well(says).await?;
        }
        drop(stream);
        stage.expect_passing(&[&stage.held]).await?;
        stream = stage.control_plane.next_stream().await?;
        // Whether it was written over the table or beside it: nothing is built on a write that was not completed.
        ensure!(stream.hello().position.is_none(), "it claims {:?}", stream.hello().position);
        stream.beat(None).await?;
        let heard = stream.say(ControlPlaneSays::SnapshotEnd(SnapshotEnd {})).await?;
        ensure!(matches!(heard, Heard::Nack(_)), "the end of another stream's snapshot: {heard:?}");
        stream.send_snapshot(&next).await?;
        stage.table = next;
        stage.expect_passing(&[&stage.held]).await?;
    }
    // Also an older one, as after a restored backup.
    stage.table.position.revision = 3;
    stream.send_snapshot(&stage.table).await?;
    stage.expect_passing(&[&stage.held]).await?;
    let tally = stage.load.tally();
    stage.end().await?;
    ensure!(tally.passed > 0, "nothing passed: {tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_snapshot_leaves_behind_is_not_taken_from_under_the_next() -> Result<()> {
    let (mut stage, mut stream) = Stage::set().await?;
    let first = stage.table.clone();
    stage.table.bits = BucketBits::for_keys(20_000);
    stage.table.position.revision += 1;
    stream.send_snapshot(&stage.table).await?;
    // Of the former size again, so that its buckets have the names of those that are to be emptied.
    stage.table.bits = first.bits;
    stage.table.position.revision += 1;
    let mut messages = stage.table.snapshot();
    let end = messages.pop().context("a snapshot of no message")?;
    for says in messages {
        stream.say_well(says).await?;
    }
    // The filter empties them two seconds after the first snapshot, on its next tick, if it does so at all.
    let emptied = Instant::now() + Duration::from_secs(4);
    until("the leftovers to be emptied", async || {
        stream.beat(None).await?;
        Ok((Instant::now() >= emptied).then_some(()))
    })
    .await?;
    stream.say_well(end).await?;
    stage.expect_passing(&[&stage.held]).await?;
    let tally = stage.load.tally();
    ensure!(tally.passed > 0, "nothing passed: {tally:?}");
    stage.end().await
}
