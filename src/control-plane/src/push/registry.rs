//! Who the proxies are: which of them has a stream, what each has acknowledged, and from when on one without a stream is certain to
//! answer 503. A proxy is a name; a new Envoy process under it replaces the former one once that one's stream has ended.
//!
//! The registry sends nothing and stores nothing. What it does not know for certain counts as missing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use keygate_wire::records::Position;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::hello::Hello;
use super::{Acknowledgement, Forgotten, Identity, KnownProxy, ProxyStatus, lock};

/// Added to a staleness limit, for clocks that do not tick alike and for what was still under way when the stream ended: a filter takes
/// a message at most as late as it tolerates silence, twice in a row at the worst.
const CLOSING_MARGIN: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Registry {
    epoch: [u8; 16],
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    proxies: BTreeMap<String, Proxy>,
    streams: u64,
}

struct Proxy {
    staleness_limit_seconds: u64,
    /// The limit that is stored durably, if it is.
    registered_seconds: Option<u64>,
    identity: Option<Identity>,
    instance: Option<[u8; 16]>,
    stream: Option<Stream>,
    /// When the last stream ended; the start of the control plane if there was none since.
    ended_at: Instant,
    position: Option<Position>,
    acknowledged: Option<u64>,
    last_heard: Option<SystemTime>,
    last_refusal: Option<String>,
}

struct Stream {
    id: u64,
    fence: u64,
    /// Dropped when another stream takes over.
    _in_charge: oneshot::Sender<Infallible>,
}

/// Why a stream is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("another Envoy process has a stream open under this name: give each Envoy its own \"proxy\" name")]
    NameTaken,
    #[error("a worker with a higher fence has a stream open: this one has lost its lease")]
    LowerFence,
}

