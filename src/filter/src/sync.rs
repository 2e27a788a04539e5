//! Keeping the table in step with the control plane: who of the workers does it, over which stream, and what is answered to which
//! message. One root context of the process is elected ([`crate::lease`]); only that one has a stream and writes ([`crate::writer`]).

use keygate_wire::echo::Echo;
use keygate_wire::records::{Names, Position};
use keygate_wire::source::ControlPlane;
use keygate_wire::sync::{self, ControlPlaneSays, FilterSays, Heartbeat, Hello, Said, SnapshotBegin};

use crate::host::{self, Gauge, Level};
use crate::lease::{Claim, Fence};
use crate::leftovers::Leftovers;
use crate::metrics;
use crate::writer::{Arrival, Begun, Failure, Incoming, Writer};

/// A stream on which nothing came for so long is dead: the control plane sends a heartbeat every two seconds.
const SILENCE_LIMIT_NS: u64 = 10_000_000_000;
/// A control plane whose clock differs by more from the host's is refused: one of them would make keys live too long.
const CLOCK_LIMIT_MS: u64 = 5 * 60 * 1000;
/// A message is about 24 KiB long, unless single grants are huge. A longer one than this could take all memory of the VM, which would end
/// it; whoever sends it is no control plane.
const MESSAGE_LIMIT: usize = 64 << 20;
const RETRY_MIN_MS: u64 = 250;
/// The pause is at most twice this. The control plane counts on that: a process that is not back within 9 seconds, while another of the same
/// name is, it takes for ended. Of those Envoy may take 5 for an attempt that nobody answers, a tick comes up to half a one late, and one
/// is left for connecting. Where sources differ, what the others take comes on top.
const RETRY_MAX_MS: u64 = 1_200;
/// So many attempts in a row may come to nothing before others of the process, whose source may be another, have theirs.
const MOST_FAILURES: u32 = 3;

/// gRPC's codes for a stream that ended as streams do.
const CANCELLED: u32 = 1;
const UNAVAILABLE: u32 = 14;

/// See the module.
pub(crate) struct Subscription {
    proxy: String,
    table: String,
    cluster: String,
    /// The join token, empty if there is none.
    token: String,
    staleness_limit_seconds: u64,
    names: Names,
    detector: Option<Gauge>,
    /// Shows how many credentials the table lets pass.
    keys: Option<Gauge>,
    claim: Claim,
    instance: [u8; 16],
    fence: Option<Fence>,
    stream: Option<Stream>,
    retry_at_ns: u64,
    retry_ms: u64,
    /// Attempts in a row that came to nothing.
    failures: u32,
    leftovers: Option<Leftovers>,
    /// Streams that were given up inside one of their own callbacks, where Envoy does not expect it.
    to_cancel: Vec<u32>,
}

/// An open stream.
struct Stream {
    token: u32,
    heard_at_ns: u64,
    echo: Echo,
    /// The control plane's clock was found good, without which nothing else it says is taken.
    clock_accepted: bool,
    incoming: Option<Incoming>,
    begun: Option<Begun>,
    /// Where a delta leads of which a part was refused: the rest of it, which was sent before that was heard, must not count for the whole.
    refused: Option<sync::Position>,
}

impl Stream {
    fn is_silent(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.heard_at_ns) > SILENCE_LIMIT_NS
    }
}

impl Subscription {
    /// `None`, which leaves the edge without a table and so closed, if the host gives no randomness or no shared data.
    pub(crate) fn new(
        table: &str,
        source: ControlPlane,
        names: Names,
        detector: Option<Gauge>,
        keys: Option<Gauge>,
    ) -> Option<Self> {
        let prepared = host::random().and_then(|owner| Ok((owner, process_instance(&names)?)));
        let (owner, instance) = prepared
            .inspect_err(|error| host::log(Level::Error, &format!("keygate: cannot synchronize (host status {})", error.0)))
            .ok()?;
        Some(Self {
            claim: Claim::new(&names, &source, owner),
            proxy: source.proxy,
            table: table.to_owned(),
            cluster: source.cluster,
            token: source.token.as_ref().map_or_else(String::new, |token| token.expose().to_owned()),
            staleness_limit_seconds: source.staleness_limit_seconds,
            names,
            detector,
            keys,
            instance,
            fence: None,
            stream: None,
            retry_at_ns: 0,
            retry_ms: RETRY_MIN_MS,
            failures: 0,
            leftovers: None,
            to_cancel: Vec::new(),
        })
    }

