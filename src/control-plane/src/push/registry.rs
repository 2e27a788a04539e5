//! Who the proxies are: which of their Envoy processes has a stream, what each has acknowledged, and from when on one without a stream
//! need not be waited for. A proxy is a name. Two processes of it may have a stream at a time: the old and the new one of a hot restart,
//! or two layouts of the filter side by side in one Envoy, each of which counts as a process of its own.
//!
//! The registry sends nothing and stores nothing. What it does not know for certain counts as missing: a process that goes is waited
//! for until it certainly answers 503, or until a namesake has been there for so long that it would be back if it still ran.

mod claim;
mod process;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

pub(super) use self::claim::Claim;
use self::process::{Process, Stream};
use super::hello::Hello;
use super::identity::Revocations;
use super::moments::Moments;
use super::{Acknowledgement, Forgotten, Identity, KnownProxy, ProxyStatus, lock};

/// So many processes of a proxy may have a stream at a time.
const CONCURRENT_PROCESSES: usize = 2;
/// So many that are gone are told apart; a proxy that starts ever again must not fill the memory.
const FORMER_PROCESSES: usize = 16;

/// See the module.
pub(super) struct Registry {
    epoch: [u8; 16],
    /// Whoever runs and can reach this control plane is back within this time.
    comes_back: Duration,
    /// Which join tokens no stream stands on any longer.
    pub(super) revocations: Revocations,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    proxies: BTreeMap<String, Proxy>,
    streams: u64,
}

#[derive(Default)]
struct Proxy {
    /// The limit that is stored durably, if there is one and none is about to take its place.
    registered_seconds: Option<u64>,
    /// By age, never empty.
    processes: Vec<Process>,
}

/// What is known of a proxy and a revision.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// Every process that counts has it in force.
    Acknowledged,
    /// All processes certainly answer 503.
    Closed,
    /// Neither; that may change by itself at this time.
    Missing(Option<Instant>),
}

/// Why a stream is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("two other Envoy processes have a stream open under this name: give each Envoy its own \"proxy\" name")]
    NameTaken,
    #[error("a worker with a higher fence has a stream open: this one has lost its lease")]
    LowerFence,
}

