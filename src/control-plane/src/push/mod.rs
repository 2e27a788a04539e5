//! Push: brings the compiled table to every proxy and knows what each of them has acknowledged.
//!
//! This module owns the table in memory ([`table`]), one session for each stream that a filter opens ([`stream`]), and who the
//! proxies are ([`registry`]). It never reads or writes storage, never sees a secret, and decides about no request. A proxy's table
//! is built only on what it provably holds: a position in this history; everything else gets a snapshot.
//!
//! One change, in order: the store commits it and calls [`Publisher::publish`]; [`table`] takes it in; every [`stream`] that waits
//! sends what its proxy lacks ([`delta`]); its Ack goes into [`registry`], where [`Publisher::acknowledged`] and, for a moment,
//! [`Publisher::arrived`] wait for it.

mod arrival;
mod delta;
mod guest;
mod hello;
mod identity;
mod message;
mod metrics;
mod moments;
mod registry;
mod service;
mod snapshot;
mod stream;
mod table;
mod usage;
mod window;
mod work;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use keygate_decision::{Digest, Grant};
use keygate_wire::records::Position;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use self::delta::Deltas;
pub(crate) use self::hello::STALENESS_LIMIT_SECONDS;
pub(crate) use self::identity::{Identity, Proof, TokenLookup, TokenStanding};
pub(crate) use self::metrics::Traffic;
use self::moments::Moments;
use self::registry::{Coverage, Registry};
use self::table::Table;
pub(crate) use self::table::{EncodedGrant, OutOfOrder};
pub(crate) use self::usage::UsageSink;
use crate::tls::Incoming;

/// The only table that a control plane has so far.
pub(crate) const TABLE: &str = "default";

/// What came before this start of the control plane.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The newest one.
    pub(crate) revision: u64,
    /// The former starts, in order.
    pub(crate) epochs: Vec<PastEpoch>,
    /// Which digests changed lately, by revision, ascending: all of them from some revision on. The oldest revision in it may be cut.
    pub(crate) changes: Vec<(u64, Digest)>,
    /// The proxies that may hold a table.
    pub(crate) proxies: Vec<KnownProxy>,
}

/// A former start of the control plane.
#[derive(Clone, Debug)]
pub(crate) struct PastEpoch {
    /// Its name.
    pub(crate) epoch: [u8; 16],
    /// Its last revision, on which the next epoch built.
    pub(crate) ended_at: u64,
}

/// What is remembered of a proxy across starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownProxy {
    /// Its configured name.
    pub(crate) name: String,
    /// After so many seconds without a word from the control plane it answers 503.
    pub(crate) staleness_limit_seconds: u64,
}

/// Stores a proxy durably; awaited before the proxy gets any of the table.
pub(crate) type ProxyRegister = Arc<dyn Fn(KnownProxy) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// Who is past a revision, and who is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// The proxies that have it in force on every worker, by name.
    pub(crate) acknowledged: Vec<String>,
    /// Those that have been without a stream for longer than their staleness limit, and answer 503 by now.
    pub(crate) closed: Vec<String>,
    /// All others.
    pub(crate) missing: Vec<String>,
}

/// What is known of a proxy now. Of several processes, what is said is true of all of them: the one furthest behind counts.
#[derive(Clone, Debug)]
pub(crate) struct ProxyStatus {
    /// Its configured name.
    pub(crate) name: String,
    /// By what its newest process has proved that name, since this control plane started.
    pub(crate) identity: Option<Identity>,
    /// A process of it has a stream open.
    pub(crate) connected: bool,
    /// Its processes that a wait covers, by age.
    pub(crate) processes: Vec<ProcessStatus>,
    /// What the process furthest behind last said its table holds, whatever the epoch.
    pub(crate) position: Option<Position>,
    /// The newest revision that all have in force, as far as they have said so since this control plane started.
    pub(crate) acknowledged: Option<u64>,
    /// For how long the oldest revision has been published that one has not acknowledged; zero if there is none.
    pub(crate) lag: Duration,
    /// When one last said anything.
    pub(crate) last_heard: Option<SystemTime>,
    /// How far the clock that differs most is ahead of this control plane's, in milliseconds.
    pub(crate) clock_offset_ms: Option<i64>,
    /// See [`KnownProxy::staleness_limit_seconds`]; the longest.
    pub(crate) staleness_limit_seconds: u64,
    /// It certainly answers 503, see [`Acknowledgement::closed`].
    pub(crate) closed: bool,
    /// Why a process last refused a message, if one did on its newest stream.
    pub(crate) last_refusal: Option<String>,
    /// What a process does not try, if there is anything.
    pub(crate) quarantined: Option<Quarantine>,
}

