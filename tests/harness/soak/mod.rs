//! The soak: a great many hostile requests through real Envoy, under each habit that Envoy may have with paths. Nothing may cross the
//! border, hang, trap or be lost. `make soak` runs it at length, `make test` in short.

mod client;
mod echo;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::hostile::border;
use crate::hostile::spelling::Spellings;
use crate::{Config, ControlPlane, Envoy, Key};
use client::Client;
use echo::Echo;

/// Connections at any time, over both workers.
const CLIENTS: u64 = 8;

/// A text in the demo's Envoy configuration, and what stands there instead.
type Edit = (&'static str, &'static str);

/// What Envoy may do to paths before the filter sees them: each setting is as it is shipped first.
const NORMALIZING: [&[Edit]; 2] = [
    &[],
    // Without, it also lets underscores through in header names.
    &[
        ("normalize_path: true", "normalize_path: false"),
        ("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    ],
];
const MERGING: [&[Edit]; 2] = [&[], &[("merge_slashes: false", "merge_slashes: true")]];
const UNESCAPING: [&[Edit]; 3] = [
    &[],
    &[("path_with_escaped_slashes_action: KEEP_UNCHANGED", "path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD")],
    &[("path_with_escaped_slashes_action: KEEP_UNCHANGED", "path_with_escaped_slashes_action: REJECT_REQUEST")],
];

/// All combinations of these settings.
fn habits() -> Vec<Vec<Edit>> {
    let pairs = NORMALIZING.iter().flat_map(|normalizing| MERGING.iter().map(move |merging| [*normalizing, merging]));
    pairs.flat_map(|[normalizing, merging]| UNESCAPING.map(|unescaping| [normalizing, merging, unescaping].concat())).collect()
}

/// How long, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// How many requests.
    pub requests: u64,
    /// The same seed makes the same requests.
    pub seed: u64,
    /// It fails if it is not done by then.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// How many answers had which status.
    pub answers: BTreeMap<u16, u64>,
    /// How long it took.
    pub elapsed: Duration,
}

/// The keys that may pass: an environment's and an account's, of one environment alone.
#[derive(Clone)]
struct Keys {
    ids: Vec<String>,
    pairs: Vec<String>,
    secrets: Vec<String>,
}

impl Soak {
    /// Runs it.
    ///
    /// # Errors
    /// The first thing that was wrong, with the request.
    pub async fn run(self) -> Result<Report> {
        let started = Instant::now();
        let answers = tokio::time::timeout(self.limit, self.all_habits()).await;
        let answers = answers.with_context(|| format!("not done after {:?}", self.limit))?;
        Ok(Report { answers: answers.with_context(|| format!("seed {}", self.seed))?, elapsed: started.elapsed() })
    }

    async fn all_habits(self) -> Result<BTreeMap<u16, u64>> {
        let control_plane = ControlPlane::start().await?;
        let keys = Keys::create(&control_plane).await?;
        let mut answers = BTreeMap::new();
        let habits = habits();
        for (number, edits) in (0..).zip(&habits) {
            let upstream = Echo::start().await?;
            let mut config = Config::new(upstream.port(), control_plane.sync_port())?;
            config.filter = border::FILTER.to_owned();
            config.edits = edits.clone();
            let envoy = Envoy::start(&config).await?;
            envoy.until_table().await?;
            let before = upstream.received();
            let requests = share(self.requests, number, habits.len() as u64);
            let found = self.one_habit(&envoy, &keys, number, requests).await.with_context(|| format!("Envoy with {edits:?}"))?;
            let passed = found.get(&200).copied().unwrap_or(0);
            ensure!(upstream.received() - before == passed, "{} of {passed} passes reached the upstream", upstream.received());
            ensure!(found.values().sum::<u64>() == requests, "an answer is missing: {found:?}");
            ensure_sound(&envoy).await?;
            envoy.stop().await?;
            found.into_iter().for_each(|(status, count)| *answers.entry(status).or_insert(0) += count);
        }
        Ok(answers)
    }

    async fn one_habit(self, envoy: &Envoy, keys: &Keys, habit: u64, requests: u64) -> Result<BTreeMap<u16, u64>> {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            // No two requests have the same number, and seeds that differ a little make requests that differ a lot.
            let first = (habit << 48) + (number << 32);
            let spellings = Spellings::new(self.seed.wrapping_add(first));
            let client = Client { edge: envoy.edge(), spellings, keys: keys.clone(), answers: BTreeMap::new() };
            clients.spawn(client.run(first..first + share(requests, number, CLIENTS)));
        }
        let mut answers = BTreeMap::new();
        while let Some(client) = clients.join_next().await {
            client??.answers.into_iter().for_each(|(status, count)| *answers.entry(status).or_insert(0) += count);
        }
        Ok(answers)
    }
}

impl Keys {
    async fn create(control_plane: &ControlPlane) -> Result<Self> {
        let cli = control_plane.cli();
        for (id, name) in [("1a5", "production"), ("1a6", "staging")] {
            cli.text(&["environment", "create", "--id", id, "--name", name]).await?;
        }
        cli.text(&["account", "create", "--name", "alice", "--kind", "user"]).await?;
        cli.text(&["member", "add", "--environment", "1a5", "--account", "alice", "--role", "member"]).await?;
        let keys = [
            cli.create_key(&["--environment", "1a5", "--name", "production"]).await?,
            cli.create_key(&["--account", "alice", "--name", "alice", "--wait"]).await?,
        ];
        Ok(Self {
            ids: keys.iter().map(|key| key.id.clone()).collect(),
            pairs: keys.iter().map(Key::pair).collect(),
            secrets: keys.iter().map(|key| key.secret_key.clone()).collect(),
        })
    }
}

/// Both workers have worked, no VM has failed, and Envoy has complained of nothing.
async fn ensure_sound(envoy: &Envoy) -> Result<()> {
    let taken = envoy.stats(r"^listener\.edge\.worker_[0-9]+\.downstream_cx_total$").await?;
    ensure!(taken.len() == envoy.workers() && taken.values().all(|count| *count > 0), "idle workers: {taken:?}");
    let reloads = envoy.stats(r"^wasm\.keygate\.vm_reload").await?;
    ensure!(!reloads.is_empty() && reloads.values().all(|count| *count == 0), "a VM has failed: {reloads:?}");
    let log = envoy.log();
    let complaint =
        log.lines().find(|line| ["panicked", "[error]", "[critical]", "Uncaught"].iter().any(|sign| line.contains(sign)));
    ensure!(complaint.is_none(), "Envoy says: {}", complaint.unwrap_or_default());
    Ok(())
}

/// What the one with this number gets when all is shared out.
fn share(all: u64, number: u64, sharers: u64) -> u64 {
    all / sharers + u64::from(number < all % sharers)
}

/// How long the first head in these bytes is, its empty line included; `None` if it is not complete.
fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |status: u16| self.answers.get(&status).copied().unwrap_or(0);
        let requests: u64 = self.answers.values().sum();
        write!(f, "{requests} requests in {:.0} s: {} passed, ", self.elapsed.as_secs_f64(), count(200))?;
        write!(f, "{} refused ({:?}); no crossing, no hang, no trap", requests - count(200), self.answers)
    }
}
