//! One proxy's session: from its Hello to the end of its stream. It decides what is sent when; what that is comes from [`delta`] and
//! [`snapshot`]. It never blocks: a filter that does not keep up has messages unanswered, and gets no more until it answers.
//!
//! The session is where push reads the wall clock: for heartbeats, and for when a proxy was last heard.
//!
//! [`delta`]: super::delta
//! [`snapshot`]: super::snapshot

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use keygate_wire::records::Position;
use keygate_wire::sync::{self, Ack, ControlPlaneSays, FilterSays, FromFilter, Heartbeat, Nack};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::{Code, Status, Streaming};

use super::delta::{Base, Lack};
use super::guest::Visitor;
use super::hello::{Hello, parse_position};
use super::identity::identify;
use super::message::{Body, Outgoing, Topic};
use super::registry::{Claim, Refused};
use super::snapshot::Snapshot;
use super::window::{self, Gate, Window};
use super::work::Work;
use super::{Identity, Proof, Quarantine, Shared, lock};
use crate::clock::until;

/// Room for all messages that may be unanswered, a heartbeat and the end.
pub(super) const QUEUE: usize = window::MOST + 4;
/// No more of a text is kept that a filter sends.
const TEXT_CHARS: usize = 300;

pub(super) type Outbox = mpsc::Sender<Result<Outgoing, Status>>;

/// Holds a stream's session until it ends, and tells the filter why it did.
pub(super) async fn run(shared: Arc<Shared>, visitor: Visitor, proof: Proof, incoming: Streaming<FromFilter>, outbox: Outbox) {
    let mut stopping = shared.stopping.subscribe();
    let Err(end) = tokio::select! {
        end = converse(&shared, &visitor, proof, incoming, &outbox) => end,
        _ = stopping.wait_for(|stopping| *stopping) => Err(Status::unavailable("the control plane is stopping")),
        () = outbox.closed() => Err(Status::cancelled("the proxy has gone")),
    };
    if outbox.try_send(Err(end)).is_err() {
        tracing::debug!("a stream ended whose proxy has gone or does not read");
    }
}

async fn converse(
    shared: &Arc<Shared>,
    visitor: &Visitor,
    proof: Proof,
    mut incoming: Streaming<FromFilter>,
    outbox: &Outbox,
) -> Result<Infallible, Status> {
    let first = timeout(shared.pace.hello, incoming.message());
    let first = first.await.map_err(|_| Status::deadline_exceeded("a stream begins with a hello, which did not come"))??;
    let Some(FilterSays::Hello(hello)) = first.and_then(|message| message.says) else {
        return Err(Status::invalid_argument("a stream begins with a hello"));
    };
    let (name, filter_version) = (shorten(&hello.proxy), shorten(&hello.filter_version));
    let (claim, base, identity) = admit(shared, visitor, proof, hello).await.inspect_err(|status| {
        shared.traffic.streams_refused.inc();
        tracing::warn!(proxy = name, filter_version, "a stream was refused: {}", status.message());
    })?;
    shared.traffic.streams_opened.inc();
    tracing::info!(proxy = name, %identity, filter_version, position = ?base.map(|base| base.position), "a stream has opened");
    let end = tokio::select! {
        end = follow(shared.clone(), claim, base, incoming, outbox.clone()) => end,
        revoked = shared.registry.revocations.awaited(identity) => Err(revoked),
    };
    end.inspect_err(|status| tracing::info!(proxy = name, "a stream has ended: {}", status.message()))
}

