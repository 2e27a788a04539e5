//! Faults between Envoy and the control plane, each under load: nothing passes that must not, no change is lost. `make soak` runs the
//! first three at length.

// What was said long ago and comes only now.
mod late;
// Messages of every bad kind, from a control plane that says what it is told to.
mod messages;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::faults::{Changes, Cuts, Site, Snapshots, ensure_sound, verify};
use harness::{Cable, Cut, Direction, Done, Envoy, Flow, Key, Load, Protocol, Verdict, until};

use crate::edge::{Edge, INSIDE};

/// The same at every run: what is new is for `make soak` to find.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_killed_in_the_middle_of_a_snapshot_loses_nothing() -> Result<()> {
    let tally = Snapshots { keys: 3_000, kills: 2, seed: SEED }.run().await?;
    println!("{tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_again_and_again_loses_no_change() -> Result<()> {
    let tally = Cuts { cuts: 15, seed: SEED }.run().await?;
    println!("{tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_thousands_of_changes_nothing_has_grown_and_a_fresh_envoy_judges_alike() -> Result<()> {
    let tally = Changes { changes: 3_000, seed: SEED }.run().await?;
    println!("{tally:?}");
    Ok(())
}

/// What edge.yaml sets for the control plane's cluster.
const KEEPALIVE: (&str, &str) =
    ("http2_protocol_options: {}", "http2_protocol_options: { connection_keepalive: { interval: 10s, timeout: 5s } }");
/// Within so long either side has found out by itself, and the filter has come back: Envoy's ping and its patience, and a retry.
const BACK_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_find_a_half_open_connection_out_and_what_changed_meanwhile_arrives() -> Result<()> {
    let mut site = Site::start().await?;
    let (mut envoys, mut cables) = (Vec::new(), Vec::new());
    for (proxy, edits) in [("both", vec![]), ("up", vec![KEEPALIVE]), ("down", vec![KEEPALIVE])] {
        let cable = Cable::start(site.control_plane.sync_port()).await?;
        let mut config = site.config(proxy, &cable)?;
        config.edits = edits;
        let envoy = Envoy::start(&config).await?;
        envoy.until_table().await?;
        envoys.push(envoy);
        cables.push(cable);
    }
    let load = Load::start(&envoys).await?;
    let keys = site.create_keys(2).await?;
    site.until_acknowledged().await?;
    keys.iter().for_each(|key| load.ledger().expect(key, Verdict::Pass));

    let dark = Instant::now();
    for (cable, directions) in cables.iter().zip([&[Direction::Up, Direction::Down][..], &[Direction::Up], &[Direction::Down]]) {
        directions.iter().for_each(|direction| cable.set_present(*direction, Flow::Swallowed));
    }
    load.ledger().expect(&keys[0], Verdict::Either);
    let done = site.api().key_action(&keys[0], "deactivate", 1).await?;
    ensure!(done == Done::Missing("both,down,up".to_owned()), "it said {done:?}");

    // Without pings the connection stays, and with it the silence: each side gives the stream up.
    until("the filter to find the silence out", async || {
        Ok(envoys[0].log().contains("keygate: the control plane is silent").then_some(()))
    })
    .await?;
    until("the control plane to find the silence out", async || {
        let log = site.control_plane.process()?.log();
        let ended = log.lines().any(|line| line.contains("the filter does not answer") && line.contains("proxy=\"both\""));
        Ok(ended.then_some(()))
    })
    .await?;
    ensure!(dark.elapsed() < Duration::from_secs(20), "that took {:?}", dark.elapsed());
    // What a network does in the end to a connection of which nothing is heard.
    cables[0].cut(Cut::Reset);
    site.until_acknowledged().await?;
    load.ledger().expect(&keys[0], Verdict::Refuse);
    ensure!(dark.elapsed() < BACK_WITHIN, "they came back only after {:?}", dark.elapsed());
    verify(&mut site.api(), &envoys.iter().collect::<Vec<_>>(), &keys).await?;
    for envoy in &mut envoys {
        ensure_sound(envoy).await?;
    }
    let tally = load.stop().await?;
    ensure!(tally.broken == 0 && tally.unavailable == 0, "traffic did not go on: {tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_was_frozen_does_not_take_for_fresh_what_waited_for_it() -> Result<()> {
    let (mut edge, key) = Edge::with_key(0).await?;
    let mut envoy = Envoy::start(&edge.config_with_limit("frozen", 5)?).await?;
    envoy.until_table().await?;
    let mut workers = envoy.connections_on_every_worker(Protocol::Http1).await?;
    let cli = edge.control_plane.cli();
    cli.text(&["key", "edit", &key.id, "--name", "two", "--wait", "20"]).await?;
    envoy.process().signal("STOP")?;
    // A heartbeat is sent, lies in the kernel, and is not answered in time.
    until("the control plane to give the stream up", async || {
        Ok((cli.json(&["proxy", "show", "frozen"]).await?["connected"] == false).then_some(()))
    })
    .await?;
    cli.text(&["key", "deactivate", &key.id]).await?;
    edge.control_plane.kill();
    envoy.process().signal("CONT")?;
    let thawed = Instant::now();
    // Longer than it takes to look at what lies there, shorter than a table lives that was taken for fresh.
    while thawed.elapsed() < Duration::from_secs(2) {
        for worker in &mut workers {
            let status = worker.get(INSIDE, &[("x-api-key", &key.token)]).await?.status;
            ensure!(status == 503, "the table was stale when Envoy froze for so long, but a revoked key got {status}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_reads_slowly_holds_nobody_up_and_costs_no_memory() -> Result<()> {
    const CHANGES: usize = 800;
    let mut site = Site::start().await?;
    let quick = site.add_envoy("quick").await?;
    let cable = Cable::start(site.control_plane.sync_port()).await?;
    let slow = Envoy::start(&site.config("slow", &cable)?).await?;
    quick.until_table().await?;
    slow.until_table().await?;
    let load = Load::start([&quick, &slow]).await?;
    let mut keys = site.create_keys(50).await?;
    site.until_acknowledged().await?;
    keys.iter().for_each(|key| load.ledger().expect(key, Verdict::Pass));
    let before = site.control_plane.process()?.resident_bytes()?;

    // It reads nothing at first, and then less than it is sent.
    cable.set(Direction::Down, Flow::Stopped);
    keys.extend(site.create_keys(CHANGES).await?);
    only_missing(&site, &keys[0], "slow", &load).await?;
    cable.set(Direction::Down, Flow::Slow { bytes_per_second: 4_000 });
    keys.extend(site.create_keys(CHANGES).await?);
    only_missing(&site, &keys[1], "slow", &load).await?;
    verify(&mut site.api(), &[&quick], &keys).await?;
    let grown = site.control_plane.process()?.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 48 << 20, "the control plane grew by {grown} bytes");

    cable.set(Direction::Down, Flow::Pass);
    site.until_acknowledged().await?;
    keys[..2].iter().for_each(|key| load.ledger().expect(key, Verdict::Refuse));
    verify(&mut site.api(), &[&quick, &slow], &keys).await?;
    let tally = load.stop().await?;
    ensure!(tally.broken == 0 && tally.unavailable == 0, "traffic did not go on: {tally:?}");
    Ok(())
}

/// Withdraws a key: all acknowledge that in time but one proxy, which is named.
async fn only_missing(site: &Site, key: &Key, proxy: &str, load: &Load) -> Result<()> {
    load.ledger().expect(key, Verdict::Either);
    let done = site.api().key_action(key, "deactivate", 3).await?;
    ensure!(done == Done::Missing(proxy.to_owned()), "it said {done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_is_enforced_at_once_where_statistics_are_dropped() -> Result<()> {
    const DROPPED: (&str, &str) = (
        "\nstatic_resources:",
        "\nstats_config: { stats_matcher: { exclusion_list: { patterns: [{ prefix: wasmcustom }] } } }\nstatic_resources:",
    );
    let site = Site::start().await?;
    let mut config = site.config("edge-1", &site.cable)?;
    config.edits.push(DROPPED);
    let mut envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;
    let load = Load::start([&envoy]).await?;
    let keys = site.create_keys(10).await?;
    site.until_acknowledged().await?;
    keys.iter().for_each(|key| load.ledger().expect(key, Verdict::Pass));
    let mut api = site.api();
    for _ in 0..10 {
        for (action, verdict) in [("deactivate", Verdict::Refuse), ("activate", Verdict::Pass)] {
            for key in &keys {
                load.ledger().expect(key, Verdict::Either);
                let done = api.key_action(key, action, 20).await?;
                ensure!(done == Done::Everywhere, "it said {done:?}");
                load.ledger().expect(key, verdict);
            }
            verify(&mut site.api(), &[&envoy], &keys).await?;
        }
    }
    ensure!(envoy.stats("^wasmcustom").await?.is_empty(), "there is a change detector");
    ensure_sound(&mut envoy).await?;
    let tally = load.stop().await.context("without statistics")?;
    ensure!(tally.broken == 0 && tally.unavailable == 0, "traffic did not go on: {tally:?}");
    Ok(())
}
