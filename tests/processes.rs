//! Several Envoy processes under one name, and what begins and ends them: a hot restart, a kill, an update of the filter to another
//! layout, a listener that goes and comes back. All under load: nothing passes that must not, and no change is lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Config, Connection, Envoy, Key, Ledger, Load, Protocol, Scratch, Verdict, module_of_another_layout, until};
use serde_json::{Value, json};

use crate::edge::{Edge, INSIDE};

const PROXY: &str = "edge-1";
/// Passes where the newer configuration decides, and nowhere else.
const NEWER: &str = "/newer/x";
/// A process that has gone is waited for so long at most once another one is there.
const WAITED_FOR: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_restart_under_load_loses_no_change_and_a_wait_covers_parent_and_child() -> Result<()> {
    let site = Site::start().await?;
    let folder = Scratch::new("keygate-hot-restart")?;
    let base = folder.path().join("base-id");
    // The parent goes long before it would have drained, and long after what is tried on it, even on a busy machine.
    let times = "--drain-time-s 3600 --parent-shutdown-time-s 25".split(' ');
    let mut config = site.edge.config(PROXY)?;
    config.restart = vec!["--use-dynamic-base-id".to_owned(), "--base-id-path".to_owned(), base.to_string_lossy().into_owned()];
    config.restart.extend(times.clone().map(str::to_owned));
    let mut parent = Envoy::start(&config).await?;
    parent.until_table().await?;
    let load = Load::start([&parent]).await?;
    let [kept, during, after] = site.keys(&load.ledger()).await?;
    let mut on_parent = parent.connections_on_every_worker(Protocol::Http2).await?;
    expect(&mut on_parent, &[(&kept, 200), (&during, 200)]).await?;

    let mut config = newer(&config)?;
    let base = std::fs::read_to_string(base)?;
    config.restart = ["--base-id", base.trim(), "--restart-epoch", "1"].map(str::to_owned).into();
    config.restart.extend(times.map(str::to_owned));
    config.admin_port = harness::free_port()?;
    let child = Envoy::start(&config).await?;
    let mut on_child = newer_connections(&child, &kept).await?;
    expect(&mut on_child, &[(&kept, 200), (&during, 200)]).await?;
    ensure!(site.processes().await?.len() == 2, "{:?}", site.processes().await?);

    // A wait ends for neither without the other.
    parent.process().signal("STOP")?;
    let create = ["key", "create", "--environment", "1a5", "--name", "another", "--wait", "1"];
    let missing = site.edge.control_plane.cli().run(&create).await?;
    parent.process().signal("CONT")?;
    ensure!(missing.status.code() == Some(3), "a parent that hangs: {missing:?}");
    site.revoke(&during, &load.ledger()).await?;
    expect(&mut on_parent, &[(&kept, 200), (&during, 401)]).await?;
    expect(&mut on_child, &[(&kept, 200), (&during, 401)]).await?;
    for connection in &mut on_parent {
        ensure!(connection.get(NEWER, &[]).await?.status != 200, "the parent has gone already: this proves nothing");
    }

    until("the parent to end", async || Ok(parent.process().ensure_running().is_err().then_some(()))).await?;
    let gone = Instant::now();
    site.revoke(&after, &load.ledger()).await?;
    ensure!(gone.elapsed() < WAITED_FOR + Duration::from_secs(3), "the parent was waited for {:?}", gone.elapsed());
    expect(&mut on_child, &[(&kept, 200), (&during, 401), (&after, 401)]).await?;
    ensure!(site.processes().await?.len() == 1, "{:?}", site.processes().await?);
    let tally = load.stop().await?;
    ensure!(tally.unavailable < tally.passed / 100, "the edge was closed for long: {tally:?}");
    child.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_killed_and_restarted_under_load_loses_no_change() -> Result<()> {
    let site = Site::start().await?;
    let config = site.edge.config(PROXY)?;
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let load = Load::start([&envoy]).await?;
    let [kept, during, after] = site.keys(&load.ledger()).await?;
    until_passed(&load).await?;
    envoy.kill();

    // Nobody is there to acknowledge, so that it is not said to be done; all the same it is.
    load.ledger().expect(&during, Verdict::Either);
    let missing = site.edge.control_plane.cli().run(&["key", "deactivate", &during.id, "--wait", "1"]).await?;
    ensure!(missing.status.code() == Some(3), "an Envoy that was killed: {missing:?}");
    // The new one has no table but a newer one, and passes nothing before.
    load.ledger().expect(&during, Verdict::Refuse);
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let connections = &mut envoy.connections_on_every_worker(Protocol::Http2).await?;
    expect(connections, &[(&kept, 200), (&during, 401)]).await?;
    site.revoke(&after, &load.ledger()).await?;
    expect(connections, &[(&kept, 200), (&during, 401), (&after, 401)]).await?;
    ensure!(site.processes().await?.len() == 1, "{:?}", site.processes().await?);
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_code_of_another_layout_takes_over_under_load_and_loses_no_change() -> Result<()> {
    let site = Site::start().await?;
    let mut config = site.edge.config(PROXY)?;
    config.listener_apart = true;
    config.restart.extend(["--drain-time-s", "8"].map(str::to_owned));
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let load = Load::start([&envoy]).await?;
    let [kept, during, after] = site.keys(&load.ledger()).await?;
    let mut on_old = Vec::new();
    for _ in 0..4 {
        on_old.extend(envoy.connections_on_every_worker(Protocol::Http2).await?);
    }
    expect(&mut on_old, &[(&kept, 200), (&during, 200)]).await?;

    let mut config = newer(&config)?;
    config.module = module_of_another_layout()?;
    envoy.replace_listener(Some(&config)).await?;
    let mut on_new = newer_connections(&envoy, &kept).await?;
    expect(&mut on_new, &[(&kept, 200), (&during, 200)]).await?;
    ensure!(site.processes().await?.len() == 2, "each layout counts by itself: {:?}", site.processes().await?);
    site.revoke(&during, &load.ledger()).await?;
    expect(&mut on_new, &[(&kept, 200), (&during, 401)]).await?;
    // Envoy asks the clients of the old code to go, more and more of them.
    let mut decided_by_old_code = 0;
    for connection in &mut on_old {
        if !connection.get(NEWER, &[]).await.is_ok_and(|answer| answer.status != 200) {
            continue;
        }
        if let Ok(answer) = connection.get(INSIDE, &[("x-api-key", &during.token)]).await {
            ensure!(answer.status == 401, "the old code answered {} to a revoked key", answer.status);
            decided_by_old_code += 1;
        }
    }
    ensure!(decided_by_old_code > 0, "the old code has gone already: this proves nothing");

    until("the old code to go", async || Ok((site.processes().await?.len() == 1).then_some(()))).await?;
    site.revoke(&after, &load.ledger()).await?;
    expect(&mut on_new, &[(&kept, 200), (&during, 401), (&after, 401)]).await?;
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_listener_that_is_dropped_and_added_again_passes_nothing_wrongly_and_recovers() -> Result<()> {
    let site = Site::start().await?;
    let mut config = site.edge.config(PROXY)?;
    config.listener_apart = true;
    config.restart.extend(["--drain-time-s", "1"].map(str::to_owned));
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let load = Load::start([&envoy]).await?;
    let [kept, during, after] = site.keys(&load.ledger()).await?;
    let mut revoked = Vec::new();
    // At once; while the old one is about to go; when it has gone.
    for (key, pause_ms) in [(during, 0), (after, 1_000), (site.key(&load.ledger()).await?, 2_500)] {
        envoy.replace_listener(None).await?;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        envoy.replace_listener(Some(&config)).await?;
        let back = Instant::now();
        until("the listener to serve again", async || {
            let Ok(mut connection) = Connection::open(envoy.edge(), Protocol::Http1).await else { return Ok(None) };
            let answer = connection.get(INSIDE, &[("x-api-key", &kept.token)]).await;
            Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
        .await?;
        ensure!(back.elapsed() < Duration::from_secs(10), "after {pause_ms} ms it took {:?}", back.elapsed());
        site.revoke(&key, &load.ledger()).await?;
        revoked.push(key);
        let mut wanted: Vec<_> = revoked.iter().map(|key| (key, 401)).collect();
        wanted.push((&kept, 200));
        let mut connections = Vec::new();
        for _ in 0..MANY_CONNECTIONS {
            connections.push(Connection::open(envoy.edge(), Protocol::Http1).await?);
        }
        expect(&mut connections, &wanted).await?;
    }
    load.stop().await?;
    Ok(())
}

/// The control plane counts on the limit that it was told: it has counted this edge as closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_longer_limit_that_nobody_was_told_opens_no_table_again() -> Result<()> {
    let mut site = Site::start().await?;
    let mut config = site.edge.config_with_limit(PROXY, 5)?;
    config.listener_apart = true;
    config.restart.extend(["--drain-time-s", "1"].map(str::to_owned));
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let create = ["--environment", "1a5", "--name", "ci", "--wait", "20"];
    let key = site.edge.control_plane.cli().create_key(&create).await?;
    let status = async |path: &str| {
        let mut connection = Connection::open(envoy.edge(), Protocol::Http1).await?;
        anyhow::Ok(connection.get(path, &[("x-api-key", &key.token)]).await?.status)
    };
    ensure!(status(INSIDE).await? == 200, "the key does not pass");
    site.edge.control_plane.kill();
    until("the table to be stale", async || Ok((status(INSIDE).await? == 503).then_some(()))).await?;

    let mut longer = newer(&config)?;
    longer.edit_filter(|filter| filter["staleness_limit_seconds"] = 3600.into())?;
    envoy.replace_listener(Some(&longer)).await?;
    let served = async || Ok(status(NEWER).await.is_ok_and(|status| status == 200).then_some(()));
    until("the newer configuration to serve", served).await?;
    // By then the older configuration is gone, and the newer has taken over and tried to reach the control plane.
    let taken_over = Instant::now() + Duration::from_secs(6);
    while Instant::now() < taken_over {
        let found = status(INSIDE).await?;
        ensure!(found == 503, "a table that was closed for certain answers {found} again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.edge.control_plane.serve().await?;
    until("the table to be fresh", async || Ok((status(INSIDE).await? == 200).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_drains_with_a_revoked_token_does_not_keep_its_successor_from_the_control_plane() -> Result<()> {
    let mut site = Site::start().await?;
    let cli = site.edge.control_plane.cli();
    let token = async || cli.json(&["proxy", "token", "create", PROXY]).await;
    let (former, present) = (token().await?, token().await?);
    let with = |config: &Config, token: &Value| -> Result<Config> {
        let mut config = config.clone();
        config.edit_filter(|filter| filter["control_plane"]["token"] = token["token"].clone())?;
        Ok(config)
    };
    let mut config = with(&site.edge.config(PROXY)?, &former)?;
    config.listener_apart = true;
    // Much longer than any of this takes.
    config.restart.extend(["--drain-time-s", "3600"].map(str::to_owned));
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let load = Load::start([&envoy]).await?;
    let [kept, during, after] = site.keys(&load.ledger()).await?;
    let mut on_old = envoy.connections_on_every_worker(Protocol::Http2).await?;
    expect(&mut on_old, &[(&kept, 200)]).await?;

    envoy.replace_listener(Some(&with(&newer(&config)?, &present)?)).await?;
    let mut on_new = newer_connections(&envoy, &kept).await?;
    let id = former["id"].as_str().context("a token without an id")?;
    cli.text(&["proxy", "token", "revoke", id]).await?;
    site.revoke(&during, &load.ledger()).await?;
    expect(&mut on_new, &[(&kept, 200), (&during, 401)]).await?;
    expect(&mut on_old, &[(&kept, 200), (&during, 401)]).await?;
    // Nor does it when all streams are lost.
    site.edge.control_plane.kill();
    site.edge.control_plane.serve().await?;
    site.revoke(&after, &load.ledger()).await?;
    expect(&mut on_new, &[(&kept, 200), (&after, 401)]).await?;
    expect(&mut on_old, &[(&kept, 200), (&after, 401)]).await?;
    load.stop().await?;
    Ok(())
}

/// So many connections reach every one of two workers.
const MANY_CONNECTIONS: usize = 16;

/// A control plane with an environment, and an upstream.
struct Site {
    edge: Edge,
}

impl Site {
    async fn start() -> Result<Self> {
        let edge = Edge::start(0).await?;
        edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
        Ok(Self { edge })
    }

    /// A new key that must pass from now on.
    async fn key(&self, ledger: &Ledger) -> Result<Key> {
        let cli = self.edge.control_plane.cli();
        let key = cli.create_key(&["--environment", "1a5", "--name", "ci", "--wait", "20"]).await?;
        ledger.expect(&key, Verdict::Pass);
        Ok(key)
    }

    async fn keys(&self, ledger: &Ledger) -> Result<[Key; 3]> {
        Ok([self.key(ledger).await?, self.key(ledger).await?, self.key(ledger).await?])
    }

    /// Revokes a key, with proof; it must not pass from then on.
    async fn revoke(&self, key: &Key, ledger: &Ledger) -> Result<()> {
        ledger.expect(key, Verdict::Either);
        self.edge.change(&["key", "deactivate", &key.id]).await?;
        ledger.expect(key, Verdict::Refuse);
        Ok(())
    }

    /// What the control plane knows of the processes of the only proxy.
    async fn processes(&self) -> Result<Vec<Value>> {
        let shown = self.edge.control_plane.cli().json(&["proxy", "show", PROXY]).await?;
        shown["processes"].as_array().cloned().context("a proxy without processes")
    }
}

/// The same configuration with a rule more, by which its decisions are told from those of the old one.
fn newer(config: &Config) -> Result<Config> {
    let mut filter: Value = serde_json::from_str(&config.filter)?;
    let rules = filter["rules"].as_array_mut().context("a filter without rules")?;
    rules.push(json!({"path": "/newer/**", "target": "public"}));
    Ok(Config { filter: filter.to_string(), ..config.clone() })
}

/// Connections to every worker, all of them decided by the newer configuration and its table.
async fn newer_connections(envoy: &Envoy, key: &Key) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    let (asked, mut closed) = (Instant::now(), None);
    until("the newer filter to take all new connections and to have a table", async || {
        let Ok(mut connection) = Connection::open(envoy.edge(), Protocol::Http2).await else { return Ok(None) };
        let is_newer = connection.get(NEWER, &[]).await.is_ok_and(|answer| answer.status == 200);
        let status = connection.get(INSIDE, &[("x-api-key", &key.token)]).await.map(|answer| answer.status);
        if is_newer && status.as_ref().is_ok_and(|status| *status == 503) {
            closed = Some(asked.elapsed());
        }
        if is_newer && status.is_ok_and(|status| status == 200) {
            connections.push(connection);
        } else {
            connections.clear();
        }
        Ok((connections.len() == MANY_CONNECTIONS).then_some(()))
    })
    .await?;
    // The new filter begins without a table. It must have one at once.
    ensure!(closed.is_none_or(|until| until < Duration::from_secs(2)), "new connections got 503 until {closed:?}");
    Ok(connections)
}

/// Each of these keys gets its status on each of these connections.
async fn expect(connections: &mut [Connection], wanted: &[(&Key, u16)]) -> Result<()> {
    for (index, connection) in connections.iter_mut().enumerate() {
        for (key, status) in wanted {
            let answer = connection.get(INSIDE, &[("x-api-key", &key.token)]).await?;
            ensure!(answer.status == *status, "key {} got {} on connection {index}, not {status}", key.id, answer.status);
        }
    }
    Ok(())
}

async fn until_passed(load: &Load) -> Result<()> {
    until("requests to pass", async || Ok((load.tally().passed > 0).then_some(()))).await
}
