//! A simulated filter: a gRPC client that keeps a table as the real one does, buckets and head, and answers as told.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keygate_decision::{Digest, Grant};
use keygate_wire::records::Position;
use keygate_wire::sync::{self, Ack, ControlPlaneSays, FilterSays, FromControlPlane, FromFilter, Nack};
use keygate_wire::{BucketBits, BucketIndex, FORMAT, bucket};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::push::TABLE;

pub(super) const CLOCK_OFF: &str = "the clocks differ by 1000 s";
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever has sent nothing for so long waits for something.
const QUIET: Duration = Duration::from_millis(300);

/// A good Hello of a proxy that has nothing.
pub(crate) fn hello(proxy: &str, instance: u8) -> sync::Hello {
    sync::Hello {
        proxy: proxy.to_owned(),
        instance: vec![instance; 16],
        table: TABLE.to_owned(),
        format: FORMAT,
        fence: 1,
        position: None,
        bucket_bits: 0,
        staleness_limit_seconds: 3600,
        filter_version: "test".to_owned(),
        token: String::new(),
    }
}

/// What the real filter keeps in shared data.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) position: Option<Position>,
    pub(super) bits: Option<BucketBits>,
    buckets: HashMap<u32, Vec<u8>>,
    incoming: Option<(Position, BucketBits, u32)>,
    /// Everything about the table that was taken in, for tests that count.
    pub(super) taken: Vec<&'static str>,
}

pub(super) struct Filter {
    pub(super) stored: Stored,
    outbox: mpsc::Sender<FromFilter>,
    inbox: Streaming<FromControlPlane>,
    last_serial: u64,
    /// The last serial that was answered, and the last one that was named as heard.
    answered: AtomicU64,
    pub(super) heard: u64,
    /// Serials, and what Acks will say: messages are answered in their order.
    pub(super) unanswered: Vec<(u64, Option<Position>)>,
}

impl Filter {
    /// Opens a stream with what is stored; the Hello's position follows from that.
    pub(super) async fn connect(address: SocketAddr, mut hello: sync::Hello, stored: Stored) -> Self {
        hello.position = stored.position.map(Into::into);
        hello.bucket_bits = stored.bits.map_or(0, BucketBits::get);
        let filter = Self::open(address, stored).await;
        filter.say(FilterSays::Hello(hello)).await;
        filter
    }

    /// Opens a stream and says nothing.
    pub(super) async fn open(address: SocketAddr, stored: Stored) -> Self {
        Self::open_on(Self::channel(address).await, stored).await
    }

    /// A connection, for one stream or several.
    pub(super) async fn channel(address: SocketAddr) -> Channel {
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
    }

    /// The same as [`Filter::open`] on a connection.
    pub(super) async fn open_on(channel: Channel, stored: Stored) -> Self {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let (outbox, outgoing) = mpsc::channel(64);
        let path = format!("/{}/{}", sync::SERVICE, sync::METHOD).try_into().unwrap();
        let codec = ProstCodec::<FromFilter, FromControlPlane>::default();
        let inbox = client.streaming(Request::new(ReceiverStream::new(outgoing)), path, codec).await.unwrap().into_inner();
        Self { stored, outbox, inbox, last_serial: 0, answered: AtomicU64::new(0), heard: 0, unanswered: Vec::new() }
    }

    pub(super) async fn say(&self, says: FilterSays) {
        if let FilterSays::Ack(Ack { serial, .. }) | FilterSays::Nack(Nack { serial, .. }) = &says {
            self.answered.store(*serial, Ordering::Relaxed);
        }
        // The stream may have ended meanwhile; the next receive tells.
        let _ = self.outbox.send(FromFilter { says: Some(says) }).await;
    }

    /// The next message, whatever it is; serials count from 1, and nothing is named as heard that was not said.
    pub(super) async fn receive(&mut self) -> Result<(u64, ControlPlaneSays), Status> {
        let message = timeout(PATIENCE, self.inbox.message()).await.expect("nothing came");
        let message = message?.ok_or_else(|| Status::ok("the stream has ended"))?;
        self.last_serial += 1;
        assert_eq!(message.serial, self.last_serial);
        assert!((self.heard..=self.answered.load(Ordering::Relaxed)).contains(&message.heard), "{} was not heard", message.heard);
        self.heard = message.heard;
        Ok((message.serial, message.says.unwrap()))
    }

    pub(super) async fn ack(&self, serial: u64, position: Option<Position>) {
        self.say(FilterSays::Ack(Ack { serial, position: position.map(Into::into), unix_ms: 0 })).await;
    }

    pub(super) async fn nack(&self, serial: u64, reason: &str) {
        self.say(FilterSays::Nack(Nack { serial, reason: reason.to_owned(), unix_ms: 0, quarantined: false })).await;
    }

    /// Refuses all about the table until a snapshot begins; that beginning is left to be answered.
    pub(super) async fn refuse_until_snapshot(&mut self, reason: &str) -> (u64, ControlPlaneSays) {
        loop {
            let (serial, says) = self.receive_table().await.unwrap();
            if matches!(says, ControlPlaneSays::SnapshotBegin(_)) {
                return (serial, says);
            }
            self.nack(serial, reason).await;
        }
    }

    pub(super) async fn quarantine(&self, serial: u64, reason: &str) {
        self.say(FilterSays::Nack(Nack { serial, reason: reason.to_owned(), unix_ms: 0, quarantined: true })).await;
    }

