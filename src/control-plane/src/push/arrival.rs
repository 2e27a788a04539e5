//! Short waits for what was just changed to arrive where it is used: clients that know nothing of proxies use a key the moment that they
//! have it. It promises nothing: who must know waits with [`Publisher::acknowledged`].

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Publisher;

impl Publisher {
    /// Waits until every process that follows has in force what is published now, no longer than `timeout`. One that is away, has no
    /// table yet or refuses its messages is not waited for.
    pub(crate) async fn arrived(&self, timeout: Duration) {
        let revision = self.extent().0.revision;
        let deadline = Instant::now() + timeout;
        let mut changed = self.0.registry.changed();
        // Looking at all of them whenever one of many acknowledges would take longer than to tell them.
        let mut awaited = None;
        loop {
            changed.mark_unchanged();
            awaited = self.0.registry.follower_behind(revision, awaited);
            if awaited.is_none() {
                return;
            }
            tokio::select! {
                // This cannot fail: the sender lives in what this publisher holds.
                _ = changed.changed() => {}
                () = sleep_until(deadline) => return,
            }
        }
    }
}
