//! Push as a whole: the real server on a loopback port, simulated filters at its other end.

pub(crate) mod filter;
mod refusals;
mod sessions;
mod strangers;
mod tables;
mod usage;
mod waits;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keygate_decision::{AccountId, Digest, Grant, Holder, KeyId, Reach};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::tls::Incoming;

const EPOCH: [u8; 16] = [1; 16];

/// Any digest; they are spread over all buckets.
pub(super) fn digest(n: u64) -> Digest {
    Digest::of(&n.to_string())
}

/// Any grant.
pub(super) fn grant(n: u64) -> Grant {
    Grant {
        key: KeyId(n),
        holder: Holder::Account { account: AccountId(n), limited: false, reach: Reach::All },
        expires_at: None,
    }
}

/// A control plane that serves until it is stopped, and what its table should be.
struct ControlPlane {
    publisher: Publisher,
    address: SocketAddr,
    expected: BTreeMap<Digest, Grant>,
    registered: Arc<AtomicUsize>,
    /// What was reported; there is never room for three keys or more in one report.
    reported: Arc<Mutex<Vec<(KeyId, Duration)>>>,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// However late a proxy answers, it counts as one next door.
const NEXT_DOOR: Duration = Duration::from_secs(60 * 60);

/// Short times, for tests.
fn quick() -> Pace {
    Pace {
        heartbeat: Duration::from_millis(50),
        silence: Duration::from_millis(600),
        message: NEXT_DOOR,
        hello: Duration::from_millis(300),
        proof: Duration::from_millis(500),
        after_refusals: [1, 2, 3, 4].map(|tenths| Duration::from_millis(tenths * 100)),
        concurrent_snapshots: 2,
        comes_back: Duration::from_millis(200),
    }
}

/// A history without a past.
fn no_history(revision: u64) -> History {
    History { revision, epochs: Vec::new(), changes: Vec::new(), proxies: Vec::new() }
}

impl ControlPlane {
    /// Starts with the keys `0..keys`.
    async fn start(keys: u64) -> Self {
        Self::with_keys(keys, Pace { message: NEXT_DOOR, ..Pace::default() }).await
    }

    async fn with_keys(keys: u64, pace: Pace) -> Self {
        Self::with(EPOCH, no_history(1), (0..keys).map(|n| (digest(n), grant(n))).collect(), pace).await
    }

    async fn with(epoch: [u8; 16], history: History, expected: BTreeMap<Digest, Grant>, pace: Pace) -> Self {
        let registered = Arc::new(AtomicUsize::new(0));
        let count = registered.clone();
        let register: ProxyRegister = Arc::new(move |proxy| {
            let count = count.clone();
            Box::pin(async move {
                anyhow::ensure!(proxy.name != "unlucky", "the disk is full");
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        });
        let tokens: TokenLookup = Arc::new(|_, digest| {
            let standing = if digest.is_some() { TokenStanding::Active(3) } else { TokenStanding::Untold };
            Box::pin(async move { Ok(standing) })
        });
        let reported = Arc::new(Mutex::new(Vec::new()));
        let sink = reported.clone();
        let usage: UsageSink = Arc::new(move |uses| {
            let has_room = uses.len() < 3;
            sink.lock().unwrap().extend(uses);
            has_room
        });
        let table = expected.iter().map(|(digest, grant)| (*digest, EncodedGrant::from(grant))).collect();
        let publisher = Publisher::with_pace(epoch, history, table, register, tokens, usage, pace);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(
            publisher.clone().serve(Incoming::new(listener, None), Proof::Optional, async move { drop(stopped.await) }),
        );
        Self { publisher, address, expected, registered, reported, stop: Some(stop), server }
    }

    /// Publishes a change and keeps `expected` in step.
    fn publish(&mut self, revision: u64, changes: &[(u64, Option<u64>)]) {
        let changes: Vec<_> = changes.iter().map(|(n, value)| (digest(*n), value.map(grant))).collect();
        for (digest, grant) in &changes {
            match grant {
                Some(grant) => self.expected.insert(*digest, grant.clone()),
                None => self.expected.remove(digest),
            };
        }
        self.publisher.publish(revision, changes).unwrap();
    }
}

/// What a wait finds.
pub(super) fn found(acknowledged: &[&str], closed: &[&str], missing: &[&str]) -> Acknowledgement {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Acknowledgement { acknowledged: names(acknowledged), closed: names(closed), missing: names(missing) }
}
