//! When a key was last used: what proxies tell of it, how much they tell, and what is shown of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use harness::{Cli, Config, Connection, Envoy, FakeControlPlane, FakeTable, Key, Protocol, Upstream, demo_filter, until};
use keygate_decision::key::{AccessKey, KeyPair, SecretKey};
use keygate_decision::{AccountId, EnvironmentId, Grant, Holder, KeyId, Reach};
use keygate_wire::records::Position;
use keygate_wire::usage::{MAX_KEYS, UsageReport};
use keygate_wire::{BucketBits, entry};
use tokio::time::interval;

use crate::edge::{Edge, INSIDE};

/// What may lie between a use and when it is said to have been, beyond what is told: clocks are looked at twice a second.
const BLUR: Duration = Duration::from_secs(3);

async fn last_used(cli: &Cli, key: &Key) -> Result<Option<SystemTime>> {
    let shown = cli.json(&["key", "show", &key.id]).await?;
    shown["lastUsed"].as_str().map(|time| humantime::parse_rfc3339(time).context("no time")).transpose()
}

/// Waits until a key is shown as used after a moment.
async fn until_used(cli: &Cli, key: &Key, after: SystemTime) -> Result<SystemTime> {
    until("the last use to show", async || Ok(last_used(cli, key).await?.filter(|time| *time >= after - BLUR))).await
}

async fn ask(connection: &mut Connection, path: &str, token: &str, status: u16) -> Result<()> {
    let answer = connection.get(path, &[("x-api-key", token)]).await?;
    ensure!(answer.status == status, "expected {status}, got {}", answer.status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_shows_whichever_worker_saw_it_and_a_refusal_is_none() -> Result<()> {
    let mut edge = Edge::start(0).await?;
    let cli = edge.control_plane.cli();
    edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
    for proxy in ["edge-1", "edge-2"] {
        edge.add_reporting_envoy(proxy).await?;
    }
    let mut keys = Vec::new();
    for name in ["one", "two", "three", "four", "idle", "refused", "inactive"] {
        keys.push(cli.create_key(&["--environment", "1a5", "--name", name, "--wait"]).await?);
    }
    let [of_workers @ .., idle, refused, inactive] = keys.as_slice() else { anyhow::bail!("too few keys") };
    edge.change(&["key", "deactivate", &inactive.id]).await?;
    let mut connections = Vec::new();
    for envoy in &edge.envoys {
        connections.extend(envoy.connections_on_every_worker(Protocol::Http1).await?);
    }
    ensure!(connections.len() == of_workers.len(), "a key for each worker");

    let begun = SystemTime::now();
    for (connection, key) in connections.iter_mut().zip(of_workers) {
        ask(connection, INSIDE, &key.token, 200).await?;
        ask(connection, "/v1/projects/1a6/containers", &refused.token, 403).await?;
        ask(connection, INSIDE, &inactive.token, 401).await?;
    }
    for key in of_workers {
        let used = until_used(&cli, key, begun).await?;
        ensure!(used <= SystemTime::now(), "nothing is used in the future");
    }
    for key in [idle, refused, inactive] {
        assert_eq!(last_used(&cli, key).await?, None);
    }
    let table = cli.text(&["key", "list"]).await?;
    ensure!(table.contains("LAST USED") && table.contains("never"), "{table}");

    // A later use through another proxy takes the place of the first, and is no change: proxies are sent nothing.
    let revision = edge.envoys[0].stats(REVISION).await?;
    let first = last_used(&cli, &of_workers[0]).await?.context("used")?;
    let last = connections.last_mut().context("a connection")?;
    until("a later use to show", async || {
        ask(last, INSIDE, &of_workers[0].token, 200).await?;
        Ok((last_used(&cli, &of_workers[0]).await? > Some(first)).then_some(()))
    })
    .await?;
    assert_eq!(edge.envoys[0].stats(REVISION).await?, revision);
    Ok(())
}

const REVISION: &str = r"^wasmcustom\.keygate\.default\.table_revision$";

#[tokio::test(flavor = "multi_thread")]
async fn a_use_while_the_control_plane_is_away_is_told_when_it_is_back() -> Result<()> {
    let (mut edge, _) = Edge::with_key(0).await?;
    edge.add_reporting_envoy("edge-1").await?;
    let cli = edge.control_plane.cli();
    let key = cli.create_key(&["--environment", "1a5", "--name", "away", "--wait"]).await?;
    let mut connection = Connection::open(edge.envoys[0].edge(), Protocol::Http1).await?;
    edge.control_plane.kill();
    let used = SystemTime::now();
    ask(&mut connection, INSIDE, &key.token, 200).await?;
    const FAILURES: &str = "wasmcustom.keygate.default.usage.failures";
    until("a report to fail", async || {
        Ok(edge.envoys[0].stats(FAILURES).await?.get(FAILURES).copied().filter(|failures| *failures > 0))
    })
    .await?;
    let told = SystemTime::now();
    edge.control_plane.serve().await?;
    let shown = until_used(&cli, &key, used).await?;
    ensure!(shown <= told, "it was used then, not when it was told");

    // What a control plane has heard, it keeps when it is stopped.
    let used = SystemTime::now();
    until("a second in which nothing was used", async || Ok((SystemTime::now() > used + BLUR * 2).then_some(()))).await?;
    let used = SystemTime::now();
    ask(&mut connection, INSIDE, &key.token, 200).await?;
    const REPORTS: &str = "wasmcustom.keygate.default.usage.reports";
    let reports = edge.envoys[0].stats(REPORTS).await?;
    until("the use to be told", async || Ok((edge.envoys[0].stats(REPORTS).await? != reports).then_some(()))).await?;
    edge.control_plane.stop().await?;
    edge.control_plane.serve().await?;
    ensure!(last_used(&cli, &key).await?.is_some_and(|time| time >= used - BLUR), "what was heard was not kept");
    Ok(())
}

/// An Envoy of one worker with a table of so many keys, which reports to a control plane that only listens.
struct Listener {
    control_plane: FakeControlPlane,
    envoy: Envoy,
    _upstream: Upstream,
}

impl Listener {
    async fn start(keys: u16, usage_seconds: u64, status: u32) -> Result<Self> {
        let mut control_plane = FakeControlPlane::start().await?;
        control_plane.answer_reports(status);
        let upstream = Upstream::start()?;
        let mut filter = demo_filter()?;
        filter["control_plane"]["usage_seconds"] = usage_seconds.into();
        let config = Config { workers: 1, filter: filter.to_string(), ..Config::new(upstream.port(), control_plane.port())? };
        let envoy = Envoy::start(&config).await?;
        let grants = (1..=keys).map(|number| {
            let environment = EnvironmentId::parse("1a5").ok().context("an id")?;
            let holder = match number {
                1 => Holder::Environment(environment),
                _ => Holder::Account { account: AccountId(3), limited: false, reach: Reach::All },
            };
            let grant = entry::encode(&Grant { key: KeyId(u64::from(number)), holder, expires_at: None });
            Ok((pair(number).digest(), grant))
        });
        let position = Position { epoch: [7; 16], revision: 10 };
        let table = FakeTable { position, bits: BucketBits::MIN, grants: grants.collect::<Result<BTreeMap<_, _>>>()? };
        let mut stream = control_plane.next_stream().await?;
        stream.beat(None).await?;
        stream.send_snapshot(&table).await?;
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1));
            while stream.beat(Some(position)).await.is_ok() {
                ticks.tick().await;
            }
        });
        envoy.until_table().await?;
        Ok(Self { control_plane, envoy, _upstream: upstream })
    }

    async fn connection(&self) -> Result<Connection> {
        Connection::open(self.envoy.edge(), Protocol::Http1).await
    }
}