    /// The next message that is no heartbeat; heartbeats are acknowledged, unless it is not their turn.
    pub(super) async fn receive_table(&mut self) -> Result<(u64, ControlPlaneSays), Status> {
        loop {
            match self.receive().await? {
                (serial, ControlPlaneSays::Heartbeat(_)) if self.unanswered.is_empty() => {
                    self.ack(serial, self.stored.position).await;
                }
                (serial, ControlPlaneSays::Heartbeat(_)) => self.unanswered.push((serial, self.stored.position)),
                message => return Ok(message),
            }
        }
    }

    /// Refuses everything up to and with the next heartbeat; returns what else came.
    pub(super) async fn refuse_a_heartbeat(&mut self) -> Vec<ControlPlaneSays> {
        let mut others = Vec::new();
        loop {
            let (serial, says) = self.receive().await.unwrap();
            self.nack(serial, CLOCK_OFF).await;
            if matches!(says, ControlPlaneSays::Heartbeat(_)) {
                return others;
            }
            others.push(says);
        }
    }

    /// Takes everything in and acknowledges it until the table is at a revision.
    pub(super) async fn follow_to(&mut self, revision: u64) {
        let give_up = Instant::now() + PATIENCE;
        while self.stored.position.is_none_or(|position| position.revision < revision) || self.stored.incoming.is_some() {
            let (serial, says) = timeout_at(give_up, self.receive_table()).await.expect("the table does not get there").unwrap();
            let position = self.stored.take(says);
            self.ack(serial, position).await;
        }
    }

    /// Acknowledges everything until the stream ends.
    pub(super) async fn follow_to_the_end(&mut self) -> Status {
        loop {
            match self.receive_table().await {
                Ok((serial, says)) => {
                    let position = self.stored.take(says);
                    self.ack(serial, position).await;
                }
                Err(end) => return end,
            }
        }
    }

    /// Takes the next messages about the table in without an answer.
    pub(super) async fn take_without_answer(&mut self, messages: usize) {
        for _ in 0..messages {
            let (serial, says) = self.receive_table().await.unwrap();
            let position = self.stored.take(says);
            self.unanswered.push((serial, position));
        }
    }

    /// Takes the next messages about the table in without an answer, until none has come for so long; returns how many came.
    pub(super) async fn take_all_for(&mut self, quiet: Duration) -> usize {
        let before = self.unanswered.len();
        while let Ok(message) = timeout(quiet, self.receive_table()).await {
            let (serial, says) = message.unwrap();
            let position = self.stored.take(says);
            self.unanswered.push((serial, position));
        }
        self.unanswered.len() - before
    }

    /// Acknowledges what was taken in without an answer.
    pub(super) async fn answer(&mut self) {
        for (serial, position) in std::mem::take(&mut self.unanswered) {
            self.ack(serial, position).await;
        }
    }

    /// Sees that nothing but heartbeats comes for a while.
    pub(super) async fn is_told_nothing(&mut self) {
        let told = timeout(QUIET, self.receive_table()).await;
        assert!(told.is_err(), "there came {told:?}");
    }
}

impl Stored {
    /// Takes a message about the table in, strictly; returns what an Ack would say.
    pub(super) fn take(&mut self, says: ControlPlaneSays) -> Option<Position> {
        match says {
            ControlPlaneSays::SnapshotBegin(begin) => {
                self.taken.push("begin");
                let position = begin.position.unwrap().parse().unwrap();
                self.incoming = Some((position, BucketBits::new(begin.bucket_bits).unwrap(), 0));
                self.position = None;
                None
            }
            ControlPlaneSays::SnapshotChunk(chunk) => {
                self.taken.push("chunk");
                let (_, bits, next) = self.incoming.as_mut().unwrap();
                assert_eq!(chunk.first_bucket, *next);
                for value in chunk.buckets {
                    bucket::validate(&value, *bits, BucketIndex(*next)).unwrap();
                    self.buckets.insert(*next, value);
                    *next += 1;
                }
                None
            }
            ControlPlaneSays::SnapshotEnd(_) => {
                self.taken.push("end");
                let (position, bits, next) = self.incoming.take().unwrap();
                assert_eq!(next, bits.count());
                self.buckets.retain(|index, _| *index < bits.count());
                (self.position, self.bits) = (Some(position), Some(bits));
                self.position
            }
            ControlPlaneSays::Delta(delta) => {
                self.taken.push(if delta.more { "part" } else { "delta" });
                assert!(self.incoming.is_none());
                assert_eq!(delta.from, self.position.unwrap().revision);
                for change in &delta.changes {
                    let digest = Digest::from_bytes(change.digest.as_slice().try_into().unwrap());
                    let index = self.bits.unwrap().index(&digest).0;
                    let changed = bucket::apply(&self.buckets[&index], &[(digest, change.grant.as_deref())]).unwrap();
                    self.buckets.insert(index, changed);
                }
                if !delta.more {
                    self.position = delta.to.unwrap().parse();
                }
                self.position
            }
            ControlPlaneSays::Heartbeat(_) => self.position,
        }
    }

    /// Whether exactly these digests can be found, with their grants.
    pub(super) fn assert_holds(&self, expected: &BTreeMap<Digest, Grant>) {
        let bits = self.bits.unwrap();
        assert_eq!(self.buckets.len(), bits.count() as usize);
        for (digest, grant) in expected {
            let found = bucket::find(&self.buckets[&bits.index(digest).0], digest).unwrap();
            assert_eq!(found.as_ref(), Some(grant));
        }
        let entries: Vec<_> = expected
            .iter()
            .map(|(digest, grant)| (bits.index(digest).0, 32 + 1 + keygate_wire::entry::encode(grant).len()))
            .collect();
        let bytes: usize = entries.iter().map(|(_, len)| len).sum::<usize>() + self.buckets.len();
        assert_eq!(self.buckets.values().map(Vec::len).sum::<usize>(), bytes, "something else is in the buckets");
    }
}