impl Registry {
    /// All known proxies, none of which has a stream yet. Whoever runs is back `comes_back` after a namesake at the latest.
    pub(super) fn new(epoch: [u8; 16], known: Vec<KnownProxy>, comes_back: Duration, now: Instant) -> Self {
        let proxies = known.into_iter().map(|KnownProxy { name, staleness_limit_seconds: limit }| {
            let proxy = Proxy { registered_seconds: Some(limit), processes: vec![Process::gone(None, limit, now)] };
            (name, proxy)
        });
        let state = State { proxies: proxies.collect(), streams: 0 };
        Self { epoch, comes_back, revocations: Revocations::new(), state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    /// Gives a new stream its place under its proxy's name, which it has proved, and ends the stream of the same process that it
    /// replaces.
    pub(super) fn claim(self: &Arc<Self>, hello: &Hello, identity: Identity, now: Instant) -> Result<Claim, Refused> {
        let mut state = lock(&self.state);
        state.streams += 1;
        let id = state.streams;
        let KnownProxy { name, staleness_limit_seconds: limit } = &hello.proxy;
        let proxy = state.proxies.entry(name.clone()).or_default();
        proxy.forget_former(self.comes_back, now);
        // A name that is refused has processes, and was known before.
        proxy.may_open(hello)?;
        let own = Some(hello.instance);
        let others = proxy.processes.iter().filter(|process| process.instance != own);
        let longest = others.map(|process| process.staleness_limit_seconds).fold(*limit, u64::max);
        let unregistered = proxy.registered_seconds != Some(longest);
        if unregistered {
            // Whoever comes before this one is stored must not rely on what it takes the place of.
            proxy.registered_seconds = None;
        }
        let process = proxy.process(hello.instance, *limit, now);
        // Until the new limit is stored the longer one counts, see `registered`.
        let former_limit = if unregistered { process.staleness_limit_seconds } else { 0 };
        process.staleness_limit_seconds = former_limit.max(*limit);
        let (in_charge, replaced) = oneshot::channel();
        process.connect(Stream { id, fence: hello.fence, _in_charge: in_charge }, now);
        process.identity = Some(identity);
        // It may have been looked up before.
        process.kept_out = self.revocations.include(identity);
        process.filter_version.clone_from(&hello.filter_version);
        process.position = hello.base.map(|base| base.position);
        process.last_refusal = None;
        let known = KnownProxy { name: name.clone(), staleness_limit_seconds: longest };
        drop(state);
        self.changed.send_replace(());
        let registry = self.clone();
        Ok(Claim { registry, proxy: known, limit_seconds: *limit, stream: id, unregistered, replaced: Some(replaced) })
    }

    /// Ends all streams that were opened with this join token of a proxy. No process comes back which has proved its name by it, nor may
    /// one that is only known to be possible: the token may be its own.
    pub(super) fn revoke(&self, token: u64, proxy: &str, now: Instant) {
        let identity = Some(Identity::Token(token));
        let mut state = lock(&self.state);
        if let Some(proxy) = state.proxies.get_mut(proxy) {
            // Whoever is taken for ended by now has ended.
            proxy.forget_former(self.comes_back, now);
            for process in &mut proxy.processes {
                process.kept_out |= process.identity == identity || process.instance.is_none();
            }
        }
        // While nobody else looks: who ends for this reason is not taken for ended because a namesake is there and it is not.
        self.revocations.add(token);
        drop(state);
        self.changed.send_replace(());
    }

    /// A process that is known cannot prove its proxy's name any more. It may go on; that it does not come back says nothing. Who only says
    /// that it is this process achieves that it is waited for.
    pub(super) fn keep_out(&self, hello: &Hello) {
        self.with_process(hello, |process| process.kept_out = true);
    }

    /// A process has been heard that could not be let in this time: if it is known, the time in which it would be back begins anew.
    pub(super) fn still_runs(&self, hello: &Hello, now: Instant) {
        self.with_process(hello, |process| process.still_runs(now));
    }

    fn with_process(&self, hello: &Hello, change: impl FnOnce(&mut Process)) {
        let mut state = lock(&self.state);
        let processes = state.proxies.get_mut(&hello.proxy.name).map(|proxy| &mut proxy.processes);
        let process = processes.and_then(|all| all.iter_mut().find(|process| process.instance == Some(hello.instance)));
        if let Some(process) = process {
            change(process);
        }
    }

    /// The processes of a connected proxy that waits cover although they cannot come back, by their instances.
    pub(super) fn kept_out(&self, name: &str) -> Vec<Option<[u8; 16]>> {
        let state = lock(&self.state);
        let processes = state.proxies.get(name).filter(|proxy| proxy.is_connected()).map(|proxy| &proxy.processes);
        let kept_out = processes.into_iter().flatten().filter(|process| process.is_kept_out());
        kept_out.map(|process| process.instance).collect()
    }

    /// Ends that waits cover these, as far as they still cannot come back, and another one is connected.
    pub(super) fn forget_kept_out(&self, name: &str, instances: &[Option<[u8; 16]>]) {
        if let Some(proxy) = lock(&self.state).proxies.get_mut(name).filter(|proxy| proxy.is_connected()) {
            proxy.processes.retain(|process| !(process.is_kept_out() && instances.contains(&process.instance)));
        }
        self.changed.send_replace(());
    }

    /// What is known of a revision.
    pub(super) fn assess(&self, revision: u64, now: Instant) -> Acknowledgement {
        let mut found = Acknowledgement::default();
        for (name, proxy) in &mut lock(&self.state).proxies {
            proxy.forget_former(self.comes_back, now);
            match proxy.coverage(revision, self.comes_back, now) {
                Coverage::Acknowledged => found.acknowledged.push(name.clone()),
                Coverage::Closed => found.closed.push(name.clone()),
                Coverage::Missing(_) => found.missing.push(name.clone()),
            }
        }
        found
    }

    /// What is known of one proxy and a revision; nothing if nobody knows the proxy.
    pub(super) fn coverage(&self, name: &str, revision: u64, now: Instant) -> Option<Coverage> {
        let mut state = lock(&self.state);
        let proxy = state.proxies.get_mut(name)?;
        proxy.forget_former(self.comes_back, now);
        Some(proxy.coverage(revision, self.comes_back, now))
    }

    /// Wakes whenever [`Registry::assess`] may answer something else.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// A proxy that follows and has not acknowledged a revision: this one, as long as it is such a one.
    pub(super) fn follower_behind(&self, revision: u64, rather: Option<String>) -> Option<String> {
        let state = lock(&self.state);
        let is_behind = |proxy: &Proxy| {
            let follows = |process: &&Process| process.stream().is_some() && process.quarantined.is_none();
            let mut acknowledged = proxy.processes.iter().filter(follows).filter_map(|process| process.acknowledged);
            acknowledged.any(|acknowledged| acknowledged < revision)
        };
        let rather = rather.filter(|name| state.proxies.get(name).is_some_and(is_behind));
        rather.or_else(|| state.proxies.iter().find(|(_, proxy)| is_behind(proxy)).map(|(name, _)| name.clone()))
    }

    /// All proxies, by name.
    pub(super) fn statuses(&self, published: &Moments, now: Instant) -> Vec<ProxyStatus> {
        let mut state = lock(&self.state);
        let status = |(name, proxy): (&String, &mut Proxy)| {
            proxy.forget_former(self.comes_back, now);
            let closed = matches!(proxy.coverage(u64::MAX, self.comes_back, now), Coverage::Closed);
            status::proxy(name, &proxy.processes, closed, published, now)
        };
        state.proxies.iter_mut().map(status).collect()
    }

    /// See [`super::Publisher::unregister`].
    pub(super) fn unregister(&self, name: &str) -> Forgotten {
        match lock(&self.state).proxies.get_mut(name) {
            None => Forgotten::Unknown,
            Some(proxy) if proxy.is_connected() => Forgotten::Connected,
            Some(proxy) => {
                proxy.registered_seconds = None;
                Forgotten::Done
            }
        }
    }

    /// See [`super::Publisher::forget`].
    pub(super) fn forget(&self, name: &str) -> Forgotten {
        let mut state = lock(&self.state);
        match state.proxies.get(name) {
            None => return Forgotten::Unknown,
            Some(proxy) if proxy.is_connected() || proxy.registered_seconds.is_some() => return Forgotten::Connected,
            Some(_) => state.proxies.remove(name),
        };
        drop(state);
        self.changed.send_replace(());
        Forgotten::Done
    }

    /// Changes a process, and the limit that is stored for its proxy, as long as the stream is in charge of it; the change says whether
    /// an assessment may come out otherwise.
    fn update(&self, name: &str, stream: u64, change: impl FnOnce(&mut Process, &mut Option<u64>) -> bool) {
        let mut state = lock(&self.state);
        let matters = state.proxies.get_mut(name).is_some_and(|Proxy { processes, registered_seconds }| {
            let process = processes.iter_mut().find(|process| process.stream().is_some_and(|open| open.id == stream));
            process.is_some_and(|process| change(process, registered_seconds))
        });
        drop(state);
        if matters {
            self.changed.send_replace(());
        }
    }
}

impl Proxy {
    fn is_connected(&self) -> bool {
        self.connected_since().is_some()
    }

    /// Since when a process has had a stream without a gap, the one that has had it longest.
    fn connected_since(&self) -> Option<Instant> {
        self.processes.iter().filter_map(Process::connected_since).min()
    }

    fn may_open(&self, hello: &Hello) -> Result<(), Refused> {
        let (own, others): (Vec<_>, Vec<_>) = self.processes.iter().partition(|process| process.instance == Some(hello.instance));
        if own.iter().filter_map(|process| process.stream()).any(|open| hello.fence < open.fence) {
            return Err(Refused::LowerFence);
        }
        let taken = others.iter().filter(|process| process.stream().is_some()).count();
        if taken < CONCURRENT_PROCESSES { Ok(()) } else { Err(Refused::NameTaken) }
    }

    /// The process with an instance, which may be new.
    fn process(&mut self, instance: [u8; 16], staleness_limit_seconds: u64, now: Instant) -> &mut Process {
        let index = self.processes.iter().position(|process| process.instance == Some(instance)).unwrap_or_else(|| {
            self.unite_former();
            self.processes.push(Process::gone(Some(instance), staleness_limit_seconds, now));
            self.processes.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the index was found, or is that of what was pushed")]
        &mut self.processes[index]
    }

    /// Forgets the processes that would be back by now if they still ran.
    fn forget_former(&mut self, comes_back: Duration, now: Instant) {
        let Some(since) = self.connected_since() else { return };
        self.processes.retain(|process| process.leaves(Some(since), comes_back).is_none_or(|at| at > now));
    }

    /// Counts the oldest of too many processes that are gone as one.
    fn unite_former(&mut self) {
        let gone = |process: &Process| process.stream().is_none();
        if self.processes.iter().filter(|process| gone(process)).count() < FORMER_PROCESSES {
            return;
        }
        if let Some(index) = self.processes.iter().position(gone) {
            let oldest = self.processes.remove(index);
            if let Some(next) = self.processes.iter_mut().find(|process| gone(process)) {
                next.absorb(&oldest);
            }
        }
    }

    fn coverage(&self, revision: u64, comes_back: Duration, now: Instant) -> Coverage {
        let namesake_since = self.connected_since();
        let is_missing = |process: &&Process| process.acknowledged.is_none_or(|acknowledged| acknowledged < revision);
        let leaving = self.processes.iter().filter(is_missing).map(|process| process.leaves(namesake_since, comes_back));
        let (left, missing): (Vec<_>, Vec<_>) = leaving.partition(|at| at.is_some_and(|at| at <= now));
        if !missing.is_empty() {
            Coverage::Missing(missing.into_iter().flatten().min())
        } else if left.len() == self.processes.len() {
            Coverage::Closed
        } else {
            Coverage::Acknowledged
        }
    }
}

#[cfg(test)]
mod tests;
