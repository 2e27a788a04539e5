//! How long a revoked key lives: two Envoys with two workers each, a million keys, and requests with the key in question on every worker,
//! hot in every cache. Counted is from the moment the request to revoke is sent to the answer of the last request that passed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::api::{Api, Change};
use crate::course::{Headers, request};
use crate::data::{self, Data};
use crate::figure::{Figure, quantile};
use crate::keys::{Carrier, INSIDE};
use crate::machine::{self, Cores};
use crate::peers;
use crate::proxy::{Plan, Proxy};
use crate::pulse::{Beat, Pulse};
use crate::report::{Bound, Report, Table, Verdict};

const WORKERS: usize = 2;
/// To each Envoy: enough that every worker takes some.
const CONNECTIONS: usize = 6;
const ATTEMPTS: usize = 20;
/// How long every connection may take to see what is in force.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures so many revocations, and accounts that are disabled.
pub(crate) async fn measure(report: &mut Report, cores: Cores, data: &Data, keys: usize, accounts: usize) -> Result<()> {
    let folder = data::folder("revocation")?;
    let control_plane = data.serve("revocation-control-plane").await?;
    let mut proxies = Vec::new();
    for name in ["revocation-1", "revocation-2"] {
        let plan = Plan {
            listeners: vec![("ours", vec![peers::ours(name)?])],
            services: vec![(peers::CONTROL_PLANE, control_plane.sync_port())],
            ..Plan::default()
        };
        let proxy = Proxy::start(&folder, name, WORKERS, plan).await?;
        machine::pin(proxy.pid(), &[cores.measured, cores.load])?;
        proxy.until_passes("ours", INSIDE, ("x-api-key", &data.keys.pair(0)?.token())).await?;
        proxies.push(proxy);
    }
    let mut api = Api::open(&control_plane).await?;
    let pulse = start_pulse(&proxies, data).await?;

    // The keys of the last accounts are left for the second part.
    let first_account = data.keys.accounts().saturating_sub(accounts);
    let of_others: Vec<usize> = (0..data.keys.count).filter(|key| data.keys.account(*key) < first_account).take(keys).collect();
    let mut changes = Vec::new();
    for key in &of_others {
        until_all_see(&pulse, *key, data, 200).await?;
        let id = u64::try_from(data::key_id(*key))?;
        changes.push((*key, api.deactivate_key(id, true).await?));
        until_all_see(&pulse, *key, data, 401).await?;
    }
    let mut disabled = Vec::new();
    for account in first_account..data.keys.accounts() {
        let key = (0..data.keys.count).find(|key| data.keys.account(*key) == account).context("an account without keys")?;
        until_all_see(&pulse, key, data, 200).await?;
        disabled.push((key, api.switch_account(account, false, true).await?));
        until_all_see(&pulse, key, data, 401).await?;
    }
    let beats = pulse.stop()?;
    for proxy in proxies {
        proxy.stop().await?;
    }

    let (one, all) = (Lives::of(&changes, &beats), Lives::of(&disabled, &beats));
    report.tables.push(Table {
        name: "revocation",
        title: "How long a revoked key lives: revoke sent until the last pass on any of 4 workers of 2 Envoys, each key in use on all of them",
        columns: &["times", "p50 ms", "p99 ms", "max ms", "--wait p50 ms", "--wait p99 ms", "passes after --wait"],
        rows: vec![("one key".to_owned(), one.row()), ("an account with all its keys".to_owned(), all.row())],
    });
    report.verdicts.push(Verdict {
        what: "revoke sent to last pass, p99, in ms",
        reached: Figure::once(quantile(&one.last_pass_ms, 0.99)),
        must: Bound::AtMost(25.0),
        aim: Bound::AtMost(8.0),
    });
    report.verdicts.push(Verdict {
        what: "passes after --wait",
        reached: Figure::once((one.late + all.late) as f64),
        must: Bound::AtMost(0.0),
        aim: Bound::AtMost(0.0),
    });
    Ok(())
}

fn key_request(data: &Data, key: usize) -> Result<String> {
    let token = data.keys.pair(key)?.token();
    Ok(request(INSIDE, Headers::Small, Some(Carrier::ApiKey)).replace("@KEY@", &token))
}

/// Connections until every worker of every Envoy has some: the kernel spreads them as it likes.
async fn start_pulse(proxies: &[Proxy], data: &Data) -> Result<Pulse> {
    let ports = proxies.iter().map(|proxy| proxy.port("ours")).collect::<Result<Vec<_>>>()?;
    for _ in 0..ATTEMPTS {
        let pulse = Pulse::start(&ports, CONNECTIONS, key_request(data, 0)?)?;
        until_all_see(&pulse, 0, data, 200).await?;
        let mut idle = false;
        for proxy in proxies {
            let workers = proxy.connections("ours").await?;
            idle |= workers.len() != WORKERS || workers.contains(&0);
        }
        if !idle {
            return Ok(pulse);
        }
        pulse.stop()?;
    }
    bail!("after {ATTEMPTS} attempts there is still a worker without a connection")
}

/// Makes every connection ask with a key until all are answered alike.
async fn until_all_see(pulse: &Pulse, key: usize, data: &Data, status: u16) -> Result<()> {
    pulse.turn_to(key, key_request(data, key)?)?;
    let started = Instant::now();
    while !pulse.all_see(key, status)? {
        if started.elapsed() > PATIENCE {
            bail!("waited in vain for {status} on every connection");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// What became of keys that were revoked.
struct Lives {
    last_pass_ms: Vec<f64>,
    wait_ms: Vec<f64>,
    /// Requests that were sent after the answer to `?wait`, and passed.
    late: usize,
}

impl Lives {
    fn of(changes: &[(usize, Change)], beats: &[Beat]) -> Self {
        let mut lives = Self { last_pass_ms: Vec::new(), wait_ms: Vec::new(), late: 0 };
        for (key, change) in changes {
            let passed = || beats.iter().filter(|beat| beat.subject == *key && beat.passed());
            let last = passed().map(|beat| beat.answered).max().unwrap_or(change.sent);
            lives.last_pass_ms.push(last.saturating_duration_since(change.sent).as_secs_f64() * 1e3);
            lives.wait_ms.push(change.took().as_secs_f64() * 1e3);
            lives.late += passed().filter(|beat| beat.sent > change.answered).count();
        }
        lives
    }

    fn row(&self) -> Vec<Option<Figure>> {
        let of = |values: &[f64], part: f64| Some(Figure::once(quantile(values, part)));
        vec![
            Some(Figure::once(self.last_pass_ms.len() as f64)),
            of(&self.last_pass_ms, 0.5),
            of(&self.last_pass_ms, 0.99),
            of(&self.last_pass_ms, 1.0),
            of(&self.wait_ms, 0.5),
            of(&self.wait_ms, 0.99),
            Some(Figure::once(self.late as f64)),
        ]
    }
}