    /// Renews or seeks the lease, and opens or closes the stream accordingly.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        for token in std::mem::take(&mut self.to_cancel) {
            cancel(token);
        }
        let fence = self.claim.acquire(now_ns);
        if fence != self.fence {
            self.cancel();
            self.fence = fence;
            self.leftovers = None;
        }
        let Some(fence) = fence else { return };
        self.leftovers = self.leftovers.take().and_then(|leftovers| leftovers.empty_some(&self.writer(fence), now_ns));
        match &self.stream {
            Some(stream) if stream.is_silent(now_ns) => {
                host::log(Level::Warn, "keygate: the control plane is silent, opening a new stream");
                let failures = u32::from(!stream.clock_accepted);
                self.cancel();
                self.failed(now_ns, failures);
            }
            None if now_ns >= self.retry_at_ns => self.open(fence, now_ns),
            _ => {}
        }
    }

    /// Whether this worker held the lease at its last tick.
    #[cfg(feature = "traps")]
    pub(crate) fn leads(&self) -> bool {
        self.fence.is_some()
    }

    /// Takes a message from the stream.
    pub(crate) fn receive(&mut self, token: u32, size: usize) {
        let (Some(fence), Ok(now_ns)) = (self.fence, host::monotonic_ns()) else { return };
        let Some(mut stream) = self.stream.take_if(|stream| stream.token == token) else { return };
        // A process that stood still gives its streams up: all that waited for it was said long ago, the time too.
        let in_time = !stream.is_silent(now_ns);
        stream.heard_at_ns = now_ns;
        if in_time && self.answer(&mut stream, fence, now_ns, size) {
            self.stream = Some(stream);
        } else {
            self.to_cancel.push(token);
            self.retry_later(now_ns);
        }
    }

    /// The stream has ended.
    pub(crate) fn closed(&mut self, token: u32, status: u32) {
        if let Some(stream) = self.stream.take_if(|stream| stream.token == token) {
            let why = keygate_wire::status::readable(&host::grpc_status_message());
            // So streams end when the control plane stops or is away; any other end wants somebody's help.
            let is_usual = matches!(status, CANCELLED | UNAVAILABLE);
            let level = if is_usual { Level::Info } else { Level::Warn };
            host::log(level, &format!("keygate: the stream to the control plane has ended (gRPC status {status}): {why}"));
            // Whoever was served was not refused: it lost its connection.
            let failures = match stream.clock_accepted {
                true => 0,
                false if is_usual => 1,
                false => MOST_FAILURES,
            };
            self.failed(host::monotonic_ns().unwrap_or(0), failures);
        }
    }

    /// Lets another worker take over: this context is being shut down.
    pub(crate) fn stop(&mut self) {
        self.cancel();
        if let Some(fence) = self.fence.take() {
            self.claim.release(fence);
        }
    }

    fn open(&mut self, fence: Fence, now_ns: u64) {
        let hello = match self.hello(fence) {
            Ok(hello) => hello,
            Err(failure) => {
                host::log(Level::Warn, &format!("keygate: the table could not be read or written: {failure:?}"));
                return self.retry_later(now_ns);
            }
        };
        let opened = sync::grpc_service(&self.cluster)
            .ok_or(host::HostError(0))
            .and_then(|service| host::open_grpc_stream(&service, sync::SERVICE, sync::METHOD))
            .and_then(|token| host::send_grpc(token, &hello).map(|()| token));
        match opened {
            Ok(token) => {
                self.stream = Some(Stream {
                    token,
                    heard_at_ns: now_ns,
                    echo: Echo::new(now_ns),
                    clock_accepted: false,
                    incoming: None,
                    begun: None,
                    refused: None,
                });
            }
            Err(error) => {
                let cluster = &self.cluster;
                host::log(Level::Warn, &format!("keygate: no stream to cluster {cluster:?} (host status {})", error.0));
                self.failed(now_ns, MOST_FAILURES);
            }
        }
    }

    fn hello(&self, fence: Fence) -> Result<Vec<u8>, Failure> {
        let writer = self.writer(fence);
        // What a former worker wrote without announcing it must be forgotten before this one says what the table holds.
        writer.announce_change()?;
        writer.tell_limit(self.staleness_limit_ns())?;
        let base = writer.base()?;
        Ok(sync::encode_filter(FilterSays::Hello(Hello {
            proxy: self.proxy.clone(),
            instance: self.instance.to_vec(),
            table: self.table.clone(),
            format: keygate_wire::FORMAT,
            fence: fence.0,
            position: base.map(|head| head.position.into()),
            bucket_bits: base.map_or(0, |head| head.bits.get()),
            staleness_limit_seconds: self.staleness_limit_seconds,
            filter_version: env!("CARGO_PKG_VERSION").to_owned(),
            token: self.token.clone(),
        })))
    }

    /// Handles one message and answers it; false when the stream is of no use any more.
    fn answer(&mut self, stream: &mut Stream, fence: Fence, now_ns: u64, size: usize) -> bool {
        if size > MESSAGE_LIMIT {
            host::log(Level::Error, &format!("keygate: a message of the control plane is too long: {size} bytes"));
            return false;
        }
        let message = host::grpc_message(size).ok().and_then(|bytes| sync::decode_control_plane(&bytes));
        let Some(Said { serial, heard, says }) = message else {
            host::log(Level::Warn, "keygate: a message of the control plane could not be read");
            return false;
        };
        let arrival = Arrival { now_ns, said_at_ns: stream.echo.said_at(heard, now_ns) };
        stream.echo.answered(serial, now_ns);
        let outcome = self.handle(stream, fence, arrival, says);
        let unix_ms = host::wall_clock_ms().unwrap_or(0);
        let answer = match &outcome {
            Ok(position) => FilterSays::Ack(sync::Ack { serial, position: position.map(Into::into), unix_ms }),
            Err(Failure::Refused(reason)) => {
                host::log(Level::Warn, &format!("keygate: refused a message of the control plane: {reason}"));
                FilterSays::Nack(sync::Nack { serial, reason: reason.clone(), unix_ms, quarantined: false })
            }
            Err(Failure::Quarantined(reason)) => {
                host::log(Level::Error, &format!("keygate: quarantined a message of the control plane: {reason}"));
                FilterSays::Nack(sync::Nack { serial, reason: reason.clone(), unix_ms, quarantined: true })
            }
            Err(Failure::LeaseLost) => {
                host::log(Level::Info, "keygate: another worker has taken over");
                return false;
            }
            Err(Failure::Host(error)) => {
                host::log(Level::Error, &format!("keygate: the table could not be written (host status {})", error.0));
                return false;
            }
        };
        host::send_grpc(stream.token, &sync::encode_filter(answer)).is_ok()
    }

    /// Does what a message says; returns what the table then holds, nothing while a snapshot is under way.
    fn handle(
        &mut self,
        stream: &mut Stream,
        fence: Fence,
        arrival: Arrival,
        says: ControlPlaneSays,
    ) -> Result<Option<Position>, Failure> {
        match says {
            ControlPlaneSays::Heartbeat(heartbeat) => self.take_heartbeat(stream, fence, arrival, &heartbeat),
            _ if !stream.clock_accepted => {
                Err(Failure::Refused("a heartbeat with an acceptable time must come first".to_owned()))
            }
            ControlPlaneSays::SnapshotBegin(begin) => {
                (stream.incoming, stream.begun, stream.refused) = (None, None, None);
                let incoming = self.writer(fence).begin_snapshot(&begin, arrival)?;
                // It may put the very buckets to use that were to be emptied.
                self.leftovers = self.leftovers.take().and_then(|leftovers| leftovers.beside(&incoming));
                stream.incoming = Some(incoming);
                log_snapshot(&begin);
                Ok(None)
            }
            ControlPlaneSays::SnapshotChunk(chunk) => match &mut stream.incoming {
                Some(incoming) => self.writer(fence).put_chunk(incoming, &chunk, arrival.now_ns).map(|()| None),
                None => Err(Failure::Refused("a chunk without a snapshot".to_owned())),
            },
            ControlPlaneSays::SnapshotEnd(_) => {
                let incoming = stream.incoming.take().ok_or_else(|| Failure::Refused("an end without a snapshot".to_owned()))?;
                let (position, replaced) = self.writer(fence).end_snapshot(&incoming, arrival.now_ns)?;
                // A table that was overwritten in its place leaves nothing, and what is left of another one is still there.
                if let Some((slot, bits)) = replaced {
                    self.leftovers = Some(Leftovers::of(slot, bits, arrival.now_ns));
                }
                host::log(Level::Info, &format!("keygate: the table is at revision {}", position.revision));
                Ok(Some(position))
            }
            ControlPlaneSays::Delta(_) if stream.incoming.is_some() => {
                Err(Failure::Refused("a delta in the middle of a snapshot".to_owned()))
            }
            ControlPlaneSays::Delta(delta) if stream.refused.is_some() && stream.refused == delta.to => {
                Err(Failure::Refused("a part of this delta was refused".to_owned()))
            }
            ControlPlaneSays::Delta(delta) => {
                let taken = self.writer(fence).apply_delta(&mut stream.begun, &delta, arrival);
                if taken.is_err() && delta.more {
                    stream.refused = delta.to;
                }
                taken.map(Some)
            }
        }
    }

    /// Takes the time from a heartbeat, if it can be the time, and counts the table as fresh if it is the newest.
    fn take_heartbeat(
        &mut self,
        stream: &mut Stream,
        fence: Fence,
        arrival: Arrival,
        heartbeat: &Heartbeat,
    ) -> Result<Option<Position>, Failure> {
        let off_ms = host::wall_clock_ms()?.abs_diff(heartbeat.unix_ms);
        stream.clock_accepted = off_ms <= CLOCK_LIMIT_MS;
        if !stream.clock_accepted {
            let off = off_ms / 1000;
            return Err(Failure::Refused(format!("the clocks of control plane and proxy differ by {off} s")));
        }
        (self.retry_ms, self.failures) = (RETRY_MIN_MS, 0);
        metrics::set(self.keys, heartbeat.keys);
        let writer = self.writer(fence);
        let held = writer.base()?.map(|head| head.position);
        let newest = heartbeat.position.as_ref().and_then(|position| position.parse());
        writer.note_limit(self.staleness_limit_ns())?;
        writer.note_time(arrival.now_ns, heartbeat.unix_ms)?;
        if held.is_some() && held == newest {
            writer.note_current(arrival.said_at_ns)?;
        }
        Ok(held)
    }

    fn staleness_limit_ns(&self) -> u64 {
        self.staleness_limit_seconds.saturating_mul(1_000_000_000)
    }

    fn writer(&self, fence: Fence) -> Writer<'_> {
        Writer { names: &self.names, claim: &self.claim, fence, detector: self.detector }
    }

    fn cancel(&mut self) {
        if let Some(stream) = self.stream.take() {
            cancel(stream.token);
        }
    }

    /// Plans the next attempt. After too many failures it leaves the next one to others of the process, whose source may be a better one:
    /// a listener that drains may hold a token that was revoked meanwhile. Without others it is an attempt like any other.
    fn failed(&mut self, now_ns: u64, failures: u32) {
        self.retry_later(now_ns);
        self.failures += failures;
        if self.failures >= MOST_FAILURES {
            self.failures = 0;
            self.cancel();
            if let Some(fence) = self.fence.take() {
                self.claim.give_up(fence, now_ns);
            }
        }
    }

    /// The next attempt comes later each time, and at a random moment, so that a thousand proxies do not return at once.
    fn retry_later(&mut self, now_ns: u64) {
        let random = host::random::<8>().map(u64::from_le_bytes).unwrap_or(0);
        let wait_ms = self.retry_ms + random % self.retry_ms.max(1);
        self.retry_at_ns = now_ns.saturating_add(wait_ms * 1_000_000);
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MAX_MS);
    }
}

fn cancel(token: u32) {
    // A stream that is gone already needs no cancelling.
    let _ = host::cancel_grpc(token);
}

fn log_snapshot(begin: &SnapshotBegin) {
    let revision = begin.position.as_ref().map_or(0, |position| position.revision);
    host::log(Level::Info, &format!("keygate: receiving the table at revision {revision}"));
}

/// The 16 random bytes of this process; the first root context to come makes them.
fn process_instance(names: &Names) -> host::Result<[u8; 16]> {
    let name = names.instance();
    let shared = host::shared_data(&name)?;
    if let Ok(instance) = shared.value.as_slice().try_into() {
        return Ok(instance);
    }
    let fresh = host::random()?;
    match host::replace_shared_data(&name, &shared, &fresh) {
        Ok(()) => Ok(fresh),
        Err(host::CAS_MISMATCH) => host::shared_data(&name)?.value.as_slice().try_into().map_err(|_| host::CAS_MISMATCH),
        Err(error) => Err(error),
    }
}
