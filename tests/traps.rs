//! Workers of the filter that die: traps on command, by a module that only the tests have, in real Envoy and under load. What must not
//! pass never does; what is lost for a moment comes back by itself.
//!
//! *Seen:* a trapped VM's stream to the control plane stays open and swallows what comes; Envoy makes a worker's VM anew at the next
//! request to it. Nobody sends requests to the main thread: its VM, once dead, stays dead.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{
    Cli, Config, Connection, Envoy, FakeControlPlane, FakeTable, Key, Protocol, Upstream, module, traps_module, until,
};
use keygate_wire::BucketBits;
use keygate_wire::records::Position;
use tokio::sync::{Mutex, RwLock};
use tokio::task::JoinSet;

use crate::edge::{Edge, INSIDE};

const COMMAND: &str = "x-keygate-test-trap";
/// What the module says before it traps, with who does.
const SAID: &str = "keygate: trapping on command: ";
/// A successor has taken over, and a change is in force, within this time; on a machine that is busy with other tests, within twice that.
const TAKEOVER: Duration = Duration::from_secs(5);

#[test]
fn the_module_that_people_run_has_no_command_to_trap() -> Result<()> {
    let knows = |path: &std::path::Path| -> Result<bool> {
        Ok(std::fs::read(path)?.windows(SAID.len()).any(|bytes| bytes == SAID.as_bytes()))
    };
    ensure!(knows(&traps_module()?)?, "this test looks for the wrong words");
    ensure!(!knows(&module()?)?, "the module that people run traps on command");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leads_may_die_again_and_again_even_on_the_main_thread() -> Result<()> {
    let scene = Scene::start(3600).await?;
    let (cli, good) = (scene.edge.control_plane.cli(), scene.key("good").await?);
    let load = Load::start(scene.envoy.edge(), &good);
    let main = scene.main_thread();
    let mut died = BTreeSet::new();
    let mut quickest = Duration::MAX;
    for round in 0_usize.. {
        let key = scene.key(&format!("key-{round}")).await?;
        scene.command("leader").await?;
        let threads = scene.until_said("the leader", round + 1).await?;
        let died_at = Instant::now();
        cli.text(&["key", "deactivate", &key.id, "--wait", "20"]).await?;
        let took = died_at.elapsed();
        ensure!(took < 2 * TAKEOVER, "a successor took {took:?}");
        quickest = quickest.min(took);
        load.wrong.write().await.push(key.token.clone());
        scene.expect_on_every_worker(&load, &key, 401).await?;
        scene.expect_on_every_worker(&load, &good, 200).await?;
        died = threads.into_iter().collect();
        if died.contains(&main) && died.len() > scene.envoy.workers() {
            break;
        }
        ensure!(round < 20, "only {died:?} ever led, of which the main thread is {main}");
    }
    load.end().await?;
    ensure!(quickest < TAKEOVER, "no successor took less than {quickest:?}");
    ensure!(died.len() == scene.envoy.workers() + 1, "{died:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_may_die_at_once() -> Result<()> {
    let scene = Scene::start(3600).await?;
    let (cli, good, bad) = (scene.edge.control_plane.cli(), scene.key("good").await?, scene.key("bad").await?);
    cli.text(&["key", "deactivate", &bad.id, "--wait", "20"]).await?;
    let load = Load::start(scene.envoy.edge(), &good);
    load.wrong.write().await.push(bad.token.clone());
    scene.command("all").await?;
    let threads = scene.until_said("one of all", scene.envoy.workers() + 1).await?;
    ensure!(threads.iter().collect::<BTreeSet<_>>().len() == threads.len(), "one of {threads:?} died twice");
    // By itself: a change arrives, and what may pass does again.
    let key = scene.key("after").await?;
    cli.text(&["key", "deactivate", &key.id, "--wait", "20"]).await?;
    load.wrong.write().await.push(key.token.clone());
    for (key, status) in [(&key, 401), (&bad, 401), (&good, 200)] {
        scene.expect_on_every_worker(&load, key, status).await?;
    }
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_is_let_be_after_two_deaths_until_there_is_another_revision() -> Result<()> {
    // Long enough for two deaths and takeovers, short enough to be waited for.
    let scene = Scene::start(15).await?;
    let (cli, good, bad) = (scene.edge.control_plane.cli(), scene.key("good").await?, scene.key("bad").await?);
    let load = Load::start(scene.envoy.edge(), &good);
    scene.command("write:1000").await?;
    cli.text(&["key", "deactivate", &bad.id]).await?;
    scene.until_said("a writer", 2).await?;
    scene.until_logged("keygate: quarantined a message of the control plane: 2 workers died over writing revision").await?;
    let proxies = cli.json(&["proxy", "list"]).await?.to_string();
    ensure!(proxies.contains("2 workers died over writing"), "the control plane does not say so: {proxies}");
    // The edge goes on with the old table, which no longer counts as the newest, and closes at its limit.
    scene.expect_on_every_worker(&load, &good, 200).await?;
    let mut connection = Connection::open(scene.envoy.edge(), Protocol::Http1).await?;
    until("the edge to close", async || Ok((ask(&mut connection, &good).await? == 503).then_some(()))).await?;
    scene.expect_on_every_worker(&load, &bad, 503).await?;
    ensure!(scene.said("a writer").len() == 2, "a third worker died");

    // What killed is over, but that nobody knows: another revision must come.
    scene.command("off").await?;
    let later = scene.edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "later", "--wait", "60"]).await?;
    load.wrong.write().await.push(bad.token.clone());
    for (key, status) in [(&later, 200), (&good, 200), (&bad, 401)] {
        scene.expect_on_every_worker(&load, key, status).await?;
    }
    ensure!(scene.said("a writer").len() == 2, "a third worker died");
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_written_by_a_dying_worker_does_not_outlive_a_restored_backup() -> Result<()> {
    let mut scene = Scene::start(3600).await?;
    let good = scene.key("good").await?;
    // The very position at which the proxy is, in the very epoch: the server runs, and rests.
    let data = scene.edge.control_plane.data().to_owned();
    let backup = data.with_file_name("backup");
    copy(&data, &backup)?;

    // The grant is in its bucket, and the head does not say so.
    scene.command("write:1").await?;
    let key = scene.edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "forgotten"]).await?;
    scene.until_said("a writer", 1).await?;
    scene.edge.control_plane.kill();
    std::fs::remove_dir_all(&data)?;
    copy(&backup, &data)?;
    scene.edge.control_plane.serve().await?;

    let load = Load::start(scene.envoy.edge(), &good);
    scene.edge.change(&["environment", "edit", "1a5", "--name", "restored"]).await?;
    load.wrong.write().await.push(key.token.clone());
    scene.expect_on_every_worker(&load, &key, 401).await?;
    scene.expect_on_every_worker(&load, &good, 200).await?;
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_table_leaves_is_emptied_although_a_snapshot_follows_at_once() -> Result<()> {
    let (mut control_plane, upstream) = (FakeControlPlane::start().await?, Upstream::start()?);
    let config = Config { module: traps_module()?, ..Config::new(upstream.port(), control_plane.port())? };
    let envoy = Envoy::start(&config).await?;
    let mut stream = control_plane.next_stream().await?;
    stream.beat(None).await?;
    let many = BucketBits::for_keys(20_000);
    // Of another size, so that it is laid out beside the first; and again in the same place.
    for (revision, bits) in [(1, BucketBits::MIN), (2, many), (3, many)] {
        let position = Position { epoch: [7; 16], revision };
        stream.send_snapshot(&FakeTable { position, bits, grants: BTreeMap::new() }).await?;
    }
    // Nothing else is written any more.
    command(&envoy, "write:1").await?;
    until("a bucket to be emptied", async || Ok((!said(&envoy, "a writer").is_empty()).then_some(()))).await
}

/// An edge whose module traps on command.
struct Scene {
    edge: Edge,
    envoy: Envoy,
    main: u32,
}

impl Scene {
    async fn start(staleness_limit_seconds: u64) -> Result<Self> {
        let edge = Edge::start(0).await?;
        edge.control_plane.cli().text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
        let module = traps_module()?;
        let config = Config { module, ..edge.config_with_limit("edge-1", staleness_limit_seconds)? };
        let mut envoy = Envoy::start(&config).await?;
        envoy.until_table().await?;
        let main = envoy.process().id();
        Ok(Self { edge, envoy, main })
    }

    /// A key of environment `1a5` that is in force.
    async fn key(&self, name: &str) -> Result<Key> {
        let cli: Cli = self.edge.control_plane.cli();
        cli.create_key(&["--environment", "1a5", "--name", name, "--wait", "20"]).await
    }

    /// See [`command`].
    async fn command(&self, what: &str) -> Result<()> {
        command(&self.envoy, what).await
    }

    fn main_thread(&self) -> String {
        self.main.to_string()
    }

    /// See [`said`].
    fn said(&self, who: &str) -> Vec<String> {
        said(&self.envoy, who)
    }

    async fn until_said(&self, who: &str, times: usize) -> Result<Vec<String>> {
        until(&format!("{who} to trap {times} times"), async || {
            let threads = self.said(who);
            Ok((threads.len() >= times).then_some(threads))
        })
        .await
    }

    async fn until_logged(&self, text: &str) -> Result<()> {
        until(text, async || Ok(self.envoy.log().contains(text).then_some(()))).await
    }

    /// Every worker gives this answer to a key, while nobody else opens connections.
    async fn expect_on_every_worker(&self, load: &Load, key: &Key, status: u16) -> Result<()> {
        let _nobody_connects = load.may_connect.write().await;
        for mut connection in self.envoy.connections_on_every_worker(Protocol::Http1).await? {
            for _ in 0..20 {
                let found = ask(&mut connection, key).await?;
                ensure!(found == status, "a worker answered {found} instead of {status}:\n{}", self.envoy.log());
            }
        }
        Ok(())
    }
}

/// Tells the module what to do; a worker that is being made anew is asked again.
async fn command(envoy: &Envoy, what: &str) -> Result<()> {
    until("the module to take a command", async || {
        let Ok(mut connection) = Connection::open(envoy.edge(), Protocol::Http1).await else { return Ok(None) };
        let answer = connection.get("/", &[(COMMAND, what)]).await;
        Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
    })
    .await
}

/// The threads that trapped for a reason, in order. A line of the log begins `[time][thread]`.
fn said(envoy: &Envoy, who: &str) -> Vec<String> {
    let log = envoy.log();
    let lines = log.lines().filter(|line| line.ends_with(&format!("{SAID}{who}")));
    lines.filter_map(|line| Some(line.split(['[', ']']).nth(3)?.to_owned())).collect()
}

/// Requests without a pause, on many connections: with a good key, which may fail for a moment, and with those that must not pass.
struct Load {
    wrong: Arc<RwLock<Vec<String>>>,
    may_connect: Arc<RwLock<()>>,
    over: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    passed: Arc<Mutex<Option<String>>>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(edge: SocketAddr, good: &Key) -> Self {
        let mut load = Self {
            wrong: Arc::default(),
            may_connect: Arc::default(),
            over: Arc::default(),
            good: Arc::default(),
            passed: Arc::default(),
            tasks: JoinSet::new(),
        };
        for number in 0..8 {
            let protocol = if number % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            let (wrong, may_connect, over) = (load.wrong.clone(), load.may_connect.clone(), load.over.clone());
            let (passes, passed, good) = (load.good.clone(), load.passed.clone(), good.token.clone());
            load.tasks.spawn(async move {
                let mut open: Option<Connection> = None;
                while !over.load(Ordering::Relaxed) {
                    let Some(connection) = &mut open else {
                        let _allowed = may_connect.read().await;
                        open = Connection::open(edge, protocol).await.ok();
                        continue;
                    };
                    let must_not: Vec<String> = [wrong.read().await.as_slice(), &["kg_unknown".to_owned()]].concat();
                    let Some(status) = one(connection, &good).await else {
                        open = None;
                        continue;
                    };
                    passes.fetch_add(u64::from(status == 200), Ordering::Relaxed);
                    for token in must_not {
                        match one(connection, &token).await {
                            Some(200) => *passed.lock().await = Some(token),
                            Some(_) => {}
                            None => {
                                open = None;
                                break;
                            }
                        }
                    }
                }
            });
        }
        load
    }

    /// Ends it: nothing passed that must not, and there was enough to prove it.
    async fn end(mut self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        ensure!(self.passed.lock().await.is_none(), "a key passed that must not");
        let good = self.good.load(Ordering::Relaxed);
        ensure!(good > 500, "only {good} requests passed: that proves little");
        Ok(())
    }
}

/// One request; `None` if it got no answer, as when the worker's VM dies over it.
async fn one(connection: &mut Connection, token: &str) -> Option<u16> {
    let headers = [("x-api-key", token)];
    let answer = connection.get(INSIDE, &headers);
    tokio::time::timeout(Duration::from_secs(2), answer).await.ok()?.ok().map(|answer| answer.status)
}

async fn ask(connection: &mut Connection, key: &Key) -> Result<u16> {
    Ok(connection.get(INSIDE, &[("x-api-key", &key.token)]).await.context("asking")?.status)
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
