//! A stream's hold on its proxy's name: what its session tells the registry of its process. It knows no other process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use keygate_wire::records::Position;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::{KnownProxy, Quarantine, lock};
use super::Registry;
use super::process::Process;

/// A stream's hold on its proxy's name, given back when dropped.
pub(in crate::push) struct Claim {
    pub(super) registry: Arc<Registry>,
    /// With the longest limit of all its processes.
    pub(super) proxy: KnownProxy,
    pub(super) limit_seconds: u64,
    pub(super) stream: u64,
    pub(super) unregistered: bool,
    pub(super) replaced: Option<oneshot::Receiver<Infallible>>,
}

impl Claim {
    /// The proxy's name.
    pub(in crate::push) fn name(&self) -> &str {
        &self.proxy.name
    }

    /// The proxy, if it has to be stored durably before it gets any of the table.
    pub(in crate::push) fn unregistered(&self) -> Option<&KnownProxy> {
        self.unregistered.then_some(&self.proxy)
    }

    /// The proxy is stored durably.
    pub(in crate::push) fn registered(&mut self) {
        self.unregistered = false;
        let (stored, own) = (self.proxy.staleness_limit_seconds, self.limit_seconds);
        self.registry.update(&self.proxy.name, self.stream, |process, registered_seconds| {
            *registered_seconds = Some(stored);
            process.staleness_limit_seconds = own;
            true
        });
    }

    /// Resolves once another stream has taken over. To be taken once.
    pub(in crate::push) fn replaced(&mut self) -> Option<oneshot::Receiver<Infallible>> {
        self.replaced.take()
    }

    /// The process said something.
    pub(in crate::push) fn heard(&self, at: SystemTime) {
        self.note(|process| {
            process.since.get_or_insert(at);
            process.last_heard = Some(at);
        });
    }

    /// The process's clock is so many milliseconds ahead.
    pub(in crate::push) fn clock_is_off(&self, offset_ms: i64) {
        self.note(|process| process.clock_offset_ms = Some(offset_ms));
    }

    /// Everything up to a position is in force on every worker of the process.
    pub(in crate::push) fn acknowledge(&self, position: Position) {
        let epoch = self.registry.epoch;
        self.registry.update(&self.proxy.name, self.stream, |process, _| {
            process.position = Some(position);
            // Revisions of another epoch may count what never happened on this line.
            let news = position.epoch == epoch && process.acknowledged != Some(position.revision);
            if news {
                process.acknowledged = Some(position.revision);
            }
            news
        });
    }

    /// The process refused a message.
    pub(in crate::push) fn refused(&self, reason: String) {
        self.note(|process| process.last_refusal = Some(reason));
    }

    /// The process does not even try messages about the table, or does again.
    pub(in crate::push) fn quarantined(&self, quarantine: Option<Quarantine>) {
        self.note(|process| {
            // Each refusal of the same revision repeats it; it began with the first.
            let same = |known: &Quarantine| quarantine.as_ref().is_some_and(|new| new.revision == known.revision);
            if !process.quarantined.as_ref().is_some_and(same) {
                process.quarantined = quarantine;
            }
        });
    }

    /// Notes what no assessment depends on.
    fn note(&self, change: impl FnOnce(&mut Process)) {
        self.registry.update(&self.proxy.name, self.stream, |process, _| {
            change(process);
            false
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(proxy) = lock(&self.registry.state).proxies.get_mut(&self.proxy.name) {
            // What this process's stream has made a former one must not count again because it ends.
            proxy.forget_former(self.registry.comes_back, now);
        }
        self.registry.update(&self.proxy.name, self.stream, |process, _| {
            process.disconnect(now);
            true
        });
    }
}
