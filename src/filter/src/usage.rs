//! Which keys this worker lets through, and telling the control plane so now and then: for people who look for keys that nobody needs.
//!
//! A request costs one look into a map of the worker's own ([`Usage::note`]): no host call, nothing shared. The time is that of the last
//! tick. Now and then the worker's root context takes what was noted and reports it by calls of its own ([`Reporter`]), one at a time.
//! A root context that serves no requests, as on Envoy's main thread, has nothing to report and never calls.
//!
//! No verdict depends on any of this. Memory is bounded; what does not fit, and what could not be told for an hour, is lost and counted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use keygate_decision::KeyId;
use keygate_wire::source::ControlPlane;
use keygate_wire::sync;
use keygate_wire::usage::{self, UsageReport};

use crate::host::{self, Counter, Level};

/// So many keys are remembered between two reports: some megabytes.
const MAX_NOTED: usize = 65_536;
/// A call that took longer has failed.
const CALL_TIMEOUT_MS: u32 = 5_000;
/// A use that could not be told for so long is given up.
const GIVE_UP_SECONDS: u32 = 60 * 60;
/// A control plane that does not know the call is not asked again for so long.
const UNWANTED_SECONDS: u32 = 60 * 60;

/// The keys that have passed and were not reported yet, with the second of the monotonic clock at which each did last.
type Noted = HashMap<u64, u32, BuildHasherDefault<ById>>;

/// What the requests of one worker note.
pub(crate) struct Usage {
    wanted: Cell<bool>,
    now: Cell<u32>,
    noted: RefCell<Noted>,
    lost: Cell<u64>,
}

impl Usage {
    /// For an edge that has nobody to tell.
    pub(crate) fn unwanted() -> Self {
        Self { wanted: Cell::new(false), now: Cell::new(0), noted: RefCell::default(), lost: Cell::new(0) }
    }

    /// Notes that a key has passed, at the last tick's time.
    pub(crate) fn note(&self, key: KeyId) {
        if self.wanted.get() {
            self.note_at(key.0, self.now.get());
        }
    }

    fn note_at(&self, key: u64, second: u32) {
        let Ok(mut noted) = self.noted.try_borrow_mut() else { return };
        let has_room = noted.len() < MAX_NOTED;
        match noted.get_mut(&key) {
            Some(last) => *last = second.max(*last),
            None if has_room => {
                noted.insert(key, second);
            }
            None => self.lose(1),
        }
    }

    /// The map keeps its room: one that had to grow again would let a request wait for it.
    fn take(&self) -> Vec<(u64, u32)> {
        let Ok(mut noted) = self.noted.try_borrow_mut() else { return Vec::new() };
        if noted.is_empty() { Vec::new() } else { noted.drain().collect() }
    }

    fn lose(&self, uses: usize) {
        self.lost.set(self.lost.get().saturating_add(uses as u64));
    }
}

/// Reports what was noted: as soon as there is something, but no more often than the configuration says.
pub(crate) struct Reporter {
    proxy: String,
    token: String,
    table: String,
    service: String,
    interval_seconds: u32,
    usage: Rc<Usage>,
    /// What this round has still to report.
    round: Vec<(u64, u32)>,
    call: Option<Call>,
    /// When the next round may begin.
    next_at: u32,
    reports: Option<Counter>,
    failures: Option<Counter>,
    lost: Option<Counter>,
}

/// A report that is on its way.
struct Call {
    token: u32,
    uses: Vec<(u64, u32)>,
}

impl Reporter {
    /// `None` where no reports are wanted.
    pub(crate) fn new(table: &str, to: &ControlPlane) -> Option<Self> {
        let interval_seconds = to.usage_seconds?;
        let now = host::monotonic_ns().map(seconds).unwrap_or(0);
        let counter = |name: &str| Counter::define(&format!("keygate.{table}.usage.{name}")).ok();
        Some(Self {
            proxy: to.proxy.clone(),
            token: to.token.as_ref().map_or_else(String::new, |token| token.expose().to_owned()),
            table: table.to_owned(),
            service: sync::grpc_service(&to.cluster)?,
            interval_seconds,
            usage: Rc::new(Usage { wanted: Cell::new(true), now: Cell::new(now), ..Usage::unwanted() }),
            round: Vec::new(),
            call: None,
            next_at: 0,
            reports: counter("reports"),
            failures: counter("failures"),
            lost: counter("lost"),
        })
    }

    /// Where requests note what passes.
    pub(crate) fn usage(&self) -> Rc<Usage> {
        self.usage.clone()
    }

    /// Begins a round when it is time, and goes on with one.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        let now = seconds(now_ns);
        self.usage.now.set(now);
        count(self.lost, self.usage.lost.take());
        // The host ends every call in time.
        if self.call.is_some() {
            return;
        }
        if self.round.is_empty() && now >= self.next_at {
            self.usage.wanted.set(true);
            self.round = self.usage.take();
            self.next_at = now.saturating_add(self.interval_seconds);
            if self.round.is_empty() {
                // Whoever passes next after a pause is reported at once.
                self.next_at = now;
            }
        }
        if !self.round.is_empty() {
            self.report(now);
        }
    }

    /// A call has been answered, or has failed with this status.
    pub(crate) fn answered(&mut self, token: u32, status: u32) {
        let Some(call) = self.call.take_if(|call| call.token == token) else { return };
        match status {
            0 => count(self.reports, 1),
            usage::UNIMPLEMENTED => self.pause(),
            _ => self.fail(call.uses),
        }
    }

    fn report(&mut self, now: u32) {
        let uses = self.round.split_off(self.round.len().saturating_sub(usage::MAX_KEYS));
        let report = UsageReport {
            proxy: self.proxy.clone(),
            token: self.token.clone(),
            table: self.table.clone(),
            keys: uses.iter().map(|(key, _)| *key).collect(),
            seconds_ago: uses.iter().map(|(_, second)| now.saturating_sub(*second)).collect(),
        };
        match host::call_grpc(&self.service, sync::SERVICE, usage::METHOD, &report.to_bytes(), CALL_TIMEOUT_MS) {
            Ok(token) => self.call = Some(Call { token, uses }),
            Err(_) => self.fail(uses),
        }
    }

    /// What could not be told is told in the next round, unless it has become too old.
    fn fail(&mut self, uses: Vec<(u64, u32)>) {
        count(self.failures, 1);
        let oldest = self.usage.now.get().saturating_sub(GIVE_UP_SECONDS);
        for (key, second) in uses.into_iter().chain(std::mem::take(&mut self.round)) {
            if second < oldest { self.usage.lose(1) } else { self.usage.note_at(key, second) }
        }
    }

    fn pause(&mut self) {
        host::log(Level::Info, "keygate: the control plane does not ask for the use of keys");
        self.usage.wanted.set(false);
        self.usage.take();
        self.round.clear();
        self.next_at = self.usage.now.get().saturating_add(UNWANTED_SECONDS);
    }
}

fn seconds(now_ns: u64) -> u32 {
    u32::try_from(now_ns / 1_000_000_000).unwrap_or(u32::MAX)
}

fn count(counter: Option<Counter>, times: u64) {
    if let Some(counter) = counter.filter(|_| times > 0) {
        // A statistic that the host does not take is no reason for anything.
        let _ = counter.add(times);
    }
}

/// Ids are small numbers that the control plane or the host gives out in order: nobody chooses them to collide.
#[derive(Default)]
pub(crate) struct ById(u64);

impl Hasher for ById {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(u64::from(id));
    }

    fn write_u64(&mut self, id: u64) {
        // Its lowest bits choose the place, its highest ones tell those at one place apart.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