impl Registry {
    /// All known proxies, none of which has a stream yet.
    pub(super) fn new(epoch: [u8; 16], known: Vec<KnownProxy>, now: Instant) -> Self {
        let proxies = known.into_iter().map(|known| {
            let mut proxy = Proxy::new(known.staleness_limit_seconds, now);
            proxy.registered_seconds = Some(known.staleness_limit_seconds);
            (known.name, proxy)
        });
        let state = State { proxies: proxies.collect(), streams: 0 };
        Self { epoch, state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    /// Gives a new stream its proxy's name, and ends the stream that it replaces.
    pub(super) fn claim(self: &Arc<Self>, hello: &Hello, now: Instant) -> Result<Claim, Refused> {
        let mut state = lock(&self.state);
        state.streams += 1;
        let id = state.streams;
        let known = &hello.proxy;
        let proxy = state.proxies.entry(known.name.clone()).or_insert_with(|| Proxy::new(known.staleness_limit_seconds, now));
        if let Some(open) = &proxy.stream {
            if proxy.instance != Some(hello.instance) {
                return Err(Refused::NameTaken);
            }
            if hello.fence < open.fence {
                return Err(Refused::LowerFence);
            }
        }
        if proxy.instance.replace(hello.instance) != Some(hello.instance) {
            proxy.acknowledged = None;
        }
        proxy.position = hello.base.map(|base| base.position);
        proxy.last_refusal = None;
        // Until the new limit is stored the longer one counts, see `registered`.
        proxy.staleness_limit_seconds = proxy.staleness_limit_seconds.max(known.staleness_limit_seconds);
        let (in_charge, replaced) = oneshot::channel();
        proxy.stream = Some(Stream { id, fence: hello.fence, _in_charge: in_charge });
        let unregistered = proxy.registered_seconds != Some(known.staleness_limit_seconds);
        drop(state);
        self.changed.send_replace(());
        Ok(Claim { registry: self.clone(), proxy: known.clone(), stream: id, unregistered, replaced: Some(replaced) })
    }

    /// What is known of a revision, and when the next proxy that is missing will be closed for certain.
    pub(super) fn assess(&self, revision: u64, now: Instant) -> (Acknowledgement, Option<Instant>) {
        let mut found = Acknowledgement::default();
        let mut next_closing: Option<Instant> = None;
        for (name, proxy) in &lock(&self.state).proxies {
            let closing = proxy.closed_from();
            if proxy.acknowledged.is_some_and(|acknowledged| acknowledged >= revision) {
                found.acknowledged.push(name.clone());
            } else if closing.is_some_and(|at| at <= now) {
                found.closed.push(name.clone());
            } else {
                found.missing.push(name.clone());
                next_closing = closing.into_iter().chain(next_closing).min();
            }
        }
        (found, next_closing)
    }

    /// Wakes whenever [`Registry::assess`] may answer something else.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// All proxies, by name.
    pub(super) fn statuses(&self, now: Instant) -> Vec<ProxyStatus> {
        let state = lock(&self.state);
        let status = |(name, proxy): (&String, &Proxy)| ProxyStatus {
            name: name.clone(),
            identity: proxy.identity,
            connected: proxy.stream.is_some(),
            position: proxy.position,
            acknowledged: proxy.acknowledged,
            last_heard: proxy.last_heard,
            staleness_limit_seconds: proxy.staleness_limit_seconds,
            closed: proxy.closed_from().is_some_and(|at| at <= now),
            last_refusal: proxy.last_refusal.clone(),
        };
        state.proxies.iter().map(status).collect()
    }

    /// See [`super::Publisher::unregister`].
    pub(super) fn unregister(&self, name: &str) -> Forgotten {
        match lock(&self.state).proxies.get_mut(name) {
            None => Forgotten::Unknown,
            Some(proxy) if proxy.stream.is_some() => Forgotten::Connected,
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
            Some(proxy) if proxy.stream.is_some() || proxy.registered_seconds.is_some() => return Forgotten::Connected,
            Some(_) => state.proxies.remove(name),
        };
        drop(state);
        self.changed.send_replace(());
        Forgotten::Done
    }

    /// Changes a proxy as long as the stream is in charge of it; the change says whether an assessment may come out otherwise.
    fn update(&self, name: &str, stream: u64, change: impl FnOnce(&mut Proxy) -> bool) {
        let mut state = lock(&self.state);
        let in_charge = |proxy: &&mut Proxy| proxy.stream.as_ref().is_some_and(|open| open.id == stream);
        let matters = state.proxies.get_mut(name).filter(in_charge).is_some_and(change);
        drop(state);
        if matters {
            self.changed.send_replace(());
        }
    }
}

impl Proxy {
    fn new(staleness_limit_seconds: u64, now: Instant) -> Self {
        Self {
            staleness_limit_seconds,
            registered_seconds: None,
            identity: None,
            instance: None,
            stream: None,
            ended_at: now,
            position: None,
            acknowledged: None,
            last_heard: None,
            last_refusal: None,
        }
    }

    /// From when on it certainly answers 503; never as long as it has a stream.
    fn closed_from(&self) -> Option<Instant> {
        if self.stream.is_some() {
            return None;
        }
        self.ended_at.checked_add(Duration::from_secs(self.staleness_limit_seconds))?.checked_add(CLOSING_MARGIN)
    }
}

/// A stream's hold on its proxy's name, given back when dropped.
pub(super) struct Claim {
    registry: Arc<Registry>,
    proxy: KnownProxy,
    stream: u64,
    unregistered: bool,
    replaced: Option<oneshot::Receiver<Infallible>>,
}

impl Claim {
    /// The proxy's name.
    pub(super) fn name(&self) -> &str {
        &self.proxy.name
    }

    /// The proxy has proved its name by this.
    pub(super) fn proved(&self, identity: Identity) {
        self.registry.update(&self.proxy.name, self.stream, |proxy| {
            proxy.identity = Some(identity);
            false
        });
    }

    /// The proxy, if it has to be stored durably before it gets any of the table.
    pub(super) fn unregistered(&self) -> Option<&KnownProxy> {
        self.unregistered.then_some(&self.proxy)
    }

    /// The proxy is stored durably.
    pub(super) fn registered(&mut self) {
        self.unregistered = false;
        let seconds = self.proxy.staleness_limit_seconds;
        self.registry.update(&self.proxy.name, self.stream, |proxy| {
            proxy.registered_seconds = Some(seconds);
            proxy.staleness_limit_seconds = seconds;
            true
        });
    }

    /// Resolves once another stream has taken over. To be taken once.
    pub(super) fn replaced(&mut self) -> Option<oneshot::Receiver<Infallible>> {
        self.replaced.take()
    }

    /// The proxy said something.
    pub(super) fn heard(&self, at: SystemTime) {
        self.registry.update(&self.proxy.name, self.stream, |proxy| {
            proxy.last_heard = Some(at);
            false
        });
    }

    /// Everything up to a position is in force on every worker of the proxy.
    pub(super) fn acknowledge(&self, position: Position) {
        let epoch = self.registry.epoch;
        self.registry.update(&self.proxy.name, self.stream, |proxy| {
            proxy.position = Some(position);
            // Revisions of another epoch may count what never happened on this line.
            let news = position.epoch == epoch && proxy.acknowledged != Some(position.revision);
            if news {
                proxy.acknowledged = Some(position.revision);
            }
            news
        });
    }

    /// The proxy refused a message.
    pub(super) fn refused(&self, reason: String) {
        self.registry.update(&self.proxy.name, self.stream, |proxy| {
            proxy.last_refusal = Some(reason);
            false
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.registry.update(&self.proxy.name, self.stream, |proxy| {
            proxy.stream = None;
            proxy.ended_at = Instant::now();
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::tests::filter::hello;
    use crate::push::tests::found;

    const EPOCH: [u8; 16] = [7; 16];

    fn registry(known: &[&str]) -> Arc<Registry> {
        let known = known.iter().map(|name| KnownProxy { name: (*name).to_owned(), staleness_limit_seconds: 3600 });
        Arc::new(Registry::new(EPOCH, known.collect(), Instant::now()))
    }

    fn claim(registry: &Arc<Registry>, name: &str, instance: u8, fence: u64) -> Result<Claim, Refused> {
        let mut hello = hello(name, instance);
        hello.fence = fence;
        registry.claim(&Hello::parse(hello).unwrap(), Instant::now())
    }

    fn at(revision: u64) -> Position {
        Position { epoch: EPOCH, revision }
    }

    #[test]
    fn a_proxy_counts_until_it_is_closed_for_certain() {
        let registry = registry(&["a", "b"]);
        let start = Instant::now();
        let assess = |revision, seconds| registry.assess(revision, start + Duration::from_secs(seconds));
        let (answer, closing) = assess(1, 3600);
        assert_eq!(answer, found(&[], &[], &["a", "b"]));
        assert!(closing.is_some_and(|at| at <= start + Duration::from_secs(3630)));
        assert_eq!(assess(1, 3631).0, found(&[], &["a", "b"], &[]));

        let a = claim(&registry, "a", 1, 1).ok().unwrap();
        a.acknowledge(at(5));
        assert_eq!(assess(5, 4000).0, found(&["a"], &["b"], &[]));
        // With a stream open nothing but an Ack counts, however long it takes.
        assert_eq!(assess(6, 1_000_000), (found(&[], &["b"], &["a"]), None));
        drop(a);
        // What it has acknowledged stays in force without a stream.
        assert_eq!(assess(5, 1).0.acknowledged, ["a"]);
        assert_eq!(assess(6, 3600).0.missing, ["a", "b"]);
        assert_eq!(assess(6, 3700).0.closed, ["a", "b"]);
    }

    #[test]
    fn only_revisions_of_this_epoch_count() {
        let registry = registry(&[]);
        let a = claim(&registry, "a", 1, 1).ok().unwrap();
        a.acknowledge(Position { epoch: [6; 16], revision: 9 });
        assert_eq!(registry.assess(1, Instant::now()).0.missing, ["a"]);
        a.acknowledge(at(1));
        assert_eq!(registry.assess(1, Instant::now()).0.acknowledged, ["a"]);
        drop(a);
        // A new process under the name starts from nothing.
        let a = claim(&registry, "a", 2, 1).ok().unwrap();
        assert_eq!(registry.assess(1, Instant::now()).0.missing, ["a"]);
        drop(a);
    }

    #[test]
    fn a_name_has_one_stream_of_one_process() {
        let registry = registry(&[]);
        let mut first = claim(&registry, "a", 1, 5).ok().unwrap();
        assert_eq!(claim(&registry, "a", 1, 4).err(), Some(Refused::LowerFence));
        assert_eq!(claim(&registry, "a", 2, 9).err(), Some(Refused::NameTaken));
        let second = claim(&registry, "a", 1, 5).ok().unwrap();
        assert!(first.replaced().is_some_and(|mut replaced| replaced.try_recv() == Err(oneshot::error::TryRecvError::Closed)));
        // The replaced stream has no say any more, not even by its end.
        first.acknowledge(at(1));
        drop(first);
        assert!(registry.statuses(Instant::now()).iter().all(|status| status.connected && status.acknowledged.is_none()));
        drop(second);
        assert!(claim(&registry, "a", 2, 1).is_ok());
    }

    #[test]
    fn only_a_proxy_without_a_stream_can_be_forgotten() {
        let registry = registry(&["a"]);
        let mut changed = registry.changed();
        changed.mark_unchanged();
        assert_eq!((registry.unregister("b"), registry.forget("b")), (Forgotten::Unknown, Forgotten::Unknown));
        let a = claim(&registry, "a", 1, 1).ok().unwrap();
        assert_eq!(registry.unregister("a"), Forgotten::Connected);
        drop(a);
        assert_eq!(registry.unregister("a"), Forgotten::Done);
        assert_eq!(registry.assess(1, Instant::now()).0.missing, ["a"], "storage may still fail to forget it");
        // It comes back, is stored again, gets a table and leaves.
        let mut a = claim(&registry, "a", 1, 2).ok().unwrap();
        assert!(a.unregistered().is_some());
        assert_eq!(registry.forget("a"), Forgotten::Connected);
        a.registered();
        drop(a);
        assert_eq!(registry.forget("a"), Forgotten::Connected);
        assert_eq!((registry.unregister("a"), registry.forget("a")), (Forgotten::Done, Forgotten::Done));
        assert!(changed.has_changed().unwrap() && registry.statuses(Instant::now()).is_empty());
    }

    #[test]
    fn a_limit_counts_as_the_longer_one_until_it_is_stored() {
        let registry = registry(&["a"]);
        let limit = |seconds| KnownProxy { name: "a".to_owned(), staleness_limit_seconds: seconds };
        let claim = |seconds| {
            let hello = Hello { proxy: limit(seconds), ..Hello::parse(hello("a", 1)).unwrap() };
            registry.claim(&hello, Instant::now()).ok().unwrap()
        };
        let stored = || registry.statuses(Instant::now())[0].staleness_limit_seconds;
        assert_eq!(claim(3600).unregistered(), None);
        assert_eq!(claim(60).unregistered(), Some(&limit(60)));
        assert_eq!(stored(), 3600);
        claim(60).registered();
        assert_eq!(stored(), 60);
        assert_eq!(claim(60).unregistered(), None);
        drop(claim(7200));
        assert_eq!(stored(), 7200);
    }
}