/// Who cannot prove a name does not even claim it: the one whose name it is would lose its stream.
async fn admit(
    shared: &Shared,
    visitor: &Visitor,
    proof: Proof,
    mut hello: sync::Hello,
) -> Result<(Claim, Option<Base>, Identity), Status> {
    let token = std::mem::take(&mut hello.token);
    let hello = Hello::parse(hello)?;
    let identity = identify(shared, &visitor.peer, proof, &hello.proxy.name, &token).await;
    let identity = identity.inspect_err(|status| {
        match status.code() {
            Code::Unauthenticated => shared.registry.keep_out(&hello),
            // It could not be looked up: whoever says this still runs, and will be back.
            _ => shared.registry.still_runs(&hello, Instant::now()),
        }
    })?;
    visitor.admit();
    let claim = shared.registry.claim(&hello, identity, Instant::now())?;
    claim.heard(SystemTime::now());
    Ok((claim, hello.base, identity))
}

async fn follow(
    shared: Arc<Shared>,
    mut claim: Claim,
    base: Option<Base>,
    incoming: Streaming<FromFilter>,
    outbox: Outbox,
) -> Result<Infallible, Status> {
    // A proxy that nobody would remember after a restart must not get a table that it could go on serving from.
    if let Some(proxy) = claim.unregistered() {
        (shared.register)(proxy.clone()).await.map_err(|error| {
            tracing::error!(proxy = proxy.name, "the proxy could not be stored: {error:#}");
            Status::unavailable("the control plane could not store the proxy, see its log")
        })?;
        claim.registered();
    }
    Session::new(shared, claim, base, outbox).run(incoming).await
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        Self::already_exists(refused.to_string())
    }
}

struct Session {
    shared: Arc<Shared>,
    claim: Claim,
    outbox: Outbox,
    serial: u64,
    work: Work,
    /// Parts that must follow before anything else about the table.
    parts: VecDeque<Body>,
    window: Window,
    /// When more may be sent, if that is all it waits for.
    send_at: Option<Instant>,
    /// When the last heartbeat was sent.
    beat_at: SystemTime,
    /// When the filter must have said something.
    answer_due: Option<Instant>,
    /// The filter took the last heartbeat it answered; without that it takes nothing else, for its clock or ours is off.
    clock_accepted: bool,
    /// Refusals since the last delta that was taken.
    refusals: usize,
    /// Refusals of messages up to this serial have been dealt with.
    dealt_with: u64,
    last_refusal: Option<String>,
}

impl Session {
    fn new(shared: Arc<Shared>, claim: Claim, base: Option<Base>, outbox: Outbox) -> Self {
        let work = base.map_or_else(|| Work::queue(&shared, 0), Work::Follow);
        let window = Window::new(shared.pace.message, Instant::now());
        Self {
            shared,
            claim,
            outbox,
            serial: 0,
            work,
            parts: VecDeque::new(),
            window,
            send_at: None,
            beat_at: UNIX_EPOCH,
            answer_due: None,
            clock_accepted: false,
            refusals: 0,
            dealt_with: 0,
            last_refusal: None,
        }
    }

    async fn run(mut self, mut incoming: Streaming<FromFilter>) -> Result<Infallible, Status> {
        let replaced = self.claim.replaced();
        let replaced = async move {
            match replaced {
                Some(replaced) => drop(replaced.await),
                None => pending().await,
            }
        };
        tokio::pin!(replaced);
        let mut published = self.shared.published.subscribe();
        let mut heartbeat = interval(self.shared.pace.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send_what_is_lacking()?;
            tokio::select! {
                message = incoming.message() => self.hear(message?)?,
                _ = published.changed() => {}
                _ = heartbeat.tick() => self.beat()?,
                permit = self.work.turn(), if self.clock_accepted => self.begin_snapshot(permit)?,
                () = until(self.send_at) => {}
                () = until(self.answer_due) => return Err(Status::deadline_exceeded("the filter does not answer")),
                () = &mut replaced => return Err(Status::aborted("a newer stream of this proxy has taken over")),
            }
        }
    }

    fn beat(&mut self) -> Result<(), Status> {
        if self.window.has_heartbeat() {
            return Ok(());
        }
        self.beat_at = SystemTime::now();
        let heartbeat = Heartbeat {
            unix_ms: unix_ms(self.beat_at),
            position: self.all_sent().map(Into::into),
            keys: self.shared.table().keys(),
        };
        self.send(Topic::Heartbeat, Body::new(ControlPlaneSays::Heartbeat(heartbeat)))
    }

