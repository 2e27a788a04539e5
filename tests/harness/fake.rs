//! A control plane that says what a test tells it to, message by message, right or wrong, and hears what the filter answers.
//!
//! It speaks gRPC with its own hands: a library would refuse to send most of what it is for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use keygate_decision::Digest;
use keygate_wire::BucketBits;
use keygate_wire::bucket::{self, BucketIndex};
use keygate_wire::records::Position;
use keygate_wire::sync::{
    Ack, ControlPlaneSays, Delta, FilterSays, FromControlPlane, FromFilter, Heartbeat, Hello, Nack, SnapshotBegin, SnapshotChunk,
    SnapshotEnd,
};
use keygate_wire::usage::{self, UsageReport};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::{DEADLINE, loopback};

/// What precedes a gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
const BUCKETS_A_CHUNK: usize = 16;
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A server for the filter's streams.
pub struct FakeControlPlane {
    port: u16,
    streams: mpsc::UnboundedReceiver<FakeStream>,
    reports: mpsc::UnboundedReceiver<UsageReport>,
    usage_status: Arc<AtomicU32>,
    serving: AbortHandle,
}

/// What the server's calls share.
#[derive(Clone)]
struct Calls {
    streams: mpsc::UnboundedSender<FakeStream>,
    reports: mpsc::UnboundedSender<UsageReport>,
    usage_status: Arc<AtomicU32>,
}

/// A stream that a filter has opened. Dropping it ends it.
pub struct FakeStream {
    hello: Hello,
    serial: u64,
    /// What it says it has heard.
    heard: u64,
    stalled: bool,
    outgoing: Sender<Bytes, Infallible>,
    incoming: Incoming,
}

/// What came from the filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// It took a message.
    Ack(Ack),
    /// It refused one.
    Nack(Nack),
    /// It gave the stream up.
    End,
}

/// The bytes from the filter that are no whole message yet.
struct Incoming {
    body: Body,
    bytes: Vec<u8>,
}

impl FakeControlPlane {
    /// Starts it on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(loopback(0)).await.context("binding the fake control plane")?;
        let port = listener.local_addr()?.port();
        let listener = listener.tap_io(|connection| {
            // Without, messages come later, and that is all.
            let _ = connection.set_nodelay(true);
        });
        let (stream_sender, streams) = mpsc::unbounded_channel();
        let (report_sender, reports) = mpsc::unbounded_channel();
        let usage_status = Arc::new(AtomicU32::new(usage::UNIMPLEMENTED));
        let calls = Calls { streams: stream_sender, reports: report_sender, usage_status: usage_status.clone() };
        let service = Router::new()
            .route(&format!("/{}/{}", keygate_wire::sync::SERVICE, usage::METHOD), axum::routing::post(take_report))
            .fallback(open)
            .with_state(calls);
        let serving = tokio::spawn(async move { axum::serve(listener, service).await }).abort_handle();
        Ok(Self { port, streams, reports, usage_status, serving })
    }

    /// With which gRPC status it answers reports of use from now on: at first as one that does not know them.
    pub fn answer_reports(&self, status: u32) {
        self.usage_status.store(status, Ordering::SeqCst);
    }

    /// The next report of use, whatever it was answered.
    pub async fn next_report(&mut self) -> Result<UsageReport> {
        let next = timeout(DEADLINE, self.reports.recv()).await.context("no filter reported any use")?;
        next.context("the fake control plane has ended")
    }

    /// The reports of use that have come and were not looked at yet.
    pub fn waiting_reports(&mut self) -> Vec<UsageReport> {
        std::iter::from_fn(|| self.reports.try_recv().ok()).collect()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next stream that a filter opens, once it has said its Hello.
    pub async fn next_stream(&mut self) -> Result<FakeStream> {
        let next = timeout(DEADLINE, self.streams.recv()).await.context("no filter opened a stream")?;
        next.context("the fake control plane has ended")
    }
}

