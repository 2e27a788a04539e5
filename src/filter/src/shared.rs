//! Reading the table in shared data, from any worker. It never writes it, and never trusts a value it cannot parse: what is missing
//! or corrupt makes the table unavailable, which denies.
//!
//! What was found for a credential is remembered only together with the change detector's number, and used only while the same request
//! reads that number again: the elected worker changes the number after every write and before it acknowledges. Zero means that there is no
//! detector (the operator's statistics configuration drops it), and then nothing is remembered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use keygate_decision::credentials::Credentials;
use keygate_decision::{Reason, UnixSeconds};
use keygate_wire::bucket;
use keygate_wire::records::{Clock, Head, Names};

use crate::host::{self, Gauge};
use crate::memory::Memory;
use crate::table::{Found, host_clock_ms};

/// One table as one worker sees it.
pub(crate) struct SharedTable {
    names: Names,
    detector: Option<Gauge>,
    staleness_limit_ns: u64,
    /// `None` without a change detector, or without randomness for its key.
    memory: Option<RefCell<Memory>>,
    /// No request is served when this moment of the monotonic clock has passed, unless a later one can be read.
    stale_after_ns: Cell<u64>,
    /// What was last read of it.
    clock: Cell<Clock>,
}

impl SharedTable {
    /// The view of a table; `detector` is the change detector's gauge.
    pub(crate) fn new(names: Names, detector: Option<Gauge>, staleness_limit_seconds: u64) -> Self {
        Self {
            names,
            detector,
            staleness_limit_ns: staleness_limit_seconds.saturating_mul(1_000_000_000),
            memory: detector.and_then(|_| host::random().ok()).map(|key| RefCell::new(Memory::new(key))),
            stale_after_ns: Cell::new(0),
            clock: Cell::default(),
        }
    }

    /// Re-reads since when the table ages and what time it is. Called on every tick, and by a request that finds the table stale.
    pub(crate) fn refresh_clock(&self) {
        let clock = host::shared_data(&self.names.clock()).ok().and_then(|shared| Clock::decode(&shared.value));
        let Some(clock) = clock else { return };
        self.clock.set(clock);
        // Zero: it was never current.
        if clock.current_at_ns > 0 {
            // The control plane counts on the limit that it was told, which may be another plugin's.
            let limit_ns = self.staleness_limit_ns.min(clock.limit_ns);
            self.stale_after_ns.set(clock.current_at_ns.saturating_add(limit_ns));
        }
    }

    /// The table's revision, and for how many seconds it has not been known to be the newest; `None` without one.
    pub(crate) fn state(&self, now_ns: u64) -> Option<(u64, u64)> {
        let position = self.head(self.change()).ok()?.position;
        Some((position.revision, now_ns.saturating_sub(self.clock.get().current_at_ns) / 1_000_000_000))
    }

    /// Whether the table is there and fresh.
    pub(crate) fn ensure_available(&self) -> Result<(), Reason> {
        self.head(self.change())?;
        self.fresh_at().map(|_| ())
    }

    /// See [`crate::table::Table::find`].
    pub(crate) fn find(&self, credentials: &Credentials<'_>) -> Result<Found, Reason> {
        // Read once, and before all that is remembered for it: what changes meanwhile is then remembered for a number that is gone.
        let change = self.change();
        let head = self.head(change)?;
        let at = self.fresh_at()?;
        let presented = credentials.sole()?;
        let fingerprint = self.with_memory(change, |memory| memory.fingerprint(presented)).flatten();
        let recalled =
            fingerprint.and_then(|fingerprint| self.with_memory(change, |memory| memory.recall(fingerprint)).flatten());
        if let Some(grant) = recalled {
            return Ok(Found { grant, at });
        }
        let digest = presented.digest().ok_or(Reason::MalformedCredential)?;
        let name = self.names.bucket(head.slot, head.bits.index(&digest));
        let bucket = host::shared_data(&name).map_err(|_| Reason::NoTable)?;
        let grant = bucket::find(&bucket.value, &digest).map_err(|_| Reason::NoTable)?.map(Rc::new);
        if let Some(fingerprint) = fingerprint {
            self.with_memory(change, |memory| memory.remember(fingerprint, grant.as_ref()));
        }
        Ok(Found { grant, at })
    }

    /// The moment of the monotonic clock, if the table is fresh.
    fn fresh_at(&self) -> Result<u64, Reason> {
        let now_ns = host::monotonic_ns().map_err(|_| Reason::StaleTable)?;
        if now_ns >= self.stale_after_ns.get() {
            self.refresh_clock();
        }
        if now_ns >= self.stale_after_ns.get() { Err(Reason::StaleTable) } else { Ok(now_ns) }
    }

    /// The time: the host's clock, unless the control plane's was already later.
    pub(crate) fn now(&self, now_ns: u64) -> UnixSeconds {
        UnixSeconds(host_clock_ms().max(self.clock.get().time_at(now_ns)) / 1000)
    }

    fn change(&self) -> u64 {
        self.detector.and_then(|gauge| gauge.get().ok()).unwrap_or(0)
    }

    fn head(&self, change: u64) -> Result<Head, Reason> {
        if let Some(head) = self.with_memory(change, |memory| memory.head).flatten() {
            return Ok(head);
        }
        let shared = host::shared_data(&self.names.head()).map_err(|_| Reason::NoTable)?;
        let head = Head::decode(&shared.value).ok_or(Reason::NoTable)?;
        self.with_memory(change, |memory| memory.head = Some(head));
        Ok(head)
    }

    /// Runs `action` on what is remembered at this change, after forgetting what was remembered at another.
    fn with_memory<T>(&self, change: u64, action: impl FnOnce(&mut Memory) -> T) -> Option<T> {
        if change == 0 {
            return None;
        }
        let mut memory = self.memory.as_ref()?.try_borrow_mut().ok()?;
        memory.move_to(change);
        Some(action(&mut memory))
    }
}