/// A key pair, another one for each number.
fn pair(number: u16) -> KeyPair {
    let [high, low] = number.to_be_bytes();
    let random = std::array::from_fn(|index| (index as u8).wrapping_mul(7).wrapping_add(if index % 2 == 0 { high } else { low }));
    let secret = SecretKey::from_random(&random).expect("128 varied bytes make a secret");
    KeyPair { access: AccessKey::from_random([high, low, 1, 2, 3, 4, 5, 6, 7, 8]), secret }
}

fn uses(report: &UsageReport) -> Result<Vec<(KeyId, Duration)>> {
    report.uses().context("a report that no control plane takes")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_go_in_few_reports_and_each_once() -> Result<()> {
    const KEYS: u16 = 4_500;
    let mut listener = Listener::start(KEYS, 8, 0).await?;
    let mut connection = listener.connection().await?;
    // Refused: a strange key, and the first outside its environment.
    ask(&mut connection, INSIDE, &pair(KEYS + 1).token(), 401).await?;
    ask(&mut connection, "/v1/projects/1a6/containers", &pair(1).token(), 403).await?;
    let begun = Instant::now();
    for number in 2..=KEYS {
        ask(&mut connection, INSIDE, &pair(number).token(), 200).await?;
    }
    let took = begun.elapsed();
    let mut told = BTreeSet::new();
    let mut reports = 0;
    while told.len() < usize::from(KEYS) - 1 {
        let report = listener.control_plane.next_report().await?;
        assert_eq!((report.proxy.as_str(), report.table.as_str()), ("edge-1", "default"));
        for (key, age) in uses(&report)? {
            ensure!(told.insert(key), "key {} was told twice", key.0);
            ensure!(age <= begun.elapsed() + BLUR, "key {} was used {age:?} ago", key.0);
        }
        reports += 1;
    }
    ensure!(!told.contains(&KeyId(1)), "a refusal is no use");
    // The first at once, then as many as the rest needs, every time that eight seconds have passed.
    let expected = 2 + usize::from(KEYS) / MAX_KEYS + usize::try_from(took.as_secs() / 8)?;
    ensure!(reports <= expected, "{reports} reports in {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_always_in_use_is_told_once_in_its_time_also_where_it_fails() -> Result<()> {
    const UNAVAILABLE: u32 = 14;
    let mut listener = Listener::start(2, 2, UNAVAILABLE).await?;
    let mut connection = listener.connection().await?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        ask(&mut connection, INSIDE, &pair(2).token(), 200).await?;
    }
    let reports = listener.control_plane.waiting_reports();
    // At once, and after 2, 4 and 6 seconds; on a busy machine some later.
    ensure!((2..=4).contains(&reports.len()), "{} reports in 7 seconds", reports.len());
    for report in reports {
        let uses = uses(&report)?;
        ensure!(matches!(uses.as_slice(), [(KeyId(2), age)] if *age <= BLUR), "{uses:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_does_not_know_reports_gets_no_more_of_them() -> Result<()> {
    let mut listener = Listener::start(2, 1, keygate_wire::usage::UNIMPLEMENTED).await?;
    let mut connection = listener.connection().await?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        ask(&mut connection, INSIDE, &pair(2).token(), 200).await?;
    }
    assert_eq!(listener.control_plane.waiting_reports().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_told_to_report_nothing_does_not() -> Result<()> {
    let mut listener = Listener::start(2, 0, 0).await?;
    let mut connection = listener.connection().await?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        ask(&mut connection, INSIDE, &pair(2).token(), 200).await?;
    }
    assert_eq!(listener.control_plane.waiting_reports().len(), 0);
    Ok(())
}