/// What is known of one process of a proxy now; see [`ProxyStatus`] for what the same fields mean.
#[derive(Clone, Debug)]
pub(crate) struct ProcessStatus {
    /// Its 16 random bytes; `None` for one that has not come back since this control plane started, if there is one.
    pub(crate) instance: Option<[u8; 16]>,
    /// By what it has proved its proxy's name.
    pub(crate) identity: Option<Identity>,
    /// It has a stream open.
    pub(crate) connected: bool,
    /// Since when it has been connected, or was connected last.
    pub(crate) since: Option<SystemTime>,
    /// Its filter's version; empty if unknown.
    pub(crate) filter_version: String,
    pub(crate) position: Option<Position>,
    pub(crate) acknowledged: Option<u64>,
    pub(crate) lag: Duration,
    pub(crate) last_heard: Option<SystemTime>,
    pub(crate) clock_offset_ms: Option<i64>,
    pub(crate) staleness_limit_seconds: u64,
    pub(crate) last_refusal: Option<String>,
    pub(crate) quarantined: Option<Quarantine>,
}

/// A message about the table that a process does not try, because workers died over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantine {
    /// The revision to which it leads.
    pub(crate) revision: u64,
    /// The filter's words.
    pub(crate) reason: String,
    /// When it was first said.
    pub(crate) since: SystemTime,
}

/// What came of [`Publisher::unregister`] and of [`Publisher::forget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// It did what it says.
    Done,
    /// It has a stream open, or has come back since, and stays: stop that Envoy first.
    Connected,
    /// No proxy of that name is known.
    Unknown,
}

/// See the module. Clones are the same publisher.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Shared>);

impl Publisher {
    /// A publisher of a table as it is at `history.revision`, in a fresh epoch.
    pub(crate) fn new(
        epoch: [u8; 16],
        history: History,
        table: Vec<(Digest, EncodedGrant)>,
        register: ProxyRegister,
        tokens: TokenLookup,
        usage: UsageSink,
    ) -> Self {
        Self::with_pace(epoch, history, table, register, tokens, usage, Pace::default())
    }

    fn with_pace(
        epoch: [u8; 16],
        history: History,
        table: Vec<(Digest, EncodedGrant)>,
        register: ProxyRegister,
        tokens: TokenLookup,
        usage: UsageSink,
        pace: Pace,
    ) -> Self {
        let History { revision, epochs, changes, proxies } = history;
        let now = Instant::now();
        Self(Arc::new(Shared {
            table: RwLock::new(Table::new(Position { epoch, revision }, epochs, changes, table)),
            published: watch::Sender::new(()),
            deltas: Mutex::new(Deltas::default()),
            moments: Mutex::new(Moments::new(revision, now)),
            registry: Arc::new(Registry::new(epoch, proxies, pace.comes_back, now)),
            register,
            tokens,
            usage,
            traffic: Traffic::default(),
            snapshots: Arc::new(Semaphore::new(pace.concurrent_snapshots)),
            stopping: watch::Sender::new(false),
            pace,
        }))
    }