    /// The newest position, if nothing that leads to it remains to be sent.
    fn all_sent(&self) -> Option<Position> {
        match &self.work {
            Work::Follow(base) if self.parts.is_empty() => {
                Some(base.position).filter(|sent| *sent == self.shared.table().position())
            }
            _ => None,
        }
    }

    fn send_what_is_lacking(&mut self) -> Result<(), Status> {
        self.send_at = None;
        while self.clock_accepted {
            match self.window.gate(Instant::now()) {
                Gate::Open => {
                    let Some((topic, body)) = self.next_message() else { break };
                    self.send(topic, body)?;
                }
                Gate::OpensAt(moment) => {
                    self.send_at = Some(moment);
                    break;
                }
                Gate::Closed => break,
            }
        }
        Ok(())
    }

    fn next_message(&mut self) -> Option<(Topic, Body)> {
        loop {
            match &mut self.work {
                Work::Queue(_) => return None,
                Work::Snapshot(snapshot) => {
                    let (base, end) = snapshot.end();
                    let topic = Topic::Snapshot(base.position.revision);
                    if let Some(begin) = self.parts.pop_front() {
                        return Some((topic, begin));
                    }
                    if let Some(chunk) = snapshot.next_chunk(&self.shared.table()) {
                        return Some((topic, chunk));
                    }
                    self.work = Work::Follow(base);
                    return Some((topic, end));
                }
                Work::Follow(base) => {
                    if let Some(part) = self.parts.pop_front() {
                        return Some((Topic::Delta(base.position.revision), part));
                    }
                    let lack = lock(&self.shared.deltas).lack(&self.shared.table(), *base);
                    match lack {
                        Lack::Nothing => return None,
                        Lack::Delta(delta) => {
                            self.shared.traffic.deltas.inc();
                            base.position = delta.to;
                            self.parts.extend(delta.parts.iter().cloned());
                        }
                        Lack::Snapshot => self.work = Work::queue(&self.shared, self.refusals),
                    }
                }
            }
        }
    }

    fn begin_snapshot(&mut self, permit: Result<OwnedSemaphorePermit, AcquireError>) -> Result<(), Status> {
        let permit = permit.map_err(|_| Status::internal("no snapshot can be sent any more"))?;
        let (snapshot, begin) = Snapshot::begin(&self.shared.table(), permit);
        self.work = Work::Snapshot(snapshot);
        self.shared.traffic.snapshots.inc();
        self.parts.push_back(begin);
        Ok(())
    }

    fn send(&mut self, topic: Topic, body: Body) -> Result<(), Status> {
        // Each message is answered in its turn: all but those that are unanswered.
        let heard = self.serial - self.window.len() as u64;
        self.serial += 1;
        let bytes = body.len();
        self.shared.traffic.sent(topic, bytes as u64);
        let sent = self.outbox.try_send(Ok(Outgoing { serial: self.serial, heard, body }));
        sent.map_err(|_| Status::resource_exhausted("the proxy does not read its stream"))?;
        let now = Instant::now();
        if self.window.is_empty() {
            self.answer_due = Some(now + self.shared.pace.silence);
        }
        self.window.sent(self.serial, topic, bytes, now);
        Ok(())
    }

    fn hear(&mut self, message: Option<FromFilter>) -> Result<(), Status> {
        let message = message.ok_or_else(|| Status::cancelled("the proxy has closed its stream"))?;
        self.claim.heard(SystemTime::now());
        match message.says {
            Some(FilterSays::Ack(ack)) => self.acknowledged(&ack)?,
            Some(FilterSays::Nack(nack)) => self.refused(nack)?,
            Some(FilterSays::Hello(_)) => return Err(Status::invalid_argument("a stream has one hello")),
            None => return Err(Status::invalid_argument("a message says nothing")),
        }
        self.answer_due = (!self.window.is_empty()).then(|| Instant::now() + self.shared.pace.silence);
        Ok(())
    }