impl Drop for FakeControlPlane {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take_report(State(calls): State<Calls>, body: Bytes) -> Response {
    if let Some(Ok(report)) = body.get(PREFIX_BYTES..).map(UsageReport::decode) {
        // A test that is over wants none.
        let _ = calls.reports.send(report);
    }
    let grpc = (CONTENT_TYPE, "application/grpc");
    match calls.usage_status.load(Ordering::SeqCst) {
        0 => {
            let trailers = HeaderMap::from_iter([(GRPC_STATUS, 0.into())]);
            // An empty message has a length all the same.
            let answer = http_body_util::Full::new(Bytes::from_static(&[0; PREFIX_BYTES]));
            ([grpc], Body::new(answer.with_trailers(std::future::ready(Some(Ok(trailers)))))).into_response()
        }
        status => ([grpc, (GRPC_STATUS, &status.to_string())], ()).into_response(),
    }
}

async fn open(State(calls): State<Calls>, request: axum::extract::Request) -> Response {
    let (outgoing, body) = Channel::new(64);
    let mut incoming = Incoming { body: request.into_body(), bytes: Vec::new() };
    tokio::spawn(async move {
        // A stream that ends before its Hello is none; a test that is over wants none.
        if let Ok(Some(FilterSays::Hello(hello))) = incoming.next().await {
            let _ = calls.streams.send(FakeStream { hello, serial: 0, heard: 0, stalled: false, outgoing, incoming });
        }
    });
    ([(CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
}

impl FakeStream {
    /// What the filter opened it with.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Says something and gives what the filter answers.
    pub async fn say(&mut self, says: ControlPlaneSays) -> Result<Heard> {
        let serial = self.send(says).await?;
        let heard = self.hear().await?;
        let answered = match &heard {
            Heard::Ack(ack) => ack.serial,
            Heard::Nack(nack) => nack.serial,
            Heard::End => return Ok(heard),
        };
        ensure!(answered == serial, "message {serial} was answered as {answered}");
        Ok(heard)
    }

    /// Says something that the filter must take, and gives what its table then holds.
    pub async fn say_well(&mut self, says: ControlPlaneSays) -> Result<Option<Position>> {
        match self.say(says).await? {
            Heard::Ack(Ack { position, .. }) => Ok(position.and_then(|position| position.parse())),
            heard => bail!("a good message was not taken: {heard:?}"),
        }
    }

    /// Whether what it says from now on comes as over a line that has become slow: said before anything further was heard.
    pub fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    /// Says that it is there, with the right time, `current` being the newest position.
    pub async fn beat(&mut self, current: Option<Position>) -> Result<()> {
        let unix_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let heartbeat = Heartbeat { unix_ms, position: current.map(Into::into), keys: 0 };
        self.say_well(ControlPlaneSays::Heartbeat(heartbeat)).await.map(|_| ())
    }

    /// Sends a table in full, which the filter must take.
    pub async fn send_snapshot(&mut self, table: &FakeTable) -> Result<()> {
        for says in table.snapshot() {
            self.say_well(says).await?;
        }
        Ok(())
    }

    /// Sends a message and does not wait for the answer; gives its serial.
    pub async fn send(&mut self, says: ControlPlaneSays) -> Result<u64> {
        self.serial += 1;
        let message = FromControlPlane { serial: self.serial, says: Some(says), heard: self.heard };
        self.send_message(&message.encode_to_vec()).await?;
        Ok(self.serial)
    }

    /// Sends any bytes as one message.
    pub async fn send_message(&mut self, message: &[u8]) -> Result<()> {
        let length = u32::try_from(message.len())?.to_be_bytes();
        self.send_bytes([&[0], length.as_slice(), message].concat()).await
    }

    /// Sends any bytes as they are.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) -> Result<()> {
        let sent = timeout(DEADLINE, self.outgoing.send_data(bytes.into())).await.context("the filter does not read")?;
        sent.context("the stream has ended")
    }

    /// What the filter says next.
    pub async fn hear(&mut self) -> Result<Heard> {
        let (serial, heard) = match timeout(DEADLINE, self.incoming.next()).await.context("the filter does not answer")?? {
            Some(FilterSays::Ack(ack)) => (ack.serial, Heard::Ack(ack)),
            Some(FilterSays::Nack(nack)) => (nack.serial, Heard::Nack(nack)),
            Some(FilterSays::Hello(_)) => bail!("a second Hello"),
            None => return Ok(Heard::End),
        };
        if !self.stalled {
            self.heard = serial;
        }
        Ok(heard)
    }
}

impl Incoming {
    /// The next message; `None` at the end of the stream, however it ended.
    async fn next(&mut self) -> Result<Option<FilterSays>> {
        loop {
            if let Some((prefix, rest)) = self.bytes.split_first_chunk::<PREFIX_BYTES>() {
                let [_, length @ ..] = *prefix;
                if let Some(message) = rest.get(..usize::try_from(u32::from_be_bytes(length))?) {
                    let says = FromFilter::decode(message)?.says;
                    self.bytes.drain(..PREFIX_BYTES + message.len());
                    return says.context("the filter said nothing").map(Some);
                }
            }
            let Some(Ok(frame)) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                self.bytes.extend_from_slice(&data);
            }
        }
    }
}

/// A table to send.
#[derive(Clone, Debug)]
pub struct FakeTable {
    /// Where it is.
    pub position: Position,
    /// How many buckets it has.
    pub bits: BucketBits,
    /// What it holds: encoded grants.
    pub grants: BTreeMap<Digest, Vec<u8>>,
}

impl FakeTable {
    /// Its buckets, in order.
    pub fn buckets(&self) -> Vec<Vec<u8>> {
        let of = |index| self.grants.iter().filter(move |(digest, _)| self.bits.index(digest) == BucketIndex(index));
        (0..self.bits.count()).map(|index| bucket::build(of(index).map(|(digest, grant)| (digest, grant.as_slice())))).collect()
    }

    /// The messages that bring it in full: the first begins it, the last ends it, chunks are between.
    pub fn snapshot(&self) -> Vec<ControlPlaneSays> {
        let begin = SnapshotBegin { position: Some(self.position.into()), bucket_bits: self.bits.get() };
        let buckets = self.buckets();
        let chunks = (0..).step_by(BUCKETS_A_CHUNK).zip(buckets.chunks(BUCKETS_A_CHUNK)).map(|(first_bucket, buckets)| {
            ControlPlaneSays::SnapshotChunk(SnapshotChunk { first_bucket, buckets: buckets.to_vec() })
        });
        let begin = std::iter::once(ControlPlaneSays::SnapshotBegin(begin));
        begin.chain(chunks).chain([ControlPlaneSays::SnapshotEnd(SnapshotEnd {})]).collect()
    }

    /// Makes a change and gives the message that brings it.
    pub fn change(&mut self, digest: Digest, grant: Option<Vec<u8>>) -> Delta {
        let from = self.position.revision;
        self.position.revision += 1;
        match &grant {
            Some(grant) => self.grants.insert(digest, grant.clone()),
            None => self.grants.remove(&digest),
        };
        let change = keygate_wire::sync::Change { digest: digest.as_bytes().to_vec(), grant };
        Delta { from, to: Some(self.position.into()), changes: vec![change], more: false }
    }
}