    /// Takes a committed change in and pushes it. Called once for each revision, in order, also for one that changed no grant: a
    /// digest without a grant must no longer pass.
    ///
    /// # Errors
    /// If the revision is not newer than the table. Nothing can be published any more then: no proxy would get what storage holds.
    pub(crate) fn publish(&self, revision: u64, changes: Vec<(Digest, Option<Grant>)>) -> Result<(), OutOfOrder> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner).publish(revision, changes)?;
        lock(&self.0.moments).published(revision, Instant::now());
        self.0.published.send_replace(());
        Ok(())
    }

    /// Waits until every known proxy has the revision in force or is closed for certain, no longer than `timeout`. When the server
    /// stops, no more acknowledgements come in.
    pub(crate) async fn acknowledged(&self, revision: u64, timeout: Duration) -> Acknowledgement {
        const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
        let deadline = Instant::now() + timeout.min(LONGEST);
        let registry = &self.0.registry;
        let mut changed = registry.changed();
        let mut stopping = self.0.stopping.subscribe();
        // It is not over before this one is: looking at all of them whenever one of a thousand acknowledges would take longer than to
        // tell them.
        let mut awaited: Option<String> = None;
        loop {
            changed.mark_unchanged();
            let now = Instant::now();
            let over = now >= deadline || *stopping.borrow_and_update();
            let coverage = awaited.as_ref().filter(|_| !over).and_then(|name| registry.coverage(name, revision, now));
            let Some(Coverage::Missing(closing)) = coverage else {
                let mut acknowledgement = registry.assess(revision, now);
                if over || acknowledgement.missing.is_empty() {
                    return acknowledgement;
                }
                awaited = acknowledgement.missing.pop();
                continue;
            };
            tokio::select! {
                // These cannot fail: their senders live in what this publisher holds.
                _ = changed.changed() => {}
                _ = stopping.changed() => {}
                () = sleep_until(closing.map_or(deadline, |at| at.min(deadline))) => {}
            }
        }
    }

    /// All known proxies, by name.
    pub(crate) fn proxies(&self) -> Vec<ProxyStatus> {
        self.0.registry.statuses(&lock(&self.0.moments), Instant::now())
    }

    /// Where the table is and how many keys it holds.
    pub(crate) fn extent(&self) -> (Position, u64) {
        let table = self.0.table();
        (table.position(), table.keys())
    }

    /// What the push has counted.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Notes that storage is about to forget a proxy without a stream: should it come back, it has to be stored again.
    pub(crate) fn unregister(&self, name: &str) -> Forgotten {
        self.0.registry.unregister(name)
    }

    /// Stops counting a proxy that is gone for good, after [`Publisher::unregister`] and once storage has forgotten it.
    pub(crate) fn forget(&self, name: &str) -> Forgotten {
        self.0.registry.forget(name)
    }

    /// The processes of a connected proxy that waits cover although they cannot come back, because what they proved its name by is
    /// withdrawn, or they have nothing else.
    pub(crate) fn kept_out(&self, name: &str) -> Vec<Option<[u8; 16]>> {
        self.0.registry.kept_out(name)
    }

    /// Ends that waits cover these, as far as they still cannot come back, and another one is connected.
    pub(crate) fn forget_kept_out(&self, name: &str, instances: &[Option<[u8; 16]>]) {
        self.0.registry.forget_kept_out(name, instances);
    }

    /// Ends all streams that were opened with these join tokens of a proxy, once storage takes them for revoked.
    pub(crate) fn revoke(&self, proxy: &str, tokens: &[u64]) {
        tokens.iter().for_each(|token| self.0.registry.revoke(*token, proxy, Instant::now()));
    }

    /// Serves the sync protocol on these connections until `shutdown`, then ends all streams.
    ///
    /// # Errors
    /// If the server fails.
    pub(crate) async fn serve(
        self,
        incoming: Incoming,
        proof: Proof,
        shutdown: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<()> {
        service::serve(self.0, incoming, proof, shutdown).await
    }
}

/// What all streams share.
struct Shared {
    table: RwLock<Table>,
    /// Wakes the streams when the table has changed.
    published: watch::Sender<()>,
    deltas: Mutex<Deltas>,
    moments: Mutex<Moments>,
    registry: Arc<Registry>,
    register: ProxyRegister,
    tokens: TokenLookup,
    usage: UsageSink,
    traffic: Traffic,
    /// One permit for each snapshot that may be under way.
    snapshots: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    pace: Pace,
}

impl Shared {
    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The protocol's times and bounds. Only tests use others than the default.
#[derive(Clone, Copy)]
struct Pace {
    heartbeat: Duration,
    /// A filter that leaves a message unanswered for so long is gone.
    silence: Duration,
    /// On average messages about the table come no faster to a proxy that could not have answered yet. A worker takes half as long for one.
    message: Duration,
    /// So long may a stream stay open without a Hello.
    hello: Duration,
    /// So long may a connection stay open on which nobody proves a name. Longer than a stream may without a Hello.
    proof: Duration,
    /// What a snapshot waits after the first, second ... refusal in a row; the last one counts for all further ones.
    after_refusals: [Duration; 4],
    concurrent_snapshots: usize,
    /// A process that still runs is back this long after it was cut off, or after the control plane could be reached again. Longer than
    /// an attempt that nobody answers (Envoy gives up after 5 seconds), a filter's longest pause before the next (2.9) and connecting.
    comes_back: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(10),
            message: Duration::from_micros(500),
            hello: Duration::from_secs(10),
            proof: Duration::from_secs(20),
            after_refusals: [1, 2, 5, 30].map(Duration::from_secs),
            concurrent_snapshots: 16,
            comes_back: Duration::from_secs(9),
        }
    }
}

/// Nothing in this module panics while it holds a lock, so what a poisoned one guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