    fn acknowledged(&mut self, ack: &Ack) -> Result<(), Status> {
        match self.answered(ack.serial)? {
            Topic::Heartbeat => {
                self.clock_accepted = true;
                self.compare_clocks(ack.unix_ms);
            }
            Topic::Delta(_) => {
                self.refusals = 0;
                self.claim.quarantined(None);
            }
            // One that is taken each time while the delta that follows is refused must not follow ever faster.
            Topic::Snapshot(_) => self.claim.quarantined(None),
        }
        // What was sent before a refusal may lack what was refused.
        if let Some(position) = ack.position.as_ref().filter(|_| ack.serial > self.dealt_with) {
            let position = parse_position(position)?;
            let newest = self.shared.table().position();
            // It would be counted for revisions to come, before they were made.
            if position.epoch == newest.epoch && position.revision > newest.revision {
                return Err(Status::invalid_argument(format!("revision {} does not exist", position.revision)));
            }
            self.claim.acknowledge(position);
        }
        Ok(())
    }

    fn refused(&mut self, nack: Nack) -> Result<(), Status> {
        let topic = self.answered(nack.serial)?;
        let reason = shorten(&nack.reason);
        self.shared.traffic.refusals.inc();
        match topic {
            Topic::Heartbeat => self.compare_clocks(nack.unix_ms),
            Topic::Delta(revision) | Topic::Snapshot(revision) if nack.quarantined => {
                self.claim.quarantined(Some(Quarantine { revision, reason: reason.clone(), since: SystemTime::now() }));
            }
            Topic::Delta(_) | Topic::Snapshot(_) => {}
        }
        // What was sent before a refusal was heard is refused for its sake: that would hide the cause.
        let is_news = topic == Topic::Heartbeat || nack.serial > self.dealt_with;
        // A clock that is off is refused with every heartbeat; once is enough for the log.
        if is_news && self.last_refusal.as_ref() != Some(&reason) {
            let quarantined = nack.quarantined;
            tracing::warn!(proxy = self.claim.name(), ?topic, quarantined, ?reason, "the filter refused a message");
            self.claim.refused(reason.clone());
            self.last_refusal = Some(reason);
        }
        if topic == Topic::Heartbeat {
            self.clock_accepted = false;
            // Others must not wait for a snapshot, or a place in the queue, that this filter does not take.
            if !matches!(self.work, Work::Follow(_)) {
                self.start_over();
            }
        } else if nack.serial > self.dealt_with {
            self.refusals += 1;
            self.start_over();
        }
        Ok(())
    }

    /// Takes the filter to have read its clock half-way between a heartbeat and now.
    fn compare_clocks(&self, filter_unix_ms: u64) {
        let (sent, now) = (unix_ms(self.beat_at), unix_ms(SystemTime::now()));
        let between = sent.saturating_add(now.saturating_sub(sent) / 2);
        // Zero: the filter could not read it.
        if filter_unix_ms != 0
            && let Ok(offset_ms) = i64::try_from(i128::from(filter_unix_ms) - i128::from(between))
        {
            self.claim.clock_is_off(offset_ms);
        }
    }

    /// Gives up what was begun, for a snapshot. What was sent meanwhile built on it, and will be refused too.
    fn start_over(&mut self) {
        self.dealt_with = self.serial;
        self.parts.clear();
        self.work = Work::queue(&self.shared, self.refusals);
    }

    /// What the answered message was about.
    fn answered(&mut self, serial: u64) -> Result<Topic, Status> {
        let topic = self.window.answered(serial, Instant::now());
        topic.ok_or_else(|| Status::invalid_argument(format!("message {serial} is not the next to be answered")))
    }
}

/// As much of a text that a filter sent as is kept.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(since).unwrap_or(u64::MAX)
}
