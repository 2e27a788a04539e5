//! Load: steady requests on every worker, with a ledger of which key must pass and which must not. What passes wrongly, or is refused
//! wrongly, is remembered and fails the test.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{Connection, DEADLINE, Envoy, Key, Protocol};

/// Between two requests of one connection.
const PAUSE: Duration = Duration::from_millis(4);
/// So many wrongs are told in full.
const WRONGS_TOLD: usize = 5;
/// Where keys of environment `1a5` may go.
const INSIDE: &str = "/v1/projects/1a5/containers";
/// Where they never may.
const OUTSIDE: &str = "/v1/projects/1a6/containers";

/// What must become of a key's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was granted, and every proxy has acknowledged that: 200.
    Pass,
    /// It does not exist yet, or was withdrawn, and every proxy has acknowledged that: anything but 200.
    Refuse,
    /// A change is under way.
    Either,
}

/// Steady requests, from [`Load::start`] to [`Load::stop`].
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What the requests are judged by. Clones are the same ledger.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Default)]
struct Shared {
    book: Mutex<Book>,
    wrongs: Mutex<Vec<String>>,
    stopping: AtomicBool,
    tally: Counters,
}

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    /// How many there have been.
    verdicts: u64,
}

struct Entry {
    access_key: String,
    token: String,
    verdict: Verdict,
    /// The number of its verdict: a request is only judged if its key had one verdict all along.
    since: u64,
}

#[derive(Default)]
struct Counters {
    passed: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    broken: AtomicU64,
}

/// What came of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Requests that passed.
    pub passed: u64,
    /// 401 and 403.
    pub refused: u64,
    /// 503.
    pub unavailable: u64,
    /// Without an answer: their connection ended, or nothing came in time.
    pub broken: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, refused, unavailable, broken } = self;
        write!(
            f,
            "{passed} requests passed, {refused} were refused, {unavailable} got 503, {broken} no answer; none was judged wrongly"
        )
    }
}

impl Load {
    /// Begins with no key: requests without a credential, on one connection for each worker of these Envoys, by HTTP/1.1 and HTTP/2 in
    /// turn. A connection that ends is replaced, by whichever worker the kernel gives it to.
    pub async fn start(envoys: impl IntoIterator<Item = &Envoy>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut clients = JoinSet::new();
        for (number, envoy) in envoys.into_iter().enumerate() {
            let protocol = if number % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            for connection in envoy.connections_on_every_worker(protocol).await? {
                clients.spawn(ask_on(shared.clone(), connection, envoy.edge(), protocol));
            }
        }
        Ok(Self { shared, clients })
    }

    /// What the requests are judged by.
    pub fn ledger(&self) -> Ledger {
        Ledger(self.shared.clone())
    }

    /// What came of the requests so far.
    pub fn tally(&self) -> Tally {
        let Counters { passed, refused, unavailable, broken } = &self.shared.tally;
        let [passed, refused, unavailable, broken] =
            [passed, refused, unavailable, broken].map(|count| count.load(Ordering::Relaxed));
        Tally { passed, refused, unavailable, broken }
    }

    /// Fails if anything went wrong so far.
    pub fn ensure_right(&self) -> Result<()> {
        let wrongs = lock(&self.shared.wrongs);
        if !wrongs.is_empty() {
            let told: Vec<&str> = wrongs.iter().take(WRONGS_TOLD).map(String::as_str).collect();
            bail!("{} requests were judged wrongly:\n{}", wrongs.len(), told.join("\n"));
        }
        Ok(())
    }

    /// Ends it. Fails if anything went wrong, or if nothing was asked.
    pub async fn stop(mut self) -> Result<Tally> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client?;
        }
        self.ensure_right()?;
        let tally = self.tally();
        ensure!(tally.passed + tally.refused + tally.unavailable > 0, "nothing was asked");
        Ok(tally)
    }
}

impl Ledger {
    /// Sets what must become of a key of environment `1a5` from now on. Whoever withdraws one says [`Verdict::Either`] before and
    /// [`Verdict::Refuse`] once that was acknowledged everywhere. A key that is not known yet is asked with from now on.
    pub fn expect(&self, key: &Key, verdict: Verdict) {
        let mut book = lock(&self.0.book);
        book.verdicts += 1;
        let since = book.verdicts;
        match book.entries.iter_mut().find(|entry| entry.access_key == key.access_key) {
            Some(entry) => (entry.verdict, entry.since) = (verdict, since),
            None => {
                let (access_key, token) = (key.access_key.clone(), key.token.clone());
                book.entries.push(Entry { access_key, token, verdict, since });
            }
        }
    }

    /// Asks with a key no more.
    pub fn forget(&self, key: &Key) {
        lock(&self.0.book).entries.retain(|entry| entry.access_key != key.access_key);
    }
}

impl Shared {
    /// The key of a turn with its verdict, none in one turn of each round; and whether it is a round out of scope.
    fn entry(&self, turn: usize) -> (Option<(usize, String, Verdict, u64)>, bool) {
        let entries = &lock(&self.book).entries;
        let (round, index) = (turn / (entries.len() + 1), turn % (entries.len() + 1));
        let entry = entries.get(index).map(|entry| (index, entry.token.clone(), entry.verdict, entry.since));
        (entry, round % 5 == 4)
    }

    fn unchanged(&self, index: usize, since: u64) -> bool {
        lock(&self.book).entries.get(index).is_some_and(|entry| entry.since == since)
    }

    fn count(&self, status: u16) {
        let Counters { passed, refused, unavailable, .. } = &self.tally;
        let counter = match status {
            200 => passed,
            503 => unavailable,
            _ => refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    async fn ask(&self, connection: &mut Connection, turn: usize) -> Result<()> {
        // Out of its environment no key ever passes.
        let (entry, outside) = self.entry(turn);
        let path = if outside { OUTSIDE } else { INSIDE };
        let started = Instant::now();
        let answer = match &entry {
            Some((_, token, ..)) => connection.get(path, &[("x-api-key", token)]).await,
            None => connection.get(path, &[]).await,
        };
        let status = answer?.status;
        self.count(status);
        let (number, verdict) = match entry {
            _ if outside => (None, Verdict::Refuse),
            None => (None, Verdict::Refuse),
            Some((index, _, verdict, since)) if self.unchanged(index, since) => (Some(index), verdict),
            Some(_) => return Ok(()),
        };
        let right = match verdict {
            Verdict::Either => true,
            Verdict::Refuse => status != 200,
            // An edge that is closed refuses everybody; whether it may be is for the test to say.
            Verdict::Pass => status == 200 || status == 503,
        };
        if !right {
            let wrong = format!("{status} for {path} with key {number:?}, expected {verdict:?}, after {:?}", started.elapsed());
            lock(&self.wrongs).push(wrong);
        }
        Ok(())
    }
}

async fn ask_on(shared: Arc<Shared>, mut connection: Connection, edge: SocketAddr, protocol: Protocol) {
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        pace.tick().await;
        if shared.stopping.load(Ordering::Relaxed) {
            break;
        }
        if !matches!(timeout(DEADLINE, shared.ask(&mut connection, turn)).await, Ok(Ok(()))) {
            shared.tally.broken.fetch_add(1, Ordering::Relaxed);
            // An Envoy that is being restarted takes none for a while.
            if let Ok(again) = Connection::open(edge, protocol).await {
                connection = again;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
